/* SPDX-License-Identifier: BSD-3-Clause */
#include "continuous.h"

#include <string.h>

#include "broker.h"
#include "enrol.h"

#define OTA_LOOKS_A_TICK   200
#define OTA_TASKS_A_DEVICE 3 /* of one continuous batch */

static bool is_taking(const struct ota_batch *batch)
{
    return batch->row.mode == OTA_MODE_CONTINUOUS && !ota_batch_is_over(batch) &&
           batch->row.reason != OTA_REASON_EXPIRED && batch->row.prepared != OTA_PREPARED_NOT;
}

static enum ota_err is_one_of(struct ota_core *core, const struct ota_batch *batch,
                              const struct ota_device *device, bool *match, struct ota_error *error)
{
    enum ota_err err = ota_enrol_matches(core, batch, device, match, error);
    if (err == OTA_OK && *match && batch->row.named) {
        err = ota_batch_is_named(core->store, batch->row.id, device->id, match, error);
    }
    return err;
}

enum ota_err ota_continuous_newer_takes(struct ota_core *core, const struct ota_batch *batch,
                                        const struct ota_device *device, bool *taken,
                                        struct ota_error *error)
{
    *taken = false;
    enum ota_err err = OTA_OK;
    for (struct ota_batch *other = core->fleet.live; other != NULL && err == OTA_OK && !*taken;
         other = other->next_live) {
        if (other->product == batch->product && other->row.id > batch->row.id && is_taking(other)) {
            err = is_one_of(core, other, device, taken, error);
        }
    }
    return err;
}

/* The newest one that the device matches; NULL: none. */
static enum ota_err find_taker(struct ota_core *core, const struct ota_device *device,
                               struct ota_batch **taker, struct ota_error *error)
{
    *taker = NULL;
    enum ota_err err = OTA_OK;
    for (struct ota_batch *batch = core->fleet.live; batch != NULL && err == OTA_OK;
         batch = batch->next_live) {
        bool match = false;
        if (batch->product == device->product && is_taking(batch) &&
            (*taker == NULL || batch->row.id > (*taker)->row.id)) {
            err = is_one_of(core, batch, device, &match, error);
            *taker = match ? batch : *taker;
        }
    }
    return err;
}

/* It said that it was done with the version and hasn't come back yet: it boots, and is told nothing
 * until it reports. */
static enum ota_err is_booting(struct ota_core *core, const struct ota_batch *batch,
                               const struct ota_device *device, bool *booting,
                               struct ota_error *error)
{
    struct ota_task_row row;
    *booting = false;
    if (device->last_task == 0 || !device->may_settle) {
        return OTA_OK;
    }
    enum ota_err err = ota_task_get(core->store, device->last_task, &row, error);
    *booting = err == OTA_OK && row.status == OTA_SUCCEEDED && row.confirmation == OTA_PENDING &&
               strcmp(row.version, batch->row.version) == 0;
    return err == OTA_NOT_FOUND ? OTA_OK : err;
}

static enum ota_err consider(struct ota_core *core, struct ota_device *device,
                             struct ota_error *error)
{
    struct ota_batch *batch;
    enum ota_err err = find_taker(core, device, &batch, error);
    if (err != OTA_OK || batch == NULL ||
        (batch->row.prepared == OTA_PREPARED_PARTLY && device->id > batch->row.prepared_to)) {
        return err;
    }
    struct ota_firmware *firmware = ota_fleet_firmware(&core->fleet, batch->row.firmware_id);
    if (firmware == NULL ||
        ota_enrol_exclusion(core, batch, device, firmware) != OTA_EXCLUSION_COUNT ||
        (device->task != NULL && device->task->batch == batch)) {
        return OTA_OK;
    }
    bool booting = false;
    int count = 0;
    err = is_booting(core, batch, device, &booting, error);
    if (err == OTA_OK) {
        err = ota_task_count_in_batch(core->store, device->id, batch->row.id, &count, error);
    }
    return err == OTA_OK && !booting && count < OTA_TASKS_A_DEVICE
               ? ota_enrol_make(core, batch, device, firmware, error)
               : err;
}

static void run_considered(struct ota_core *core, struct ota_effect *effect)
{
    (void)core;
    (void)effect;
}

static void drop_considered(struct ota_core *core, struct ota_effect *effect)
{
    ota_fleet_mark(&core->fleet.looks, effect->item);
}

/* Where the slice isn't committed, each of its devices is to be looked at again. */
static enum ota_err consider_one(struct ota_core *core, struct ota_device *device,
                                 struct ota_error *error)
{
    struct ota_effect *effect = ota_core_after(core, run_considered, drop_considered);
    if (effect == NULL) {
        ota_fleet_mark(&core->fleet.looks, device);
        return ota_error_no_memory(error);
    }
    effect->item = device;
    return consider(core, device, error);
}

/* Goes round: who is behind those that report all the time has its turn, too. *stuck becomes the
 * device that couldn't be looked at. */
static enum ota_err consider_some(struct ota_core *core, int64_t end, struct ota_device **stuck,
                                  struct ota_error *error)
{
    struct ota_fleet *fleet = &core->fleet;
    uint32_t began = fleet->looks_at;
    enum ota_err err = OTA_OK;
    struct ota_device *device = NULL;
    int looks = 0;
    do {
        device = ota_fleet_take_marked(fleet, &fleet->looks, &fleet->looks_at);
        err = device != NULL ? consider_one(core, device, error) : OTA_OK;
        looks++;
    } while (err == OTA_OK && device != NULL && looks < OTA_LOOKS_A_TICK && ota_now_mono() < end);
    *stuck = err != OTA_OK ? device : NULL;
    if (device == NULL) {
        fleet->looks_at = 0;
    }
    fleet->looks.any = err != OTA_OK || device != NULL || began > 0;
    return err;
}

/* A device that can't be looked at though the database works must not hold up the others. */
static enum ota_err pass_over(struct ota_core *core, const struct ota_device *device,
                              enum ota_err err, struct ota_error *error)
{
    if (device == NULL || err == OTA_UNAVAILABLE) {
        return err;
    }
    ota_log(OTA_LOG_ERROR, "device %s of %s gets no continuous batch before it reports again: %s",
            device->name, device->product->name, error->text);
    *error = (struct ota_error){0};
    ota_fleet_unmark(&core->fleet.looks, device);
    return OTA_OK;
}

enum ota_err ota_continuous_look(struct ota_core *core, int64_t end, struct ota_error *error)
{
    if (!core->fleet.looks.any || ota_now_mono() >= end) {
        return OTA_OK;
    }
    struct ota_device *stuck = NULL;
    enum ota_err err = ota_core_begin(core, error);
    if (err == OTA_OK) {
        err = consider_some(core, end, &stuck, error);
        err = err == OTA_OK ? ota_core_commit(core, error) : err;
    }
    if (err != OTA_OK) {
        ota_core_rollback(core);
    }
    return err == OTA_OK ? OTA_OK : pass_over(core, stuck, err, error);
}
