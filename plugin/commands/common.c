/* SPDX-License-Identifier: BSD-3-Clause */
#include "commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../util/hex.h"
#include "../util/json_text.h"

#define OTA_CURSOR_BINDING 8 /* hex digits of a digest over command and filters */

enum ota_err ota_call_product(struct ota_call *call, struct ota_product **product)
{
    const char *name = ota_field_text(call->fields, "product");
    *product = ota_fleet_product(&call->core->fleet, name, strlen(name));
    return *product != NULL ? OTA_OK
                            : ota_error_set(&call->error, OTA_NOT_FOUND, "product",
                                            "there is no product %s", name);
}

enum ota_err ota_call_device(struct ota_call *call, struct ota_product **product,
                             struct ota_device **device)
{
    enum ota_err err = ota_call_product(call, product);
    if (err != OTA_OK) {
        return err;
    }
    const char *name = ota_field_text(call->fields, "device");
    *device = ota_fleet_device(&call->core->fleet, *product, name, strlen(name));
    return *device != NULL ? OTA_OK
                           : ota_error_set(&call->error, OTA_NOT_FOUND, "device",
                                           "product %s has no device %s", (*product)->name, name);
}

enum ota_err ota_call_task(struct ota_call *call, struct ota_task_row *row)
{
    int64_t id = ota_field_int(call->fields, "task", 0);
    enum ota_err err = ota_task_get(call->core->store, id, row, &call->error);
    bool orphan =
        err == OTA_OK && ota_fleet_device_by_id(&call->core->fleet, row->device_id) == NULL;
    if (err == OTA_NOT_FOUND || orphan) {
        return ota_error_set(&call->error, OTA_NOT_FOUND, "task", "there is no task %lld",
                             (long long)id);
    }
    return err;
}

enum ota_err ota_call_target(struct ota_call *call, const struct ota_product *product,
                             struct ota_firmware **firmware)
{
    const char *version = ota_field_text(call->fields, "version");
    *firmware = ota_fleet_firmware_of(&call->core->fleet, product->id, version);
    if (*firmware == NULL) {
        return ota_error_set(&call->error, OTA_NOT_FOUND, "version",
                             "product %s has no firmware %s: upload it first", product->name,
                             version);
    }
    return OTA_OK;
}

enum ota_err ota_call_batch(struct ota_call *call, struct ota_batch **batch)
{
    int64_t id = ota_field_int(call->fields, "batch", 0);
    *batch = ota_fleet_batch(&call->core->fleet, id);
    return *batch != NULL ? OTA_OK
                          : ota_error_set(&call->error, OTA_NOT_FOUND, "batch",
                                          "there is no batch %lld", (long long)id);
}

enum ota_err ota_call_answer(struct ota_call *call, const char *key, json_t *value)
{
    if (value == NULL && call->error.code != OTA_OK) {
        return call->error.code;
    }
    if (value == NULL || json_object_set_new(call->data, key, value) != 0) {
        return ota_error_no_memory(&call->error);
    }
    return OTA_OK;
}

static void give_up(json_t **json)
{
    json_decref(*json);
    *json = NULL;
}

void ota_json_push(json_t **array, json_t *value)
{
    if (json_array_append_new(*array, value) != 0) {
        give_up(array);
    }
}

void ota_json_put(json_t **object, const char *key, json_t *value)
{
    if (json_object_set_new(*object, key, value) != 0) {
        give_up(object);
    }
}

json_t *ota_json_text(const char *text)
{
    return text != NULL && text[0] != '\0' ? json_string(text) : json_null();
}

json_t *ota_show_user(const char *user)
{
    json_t *shown = ota_json_text(user);
    if (shown == NULL) {
        shown = ota_json_text(user); /* it may have been memory: then a "?" would be a lie */
    }
    return shown != NULL ? shown : json_string("?");
}

json_t *ota_json_number(int64_t number)
{
    return number != 0 ? json_integer(number) : json_null();
}

/* --- pages ------------------------------------------------------------------------------------ */

static bool binding_of(const struct ota_call *call, char *binding)
{
    static const char *const beside_the_filters[] = {"correlationData", "cursor", "limit", NULL};
    unsigned char digest[32];
    if (!ota_json_digest(call->fields, beside_the_filters, digest)) {
        return false;
    }
    ota_hex(digest, OTA_CURSOR_BINDING / 2, binding);
    return true;
}

enum ota_err ota_page_open(struct ota_call *call, struct ota_page *page)
{
    *page = (struct ota_page){.limit = ota_field_int(call->fields, "limit", OTA_LIST_DEFAULT)};
    const char *cursor = ota_field_text(call->fields, "cursor");
    if (cursor[0] != '\0') {
        char binding[OTA_CURSOR_BINDING + 1];
        size_t len = strlen(cursor);
        if (!binding_of(call, binding)) {
            return ota_error_no_memory(&call->error);
        }
        if (len <= OTA_CURSOR_BINDING || len - OTA_CURSOR_BINDING >= sizeof page->key ||
            strncmp(cursor, binding, OTA_CURSOR_BINDING) != 0) {
            return ota_error_set(&call->error, OTA_INVALID_REQUEST, "cursor",
                                 "this cursor belongs to other filters: start without one");
        }
        memcpy(page->key, cursor + OTA_CURSOR_BINDING, len - OTA_CURSOR_BINDING + 1);
        page->number = strtoll(page->key, NULL, 10);
    }
    page->rows = json_array();
    return page->rows != NULL ? OTA_OK : ota_error_no_memory(&call->error);
}

bool ota_page_is_full(const struct ota_page *page)
{
    return page->rows == NULL || (int64_t)json_array_size(page->rows) >= page->limit;
}

bool ota_page_add(struct ota_page *page, json_t *row)
{
    if (ota_page_is_full(page)) {
        json_decref(row);
        return false;
    }
    ota_json_push(&page->rows, row);
    return page->rows != NULL;
}

enum ota_err ota_page_close(struct ota_call *call, struct ota_page *page, const char *key,
                            const char *last)
{
    enum ota_err err = ota_call_answer(call, key, page->rows);
    page->rows = NULL;
    if (err != OTA_OK || last == NULL) {
        return err;
    }
    char cursor[OTA_CURSOR_BINDING + OTA_DEVICE_MAX + 1];
    if (!binding_of(call, cursor)) {
        return ota_error_no_memory(&call->error);
    }
    (void)snprintf(cursor + OTA_CURSOR_BINDING, sizeof cursor - OTA_CURSOR_BINDING, "%s", last);
    return ota_call_answer(call, "nextCursor", json_string(cursor));
}

enum ota_err ota_page_close_at(struct ota_call *call, struct ota_page *page, const char *key,
                               bool more, int64_t last)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", (long long)last);
    return ota_page_close(call, page, key, more ? text : NULL);
}
