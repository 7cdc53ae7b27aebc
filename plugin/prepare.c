/* SPDX-License-Identifier: BSD-3-Clause */
#include "prepare.h"

#include "batch_change.h"
#include "batch_members.h"
#include "broker.h"
#include "continuous.h"
#include "enrol.h"
#include "fleet_task.h"
#include "task_make.h"

#define OTA_SLICE_DEVICES 4096 /* looked at in one transaction */
#define OTA_SLICE_TASKS   256  /* made in one: a millisecond or two */
#define OTA_PLACED_A_TICK 20000

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

static enum ota_err take(struct slice *slice, struct ota_device *device)
{
    enum ota_exclusion exclusion =
        ota_enrol_exclusion(slice->core, slice->batch, device, slice->firmware);
    if (exclusion != OTA_EXCLUSION_COUNT) {
        slice->row.excluded[exclusion]++;
        return OTA_OK;
    }
    if (slice->batch->stage_count > 1 && !ota_batch_note_member(slice->batch, device->id)) {
        return ota_error_no_memory(slice->error);
    }
    if (device->task != NULL) {
        return ota_enrol_make(slice->core, slice->batch, device, slice->firmware, slice->error);
    }
    slice->taken[slice->taken_count++] = device->id;
    return OTA_OK;
}

static enum ota_err look_at(struct slice *slice, struct ota_device *device)
{
    bool match = false;
    bool taken = false;
    enum ota_err err = ota_enrol_matches(slice->core, slice->batch, device, &match, slice->error);
    if (err == OTA_OK && match && slice->row.mode == OTA_MODE_CONTINUOUS) {
        err = ota_continuous_newer_takes(slice->core, slice->batch, device, &taken, slice->error);
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
        struct ota_task_order order = ota_enrol_order(slice->batch, slice->firmware);
        err = ota_tasks_create_many(slice->core, &order, slice->taken, slice->taken_count,
                                    slice->error);
    }
    struct ota_batch_change *change = err == OTA_OK ? ota_batch_change_new(slice->batch) : NULL;
    if (err != OTA_OK) {
        return err;
    }
    if (change != NULL) {
        change->row = slice->row;
        if (!slice->more && slice->batch->stage_count == 1) {
            complete(slice->core, change);
        }
    }
    return ota_batch_change_store(slice->core, change, slice->error);
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
    ota_stage_ends(batch->stages, batch->stage_count, total, ends);
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
    struct ota_batch_change *change = ota_batch_change_new(batch);
    if (change == NULL) {
        return ota_error_no_memory(error);
    }
    complete(core, change);
    enum ota_err err = ota_batch_change_commit(core, change, error);
    if (err == OTA_OK) {
        ota_batch_forget_members(batch);
    }
    return err;
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

/* --- dry runs --------------------------------------------------------------------------------- */

enum ota_err ota_prepare_dry_look(struct ota_core *core, const struct ota_batch *batch,
                                  struct ota_device *device, struct ota_dry_run *run,
                                  struct ota_error *error)
{
    bool match = false;
    enum ota_err err = ota_enrol_matches(core, batch, device, &match, error);
    if (err != OTA_OK || !match) {
        return err;
    }
    const struct ota_firmware *firmware = ota_fleet_firmware(&core->fleet, batch->row.firmware_id);
    enum ota_exclusion exclusion = ota_enrol_exclusion(core, batch, device, firmware);
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
