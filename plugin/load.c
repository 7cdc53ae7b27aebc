/* SPDX-License-Identifier: BSD-3-Clause */
#include "load.h"

#include "tasks.h"

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
    struct loading loading = {.core = core};
    err = load_all(core, &loading, error);
    if (err == OTA_OK && loading.no_memory) {
        err = ota_error_set(error, OTA_INTERNAL, NULL, "not enough memory to load the fleet");
    }
    return err;
}
