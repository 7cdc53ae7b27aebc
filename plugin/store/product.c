/* SPDX-License-Identifier: BSD-3-Clause */
#include "store_internal.h"

enum {
    INSERT,
    SET_DESCRIPTION,
    GET,
    EACH,
    DOOM,
    DOOMED,
    INSERT_DOOMED,
    DELETE,
    VERSION_INSERT,
    VERSIONS,
    VERSIONS_PURGE
};

#define COLUMNS "id, name, description, created_at"

static const char *const statements[] = {
    [INSERT] = "INSERT INTO product (name, description, created_at) "
               "VALUES (:name, :description, :created_at)",
    [SET_DESCRIPTION] = "UPDATE product SET description = :description WHERE id = :id",
    [GET] = "SELECT " COLUMNS " FROM product WHERE id = :id",
    [EACH] = "SELECT " COLUMNS " FROM product WHERE id < :before AND name IS NOT NULL "
             "ORDER BY id DESC",
    [DOOM] = "UPDATE product SET name = NULL WHERE id = :id",
    [DOOMED] = "SELECT id FROM product WHERE name IS NULL ORDER BY id LIMIT 1",
    [INSERT_DOOMED] = "INSERT INTO product (description, created_at) VALUES ('', 0)",
    [DELETE] = "DELETE FROM product WHERE id = :id",
    [VERSION_INSERT] = "INSERT INTO product_version (product_id, version) "
                       "VALUES (:id, :version) ON CONFLICT DO NOTHING",
    [VERSIONS] = "SELECT product_id, version FROM product_version ORDER BY product_id, version",
    [VERSIONS_PURGE] = "DELETE FROM product_version WHERE product_id = :id AND version IN "
                       "(SELECT version FROM product_version WHERE product_id = :id LIMIT :rows)",
};

const struct ota_table ota_table_product = OTA_TABLE("product", statements);

static void begin(struct ota_query *query, struct ota_store *store, int which,
                  struct ota_error *error)
{
    ota_query_begin(query, &store->conn, OTA_TABLE_PRODUCT, which, error);
}

static void read_row(struct ota_query *query, void *data)
{
    struct ota_product_row *row = data;
    row->id = ota_next_int(query);
    ota_next_text(query, row->name, sizeof row->name);
    ota_next_text(query, row->description, sizeof row->description);
    row->created_at = ota_next_int(query);
}

enum ota_err ota_product_insert(struct ota_store *store, struct ota_product_row *row,
                                struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, INSERT, error);
    ota_bind_text(&query, ":name", row->name);
    ota_bind_text(&query, ":description", row->description);
    ota_bind_int(&query, ":created_at", row->created_at);
    return ota_query_insert(&query, &row->id);
}

enum ota_err ota_product_set_description(struct ota_store *store, int64_t id,
                                         const char *description, struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, SET_DESCRIPTION, error);
    ota_bind_text(&query, ":description", description);
    ota_bind_int(&query, ":id", id);
    return ota_query_write_row(&query);
}

enum ota_err ota_product_get(struct ota_store *store, int64_t id, struct ota_product_row *row,
                             struct ota_error *error)
{
    return ota_read_row(store, OTA_TABLE_PRODUCT, GET, id, read_row, row, error);
}

enum ota_err ota_product_each(struct ota_store *store, int64_t before, ota_product_fn fn,
                              void *data, struct ota_error *error)
{
    struct ota_product_row row;
    struct ota_query query;
    begin(&query, store, EACH, error);
    ota_bind_int(&query, ":before", before != 0 ? before : INT64_MAX);
    while (ota_query_row(&query)) {
        read_row(&query, &row);
        if (!fn(data, &row)) {
            break;
        }
    }
    return ota_query_end(&query);
}

enum ota_err ota_product_add_version(struct ota_store *store, int64_t id, const char *version,
                                     struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, VERSION_INSERT, error);
    ota_bind_int(&query, ":id", id);
    ota_bind_text(&query, ":version", version);
    return ota_query_write(&query);
}

enum ota_err ota_product_load_versions(struct ota_store *store, ota_product_version_fn fn,
                                       void *data, struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, VERSIONS, error);
    while (ota_query_row(&query)) {
        char version[OTA_VERSION_MAX + 1];
        int64_t id = ota_next_int(&query);
        ota_next_text(&query, version, sizeof version);
        if (!fn(data, id, version)) {
            break;
        }
    }
    return ota_query_end(&query);
}

enum ota_err ota_product_doom(struct ota_store *store, int64_t id, struct ota_error *error)
{
    return ota_write_id(store, OTA_TABLE_PRODUCT, DOOM, id, error);
}

enum ota_err ota_product_doomed(struct ota_store *store, int64_t *id, struct ota_error *error)
{
    int64_t found = 0;
    enum ota_err err = ota_find_id(store, OTA_TABLE_PRODUCT, DOOMED, 0, &found, error);
    if (err == OTA_OK && found == 0) {
        struct ota_query query;
        begin(&query, store, INSERT_DOOMED, error);
        err = ota_query_insert(&query, &found);
    }
    if (err == OTA_OK) {
        *id = found;
    }
    return err;
}

/* The row itself goes last, when the budget has outlived all that refers to it. */
static enum ota_err purge_one(struct ota_store *store, int64_t id, int *budget,
                              struct ota_error *error)
{
    enum ota_err err = ota_device_purge(store, id, budget, error);
    if (err == OTA_OK && *budget > 0) { /* of devices that were deleted before */
        err = ota_task_purge_product(store, id, budget, error);
    }
    if (err == OTA_OK && *budget > 0) {
        err = ota_firmware_purge(store, id, budget, error);
    }
    if (err == OTA_OK && *budget > 0) {
        err = ota_upload_purge(store, id, budget, error);
    }
    if (err == OTA_OK && *budget > 0) {
        err = ota_batch_purge(store, id, budget, error);
    }
    if (err == OTA_OK && *budget > 0) {
        err = ota_purge_some(store, OTA_TABLE_PRODUCT, VERSIONS_PURGE, id, budget, error);
    }
    if (err == OTA_OK && *budget > 0) {
        err = ota_write_id(store, OTA_TABLE_PRODUCT, DELETE, id, error);
        (*budget)--;
    }
    return err;
}

enum ota_err ota_product_purge(struct ota_store *store, int rows, bool *left,
                               struct ota_error *error)
{
    static const struct ota_purge purge = {OTA_TABLE_PRODUCT, DOOMED, purge_one};
    return ota_purge_each(store, &purge, 0, &rows, left, error);
}
