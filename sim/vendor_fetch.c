/* SPDX-License-Identifier: BSD-3-Clause */
#include "vendor_fetch.h"

#include <stdlib.h>
#include <string.h>

#include "fetch.h"
#include "stream.h"
#include "upgrade.h"
#include "vendor.h"
#include "vendor_http.h"

#define OTA_VENDOR_ROUND      4999 /* bytes at a time, and what it wants within OTA_PATIENCE_MS */
#define OTA_VENDOR_READ       1024
#define OTA_PATIENCE_MS       1000
#define OTA_VENDOR_LOOK_MS    500 /* how long a read waits for an answer */
#define OTA_VENDOR_CONNECT_MS 10000

struct ota_vendor_fetch {
    struct ota_stream stream;
    struct ota_vendor_url url;
    struct ota_vendor_head answer;
    char head[OTA_VENDOR_HEAD_MAX + OTA_VENDOR_READ + 1];
    size_t head_len;
    bool heard;    /* a byte of the answer */
    bool answered; /* its head is whole */
    bool starved;  /* the answer has ended, and the file has not */
    bool told;     /* the percentage at which it began */
    int64_t left;  /* of the body, the round's bytes included */
    char round[OTA_VENDOR_ROUND];
    size_t got;      /* in the round */
    int64_t since;   /* when the round began; before an answer: the attempt */
    int64_t said_at; /* the last percentage */
};

static int64_t now(const struct ota_device *device)
{
    return device->world->loop.now;
}

static void look_after(struct ota_device *device, int64_t ms)
{
    ota_loop_after(&device->world->loop, &device->tick, ms);
}

static void look_again(struct ota_device *device)
{
    look_after(device, ota_vendor_wait(device, OTA_VENDOR_LOOK_MS));
}

static void say(struct ota_device *device)
{
    device->vendor_fetch->told = true;
    device->vendor_fetch->said_at = now(device);
    ota_fetch_say(device);
}

static size_t wanted(const struct ota_device *device)
{
    const struct ota_vendor_fetch *fetch = device->vendor_fetch;
    int64_t to_trip = device->trip - device->image.received;
    int64_t most = fetch->left < to_trip ? fetch->left : to_trip;
    return most < OTA_VENDOR_ROUND ? (size_t)most : OTA_VENDOR_ROUND;
}

static void say_after_round(struct ota_device *device)
{
    int64_t ms = ota_vendor_wait(device, device->world->options->progress_ms);
    if (ota_fetch_percent(device) == 100 || now(device) - device->vendor_fetch->said_at >= ms) {
        say(device);
    }
}

/* Its MQTT has the time between. */
static int64_t pause_ms(const struct ota_device *device)
{
    int64_t speed = ota_fetch_speed(device);
    return speed == 0 ? 0 : ota_vendor_wait(device, INT64_C(1000) * OTA_VENDOR_ROUND / speed);
}

static void begin_round(struct ota_device *device);

static void go_on(struct ota_device *device)
{
    struct ota_vendor_fetch *fetch = device->vendor_fetch;
    if (device->image.received >= device->trip) {
        ota_upgrade_strike(device);
    } else if (device->image.received >= device->notice.size) {
        ota_upgrade_complete(device);
    } else if (fetch->left == 0) {
        fetch->starved = true; /* it reads on, for bytes that don't come */
        look_again(device);
    } else {
        ota_stream_pause(&fetch->stream);
        ota_loop_cancel(&device->world->loop, &device->tick);
        ota_device_after(device, pause_ms(device), begin_round);
    }
}

/* Only whole rounds count: what was read of one that breaks off is lost. */
static void end_round(struct ota_device *device)
{
    struct ota_vendor_fetch *fetch = device->vendor_fetch;
    if (!fetch->told && device->image.received < device->notice.size) {
        say(device);
    }
    if (ota_image_add(&device->image, fetch->round, fetch->got, NULL) != OTA_OK) {
        ota_upgrade_fail(device, OTA_CODE_FAILED);
        return;
    }
    device->world->transfers.bytes += fetch->got;
    fetch->left -= (int64_t)fetch->got;
    fetch->got = 0;
    say_after_round(device);
    go_on(device);
}

static void take_body(struct ota_device *device, const char *bytes, size_t len)
{
    struct ota_vendor_fetch *fetch = device->vendor_fetch;
    size_t room = wanted(device) - fetch->got;
    size_t taken = len < room ? len : room;
    memcpy(fetch->round + fetch->got, bytes, taken);
    fetch->got += taken;
}

/* False where the answer is the end. */
static bool take_head(struct ota_device *device, const char *bytes, size_t len)
{
    struct ota_vendor_fetch *fetch = device->vendor_fetch;
    memcpy(fetch->head + fetch->head_len, bytes, len);
    fetch->head_len += len;
    fetch->head[fetch->head_len] = '\0';
    if (!ota_vendor_head_parse(fetch->head, &fetch->answer)) {
        return true;
    }
    if (fetch->answer.code != 0) {
        ota_upgrade_fail(device, fetch->answer.code);
        return false;
    }
    /* Whatever its status: what follows is appended. */
    fetch->answered = true;
    fetch->left = fetch->answer.length > 0 ? fetch->answer.length : 0;
    take_body(device, fetch->head + fetch->answer.size, fetch->head_len - fetch->answer.size);
    return true;
}

static bool take(struct ota_device *device, const char *bytes, size_t len)
{
    struct ota_vendor_fetch *fetch = device->vendor_fetch;
    if (!fetch->heard) {
        fetch->heard = true;
        fetch->since = now(device);
        look_after(device, OTA_PATIENCE_MS);
    }
    if (fetch->answered) {
        take_body(device, bytes, len);
        return true;
    }
    return take_head(device, bytes, len);
}

/* The server hung up. */
static void on_over(struct ota_device *device)
{
    const struct ota_vendor_head *answer = &device->vendor_fetch->answer;
    bool refused = device->vendor_fetch->answered && (answer->status < 200 || answer->status > 299);
    ota_upgrade_fail(device, refused ? OTA_CODE_TIMED_OUT : OTA_CODE_FAILED);
}

static size_t room(const struct ota_device *device)
{
    const struct ota_vendor_fetch *fetch = device->vendor_fetch;
    size_t left =
        fetch->answered && !fetch->starved ? wanted(device) - fetch->got : OTA_VENDOR_READ;
    return left < OTA_VENDOR_READ ? left : OTA_VENDOR_READ;
}

/* A round is five reads, and a head at most that long: it ends. */
static void read_round(struct ota_device *device)
{
    struct ota_vendor_fetch *fetch = device->vendor_fetch;
    char bytes[OTA_VENDOR_READ];
    while (room(device) > 0) {
        int got = ota_stream_read(&fetch->stream, bytes, room(device));
        if (got == 0) {
            return;
        }
        if (got < 0) {
            on_over(device);
            return;
        }
        if (fetch->starved) {
            return;
        }
        if (!take(device, bytes, (size_t)got)) {
            return;
        }
    }
    end_round(device);
}

static void begin_round(struct ota_device *device)
{
    device->vendor_fetch->since = now(device);
    look_after(device, OTA_PATIENCE_MS);
    read_round(device);
}

static void on_up(void *arg)
{
    struct ota_device *device = arg;
    struct ota_vendor_fetch *fetch = device->vendor_fetch;
    char wire[OTA_VENDOR_WIRE_MAX];
    size_t len = ota_vendor_request(&fetch->url, device->image.received, device->notice.size, wire);
    if (!ota_stream_send(&fetch->stream, wire, len)) {
        ota_upgrade_fail(device, OTA_CODE_FAILED);
    }
}

static void on_ready(void *arg)
{
    read_round(arg);
}

static void on_failed(void *arg)
{
    ota_upgrade_fail(arg, OTA_CODE_FAILED);
}

static const struct ota_stream_events stream_events = {on_up, on_ready, on_failed};

/* No byte of the answer came yet, or none comes any more. */
static void wait_on(struct ota_device *device)
{
    const struct ota_vendor_fetch *fetch = device->vendor_fetch;
    if (!fetch->stream.up && now(device) - fetch->since >= OTA_VENDOR_CONNECT_MS) {
        ota_upgrade_fail(device, OTA_CODE_FAILED);
        return;
    }
    if (device->image.received == 0 && fetch->stream.up) {
        say(device);
    }
    look_again(device);
}

void ota_vendor_fetch_tick(struct ota_device *device)
{
    const struct ota_vendor_fetch *fetch = device->vendor_fetch;
    int64_t left = fetch->since + OTA_PATIENCE_MS - now(device);
    if (!fetch->heard || fetch->starved) {
        wait_on(device);
    } else if (left > 0) {
        look_after(device, left);
    } else {
        ota_upgrade_fail(device, OTA_CODE_FAILED);
    }
}

void ota_vendor_fetch_stop(struct ota_device *device)
{
    if (device->vendor_fetch != NULL) {
        ota_stream_pause(&device->vendor_fetch->stream);
    }
}

void ota_vendor_fetch_close(struct ota_device *device)
{
    if (device->vendor_fetch != NULL) {
        ota_stream_close(&device->vendor_fetch->stream);
        free(device->vendor_fetch);
        device->vendor_fetch = NULL;
    }
}

/* It looks at the version alone: what it has may be more than what it is to have. */
static bool begin_image(struct ota_device *device)
{
    const struct ota_notice *notice = &device->notice;
    if (ota_image_is_of(&device->image, notice, true) && device->image.received <= notice->size) {
        return true;
    }
    return ota_image_start(&device->image, notice, device->world->options->save, NULL) == OTA_OK;
}

/* The build without TLS takes an https URL, and speaks HTTP to port 80. */
static bool open_stream(struct ota_device *device)
{
    struct ota_vendor_fetch *fetch = device->vendor_fetch;
    struct ota_world *world = device->world;
    struct ota_place *place = &fetch->url.place;
    bool secure = fetch->url.secure && world->streams.tls != NULL;
    if (fetch->url.secure && !secure && !fetch->url.names_port) {
        place->port = 80;
    }
    return ota_stream_open(&fetch->stream, world->detour.port != 0 ? &world->detour : place,
                           secure ? place->host : NULL, NULL) == OTA_OK;
}

static bool prepare(struct ota_device *device)
{
    struct ota_vendor_fetch *fetch = calloc(1, sizeof *fetch);
    bool allow_port = device->world->options->allow_port;
    device->vendor_fetch = fetch;
    if (fetch == NULL) {
        return false;
    }
    fetch->since = now(device);
    fetch->stream = (struct ota_stream){
        .owner = &device->world->streams, .events = &stream_events, .arg = device, .fd = -1};
    return ota_vendor_url_parse(device->notice.url, allow_port, &fetch->url) && begin_image(device);
}

void ota_vendor_fetch_start(struct ota_device *device)
{
    ota_vendor_fetch_close(device);
    if (device->notice.size == 0) {
        ota_upgrade_crash(device); /* it divides by it */
        return;
    }
    if (!prepare(device)) {
        ota_upgrade_fail(device, OTA_CODE_FAILED);
        return;
    }
    if (device->image.received >= device->trip) {
        ota_upgrade_strike(device);
        return;
    }
    if (!open_stream(device)) {
        ota_upgrade_fail(device, OTA_CODE_FAILED);
        return;
    }
    look_again(device);
}
