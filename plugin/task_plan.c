/* SPDX-License-Identifier: BSD-3-Clause */
#include "task_plan.h"

#include "batch.h"
#include "broker.h"
#include "fleet_gateway.h"
#include "notice.h"

/* A device that only subscribes gets this long to report before the notice goes out: a notice
 * before the report is lost on vendor devices (tencent-sdk.md, 3 and 4). */
#define OTA_GRACE_AFTER_SUBSCRIBE_MS 3000

#define OTA_ASIDE_MS 60000
#define OTA_RETRY_MS 1000 /* where memory is out */

static int64_t mono_of_service(const struct ota_core *core, int64_t service)
{
    int64_t left = service - core->service_ms;
    return core->mono_now + (left > 0 ? left : 0);
}

bool ota_tasks_is_kept_back(const struct ota_core *core, const struct ota_task *task)
{
    return (task->device->hold && task->up.status == OTA_WAITING) ||
           ota_fleet_waits_for_gateway(&core->fleet, task);
}

/* Why a task that its batch could send isn't sent. */
static enum ota_wait batch_wait(const struct ota_task *task)
{
    const struct ota_batch *batch = task->batch;
    if (batch->row.state == OTA_BATCH_PAUSED) {
        return OTA_WAIT_PAUSED;
    }
    if (batch->row.state != OTA_BATCH_RUNNING || batch->row.open_stages == 0) {
        return ota_batch_is_over(batch) ? OTA_WAIT_NONE : OTA_WAIT_SCHEDULED;
    }
    if ((int64_t)ota_batch_stage_of(batch, task->device->id) >= batch->row.open_stages) {
        return OTA_WAIT_STAGE;
    }
    struct ota_tally tally = ota_batch_tally(batch);
    return ota_tally_in_flight(&tally, batch->row.gate) >= batch->row.max_in_flight
               ? OTA_WAIT_IN_FLIGHT
               : OTA_WAIT_PACED;
}

enum ota_wait ota_tasks_wait(const struct ota_core *core, const struct ota_task *task)
{
    if (task->up.status != OTA_WAITING) {
        return OTA_WAIT_NONE;
    }
    if (task->device->hold) {
        return OTA_WAIT_HELD;
    }
    if (task->up.deadline > core->service_ms) {
        return OTA_WAIT_RETRY;
    }
    enum ota_wait wait = task->batch != NULL ? batch_wait(task) : OTA_WAIT_NONE;
    bool has_its_turn = task->batch == NULL || wait == OTA_WAIT_IN_FLIGHT || wait == OTA_WAIT_PACED;
    return has_its_turn && ota_fleet_waits_for_gateway(&core->fleet, task) ? OTA_WAIT_GATEWAY
                                                                           : wait;
}

static int64_t due_at(const struct ota_core *core, struct ota_task *task)
{
    int64_t when = INT64_MAX;
    if (ota_status_is_timed(task->up.status)) {
        when = mono_of_service(core, task->up.deadline);
    }
    if (task->device->conn == NULL || task->next_notice == 0 ||
        ota_tasks_is_kept_back(core, task)) {
        return when;
    }
    int64_t notice = task->next_notice;
    if (task->up.status == OTA_WAITING && task->up.deadline > core->service_ms) {
        int64_t turn = mono_of_service(core, task->up.deadline);
        notice = turn > notice ? turn : notice;
    }
    return notice < when ? notice : when;
}

/* In a batch the order of the batch counts, and its pace: who could be told now waits in line. */
static bool waits_in_line(const struct ota_task *task, int64_t now, int64_t due)
{
    return task->batch != NULL && task->up.status == OTA_WAITING && due <= now;
}

void ota_tasks_plan(struct ota_core *core, struct ota_task *task)
{
    bool expired;
    bool ends = ota_batch_ends(task, &expired);
    int64_t when = ends ? core->mono_now : due_at(core, task);
    bool planned = !ends && waits_in_line(task, core->mono_now, when)
                       ? ota_due_queue(core, task)
                       : ota_due_set(core, task, when == INT64_MAX ? 0 : when);
    if (!planned) { /* it had no place in its batch's line; here it has one (ota_due_reserve) */
        (void)ota_due_set(core, task, core->mono_now + OTA_RETRY_MS);
    }
}

void ota_tasks_set_aside(struct ota_core *core, struct ota_task *task, enum ota_err err)
{
    ota_tasks_plan(core, task);
    if (err != OTA_UNAVAILABLE) {
        ota_log(OTA_LOG_ERROR, "task %lld is set aside for a minute", (long long)task->id);
        (void)ota_due_set(core, task, core->mono_now + OTA_ASIDE_MS);
    }
}

void ota_tasks_connected(struct ota_core *core, struct ota_task *task)
{
    task->progress_seen = false;
    task->next_notice =
        task->up.status == OTA_UPGRADING ? 0 : core->mono_now + OTA_GRACE_AFTER_SUBSCRIBE_MS;
    ota_tasks_plan(core, task);
}

void ota_tasks_reported_version(struct ota_core *core, struct ota_task *task)
{
    if (!task->progress_seen) {
        task->next_notice = core->mono_now;
        ota_tasks_plan(core, task);
    }
}

/* Also after a progress report, but then once: ota_tasks_repeat_notice. */
void ota_tasks_asked_notice(struct ota_core *core, struct ota_task *task)
{
    task->next_notice = core->mono_now;
    ota_tasks_plan(core, task);
}

void ota_tasks_disconnected(struct ota_core *core, struct ota_task *task)
{
    task->next_notice = 0;
    ota_tasks_plan(core, task);
}

void ota_tasks_announced(struct ota_core *core, struct ota_task *task)
{
    task->progress_seen = false;
    ota_tasks_disconnected(core, task);
}

void ota_tasks_repeat_notice(struct ota_core *core, struct ota_task *task)
{
    ota_notice_send(core, task);
    task->next_notice =
        task->progress_seen ? 0 : core->mono_now + core->settings.notice_interval_ms;
    ota_tasks_plan(core, task);
}
