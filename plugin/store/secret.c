/* SPDX-License-Identifier: BSD-3-Clause */
#include "store_internal.h"

enum { PUT, GET, DELETE, ANY, KEY_PUT, KEY_GET };

static const char *const statements[] = {
    [PUT] = "INSERT OR REPLACE INTO device_secret VALUES (:device_id, :sealed, :set_at)",
    [GET] = "SELECT sealed, set_at FROM device_secret WHERE device_id = :id",
    [DELETE] = "DELETE FROM device_secret WHERE device_id = :id",
    [ANY] = "SELECT device_id FROM device_secret WHERE device_id > 0 LIMIT 1",
    [KEY_PUT] = "INSERT OR REPLACE INTO secret_key (id, proof) VALUES (1, :proof)",
    [KEY_GET] = "SELECT proof FROM secret_key WHERE id = 1",
};

const struct ota_table ota_table_secret = OTA_TABLE("secret", statements);

static void begin(struct ota_query *query, struct ota_store *store, int which,
                  struct ota_error *error)
{
    ota_query_begin(query, &store->conn, OTA_TABLE_SECRET, which, error);
}

enum ota_err ota_secret_put(struct ota_store *store, int64_t device_id,
                            const struct ota_secret_row *row, struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, PUT, error);
    ota_bind_int(&query, ":device_id", device_id);
    ota_bind_blob(&query, ":sealed", row->sealed, row->len);
    ota_bind_int(&query, ":set_at", row->set_at);
    return ota_query_write(&query);
}

enum ota_err ota_secret_get(struct ota_store *store, int64_t device_id, struct ota_secret_row *row,
                            struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, GET, error);
    ota_bind_int(&query, ":id", device_id);
    bool found = ota_query_row(&query);
    if (found) {
        row->len = ota_next_blob(&query, row->sealed, sizeof row->sealed);
        row->set_at = ota_next_int(&query);
    }
    return ota_query_end_found(&query, found);
}

enum ota_err ota_secret_delete(struct ota_store *store, int64_t device_id, struct ota_error *error)
{
    return ota_write_id(store, OTA_TABLE_SECRET, DELETE, device_id, error);
}

enum ota_err ota_secret_forget(struct ota_store *store, int64_t device_id, struct ota_error *error)
{
    enum ota_err err = ota_secret_delete(store, device_id, error);
    return err == OTA_NOT_FOUND ? OTA_OK : err;
}

enum ota_err ota_secret_any(struct ota_store *store, bool *any, struct ota_error *error)
{
    int64_t first = 0;
    enum ota_err err = ota_find_id(store, OTA_TABLE_SECRET, ANY, 0, &first, error);
    if (err == OTA_OK) {
        *any = first != 0;
    }
    return err;
}

enum ota_err ota_secret_set_key(struct ota_store *store, const unsigned char *proof,
                                struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, KEY_PUT, error);
    ota_bind_blob(&query, ":proof", proof, OTA_KEY_SIZE);
    return ota_query_write(&query);
}

enum ota_err ota_secret_key(struct ota_store *store, unsigned char *proof, struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, KEY_GET, error);
    bool found = ota_query_row(&query);
    if (found) {
        (void)ota_next_blob(&query, proof, OTA_KEY_SIZE);
    }
    return ota_query_end_found(&query, found);
}
