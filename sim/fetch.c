/* SPDX-License-Identifier: BSD-3-Clause */
#include "fetch.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "inband.h"
#include "upgrade.h"
#include "vendor_fetch.h"

#define OTA_TRIES_MAX    5
#define OTA_FIRST_TRY_MS 250

static void request(struct ota_device *device);

unsigned ota_fetch_percent(const struct ota_device *device)
{
    if (device->vendor) {
        /* Its 32 bits overflow from 42,949,673 bytes on, and so do ours. */
        uint32_t size = (uint32_t)device->notice.size;
        return size == 0 ? 0 : (uint32_t)(device->image.received * 100) / size;
    }
    return (unsigned)(device->image.received * 100 / device->notice.size);
}

int64_t ota_fetch_speed(const struct ota_device *device)
{
    bool slow = device->armed && device->fault.kind == OTA_FAULT_SLOW;
    return slow ? device->fault.number : device->world->options->speed;
}

void ota_fetch_stop(struct ota_device *device)
{
    if (device->transfer != NULL) {
        ota_transfer_stop(device->transfer);
        device->transfer = NULL;
    }
    ota_vendor_fetch_stop(device);
    ota_loop_cancel(&device->world->loop, &device->tick);
    ota_loop_cancel(&device->world->loop, &device->step);
}

void ota_fetch_say(struct ota_device *device)
{
    device->percent = ota_fetch_percent(device);
    ota_device_report(device, OTA_SAID_DOWNLOADING, NULL);
}

void ota_fetch_tick(void *arg)
{
    struct ota_device *device = arg;
    int64_t ms = device->world->options->progress_ms;
    if (device->vendor) {
        ota_vendor_fetch_tick(device);
        return;
    }
    ota_loop_after(&device->world->loop, &device->tick, ms);
    if (ota_fetch_percent(device) != device->percent) {
        ota_fetch_say(device);
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

static void try_again(struct ota_device *device, const char *reason)
{
    ota_device_tell(device, OTA_EVENT_DOWNLOAD_CUT, "{s:I, s:s}", "offset",
                    (json_int_t)device->image.received, "reason", reason);
    if (device->tries == OTA_TRIES_MAX) {
        ota_upgrade_fail(device, OTA_CODE_TIMED_OUT);
        return;
    }
    ota_device_after(device, OTA_FIRST_TRY_MS << device->tries++, request);
}

/* Another file than the one that was begun: from the start, but not for ever. */
static void start_over(struct ota_device *device)
{
    if (device->started_over) {
        ota_upgrade_fail(device, OTA_CODE_FAILED);
        return;
    }
    device->started_over = true;
    ota_image_drop(&device->image);
    try_again(device, "range not satisfiable");
}

static void end_badly(struct ota_device *device, const struct ota_transfer_end *end)
{
    int code = ota_code_of_status(end->status);
    bool refused = end->status >= 300 && end->status < 500 && end->status != 429;
    if (code != 0) {
        ota_upgrade_fail(device, code);
    } else if (end->status == 416) {
        start_over(device);
    } else if (device->broken || refused || end->hopeless) {
        ota_upgrade_fail(device, OTA_CODE_FAILED);
    } else if (end->complete && is_body(end->status)) {
        ota_upgrade_fail(device, OTA_CODE_MISMATCH); /* all of it, and less than the notice said */
    } else {
        try_again(device, end->status >= 500 ? "the server's error" : end->reason);
    }
}

static void on_end(void *arg, const struct ota_transfer_end *end)
{
    struct ota_device *device = arg;
    device->transfer = NULL;
    if (device->image.received >= device->trip) {
        ota_upgrade_strike(device);
    } else if (device->overflow) {
        ota_upgrade_fail(device, OTA_CODE_MISMATCH);
    } else if (device->image.received == device->notice.size) {
        ota_upgrade_complete(device);
    } else {
        end_badly(device, end);
    }
}

bool ota_fetch_add(struct ota_device *device, const void *data, size_t len)
{
    return on_bytes(device, data, len);
}

void ota_fetch_end(struct ota_device *device, const struct ota_transfer_end *end)
{
    on_end(device, end);
}

static const struct ota_transfer_events transfer_events = {on_head, on_bytes, on_end};

static bool begin_image(struct ota_device *device)
{
    const struct ota_image *image = &device->image;
    device->overflow = device->broken = false;
    if (ota_image_is_of(image, &device->notice, false) && image->received <= device->notice.size) {
        return true;
    }
    return ota_image_start(&device->image, &device->notice, device->world->options->save, NULL) ==
           OTA_OK;
}

static void request(struct ota_device *device)
{
    if (!begin_image(device)) {
        ota_upgrade_fail(device, OTA_CODE_FAILED);
        return;
    }
    int64_t received = device->image.received;
    if (received >= device->trip) {
        ota_upgrade_strike(device);
        return;
    }
    if (received == device->notice.size) {
        ota_upgrade_complete(device);
        return;
    }
    if (device->world->options->inband) {
        ota_inband_ask(device);
        return;
    }
    char range[48];
    snprintf(range, sizeof range, "%" PRId64 "-", received);
    struct ota_transfer_request wanted = {
        .url = device->notice.url,
        .range = received > 0 ? range : NULL,
        .if_range = received > 0 && device->image.etag[0] != '\0' ? device->image.etag : NULL,
        .speed = ota_fetch_speed(device),
    };
    if (ota_transfer_start(&device->world->transfers, &wanted, &transfer_events, device,
                           &device->transfer, NULL) != OTA_OK) {
        ota_upgrade_fail(device, OTA_CODE_FAILED);
    }
}

static void start(struct ota_device *device)
{
    if (!begin_image(device)) {
        ota_upgrade_fail(device, OTA_CODE_FAILED);
        return;
    }
    device->tries = 0;
    device->started_over = false;
    ota_fetch_say(device);
    ota_loop_after(&device->world->loop, &device->tick, device->world->options->progress_ms);
    request(device);
}

void ota_fetch_start(struct ota_device *device)
{
    const struct ota_notice *notice = &device->notice;
    bool trips = device->armed && device->fault.percent >= 0;
    bool goes_on = ota_image_is_of(&device->image, notice, device->vendor) &&
                   device->image.received <= notice->size;
    ota_device_enter(device, OTA_PHASE_FETCHING);
    device->trip = trips ? notice->size * device->fault.percent / 100 : INT64_MAX;
    ota_device_tell(device, OTA_EVENT_DOWNLOAD_START, "{s:s, s:I}", "url", notice->url, "offset",
                    (json_int_t)(goes_on ? device->image.received : 0));
    if (device->vendor) {
        ota_vendor_fetch_start(device);
    } else {
        start(device);
    }
}
