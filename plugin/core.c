/* SPDX-License-Identifier: BSD-3-Clause */
#include "core.h"

#include <assert.h>
#include <stdlib.h>

#include "batch.h"
#include "broker.h"

/* A tick that comes later than this counts as this much service time. */
#define OTA_LONGEST_TICK_MS 1000
#define OTA_STORE_PAUSE_MS  1000

void ota_core_init(struct ota_core *core)
{
    *core = (struct ota_core){0};
    ota_fleet_init(&core->fleet);
    core->mono_now = ota_now_mono();
}

void ota_core_free(struct ota_core *core)
{
    ota_core_rollback(core);
    ota_fleet_free(&core->fleet);
    free(core->effects);
    ota_heap_free(&core->due);
    core->effects = NULL;
}

/* --- the transaction ------------------------------------------------------------------------ */

enum ota_err ota_core_begin(struct ota_core *core, struct ota_error *error)
{
    assert(!core->in_transaction && core->effect_count == 0);
    enum ota_err err = ota_store_begin(core->store, error);
    core->in_transaction = err == OTA_OK;
    core->new_tasks = 0;
    return err;
}

struct ota_effect *ota_core_after(struct ota_core *core,
                                  void (*run)(struct ota_core *, struct ota_effect *),
                                  void (*drop)(struct ota_core *, struct ota_effect *))
{
    if (core->effect_count == core->effect_capacity) {
        size_t capacity = core->effect_capacity != 0 ? core->effect_capacity * 2 : 32;
        struct ota_effect *grown = realloc(core->effects, capacity * sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        core->effects = grown;
        core->effect_capacity = capacity;
    }
    struct ota_effect *effect = &core->effects[core->effect_count++];
    *effect = (struct ota_effect){.run = run, .drop = drop};
    return effect;
}

enum ota_err ota_core_commit(struct ota_core *core, struct ota_error *error)
{
    int64_t began = ota_now_us();
    enum ota_err err = ota_store_commit(core->store, error);
    ota_histogram_add(&core->counters.commits, ota_now_us() - began);
    if (err != OTA_OK) {
        ota_core_rollback(core);
        return err;
    }
    core->in_transaction = false;
    for (size_t i = 0; i < core->effect_count; i++) {
        core->effects[i].run(core, &core->effects[i]);
    }
    core->effect_count = 0;
    return OTA_OK;
}

void ota_core_rollback(struct ota_core *core)
{
    if (!core->in_transaction) {
        return;
    }
    ota_store_rollback(core->store);
    core->in_transaction = false;
    while (core->effect_count > 0) {
        struct ota_effect *effect = &core->effects[--core->effect_count];
        if (effect->drop != NULL) {
            effect->drop(core, effect);
        }
    }
}

void ota_core_put_off(struct ota_core *core, const struct ota_error *error)
{
    core->counters.store_failures++;
    core->store_retry_at = core->mono_now + OTA_STORE_PAUSE_MS;
    ota_log(OTA_LOG_ERROR, "background work is put off: %s", error->text);
}

void ota_core_tick_clock(struct ota_core *core)
{
    int64_t now = ota_now_mono();
    int64_t passed = now - core->mono_now;
    core->mono_now = now;
    core->service_ms += passed < OTA_LONGEST_TICK_MS ? passed : OTA_LONGEST_TICK_MS;
}

/* --- the heap of due work ------------------------------------------------------------------- */

bool ota_due_reserve(struct ota_core *core, size_t count)
{
    core->new_tasks += count;
    return ota_heap_reserve(&core->due, core->fleet.task_count + core->new_tasks);
}

bool ota_due_set(struct ota_core *core, struct ota_task *task, int64_t when)
{
    if (task->queued) {
        ota_heap_remove(&task->batch->queue, task);
        task->queued = false;
    }
    if (when == 0) {
        ota_heap_remove(&core->due, task);
        return true;
    }
    ota_core_wake(core, when);
    return ota_heap_set(&core->due, task, when);
}

bool ota_due_queue(struct ota_core *core, struct ota_task *task)
{
    if (!task->queued) {
        ota_heap_remove(&core->due, task);
    }
    uint64_t key = ota_rollout_key(task->batch->row.id, task->device->id);
    task->queued = ota_heap_set(&task->batch->queue, task, ota_batch_rank(key));
    return task->queued;
}

struct ota_task *ota_due_first(const struct ota_core *core, int64_t now)
{
    return core->due.count > 0 && ota_heap_at(&core->due, 0)->rank <= now
               ? ota_heap_at(&core->due, 0)->task
               : NULL;
}

int64_t ota_due_when(const struct ota_core *core)
{
    return core->due.count > 0 ? ota_heap_at(&core->due, 0)->rank : INT64_MAX;
}
