/* SPDX-License-Identifier: BSD-3-Clause */
#include "../firmware.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../util/hex.h"
#include "commands.h"

static enum ota_err find_firmware(struct ota_call *call, struct ota_product **product,
                                  struct ota_firmware **firmware)
{
    enum ota_err err = ota_call_product(call, product);
    if (err != OTA_OK) {
        return err;
    }
    const char *version = ota_field_text(call->fields, "version");
    *firmware = ota_fleet_firmware_of(&call->core->fleet, (*product)->id, version);
    return *firmware != NULL
               ? OTA_OK
               : ota_error_set(&call->error, OTA_NOT_FOUND, "version",
                               "product %s has no firmware %s", (*product)->name, version);
}

/* --- uploading -------------------------------------------------------------------------------- */

enum ota_err ota_cmd_add_firmware(struct ota_call *call)
{
    struct ota_product *product;
    enum ota_err err = ota_call_product(call, &product);
    if (err != OTA_OK) {
        return err;
    }
    const json_t *fields = call->fields;
    struct ota_upload_row row = {.product_id = product->id,
                                 .has_order = json_object_get(fields, "order") != NULL,
                                 .order = ota_field_int(fields, "order", 0),
                                 .size = ota_field_int(fields, "size", 0)};
    (void)snprintf(row.user, sizeof row.user, "%s", call->user);
    (void)snprintf(row.version, sizeof row.version, "%s", ota_field_text(fields, "version"));
    (void)snprintf(row.filename, sizeof row.filename, "%s", ota_field_text(fields, "filename"));
    (void)snprintf(row.sha256, sizeof row.sha256, "%s", ota_field_text(fields, "sha256"));
    (void)snprintf(row.description, sizeof row.description, "%s",
                   ota_field_text(fields, "description"));
    (void)snprintf(row.signature, sizeof row.signature, "%s", ota_field_text(fields, "signature"));
    err = ota_firmware_announce(call->core, &row, &call->error);
    if (err == OTA_OK) {
        err = ota_call_answer(call, "upload", json_integer(row.id));
    }
    if (err == OTA_OK) {
        err = ota_call_answer(call, "blockSize", json_integer(OTA_BLOCK_SIZE));
    }
    return err == OTA_OK ? ota_call_answer(call, "offset", json_integer(row.received)) : err;
}

static enum ota_err find_upload(struct ota_call *call, bool of_anybody, struct ota_upload_row *row)
{
    return ota_firmware_find_upload(call->core, of_anybody ? NULL : call->user,
                                    ota_field_int(call->fields, "upload", 0), row, &call->error);
}

static enum ota_err decode(struct ota_call *call, unsigned char **bytes, size_t *len)
{
    const json_t *data = json_object_get(call->fields, "data");
    size_t size = json_string_length(data);
    *bytes = malloc(size / 4 * 3 + 3);
    if (*bytes == NULL) {
        return ota_error_no_memory(&call->error);
    }
    if (!ota_base64_decode(json_string_value(data), size, *bytes, len)) {
        free(*bytes);
        *bytes = NULL;
        return ota_error_set(&call->error, OTA_INVALID_REQUEST, "data",
                             "data must be padded base64");
    }
    return OTA_OK;
}

enum ota_err ota_cmd_upload_firmware_block(struct ota_call *call)
{
    struct ota_upload_row row;
    unsigned char *bytes = NULL;
    size_t len = 0;
    int64_t next = 0;
    enum ota_err err = find_upload(call, false, &row);
    if (err == OTA_OK) {
        err = decode(call, &bytes, &len);
    }
    if (err == OTA_OK) {
        err = ota_firmware_take_block(call->core, call->around->uploads, &row,
                                      ota_field_int(call->fields, "offset", 0), bytes, len, &next,
                                      &call->error);
    }
    return err == OTA_OK ? ota_call_answer(call, "offset", json_integer(next)) : err;
}

enum ota_err ota_cmd_commit_firmware(struct ota_call *call)
{
    struct ota_upload_row upload;
    struct ota_firmware_row row;
    enum ota_err err = find_upload(call, false, &upload);
    if (err == OTA_OK) {
        err = ota_firmware_commit(call->core, call->around->uploads, &upload, &row, &call->error);
    }
    if (err != OTA_OK) {
        return err;
    }
    const struct ota_product *product = ota_fleet_product_by_id(&call->core->fleet, row.product_id);
    return ota_call_answer(call, "firmware",
                           ota_show_firmware(product != NULL ? product->name : "", &row));
}

static void run_aborted(struct ota_core *core, struct ota_effect *effect)
{
    struct ota_surroundings *around = effect->item;
    (void)core;
    ota_uploads_drop(around->uploads, effect->number);
    ota_dispatch_purge_soon(around->dispatch);
}

enum ota_err ota_cmd_abort_firmware(struct ota_call *call)
{
    struct ota_upload_row row;
    enum ota_err err = find_upload(call, true, &row);
    if (err == OTA_OK) {
        err = ota_upload_delete(call->core->store, row.id, false, &call->error);
    }
    if (err != OTA_OK) {
        return err;
    }
    struct ota_effect *effect = ota_core_after(call->core, run_aborted, NULL);
    if (effect == NULL) {
        return ota_error_no_memory(&call->error);
    }
    effect->item = call->around;
    effect->number = row.id;
    return OTA_OK;
}

/* --- the list --------------------------------------------------------------------------------- */

struct listing {
    const struct ota_product *product;
    struct ota_page page;
    int64_t last;
    bool more;
};

static bool list_firmware(void *data, const struct ota_firmware_row *row)
{
    struct listing *listing = data;
    listing->more = ota_page_is_full(&listing->page);
    if (listing->more) {
        return false;
    }
    listing->last = row->id;
    return ota_page_add(&listing->page, ota_show_firmware(listing->product->name, row));
}

enum ota_err ota_cmd_list_firmware(struct ota_call *call)
{
    struct ota_product *product;
    struct listing listing = {0};
    enum ota_err err = ota_call_product(call, &product);
    if (err == OTA_OK) {
        err = ota_page_open(call, &listing.page);
    }
    if (err == OTA_OK) {
        listing.product = product;
        err = ota_firmware_each(call->core->store, product->id, listing.page.number, list_firmware,
                                &listing, &call->error);
    }
    if (err == OTA_OK) {
        err = ota_page_close_at(call, &listing.page, "firmware", listing.more, listing.last);
    }
    json_decref(listing.page.rows);
    return err;
}

static enum ota_err answer_firmware(struct ota_call *call, const struct ota_product *product,
                                    const struct ota_firmware *firmware)
{
    struct ota_firmware_row row;
    enum ota_err err = ota_firmware_get(call->core->store, firmware->row.id, &row, &call->error);
    return err == OTA_OK ? ota_call_answer(call, "firmware", ota_show_firmware(product->name, &row))
                         : err;
}

enum ota_err ota_cmd_get_firmware(struct ota_call *call)
{
    struct ota_product *product;
    struct ota_firmware *firmware;
    enum ota_err err = find_firmware(call, &product, &firmware);
    return err == OTA_OK ? answer_firmware(call, product, firmware) : err;
}

enum ota_err ota_cmd_delete_firmware(struct ota_call *call)
{
    struct ota_product *product;
    struct ota_firmware *firmware;
    enum ota_err err = find_firmware(call, &product, &firmware);
    if (err == OTA_OK) {
        err = answer_firmware(call, product, firmware);
    }
    return err == OTA_OK ? ota_firmware_remove(call->core, firmware, &call->error) : err;
}
