/* SPDX-License-Identifier: BSD-3-Clause */
#include "tasks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "broker.h"
#include "events.h"
#include "fleet_task.h"
#include "notice.h"
#include "task_line.h"
#include "task_make.h"
#include "task_plan.h"

#define OTA_PERCENT_EVENT_MS 5000 /* device-protocol.md "Events" */

static void upgrade_to_row(const struct ota_upgrade *up, struct ota_task_row *row)
{
    row->status = up->status;
    row->confirmation = up->confirmation;
    row->ending = up->ending;
    row->flags = up->flags;
    row->attempt = up->attempt;
    row->percent = up->percent;
    row->has_result_code = up->has_result_code;
    row->result_code = up->result_code;
    row->retries = up->retries;
    row->deadline = up->deadline;
    row->settle_until = up->settle_until;
}

/* --- moving --------------------------------------------------------------------------------- */

static void describe_failure(const struct ota_upgrade *before, const struct ota_upgrade *after,
                             char *detail, size_t size)
{
    int n = after->ending == OTA_ENDING_TIMEOUT
                ? snprintf(detail, size, "timeout")
                : snprintf(detail, size, "%d: %s", after->result_code,
                           ota_result_text(after->result_code));
    if (after->attempt > before->attempt && n > 0 && (size_t)n < size) {
        (void)snprintf(detail + n, size - (size_t)n, "; attempt %d in %lld s", after->attempt,
                       (long long)(after->retry_delay_ms / 1000));
    }
}

static void describe_success(const struct ota_upgrade *before, const struct ota_upgrade *after,
                             const struct ota_upgrade_event *event, char *detail, size_t size)
{
    const char *late = "";
    if (ota_status_is_finished(before->status) && before->status != OTA_SUCCEEDED) {
        late = before->status == OTA_CANCELLED ? "late, after it was cancelled; "
                                               : "late, after its time was out; ";
    }
    const char *what = event->kind == OTA_EV_DONE             ? "the device's word"
                       : after->confirmation == OTA_CONFIRMED ? "confirmed by a version report"
                                                              : "contradicted by a version report";
    (void)snprintf(detail, size, "%s%s", late, what);
}

/* The sentence beside a history entry. */
static void describe(const struct ota_upgrade *before, const struct ota_upgrade *after,
                     const struct ota_upgrade_outcome *outcome,
                     const struct ota_upgrade_event *event, char *detail, size_t size)
{
    detail[0] = '\0';
    if (outcome->history_status == OTA_FAILED) {
        describe_failure(before, after, detail, size);
    } else if (outcome->history_status == OTA_SUCCEEDED) {
        describe_success(before, after, event, detail, size);
    } else if (outcome->history_status == OTA_CANCELLED) {
        (void)snprintf(detail, size, "%s",
                       after->ending == OTA_ENDING_EXPIRED ? "expired" : "cancelled by an admin");
    } else if (event->kind == OTA_EV_RETRY) {
        (void)snprintf(detail, size, "attempt %d asked for", after->attempt);
    }
}

/* Writes the step from the row's state to `up`, and its history entry. */
static enum ota_err write_step(struct ota_core *core, struct ota_task_row *row,
                               const struct ota_upgrade *up,
                               const struct ota_upgrade_outcome *outcome,
                               const struct ota_upgrade_event *event, struct ota_error *error)
{
    struct ota_upgrade before;
    ota_upgrade_of_row(row, &before);
    int64_t now = ota_now_unix();
    struct ota_event_row entry = {
        .task_id = row->id,
        .at = now,
        .status = outcome->history_status,
        .percent = outcome->history_status == up->status ? up->percent : before.percent};
    describe(&before, up, outcome, event, entry.detail, sizeof entry.detail);
    upgrade_to_row(up, row);
    row->updated_at = now;
    if (!ota_status_is_finished(up->status)) {
        row->finished_at = 0;
    } else if (before.status != up->status) {
        row->finished_at = now;
    }
    if (up->status == OTA_MESSAGE_SENT || (ota_status_is_timed(up->status) && row->sent_at == 0)) {
        row->sent_at = now;
    } else if (up->status == OTA_WAITING) {
        row->sent_at = 0;
    }
    return ota_task_change(core->store, row, &entry, error);
}

static enum ota_err in_transaction(struct ota_core *core,
                                   enum ota_err (*work)(struct ota_core *, void *,
                                                        struct ota_error *),
                                   void *data, struct ota_error *error)
{
    if (core->in_transaction) {
        return work(core, data, error);
    }
    enum ota_err err = ota_core_begin(core, error);
    if (err != OTA_OK) {
        return err;
    }
    err = work(core, data, error);
    if (err != OTA_OK) {
        ota_core_rollback(core);
        return err;
    }
    return ota_core_commit(core, error);
}

struct step {
    struct ota_task *task;     /* an unfinished one, or */
    struct ota_device *device; /* a finished one's device with its */
    struct ota_task_row *row;
    const struct ota_upgrade *up;
    const struct ota_upgrade_outcome *outcome;
    const struct ota_upgrade_event *event;
};

static void fill_row(const struct ota_task *task, const char *message, struct ota_task_row *row)
{
    row->id = task->id;
    row->device_id = task->device->id;
    row->batch_id = task->batch != NULL ? task->batch->row.id : 0;
    row->sent_at = task->sent_at;
    row->last_event = task->last_event;
    row->timeout_ms = task->up.timeout_ms;
    row->retry_max = task->up.retry_max;
    row->retry_delay_ms = task->up.retry_delay_ms;
    row->device_message[0] = '\0';
    upgrade_to_row(&task->up, row);
    if (message == NULL) {
        message = task->device_message;
    }
    if (message != NULL) { /* the store refuses more than 128 bytes */
        ota_text_cut(message, row->device_message, sizeof row->device_message);
    }
}

static void end_task(struct ota_core *core, struct ota_task *task)
{
    struct ota_device *device = task->device;
    device->may_settle = ota_upgrade_may_settle(&task->up, core->service_ms);
    (void)ota_due_set(core, task, 0);
    ota_fleet_unlink_task(&core->fleet, task);
    ota_task_free(&core->fleet, task);
    ota_core_look_again(core, device);
}

/* The device is at it: it needs no further notice on this connection. */
static void note_progress(struct ota_task *task)
{
    task->progress_seen = true;
    task->next_notice = 0;
}

/* What comes next for a task that isn't finished. */
static void go_on(struct ota_core *core, struct ota_task *task)
{
    if (task->up.status == OTA_WAITING) { /* a new attempt */
        task->progress_seen = false;
        task->next_notice = core->mono_now;
    } else if (task->up.status == OTA_MESSAGE_SENT) {
        ota_notice_send(core, task);
        task->next_notice = core->mono_now + core->settings.notice_interval_ms;
    } else {
        note_progress(task);
    }
    ota_tasks_plan(core, task);
}

static void take_over(struct ota_core *core, struct ota_task *task, const struct ota_effect *effect)
{
    core->fleet.by_status[task->up.status]--;
    core->fleet.by_status[effect->upgrade.status]++;
    task->up = effect->upgrade;
    task->up.retry_on = ota_task_retry_on(task);
    task->percent_dirty = false;
    task->last_event = effect->number;
    task->sent_at = effect->sent_at;
    free(task->device_message);
    task->device_message = effect->other;
}

static void run_moved(struct ota_core *core, struct ota_effect *effect)
{
    struct ota_task *task = effect->item;
    struct ota_device *device = task->device;
    bool was_told = ota_status_is_timed(task->up.status);
    if (task->batch != NULL) {
        struct ota_counted before = ota_batch_counted(task, &task->up);
        struct ota_counted after = ota_batch_counted(task, &effect->upgrade);
        ota_batch_count(task->batch, &before, &after);
    }
    take_over(core, task, effect);
    if (ota_status_is_timed(task->up.status)) {
        device->echoes = false;
    } else if (was_told) {
        device->echoes = true;
    }
    if (effect->outcome.attempt_ended && core->cut != NULL) {
        core->cut(core->cut_data, task->id);
    }
    struct ota_task_news news = ota_events_news_of(task, effect->version);
    ota_events_task(core, task->device, &news);
    if (task->up.status == OTA_CANCELLED && was_told) {
        ota_notice_send_cancel(core, task);
    }
    if (ota_status_is_finished(task->up.status)) {
        core->counters.ended[task->up.status]++;
        end_task(core, task);
    } else {
        go_on(core, task);
    }
    ota_line_look(core, device);
}

static void drop_moved(struct ota_core *core, struct ota_effect *effect)
{
    struct ota_task *task = effect->item;
    free(effect->other);
    ota_line_look(core, task->device);
    ota_tasks_plan(core, task); /* the dispatcher took it out of the heap */
}

static enum ota_err write_moved(struct ota_core *core, void *data, struct ota_error *error)
{
    struct step *step = data;
    enum ota_err err = write_step(core, step->row, step->up, step->outcome, step->event, error);
    if (err != OTA_OK) {
        return err;
    }
    bool keeps_message = step->row->device_message[0] != '\0' &&
                         !ota_status_is_finished(step->up->status); /* a retry shows why */
    char *message = keeps_message ? strdup(step->row->device_message) : NULL;
    struct ota_effect *effect =
        !keeps_message || message != NULL ? ota_core_after(core, run_moved, drop_moved) : NULL;
    if (effect == NULL) {
        free(message);
        return ota_error_no_memory(error);
    }
    effect->item = step->task;
    effect->other = message;
    effect->upgrade = *step->up;
    effect->outcome = *step->outcome;
    effect->number = step->row->last_event;
    effect->sent_at = step->row->sent_at;
    if (step->task->firmware != NULL) {
        memcpy(effect->version, step->task->firmware->row.version, sizeof effect->version);
    }
    return OTA_OK;
}

static void note_percent(struct ota_core *core, struct ota_task *task, const struct ota_upgrade *up)
{
    task->up.percent = up->percent;
    task->percent_dirty = true;
    ota_fleet_mark(&core->fleet.dirty, task->device);
    if (core->mono_now - task->event_at >= OTA_PERCENT_EVENT_MS) {
        task->event_at = core->mono_now;
        struct ota_task_news news =
            ota_events_news_of(task, task->firmware != NULL ? task->firmware->row.version : "");
        ota_events_task(core, task->device, &news);
    }
}

static bool is_progress(enum ota_upgrade_event_kind kind)
{
    return kind >= OTA_EV_DOWNLOADING && kind <= OTA_EV_FAIL;
}

enum ota_err ota_tasks_apply(struct ota_core *core, struct ota_task *task,
                             const struct ota_upgrade_event *event, const char *message,
                             bool *changed, struct ota_error *error)
{
    struct ota_upgrade up = task->up;
    struct ota_upgrade_outcome outcome = ota_upgrade_step(&up, event);
    *changed = outcome.changed;
    if (outcome.percent_changed) {
        note_percent(core, task, &up);
    }
    if (!outcome.changed) {
        /* a waiting task only hears an echo of the attempt before */
        if (is_progress(event->kind) && ota_status_is_timed(up.status)) {
            note_progress(task);
        }
        return OTA_OK;
    }
    struct ota_task_row row = {0};
    /* code and message are of one failure */
    fill_row(task, up.has_result_code ? message : "", &row);
    struct step step = {.task = task, .row = &row, .up = &up, .outcome = &outcome, .event = event};
    if (event->kind == OTA_EV_NOTICED) {
        ota_line_claim(core, task->device);
    }
    enum ota_err err = in_transaction(core, write_moved, &step, error);
    if (err != OTA_OK) {
        ota_line_look(core, task->device);
    }
    return err;
}

/* --- finished tasks: late truth, confirmation, a new attempt ---------------------------------- */

/* What a finished task that moves is to its batch. */
static struct ota_counted counted_settled(const struct ota_device *device, int64_t task_id,
                                          const struct ota_upgrade *up)
{
    return (struct ota_counted){
        .task_id = task_id, .device_id = device->id, .online = device->conn != NULL, .up = up};
}

struct settled {
    struct ota_upgrade before;
    struct ota_batch *batch; /* or NULL */
};

static void drop_settled(struct ota_core *core, struct ota_effect *effect)
{
    (void)core;
    free(effect->other);
}

static void run_settled(struct ota_core *core, struct ota_effect *effect)
{
    struct ota_device *device = effect->item;
    struct settled *settled = effect->other;
    struct ota_batch *batch = settled->batch;
    device->may_settle = ota_upgrade_may_settle(&effect->upgrade, core->service_ms);
    if (effect->upgrade.confirmation == OTA_CONTRADICTED) { /* it fell back to what it ran before */
        ota_core_look_again(core, device);
    }
    if (batch != NULL) {
        struct ota_counted before = counted_settled(device, effect->number, &settled->before);
        struct ota_counted after = counted_settled(device, effect->number, &effect->upgrade);
        ota_batch_count(batch, &before, &after);
    }
    ota_events_task(core, device,
                    &(struct ota_task_news){effect->number, batch != NULL ? batch->row.id : 0,
                                            &effect->upgrade, effect->version});
    free(settled);
}

/* The tallies of a settled batch are stored: they follow in the same transaction. */
static enum ota_err store_tally(struct ota_core *core, const struct ota_batch *batch,
                                const struct ota_counted *before, const struct ota_counted *after,
                                struct ota_error *error)
{
    if (batch == NULL || !batch->row.tallied) {
        return OTA_OK;
    }
    uint32_t device_id = before->device_id;
    size_t seq = ota_batch_stage_of(batch, device_id);
    struct ota_stage stage = batch->stages[seq];
    stage.tally = ota_batch_tally_after(batch, before, after);
    return ota_batch_update_stage(core->store, batch->row.id, seq, &stage, error);
}

static enum ota_err announce_settled(struct ota_core *core, const struct step *step,
                                     const struct settled *settled, struct ota_error *error)
{
    struct settled *kept = malloc(sizeof *kept);
    struct ota_effect *effect =
        kept != NULL ? ota_core_after(core, run_settled, drop_settled) : NULL;
    if (effect == NULL) {
        free(kept);
        return ota_error_no_memory(error);
    }
    *kept = *settled;
    effect->item = step->device;
    effect->other = kept;
    effect->number = step->row->id;
    effect->upgrade = *step->up;
    effect->upgrade.retry_on = NULL;
    memcpy(effect->version, step->row->version, sizeof effect->version);
    return OTA_OK;
}

static enum ota_err write_settled(struct ota_core *core, void *data, struct ota_error *error)
{
    struct step *step = data;
    struct settled settled = {.batch = step->row->batch_id != 0
                                           ? ota_fleet_batch(&core->fleet, step->row->batch_id)
                                           : NULL};
    ota_upgrade_of_row(step->row, &settled.before);
    settled.before.retry_on = NULL;
    enum ota_err err = write_step(core, step->row, step->up, step->outcome, step->event, error);
    if (err != OTA_OK) {
        return err;
    }
    struct ota_counted before = counted_settled(step->device, step->row->id, &settled.before);
    struct ota_counted after = counted_settled(step->device, step->row->id, step->up);
    err = store_tally(core, settled.batch, &before, &after, error);
    if (err != OTA_OK) {
        return err;
    }
    return ota_status_is_finished(step->up->status)
               ? announce_settled(core, step, &settled, error)
               : ota_tasks_announce(core, step->row, &settled.before, error);
}

enum ota_err ota_tasks_settle(struct ota_core *core, struct ota_device *device,
                              const struct ota_task_row *row, const struct ota_upgrade_event *event,
                              bool *changed, struct ota_error *error)
{
    struct ota_upgrade up;
    ota_upgrade_of_row(row, &up);
    struct ota_upgrade_outcome outcome = ota_upgrade_step(&up, event);
    *changed = outcome.changed;
    if (!outcome.changed) {
        device->may_settle = ota_upgrade_may_settle(&up, core->service_ms);
        return OTA_OK;
    }
    struct ota_task_row after = *row;
    if (!up.has_result_code) {
        after.device_message[0] = '\0';
    }
    struct step step = {
        .device = device, .row = &after, .up = &up, .outcome = &outcome, .event = event};
    return in_transaction(core, write_settled, &step, error);
}
