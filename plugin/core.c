/* SPDX-License-Identifier: BSD-3-Clause */
#include "core.h"

#include <assert.h>
#include <stdlib.h>

#include "broker.h"
#include "tasks.h"

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

/* --- filling memory ------------------------------------------------------------------------- */

struct loading {
    struct ota_core *core;
    bool no_memory;
};

static bool load_product(void *data, const struct ota_product_row *row)
{
    struct loading *loading = data;
    loading->no_memory = ota_fleet_add_product(&loading->core->fleet, row->id, row->name) == NULL;
    return !loading->no_memory;
}

static bool load_version(void *data, int64_t product_id, const char *text)
{
    struct loading *loading = data;
    struct ota_fleet *fleet = &loading->core->fleet;
    struct ota_product *product = ota_fleet_product_by_id(fleet, product_id);
    if (product == NULL) {
        return true; /* it is being deleted */
    }
    struct ota_version *version = ota_fleet_version(fleet, product, text);
    loading->no_memory = version == NULL;
    if (version != NULL) {
        version->remembered = true;
    }
    return !loading->no_memory;
}

static bool load_firmware(void *data, const struct ota_firmware_row *row)
{
    struct loading *loading = data;
    struct ota_firmware_row lean = *row;
    lean.description[0] = '\0';
    loading->no_memory = ota_fleet_add_firmware(&loading->core->fleet, &lean) == NULL;
    return !loading->no_memory;
}

static bool load_device(void *data, const struct ota_device_row *row)
{
    struct loading *loading = data;
    loading->no_memory = ota_fleet_add_device(&loading->core->fleet, row) == NULL;
    return !loading->no_memory;
}

static bool load_task(void *data, const struct ota_task_row *row)
{
    struct loading *loading = data;
    struct ota_task *task = ota_task_new(&loading->core->fleet, row);
    loading->no_memory = task == NULL;
    if (task != NULL) {
        ota_upgrade_of_row(row, &task->up);
        task->up.retry_on = task->retry_on;
        ota_fleet_link_task(&loading->core->fleet, task);
        ota_tasks_plan(loading->core, task);
    }
    return !loading->no_memory;
}

static enum ota_err load_all(struct ota_core *core, struct loading *loading,
                             struct ota_error *error)
{
    enum ota_err err = ota_product_each(core->store, 0, load_product, loading, error);
    if (err == OTA_OK && !loading->no_memory) {
        err = ota_product_load_versions(core->store, load_version, loading, error);
    }
    if (err == OTA_OK && !loading->no_memory) {
        err = ota_firmware_each(core->store, 0, 0, load_firmware, loading, error);
    }
    if (err == OTA_OK && !loading->no_memory) {
        err = ota_device_load(core->store, load_device, loading, error);
    }
    if (err == OTA_OK && !loading->no_memory) {
        err = ota_task_load(core->store, load_task, loading, error);
    }
    return err;
}

enum ota_err ota_core_load(struct ota_core *core, struct ota_error *error)
{
    struct ota_meta meta;
    enum ota_err err = ota_store_meta(core->store, &meta, error);
    if (err != OTA_OK) {
        return err;
    }
    core->service_ms = meta.service_ms;
    core->service_written = meta.service_ms;
    for (size_t i = 0; i < OTA_KEY_SIZE; i++) {
        core->settings.url_key[i] = meta.url_key[i];
    }
    struct loading loading = {.core = core};
    err = load_all(core, &loading, error);
    if (err == OTA_OK && loading.no_memory) {
        err = ota_error_set(error, OTA_INTERNAL, NULL, "not enough memory to load the fleet");
    }
    return err;
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
