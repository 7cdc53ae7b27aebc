/* SPDX-License-Identifier: BSD-3-Clause */
#include "upgrade.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "../plugin/util/words.h"
#include "pattern.h"

/* What the vendor's SDK needs a second, else it takes the download for dead. */
#define OTA_VENDOR_FLOOR     4999
#define OTA_VENDOR_POLL_MS   1200
#define OTA_VENDOR_COOL_MS   3500
#define OTA_VENDOR_COOL_4_MS 13500

#define OTA_TRIES_MAX    5
#define OTA_FIRST_TRY_MS 250

/* Codes of device-protocol.md, "fail". */
enum { TIMED_OUT = -1, FILE_MISSING = -2, NOT_AUTHORISED = -3, MISMATCH = -4, FAILED = -5 };

static void fetch(struct ota_device *device);
static void request(struct ota_device *device);

bool ota_upgrade_is_busy(const struct ota_device *device)
{
    return device->phase == OTA_PHASE_STARTING || device->phase == OTA_PHASE_FETCHING ||
           device->phase == OTA_PHASE_BURNING;
}

unsigned ota_upgrade_percent(const struct ota_device *device)
{
    if (device->vendor) {
        /* Its 32 bits overflow from 42,949,673 bytes on, and so do ours. */
        return (uint32_t)(device->image.received * 100) / (uint32_t)device->notice.size;
    }
    return (unsigned)(device->image.received * 100 / device->notice.size);
}

static bool has_fault(const struct ota_device *device, enum ota_fault_kind kind)
{
    return device->armed && device->fault.kind == kind;
}

static void tell_fault(struct ota_device *device)
{
    ota_device_tell(device, OTA_EVENT_FAULT, "{s:s}", "fault", ota_fault_name(device->fault.kind));
}

/* The upgrade is over, well or not. */
static void conclude(struct ota_device *device, bool well)
{
    struct ota_tally *tally = &device->world->tally;
    device->armed = device->world->options->fault_always && device->fault.kind != OTA_FAULT_OK;
    device->unheard = 0;
    device->said = (struct ota_progress){0};
    if (well) {
        ota_device_tell(device, OTA_EVENT_UPGRADED, "{s:s}", "version", device->notice.version);
    }
    if (!device->counted) {
        device->counted = true;
        tally->ended++;
        tally->failed += !well;
    }
}

static void conclude_badly(struct ota_device *device)
{
    conclude(device, false);
}

static void stop_fetching(struct ota_device *device)
{
    if (device->transfer != NULL) {
        ota_transfer_stop(device->transfer);
        device->transfer = NULL;
    }
    ota_loop_cancel(&device->world->loop, &device->tick);
    ota_loop_cancel(&device->world->loop, &device->step);
}

static void say_fail(struct ota_device *device, int code)
{
    ota_device_report(device, OTA_SAID_FAIL, code, conclude_badly);
    ota_device_tell(device, OTA_EVENT_FAIL, "{s:s, s:i, s:s}", "version", device->notice.version,
                    "code", code, "reason", ota_result_text(code));
}

static void fail(struct ota_device *device, int code)
{
    stop_fetching(device);
    if (code == MISMATCH || (!device->vendor && code == FAILED)) {
        ota_image_drop(&device->image);
    }
    ota_device_enter(device, device->vendor ? OTA_PHASE_COOLING : OTA_PHASE_IDLE);
    say_fail(device, code);
    if (device->vendor) {
        if (code == TIMED_OUT || code == FILE_MISSING || code == NOT_AUTHORISED) {
            say_fail(device, FAILED);
        }
        ota_device_report_after(device,
                                code == MISMATCH ? OTA_VENDOR_COOL_4_MS : OTA_VENDOR_COOL_MS);
    }
}

static void come_back(struct ota_device *device)
{
    ota_device_enter(device, OTA_PHASE_IDLE);
    ota_link_open(&device->link);
}

static void go_away(struct ota_device *device, int64_t ms, bool cut)
{
    ota_device_enter(device, OTA_PHASE_REBOOTING);
    ota_device_tell(device, OTA_EVENT_REBOOT, "{s:I}", "ms", (json_int_t)ms);
    ota_link_close(&device->link, cut);
    ota_device_restart(device);
    ota_device_away(device, ms, come_back);
}

static int64_t reboot_ms(const struct ota_device *device)
{
    int64_t ms = device->world->options->reboot_ms;
    return ms < 0 ? 500 : ms;
}

static void exit_as_vendor(struct ota_device *device)
{
    conclude(device, true);
    if (device->world->options->reboot_ms < 0) {
        ota_device_tell(device, OTA_EVENT_EXITED, NULL);
        ota_device_enter(device, OTA_PHASE_REBOOTING);
        ota_link_close(&device->link, false);
    } else {
        go_away(device, reboot_ms(device), false);
    }
}

static void reboot(struct ota_device *device)
{
    bool told = has_fault(device, OTA_FAULT_WRONG_VERSION) ||
                has_fault(device, OTA_FAULT_ROLLBACK) || has_fault(device, OTA_FAULT_NO_DONE);
    if (device->vendor && !told) {
        exit_as_vendor(device); /* its version is compiled in, and done its last word */
        return;
    }
    memcpy(device->before, device->version, sizeof device->before);
    strcpy(device->version, has_fault(device, OTA_FAULT_WRONG_VERSION) ? device->fault.version
                                                                       : device->notice.version);
    device->proving = true;
    go_away(device, reboot_ms(device), false);
}

static void roll_back(struct ota_device *device)
{
    tell_fault(device);
    device->armed = false;
    memcpy(device->version, device->before, sizeof device->version);
    device->proving = true;
    go_away(device, reboot_ms(device), false);
}

void ota_upgrade_proved(struct ota_device *device)
{
    if (has_fault(device, OTA_FAULT_ROLLBACK)) {
        ota_device_away(device, device->fault.number, roll_back);
        return;
    }
    conclude(device, strcmp(device->version, device->notice.version) == 0);
}

static void finish(struct ota_device *device)
{
    if (has_fault(device, OTA_FAULT_NO_DONE)) {
        tell_fault(device);
        reboot(device);
        return;
    }
    ota_device_report(device, OTA_SAID_DONE, 0, reboot);
}

static void burn(struct ota_device *device)
{
    const struct ota_options *options = device->world->options;
    int64_t ms = device->vendor ? 0 : options->burn_ms;
    ota_device_enter(device, OTA_PHASE_BURNING);
    if (!device->vendor || options->burning) {
        ota_device_report(device, OTA_SAID_BURNING, 0, NULL);
    }
    if (has_fault(device, OTA_FAULT_LATE)) {
        tell_fault(device);
        ms += device->fault.number;
    }
    ota_device_after(device, ms, finish);
}

static bool matches(const struct ota_device *device, const struct ota_image_digests *digests)
{
    const struct ota_notice *notice = &device->notice;
    return strcmp(digests->md5, notice->md5) == 0 && (device->vendor || notice->sha256[0] == '\0' ||
                                                      strcmp(digests->sha256, notice->sha256) == 0);
}

static void complete(struct ota_device *device)
{
    struct ota_image_digests digests;
    stop_fetching(device);
    device->percent = ota_upgrade_percent(device);
    ota_device_report(device, device->vendor ? OTA_SAID_DOWNLOADING : OTA_SAID_DOWNLOADED, 0, NULL);
    bool good = ota_image_finish(&device->image, &digests, NULL) == OTA_OK;
    if (has_fault(device, OTA_FAULT_CORRUPT)) {
        tell_fault(device);
        good = false;
    }
    if (!good || !matches(device, &digests)) {
        fail(device, MISMATCH);
        return;
    }
    bool both = !device->vendor && device->notice.sha256[0] != '\0';
    ota_device_tell(device, OTA_EVENT_VERIFIED, "{s:s}", "digests", both ? "md5, sha256" : "md5");
    burn(device);
}

static void strike_fail(struct ota_device *device)
{
    fail(device, (int)device->fault.number);
}

static void strike_stall(struct ota_device *device)
{
    stop_fetching(device);
    ota_device_enter(device, OTA_PHASE_MUTE);
}

static void strike_reboot(struct ota_device *device)
{
    stop_fetching(device);
    go_away(device, reboot_ms(device), true);
}

static void (*const strikes[OTA_FAULT_COUNT])(struct ota_device *) = {
    [OTA_FAULT_FAIL] = strike_fail,
    [OTA_FAULT_STALL] = strike_stall,
    [OTA_FAULT_REBOOT] = strike_reboot,
};

static bool swallow_silent(struct ota_device *device, const struct ota_notice *notice)
{
    device->notice = *notice;
    device->armed = false;
    ota_device_enter(device, OTA_PHASE_MUTE);
    return true;
}

static bool swallow_ignore(struct ota_device *device, const struct ota_notice *notice)
{
    (void)notice;
    return device->unheard++ < device->fault.number;
}

static bool swallow_disconnect(struct ota_device *device, const struct ota_notice *notice)
{
    (void)notice;
    device->armed = false;
    ota_link_close(&device->link, true);
    ota_device_away(device, device->fault.number, come_back);
    return true;
}

static bool (*const swallows[OTA_FAULT_COUNT])(struct ota_device *, const struct ota_notice *) = {
    [OTA_FAULT_SILENT] = swallow_silent,
    [OTA_FAULT_IGNORE] = swallow_ignore,
    [OTA_FAULT_DISCONNECT] = swallow_disconnect,
};

static void say_percent(struct ota_device *device)
{
    device->percent = ota_upgrade_percent(device);
    ota_device_report(device, OTA_SAID_DOWNLOADING, 0, NULL);
}

static void strike(struct ota_device *device)
{
    say_percent(device);
    tell_fault(device);
    device->armed = false;
    strikes[device->fault.kind](device);
}

void ota_upgrade_tick(void *arg)
{
    struct ota_device *device = arg;
    int64_t ms = device->world->options->progress_ms;
    int64_t got = device->image.received - device->at_tick;
    bool flowing = device->at_tick > device->from;
    device->at_tick = device->image.received;
    if (device->vendor && flowing && got * 1000 < OTA_VENDOR_FLOOR * ms) {
        fail(device, FAILED);
        return;
    }
    ota_loop_after(&device->world->loop, &device->tick, ms);
    if (ota_upgrade_percent(device) != device->percent ||
        (device->vendor && device->image.received == 0)) {
        say_percent(device);
    }
}

static bool is_body(long status)
{
    return status == 200 || status == 206;
}

static bool on_head(void *arg, const struct ota_transfer_head *head)
{
    struct ota_device *device = arg;
    struct ota_image *image = &device->image;
    if (device->vendor) {
        return is_body(head->status); /* and appends, whatever it is */
    }
    if (head->status == 200 && image->received > 0) {
        device->broken =
            ota_image_start(image, &device->notice, device->world->options->save, NULL) != OTA_OK;
    }
    snprintf(image->etag, sizeof image->etag, "%s", head->etag);
    return !device->broken && is_body(head->status) && head->offset == image->received;
}

static bool on_bytes(void *arg, const void *data, size_t len)
{
    struct ota_device *device = arg;
    int64_t size = device->notice.size;
    int64_t limit = device->trip < size ? device->trip : size;
    int64_t room = limit - device->image.received;
    int64_t take = (int64_t)len < room ? (int64_t)len : room;
    device->tries = 0;
    if (ota_image_add(&device->image, data, (size_t)take, NULL) != OTA_OK) {
        device->broken = true;
        return false;
    }
    device->overflow = limit == size && take < (int64_t)len;
    return device->image.received < limit || (limit == size && !device->overflow);
}

/* What an answer's status means, in both dialects. */
static int code_of(long status)
{
    static const struct {
        long status;
        int code;
    } rows[] = {{403, NOT_AUTHORISED}, {404, FILE_MISSING}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].status == status) {
            return rows[i].code;
        }
    }
    return 0;
}

static void end_as_vendor(struct ota_device *device, const struct ota_transfer_end *end)
{
    bool cut = end->status == 0 || is_body(end->status);
    int code = code_of(end->status);
    fail(device, code != 0 ? code : cut ? FAILED : TIMED_OUT);
}

static void try_again(struct ota_device *device, const char *reason)
{
    ota_device_tell(device, OTA_EVENT_DOWNLOAD_CUT, "{s:I, s:s}", "offset",
                    (json_int_t)device->image.received, "reason", reason);
    if (device->tries == OTA_TRIES_MAX) {
        fail(device, TIMED_OUT);
        return;
    }
    ota_device_after(device, OTA_FIRST_TRY_MS << device->tries++, request);
}

/* Another file than the one that was begun: from the start, but not for ever. */
static void start_over(struct ota_device *device)
{
    if (device->started_over) {
        fail(device, FAILED);
        return;
    }
    device->started_over = true;
    ota_image_drop(&device->image);
    try_again(device, "range not satisfiable");
}

static void end_badly(struct ota_device *device, const struct ota_transfer_end *end)
{
    int code = code_of(end->status);
    bool refused = end->status >= 300 && end->status < 500 && end->status != 429;
    if (code != 0) {
        fail(device, code);
    } else if (end->status == 416) {
        start_over(device);
    } else if (device->broken || refused || end->hopeless) {
        fail(device, FAILED);
    } else if (end->complete && is_body(end->status)) {
        fail(device, MISMATCH); /* all of it, and less than the notice said */
    } else {
        try_again(device, end->status >= 500 ? "the server's error" : end->reason);
    }
}

static void on_end(void *arg, const struct ota_transfer_end *end)
{
    struct ota_device *device = arg;
    device->transfer = NULL;
    if (device->image.received >= device->trip) {
        strike(device);
    } else if (device->overflow && !device->vendor) {
        fail(device, MISMATCH);
    } else if (device->image.received == device->notice.size) {
        complete(device);
    } else if (device->vendor) {
        end_as_vendor(device, end);
    } else {
        end_badly(device, end);
    }
}

static const struct ota_transfer_events transfer_events = {on_head, on_bytes, on_end};

static bool begin_image(struct ota_device *device)
{
    device->overflow = device->broken = false;
    return ota_image_is_of(&device->image, &device->notice, device->vendor) ||
           ota_image_start(&device->image, &device->notice, device->world->options->save, NULL) ==
               OTA_OK;
}

static void request(struct ota_device *device)
{
    if (!begin_image(device)) {
        fail(device, FAILED);
        return;
    }
    int64_t received = device->image.received;
    if (received >= device->trip) {
        strike(device);
        return;
    }
    if (received == device->notice.size && !device->vendor) {
        complete(device);
        return;
    }
    char range[48];
    if (device->vendor) {
        snprintf(range, sizeof range, "%" PRId64 "-%" PRId64, received, device->notice.size);
    } else {
        snprintf(range, sizeof range, "%" PRId64 "-", received);
    }
    struct ota_fetch wanted = {
        .url = device->notice.url,
        .range = device->vendor || received > 0 ? range : NULL,
        .if_range = !device->vendor && received > 0 && device->image.etag[0] != '\0'
                        ? device->image.etag
                        : NULL,
        .speed = has_fault(device, OTA_FAULT_SLOW) ? device->fault.number
                                                   : device->world->options->speed,
        .vendor = device->vendor,
    };
    if (ota_transfer_start(&device->world->transfers, &wanted, &transfer_events, device,
                           &device->transfer, NULL) != OTA_OK) {
        fail(device, FAILED);
    }
}

/* The vendor's SDK takes the port for a part of the host's name. */
static bool names_a_port(const char *url)
{
    const char *host = strstr(url, "://");
    host = host == NULL ? url : host + 3;
    size_t len = strcspn(host, "/?#");
    const char *after = memchr(host, ']', len);
    after = after == NULL ? host : after;
    return memchr(after, ':', len - (size_t)(after - host)) != NULL;
}

static void fetch(struct ota_device *device)
{
    bool trips = device->armed && strikes[device->fault.kind] != NULL;
    ota_device_enter(device, OTA_PHASE_FETCHING);
    if (device->vendor && names_a_port(device->notice.url) && !device->world->options->allow_port) {
        fail(device, FAILED);
        return;
    }
    if (!begin_image(device)) {
        fail(device, FAILED);
        return;
    }
    device->trip = trips ? device->notice.size * device->fault.percent / 100 : INT64_MAX;
    device->tries = 0;
    device->started_over = false;
    device->from = device->at_tick = device->image.received;
    ota_device_tell(device, OTA_EVENT_DOWNLOAD_START, "{s:s, s:I}", "url", device->notice.url,
                    "offset", (json_int_t)device->image.received);
    say_percent(device);
    ota_loop_after(&device->world->loop, &device->tick, device->world->options->progress_ms);
    request(device);
}

static bool is_same(const struct ota_device *device, const struct ota_notice *notice)
{
    return device->notice.task == notice->task &&
           strcmp(device->notice.version, notice->version) == 0 &&
           strcmp(device->notice.md5, notice->md5) == 0;
}

/* Why a notice changes nothing, or NULL. */
static const char *why_not(const struct ota_device *device, const struct ota_notice *notice)
{
    bool same = is_same(device, notice);
    if (device->vendor) {
        return !device->reported                          ? "hasn't reported yet"
               : device->phase == OTA_PHASE_IDLE          ? NULL
               : device->phase == OTA_PHASE_MUTE && !same ? NULL
                                                          : "busy";
    }
    if (device->phase == OTA_PHASE_REBOOTING) {
        return "reboots";
    }
    if (device->phase == OTA_PHASE_MUTE) {
        return same ? "silent by its fault" : NULL;
    }
    if (ota_upgrade_is_busy(device)) {
        return same ? "busy with it" : NULL;
    }
    return strcmp(device->version, notice->version) == 0 ? "runs it" : NULL;
}

static void ignore(struct ota_device *device, const char *what, const char *reason)
{
    ota_device_tell(device, OTA_EVENT_IGNORED, "{s:s, s:s}", "what", what, "reason", reason);
}

static void tell_notice(struct ota_device *device, const struct ota_notice *notice)
{
    const char *is_signed = notice->is_signed ? "signed" : NULL;
    /* json_pack() can leave texts out, but no numbers. */
    ota_device_tell(device, OTA_EVENT_NOTICE,
                    notice->task == 0 ? "{s:s, s:s*, s:I}" : "{s:s, s:s*, s:I, s:I}", "version",
                    notice->version, "signature", is_signed, "size", (json_int_t)notice->size,
                    "task", (json_int_t)notice->task);
}

static void take(struct ota_device *device, const struct ota_notice *notice)
{
    stop_fetching(device);
    device->notice = *notice;
    device->then = NULL;
    device->acked = true;
    device->said = (struct ota_progress){0};
    ota_device_enter(device, OTA_PHASE_STARTING);
    int64_t ms = device->vendor ? ota_random_between(&device->random, 0, OTA_VENDOR_POLL_MS) : 0;
    ota_device_after(device, ms, fetch);
}

void ota_upgrade_notice(struct ota_device *device, const struct ota_notice *notice)
{
    const char *reason = why_not(device, notice);
    tell_notice(device, notice);
    if (reason != NULL) {
        ignore(device, "the notice", reason);
        if (!device->vendor && is_same(device, notice)) {
            memcpy(device->notice.url, notice->url, sizeof device->notice.url);
        }
        if (!device->vendor && device->phase == OTA_PHASE_IDLE) {
            ota_device_report_version(device);
        }
        return;
    }
    bool (*swallow)(struct ota_device *, const struct ota_notice *) =
        device->armed ? swallows[device->fault.kind] : NULL;
    if (swallow != NULL && swallow(device, notice)) {
        tell_fault(device);
        return;
    }
    take(device, notice);
}

void ota_upgrade_cancel(struct ota_device *device, const struct ota_notice *notice)
{
    bool same = strcmp(device->notice.version, notice->version) == 0 &&
                (notice->task == 0 || notice->task == device->notice.task);
    if (!same || !ota_upgrade_is_busy(device)) {
        ignore(device, "the cancellation", "not busy with it");
    } else if (device->phase == OTA_PHASE_BURNING) {
        ignore(device, "the cancellation", "burning already");
    } else {
        stop_fetching(device);
        ota_image_drop(&device->image);
        device->then = NULL;
        device->acked = true;
        ota_device_enter(device, OTA_PHASE_IDLE);
        ota_device_tell(device, OTA_EVENT_CANCELLED, "{s:s}", "version", notice->version);
        conclude(device, false);
    }
}

void ota_upgrade_cut_off(struct ota_device *device)
{
    if (device->phase == OTA_PHASE_STARTING || device->phase == OTA_PHASE_FETCHING) {
        stop_fetching(device);
        ota_device_enter(device, OTA_PHASE_IDLE);
        device->report_due = true;
    }
}
