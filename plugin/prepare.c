/* SPDX-License-Identifier: BSD-3-Clause */
#include "prepare.h"

#include <stdlib.h>
#include <string.h>

#include "batches.h"
#include "broker.h"
#include "tasks.h"

#define OTA_SLICE_DEVICES  4096 /* looked at in one transaction */
#define OTA_SLICE_TASKS    256  /* made in one: a millisecond or two */
#define OTA_PLACED_A_TICK  20000
#define OTA_LOOKS_A_TICK   200
#define OTA_TASKS_A_DEVICE 3 /* of one continuous batch */

/* --- who matches ------------------------------------------------------------------------------ */

bool ota_prepare_is_downgrade(const struct ota_core *core, const struct ota_device *device,
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

/* Whether the device is one of the target's; its list of names is the caller's matter. */
static enum ota_err matches(struct ota_core *core, const struct ota_batch *batch,
                            const struct ota_device *device, bool *match, struct ota_error *error)
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

/* Why the device, which matches, gets no task; OTA_EXCLUSION_COUNT: it gets one. */
static enum ota_exclusion exclusion_of(const struct ota_core *core, const struct ota_batch *batch,
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
    if ((flags & OTA_BATCH_DOWNGRADE) == 0 && ota_prepare_is_downgrade(core, device, firmware)) {
        return OTA_EXCLUDED_DOWNGRADE;
    }
    return OTA_EXCLUSION_COUNT;
}

/* --- making tasks ----------------------------------------------------------------------------- */

static struct ota_task_order order_of(const struct ota_batch *batch, struct ota_firmware *firmware)
{
    const struct ota_batch_row *row = &batch->row;
    return (struct ota_task_order){.firmware = firmware,
                                   .batch_id = row->id,
                                   .timeout_ms = row->timeout_ms,
                                   .retry_max = row->retry_max,
                                   .retry_delay_ms = row->retry_delay_ms,
                                   .retry_on = row->retry_on};
}

/* One task; an unfinished one of the device is cancelled for it. */
static enum ota_err make_task(struct ota_core *core, const struct ota_batch *batch,
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
    struct ota_task_order order = order_of(batch, firmware);
    order.device = device;
    order.reinstall =
        device->version != NULL && strcmp(device->version->text, batch->row.version) == 0;
    int64_t id;
    return ota_tasks_create(core, &order, &id, error);
}

/* --- one slice -------------------------------------------------------------------------------- */

struct slice {
    struct ota_core *core;
    struct ota_batch *batch;
    struct ota_firmware *firmware;
    struct ota_batch_row row; /* of the batch, as it will be */
    int64_t end;
    int looked;
    uint32_t taken[OTA_SLICE_TASKS]; /* devices that get a task */
    size_t taken_count;
    bool more; /* devices may follow */
    enum ota_err err;
    struct ota_error *error;
};

static enum ota_err newer_takes(struct ota_core *core, const struct ota_batch *batch,
                                const struct ota_device *device, bool *taken,
                                struct ota_error *error);

static enum ota_err take(struct slice *slice, struct ota_device *device)
{
    enum ota_exclusion exclusion = exclusion_of(slice->core, slice->batch, device, slice->firmware);
    if (exclusion != OTA_EXCLUSION_COUNT) {
        slice->row.excluded[exclusion]++;
        return OTA_OK;
    }
    if (slice->batch->stage_count > 1 && !ota_batch_note_member(slice->batch, device->id)) {
        return ota_error_no_memory(slice->error);
    }
    if (device->task != NULL) {
        return make_task(slice->core, slice->batch, device, slice->firmware, slice->error);
    }
    slice->taken[slice->taken_count++] = device->id;
    return OTA_OK;
}

static enum ota_err look_at(struct slice *slice, struct ota_device *device)
{
    bool match = false;
    bool taken = false;
    enum ota_err err = matches(slice->core, slice->batch, device, &match, slice->error);
    if (err == OTA_OK && match && slice->row.mode == OTA_MODE_CONTINUOUS) {
        err = newer_takes(slice->core, slice->batch, device, &taken, slice->error);
    }
    return err == OTA_OK && match && !taken ? take(slice, device) : err;
}

/* Counts what was looked at; false where the slice is full. */
static bool has_room(struct slice *slice)
{
    slice->looked++;
    bool in_time = slice->looked % 64 != 0 || ota_now_mono() < slice->end;
    return in_time && slice->looked < OTA_SLICE_DEVICES && slice->taken_count < OTA_SLICE_TASKS;
}

static bool look_at_named(void *data, int64_t device_id)
{
    struct slice *slice = data;
    struct ota_device *device = ota_fleet_device_by_id(&slice->core->fleet, device_id);
    slice->row.prepared_to = device_id;
    if (device != NULL && device->product == slice->batch->product) {
        slice->err = look_at(slice, device);
    }
    slice->more = slice->err != OTA_OK || !has_room(slice);
    return !slice->more;
}

static enum ota_err look_at_all(struct slice *slice)
{
    struct ota_device *device;
    slice->more = true;
    while (slice->more && slice->err == OTA_OK) {
        device = ota_fleet_device_after(&slice->core->fleet, slice->batch->product,
                                        (uint32_t)slice->row.prepared_to);
        slice->more = device != NULL;
        if (device == NULL) {
            break;
        }
        slice->err = look_at(slice, device);
        slice->row.prepared_to = device->id;
        if (!has_room(slice)) {
            break;
        }
    }
    return slice->err;
}

static enum ota_err look_at_devices(struct slice *slice)
{
    if (!slice->row.named) {
        return look_at_all(slice);
    }
    enum ota_err err = ota_batch_named(slice->core->store, slice->batch->row.id,
                                       slice->row.prepared_to, look_at_named, slice, slice->error);
    return err == OTA_OK ? slice->err : err;
}

/* All tasks are there, and each stage knows its end: the first one opens. */
static void complete(const struct ota_core *core, struct ota_batch_change *change)
{
    struct ota_batch_row *row = &change->row;
    ota_bucket_begin(&row->bucket, core->service_ms);
    row->prepared = OTA_PREPARED_FULLY;
    row->open_stages = 1;
    change->stages[0].state = OTA_STAGE_OPEN;
    change->stages[0].opened_at = ota_now_unix();
    change->stages[change->batch->stage_count - 1].end_key = OTA_KEY_LAST;
    change->stages_too = true;
    if (row->state == OTA_BATCH_PREPARING) {
        row->state = OTA_BATCH_RUNNING;
    }
}

static enum ota_err write_slice(struct slice *slice)
{
    enum ota_err err = look_at_devices(slice);
    if (err == OTA_OK) {
        struct ota_task_order order = order_of(slice->batch, slice->firmware);
        err = ota_tasks_create_many(slice->core, &order, slice->taken, slice->taken_count,
                                    slice->error);
    }
    struct ota_batch_change *change = err == OTA_OK ? ota_batches_change(slice->batch) : NULL;
    if (err != OTA_OK) {
        return err;
    }
    if (change != NULL) {
        change->row = slice->row;
        if (!slice->more && slice->batch->stage_count == 1) {
            complete(slice->core, change);
        }
    }
    return ota_batches_store(slice->core, change, slice->error);
}

static enum ota_err make_some(struct slice *slice)
{
    uint32_t members = ota_batch_member_count(slice->batch);
    enum ota_err err = ota_core_begin(slice->core, slice->error);
    if (err != OTA_OK) {
        return err;
    }
    err = write_slice(slice);
    if (err == OTA_OK) {
        err = ota_core_commit(slice->core, slice->error);
    }
    if (err != OTA_OK) {
        ota_core_rollback(slice->core);
        ota_batch_trim_members(slice->batch, members);
    }
    return err;
}

/* --- where stages end ------------------------------------------------------------------------- */

/* One stage a call: each takes a look at all members. */
static enum ota_err find_end(struct ota_batch *batch, struct ota_error *error)
{
    uint32_t total = ota_batch_member_count(batch);
    uint32_t ends[OTA_STAGES_MAX];
    ota_rollout_ends(batch->stages, batch->stage_count, total, ends);
    size_t i = batch->ends_known;
    uint64_t key = OTA_KEY_LAST;
    if (total > 0 && i + 1 < batch->stage_count && !ota_batch_key_at(batch, ends[i], &key)) {
        return ota_error_no_memory(error);
    }
    batch->stages[i].end_key = key;
    batch->ends_known++;
    if (batch->ends_known == batch->stage_count) {
        batch->placing = true;
        batch->placed_to = 0;
    }
    return OTA_OK;
}

static enum ota_err place(struct ota_core *core, struct ota_batch *batch,
                          const struct ota_device *device, struct ota_error *error)
{
    struct ota_counted counted = {.device_id = device->id, .online = device->conn != NULL};
    if (device->task != NULL && device->task->batch == batch) {
        counted.task_id = device->task->id;
        counted.up = &device->task->up;
        ota_batch_place(batch, &counted);
        return OTA_OK;
    }
    struct ota_task_row row;
    struct ota_upgrade up;
    enum ota_err err = ota_task_in_batch(core->store, device->id, batch->row.id, &row, error);
    if (err == OTA_OK) {
        ota_upgrade_of_row(&row, &up);
        counted.task_id = row.id;
        counted.up = &up;
        ota_batch_place(batch, &counted);
    }
    return err == OTA_NOT_FOUND ? OTA_OK : err;
}

/* True in *done at the end. */
static enum ota_err place_some(struct ota_core *core, struct ota_batch *batch, int64_t end,
                               bool *done, struct ota_error *error)
{
    size_t count;
    const uint32_t *members = ota_batch_members(batch, batch->placed, &count);
    enum ota_err err = OTA_OK;
    size_t i = 0;
    for (; err == OTA_OK && i < count && i < OTA_PLACED_A_TICK; i++) {
        const struct ota_device *device = ota_fleet_device_by_id(&core->fleet, members[i]);
        if (device != NULL) {
            err = place(core, batch, device, error);
        }
        if (i % 256 == 255 && ota_now_mono() >= end) {
            i++;
            break;
        }
    }
    batch->placed += i;
    *done = err == OTA_OK && i == count;
    return err;
}

static enum ota_err finish_placing(struct ota_core *core, struct ota_batch *batch,
                                   struct ota_error *error)
{
    struct ota_batch_change *change = ota_batches_change(batch);
    if (change == NULL) {
        return ota_error_no_memory(error);
    }
    complete(core, change);
    enum ota_err err = ota_core_begin(core, error);
    if (err != OTA_OK) {
        ota_batches_drop(change);
        return err;
    }
    err = ota_batches_store(core, change, error);
    err = err == OTA_OK ? ota_core_commit(core, error) : err;
    if (err != OTA_OK) {
        ota_core_rollback(core);
        return err;
    }
    ota_batch_forget_members(batch);
    return OTA_OK;
}

static enum ota_err order_some(struct ota_core *core, struct ota_batch *batch, int64_t end,
                               struct ota_error *error)
{
    while (!batch->placing) {
        enum ota_err err = find_end(batch, error);
        if (err != OTA_OK || ota_now_mono() >= end) {
            return err;
        }
    }
    bool done = false;
    enum ota_err err = place_some(core, batch, end, &done, error);
    return err == OTA_OK && done ? finish_placing(core, batch, error) : err;
}

enum ota_err ota_prepare_some(struct ota_core *core, struct ota_batch *batch, int64_t end,
                              struct ota_error *error)
{
    struct slice slice = {.core = core,
                          .batch = batch,
                          .firmware = ota_fleet_firmware(&core->fleet, batch->row.firmware_id),
                          .end = end,
                          .error = error};
    while (ota_now_mono() < end && batch->row.prepared == OTA_PREPARED_PARTLY &&
           !ota_store_is_pressed(core->store)) {
        slice.row = batch->row;
        slice.looked = 0;
        slice.taken_count = 0;
        slice.more = false;
        enum ota_err err =
            batch->all_looked_at ? order_some(core, batch, end, error) : make_some(&slice);
        if (err != OTA_OK) {
            return err;
        }
        batch->all_looked_at = !slice.more;
    }
    return OTA_OK;
}

/* --- continuous batches ----------------------------------------------------------------------- */

static bool is_taking(const struct ota_batch *batch)
{
    return batch->row.mode == OTA_MODE_CONTINUOUS && !ota_batch_is_over(batch) &&
           batch->row.reason != OTA_REASON_EXPIRED && batch->row.prepared != OTA_PREPARED_NOT;
}

static enum ota_err is_one_of(struct ota_core *core, const struct ota_batch *batch,
                              const struct ota_device *device, bool *match, struct ota_error *error)
{
    enum ota_err err = matches(core, batch, device, match, error);
    if (err == OTA_OK && *match && batch->row.named) {
        err = ota_batch_is_named(core->store, batch->row.id, device->id, match, error);
    }
    return err;
}

static enum ota_err newer_takes(struct ota_core *core, const struct ota_batch *batch,
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
    if (firmware == NULL || exclusion_of(core, batch, device, firmware) != OTA_EXCLUSION_COUNT ||
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
               ? make_task(core, batch, device, firmware, error)
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

static enum ota_err consider_some(struct ota_core *core, uint32_t *at, int64_t end,
                                  struct ota_error *error)
{
    enum ota_err err = OTA_OK;
    struct ota_device *device = NULL;
    int looks = 0;
    do {
        device = ota_fleet_take_marked(&core->fleet, &core->fleet.looks, at);
        err = device != NULL ? consider_one(core, device, error) : OTA_OK;
        looks++;
    } while (err == OTA_OK && device != NULL && looks < OTA_LOOKS_A_TICK && ota_now_mono() < end);
    core->fleet.looks.any = err != OTA_OK || device != NULL;
    return err;
}

enum ota_err ota_prepare_looks(struct ota_core *core, int64_t end, struct ota_error *error)
{
    if (!core->fleet.looks.any || ota_now_mono() >= end) {
        return OTA_OK;
    }
    uint32_t at = 0;
    enum ota_err err = ota_core_begin(core, error);
    if (err == OTA_OK) {
        err = consider_some(core, &at, end, error);
        err = err == OTA_OK ? ota_core_commit(core, error) : err;
    }
    if (err != OTA_OK) {
        ota_core_rollback(core);
    }
    return err;
}

/* --- dry runs --------------------------------------------------------------------------------- */

enum ota_err ota_prepare_dry_look(struct ota_core *core, const struct ota_batch *batch,
                                  struct ota_device *device, struct ota_dry_run *run,
                                  struct ota_error *error)
{
    bool match = false;
    enum ota_err err = matches(core, batch, device, &match, error);
    if (err != OTA_OK || !match) {
        return err;
    }
    const struct ota_firmware *firmware = ota_fleet_firmware(&core->fleet, batch->row.firmware_id);
    enum ota_exclusion exclusion = exclusion_of(core, batch, device, firmware);
    run->matched++;
    if (exclusion == OTA_EXCLUSION_COUNT) {
        run->taken++;
    } else {
        run->excluded[exclusion]++;
    }
    return OTA_OK;
}

enum ota_err ota_prepare_dry_run(struct ota_core *core, const struct ota_batch *batch,
                                 struct ota_dry_run *run, int64_t end, struct ota_error *error)
{
    enum ota_err err = OTA_OK;
    for (int i = 1; err == OTA_OK && !run->done; i++) {
        struct ota_device *device =
            ota_fleet_device_after(&core->fleet, batch->product, run->looked_to);
        run->done = device == NULL;
        if (device == NULL) {
            break;
        }
        err = ota_prepare_dry_look(core, batch, device, run, error);
        run->looked_to = device->id;
        if (i % 64 == 0 && ota_now_mono() >= end) {
            break;
        }
    }
    return err;
}
