/* SPDX-License-Identifier: BSD-3-Clause */
/* How a task, a device and a firmware look in answers (control-api.md, the table's last column). */
#include <string.h>

#include "../broker.h"
#include "../task_plan.h"
#include "commands.h"

static const char *result_message(const struct ota_task_row *row)
{
    switch (row->ending) {
    case OTA_ENDING_DEVICE:
        return ota_result_text(row->result_code);
    case OTA_ENDING_TIMEOUT:
        return "timeout";
    case OTA_ENDING_EXPIRED:
        return "expired";
    case OTA_ENDING_NONE:
    case OTA_ENDING_ADMIN:
    case OTA_ENDING_COUNT:
        break;
    }
    return NULL;
}

/* People want a time of day; the clock that counts is the service's, as of the last tick. */
static json_t *deadline_at(const struct ota_core *core, const struct ota_task_row *row)
{
    if (!ota_status_is_timed(row->status)) {
        return json_null();
    }
    int64_t tick_at = ota_now_unix() - (ota_now_mono() - core->mono_now);
    return json_integer(tick_at + row->deadline - core->service_ms);
}

static const char *wait_reason(const struct ota_core *core, const struct ota_device *device)
{
    return device->task != NULL && device->conn != NULL
               ? ota_wait_name(ota_tasks_wait(core, device->task))
               : NULL;
}

json_t *ota_show_task(struct ota_core *core, const struct ota_task_row *row)
{
    const struct ota_device *device = ota_fleet_device_by_id(&core->fleet, row->device_id);
    if (device == NULL) {
        return NULL;
    }
    bool online = device->conn != NULL;
    bool live = device->task != NULL && device->task->id == row->id;
    return json_pack(
        "{s:I, s:s, s:s, s:o, s:o, s:s, s:s, s:o, s:o, s:i, "
        "s:o, s:o, s:o, s:i, s:b, s:I, s:o, s:I, s:o, s:o}",
        "task", (json_int_t)row->id, "product", device->product->name, "device", device->name,
        "batch", ota_json_number(row->batch_id), "fromVersion", ota_json_text(row->from_version),
        "version", row->version, "status", ota_shown_name(ota_shown_of(row->status, online)),
        "confirmation", ota_json_text(ota_confirmation_name(row->confirmation)), "waitReason",
        ota_json_text(live && row->status == OTA_WAITING ? wait_reason(core, device) : NULL),
        "percent", live ? device->task->up.percent : row->percent, "resultCode",
        row->has_result_code ? json_integer(row->result_code) : json_null(), "resultMessage",
        ota_json_text(result_message(row)), "deviceMessage", ota_json_text(row->device_message),
        "attempt", row->attempt, "online", online, "createdAt", (json_int_t)row->created_at,
        "sentAt", ota_json_number(row->sent_at), "updatedAt", (json_int_t)row->updated_at,
        "deadlineAt", deadline_at(core, row), "finishedAt", ota_json_number(row->finished_at));
}

static json_t *tags_of(const char *tags)
{
    json_t *array = json_array();
    while (array != NULL && *tags != '\0') {
        size_t len = strcspn(tags, " ");
        ota_json_push(&array, json_stringn(tags, len));
        tags += len;
        tags += *tags == ' ';
    }
    return array;
}

static json_t *last_task_of(struct ota_core *core, const struct ota_device *device,
                            struct ota_error *error)
{
    struct ota_task_row row;
    enum ota_err err = device->last_task != 0
                           ? ota_task_get(core->store, device->last_task, &row, error)
                           : OTA_NOT_FOUND;
    if (err == OTA_NOT_FOUND) {
        return json_null();
    }
    return err == OTA_OK ? ota_show_task(core, &row) : NULL;
}

json_t *ota_show_device(struct ota_core *core, const struct ota_device_row *row,
                        struct ota_error *error)
{
    const struct ota_device *device = ota_fleet_device_by_id(&core->fleet, row->id);
    if (device == NULL) {
        return NULL;
    }
    /* by the row: what memory has follows when the command is committed */
    const struct ota_device *gateway = ota_fleet_device_by_id(&core->fleet, row->gateway_id);
    return json_pack("{s:s, s:s, s:s, s:o, s:b, s:o, s:o, s:b, s:o, s:I, s:o, s:o, s:o}", "product",
                     device->product->name, "device", row->name, "description", row->description,
                     "tags", tags_of(row->tags), "hold", row->hold, "version",
                     ota_json_text(row->version), "versionReportedAt",
                     ota_json_number(row->version_at), "online", device->conn != NULL, "lastSeenAt",
                     ota_json_number(device->last_seen), "createdAt", (json_int_t)row->created_at,
                     "gatewayProduct", ota_json_text(gateway != NULL ? gateway->product->name : ""),
                     "gateway", ota_json_text(gateway != NULL ? gateway->name : ""), "task",
                     last_task_of(core, device, error));
}

enum ota_err ota_call_answer_device(struct ota_call *call, int64_t id)
{
    struct ota_device_row row;
    enum ota_err err = ota_device_get(call->core->store, id, &row, &call->error);
    return err == OTA_OK
               ? ota_call_answer(call, "device", ota_show_device(call->core, &row, &call->error))
               : err;
}

json_t *ota_show_firmware(const char *product, const struct ota_firmware_row *row)
{
    return json_pack("{s:s, s:s, s:I, s:s, s:I, s:s, s:s, s:s, s:b, s:I}", "product", product,
                     "version", row->version, "order", (json_int_t)row->order, "filename",
                     row->filename, "size", (json_int_t)row->size, "md5", row->md5, "sha256",
                     row->sha256, "description", row->description, "signed",
                     row->signature[0] != '\0', "createdAt", (json_int_t)row->created_at);
}
