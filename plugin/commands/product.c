/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "../broker.h"
#include "../devices.h"
#include "commands.h"

static json_t *show(struct ota_call *call, const struct ota_product_row *row)
{
    int firmware;
    int64_t highest;
    const struct ota_product *product = ota_fleet_product_by_id(&call->core->fleet, row->id);
    if (product == NULL || ota_firmware_count(call->core->store, row->id, &firmware, &highest,
                                              &call->error) != OTA_OK) {
        return NULL;
    }
    return json_pack("{s:s, s:s, s:I, s:I, s:i, s:I}", "product", row->name, "description",
                     row->description, "devices", (json_int_t)product->devices, "online",
                     (json_int_t)product->online, "firmware", firmware, "createdAt",
                     (json_int_t)row->created_at);
}

static enum ota_err answer_product(struct ota_call *call, int64_t id)
{
    struct ota_product_row row;
    enum ota_err err = ota_product_get(call->core->store, id, &row, &call->error);
    return err == OTA_OK ? ota_call_answer(call, "product", show(call, &row)) : err;
}

enum ota_err ota_cmd_create_product(struct ota_call *call)
{
    const char *name = ota_field_text(call->fields, "product");
    if (ota_fleet_product(&call->core->fleet, name, strlen(name)) != NULL) {
        return ota_error_set(&call->error, OTA_ALREADY_EXISTS, "product",
                             "product %s exists already", name);
    }
    if (ota_access_makes_ambiguous(call->around->access, name)) {
        return ota_error_set(&call->error, OTA_CONFLICT, "product",
                             "with device_identity username:%%p%%d a product must not begin with "
                             "another product's name: choose another name");
    }
    struct ota_product_row row = {.created_at = ota_now_unix()};
    (void)snprintf(row.name, sizeof row.name, "%s", name);
    (void)snprintf(row.description, sizeof row.description, "%s",
                   ota_field_text(call->fields, "description"));
    enum ota_err err = ota_devices_add_product(call->core, &row, &call->error);
    if (err != OTA_OK) {
        return err;
    }
    if (strlen(name) > OTA_VENDOR_PRODUCT_MAX) {
        err = ota_call_answer(call, "warning",
                              json_string("the vendor's SDK can't speak product names of more than "
                                          "10 characters"));
    }
    return err == OTA_OK ? answer_product(call, row.id) : err;
}

enum ota_err ota_cmd_update_product(struct ota_call *call)
{
    struct ota_product *product;
    enum ota_err err = ota_call_product(call, &product);
    if (err == OTA_OK) {
        err =
            ota_product_set_description(call->core->store, product->id,
                                        ota_field_text(call->fields, "description"), &call->error);
    }
    return err == OTA_OK ? answer_product(call, product->id) : err;
}

/* --- deleting: the name at once, the rest in slices ------------------------------------------- */

static void run_doomed(struct ota_core *core, struct ota_effect *effect)
{
    const struct ota_surroundings *around = effect->other;
    ota_fleet_doom_product(&core->fleet, effect->item);
    ota_dispatch_purge_soon(around->dispatch);
    ota_device_auth_revoke_gone(around->device_auth);
}

static enum ota_err check_deletable(struct ota_call *call, const struct ota_product *product)
{
    int firmware;
    int64_t highest;
    uint32_t unfinished = ota_fleet_unfinished_of(&call->core->fleet, product);
    if (unfinished > 0) {
        return ota_error_set(&call->error, OTA_CONFLICT, "product",
                             "%u unfinished tasks belong to product %s: wait for them or cancel "
                             "them",
                             unfinished, product->name);
    }
    enum ota_err err =
        ota_firmware_count(call->core->store, product->id, &firmware, &highest, &call->error);
    if (err == OTA_OK && (product->devices > 0 || firmware > 0) &&
        !ota_field_bool(call->fields, "force")) {
        return ota_error_set(&call->error, OTA_CONFLICT, "force",
                             "product %s has %u devices and %d pieces of firmware: say force to "
                             "delete them too",
                             product->name, product->devices, firmware);
    }
    return err;
}

enum ota_err ota_cmd_delete_product(struct ota_call *call)
{
    struct ota_product *product;
    enum ota_err err = ota_call_product(call, &product);
    if (err == OTA_OK) {
        err = check_deletable(call, product);
    }
    if (err == OTA_OK) {
        err = ota_product_doom(call->core->store, product->id, &call->error);
    }
    if (err != OTA_OK) {
        return err;
    }
    struct ota_effect *effect = ota_core_after(call->core, run_doomed, NULL);
    if (effect == NULL) {
        return ota_error_no_memory(&call->error);
    }
    effect->item = product;
    effect->other = call->around;
    return OTA_OK;
}

/* --- lists ------------------------------------------------------------------------------------ */

struct listing {
    struct ota_call *call;
    struct ota_page page;
    int64_t last;
    bool more;
};

static bool list_product(void *data, const struct ota_product_row *row)
{
    struct listing *listing = data;
    listing->more = ota_page_is_full(&listing->page);
    if (listing->more) {
        return false;
    }
    listing->last = row->id;
    return ota_page_add(&listing->page, show(listing->call, row));
}

enum ota_err ota_cmd_list_products(struct ota_call *call)
{
    struct listing listing = {.call = call};
    enum ota_err err = ota_page_open(call, &listing.page);
    if (err == OTA_OK) {
        err = ota_product_each(call->core->store, listing.page.number, list_product, &listing,
                               &call->error);
    }
    if (err == OTA_OK) {
        err = ota_page_close_at(call, &listing.page, "products", listing.more, listing.last);
    }
    json_decref(listing.page.rows);
    return err;
}

/* A version is listed when it was uploaded or a device runs it; in the order of its text. */
struct versions {
    struct {
        const char *text;
        bool uploaded;
    } rows[OTA_LIST_MAX + 1]; /* sorted; one more than a page, to know of more */
    size_t count;
    size_t limit;
    const char *after;
};

static void note_version(struct versions *versions, const char *text, bool uploaded)
{
    if (strcmp(text, versions->after) <= 0) {
        return;
    }
    size_t i = versions->count;
    while (i > 0 && strcmp(versions->rows[i - 1].text, text) > 0) {
        i--;
    }
    bool known = i > 0 && strcmp(versions->rows[i - 1].text, text) == 0;
    if (known) {
        versions->rows[i - 1].uploaded |= uploaded;
    }
    if (known || i == versions->limit + 1) {
        return;
    }
    if (versions->count == versions->limit + 1) {
        versions->count--;
    }
    memmove(&versions->rows[i + 1], &versions->rows[i],
            (versions->count - i) * sizeof versions->rows[0]);
    versions->rows[i].text = text;
    versions->rows[i].uploaded = uploaded;
    versions->count++;
}

static void note_all_versions(struct ota_core *core, const struct ota_product *product,
                              struct versions *versions)
{
    const struct ota_version *version;
    for (size_t at = 0; (version = ota_index_next(&product->versions, &at)) != NULL;) {
        note_version(versions, version->text, false);
    }
    const struct ota_firmware *firmware;
    for (size_t at = 0; (firmware = ota_index_next(&core->fleet.firmware, &at)) != NULL;) {
        if (firmware->row.product_id == product->id) {
            note_version(versions, firmware->row.version, true);
        }
    }
}

static json_t *show_version(struct ota_core *core, const struct ota_product *product,
                            const char *text, bool uploaded)
{
    return json_pack("{s:s, s:b, s:I}", "version", text, "uploaded", uploaded, "devices",
                     (json_int_t)ota_fleet_version_count(&core->fleet, product, text));
}

enum ota_err ota_cmd_list_versions(struct ota_call *call)
{
    struct ota_product *product;
    struct ota_page page = {0};
    enum ota_err err = ota_call_product(call, &product);
    if (err == OTA_OK) {
        err = ota_page_open(call, &page);
    }
    if (err == OTA_OK) {
        struct versions versions = {.limit = (size_t)page.limit, .after = page.key};
        note_all_versions(call->core, product, &versions);
        bool more = versions.count > versions.limit;
        size_t count = more ? versions.limit : versions.count;
        for (size_t i = 0; i < count; i++) {
            (void)ota_page_add(&page, show_version(call->core, product, versions.rows[i].text,
                                                   versions.rows[i].uploaded));
        }
        err = ota_page_close(call, &page, "versions", more ? versions.rows[count - 1].text : NULL);
    }
    json_decref(page.rows);
    return err;
}
