/* SPDX-License-Identifier: BSD-3-Clause */
#include "batches.h"

#include <stdlib.h>
#include <string.h>

#include "broker.h"
#include "events.h"
#include "prepare.h"
#include "tasks.h"

/* --- a change --------------------------------------------------------------------------------- */

struct ota_batch_change *ota_batches_change(struct ota_batch *batch)
{
    struct ota_batch_change *change = malloc(sizeof *change);
    size_t size = batch->stage_count * sizeof *batch->stages;
    struct ota_stage *stages = malloc(size);
    if (change == NULL || stages == NULL) {
        free(change);
        free(stages);
        return NULL;
    }
    memcpy(stages, batch->stages, size);
    *change = (struct ota_batch_change){.batch = batch, .row = batch->row, .stages = stages};
    return change;
}

void ota_batches_drop(struct ota_batch_change *change)
{
    if (change != NULL) {
        free(change->stages);
        free(change);
    }
}

/* A firmware that a batch names which isn't over can't be deleted. */
static void count_firmware(struct ota_core *core, const struct ota_batch *batch, int change)
{
    struct ota_firmware *firmware = ota_fleet_firmware(&core->fleet, batch->row.firmware_id);
    if (firmware != NULL) {
        firmware->batches += (uint32_t)change;
    }
}

static void note_over(struct ota_core *core, const struct ota_batch *batch, bool was_over)
{
    bool over = ota_batch_is_over(batch);
    if (over != was_over) {
        count_firmware(core, batch, over ? -1 : 1);
    }
}

static void merge(struct ota_tally *into, struct ota_tally *tally)
{
    for (size_t i = 0; i < OTA_STATUS_COUNT; i++) {
        into->by_status[i] += tally->by_status[i];
    }
    into->confirmed += tally->confirmed;
    into->contradicted += tally->contradicted;
    *tally = (struct ota_tally){0};
}

/* The tallies of a settled batch know no overdue: that is for gates. One that was never prepared
 * knows no stages either: all count in the last one, as after a restart. */
static void settle_stages(const struct ota_batch *batch, struct ota_stage *stages)
{
    for (size_t i = 0; i < batch->stage_count; i++) {
        stages[i].tally.overdue = 0;
    }
    for (size_t i = 0; batch->row.prepared != OTA_PREPARED_FULLY && i + 1 < batch->stage_count;
         i++) {
        merge(&stages[batch->stage_count - 1].tally, &stages[i].tally);
    }
}

static void take_stages(struct ota_batch *batch, const struct ota_stage *stages)
{
    for (size_t i = 0; i < batch->stage_count; i++) {
        struct ota_tally tally = batch->stages[i].tally;
        batch->stages[i] = stages[i];
        batch->stages[i].tally = tally;
    }
}

static bool ends_tasks(const struct ota_batch_row *row)
{
    return row->state == OTA_BATCH_CANCELLED || row->reason == OTA_REASON_EXPIRED;
}

/* A state that only tells that tasks are made now, or that all are, is no news to listeners. */
static bool is_news(const struct ota_batch_row *before, const struct ota_batch_row *after)
{
    return before->state != after->state || before->reason != after->reason ||
           before->open_stages != after->open_stages;
}

static void run_change(struct ota_core *core, struct ota_effect *effect)
{
    struct ota_batch_change *change = effect->item;
    struct ota_batch *batch = change->batch;
    struct ota_batch_row before = batch->row;
    bool was_over = ota_batch_is_over(batch);
    batch->row = change->row;
    if (change->stages_too) {
        take_stages(batch, change->stages);
    }
    if (batch->row.tallied && !before.tallied) {
        ota_batch_forget_unproven(batch);
        ota_batch_forget_members(batch);
        settle_stages(batch, batch->stages);
        batch->placing = false;
    }
    if (!batch->row.tallied && before.tallied) {
        batch->reviving = true;
        batch->overdue_to = core->service_ms;
    }
    batch->reviving = batch->reviving && batch->row.retrying;
    note_over(core, batch, was_over);
    ota_fleet_list_batch(&core->fleet, batch);
    /* also where an expired one is cancelled: that ends more of them */
    if (ends_tasks(&batch->row) && (!ends_tasks(&before) || batch->row.state != before.state)) {
        batch->sweep_next = batch->tasks;
    }
    if (is_news(&before, &batch->row)) {
        ota_events_batch(core, batch);
    }
    ota_core_wake(core, core->mono_now);
    ota_batches_drop(change);
}

struct ota_batch_change *ota_batches_change_of(const struct ota_effect *effect)
{
    return effect->run == run_change ? effect->item : NULL;
}

static void drop_change(struct ota_core *core, struct ota_effect *effect)
{
    (void)core;
    ota_batches_drop(effect->item);
}

static enum ota_err write_change(struct ota_core *core, struct ota_batch_change *change,
                                 struct ota_error *error)
{
    const struct ota_batch *batch = change->batch;
    bool settles = change->row.tallied && !batch->row.tallied;
    if (settles) {
        settle_stages(batch, change->stages);
    }
    enum ota_err err = ota_batch_update(core->store, &change->row, error);
    for (size_t i = 0; err == OTA_OK && (settles || change->stages_too) && i < batch->stage_count;
         i++) {
        err = ota_batch_update_stage(core->store, batch->row.id, i, &change->stages[i], error);
    }
    return err;
}

enum ota_err ota_batches_store(struct ota_core *core, struct ota_batch_change *change,
                               struct ota_error *error)
{
    if (change == NULL) {
        return ota_error_no_memory(error);
    }
    enum ota_err err = write_change(core, change, error);
    struct ota_effect *effect =
        err == OTA_OK ? ota_core_after(core, run_change, drop_change) : NULL;
    if (effect == NULL) {
        ota_batches_drop(change);
        return err != OTA_OK ? err : ota_error_no_memory(error);
    }
    effect->item = change;
    return OTA_OK;
}

/* --- making ----------------------------------------------------------------------------------- */

static void run_created(struct ota_core *core, struct ota_effect *effect)
{
    const struct ota_batch *batch = effect->item;
    count_firmware(core, batch, 1);
    ota_events_batch(core, batch);
    ota_core_wake(core, core->mono_now);
}

static void drop_created(struct ota_core *core, struct ota_effect *effect)
{
    ota_fleet_remove_batch(&core->fleet, effect->item);
}

static enum ota_err insert(struct ota_core *core, struct ota_batch_row *row,
                           const struct ota_target *target, const struct ota_stage *stages,
                           size_t stage_count, struct ota_error *error)
{
    char *text = ota_target_write(target);
    if (text == NULL) {
        return ota_error_no_memory(error);
    }
    enum ota_err err = ota_batch_insert(core->store, row, text, stages, stage_count, error);
    free(text);
    return err;
}

enum ota_err ota_batches_create(struct ota_core *core, struct ota_batch_row *row,
                                struct ota_target *target, const struct ota_stage *stages,
                                size_t stage_count, struct ota_error *error)
{
    enum ota_err err = OTA_OK;
    if (core->fleet.live_count >= OTA_BATCHES_LIVE_MAX) {
        err = ota_error_set(error, OTA_LIMIT_EXCEEDED, NULL,
                            "there are %d batches that aren't over: cancel some first",
                            OTA_BATCHES_LIVE_MAX);
    }
    if (err == OTA_OK) {
        err = insert(core, row, target, stages, stage_count, error);
    }
    struct ota_effect *effect = err == OTA_OK ? ota_core_after(core, run_created, NULL) : NULL;
    struct ota_batch *batch =
        effect != NULL ? ota_fleet_add_batch(&core->fleet, row, target, stages, stage_count) : NULL;
    if (effect == NULL) {
        ota_target_free(target);
    }
    if (batch == NULL) {
        return err != OTA_OK ? err : ota_error_no_memory(error);
    }
    effect->item = batch;
    effect->drop = drop_created;
    return OTA_OK;
}

/* --- what admins ask for ---------------------------------------------------------------------- */

static enum ota_err wrong_state(const struct ota_batch *batch, const char *what,
                                struct ota_error *error)
{
    return ota_error_set(error, OTA_CONFLICT, "batch", "batch %lld is %s: %s",
                         (long long)batch->row.id, ota_batch_state_name(batch->row.state), what);
}

void ota_batches_set_off(struct ota_batch_row *row)
{
    int64_t now = ota_now_unix();
    if (row->start_at > now) {
        row->state = OTA_BATCH_SCHEDULED;
        return;
    }
    row->state = OTA_BATCH_PREPARING;
    row->prepared = OTA_PREPARED_PARTLY;
    row->started_at = now;
}

enum ota_err ota_batches_start(struct ota_core *core, struct ota_batch *batch,
                               struct ota_error *error)
{
    if (batch->row.state != OTA_BATCH_DRAFT) {
        return wrong_state(batch, "only a draft can be started", error);
    }
    if (batch->target.json == NULL && !batch->row.named) {
        return ota_error_set(error, OTA_CONFLICT, "batch",
                             "batch %lld has neither a target nor devices: add some first "
                             "(addBatchDevices)",
                             (long long)batch->row.id);
    }
    struct ota_batch_change *change = ota_batches_change(batch);
    if (change != NULL) {
        ota_batches_set_off(&change->row);
    }
    return ota_batches_store(core, change, error);
}

/* An expiry is remembered: it says why tasks were cancelled, and that none is added. */
static void set_state(struct ota_batch_row *row, enum ota_batch_state state,
                      enum ota_batch_reason reason)
{
    row->state = state;
    if (row->reason != OTA_REASON_EXPIRED) {
        row->reason = reason;
    }
}

/* Without a rate that only says up to when it is filled. */
static void fill_bucket(struct ota_batch_row *row, int64_t service_now)
{
    if (row->state == OTA_BATCH_RUNNING) {
        ota_bucket_fill(&row->bucket, row->rate_per_minute, service_now);
    }
}

static enum ota_err check_update(const struct ota_batch *batch, const struct ota_batch_row *row,
                                 struct ota_error *error)
{
    if (ota_batch_is_over(batch) || batch->row.reason == OTA_REASON_EXPIRED) {
        return ota_error_set(error, OTA_CONFLICT, "batch",
                             "batch %lld is over: nothing can be changed",
                             (long long)batch->row.id);
    }
    bool sets_expiry = row->expire_at != batch->row.expire_at;
    if (sets_expiry && (row->expire_at <= ota_now_unix() || row->expire_at <= row->start_at)) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "expireAt",
                             "expireAt must be in the future and later than startAt");
    }
    return OTA_OK;
}

enum ota_err ota_batches_update(struct ota_core *core, struct ota_batch *batch,
                                const struct ota_batch_row *row, struct ota_error *error)
{
    enum ota_err err = check_update(batch, row, error);
    if (err != OTA_OK) {
        return err;
    }
    struct ota_batch_change *change = ota_batches_change(batch);
    if (change != NULL) {
        fill_bucket(&change->row, core->service_ms); /* at the old rate */
        memcpy(change->row.name, row->name, sizeof change->row.name);
        change->row.rate_per_minute = row->rate_per_minute;
        change->row.max_in_flight = row->max_in_flight;
        change->row.threshold_percent = row->threshold_percent;
        change->row.threshold_min = row->threshold_min;
        change->row.expire_at = row->expire_at;
    }
    return ota_batches_store(core, change, error);
}

/* What the bucket earned until now is kept. */
static void pause_batch(const struct ota_core *core, struct ota_batch_change *change,
                        enum ota_batch_reason reason)
{
    fill_bucket(&change->row, core->service_ms);
    set_state(&change->row, OTA_BATCH_PAUSED, reason);
}

enum ota_err ota_batches_pause(struct ota_core *core, struct ota_batch *batch,
                               struct ota_error *error)
{
    enum ota_batch_state state = batch->row.state;
    if (state != OTA_BATCH_SCHEDULED && state != OTA_BATCH_PREPARING &&
        state != OTA_BATCH_RUNNING) {
        return wrong_state(batch, "only what is scheduled, preparing or running can be paused",
                           error);
    }
    struct ota_batch_change *change = ota_batches_change(batch);
    if (change != NULL) {
        pause_batch(core, change, OTA_REASON_ADMIN);
    }
    return ota_batches_store(core, change, error);
}

/* What has failed and succeeded so far is known from now on. */
static void know_outcomes(struct ota_batch_change *change)
{
    struct ota_rollout rollout = ota_batch_rollout(change->batch);
    uint32_t failures;
    uint32_t successes;
    ota_rollout_outcomes(&rollout, &failures, &successes);
    change->row.known_failures = failures;
    change->row.known_successes = successes;
}

static void open_next(struct ota_batch_change *change)
{
    struct ota_stage *stages = change->stages;
    int64_t open = change->row.open_stages;
    if (open > 0) {
        stages[open - 1].state = OTA_STAGE_PASSED;
    }
    stages[open].state = OTA_STAGE_OPEN;
    stages[open].opened_at = ota_now_unix();
    change->row.open_stages = open + 1;
    change->stages_too = true;
}

static void go_on(struct ota_batch_change *change, int64_t service_now)
{
    static const enum ota_batch_state states[] = {
        [OTA_PREPARED_NOT] = OTA_BATCH_SCHEDULED,
        [OTA_PREPARED_PARTLY] = OTA_BATCH_PREPARING,
        [OTA_PREPARED_FULLY] = OTA_BATCH_RUNNING,
    };
    know_outcomes(change);
    ota_bucket_skip(&change->row.bucket, service_now);
    set_state(&change->row, states[change->row.prepared], OTA_REASON_NONE);
}

enum ota_err ota_batches_resume(struct ota_core *core, struct ota_batch *batch,
                                struct ota_error *error)
{
    if (batch->row.state != OTA_BATCH_PAUSED) {
        return wrong_state(batch, "only a paused batch can be resumed", error);
    }
    struct ota_batch_change *change = ota_batches_change(batch);
    if (change != NULL) {
        bool at_gate = batch->row.reason == OTA_REASON_STAGE_GATE &&
                       (size_t)batch->row.open_stages < batch->stage_count;
        go_on(change, core->service_ms);
        if (at_gate) {
            open_next(change);
        }
    }
    return ota_batches_store(core, change, error);
}

enum ota_err ota_batches_advance(struct ota_core *core, struct ota_batch *batch,
                                 struct ota_error *error)
{
    bool paused = batch->row.state == OTA_BATCH_PAUSED;
    if ((batch->row.state != OTA_BATCH_RUNNING && !paused) ||
        batch->row.prepared != OTA_PREPARED_FULLY) {
        return wrong_state(batch, "stages open while a prepared batch is running or paused", error);
    }
    if ((size_t)batch->row.open_stages >= batch->stage_count) {
        return wrong_state(batch, "its last stage is open already", error);
    }
    struct ota_batch_change *change = ota_batches_change(batch);
    if (change != NULL) {
        if (paused) {
            go_on(change, core->service_ms);
        }
        open_next(change);
    }
    return ota_batches_store(core, change, error);
}

enum ota_err ota_batches_cancel(struct ota_core *core, struct ota_batch *batch, bool with_running,
                                struct ota_error *error)
{
    if (ota_batch_is_over(batch)) {
        return wrong_state(batch, "it is over", error);
    }
    struct ota_batch_change *change = ota_batches_change(batch);
    if (change != NULL) {
        change->row.state = OTA_BATCH_CANCELLED;
        change->row.reason = OTA_REASON_ADMIN;
        change->row.finished_at = ota_now_unix();
        change->row.retrying = false;
        change->row.flags |= with_running ? OTA_BATCH_CANCEL_ALL : 0;
    }
    return ota_batches_store(core, change, error);
}

static enum ota_err check_retry(struct ota_core *core, const struct ota_batch *batch,
                                struct ota_error *error)
{
    if (batch->row.reason == OTA_REASON_EXPIRED) {
        return wrong_state(batch, "it has expired: make a new one", error);
    }
    if ((batch->row.flags & OTA_BATCH_PRUNED) != 0) {
        return wrong_state(batch,
                           "its oldest tasks are forgotten (option keep_history_days): make "
                           "a new one",
                           error);
    }
    if (ota_fleet_firmware(&core->fleet, batch->row.firmware_id) == NULL) {
        return ota_error_set(error, OTA_CONFLICT, "batch",
                             "firmware %s of batch %lld was deleted: upload it and make a new one",
                             batch->row.version, (long long)batch->row.id);
    }
    return OTA_OK;
}

static void run_again(struct ota_batch_row *row)
{
    row->state = OTA_BATCH_RUNNING;
    row->reason = OTA_REASON_NONE;
    row->finished_at = 0;
    row->tallied = false;
    row->retrying = true;
    row->retried_to = 0;
}

enum ota_err ota_batches_retry(struct ota_core *core, struct ota_batch *batch,
                               struct ota_error *error)
{
    enum ota_batch_state state = batch->row.state;
    if ((state != OTA_BATCH_RUNNING && state != OTA_BATCH_PAUSED && state != OTA_BATCH_FINISHED) ||
        batch->row.prepared != OTA_PREPARED_FULLY) {
        return wrong_state(batch, "only what is running, paused or finished can be retried", error);
    }
    enum ota_err err = check_retry(core, batch, error);
    if (err != OTA_OK) {
        return err;
    }
    struct ota_batch_change *change = ota_batches_change(batch);
    if (change != NULL) {
        if (state == OTA_BATCH_PAUSED) {
            go_on(change, core->service_ms);
        }
        run_again(&change->row);
        change->row.flags &= ~OTA_BATCH_RECOUNT;
    }
    return ota_batches_store(core, change, error);
}

enum ota_err ota_batches_revive(struct ota_core *core, struct ota_batch *batch,
                                struct ota_error *error)
{
    if (!ota_batch_is_over(batch)) {
        return OTA_OK;
    }
    if (batch->row.state == OTA_BATCH_CANCELLED) {
        return wrong_state(batch, "its tasks can't be retried", error);
    }
    enum ota_err err = check_retry(core, batch, error);
    if (err != OTA_OK) {
        return err;
    }
    struct ota_batch_change *change = ota_batches_change(batch);
    if (change != NULL) {
        run_again(&change->row);
        change->row.flags |= OTA_BATCH_RECOUNT;
    }
    return ota_batches_store(core, change, error);
}

/* --- what is due: sweeps ---------------------------------------------------------------------- */

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

static enum ota_err retry_one(struct ota_core *core, struct ota_batch *batch,
                              const struct ota_task_row *row, struct ota_error *error)
{
    struct ota_device *device = ota_fleet_device_by_id(&core->fleet, row->device_id);
    bool recount = (batch->row.flags & OTA_BATCH_RECOUNT) != 0;
    if (device == NULL || row->status != OTA_FAILED || recount || device->task != NULL ||
        device->hold) {
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
    struct ota_batch_change *change = err == OTA_OK ? ota_batches_change(batch) : NULL;
    if (err != OTA_OK) {
        return err;
    }
    if (change != NULL && slice->count > 0) {
        change->row.retried_to = slice->rows[slice->count - 1].id;
    }
    if (change != NULL && slice->count < OTA_RETRIED_A_TICK) {
        change->row.retrying = false;
    }
    return ota_batches_store(core, change, error);
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

/* --- what is due: rules ----------------------------------------------------------------------- */

static enum ota_err commit_change(struct ota_core *core, struct ota_batch_change *change,
                                  struct ota_error *error)
{
    enum ota_err err = ota_core_begin(core, error);
    if (err != OTA_OK) {
        ota_batches_drop(change);
        return err;
    }
    err = ota_batches_store(core, change, error);
    if (err != OTA_OK) {
        ota_core_rollback(core);
        return err;
    }
    return ota_core_commit(core, error);
}

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
        pause_batch(core, change, OTA_REASON_FAILURE_THRESHOLD);
        break;
    case OTA_ROLLOUT_PAUSE_GATE:
        pause_batch(core, change, OTA_REASON_STAGE_GATE);
        break;
    case OTA_ROLLOUT_PASS:
    case OTA_ROLLOUT_UNPASS:
        note_passed(change, act == OTA_ROLLOUT_PASS ? passed_at(core) : 0);
        break;
    case OTA_ROLLOUT_ADVANCE:
        open_next(change);
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
        struct ota_batch_change *change = ota_batches_change(batch);
        if (change == NULL) {
            return ota_error_no_memory(error);
        }
        edit(core, change, act);
        err = commit_change(core, change, error);
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
    struct ota_batch_change *change = ota_batches_change(batch);
    if (change == NULL) {
        return ota_error_no_memory(error);
    }
    if (change->row.known_failures > failures) {
        change->row.known_failures = failures;
    }
    if (change->row.known_successes > successes) {
        change->row.known_successes = successes;
    }
    return commit_change(core, change, error);
}

static enum ota_err expire(struct ota_core *core, struct ota_batch *batch, struct ota_error *error)
{
    struct ota_batch_change *change = ota_batches_change(batch);
    if (change == NULL) {
        return ota_error_no_memory(error);
    }
    change->row.reason = OTA_REASON_EXPIRED;
    if (change->row.prepared == OTA_PREPARED_NOT) {
        finish(change);
    } else if (change->row.state == OTA_BATCH_PREPARING) {
        change->row.state = OTA_BATCH_RUNNING;
    }
    return commit_change(core, change, error);
}

static enum ota_err begin_preparing(struct ota_core *core, struct ota_batch *batch,
                                    struct ota_error *error)
{
    struct ota_batch_change *change = ota_batches_change(batch);
    if (change != NULL) {
        ota_batches_set_off(&change->row);
    }
    return change != NULL ? commit_change(core, change, error) : ota_error_no_memory(error);
}

/* A cancelled batch whose last task has ended. */
static enum ota_err settle(struct ota_core *core, struct ota_batch *batch, struct ota_error *error)
{
    struct ota_batch_change *change = ota_batches_change(batch);
    if (change != NULL) {
        change->row.tallied = true;
    }
    return change != NULL ? commit_change(core, change, error) : ota_error_no_memory(error);
}

static bool is_due(int64_t when)
{
    return when != 0 && ota_now_unix() >= when;
}

static bool is_expired(const struct ota_batch *batch)
{
    return batch->row.reason == OTA_REASON_EXPIRED;
}

/* Its time is over, though nobody has written that yet. */
static bool has_to_expire(const struct ota_batch *batch)
{
    return !is_expired(batch) && is_due(batch->row.expire_at);
}

static bool is_being_prepared(const struct ota_batch *batch)
{
    return batch->row.prepared == OTA_PREPARED_PARTLY && !is_expired(batch) &&
           !ota_batch_is_over(batch);
}

/* Whether all its tasks are there, or none will follow. */
static bool has_its_tasks(const struct ota_batch *batch)
{
    return batch->row.prepared == OTA_PREPARED_FULLY ||
           (is_expired(batch) && batch->row.prepared == OTA_PREPARED_PARTLY);
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

static enum ota_err look_at(struct ota_core *core, struct ota_batch *batch, int64_t end,
                            struct ota_error *error)
{
    enum ota_err err = OTA_OK;
    ota_batch_let_overdue(batch, core->service_ms);
    if (!ota_batch_is_over(batch) && has_to_expire(batch)) {
        err = expire(core, batch, error);
    } else if (batch->row.state == OTA_BATCH_SCHEDULED && is_due(batch->row.start_at)) {
        err = begin_preparing(core, batch, error);
    }
    if (err == OTA_OK && is_being_prepared(batch)) {
        err = ota_prepare_some(core, batch, end, error);
    }
    sweep(core, batch);
    if (err == OTA_OK && batch->row.retrying) {
        err = retry_some(core, batch, error);
    }
    if (err == OTA_OK && needs_no_names(batch)) {
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

enum ota_err ota_batches_tick(struct ota_core *core, int64_t end, struct ota_error *error)
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
    if (err == OTA_OK) {
        err = ota_prepare_looks(core, end, error);
    }
    if (busy || core->fleet.looks.any) {
        ota_core_wake(core, core->mono_now + OTA_AGAIN_MS);
    }
    return err;
}

/* --- sending ---------------------------------------------------------------------------------- */

/* How many first notices the batch may send now. */
static int64_t room_of(struct ota_core *core, struct ota_batch *batch)
{
    if (batch->row.state != OTA_BATCH_RUNNING || has_to_expire(batch) ||
        ota_batch_next(batch) == NULL) {
        return 0;
    }
    struct ota_tally tally = ota_batch_tally(batch);
    int64_t room = batch->row.max_in_flight - ota_tally_in_flight(&tally, batch->row.gate);
    fill_bucket(&batch->row, core->service_ms);
    if (batch->row.rate_per_minute > 0 && (double)room > batch->row.bucket.tokens) {
        room = (int64_t)batch->row.bucket.tokens;
    }
    return room > 0 ? room : 0;
}

bool ota_batches_can_send(struct ota_core *core)
{
    for (struct ota_batch *batch = core->fleet.live; batch != NULL; batch = batch->next_live) {
        if (room_of(core, batch) > 0) {
            return true;
        }
    }
    return false;
}

static void run_spent(struct ota_core *core, struct ota_effect *effect)
{
    struct ota_batch *batch = effect->item;
    (void)core;
    batch->row.bucket.tokens -= (double)effect->number;
}

/* Takes so many tokens from the bucket, once that is committed. */
static enum ota_err spend(struct ota_core *core, struct ota_batch *batch, int64_t sent,
                          struct ota_error *error)
{
    struct ota_effect *effect = ota_core_after(core, run_spent, NULL);
    if (effect == NULL) {
        return ota_error_no_memory(error);
    }
    effect->item = batch;
    effect->number = sent;
    struct ota_bucket left = batch->row.bucket;
    left.tokens -= (double)sent;
    return ota_batch_set_bucket(core->store, batch->row.id, &left, error);
}

/* Whether the task was one that its batch ends, and that the sweep hasn't come to: it left the
 * line, to be ended. */
static bool leaves_line(struct ota_core *core, struct ota_task *task)
{
    bool expired;
    bool ends = ota_batch_ends(task, &expired);
    if (ends) {
        ota_tasks_plan(core, task);
    }
    return ends;
}

static enum ota_err send_one(struct ota_core *core, struct ota_task *task, struct ota_error *error)
{
    struct ota_upgrade_event event = {.kind = OTA_EV_NOTICED, .service_now = core->service_ms};
    bool changed;
    (void)ota_due_set(core, task, 0);
    enum ota_err err = ota_tasks_apply(core, task, &event, NULL, &changed, error);
    if (err != OTA_OK) {
        ota_tasks_set_aside(core, task, err);
    }
    return err;
}

static enum ota_err send_some(struct ota_core *core, struct ota_batch *batch, double *tokens,
                              int64_t end, struct ota_error *error)
{
    int64_t room = room_of(core, batch);
    int64_t sent = 0;
    int left = 0;
    enum ota_err err = OTA_OK;
    struct ota_task *task;
    while (err == OTA_OK && sent < room && *tokens >= 1.0 && left < OTA_SWEPT_A_TICK &&
           ota_now_mono() < end && (task = ota_batch_next(batch)) != NULL) {
        if (leaves_line(core, task)) {
            left++;
            continue;
        }
        err = send_one(core, task, error);
        sent++;
        *tokens -= 1.0;
    }
    return err == OTA_OK && sent > 0 && batch->row.rate_per_minute > 0
               ? spend(core, batch, sent, error)
               : err;
}

enum ota_err ota_batches_send(struct ota_core *core, double *tokens, int64_t end,
                              struct ota_error *error)
{
    enum ota_err err = OTA_OK;
    for (struct ota_batch *batch = core->fleet.live; batch != NULL && err == OTA_OK;
         batch = batch->next_live) {
        err = send_some(core, batch, tokens, end, error);
    }
    if (core->fleet.live != NULL && core->fleet.live->next_live != NULL) {
        ota_fleet_turn_batches(&core->fleet); /* another one is first at the next tick */
    }
    return err;
}
