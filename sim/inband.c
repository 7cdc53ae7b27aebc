/* SPDX-License-Identifier: BSD-3-Clause */
#include "inband.h"

#include <stdlib.h>
#include <string.h>

#include "fetch.h"

/* Without a block for so long it is asked again. */
#define OTA_INBAND_WAIT_MS 5000

/* request_block_rsp's result codes, as what HTTP would have said. */
static const long statuses[] = {
    [1] = 400, [2] = 416, [3] = 403, [4] = 403, [5] = 503, [6] = 503, [7] = 503,
};

static bool is_fetching(const struct ota_device *device)
{
    return device->world->options->inband && device->phase == OTA_PHASE_FETCHING;
}

static void end(struct ota_device *device, long status, const char *reason)
{
    ota_loop_cancel(&device->world->loop, &device->step);
    ota_fetch_end(device, &(struct ota_transfer_end){.status = status, .reason = reason});
}

static void on_nothing(struct ota_device *device)
{
    end(device, 0, "no block came");
}

/* Held to a speed, a window is half a second's worth at most: an even flow. */
static int64_t count_of(const struct ota_device *device)
{
    const struct ota_options *options = device->world->options;
    int64_t speed = ota_fetch_speed(device);
    int64_t most = speed / 2 / options->block_length;
    return speed == 0 || most > options->block_count ? options->block_count : most > 0 ? most : 1;
}

void ota_inband_ask(struct ota_device *device)
{
    const struct ota_options *options = device->world->options;
    int64_t count = count_of(device);
    char text[OTA_REPORT_MAX];
    size_t len = ota_report_ask(device->notice.task, device->image.received, options->block_length,
                                count, text);
    device->window_start = device->image.received;
    device->window_end = device->window_start + count * options->block_length;
    device->asked_at = device->world->loop.now;
    if (device->window_end > device->notice.size) {
        device->window_end = device->notice.size;
    }
    if (ota_link_publish(&device->link, device->report_topic, text, len, (int)options->block_qos) >=
        0) {
        ota_device_after(device, OTA_INBAND_WAIT_MS, on_nothing);
    }
}

/* The next window, at once or when the speed allows it. */
static void go_on(struct ota_device *device)
{
    int64_t speed = ota_fetch_speed(device);
    int64_t took = speed == 0 ? 0 : (device->window_end - device->window_start) * 1000 / speed;
    int64_t wait = device->asked_at + took - device->world->loop.now;
    if (wait > 0) {
        ota_device_after(device, wait, ota_inband_ask);
    } else {
        ota_inband_ask(device);
    }
}

static void add(struct ota_device *device, const struct ota_link_message *message)
{
    device->world->transfers.bytes += message->len;
    bool good = ota_fetch_add(device, message->payload, message->len);
    if (!good || device->image.received == device->notice.size) {
        end(device, 206, "all is here");
    } else if (device->image.received >= device->window_end) {
        go_on(device);
    } else {
        ota_device_after(device, OTA_INBAND_WAIT_MS, on_nothing);
    }
}

bool ota_inband_take(struct ota_device *device, const struct ota_link_message *message)
{
    size_t len = strlen(device->block_topic);
    char *rest;
    if (strncmp(message->topic, device->block_topic, len) != 0) {
        return false;
    }
    long long task = strtoll(message->topic + len, &rest, 10);
    long long offset = *rest == '/' ? strtoll(rest + 1, NULL, 10) : -1;
    /* another window's, which was asked for twice, or of an upgrade that is over: no matter */
    if (is_fetching(device) && task == device->notice.task && offset == device->image.received) {
        add(device, message);
    }
    return true;
}

void ota_inband_refused(struct ota_device *device, const struct ota_message *message)
{
    int64_t code = message->result_code;
    int64_t known = sizeof statuses / sizeof statuses[0];
    int64_t task = message->notice.task; /* 0: none given */
    /* of an upgrade that is over: no matter */
    if (is_fetching(device) && (task == 0 || task == device->notice.task)) {
        end(device, code > 0 && code < known ? statuses[code] : 400, message->result_msg);
    }
}

void ota_inband_lost(struct ota_device *device)
{
    if (is_fetching(device)) {
        ota_device_tell(device, OTA_EVENT_DOWNLOAD_CUT, "{s:I, s:s}", "offset",
                        (json_int_t)device->image.received, "reason", "connection lost");
        ota_loop_cancel(&device->world->loop, &device->step);
    }
}

void ota_inband_resume(struct ota_device *device)
{
    if (is_fetching(device)) {
        ota_inband_ask(device);
    }
}
