/* SPDX-License-Identifier: BSD-3-Clause */
#include "enrol.h"

#include <string.h>

#include "tasks.h"

bool ota_enrol_is_downgrade(const struct ota_core *core, const struct ota_device *device,
                            const struct ota_firmware *target)
{
    const struct ota_firmware *present =
        device->version != NULL
            ? ota_fleet_firmware_of(&core->fleet, device->product->id, device->version->text)
            : NULL;
    return present != NULL && target->row.order < present->row.order;
}

static enum ota_err tags_match(struct ota_core *core, const struct ota_batch *batch,
                               const struct ota_device *device, bool *match,
                               struct ota_error *error)
{
    struct ota_device_row row;
    enum ota_err err = ota_device_get(core->store, device->id, &row, error);
    *match = err == OTA_OK && ota_target_takes_tags(&batch->target, row.tags);
    return err;
}

enum ota_err ota_enrol_matches(struct ota_core *core, const struct ota_batch *batch,
                               const struct ota_device *device, bool *match,
                               struct ota_error *error)
{
    const struct ota_target *target = &batch->target;
    const char *version = device->version != NULL ? device->version->text : NULL;
    *match = ota_target_takes_version(target, version) &&
             ota_target_takes_online(target, device->conn != NULL);
    if (!*match || !ota_target_needs_tags(target)) {
        return OTA_OK;
    }
    return tags_match(core, batch, device, match, error);
}

enum ota_exclusion ota_enrol_exclusion(const struct ota_core *core, const struct ota_batch *batch,
                                       const struct ota_device *device,
                                       const struct ota_firmware *firmware)
{
    unsigned flags = batch->row.flags;
    if ((flags & OTA_BATCH_REINSTALL) == 0 && device->version != NULL &&
        strcmp(device->version->text, batch->row.version) == 0) {
        return OTA_EXCLUDED_ON_VERSION;
    }
    if ((flags & OTA_BATCH_OVERRIDE) == 0 && device->task != NULL) {
        return OTA_EXCLUDED_BUSY;
    }
    if (device->hold) {
        return OTA_EXCLUDED_HELD;
    }
    if ((flags & OTA_BATCH_DOWNGRADE) == 0 && ota_enrol_is_downgrade(core, device, firmware)) {
        return OTA_EXCLUDED_DOWNGRADE;
    }
    return OTA_EXCLUSION_COUNT;
}

struct ota_task_order ota_enrol_order(const struct ota_batch *batch, struct ota_firmware *firmware)
{
    const struct ota_batch_row *row = &batch->row;
    return (struct ota_task_order){.firmware = firmware,
                                   .batch_id = row->id,
                                   .timeout_ms = row->timeout_ms,
                                   .retry_max = row->retry_max,
                                   .retry_delay_ms = row->retry_delay_ms,
                                   .retry_on = row->retry_on};
}

enum ota_err ota_enrol_make(struct ota_core *core, const struct ota_batch *batch,
                            struct ota_device *device, struct ota_firmware *firmware,
                            struct ota_error *error)
{
    enum ota_err err = OTA_OK;
    if (device->task != NULL) {
        struct ota_upgrade_event event = {.kind = OTA_EV_CANCEL, .service_now = core->service_ms};
        bool changed;
        err = ota_tasks_apply(core, device->task, &event, NULL, &changed, error);
    }
    if (err != OTA_OK) {
        return err;
    }
    struct ota_task_order order = ota_enrol_order(batch, firmware);
    order.device = device;
    order.reinstall =
        device->version != NULL && strcmp(device->version->text, batch->row.version) == 0;
    int64_t id;
    return ota_tasks_create(core, &order, &id, error);
}
