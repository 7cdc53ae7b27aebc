/* SPDX-License-Identifier: BSD-3-Clause */
#include "store_internal.h"

enum { INSERT, GET, EACH, EACH_OF_PRODUCT, COUNT, GET_IMAGE, DELETE, FIRST_OF_PRODUCT };

#define COLUMNS                                                                                    \
    "f.id, f.product_id, f.version, f.ord, f.filename, f.size, f.md5, f.sha256, f.description, "   \
    "f.signature, f.image, f.created_at"

static const char *const statements[] = {
    [INSERT] = "INSERT INTO firmware (product_id, version, ord, filename, size, md5, sha256, "
               "description, signature, image, created_at) "
               "VALUES (:product_id, :version, :ord, :filename, :size, :md5, :sha256, "
               ":description, :signature, :image, :created_at)",
    [GET] = "SELECT " COLUMNS " FROM firmware f WHERE f.id = :id",
    [EACH] = "SELECT " COLUMNS " FROM firmware f CROSS JOIN product p ON p.id = f.product_id "
             "WHERE f.id < :before AND p.name IS NOT NULL ORDER BY f.id DESC",
    [EACH_OF_PRODUCT] = "SELECT " COLUMNS " FROM firmware f "
                        "WHERE f.product_id = :product_id AND f.id < :before ORDER BY f.id DESC",
    [COUNT] = "SELECT count(*), coalesce(max(ord), 0) FROM firmware WHERE product_id = :product_id",
    [GET_IMAGE] = "SELECT image FROM firmware WHERE id = :id",
    [DELETE] = "DELETE FROM firmware WHERE id = :id",
    [FIRST_OF_PRODUCT] = "SELECT id FROM firmware WHERE product_id = :id LIMIT 1",
};

const struct ota_table ota_table_firmware = OTA_TABLE("firmware", statements);

static void begin(struct ota_query *query, struct ota_store *store, int which,
                  struct ota_error *error)
{
    ota_query_begin(query, &store->conn, OTA_TABLE_FIRMWARE, which, error);
}

static void read_row(struct ota_query *query, void *data)
{
    struct ota_firmware_row *row = data;
    row->id = ota_next_int(query);
    row->product_id = ota_next_int(query);
    ota_next_text(query, row->version, sizeof row->version);
    row->order = ota_next_int(query);
    ota_next_text(query, row->filename, sizeof row->filename);
    row->size = ota_next_int(query);
    ota_next_text(query, row->md5, sizeof row->md5);
    ota_next_text(query, row->sha256, sizeof row->sha256);
    ota_next_text(query, row->description, sizeof row->description);
    ota_next_text(query, row->signature, sizeof row->signature);
    row->image = ota_next_int(query);
    row->created_at = ota_next_int(query);
}

enum ota_err ota_firmware_insert(struct ota_store *store, struct ota_firmware_row *row,
                                 struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, INSERT, error);
    ota_bind_int(&query, ":product_id", row->product_id);
    ota_bind_text(&query, ":version", row->version);
    ota_bind_int(&query, ":ord", row->order);
    ota_bind_text(&query, ":filename", row->filename);
    ota_bind_int(&query, ":size", row->size);
    ota_bind_text(&query, ":md5", row->md5);
    ota_bind_text(&query, ":sha256", row->sha256);
    ota_bind_text(&query, ":description", row->description);
    ota_bind_text(&query, ":signature", row->signature);
    ota_bind_int(&query, ":image", row->image);
    ota_bind_int(&query, ":created_at", row->created_at);
    return ota_query_insert(&query, &row->id);
}

enum ota_err ota_firmware_get(struct ota_store *store, int64_t id, struct ota_firmware_row *row,
                              struct ota_error *error)
{
    return ota_read_row(store, OTA_TABLE_FIRMWARE, GET, id, read_row, row, error);
}

enum ota_err ota_firmware_each(struct ota_store *store, int64_t product_id, int64_t before,
                               ota_firmware_fn fn, void *data, struct ota_error *error)
{
    struct ota_firmware_row row;
    struct ota_query query;
    begin(&query, store, product_id != 0 ? EACH_OF_PRODUCT : EACH, error);
    if (product_id != 0) {
        ota_bind_int(&query, ":product_id", product_id);
    }
    ota_bind_int(&query, ":before", before != 0 ? before : INT64_MAX);
    while (ota_query_row(&query)) {
        read_row(&query, &row);
        if (!fn(data, &row)) {
            break;
        }
    }
    return ota_query_end(&query);
}

enum ota_err ota_firmware_count(struct ota_store *store, int64_t product_id, int *count,
                                int64_t *highest_order, struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, COUNT, error);
    ota_bind_int(&query, ":product_id", product_id);
    bool found = ota_query_row(&query);
    if (found) {
        *count = (int)ota_next_int(&query);
        *highest_order = ota_next_int(&query);
    }
    return ota_query_end_found(&query, found);
}

enum ota_err ota_firmware_delete(struct ota_store *store, int64_t id, struct ota_error *error)
{
    int64_t image = 0;
    enum ota_err err = ota_read_id(store, OTA_TABLE_FIRMWARE, GET_IMAGE, id, &image, error);
    if (err == OTA_OK) {
        err = ota_write_id(store, OTA_TABLE_FIRMWARE, DELETE, id, error);
    }
    return err == OTA_OK ? ota_image_doom(store, image, error) : err;
}

static enum ota_err purge_one(struct ota_store *store, int64_t id, int *budget,
                              struct ota_error *error)
{
    (*budget)--;
    return ota_firmware_delete(store, id, error);
}

enum ota_err ota_firmware_purge(struct ota_store *store, int64_t product_id, int *budget,
                                struct ota_error *error)
{
    static const struct ota_purge purge = {OTA_TABLE_FIRMWARE, FIRST_OF_PRODUCT, purge_one};
    return ota_purge_each(store, &purge, product_id, budget, NULL, error);
}
