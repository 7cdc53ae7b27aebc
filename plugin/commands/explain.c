/* SPDX-License-Identifier: BSD-3-Clause */
/* explainDevice: why a device is where it is, in a sentence. */
#include <stdio.h>
#include <string.h>

#include "../fleet_gateway.h"
#include "../task_plan.h"
#include "commands.h"

struct explanation {
    const char *reason;
    size_t position; /* in its batch's line, from 1; 0: in none */
    char sentence[320];
};

/* How the last task ended, where that is not simply well. */
static bool explain_last(const struct ota_device *device, const struct ota_task_row *row,
                         struct explanation *why)
{
    const char *how = NULL;
    if (row->status == OTA_FAILED) {
        why->reason = "failed";
        how = row->ending == OTA_ENDING_TIMEOUT ? "timeout" : ota_result_text(row->result_code);
    } else if (row->status == OTA_CANCELLED) {
        why->reason = "cancelled";
        how = "it was cancelled";
    } else if (row->confirmation == OTA_CONTRADICTED) {
        why->reason = "contradicted";
        how = "it said that it was done, and then reported another version";
    } else if (row->confirmation == OTA_PENDING) {
        why->reason = "pending";
        how = "it said that it was done, and has not reported its version since";
    }
    if (how == NULL) {
        return false;
    }
    (void)snprintf(why->sentence, sizeof why->sentence,
                   "%s runs %s; its last upgrade, to %s (task %lld): %s.", device->name,
                   device->version != NULL ? device->version->text : "an unknown version",
                   row->version, (long long)row->id, how);
    return true;
}

static enum ota_err explain_idle(struct ota_call *call, const struct ota_device *device,
                                 struct explanation *why)
{
    struct ota_task_row row;
    enum ota_err err = device->last_task != 0
                           ? ota_task_get(call->core->store, device->last_task, &row, &call->error)
                           : OTA_NOT_FOUND;
    if (err != OTA_OK && err != OTA_NOT_FOUND) {
        return err;
    }
    if (err == OTA_OK && explain_last(device, &row, why)) {
        return OTA_OK;
    }
    if (device->version == NULL) {
        why->reason = "never_reported";
        (void)snprintf(why->sentence, sizeof why->sentence,
                       "%s has never reported a version, and no task is there for it.",
                       device->name);
        return OTA_OK;
    }
    why->reason = device->hold ? "held" : "no_task";
    (void)snprintf(why->sentence, sizeof why->sentence,
                   "%s runs %s and no unfinished task is there for it%s.", device->name,
                   device->version->text, device->hold ? "; it is on hold" : "");
    return OTA_OK;
}

/* What paused the batch, or what it waits for. */
static const char *pause_words(enum ota_batch_reason reason)
{
    switch (reason) {
    case OTA_REASON_FAILURE_THRESHOLD:
        return "by its failure threshold: look at the failures, then resume or cancel it";
    case OTA_REASON_STAGE_GATE:
        return "at the gate of a stage, too few succeeded: look at the failures, then resume or "
               "cancel it";
    case OTA_REASON_NONE:
    case OTA_REASON_ADMIN:
    case OTA_REASON_EXPIRED:
    case OTA_REASON_COUNT:
        break;
    }
    return "by an admin: resume it to go on";
}

static void explain_stage(const struct ota_task *task, struct explanation *why)
{
    const struct ota_batch *batch = task->batch;
    size_t mine = ota_batch_stage_of(batch, task->device->id);
    const struct ota_stage *open = &batch->stages[batch->row.open_stages - 1];
    uint32_t needed = ota_rollout_needed(open);
    uint32_t successes = ota_tally_successes(&open->tally, batch->row.gate);
    uint32_t left = ota_tally_total(&open->tally) -
                    ota_tally_failures(&open->tally, batch->row.gate) -
                    open->tally.by_status[OTA_CANCELLED];
    struct ota_rollout rollout = ota_batch_rollout(batch);
    const char *hint = "";
    if (ota_rollout_is_emptied(&rollout)) {
        hint = "; all its devices were deleted: an admin has to advance it";
    } else if (successes >= needed) {
        hint = open->manual ? "; an admin has to advance it" : "; it soaks";
    } else if (left < needed) {
        hint = "; too many of its tasks were cancelled for that: an admin has to advance it";
    }
    (void)snprintf(why->sentence, sizeof why->sentence,
                   "%s belongs to stage %zu of batch %lld; stage %lld is open, of which %u of the "
                   "%u that are needed have succeeded%s.",
                   task->device->name, mine + 1, (long long)batch->row.id,
                   (long long)batch->row.open_stages, successes, needed, hint);
}

#define OTA_POSITION_MAX 10000

static void explain_line(const struct ota_task *task, enum ota_wait wait, struct explanation *why)
{
    const struct ota_batch *batch = task->batch;
    uint64_t key = ota_rollout_key(batch->row.id, task->device->id);
    size_t before = ota_heap_before(&batch->queue, ota_batch_rank(key), OTA_POSITION_MAX);
    const char *cause = wait == OTA_WAIT_IN_FLIGHT ? "as many devices as it may have are at it"
                        : batch->row.rate_per_minute > 0 ? "its pace is limited"
                                                         : "its turn comes within seconds";
    why->position = before + 1;
    (void)snprintf(why->sentence, sizeof why->sentence,
                   "%s is number %zu%s in the line of batch %lld: %s.", task->device->name,
                   why->position, before == OTA_POSITION_MAX ? " or more" : "",
                   (long long)batch->row.id, cause);
}

static void explain_batch(const struct ota_task *task, enum ota_wait wait, struct explanation *why)
{
    const struct ota_batch *batch = task->batch;
    if (wait == OTA_WAIT_PAUSED) {
        (void)snprintf(why->sentence, sizeof why->sentence, "%s waits: batch %lld is paused %s.",
                       task->device->name, (long long)batch->row.id,
                       pause_words(batch->row.reason));
    } else if (wait == OTA_WAIT_SCHEDULED) {
        (void)snprintf(why->sentence, sizeof why->sentence,
                       "%s waits: the tasks of batch %lld are still being made.",
                       task->device->name, (long long)batch->row.id);
    } else if (wait == OTA_WAIT_STAGE) {
        explain_stage(task, why);
    } else {
        explain_line(task, wait, why);
    }
}

/* Whom the gateway is at; NULL: at nobody that is known. */
static const struct ota_task *task_before(const struct ota_gateway *gateway)
{
    for (const struct ota_bond *bond = gateway->bonds; bond != NULL; bond = bond->next) {
        if (bond->counted) {
            return bond->device->task;
        }
    }
    return NULL;
}

static void explain_gateway(const struct ota_core *core, const struct ota_task *task,
                            struct explanation *why)
{
    const struct ota_device *device = task->device;
    const struct ota_bond *bond = ota_fleet_bond(&core->fleet, device);
    const struct ota_device *gateway = bond->gateway->device;
    const struct ota_task *before = task_before(bond->gateway);
    if (before == NULL) {
        (void)snprintf(why->sentence, sizeof why->sentence,
                       "%s waits: its gateway %s announced it, but has not subscribed to its "
                       "messages yet.",
                       device->name, gateway->name);
        return;
    }
    (void)snprintf(why->sentence, sizeof why->sentence,
                   "%s waits for its gateway %s, which upgrades one device at a time: it is at %s "
                   "(task %lld).",
                   device->name, gateway->name, before->device->name, (long long)before->id);
}

static void explain_waiting(const struct ota_core *core, const struct ota_device *device,
                            struct explanation *why)
{
    const struct ota_task *task = device->task;
    const char *target = task->firmware != NULL ? task->firmware->row.version : "?";
    enum ota_wait wait = ota_tasks_wait(core, task);
    why->reason = wait != OTA_WAIT_NONE ? ota_wait_name(wait) : "task_waiting";
    if (wait == OTA_WAIT_HELD) {
        (void)snprintf(why->sentence, sizeof why->sentence,
                       "%s is on hold; its upgrade to %s begins when the hold is lifted.",
                       device->name, target);
    } else if (device->conn == NULL) {
        why->reason = "device_offline";
        (void)snprintf(why->sentence, sizeof why->sentence,
                       "%s is not connected; its upgrade to %s begins when it comes back.",
                       device->name, target);
    } else if (wait == OTA_WAIT_RETRY) {
        (void)snprintf(why->sentence, sizeof why->sentence,
                       "An attempt to upgrade %s to %s failed; attempt %d begins in %lld s.",
                       device->name, target, task->up.attempt,
                       (long long)((task->up.deadline - core->service_ms + 999) / 1000));
    } else if (wait == OTA_WAIT_GATEWAY) {
        explain_gateway(core, task, why);
    } else if (wait != OTA_WAIT_NONE) {
        explain_batch(task, wait, why);
    } else {
        (void)snprintf(why->sentence, sizeof why->sentence,
                       "%s is connected and gets its notice for %s within seconds.", device->name,
                       target);
    }
}

static void explain_under_way(const struct ota_core *core, const struct ota_device *device,
                              struct explanation *why)
{
    const struct ota_task *task = device->task;
    enum ota_shown shown = ota_shown_of(task->up.status, device->conn != NULL);
    int64_t left = (task->up.deadline - core->service_ms) / 1000;
    why->reason = ota_shown_name(shown);
    (void)snprintf(why->sentence, sizeof why->sentence,
                   "%s is on its way to %s: %s (%d %%)%s; the attempt fails in %lld s unless it "
                   "succeeds.",
                   device->name, task->firmware != NULL ? task->firmware->row.version : "?",
                   ota_shown_words(shown), task->up.percent,
                   device->conn == NULL ? ", not connected now" : "",
                   (long long)(left > 0 ? left : 0));
}

enum ota_err ota_cmd_explain_device(struct ota_call *call)
{
    struct ota_product *product;
    struct ota_device *device;
    struct explanation why = {0};
    enum ota_err err = ota_call_device(call, &product, &device);
    if (err != OTA_OK) {
        return err;
    }
    if (device->task == NULL) {
        err = explain_idle(call, device, &why);
    } else if (device->task->up.status == OTA_WAITING) {
        explain_waiting(call->core, device, &why);
    } else {
        explain_under_way(call->core, device, &why);
    }
    if (err == OTA_OK) {
        err = ota_call_answer(call, "sentence", json_string(why.sentence));
    }
    if (err == OTA_OK) {
        err = ota_call_answer(call, "reason", json_string(why.reason));
    }
    if (err == OTA_OK && device->task != NULL) {
        err = ota_call_answer(call, "task", json_integer(device->task->id));
    }
    if (err == OTA_OK && device->task != NULL && device->task->batch != NULL) {
        err = ota_call_answer(call, "batch", json_integer(device->task->batch->row.id));
    }
    if (err == OTA_OK && why.position > 0) {
        err = ota_call_answer(call, "position", json_integer((json_int_t)why.position));
    }
    return err;
}
