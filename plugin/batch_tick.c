/* SPDX-License-Identifier: BSD-3-Clause */
#include "batch_tick.h"

#include <stdlib.h>

#include "batch_change.h"
#include "batches.h"
#include "broker.h"
#include "continuous.h"
#include "enrol.h"
#include "fleet_task.h"
#include "prepare.h"
#include "task_plan.h"
#include "tasks.h"

/* --- sweeps ---------------------------------------------------------------------- */

#define OTA_SWEPT_A_TICK   250
#define OTA_SWEPT_BUSY     25 /* where something is due already: slowly, but never not at all */
#define OTA_RETRIED_A_TICK 100

/* Each task is planned anew: those that the batch ends are due for it. Not faster than they are
 * ended, so that others' deadlines and notices don't wait behind a whole fleet. */
static void sweep(struct ota_core *core, struct ota_batch *batch)
{
    int most = ota_due_first(core, core->mono_now) == NULL ? OTA_SWEPT_A_TICK : OTA_SWEPT_BUSY;
    for (int i = 0; i < most && batch->sweep_next != NULL; i++) {
        struct ota_task *task = batch->sweep_next;
        batch->sweep_next = task->next_of_batch;
        ota_tasks_plan(core, task);
    }
}

struct retry_slice {
    struct ota_task_row rows[OTA_RETRIED_A_TICK];
    int count;
};

static bool note_row(void *data, const struct ota_task_row *row)
{
    struct retry_slice *slice = data;
    slice->rows[slice->count++] = *row;
    return slice->count < OTA_RETRIED_A_TICK;
}

/* A device has one unfinished task: where several of a continuous batch failed, the first one of
 * the slice waits again. */
static bool is_taken(const struct retry_slice *slice, int at)
{
    for (int i = 0; i < at; i++) {
        if (slice->rows[i].device_id == slice->rows[at].device_id &&
            slice->rows[i].status == OTA_FAILED) {
            return true;
        }
    }
    return false;
}

/* Whether the device would be left out of the batch if that was made now: who has moved on to what
 * is newer isn't taken back. Another's task is never cancelled for a new attempt. */
static bool is_left_alone(const struct ota_core *core, const struct ota_batch *batch,
                          const struct ota_device *device)
{
    const struct ota_firmware *firmware = ota_fleet_firmware(&core->fleet, batch->row.firmware_id);
    return firmware == NULL || device->task != NULL ||
           ota_enrol_exclusion(core, batch, device, firmware) != OTA_EXCLUSION_COUNT;
}

static enum ota_err retry_one(struct ota_core *core, struct ota_batch *batch,
                              const struct ota_task_row *row, struct ota_error *error)
{
    struct ota_device *device = ota_fleet_device_by_id(&core->fleet, row->device_id);
    bool recount = (batch->row.flags & OTA_BATCH_RECOUNT) != 0;
    if (device == NULL || row->status != OTA_FAILED || recount ||
        is_left_alone(core, batch, device)) {
        return OTA_OK;
    }
    struct ota_upgrade_event event = {.kind = OTA_EV_RETRY, .service_now = core->service_ms};
    bool changed;
    return ota_tasks_settle(core, device, row, &event, &changed, error);
}

/* Of a batch that was settled: whose success is still unproved counts again. */
static void recount(struct ota_batch *batch, const struct retry_slice *slice)
{
    for (int i = 0; i < slice->count; i++) {
        struct ota_upgrade up;
        ota_upgrade_of_row(&slice->rows[i], &up);
        ota_batch_recount(batch,
                          &(struct ota_counted){.task_id = slice->rows[i].id,
                                                .device_id = (uint32_t)slice->rows[i].device_id,
                                                .up = &up});
    }
}

static enum ota_err write_retries(struct ota_core *core, struct ota_batch *batch,
                                  const struct retry_slice *slice, struct ota_error *error)
{
    enum ota_err err = OTA_OK;
    for (int i = 0; err == OTA_OK && i < slice->count; i++) {
        err = is_taken(slice, i) ? OTA_OK : retry_one(core, batch, &slice->rows[i], error);
    }
    struct ota_batch_change *change = err == OTA_OK ? ota_batch_change_new(batch) : NULL;
    if (err != OTA_OK) {
        return err;
    }
    if (change != NULL && slice->count > 0) {
        change->row.retried_to = slice->rows[slice->count - 1].id;
    }
    if (change != NULL && slice->count < OTA_RETRIED_A_TICK) {
        change->row.retrying = false;
    }
    return ota_batch_change_store(core, change, error);
}

static enum ota_err retry_some(struct ota_core *core, struct ota_batch *batch,
                               struct ota_error *error)
{
    struct retry_slice *slice = calloc(1, sizeof *slice);
    if (slice == NULL) {
        return ota_error_no_memory(error);
    }
    enum ota_err err = ota_task_of_batch(core->store, batch->row.id, batch->row.retried_to,
                                         note_row, slice, error);
    if (err == OTA_OK) {
        err = ota_core_begin(core, error);
    }
    bool reviving = batch->reviving; /* the last slice ends that */
    if (err == OTA_OK) {
        err = write_retries(core, batch, slice, error);
        err = err == OTA_OK ? ota_core_commit(core, error) : err;
    }
    if (err != OTA_OK) {
        ota_core_rollback(core);
    } else if (reviving) {
        recount(batch, slice);
    }
    free(slice);
    return err;
}

/* --- rules ----------------------------------------------------------------------- */

/* Its tallies are stored with that, unless its names have still to go. */
static void finish(struct ota_batch_change *change)
{
    struct ota_batch_row *row = &change->row;
    row->state = OTA_BATCH_FINISHED;
    row->reason = row->reason == OTA_REASON_EXPIRED ? OTA_REASON_EXPIRED : OTA_REASON_NONE;
    row->finished_at = ota_now_unix();
    row->tallied = change->batch->unnamed;
}

/* Service time 0 would say "not yet". */
static int64_t passed_at(const struct ota_core *core)
{
    return core->service_ms > 0 ? core->service_ms : 1;
}

static void note_passed(struct ota_batch_change *change, int64_t passed_ms)
{
    if (change->row.open_stages > 0) {
        change->stages[change->row.open_stages - 1].passed_ms = passed_ms;
        change->stages_too = true;
    }
}

static void edit(const struct ota_core *core, struct ota_batch_change *change,
                 enum ota_rollout_act act)
{
    switch (act) {
    case OTA_ROLLOUT_PAUSE_THRESHOLD:
        ota_batch_change_pause(core, change, OTA_REASON_FAILURE_THRESHOLD);
        break;
    case OTA_ROLLOUT_PAUSE_GATE:
        ota_batch_change_pause(core, change, OTA_REASON_STAGE_GATE);
        break;
    case OTA_ROLLOUT_PASS:
    case OTA_ROLLOUT_UNPASS:
        note_passed(change, act == OTA_ROLLOUT_PASS ? passed_at(core) : 0);
        break;
    case OTA_ROLLOUT_ADVANCE:
        ota_batch_change_open_next(change);
        break;
    case OTA_ROLLOUT_FINISH:
        finish(change);
        break;
    case OTA_ROLLOUT_NOTHING:
        break;
    }
}

static enum ota_err do_rules(struct ota_core *core, struct ota_batch *batch,
                             struct ota_error *error)
{
    enum ota_err err = OTA_OK;
    /* each pass opens a stage or ends it */
    for (size_t i = 0; err == OTA_OK && i < 3 * batch->stage_count + 3; i++) {
        struct ota_rollout rollout = ota_batch_rollout(batch);
        enum ota_rollout_act act = ota_rollout_next(&rollout, core->service_ms);
        if (act == OTA_ROLLOUT_NOTHING || ota_batch_is_over(batch)) {
            return OTA_OK;
        }
        struct ota_batch_change *change = ota_batch_change_new(batch);
        if (change == NULL) {
            return ota_error_no_memory(error);
        }
        edit(core, change, act);
        err = ota_batch_change_commit(core, change, error);
    }
    return err;
}

/* A known failure that is none any more must not hide a new one. */
static enum ota_err forget_known(struct ota_core *core, struct ota_batch *batch,
                                 struct ota_error *error)
{
    struct ota_rollout rollout = ota_batch_rollout(batch);
    uint32_t failures;
    uint32_t successes;
    ota_rollout_outcomes(&rollout, &failures, &successes);
    if (batch->row.known_failures <= failures && batch->row.known_successes <= successes) {
        return OTA_OK;
    }
    struct ota_batch_change *change = ota_batch_change_new(batch);
    if (change == NULL) {
        return ota_error_no_memory(error);
    }
    if (change->row.known_failures > failures) {
        change->row.known_failures = failures;
    }
    if (change->row.known_successes > successes) {
        change->row.known_successes = successes;
    }
    return ota_batch_change_commit(core, change, error);
}

static enum ota_err expire(struct ota_core *core, struct ota_batch *batch, struct ota_error *error)
{
    struct ota_batch_change *change = ota_batch_change_new(batch);
    if (change == NULL) {
        return ota_error_no_memory(error);
    }
    change->row.reason = OTA_REASON_EXPIRED;
    if (change->row.prepared == OTA_PREPARED_NOT) {
        finish(change);
    } else if (change->row.state == OTA_BATCH_PREPARING) {
        change->row.state = OTA_BATCH_RUNNING;
    }
    return ota_batch_change_commit(core, change, error);
}

static enum ota_err begin_preparing(struct ota_core *core, struct ota_batch *batch,
                                    struct ota_error *error)
{
    struct ota_batch_change *change = ota_batch_change_new(batch);
    if (change != NULL) {
        ota_batches_set_off(&change->row);
    }
    return change != NULL ? ota_batch_change_commit(core, change, error)
                          : ota_error_no_memory(error);
}

/* A cancelled batch whose last task has ended. */
static enum ota_err settle(struct ota_core *core, struct ota_batch *batch, struct ota_error *error)
{
    struct ota_batch_change *change = ota_batch_change_new(batch);
    if (change != NULL) {
        change->row.tallied = true;
    }
    return change != NULL ? ota_batch_change_commit(core, change, error)
                          : ota_error_no_memory(error);
}

static bool is_due(int64_t when)
{
    return when != 0 && ota_now_unix() >= when;
}

static bool is_being_prepared(const struct ota_batch *batch)
{
    return batch->row.prepared == OTA_PREPARED_PARTLY && !ota_batch_is_expired(batch) &&
           !ota_batch_is_over(batch);
}

/* Whether all its tasks are there, or none will follow. */
static bool has_its_tasks(const struct ota_batch *batch)
{
    return batch->row.prepared == OTA_PREPARED_FULLY ||
           (ota_batch_is_expired(batch) && batch->row.prepared == OTA_PREPARED_PARTLY);
}

#define OTA_UNNAMED_A_TICK 500

/* Its tasks tell who is in it: the list of names has done its duty. */
static bool needs_no_names(const struct ota_batch *batch)
{
    bool done = batch->row.mode == OTA_MODE_SNAPSHOT && batch->row.prepared == OTA_PREPARED_FULLY;
    return !batch->unnamed && (done || ota_batch_is_over(batch));
}

static enum ota_err unname(struct ota_core *core, struct ota_batch *batch, struct ota_error *error)
{
    bool left = false;
    enum ota_err err = batch->row.named ? ota_core_begin(core, error) : OTA_OK;
    if (err == OTA_OK && batch->row.named) {
        err = ota_batch_unname(core->store, batch->row.id, OTA_UNNAMED_A_TICK, &left, error);
        err = err == OTA_OK ? ota_core_commit(core, error) : err;
    }
    if (err != OTA_OK) {
        ota_core_rollback(core);
        return err;
    }
    batch->unnamed = !left;
    return OTA_OK;
}

/* What can wait is left to the next tick where others took the time of this one; rules never wait.
 */
static bool is_time_left(int64_t end)
{
    return ota_now_mono() < end;
}

static enum ota_err look_at(struct ota_core *core, struct ota_batch *batch, int64_t end,
                            struct ota_error *error)
{
    enum ota_err err = OTA_OK;
    ota_batch_let_overdue(batch, core->service_ms);
    if (!ota_batch_is_over(batch) && ota_batch_has_to_expire(batch, ota_now_unix())) {
        err = expire(core, batch, error);
    } else if (batch->row.state == OTA_BATCH_SCHEDULED && is_due(batch->row.start_at) &&
               is_time_left(end)) {
        err = begin_preparing(core, batch, error);
    }
    if (err == OTA_OK && is_being_prepared(batch)) {
        err = ota_prepare_some(core, batch, end, error);
    }
    if (is_time_left(end)) {
        sweep(core, batch);
    }
    if (err == OTA_OK && batch->row.retrying && is_time_left(end)) {
        err = retry_some(core, batch, error);
    }
    if (err == OTA_OK && needs_no_names(batch) && is_time_left(end)) {
        err = unname(core, batch, error);
    }
    if (err == OTA_OK && ota_batch_is_over(batch)) {
        return batch->tasks == NULL && batch->unnamed && !batch->row.tallied
                   ? settle(core, batch, error)
                   : OTA_OK;
    }
    if (err == OTA_OK && has_its_tasks(batch)) {
        err = forget_known(core, batch, error);
    }
    return err == OTA_OK && has_its_tasks(batch) && !batch->row.retrying
               ? do_rules(core, batch, error)
               : err;
}

/* Whether there is work that this tick left. */
static bool is_busy(const struct ota_batch *batch)
{
    return is_being_prepared(batch) || batch->sweep_next != NULL || batch->row.retrying ||
           needs_no_names(batch);
}

#define OTA_AGAIN_MS 10

#define OTA_ASIDE_MS 60000

/* A batch that can't be written though the database can must not hold up the others. */
static enum ota_err set_aside(struct ota_core *core, struct ota_batch *batch, enum ota_err err,
                              struct ota_error *error)
{
    if (err == OTA_OK || err == OTA_UNAVAILABLE) {
        return err;
    }
    ota_log(OTA_LOG_ERROR, "batch %lld is set aside for a minute: %s", (long long)batch->row.id,
            error->text);
    *error = (struct ota_error){0};
    batch->aside_until = core->mono_now + OTA_ASIDE_MS;
    return OTA_OK;
}

enum ota_err ota_batch_tick(struct ota_core *core, int64_t end, struct ota_error *error)
{
    enum ota_err err = OTA_OK;
    bool busy = false;
    struct ota_batch *next;
    for (struct ota_batch *batch = core->fleet.live; batch != NULL && err == OTA_OK; batch = next) {
        next = batch->next_live; /* a settled one leaves the list */
        if (batch->aside_until > core->mono_now) {
            continue;
        }
        err = set_aside(core, batch, look_at(core, batch, end, error), error);
        busy = busy || is_busy(batch);
    }
    ota_fleet_turn_batches(&core->fleet); /* another one is first at the next tick */
    if (err == OTA_OK) {
        err = ota_continuous_look(core, end, error);
    }
    if (busy || core->fleet.looks.any) {
        ota_core_wake(core, core->mono_now + OTA_AGAIN_MS);
    }
    return err;
}
