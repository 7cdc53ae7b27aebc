/* SPDX-License-Identifier: BSD-3-Clause */
#include "devices.h"

#include <string.h>

#include "batch.h"
#include "broker.h"
#include "events.h"
#include "tasks.h"

static void run_nothing(struct ota_core *core, struct ota_effect *effect)
{
    (void)core;
    (void)effect;
}

static void run_added(struct ota_core *core, struct ota_effect *effect)
{
    ota_core_look_again(core, effect->item);
}

static void drop_product(struct ota_core *core, struct ota_effect *effect)
{
    ota_fleet_remove_product(&core->fleet, effect->item);
}

enum ota_err ota_devices_add_product(struct ota_core *core, struct ota_product_row *row,
                                     struct ota_error *error)
{
    enum ota_err err = ota_product_insert(core->store, row, error);
    if (err != OTA_OK) {
        return err;
    }
    struct ota_effect *effect = ota_core_after(core, run_nothing, NULL);
    struct ota_product *product =
        effect != NULL ? ota_fleet_add_product(&core->fleet, row->id, row->name) : NULL;
    if (product == NULL) {
        return ota_error_no_memory(error);
    }
    effect->item = product;
    effect->drop = drop_product;
    return OTA_OK;
}

static void run_version(struct ota_core *core, struct ota_effect *effect)
{
    struct ota_version *version = effect->other;
    version->remembered = version->remembered || effect->number != 0;
    ota_fleet_set_version(&core->fleet, effect->item, effect->other);
    ota_core_look_again(core, effect->item);
    ota_events_version(core, effect->item);
}

static void drop_version(struct ota_core *core, struct ota_effect *effect)
{
    struct ota_device *device = effect->item;
    ota_fleet_drop_version(&core->fleet, device->product, effect->version);
}

enum ota_err ota_devices_set_version(struct ota_core *core, struct ota_device *device,
                                     const char *text, struct ota_error *error)
{
    enum ota_err err = ota_device_set_version(core->store, device->id, text, ota_now_unix(), error);
    if (err != OTA_OK) {
        return err;
    }
    struct ota_effect *effect = ota_core_after(core, run_version, NULL);
    struct ota_version *version =
        effect != NULL ? ota_fleet_version(&core->fleet, device->product, text) : NULL;
    if (version == NULL) {
        return ota_error_no_memory(error);
    }
    effect->item = device;
    effect->other = version;
    memcpy(effect->version, version->text, sizeof effect->version);
    effect->drop = drop_version;
    if (!version->remembered && device->product->versions.count <= OTA_VERSIONS_REMEMBERED) {
        effect->number = 1;
        err = ota_product_add_version(core->store, device->product->id, text, error);
    }
    return err;
}

static void drop_device(struct ota_core *core, struct ota_effect *effect)
{
    ota_fleet_remove_device(&core->fleet, effect->item);
}

enum ota_err ota_devices_add(struct ota_core *core, struct ota_device_row *row,
                             struct ota_device **device, struct ota_error *error)
{
    char version[OTA_VERSION_MAX + 1];
    memcpy(version, row->version, sizeof version);
    row->version[0] = '\0';
    row->version_at = 0;
    enum ota_err err = ota_device_insert(core->store, row, error);
    if (err != OTA_OK) {
        return err;
    }
    struct ota_effect *effect = ota_core_after(core, run_added, NULL);
    struct ota_device *added = effect != NULL ? ota_fleet_add_device(&core->fleet, row) : NULL;
    if (added == NULL) {
        return ota_error_no_memory(error);
    }
    effect->item = added;
    effect->drop = drop_device;
    if (version[0] != '\0') {
        err = ota_devices_set_version(core, added, version, error);
    }
    if (err == OTA_OK) {
        *device = added;
    }
    return err;
}

static void run_removed(struct ota_core *core, struct ota_effect *effect)
{
    ota_fleet_remove_device(&core->fleet, effect->item);
}

/* The finished task leaves the tally of its batch. */
struct leaving {
    struct ota_core *core;
    struct ota_device *device;
    enum ota_err err;
    struct ota_error *error;
};

static void run_left(struct ota_core *core, struct ota_effect *effect)
{
    (void)core;
    ota_batch_count(effect->item,
                    &(struct ota_counted){.task_id = effect->number,
                                          .device_id = (uint32_t)effect->sent_at,
                                          .up = &effect->upgrade},
                    NULL);
}

static bool leave_batch(void *data, const struct ota_task_row *row)
{
    struct leaving *leaving = data;
    struct ota_batch *batch =
        row->batch_id != 0 ? ota_fleet_batch(&leaving->core->fleet, row->batch_id) : NULL;
    if (batch == NULL) {
        return true;
    }
    struct ota_effect *effect = ota_core_after(leaving->core, run_left, NULL);
    if (effect == NULL) {
        leaving->err = ota_error_no_memory(leaving->error);
        return false;
    }
    effect->item = batch;
    effect->number = row->id;
    effect->sent_at = row->device_id;
    ota_upgrade_of_row(row, &effect->upgrade);
    effect->upgrade.retry_on = NULL;
    return true;
}

/* What the tallies of settled batches become is stored; the others are counted at each start. */
static enum ota_err leave_batches(struct ota_core *core, struct ota_device *device,
                                  struct ota_error *error)
{
    struct leaving leaving = {.core = core, .device = device, .error = error};
    size_t first = core->effect_count;
    enum ota_err err = ota_task_of_device(core->store, device->id, leave_batch, &leaving, error);
    err = err == OTA_OK ? leaving.err : err;
    for (size_t i = first; err == OTA_OK && i < core->effect_count; i++) {
        struct ota_effect *effect = &core->effects[i];
        struct ota_batch *batch = effect->item;
        size_t seq = ota_batch_stage_of(batch, device->id);
        if (batch->row.tallied) {
            struct ota_stage stage = batch->stages[seq];
            stage.tally = ota_batch_tally_after(batch,
                                                &(struct ota_counted){.task_id = effect->number,
                                                                      .device_id = device->id,
                                                                      .up = &effect->upgrade},
                                                NULL);
            err = ota_batch_update_stage(core->store, batch->row.id, seq, &stage, error);
        }
    }
    return err;
}

enum ota_err ota_devices_remove(struct ota_core *core, struct ota_device *device,
                                struct ota_error *error)
{
    enum ota_err err = leave_batches(core, device, error);
    if (err == OTA_OK) {
        err = ota_device_delete(core->store, device->id, error);
    }
    if (err != OTA_OK) {
        return err;
    }
    struct ota_effect *effect = ota_core_after(core, run_removed, NULL);
    if (effect == NULL) {
        return ota_error_no_memory(error);
    }
    effect->item = device;
    return OTA_OK;
}

void ota_devices_seen(struct ota_core *core, struct ota_device *device)
{
    device->last_seen = ota_now_unix();
    if (ota_hour_of(device->last_seen) != device->seen_hour) {
        ota_fleet_mark(&core->fleet.dirty, device);
    }
}
