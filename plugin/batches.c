/* SPDX-License-Identifier: BSD-3-Clause */
#include "batches.h"

#include <stdlib.h>
#include <string.h>

#include "batch_change.h"
#include "broker.h"
#include "events.h"

/* --- making ----------------------------------------------------------------------------------- */

static void run_created(struct ota_core *core, struct ota_effect *effect)
{
    const struct ota_batch *batch = effect->item;
    ota_fleet_count_batch(&core->fleet, batch, 1);
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
    struct ota_batch_change *change = ota_batch_change_new(batch);
    if (change != NULL) {
        ota_batches_set_off(&change->row);
    }
    return ota_batch_change_store(core, change, error);
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
    struct ota_batch_change *change = ota_batch_change_new(batch);
    if (change != NULL) {
        ota_batch_fill_bucket(&change->row, core->service_ms); /* at the old rate */
        memcpy(change->row.name, row->name, sizeof change->row.name);
        change->row.rate_per_minute = row->rate_per_minute;
        ota_bucket_fit(&change->row.bucket, row->rate_per_minute);
        change->row.max_in_flight = row->max_in_flight;
        change->row.threshold_percent = row->threshold_percent;
        change->row.threshold_min = row->threshold_min;
        change->row.expire_at = row->expire_at;
    }
    return ota_batch_change_store(core, change, error);
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
    struct ota_batch_change *change = ota_batch_change_new(batch);
    if (change != NULL) {
        ota_batch_change_pause(core, change, OTA_REASON_ADMIN);
    }
    return ota_batch_change_store(core, change, error);
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

static void go_on(struct ota_batch_change *change, int64_t service_now)
{
    static const enum ota_batch_state states[] = {
        [OTA_PREPARED_NOT] = OTA_BATCH_SCHEDULED,
        [OTA_PREPARED_PARTLY] = OTA_BATCH_PREPARING,
        [OTA_PREPARED_FULLY] = OTA_BATCH_RUNNING,
    };
    know_outcomes(change);
    ota_bucket_skip(&change->row.bucket, service_now);
    ota_batch_change_state(change, states[change->row.prepared], OTA_REASON_NONE);
}

enum ota_err ota_batches_resume(struct ota_core *core, struct ota_batch *batch,
                                struct ota_error *error)
{
    if (batch->row.state != OTA_BATCH_PAUSED) {
        return wrong_state(batch, "only a paused batch can be resumed", error);
    }
    struct ota_batch_change *change = ota_batch_change_new(batch);
    if (change != NULL) {
        bool at_gate = batch->row.reason == OTA_REASON_STAGE_GATE &&
                       (size_t)batch->row.open_stages < batch->stage_count;
        go_on(change, core->service_ms);
        if (at_gate) {
            ota_batch_change_open_next(change);
        }
    }
    return ota_batch_change_store(core, change, error);
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
    struct ota_batch_change *change = ota_batch_change_new(batch);
    if (change != NULL) {
        if (paused) {
            go_on(change, core->service_ms);
        }
        ota_batch_change_open_next(change);
    }
    return ota_batch_change_store(core, change, error);
}

enum ota_err ota_batches_cancel(struct ota_core *core, struct ota_batch *batch, bool with_running,
                                struct ota_error *error)
{
    if (ota_batch_is_over(batch)) {
        return wrong_state(batch, "it is over", error);
    }
    struct ota_batch_change *change = ota_batch_change_new(batch);
    if (change != NULL) {
        change->row.state = OTA_BATCH_CANCELLED;
        change->row.reason = OTA_REASON_ADMIN;
        change->row.finished_at = ota_now_unix();
        change->row.retrying = false;
        change->row.flags |= with_running ? OTA_BATCH_CANCEL_ALL : 0;
    }
    return ota_batch_change_store(core, change, error);
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
    struct ota_batch_change *change = ota_batch_change_new(batch);
    if (change != NULL) {
        if (state == OTA_BATCH_PAUSED) {
            go_on(change, core->service_ms);
        }
        run_again(&change->row);
        change->row.flags &= ~OTA_BATCH_RECOUNT;
    }
    return ota_batch_change_store(core, change, error);
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
    struct ota_batch_change *change = ota_batch_change_new(batch);
    if (change != NULL) {
        run_again(&change->row);
        change->row.flags |= OTA_BATCH_RECOUNT;
    }
    return ota_batch_change_store(core, change, error);
}
