/* SPDX-License-Identifier: BSD-3-Clause */
#include "batch_send.h"

#include "batch.h"
#include "broker.h"
#include "task_plan.h"
#include "tasks.h"

#define OTA_LEFT_A_TICK 250 /* of those that the batch ends, each batch */

/* Whether its rules were looked at in this tick: what they would have stopped must not go out. They
 * aren't while failed tasks are brought back, nor where the batch couldn't be written. */
static bool is_watched(const struct ota_core *core, const struct ota_batch *batch)
{
    return !batch->row.retrying && batch->aside_until <= core->mono_now &&
           !ota_batch_has_to_expire(batch, ota_now_unix());
}

/* How many could be told now, whatever the pace. */
static int64_t places_of(const struct ota_core *core, const struct ota_batch *batch)
{
    if (batch->row.state != OTA_BATCH_RUNNING || !is_watched(core, batch) ||
        ota_batch_next(batch) == NULL) {
        return 0;
    }
    struct ota_tally tally = ota_batch_tally(batch);
    int64_t places = batch->row.max_in_flight - ota_tally_in_flight(&tally, batch->row.gate);
    return places > 0 ? places : 0;
}

/* How many first notices the batch may send now. */
static int64_t room_of(struct ota_core *core, struct ota_batch *batch)
{
    int64_t places = places_of(core, batch);
    struct ota_bucket *bucket = &batch->row.bucket;
    ota_batch_fill_bucket(&batch->row, core->service_ms);
    if (batch->row.rate_per_minute == 0) {
        return places;
    }
    bucket->wanted = places > 0 && bucket->tokens < 1.0;
    return (double)places > bucket->tokens ? (int64_t)bucket->tokens : places;
}

bool ota_batch_can_send(struct ota_core *core)
{
    for (struct ota_batch *batch = core->fleet.live; batch != NULL; batch = batch->next_live) {
        if (room_of(core, batch) > 0) {
            return true;
        }
    }
    return false;
}

int64_t ota_batch_sends_in(const struct ota_core *core)
{
    int64_t soonest = INT64_MAX;
    for (const struct ota_batch *batch = core->fleet.live; batch != NULL;
         batch = batch->next_live) {
        const struct ota_bucket *bucket = &batch->row.bucket;
        if (batch->row.rate_per_minute != 0 && bucket->wanted) {
            double left = (1.0 - bucket->tokens) * 60000.0 / (double)batch->row.rate_per_minute;
            soonest = left < (double)soonest ? (int64_t)left + 1 : soonest;
        }
    }
    return soonest;
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
 * line, to be ended. Or one whose gateway is at another: it comes back when that is over. */
static bool leaves_line(struct ota_core *core, struct ota_task *task)
{
    bool expired;
    bool leaves = ota_batch_ends(task, &expired) || ota_tasks_is_kept_back(core, task);
    if (leaves) {
        ota_tasks_plan(core, task);
    }
    return leaves;
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
    while (err == OTA_OK && sent < room && *tokens >= 1.0 && left < OTA_LEFT_A_TICK &&
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

enum ota_err ota_batch_send(struct ota_core *core, double *tokens, int64_t end,
                            struct ota_error *error)
{
    enum ota_err err = OTA_OK;
    for (struct ota_batch *batch = core->fleet.live; batch != NULL && err == OTA_OK;
         batch = batch->next_live) {
        err = send_some(core, batch, tokens, end, error);
    }
    return err;
}
