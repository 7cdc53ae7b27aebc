/* SPDX-License-Identifier: BSD-3-Clause */
#include "core.h"

#include <assert.h>
#include <stdlib.h>

#include "broker.h"

/* A tick that comes later than this counts as this much service time. */
#define OTA_LONGEST_TICK_MS 1000

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
    free(core->due.entries);
    core->effects = NULL;
    core->due = (struct ota_heap){0};
}

/* --- the transaction ------------------------------------------------------------------------ */

enum ota_err ota_core_begin(struct ota_core *core, struct ota_error *error)
{
    assert(!core->in_transaction && core->effect_count == 0);
    enum ota_err err = ota_store_begin(core->store, error);
    core->in_transaction = err == OTA_OK;
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
    enum ota_err err = ota_store_commit(core->store, error);
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

void ota_core_tick_clock(struct ota_core *core)
{
    int64_t now = ota_now_mono();
    int64_t passed = now - core->mono_now;
    core->mono_now = now;
    core->service_ms += passed < OTA_LONGEST_TICK_MS ? passed : OTA_LONGEST_TICK_MS;
}

/* --- the heap of due work ------------------------------------------------------------------- */

struct ota_due {
    int64_t when;
    struct ota_task *task;
};

static void place(struct ota_heap *heap, size_t i, struct ota_due entry)
{
    heap->entries[i] = entry;
    entry.task->heap_at = (uint32_t)i + 1;
}

static void sift_up(struct ota_heap *heap, size_t i, struct ota_due entry)
{
    while (i > 0 && heap->entries[(i - 1) / 2].when > entry.when) {
        place(heap, i, heap->entries[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place(heap, i, entry);
}

static void sift_down(struct ota_heap *heap, size_t i, struct ota_due entry)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < heap->count && heap->entries[child + 1].when < heap->entries[child].when) {
            child++;
        }
        if (child >= heap->count || heap->entries[child].when >= entry.when) {
            break;
        }
        place(heap, i, heap->entries[child]);
        i = child;
    }
    place(heap, i, entry);
}

static void move(struct ota_heap *heap, size_t i, struct ota_due entry)
{
    if (i > 0 && heap->entries[(i - 1) / 2].when > entry.when) {
        sift_up(heap, i, entry);
    } else {
        sift_down(heap, i, entry);
    }
}

static void take_out(struct ota_heap *heap, struct ota_task *task)
{
    if (task->heap_at == 0) {
        return;
    }
    size_t i = task->heap_at - 1;
    task->heap_at = 0;
    struct ota_due last = heap->entries[--heap->count];
    if (i < heap->count) {
        move(heap, i, last);
    }
}

static bool ensure_room(struct ota_heap *heap)
{
    if (heap->count < heap->capacity) {
        return true;
    }
    size_t capacity = heap->capacity != 0 ? heap->capacity * 2 : 64;
    struct ota_due *grown = realloc(heap->entries, capacity * sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    heap->entries = grown;
    heap->capacity = capacity;
    return true;
}

bool ota_due_set(struct ota_core *core, struct ota_task *task, int64_t when)
{
    struct ota_heap *heap = &core->due;
    if (when == 0) {
        take_out(heap, task);
        return true;
    }
    struct ota_due entry = {when, task};
    ota_core_wake(core, when);
    if (task->heap_at != 0) {
        move(heap, task->heap_at - 1, entry);
        return true;
    }
    if (!ensure_room(heap)) {
        return false;
    }
    sift_up(heap, heap->count++, entry);
    return true;
}

struct ota_task *ota_due_first(const struct ota_core *core, int64_t now)
{
    return core->due.count > 0 && core->due.entries[0].when <= now ? core->due.entries[0].task
                                                                   : NULL;
}

int64_t ota_due_when(const struct ota_core *core)
{
    return core->due.count > 0 ? core->due.entries[0].when : INT64_MAX;
}
