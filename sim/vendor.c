/* SPDX-License-Identifier: BSD-3-Clause */
#include "vendor.h"

#include <string.h>

/* From the connection to the report: what comes in between is lost on it. */
#define OTA_VENDOR_REPORT_MS 700
#define OTA_VENDOR_LOST_MS   2500

#define OTA_VENDOR_PACKET_MAX 2048

int64_t ota_vendor_wait(const struct ota_device *device, int64_t ms)
{
    return ms / device->world->net.haste;
}

enum ota_err ota_vendor_check_names(const char *product, const char *device,
                                    struct ota_error *error)
{
    if (strlen(product) > OTA_VENDOR_PRODUCT_MAX ||
        strlen(product) + strlen(device) > OTA_VENDOR_NAMES_MAX) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "device",
                             "--vendor: its SDK takes a product of %d characters at most, and %d "
                             "with the device's name: \"%s\" and \"%s\" are more",
                             OTA_VENDOR_PRODUCT_MAX, OTA_VENDOR_NAMES_MAX, product, device);
    }
    return OTA_OK;
}

void ota_vendor_greet(struct ota_device *device)
{
    if (!device->reported || device->world->options->report_on_reconnect) {
        ota_device_report_after(device, ota_vendor_wait(device, OTA_VENDOR_REPORT_MS));
    } else if (device->report_due || device->phase == OTA_PHASE_COOLING) {
        ota_device_report_after(device, ota_vendor_wait(device, OTA_VENDOR_LOST_MS));
    }
}

/* It takes a packet id that it saw lately for a repetition, in any connection. */
static bool is_seen(struct ota_device *device, const struct ota_link_message *message)
{
    if (message->qos != 1) {
        return false;
    }
    for (size_t i = 0; i < OTA_VENDOR_MIDS; i++) {
        if (device->seen_mids[i] == message->mid) {
            return true;
        }
    }
    device->seen_mids[device->seen_next++ % OTA_VENDOR_MIDS] = message->mid;
    return false;
}

/* libmosquitto has acknowledged it by then, which the SDK doesn't do for one that is too long. */
const char *ota_vendor_why_deaf(struct ota_device *device, const struct ota_link_message *message)
{
    if (device->deaf) {
        return "deaf since an answer other than 0";
    }
    if (message->packet > OTA_VENDOR_PACKET_MAX) {
        return "its packet is over 2,048 bytes";
    }
    return is_seen(device, message) ? "its packet id was seen before" : NULL;
}

const char *ota_vendor_why_not(const struct ota_device *device, bool same)
{
    if (!device->reported || device->report_due) {
        return "hasn't reported yet";
    }
    if (device->phase == OTA_PHASE_IDLE || (device->phase == OTA_PHASE_MUTE && !same)) {
        return NULL;
    }
    return "busy";
}
