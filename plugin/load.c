/* SPDX-License-Identifier: BSD-3-Clause */
#include "load.h"

#include <stdlib.h>

#include "batch_members.h"
#include "fleet_gateway.h"
#include "fleet_task.h"
#include "task_line.h"
#include "task_plan.h"

/* A gateway may be younger than those that are bound to it. */
struct binding {
    int64_t device_id;
    int64_t gateway_id;
};

struct loading {
    struct ota_core *core;
    struct binding *bindings;
    size_t binding_count;
    size_t binding_room;
    bool no_memory;
    enum ota_err err;
    struct ota_error *error;
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

static bool note_binding(struct loading *loading, const struct ota_device_row *row)
{
    if (loading->binding_count == loading->binding_room) {
        size_t room = loading->binding_room != 0 ? loading->binding_room * 2 : 64;
        struct binding *grown = realloc(loading->bindings, room * sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        loading->bindings = grown;
        loading->binding_room = room;
    }
    loading->bindings[loading->binding_count++] = (struct binding){row->id, row->gateway_id};
    return true;
}

static bool load_device(void *data, const struct ota_device_row *row)
{
    struct loading *loading = data;
    loading->no_memory = ota_fleet_add_device(&loading->core->fleet, row) == NULL ||
                         (row->gateway_id != 0 && !note_binding(loading, row));
    return !loading->no_memory;
}

static void bind_all(struct loading *loading)
{
    struct ota_fleet *fleet = &loading->core->fleet;
    for (size_t i = 0; i < loading->binding_count && !loading->no_memory; i++) {
        struct ota_device *device = ota_fleet_device_by_id(fleet, loading->bindings[i].device_id);
        struct ota_device *gateway = ota_fleet_device_by_id(fleet, loading->bindings[i].gateway_id);
        if (device != NULL && gateway != NULL) { /* NULL: the gateway is being deleted */
            loading->no_memory = ota_fleet_bind(fleet, device, gateway) == NULL;
        }
    }
}

static bool load_batch(void *data, const struct ota_batch_row *row, const char *text)
{
    struct loading *loading = data;
    struct ota_fleet *fleet = &loading->core->fleet;
    struct ota_target target;
    loading->err = ota_target_load(text, &target, loading->error);
    if (loading->err != OTA_OK) {
        return false;
    }
    struct ota_batch *batch = ota_fleet_add_batch(fleet, row, &target, NULL, 0);
    struct ota_firmware *firmware = ota_fleet_firmware(fleet, row->firmware_id);
    loading->no_memory = batch == NULL;
    if (batch != NULL) {
        batch->overdue_to = loading->core->service_ms;
        if (firmware != NULL && !ota_batch_is_over(batch)) {
            firmware->batches++;
        }
    }
    return !loading->no_memory;
}

static bool load_stage(void *data, int64_t batch_id, const struct ota_stage *stage)
{
    struct loading *loading = data;
    struct ota_batch *batch = ota_fleet_batch(&loading->core->fleet, batch_id);
    loading->no_memory = batch != NULL && !ota_batch_add_stage(batch, stage);
    return !loading->no_memory;
}

static bool load_last_task(void *data, int64_t device_id, int64_t task_id)
{
    const struct loading *loading = data;
    struct ota_device *device = ota_fleet_device_by_id(&loading->core->fleet, device_id);
    if (device != NULL) { /* NULL: its product is being deleted */
        device->last_task = task_id;
        device->may_settle = true;
    }
    return true;
}

/* A task of a batch whose tallies aren't stored. */
static bool count_task(void *data, const struct ota_task_row *row)
{
    struct loading *loading = data;
    struct ota_batch *batch = ota_fleet_batch(&loading->core->fleet, row->batch_id);
    struct ota_upgrade up;
    if (ota_fleet_device_by_id(&loading->core->fleet, row->device_id) == NULL) {
        return true; /* it was deleted, and its tasks left the batch */
    }
    ota_upgrade_of_row(row, &up);
    ota_batch_count(batch, NULL,
                    &(struct ota_counted){
                        .task_id = row->id, .device_id = (uint32_t)row->device_id, .up = &up});
    bool unordered = batch->row.prepared == OTA_PREPARED_PARTLY && batch->stage_count > 1;
    loading->no_memory = unordered && !ota_batch_note_member(batch, (uint32_t)row->device_id);
    return !loading->no_memory;
}

/* Only a damaged database has more open stages than stages. */
static bool has_its_stages(const struct ota_batch *batch)
{
    return batch->row.open_stages >= 0 && (size_t)batch->row.open_stages <= batch->stage_count;
}

static enum ota_err count_batches(struct ota_core *core, struct loading *loading,
                                  struct ota_error *error)
{
    enum ota_err err = OTA_OK;
    for (struct ota_batch *batch = core->fleet.live;
         batch != NULL && err == OTA_OK && !loading->no_memory; batch = batch->next_live) {
        if (!has_its_stages(batch)) {
            loading->no_memory = true;
            break;
        }
        for (size_t i = 0; i < batch->stage_count; i++) {
            batch->stages[i].tally = (struct ota_tally){0};
        }
        err = ota_task_of_batch(core->store, batch->row.id, 0, count_task, loading, error);
        ota_batch_sort_members(batch);
    }
    return err;
}

static bool load_task(void *data, const struct ota_task_row *row)
{
    struct loading *loading = data;
    struct ota_core *core = loading->core;
    struct ota_task *task = ota_heap_reserve(&core->due, core->fleet.task_count + 1)
                                ? ota_task_new(&core->fleet, row)
                                : NULL;
    if (task != NULL && task->device->task != NULL) { /* only a damaged database has two */
        ota_task_free(&core->fleet, task);
        task = NULL;
    }
    loading->no_memory = task == NULL;
    if (task != NULL) {
        ota_upgrade_of_row(row, &task->up);
        task->up.retry_on = ota_task_retry_on(task);
        ota_fleet_link_task(&core->fleet, task);
        ota_line_look(core, task->device);
        ota_tasks_plan(core, task);
    }
    return !loading->no_memory;
}

/* Which devices continuous batches were to look at is forgotten when the broker stops. */
static void look_at_all(struct ota_core *core)
{
    for (struct ota_batch *batch = core->fleet.live; batch != NULL; batch = batch->next_live) {
        if (batch->row.mode == OTA_MODE_CONTINUOUS && batch->row.prepared != OTA_PREPARED_NOT) {
            struct ota_device *device = NULL;
            while ((device = ota_fleet_device_after(&core->fleet, batch->product,
                                                    device != NULL ? device->id : 0)) != NULL) {
                ota_fleet_mark(&core->fleet.looks, device);
            }
        }
    }
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
        ota_index_settle(&core->fleet.devices);
    }
    if (err == OTA_OK && !loading->no_memory) {
        bind_all(loading);
    }
    if (err == OTA_OK && !loading->no_memory) {
        err = ota_batch_load(core->store, load_batch, loading, error);
        err = err == OTA_OK ? loading->err : err;
    }
    if (err == OTA_OK && !loading->no_memory) {
        err = ota_batch_load_stages(core->store, load_stage, loading, error);
    }
    if (err == OTA_OK && !loading->no_memory) {
        err = count_batches(core, loading, error);
    }
    if (err == OTA_OK && !loading->no_memory) {
        err = ota_task_load_last(core->store, load_last_task, loading, error);
    }
    if (err == OTA_OK && !loading->no_memory) {
        err = ota_task_load(core->store, load_task, loading, error);
    }
    if (err == OTA_OK && !loading->no_memory) {
        look_at_all(core);
    }
    return err;
}

enum ota_err ota_load(struct ota_core *core, struct ota_error *error)
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
    struct loading loading = {.core = core, .error = error};
    err = load_all(core, &loading, error);
    free(loading.bindings);
    if (err == OTA_OK && loading.no_memory) {
        err = ota_error_set(error, OTA_INTERNAL, NULL,
                            "the fleet can't be loaded: memory is out, or the database is damaged "
                            "(sqlite3 FILE 'PRAGMA integrity_check')");
    }
    return err;
}
