/* SPDX-License-Identifier: BSD-3-Clause */
#include "firmware.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "broker.h"
#include "events.h"

#define OTA_UPLOADS_A_USER 4

static bool ends_in(const char *text, const char *suffix)
{
    size_t len = strlen(text);
    size_t n = strlen(suffix);
    return len > n && strcasecmp(text + len - n, suffix) == 0;
}

static bool has_at(const unsigned char *bytes, size_t len, size_t at, const char *magic, size_t n)
{
    return len >= at + n && memcmp(bytes + at, magic, n) == 0;
}

bool ota_firmware_magic_fits(const char *filename, const unsigned char *bytes, size_t len)
{
    if (ends_in(filename, ".gz")) {
        return has_at(bytes, len, 0, "\x1f\x8b", 2);
    }
    if (ends_in(filename, ".zip")) {
        return has_at(bytes, len, 0, "PK\x03\x04", 4) || has_at(bytes, len, 0, "PK\x05\x06", 4) ||
               has_at(bytes, len, 0, "PK\x07\x08", 4);
    }
    if (ends_in(filename, ".tar")) {
        return has_at(bytes, len, 257, "ustar", 5);
    }
    return true;
}

static enum ota_err check_magic(const char *filename, const unsigned char *bytes, size_t len,
                                struct ota_error *error)
{
    if (ota_firmware_magic_fits(filename, bytes, len)) {
        return OTA_OK;
    }
    return ota_error_set(error, OTA_INVALID_REQUEST, "filename",
                         "the file doesn't begin as its extension says: send what \"%s\" promises, "
                         "or name it .bin",
                         filename);
}

/* --- announcing ----------------------------------------------------------------------------- */

static bool is_same(const struct ota_upload_row *a, const struct ota_upload_row *b)
{
    return a->product_id == b->product_id && a->size == b->size && a->has_order == b->has_order &&
           (!a->has_order || a->order == b->order) && strcmp(a->user, b->user) == 0 &&
           strcmp(a->version, b->version) == 0 && strcmp(a->filename, b->filename) == 0 &&
           strcmp(a->sha256, b->sha256) == 0 && strcmp(a->description, b->description) == 0 &&
           strcmp(a->signature, b->signature) == 0;
}

struct search {
    const struct ota_core *core;
    const struct ota_upload_row *wanted;
    struct ota_upload_row same; /* id 0: none */
    int of_user;
};

static bool look_at(void *data, const struct ota_upload_row *row)
{
    struct search *search = data;
    if (ota_fleet_product_by_id(&search->core->fleet, row->product_id) == NULL) {
        return true; /* it goes with its product, which is being deleted */
    }
    search->of_user += strcmp(row->user, search->wanted->user) == 0;
    if (is_same(row, search->wanted)) {
        search->same = *row;
    }
    return true;
}

static bool is_signed_by_us(const struct ota_core *core, const struct ota_upload_row *row)
{
    const struct ota_product *product = ota_fleet_product_by_id(&core->fleet, row->product_id);
    struct ota_manifest manifest = {.product = product != NULL ? product->name : "",
                                    .version = row->version,
                                    .order = row->order,
                                    .size = row->size,
                                    .sha256 = row->sha256};
    return ota_signature_fits(core->settings.signing_keys, &manifest, row->signature);
}

static enum ota_err check_signature(const struct ota_core *core, const struct ota_upload_row *row,
                                    struct ota_error *error)
{
    if (row->signature[0] == '\0') {
        return core->settings.require_signature
                   ? ota_error_set(error, OTA_BAD_SIGNATURE, "signature",
                                   "this server takes signed firmware only (option "
                                   "require_signature): otactl firmware add --sign-key signs it")
                   : OTA_OK;
    }
    if (core->settings.signing_keys == NULL) {
        return ota_error_set(error, OTA_BAD_SIGNATURE, "signature",
                             "this server has no keys to check a signature with: name them in "
                             "option signing_keys, or leave the signature out");
    }
    return is_signed_by_us(core, row)
               ? OTA_OK
               : ota_error_set(error, OTA_BAD_SIGNATURE, "signature",
                               "no key of option signing_keys made this signature over exactly "
                               "this product, version, order, size and sha256: sign what you "
                               "send, with a key that this server knows");
}

static enum ota_err check_limits(struct ota_core *core, const struct ota_upload_row *row,
                                 struct ota_error *error)
{
    const struct ota_settings *settings = &core->settings;
    if (row->size > settings->max_firmware_size) {
        return ota_error_set(error, OTA_TOO_LARGE, "size",
                             "a firmware file may have at most %lld bytes (option "
                             "max_firmware_size), this one has %lld",
                             (long long)settings->max_firmware_size, (long long)row->size);
    }
    enum ota_err err = check_signature(core, row, error);
    if (err != OTA_OK) {
        return err;
    }
    if (ota_fleet_firmware_of(&core->fleet, row->product_id, row->version) != NULL) {
        return ota_error_set(error, OTA_ALREADY_EXISTS, "version",
                             "firmware %s exists, and the bytes of a version never change: choose "
                             "another version",
                             row->version);
    }
    int count;
    int64_t highest;
    err = ota_firmware_count(core->store, row->product_id, &count, &highest, error);
    if (err == OTA_OK && count >= settings->max_firmware_per_product) {
        return ota_error_set(error, OTA_LIMIT_EXCEEDED, "product",
                             "the product has %d pieces of firmware already (option "
                             "max_firmware_per_product): delete some old ones first",
                             count);
    }
    return err;
}

/* A signature covers the order: the one that is left to us can't wait for the commit. */
static enum ota_err fix_order(struct ota_core *core, struct ota_upload_row *row,
                              struct ota_error *error)
{
    if (row->signature[0] == '\0' || row->has_order) {
        return OTA_OK;
    }
    int count;
    int64_t highest;
    enum ota_err err = ota_firmware_count(core->store, row->product_id, &count, &highest, error);
    row->has_order = true;
    row->order = err == OTA_OK ? highest + 1 : 0;
    return err;
}

enum ota_err ota_firmware_announce(struct ota_core *core, struct ota_upload_row *row,
                                   struct ota_error *error)
{
    enum ota_err err = fix_order(core, row, error);
    if (err == OTA_OK) {
        err = check_limits(core, row, error);
    }
    if (err != OTA_OK) {
        return err;
    }
    struct search search = {.core = core, .wanted = row};
    err = ota_upload_each(core->store, look_at, &search, error);
    if (err != OTA_OK) {
        return err;
    }
    if (search.same.id != 0) {
        *row = search.same;
        return OTA_OK;
    }
    if (search.of_user >= OTA_UPLOADS_A_USER) {
        return ota_error_set(error, OTA_LIMIT_EXCEEDED, NULL,
                             "you have %d unfinished uploads already: commit or abort one first",
                             search.of_user);
    }
    row->touched_at = ota_now_unix();
    return ota_upload_insert(core->store, row, error);
}

/* --- blocks --------------------------------------------------------------------------------- */

static void run_block(struct ota_core *core, struct ota_effect *effect)
{
    (void)core;
    ota_uploads_feed(effect->other, effect->upload, effect->item, (size_t)effect->number);
    free(effect->item);
}

static void drop_block(struct ota_core *core, struct ota_effect *effect)
{
    (void)core;
    free(effect->item);
}

static enum ota_err check_block(const struct ota_upload_row *row, int64_t offset,
                                const unsigned char *bytes, size_t len, struct ota_error *error)
{
    if (offset != row->received) {
        return ota_error_set(error, OTA_CONFLICT, "offset",
                             "the next byte wanted is at offset %lld, not %lld",
                             (long long)row->received, (long long)offset);
    }
    if (len > OTA_BLOCK_SIZE || (int64_t)len > row->size - row->received) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "data",
                             "a block has at most %d bytes and doesn't go past the announced "
                             "size; this one has %zu at offset %lld of %lld",
                             OTA_BLOCK_SIZE, len, (long long)offset, (long long)row->size);
    }
    bool tells = len >= OTA_MAGIC_BYTES || (int64_t)len == row->size;
    return offset == 0 && tells ? check_magic(row->filename, bytes, len, error) : OTA_OK;
}

enum ota_err ota_firmware_find_upload(struct ota_core *core, const char *user, int64_t id,
                                      struct ota_upload_row *row, struct ota_error *error)
{
    enum ota_err err = ota_upload_get(core->store, id, row, error);
    bool orphan = err == OTA_OK && ota_fleet_product_by_id(&core->fleet, row->product_id) == NULL;
    bool foreign = err == OTA_OK && user != NULL && strcmp(row->user, user) != 0;
    if (err == OTA_NOT_FOUND || orphan || foreign) {
        return ota_error_set(error, OTA_NOT_FOUND, "upload",
                             "you have no unfinished upload %lld: announce the file again",
                             (long long)id);
    }
    return err;
}

enum ota_err ota_firmware_take_block(struct ota_core *core, struct ota_uploads *uploads,
                                     const struct ota_upload_row *row, int64_t offset,
                                     unsigned char *bytes, size_t len, int64_t *next,
                                     struct ota_error *error)
{
    struct ota_effect *effect;
    enum ota_err err = check_block(row, offset, bytes, len, error);
    if (err == OTA_OK) {
        err = ota_uploads_catch_up(uploads, row, error);
    }
    if (err == OTA_OK) {
        err = ota_upload_append(core->store, row->id, row->image, offset, bytes, len,
                                ota_now_unix(), error);
    }
    if (err != OTA_OK) {
        goto out;
    }
    effect = ota_core_after(core, run_block, drop_block);
    if (effect == NULL) {
        err = ota_error_no_memory(error);
        goto out;
    }
    effect->item = bytes;
    bytes = NULL;
    effect->number = (int64_t)len;
    effect->other = uploads;
    effect->upload = row->id;
    *next = offset + (int64_t)len;
out:
    free(bytes);
    return err;
}

/* --- committing ----------------------------------------------------------------------------- */

static enum ota_err check_whole(struct ota_core *core, struct ota_uploads *uploads,
                                const struct ota_upload_row *upload, char *md5,
                                struct ota_error *error)
{
    if (upload->received != upload->size) {
        return ota_error_set(error, OTA_CONFLICT, "upload",
                             "only %lld of %lld bytes have arrived: send the rest first",
                             (long long)upload->received, (long long)upload->size);
    }
    char sha256[OTA_SHA256_HEX + 1];
    enum ota_err err = ota_uploads_catch_up(uploads, upload, error);
    if (err == OTA_OK) {
        err = ota_uploads_digests(uploads, upload->id, md5, sha256, error);
    }
    if (err != OTA_OK) {
        return err;
    }
    if (strcmp(sha256, upload->sha256) != 0) {
        return ota_error_set(error, OTA_CHECKSUM_MISMATCH, "sha256",
                             "what arrived has the sha256 %s, not the announced one: abort this "
                             "upload and send the file again",
                             sha256);
    }
    unsigned char block[OTA_BLOCK_SIZE];
    size_t len;
    err = ota_image_block(core->store, upload->image, 0, block, &len, error);
    return err == OTA_OK ? check_magic(upload->filename, block, len, error) : err;
}

static void fill_firmware(const struct ota_upload_row *upload, int64_t highest, const char *md5,
                          struct ota_firmware_row *row)
{
    *row = (struct ota_firmware_row){.product_id = upload->product_id,
                                     .order = upload->has_order ? upload->order : highest + 1,
                                     .size = upload->size,
                                     .image = upload->image,
                                     .created_at = ota_now_unix()};
    memcpy(row->version, upload->version, sizeof row->version);
    memcpy(row->filename, upload->filename, sizeof row->filename);
    memcpy(row->md5, md5, sizeof row->md5);
    memcpy(row->sha256, upload->sha256, sizeof row->sha256);
    memcpy(row->description, upload->description, sizeof row->description);
    memcpy(row->signature, upload->signature, sizeof row->signature);
}

static void tell_firmware(struct ota_core *core, const struct ota_firmware *firmware,
                          const char *what)
{
    const struct ota_product *product =
        ota_fleet_product_by_id(&core->fleet, firmware->row.product_id);
    if (product != NULL) {
        ota_events_firmware(core, product->name, firmware->row.version, what);
    }
}

static void run_added(struct ota_core *core, struct ota_effect *effect)
{
    ota_uploads_drop(effect->other, effect->number);
    tell_firmware(core, effect->item, "added");
}

static void drop_added(struct ota_core *core, struct ota_effect *effect)
{
    if (effect->item != NULL) {
        ota_fleet_remove_firmware(&core->fleet, effect->item);
    }
}

enum ota_err ota_firmware_commit(struct ota_core *core, struct ota_uploads *uploads,
                                 const struct ota_upload_row *upload, struct ota_firmware_row *row,
                                 struct ota_error *error)
{
    char md5[OTA_MD5_HEX + 1];
    int count;
    int64_t highest = 0;
    enum ota_err err = check_limits(core, upload, error);
    if (err == OTA_OK) {
        err = check_whole(core, uploads, upload, md5, error);
    }
    if (err == OTA_OK) {
        err = ota_firmware_count(core->store, upload->product_id, &count, &highest, error);
    }
    if (err != OTA_OK) {
        return err;
    }
    fill_firmware(upload, highest, md5, row);
    err = ota_upload_delete(core->store, upload->id, true, error);
    if (err == OTA_OK) {
        err = ota_firmware_insert(core->store, row, error);
    }
    if (err != OTA_OK) {
        return err;
    }
    struct ota_effect *effect = ota_core_after(core, run_added, drop_added);
    if (effect == NULL) {
        return ota_error_no_memory(error);
    }
    effect->other = uploads;
    effect->number = upload->id;
    struct ota_firmware_row lean = *row;
    lean.description[0] = '\0';
    effect->item = ota_fleet_add_firmware(&core->fleet, &lean);
    return effect->item != NULL ? OTA_OK : ota_error_no_memory(error);
}

/* --- removing ------------------------------------------------------------------------------- */

static void run_removed(struct ota_core *core, struct ota_effect *effect)
{
    tell_firmware(core, effect->item, "deleted");
    ota_fleet_remove_firmware(&core->fleet, effect->item);
}

enum ota_err ota_firmware_remove(struct ota_core *core, struct ota_firmware *firmware,
                                 struct ota_error *error)
{
    if (firmware->batches > 0) {
        return ota_error_set(error, OTA_CONFLICT, "version",
                             "%u batches that aren't over need firmware %s: cancel them first",
                             firmware->batches, firmware->row.version);
    }
    if (firmware->unfinished > 0) {
        return ota_error_set(error, OTA_CONFLICT, "version",
                             "%u unfinished tasks need firmware %s: wait for them or cancel them",
                             firmware->unfinished, firmware->row.version);
    }
    enum ota_err err = ota_firmware_delete(core->store, firmware->row.id, error);
    if (err != OTA_OK) {
        return err;
    }
    struct ota_effect *effect = ota_core_after(core, run_removed, NULL);
    if (effect == NULL) {
        return ota_error_no_memory(error);
    }
    effect->item = firmware;
    return OTA_OK;
}
