/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "../batches.h"
#include "../enrol.h"
#include "../task_make.h"
#include "../tasks.h"
#include "commands.h"

/* --- upgradeDevice ---------------------------------------------------------------------------- */

static bool runs(const struct ota_device *device, const char *version)
{
    return device->version != NULL && strcmp(device->version->text, version) == 0;
}

static enum ota_err check_state(struct ota_call *call, const struct ota_device *device,
                                const struct ota_firmware *firmware)
{
    const char *target = firmware->row.version;
    if (device->hold) {
        return ota_error_set(&call->error, OTA_CONFLICT, "device",
                             "device %s is on hold: lift the hold first (updateDevice)",
                             device->name);
    }
    if (runs(device, target) && !ota_field_bool(call->fields, "reinstall")) {
        return ota_error_set(&call->error, OTA_CONFLICT, "version",
                             "device %s runs %s already: say reinstall to install it again",
                             device->name, target);
    }
    if (ota_enrol_is_downgrade(call->core, device, firmware) &&
        !ota_field_bool(call->fields, "allowDowngrade")) {
        return ota_error_set(&call->error, OTA_CONFLICT, "version",
                             "%s is older than the %s that device %s runs: say allowDowngrade if "
                             "that is meant",
                             target, device->version->text, device->name);
    }
    if (device->task != NULL && !ota_field_bool(call->fields, "override")) {
        return ota_error_set(&call->error, OTA_CONFLICT, "device",
                             "device %s has the unfinished task %lld: cancel it, or say override",
                             device->name, (long long)device->task->id);
    }
    return OTA_OK;
}

void ota_call_retry_on(const json_t *retry, char *text, size_t size)
{
    const json_t *on = json_object_get(retry, "on");
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < json_array_size(on) && used < size; i++) {
        const json_t *reason = json_array_get(on, i);
        const char *comma = used > 0 ? "," : "";
        used +=
            (size_t)(json_is_string(reason) ? snprintf(text + used, size - used, "%stimeout", comma)
                                            : snprintf(text + used, size - used, "%s%lld", comma,
                                                       (long long)json_integer_value(reason)));
    }
}

static enum ota_err cancel(struct ota_core *core, struct ota_task *task, struct ota_error *error)
{
    struct ota_upgrade_event event = {.kind = OTA_EV_CANCEL, .service_now = core->service_ms};
    bool changed;
    return ota_tasks_apply(core, task, &event, NULL, &changed, error);
}

static enum ota_err answer_task(struct ota_call *call, int64_t id)
{
    struct ota_task_row row;
    enum ota_err err = ota_task_get(call->core->store, id, &row, &call->error);
    return err == OTA_OK ? ota_call_answer(call, "task", ota_show_task(call->core, &row)) : err;
}

static enum ota_err create(struct ota_call *call, struct ota_device *device,
                           struct ota_firmware *firmware)
{
    char retry_on[64];
    const json_t *retry = json_object_get(call->fields, "retry");
    ota_call_retry_on(retry, retry_on, sizeof retry_on);
    int64_t preset = call->core->settings.upgrade_timeout_ms / 1000;
    struct ota_task_order order = {
        .device = device,
        .firmware = firmware,
        .timeout_ms = ota_field_int(call->fields, "timeoutSeconds", preset) * 1000,
        .reinstall = runs(device, firmware->row.version),
        .retry_max = (int)ota_field_int(retry, "max", 0),
        .retry_delay_ms = ota_field_int(retry, "delaySeconds", 30) * 1000,
        .retry_on = retry_on};
    int64_t id;
    enum ota_err err = OTA_OK;
    if (device->task != NULL) {
        err = cancel(call->core, device->task, &call->error);
    }
    if (err == OTA_OK) {
        err = ota_tasks_create(call->core, &order, &id, &call->error);
    }
    return err == OTA_OK ? answer_task(call, id) : err;
}

enum ota_err ota_cmd_upgrade_device(struct ota_call *call)
{
    struct ota_product *product;
    struct ota_device *device;
    enum ota_err err = ota_call_device(call, &product, &device);
    if (err != OTA_OK) {
        return err;
    }
    struct ota_firmware *firmware;
    err = ota_call_target(call, product, &firmware);
    if (err != OTA_OK) {
        return err;
    }
    err = check_state(call, device, firmware);
    return err == OTA_OK ? create(call, device, firmware) : err;
}

/* --- steering --------------------------------------------------------------------------------- */

enum ota_err ota_cmd_cancel_task(struct ota_call *call)
{
    struct ota_task_row row;
    enum ota_err err = ota_call_task(call, &row);
    if (err != OTA_OK) {
        return err;
    }
    struct ota_device *device = ota_fleet_device_by_id(&call->core->fleet, row.device_id);
    if (device->task == NULL || device->task->id != row.id) {
        return ota_error_set(&call->error, OTA_CONFLICT, "task",
                             "task %lld is finished already (%s)", (long long)row.id,
                             ota_shown_words(ota_shown_of(row.status, true)));
    }
    err = cancel(call->core, device->task, &call->error);
    return err == OTA_OK ? answer_task(call, row.id) : err;
}

static enum ota_err check_retry(struct ota_call *call, const struct ota_task_row *row,
                                const struct ota_device *device)
{
    if (row->status != OTA_FAILED && row->status != OTA_CANCELLED) {
        return ota_error_set(&call->error, OTA_CONFLICT, "task",
                             "only failed and cancelled tasks can be retried; task %lld is: %s",
                             (long long)row->id,
                             ota_shown_words(ota_shown_of(row->status, device->conn != NULL)));
    }
    if (device->task != NULL) {
        return ota_error_set(&call->error, OTA_CONFLICT, "task",
                             "device %s has the unfinished task %lld: cancel that first",
                             device->name, (long long)device->task->id);
    }
    if (device->hold) {
        return ota_error_set(&call->error, OTA_CONFLICT, "task",
                             "device %s is on hold: lift the hold first (updateDevice)",
                             device->name);
    }
    if (ota_fleet_firmware(&call->core->fleet, row->firmware_id) == NULL) {
        return ota_error_set(&call->error, OTA_CONFLICT, "task",
                             "firmware %s of task %lld was deleted: upload it and make a new task",
                             row->version, (long long)row->id);
    }
    return OTA_OK;
}

enum ota_err ota_cmd_retry_task(struct ota_call *call)
{
    struct ota_task_row row;
    bool changed;
    enum ota_err err = ota_call_task(call, &row);
    if (err != OTA_OK) {
        return err;
    }
    struct ota_device *device = ota_fleet_device_by_id(&call->core->fleet, row.device_id);
    err = check_retry(call, &row, device);
    if (err != OTA_OK) {
        return err;
    }
    struct ota_batch *batch =
        row.batch_id != 0 ? ota_fleet_batch(&call->core->fleet, row.batch_id) : NULL;
    err = batch != NULL ? ota_batches_revive(call->core, batch, &call->error) : OTA_OK;
    if (err != OTA_OK) {
        return err;
    }
    struct ota_upgrade_event event = {.kind = OTA_EV_RETRY, .service_now = call->core->service_ms};
    err = ota_tasks_settle(call->core, device, &row, &event, &changed, &call->error);
    return err == OTA_OK ? answer_task(call, row.id) : err;
}

/* --- reading ---------------------------------------------------------------------------------- */

struct listing {
    struct ota_core *core;
    struct ota_page page;
};

static bool list_task(void *data, const struct ota_task_row *row)
{
    struct listing *listing = data;
    if (ota_fleet_device_by_id(&listing->core->fleet, row->device_id) != NULL) {
        /* else of a product that is being deleted */
        (void)ota_page_add(&listing->page, ota_show_task(listing->core, row));
    }
    return !ota_page_is_full(&listing->page);
}

static enum ota_err read_filter(struct ota_call *call, struct ota_task_filter *filter)
{
    struct ota_product *product;
    struct ota_device *device;
    const char *status = ota_field_text_or_null(call->fields, "status");
    filter->batch_id = ota_field_int(call->fields, "batch", 0);
    if (filter->batch_id != 0) {
        struct ota_batch *batch;
        enum ota_err err = ota_call_batch(call, &batch);
        if (err != OTA_OK) {
            return err;
        }
    }
    filter->version = ota_field_text_or_null(call->fields, "version");
    filter->shown = status != NULL ? ota_shown_parse(status) : OTA_SHOWN_COUNT;
    if (ota_field_text_or_null(call->fields, "device") != NULL) {
        if (ota_field_text_or_null(call->fields, "product") == NULL) {
            return ota_error_set(&call->error, OTA_INVALID_REQUEST, "product",
                                 "device needs product beside it");
        }
        enum ota_err err = ota_call_device(call, &product, &device);
        if (err == OTA_OK) {
            filter->device_id = device->id;
        }
        return err;
    }
    if (ota_field_text_or_null(call->fields, "product") != NULL) {
        enum ota_err err = ota_call_product(call, &product);
        if (err == OTA_OK) {
            filter->product_id = product->id;
        }
        return err;
    }
    return OTA_OK;
}

enum ota_err ota_cmd_list_tasks(struct ota_call *call)
{
    struct ota_task_filter filter = {0};
    struct listing listing = {.core = call->core};
    int64_t last = 0;
    bool more = false;
    enum ota_err err = read_filter(call, &filter);
    if (err == OTA_OK) {
        err = ota_page_open(call, &listing.page);
    }
    if (err == OTA_OK) {
        err = ota_task_list(call->core->store, &filter, listing.page.number, list_task, &listing,
                            &last, &more, &call->error);
    }
    if (err == OTA_OK) {
        err = ota_page_close_at(call, &listing.page, "tasks", more, last);
    }
    json_decref(listing.page.rows);
    return err;
}

static bool list_event(void *data, const struct ota_event_row *row)
{
    json_t **events = data;
    ota_json_push(events, json_pack("{s:I, s:s, s:i, s:o}", "at", (json_int_t)row->at, "status",
                                    ota_shown_name(ota_shown_of(row->status, true)), "percent",
                                    row->percent, "detail", ota_json_text(row->detail)));
    return *events != NULL;
}

enum ota_err ota_cmd_get_task(struct ota_call *call)
{
    struct ota_task_row row;
    enum ota_err err = ota_call_task(call, &row);
    if (err == OTA_OK) {
        err = ota_call_answer(call, "task", ota_show_task(call->core, &row));
    }
    if (err != OTA_OK) {
        return err;
    }
    json_t *events = json_array();
    err = ota_task_events(call->core->store, row.id, list_event, &events, &call->error);
    if (err != OTA_OK) {
        json_decref(events);
        return err;
    }
    return ota_call_answer(call, "events", events);
}
