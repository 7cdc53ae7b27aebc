/* SPDX-License-Identifier: BSD-3-Clause */
#include "devices.h"

#include <stdlib.h>
#include <string.h>

#include "batch_members.h"
#include "broker.h"
#include "events.h"
#include "fleet_conn.h"
#include "fleet_task.h"
#include "task_plan.h"

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

/* --- a device goes ------------------------------------------------------------------------------
 */

void ota_departure_free(struct ota_departure *departure)
{
    free(departure->tasks);
    *departure = (struct ota_departure){0};
}

static bool note_task(struct ota_departure *departure, int64_t task)
{
    if (departure->count == departure->capacity) {
        size_t capacity = departure->capacity != 0 ? departure->capacity * 2 : 64;
        int64_t *grown = realloc(departure->tasks, capacity * sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        departure->tasks = grown;
        departure->capacity = capacity;
    }
    departure->tasks[departure->count++] = task;
    return true;
}

struct looking {
    struct ota_departure *departure;
    int64_t end;
    int looked;
    bool more;
    bool no_memory;
};

static bool look_at_task(void *data, const struct ota_task_row *row)
{
    struct looking *looking = data;
    looking->departure->looked_to = row->id;
    looking->no_memory = row->batch_id != 0 && !note_task(looking->departure, row->id);
    looking->more = ++looking->looked % 64 == 0 && ota_now_mono() >= looking->end;
    return !looking->more && !looking->no_memory;
}

enum ota_err ota_devices_look_back(struct ota_core *core, const struct ota_device *device,
                                   struct ota_departure *departure, int64_t end,
                                   struct ota_error *error)
{
    struct looking looking = {.departure = departure, .end = end};
    if (departure->device_id != device->id) { /* another one of that name, since */
        ota_departure_free(departure);
        departure->device_id = device->id;
    }
    enum ota_err err = ota_task_of_device(core->store, device->id, departure->looked_to,
                                          look_at_task, &looking, error);
    if (err == OTA_OK && looking.no_memory) {
        return ota_error_no_memory(error);
    }
    return err == OTA_OK && looking.more ? OTA_AGAIN : err;
}

static void run_left(struct ota_core *core, struct ota_effect *effect)
{
    (void)core;
    ota_batch_drop_member(effect->item, (uint32_t)effect->sent_at);
    ota_batch_count(effect->item,
                    &(struct ota_counted){.task_id = effect->number,
                                          .device_id = (uint32_t)effect->sent_at,
                                          .up = &effect->upgrade},
                    NULL);
}

/* The finished task leaves the tally of its batch. */
static enum ota_err leave_batch(struct ota_core *core, int64_t task, struct ota_error *error)
{
    struct ota_task_row row;
    enum ota_err err = ota_task_get(core->store, task, &row, error);
    if (err != OTA_OK) {
        return err == OTA_NOT_FOUND ? OTA_OK : err; /* it was so old that it went meanwhile */
    }
    struct ota_batch *batch = ota_fleet_batch(&core->fleet, row.batch_id);
    struct ota_effect *effect = batch != NULL ? ota_core_after(core, run_left, NULL) : NULL;
    if (effect == NULL) {
        return batch != NULL ? ota_error_no_memory(error) : OTA_OK;
    }
    effect->item = batch;
    effect->number = row.id;
    effect->sent_at = row.device_id;
    ota_upgrade_of_row(&row, &effect->upgrade);
    effect->upgrade.retry_on = NULL;
    return OTA_OK;
}

/* The device's tasks in the batch, of the effects first..last: a continuous one has several. */
static void take_off(const struct ota_core *core, size_t first, size_t last,
                     const struct ota_batch *batch, struct ota_tally *tally)
{
    for (size_t i = first; i <= last; i++) {
        const struct ota_effect *effect = &core->effects[i];
        if (effect->item == batch) {
            struct ota_standing standing = {.status = effect->upgrade.status,
                                            .confirmation = effect->upgrade.confirmation};
            ota_tally_add(tally, &standing, -1);
        }
    }
}

/* What the tallies of settled batches become is stored; the others are counted at each start. */
static enum ota_err leave_batches(struct ota_core *core, const struct ota_departure *departure,
                                  struct ota_error *error)
{
    size_t first = core->effect_count;
    enum ota_err err = OTA_OK;
    for (size_t i = 0; err == OTA_OK && i < departure->count; i++) {
        err = leave_batch(core, departure->tasks[i], error);
    }
    for (size_t i = first; err == OTA_OK && i < core->effect_count; i++) {
        struct ota_batch *batch = core->effects[i].item;
        size_t seq = ota_batch_stage_of(batch, (uint32_t)departure->device_id);
        if (batch->row.tallied) {
            struct ota_stage stage = batch->stages[seq];
            take_off(core, first, i, batch, &stage.tally);
            err = ota_batch_update_stage(core->store, batch->row.id, seq, &stage, error);
        }
    }
    return err;
}

enum ota_err ota_devices_depart(struct ota_core *core, struct ota_device *device,
                                const struct ota_departure *departure, struct ota_error *error)
{
    enum ota_err err = leave_batches(core, departure, error);
    if (err == OTA_OK) {
        err = ota_device_doom(core->store, device->id, error);
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

enum ota_err ota_devices_remove(struct ota_core *core, struct ota_device *device,
                                struct ota_error *error)
{
    struct ota_departure departure = {0};
    enum ota_err err = ota_devices_look_back(core, device, &departure, INT64_MAX, error);
    if (err == OTA_OK) {
        err = ota_devices_depart(core, device, &departure, error);
    }
    ota_departure_free(&departure);
    return err;
}

void ota_devices_seen(struct ota_core *core, struct ota_device *device)
{
    device->last_seen = ota_now_unix();
    if (ota_hour_of(device->last_seen) != device->seen_hour) {
        ota_fleet_mark(&core->fleet.dirty, device);
    }
}

void ota_devices_offline(struct ota_core *core, struct ota_device *device)
{
    ota_fleet_set_conn(&core->fleet, device, NULL);
    device->last_seen = ota_now_unix();
    ota_fleet_mark(&core->fleet.dirty, device);
    ota_events_presence(core, device);
    if (device->task != NULL) {
        ota_tasks_disconnected(core, device->task);
    }
}
