/* SPDX-License-Identifier: BSD-3-Clause */
#include "fleet_task.h"

#include <stdlib.h>
#include <string.h>

#include "batch.h"

void ota_upgrade_of_row(const struct ota_task_row *row, struct ota_upgrade *up)
{
    *up = (struct ota_upgrade){
        .status = row->status,
        .confirmation = row->confirmation,
        .ending = row->ending,
        .flags = row->flags,
        .attempt = row->attempt,
        .percent = row->percent,
        .has_result_code = row->has_result_code,
        .result_code = row->result_code,
        .retry_max = row->retry_max,
        .retries = row->retries,
        .retry_on = row->retry_on,
        .retry_delay_ms = row->retry_delay_ms,
        .timeout_ms = row->timeout_ms,
        .deadline = row->deadline,
        .settle_until = row->settle_until,
    };
}

static bool copy_text(const char *text, char **copy)
{
    if (text[0] == '\0') {
        return true;
    }
    *copy = strdup(text);
    return *copy != NULL;
}

struct ota_task *ota_task_new(struct ota_fleet *fleet, const struct ota_task_row *row)
{
    struct ota_task *task = ota_pool_take(&fleet->tasks);
    if (task == NULL) {
        return NULL;
    }
    task->id = row->id;
    task->device = ota_fleet_device_by_id(fleet, row->device_id);
    task->firmware = ota_fleet_firmware(fleet, row->firmware_id);
    task->batch = row->batch_id != 0 ? ota_fleet_batch(fleet, row->batch_id) : NULL;
    task->last_event = row->last_event;
    task->sent_at = row->sent_at;
    bool shared = task->batch != NULL; /* then the batch has the same */
    if (task->device == NULL || (!shared && !copy_text(row->retry_on, &task->retry_on)) ||
        !copy_text(row->device_message, &task->device_message)) {
        ota_task_free(fleet, task);
        return NULL;
    }
    return task;
}

void ota_task_free(struct ota_fleet *fleet, struct ota_task *task)
{
    if (task != NULL) {
        free(task->retry_on);
        free(task->device_message);
        ota_pool_give(&fleet->tasks, task);
    }
}

void ota_fleet_link_task(struct ota_fleet *fleet, struct ota_task *task)
{
    task->device->task = task;
    task->device->last_task = task->id;
    task->device->may_settle = false;
    if (task->firmware != NULL) {
        task->firmware->unfinished++;
    }
    if (task->batch != NULL) {
        ota_batch_link(task);
    }
    fleet->task_count++;
    fleet->by_status[task->up.status]++;
}

void ota_fleet_unlink_task(struct ota_fleet *fleet, struct ota_task *task)
{
    task->device->task = NULL;
    if (task->firmware != NULL) {
        task->firmware->unfinished--;
    }
    if (task->batch != NULL) {
        ota_batch_unlink(task);
    }
    fleet->task_count--;
    fleet->by_status[task->up.status]--;
}

const char *ota_task_retry_on(const struct ota_task *task)
{
    return task->batch != NULL ? task->batch->row.retry_on : task->retry_on;
}
