/* SPDX-License-Identifier: BSD-3-Clause */
#include "task_make.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "broker.h"
#include "events.h"
#include "fleet_task.h"
#include "task_plan.h"

/* Memory's share of a task that was made; a batch tells of itself. */
static void bring_in(struct ota_core *core, struct ota_task *task, const struct ota_upgrade *before)
{
    ota_fleet_link_task(&core->fleet, task);
    if (task->batch != NULL) {
        struct ota_counted was = ota_batch_counted(task, before);
        struct ota_counted is = ota_batch_counted(task, &task->up);
        ota_batch_count(task->batch, before != NULL ? &was : NULL, &is);
    }
    task->next_notice = core->mono_now;
    ota_tasks_plan(core, task);
}

/* effect->number: it is an old task that is tried again, effect->upgrade what it was. */
static void run_created(struct ota_core *core, struct ota_effect *effect)
{
    struct ota_task *task = effect->item;
    bring_in(core, task, effect->number != 0 ? &effect->upgrade : NULL);
    struct ota_task_news news = ota_events_news_of(task, effect->version);
    if (effect->number != 0 || task->batch == NULL) { /* a batch tells of itself */
        ota_events_task(core, task->device, &news);
    }
}

static void drop_created(struct ota_core *core, struct ota_effect *effect)
{
    ota_task_free(&core->fleet, effect->item);
}

enum ota_err ota_tasks_announce(struct ota_core *core, const struct ota_task_row *row,
                                const struct ota_upgrade *before, struct ota_error *error)
{
    struct ota_task *task = ota_due_reserve(core, 1) ? ota_task_new(&core->fleet, row) : NULL;
    struct ota_effect *effect =
        task != NULL ? ota_core_after(core, run_created, drop_created) : NULL;
    if (effect == NULL) {
        ota_task_free(&core->fleet, task);
        return ota_error_no_memory(error);
    }
    ota_upgrade_of_row(row, &task->up);
    task->up.retry_on = ota_task_retry_on(task);
    effect->item = task;
    if (before != NULL) {
        effect->number = 1;
        effect->upgrade = *before;
        effect->upgrade.retry_on = NULL;
    }
    memcpy(effect->version, row->version, sizeof effect->version);
    return OTA_OK;
}

static void fill_common(const struct ota_task_order *order, struct ota_task_row *row)
{
    int64_t now = ota_now_unix();
    *row = (struct ota_task_row){.firmware_id = order->firmware->row.id,
                                 .batch_id = order->batch_id,
                                 .status = OTA_WAITING,
                                 .attempt = 1,
                                 .timeout_ms = order->timeout_ms,
                                 .retry_max = order->retry_max,
                                 .retry_delay_ms = order->retry_delay_ms,
                                 .created_at = now,
                                 .updated_at = now};
    (void)snprintf(row->version, sizeof row->version, "%s", order->firmware->row.version);
    (void)snprintf(row->retry_on, sizeof row->retry_on, "%s", order->retry_on);
}

enum ota_err ota_tasks_create(struct ota_core *core, const struct ota_task_order *order,
                              int64_t *id, struct ota_error *error)
{
    struct ota_task_row row;
    fill_common(order, &row);
    row.device_id = order->device->id;
    row.flags = order->reinstall ? OTA_UPGRADE_REINSTALL : 0;
    if (order->device->version != NULL) {
        (void)snprintf(row.from_version, sizeof row.from_version, "%s",
                       order->device->version->text);
    }
    enum ota_err err = ota_task_insert(core->store, &row, error);
    if (err == OTA_OK) {
        err = ota_tasks_announce(core, &row, NULL, error);
    }
    if (err == OTA_OK) {
        *id = row.id;
    }
    return err;
}

/* --- making many ------------------------------------------------------------------------------ */

struct brood {
    size_t count;
    struct ota_task *tasks[];
};

static void free_brood(struct ota_core *core, struct brood *brood)
{
    for (size_t i = 0; brood != NULL && i < brood->count; i++) {
        ota_task_free(&core->fleet, brood->tasks[i]);
    }
    free(brood);
}

static void run_many(struct ota_core *core, struct ota_effect *effect)
{
    struct brood *brood = effect->item;
    for (size_t i = 0; i < brood->count; i++) {
        bring_in(core, brood->tasks[i], NULL);
    }
    free(brood);
}

static void drop_many(struct ota_core *core, struct ota_effect *effect)
{
    free_brood(core, effect->item);
}

static bool hatch(struct ota_core *core, struct brood *brood, const struct ota_task_row *common,
                  const uint32_t *devices, size_t count)
{
    struct ota_task_row row = *common;
    for (; brood->count < count; brood->count++, row.id++) {
        row.device_id = devices[brood->count];
        struct ota_task *task = ota_task_new(&core->fleet, &row);
        if (task == NULL) {
            return false;
        }
        const struct ota_version *version = task->device->version;
        bool same = version != NULL && strcmp(version->text, row.version) == 0;
        row.flags = same ? OTA_UPGRADE_REINSTALL : 0;
        ota_upgrade_of_row(&row, &task->up);
        task->up.retry_on = ota_task_retry_on(task);
        brood->tasks[brood->count] = task;
    }
    return true;
}

enum ota_err ota_tasks_create_many(struct ota_core *core, const struct ota_task_order *order,
                                   const uint32_t *devices, size_t count, struct ota_error *error)
{
    if (count == 0) {
        return OTA_OK;
    }
    struct ota_task_row row;
    fill_common(order, &row);
    enum ota_err err = ota_task_insert_many(core->store, &row, OTA_UPGRADE_REINSTALL, devices,
                                            count, &row.id, error);
    if (err != OTA_OK) {
        return err;
    }
    struct brood *brood = malloc(sizeof *brood + count * sizeof(struct ota_task *));
    if (brood == NULL) {
        return ota_error_no_memory(error);
    }
    brood->count = 0;
    struct ota_effect *effect =
        ota_due_reserve(core, count) && hatch(core, brood, &row, devices, count)
            ? ota_core_after(core, run_many, drop_many)
            : NULL;
    if (effect == NULL) {
        free_brood(core, brood);
        return ota_error_no_memory(error);
    }
    effect->item = brood;
    return OTA_OK;
}
