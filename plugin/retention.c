/* SPDX-License-Identifier: BSD-3-Clause */
#include "retention.h"

#include "batch.h"
#include "broker.h"

#define OTA_ROUND_MS      60000
#define OTA_ROUND_TASKS   20000 /* what is removed doesn't count */
#define OTA_ROUND_DEVICES 5000
#define OTA_SLICE_MS      2
#define OTA_SLICE_ROWS    50 /* between two looks at the clock */

struct slice {
    struct ota_core *core;
    struct ota_retention *retention;
    int64_t before; /* Unix ms: what ended or came before is old */
    int64_t end;    /* monotonic ms */
    int64_t marked; /* the batch that was marked last */
    struct ota_task_age rows[OTA_SLICE_ROWS];
    int count;
    struct ota_error *error;
};

static bool is_over(const struct slice *slice)
{
    return ota_now_mono() >= slice->end;
}

/* --- tasks ------------------------------------------------------------------------------------ */

/* A device's last task is shown with it, and a report may still change it; a batch that isn't
 * settled counts its tasks. */
static bool is_expendable(const struct slice *slice, const struct ota_task_age *row)
{
    const struct ota_fleet *fleet = &slice->core->fleet;
    const struct ota_device *device = ota_fleet_device_by_id(fleet, row->device_id);
    if (row->finished_at == 0 || row->finished_at >= slice->before || device == NULL ||
        device->last_task == row->id) {
        return false;
    }
    const struct ota_batch *batch =
        row->batch_id != 0 ? ota_fleet_batch(fleet, row->batch_id) : NULL;
    return row->batch_id == 0 || (batch != NULL && batch->row.tallied);
}

static void run_marked(struct ota_core *core, struct ota_effect *effect)
{
    struct ota_batch *batch = effect->item;
    (void)core;
    batch->row.flags |= OTA_BATCH_PRUNED;
}

/* Its tallies stay, but can't be counted again: it never runs again. */
static enum ota_err mark_batch(struct slice *slice, int64_t id)
{
    struct ota_batch *batch = id != 0 ? ota_fleet_batch(&slice->core->fleet, id) : NULL;
    if (batch == NULL || id == slice->marked || (batch->row.flags & OTA_BATCH_PRUNED) != 0) {
        return OTA_OK;
    }
    struct ota_effect *effect = ota_core_after(slice->core, run_marked, NULL);
    if (effect == NULL) {
        return ota_error_no_memory(slice->error);
    }
    effect->item = batch;
    slice->marked = id;
    return ota_batch_mark_pruned(slice->core->store, id, slice->error);
}

/* A task with a long history may take several slices: then it is looked at again. */
static enum ota_err remove_task(struct slice *slice, const struct ota_task_age *row)
{
    bool gone = false;
    enum ota_err err = mark_batch(slice, row->batch_id);
    while (err == OTA_OK && !gone && !is_over(slice)) {
        err = ota_task_prune(slice->core->store, row->id, OTA_SLICE_ROWS, &gone, slice->error);
    }
    if (err == OTA_OK && gone) {
        slice->retention->task_at = row->id;
    }
    return err;
}

static bool note_row(void *data, const struct ota_task_age *row)
{
    struct slice *slice = data;
    slice->rows[slice->count++] = *row;
    return slice->count < OTA_SLICE_ROWS;
}

static void end_of_tasks(struct ota_retention *retention)
{
    retention->task_at = 0;
    retention->tasks_left = 0;
}

static enum ota_err look_at_tasks(struct slice *slice)
{
    struct ota_retention *retention = slice->retention;
    slice->count = 0;
    enum ota_err err =
        ota_task_ages(slice->core->store, retention->task_at, note_row, slice, slice->error);
    for (int i = 0; err == OTA_OK && i < slice->count && !is_over(slice); i++) {
        const struct ota_task_age *row = &slice->rows[i];
        if (row->created_at >= slice->before) { /* and so are all that follow */
            end_of_tasks(retention);
            return OTA_OK;
        }
        if (is_expendable(slice, row)) {
            err = remove_task(slice, row);
        } else {
            retention->task_at = row->id;
            retention->tasks_left--;
        }
    }
    if (err == OTA_OK && slice->count == 0) {
        end_of_tasks(retention);
    }
    return err;
}

/* --- versions --------------------------------------------------------------------------------- */

static enum ota_err look_at_device(struct slice *slice)
{
    struct ota_retention *retention = slice->retention;
    const struct ota_device *device =
        ota_fleet_device_after(&slice->core->fleet, NULL, retention->device_at);
    if (device == NULL) {
        retention->device_at = 0;
        retention->devices_left = 0;
        return OTA_OK;
    }
    int rows = OTA_SLICE_ROWS;
    enum ota_err err = device->version != NULL
                           ? ota_device_prune_versions(slice->core->store, device->id,
                                                       slice->before, &rows, slice->error)
                           : OTA_OK;
    if (err == OTA_OK && rows > 0) { /* else there may be more of them */
        retention->device_at = device->id;
        retention->devices_left--;
    }
    return err;
}

/* --- rounds ----------------------------------------------------------------------------------- */

static bool has_work(const struct ota_retention *retention)
{
    return retention->tasks_left > 0 || retention->devices_left > 0;
}

static enum ota_err work(struct slice *slice)
{
    enum ota_err err = OTA_OK;
    while (err == OTA_OK && slice->retention->tasks_left > 0 && !is_over(slice)) {
        err = look_at_tasks(slice);
    }
    while (err == OTA_OK && slice->retention->devices_left > 0 && !is_over(slice)) {
        err = look_at_device(slice);
    }
    return err;
}

static void do_slice(struct ota_retention *retention, struct ota_core *core)
{
    struct ota_error error = {0};
    struct ota_retention before = *retention;
    struct slice slice = {.core = core,
                          .retention = retention,
                          .before = ota_now_unix() - core->settings.keep_history_ms,
                          .end = ota_now_mono() + OTA_SLICE_MS,
                          .error = &error};
    enum ota_err err = ota_core_begin(core, &error);
    if (err == OTA_OK) {
        err = work(&slice);
    }
    if (err == OTA_OK) {
        err = ota_core_commit(core, &error);
    }
    if (err != OTA_OK) {
        ota_core_rollback(core);
        ota_core_put_off(core, &error);
        *retention = before;
    }
}

bool ota_retention_tick(struct ota_retention *retention, struct ota_core *core)
{
    if (core->settings.keep_history_ms == 0 || core->mono_now < core->store_retry_at ||
        ota_store_is_pressed(core->store)) {
        return false;
    }
    if (!has_work(retention) && core->mono_now >= retention->next_round) {
        retention->next_round = core->mono_now + OTA_ROUND_MS;
        retention->tasks_left = OTA_ROUND_TASKS;
        retention->devices_left = OTA_ROUND_DEVICES;
    }
    if (has_work(retention)) {
        do_slice(retention, core);
    }
    return has_work(retention);
}
