/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../broker.h"
#include "../devices.h"
#include "../task_plan.h"
#include "commands.h"

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted and each once, so that equal sets are equal texts. */
static void join_tags(const json_t *tags, char *text, size_t size)
{
    const char *sorted[OTA_TAGS_MAX];
    size_t count = json_array_size(tags);
    for (size_t i = 0; i < count; i++) {
        sorted[i] = json_string_value(json_array_get(tags, i));
    }
    qsort(sorted, count, sizeof sorted[0], compare_texts);
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && strcmp(sorted[i], sorted[i - 1]) == 0) {
            continue;
        }
        used += (size_t)snprintf(text + used, size - used, "%s%s", used > 0 ? " " : "", sorted[i]);
    }
}

enum ota_err ota_cmd_create_device(struct ota_call *call)
{
    struct ota_product *product;
    enum ota_err err = ota_call_product(call, &product);
    if (err != OTA_OK) {
        return err;
    }
    const char *name = ota_field_text(call->fields, "device");
    if (ota_fleet_device(&call->core->fleet, product, name, strlen(name)) != NULL) {
        return ota_error_set(&call->error, OTA_ALREADY_EXISTS, "device",
                             "product %s has a device %s already", product->name, name);
    }
    if (product->devices >= call->core->settings.max_devices_per_product) {
        return ota_error_set(&call->error, OTA_LIMIT_EXCEEDED, "product",
                             "product %s has %u devices already (option max_devices_per_product)",
                             product->name, product->devices);
    }
    struct ota_device_row row = {.product_id = product->id, .created_at = ota_now_unix()};
    (void)snprintf(row.name, sizeof row.name, "%s", name);
    (void)snprintf(row.description, sizeof row.description, "%s",
                   ota_field_text(call->fields, "description"));
    join_tags(json_object_get(call->fields, "tags"), row.tags, sizeof row.tags);
    struct ota_device *device;
    err = ota_devices_add(call->core, &row, &device, &call->error);
    if (err == OTA_OK && strlen(name) + strlen(product->name) > OTA_VENDOR_NAMES_MAX) {
        err = ota_call_answer(call, "warning",
                              json_string("the vendor's SDK can't speak product and device names "
                                          "of more than 50 characters together"));
    }
    return err == OTA_OK ? ota_call_answer_device(call, row.id) : err;
}

static void run_updated(struct ota_core *core, struct ota_effect *effect)
{
    struct ota_device *device = effect->item;
    device->hold = effect->number != 0;
    ota_core_look_again(core, device);
    if (device->task != NULL) {
        ota_tasks_plan(core, device->task);
    }
}

static void apply_fields(const json_t *fields, struct ota_device_row *row)
{
    const char *description = ota_field_text_or_null(fields, "description");
    if (description != NULL) {
        (void)snprintf(row->description, sizeof row->description, "%s", description);
    }
    if (json_object_get(fields, "tags") != NULL) {
        join_tags(json_object_get(fields, "tags"), row->tags, sizeof row->tags);
    }
    if (json_object_get(fields, "hold") != NULL) {
        row->hold = ota_field_bool(fields, "hold");
    }
}

enum ota_err ota_cmd_update_device(struct ota_call *call)
{
    struct ota_product *product;
    struct ota_device *device;
    struct ota_device_row row;
    enum ota_err err = ota_call_device(call, &product, &device);
    if (err == OTA_OK) {
        err = ota_device_get(call->core->store, device->id, &row, &call->error);
    }
    if (err != OTA_OK) {
        return err;
    }
    apply_fields(call->fields, &row);
    struct ota_effect *effect = ota_core_after(call->core, run_updated, NULL);
    if (effect == NULL) {
        return ota_error_no_memory(&call->error);
    }
    effect->item = device;
    effect->number = row.hold;
    err = ota_device_update(call->core->store, &row, &call->error);
    return err == OTA_OK ? ota_call_answer_device(call, row.id) : err;
}

/* --- deleting: the device at once, its history in slices ----------------------------------------
 */

static void free_departure(void *state)
{
    ota_departure_free(state);
    free(state);
}

static void run_removed(struct ota_core *core, struct ota_effect *effect)
{
    (void)core;
    ota_dispatch_purge_soon(effect->item);
}

static enum ota_err remove_device(struct ota_call *call, struct ota_device *device)
{
    if (call->progress->state == NULL) {
        *call->progress =
            (struct ota_progress){calloc(1, sizeof(struct ota_departure)), free_departure};
    }
    struct ota_departure *departure = call->progress->state;
    if (departure == NULL) {
        return ota_error_no_memory(&call->error);
    }
    enum ota_err err =
        ota_devices_look_back(call->core, device, departure, call->end, &call->error);
    if (err == OTA_OK) {
        err = ota_devices_depart(call->core, device, departure, &call->error);
    }
    if (err != OTA_OK) {
        return err;
    }
    struct ota_effect *effect = ota_core_after(call->core, run_removed, NULL);
    if (effect == NULL) {
        return ota_error_no_memory(&call->error);
    }
    effect->item = call->around->dispatch;
    return ota_call_revoke(call, device);
}

enum ota_err ota_cmd_delete_device(struct ota_call *call)
{
    struct ota_product *product;
    struct ota_device *device;
    enum ota_err err = ota_call_device(call, &product, &device);
    if (err != OTA_OK) {
        return err;
    }
    if (device->task != NULL) {
        return ota_error_set(&call->error, OTA_CONFLICT, "device",
                             "device %s has the unfinished task %lld: cancel it first",
                             device->name, (long long)device->task->id);
    }
    return remove_device(call, device);
}

enum ota_err ota_cmd_get_device(struct ota_call *call)
{
    struct ota_product *product;
    struct ota_device *device;
    enum ota_err err = ota_call_device(call, &product, &device);
    return err == OTA_OK ? ota_call_answer_device(call, device->id) : err;
}

/* --- lists ------------------------------------------------------------------------------------ */

struct listing {
    struct ota_call *call;
    struct ota_page page;
    int64_t last;
    bool more;
};

/* The row that fills the page is the last one looked at, so the cursor is right. */
static bool list_device(void *data, const struct ota_device_row *row)
{
    struct listing *listing = data;
    (void)ota_page_add(&listing->page,
                       ota_show_device(listing->call->core, row, &listing->call->error));
    return !ota_page_is_full(&listing->page);
}

enum ota_err ota_cmd_list_devices(struct ota_call *call)
{
    struct ota_product *product;
    const struct ota_device *gateway = NULL;
    struct listing listing = {.call = call};
    char last[OTA_DEVICE_MAX + 1] = "";
    bool more = false;
    bool online = ota_field_bool(call->fields, "online");
    enum ota_err err = ota_call_product(call, &product);
    if (err == OTA_OK) {
        err = ota_page_open(call, &listing.page);
    }
    if (err == OTA_OK) {
        struct ota_device_filter filter = {
            .product_id = product->id,
            .version = ota_field_text_or_null(call->fields, "version"),
            .tag = ota_field_text_or_null(call->fields, "tag"),
            .prefix = ota_field_text_or_null(call->fields, "prefix"),
            .online = json_object_get(call->fields, "online") != NULL ? &online : NULL};
        if (json_object_get(call->fields, "gateway") != NULL) {
            err = ota_call_gateway(call, product, &gateway);
            filter.gateway_id = gateway != NULL ? gateway->id : 0;
        }
        if (err == OTA_OK) {
            err = ota_device_list(call->core->store, &filter, listing.page.key, list_device,
                                  &listing, last, &more, &call->error);
        }
    }
    if (err == OTA_OK) {
        err = ota_page_close(call, &listing.page, "devices", more ? last : NULL);
    }
    json_decref(listing.page.rows);
    return err;
}

static bool list_version(void *data, int64_t at, const char *version)
{
    struct listing *listing = data;
    listing->more = ota_page_is_full(&listing->page);
    if (listing->more) {
        return false;
    }
    listing->last = at;
    return ota_page_add(&listing->page,
                        json_pack("{s:I, s:s}", "at", (json_int_t)at, "version", version));
}

enum ota_err ota_cmd_list_device_history(struct ota_call *call)
{
    struct ota_product *product;
    struct ota_device *device;
    struct listing listing = {0};
    enum ota_err err = ota_call_device(call, &product, &device);
    if (err == OTA_OK) {
        err = ota_page_open(call, &listing.page);
    }
    if (err == OTA_OK) {
        err = ota_device_versions(call->core->store, device->id, listing.page.number, list_version,
                                  &listing, &call->error);
    }
    if (err == OTA_OK) {
        err = ota_page_close_at(call, &listing.page, "versions", listing.more, listing.last);
    }
    json_decref(listing.page.rows);
    return err;
}
