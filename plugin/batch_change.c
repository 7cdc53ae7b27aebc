/* SPDX-License-Identifier: BSD-3-Clause */
#include "batch_change.h"

#include <stdlib.h>
#include <string.h>

#include "batch_members.h"
#include "broker.h"
#include "events.h"

struct ota_batch_change *ota_batch_change_new(struct ota_batch *batch)
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

void ota_batch_change_drop(struct ota_batch_change *change)
{
    if (change != NULL) {
        free(change->stages);
        free(change);
    }
}

/* --- editing ---------------------------------------------------------------------------------- */

void ota_batch_change_state(struct ota_batch_change *change, enum ota_batch_state state,
                            enum ota_batch_reason reason)
{
    change->row.state = state;
    if (change->row.reason != OTA_REASON_EXPIRED) {
        change->row.reason = reason;
    }
}

void ota_batch_change_pause(const struct ota_core *core, struct ota_batch_change *change,
                            enum ota_batch_reason reason)
{
    ota_batch_fill_bucket(&change->row, core->service_ms);
    ota_batch_change_state(change, OTA_BATCH_PAUSED, reason);
}

void ota_batch_change_open_next(struct ota_batch_change *change)
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

/* --- storing ---------------------------------------------------------------------------------- */

static void note_over(struct ota_core *core, const struct ota_batch *batch, bool was_over)
{
    bool over = ota_batch_is_over(batch);
    if (over != was_over) {
        ota_fleet_count_batch(&core->fleet, batch, over ? -1 : 1);
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
    ota_batch_change_drop(change);
}

struct ota_batch_change *ota_batch_change_of(const struct ota_effect *effect)
{
    return effect->run == run_change ? effect->item : NULL;
}

static void drop_change(struct ota_core *core, struct ota_effect *effect)
{
    (void)core;
    ota_batch_change_drop(effect->item);
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

enum ota_err ota_batch_change_store(struct ota_core *core, struct ota_batch_change *change,
                                    struct ota_error *error)
{
    if (change == NULL) {
        return ota_error_no_memory(error);
    }
    enum ota_err err = write_change(core, change, error);
    struct ota_effect *effect =
        err == OTA_OK ? ota_core_after(core, run_change, drop_change) : NULL;
    if (effect == NULL) {
        ota_batch_change_drop(change);
        return err != OTA_OK ? err : ota_error_no_memory(error);
    }
    effect->item = change;
    return OTA_OK;
}

enum ota_err ota_batch_change_commit(struct ota_core *core, struct ota_batch_change *change,
                                     struct ota_error *error)
{
    enum ota_err err = ota_core_begin(core, error);
    if (err != OTA_OK) {
        ota_batch_change_drop(change);
        return err;
    }
    err = ota_batch_change_store(core, change, error);
    if (err != OTA_OK) {
        ota_core_rollback(core);
        return err;
    }
    return ota_core_commit(core, error);
}
