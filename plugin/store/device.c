/* SPDX-License-Identifier: BSD-3-Clause */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "store_internal.h"

enum {
    INSERT,
    GET,
    UPDATE,
    DOOM,
    DELETE,
    SET_VERSION,
    VERSION_INSERT,
    SET_LAST_SEEN,
    SET_GATEWAY,
    LOAD,
    LIST,
    LIST_OF_GATEWAY,
    VERSIONS,
    VERSIONS_PURGE,
    VERSIONS_PRUNE,
    UNBIND,
    FIRST_OF_PRODUCT
};

#define COLUMNS                                                                                    \
    "id, product_id, name, description, tags, hold, version, version_at, last_seen_at, "           \
    "created_at, last_task, gateway_id"

static const char *const statements[] = {
    [INSERT] = "INSERT INTO device (product_id, name, description, tags, hold, version, "
               "version_at, last_seen_at, created_at, last_task, gateway_id) "
               "VALUES (:product_id, :name, :description, :tags, :hold, :version, :version_at, "
               ":last_seen_at, :created_at, :last_task, :gateway_id)",
    [GET] = "SELECT " COLUMNS " FROM device WHERE id = :id",
    [UPDATE] = "UPDATE device SET description = :description, tags = :tags, hold = :hold "
               "WHERE id = :id",
    /* No device can be called so: the name is free in any product. */
    [DOOM] = "UPDATE device SET product_id = :product_id, name = '#' || id, gateway_id = NULL "
             "WHERE id = :id",
    [DELETE] = "DELETE FROM device WHERE id = :id",
    /* The history stays in order when two come in one millisecond, or the clock is set back. */
    [SET_VERSION] = "UPDATE device SET version = :version, version_at = max(:at, ifnull("
                    "(SELECT max(at) FROM device_version WHERE device_id = :id) + 1, :at)) "
                    "WHERE id = :id",
    [VERSION_INSERT] = "INSERT INTO device_version (device_id, at, version) "
                       "SELECT id, version_at, version FROM device WHERE id = :id",
    [SET_LAST_SEEN] = "UPDATE device SET last_seen_at = :at WHERE id = :id",
    [SET_GATEWAY] = "UPDATE device SET gateway_id = :gateway_id WHERE id = :id",
    [LOAD] = "SELECT id, product_id, name, hold, version, last_seen_at, last_task, gateway_id "
             "FROM device WHERE product_id NOT IN (SELECT id FROM product WHERE name IS NULL) "
             "ORDER BY id",
    [LIST] = "SELECT " COLUMNS " FROM device "
             "WHERE product_id = :product_id AND name >= :from AND name < :until "
             "ORDER BY name LIMIT :rows",
    [LIST_OF_GATEWAY] = "SELECT " COLUMNS " FROM device INDEXED BY device_by_gateway "
                        "WHERE gateway_id = :gateway_id AND product_id = :product_id "
                        "AND name >= :from AND name < :until ORDER BY name LIMIT :rows",
    [VERSIONS] = "SELECT at, version FROM device_version WHERE device_id = :id AND at < :before "
                 "ORDER BY at DESC",
    [VERSIONS_PURGE] = "DELETE FROM device_version WHERE device_id = :id AND at IN "
                       "(SELECT at FROM device_version WHERE device_id = :id LIMIT :rows)",
    [VERSIONS_PRUNE] = "DELETE FROM device_version WHERE device_id = :id AND at IN "
                       "(SELECT at FROM device_version WHERE device_id = :id AND at < :before "
                       "AND at < (SELECT max(at) FROM device_version WHERE device_id = :id) "
                       "LIMIT :rows)",
    [UNBIND] = "UPDATE device SET gateway_id = NULL WHERE id IN "
               "(SELECT id FROM device WHERE gateway_id = :id LIMIT :rows)",
    [FIRST_OF_PRODUCT] = "SELECT id FROM device WHERE product_id = :id LIMIT 1",
};

const struct ota_table ota_table_device = OTA_TABLE("device", statements);

static void begin(struct ota_query *query, struct ota_store *store, int which,
                  struct ota_error *error)
{
    ota_query_begin(query, &store->conn, OTA_TABLE_DEVICE, which, error);
}

static void read_row(struct ota_query *query, void *data)
{
    struct ota_device_row *row = data;
    row->id = ota_next_int(query);
    row->product_id = ota_next_int(query);
    ota_next_text(query, row->name, sizeof row->name);
    ota_next_text(query, row->description, sizeof row->description);
    ota_next_text(query, row->tags, sizeof row->tags);
    row->hold = ota_next_int(query) != 0;
    ota_next_text(query, row->version, sizeof row->version);
    row->version_at = ota_next_int(query);
    row->last_seen_at = ota_next_int(query);
    row->created_at = ota_next_int(query);
    row->last_task = ota_next_int(query);
    row->gateway_id = ota_next_int(query);
}

enum ota_err ota_device_insert(struct ota_store *store, struct ota_device_row *row,
                               struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, INSERT, error);
    ota_bind_int(&query, ":product_id", row->product_id);
    ota_bind_text(&query, ":name", row->name);
    ota_bind_text(&query, ":description", row->description);
    ota_bind_text(&query, ":tags", row->tags);
    ota_bind_int(&query, ":hold", row->hold);
    ota_bind_word(&query, ":version", row->version);
    ota_bind_id(&query, ":version_at", row->version_at);
    ota_bind_id(&query, ":last_seen_at", row->last_seen_at);
    ota_bind_int(&query, ":created_at", row->created_at);
    ota_bind_id(&query, ":last_task", row->last_task);
    ota_bind_id(&query, ":gateway_id", row->gateway_id);
    return ota_query_insert(&query, &row->id);
}

enum ota_err ota_device_get(struct ota_store *store, int64_t id, struct ota_device_row *row,
                            struct ota_error *error)
{
    return ota_read_row(store, OTA_TABLE_DEVICE, GET, id, read_row, row, error);
}

enum ota_err ota_device_update(struct ota_store *store, const struct ota_device_row *row,
                               struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, UPDATE, error);
    ota_bind_text(&query, ":description", row->description);
    ota_bind_text(&query, ":tags", row->tags);
    ota_bind_int(&query, ":hold", row->hold);
    ota_bind_int(&query, ":id", row->id);
    return ota_query_write_row(&query);
}

static enum ota_err update_version(struct ota_store *store, int64_t id, const char *version,
                                   int64_t at, struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, SET_VERSION, error);
    ota_bind_text(&query, ":version", version);
    ota_bind_int(&query, ":at", at);
    ota_bind_int(&query, ":id", id);
    return ota_query_write_row(&query);
}

enum ota_err ota_device_set_version(struct ota_store *store, int64_t id, const char *version,
                                    int64_t at, struct ota_error *error)
{
    enum ota_err err = update_version(store, id, version, at, error);
    return err == OTA_OK ? ota_write_id(store, OTA_TABLE_DEVICE, VERSION_INSERT, id, error) : err;
}

enum ota_err ota_device_set_last_seen(struct ota_store *store, int64_t id, int64_t at,
                                      struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, SET_LAST_SEEN, error);
    ota_bind_int(&query, ":at", at);
    ota_bind_int(&query, ":id", id);
    return ota_query_write_row(&query);
}

enum ota_err ota_device_set_gateway(struct ota_store *store, int64_t id, int64_t gateway_id,
                                    struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, SET_GATEWAY, error);
    ota_bind_id(&query, ":gateway_id", gateway_id);
    ota_bind_int(&query, ":id", id);
    return ota_query_write_row(&query);
}

enum ota_err ota_device_load(struct ota_store *store, ota_device_fn fn, void *data,
                             struct ota_error *error)
{
    struct ota_device_row row = {0};
    struct ota_query query;
    begin(&query, store, LOAD, error);
    while (ota_query_row(&query)) {
        row.id = ota_next_int(&query);
        row.product_id = ota_next_int(&query);
        ota_next_text(&query, row.name, sizeof row.name);
        row.hold = ota_next_int(&query) != 0;
        ota_next_text(&query, row.version, sizeof row.version);
        row.last_seen_at = ota_next_int(&query);
        row.last_task = ota_next_int(&query);
        row.gateway_id = ota_next_int(&query);
        if (!fn(data, &row)) {
            break;
        }
    }
    return ota_query_end(&query);
}

static bool is_online(const struct ota_store *store, int64_t id)
{
    return store->online != NULL && store->online(store->online_data, id);
}

static bool matches(const struct ota_store *store, const struct ota_device_filter *filter,
                    const struct ota_device_row *row)
{
    return (filter->version == NULL || strcmp(filter->version, row->version) == 0) &&
           (filter->tag == NULL || ota_tags_have(row->tags, filter->tag, strlen(filter->tag))) &&
           (filter->online == NULL || *filter->online == is_online(store, row->id));
}

/* The range of names that may match: its start, which is in it, and its end, which isn't. */
struct range {
    char from[OTA_DEVICE_MAX + 2];
    char until[OTA_DEVICE_MAX + 2];
};

/* Names are of printable ASCII: \x01 sorts before all that may follow, \x7f behind it. */
static void find_range(struct range *range, const char *prefix, const char *after)
{
    int max = OTA_DEVICE_MAX;
    (void)snprintf(range->until, sizeof range->until, "%.*s\x7f", max, prefix);
    (void)snprintf(range->from, sizeof range->from, "%.*s%s", max, after,
                   after[0] != '\0' ? "\x01" : "");
    if (strcmp(range->from, prefix) < 0) {
        (void)snprintf(range->from, sizeof range->from, "%.*s", max, prefix);
    }
}

enum ota_err ota_device_list(struct ota_store *store, const struct ota_device_filter *filter,
                             const char *after, ota_device_fn fn, void *data, char *last,
                             bool *more, struct ota_error *error)
{
    struct range range;
    find_range(&range, filter->prefix != NULL ? filter->prefix : "", after);
    struct ota_query query;
    begin(&query, store, filter->gateway_id != 0 ? LIST_OF_GATEWAY : LIST, error);
    ota_bind_id(&query, ":gateway_id", filter->gateway_id);
    ota_bind_int(&query, ":product_id", filter->product_id);
    ota_bind_text(&query, ":from", range.from);
    ota_bind_text(&query, ":until", range.until);
    ota_bind_int(&query, ":rows", OTA_LIST_EXAMINED + 1);

    struct ota_device_row row = {0};
    int examined = 0;
    bool going = true;
    bool found = false;
    (void)snprintf(row.name, sizeof row.name, "%s", after);
    /* One row more is stepped onto, but not looked at: it tells that there are more. */
    while ((found = ota_query_row(&query)) && going && examined < OTA_LIST_EXAMINED) {
        read_row(&query, &row);
        examined++;
        going = !matches(store, filter, &row) || fn(data, &row);
    }
    enum ota_err err = ota_query_end(&query);
    if (err == OTA_OK) {
        memcpy(last, row.name, strlen(row.name) + 1);
        *more = found;
    }
    return err;
}

enum ota_err ota_device_versions(struct ota_store *store, int64_t id, int64_t before,
                                 ota_version_fn fn, void *data, struct ota_error *error)
{
    char version[OTA_VERSION_MAX + 1];
    struct ota_query query;
    begin(&query, store, VERSIONS, error);
    ota_bind_int(&query, ":id", id);
    ota_bind_int(&query, ":before", before != 0 ? before : INT64_MAX);
    while (ota_query_row(&query)) {
        int64_t at = ota_next_int(&query);
        ota_next_text(&query, version, sizeof version);
        if (!fn(data, at, version)) {
            break;
        }
    }
    return ota_query_end(&query);
}

enum ota_err ota_device_prune_versions(struct ota_store *store, int64_t id, int64_t before,
                                       int *rows, struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, VERSIONS_PRUNE, error);
    ota_bind_int(&query, ":id", id);
    ota_bind_int(&query, ":before", before);
    ota_bind_int(&query, ":rows", *rows);
    enum ota_err err = ota_query_write(&query);
    if (err == OTA_OK) {
        *rows -= sqlite3_changes(store->conn.db);
    }
    return err;
}

/* The row itself goes last, when the budget has outlived all that refers to it. */
static enum ota_err purge_one(struct ota_store *store, int64_t id, int *budget,
                              struct ota_error *error)
{
    enum ota_err err = ota_task_purge(store, id, budget, error);
    if (err == OTA_OK && *budget > 0) {
        err = ota_purge_some(store, OTA_TABLE_DEVICE, VERSIONS_PURGE, id, budget, error);
    }
    if (err == OTA_OK && *budget > 0) {
        err = ota_purge_some(store, OTA_TABLE_DEVICE, UNBIND, id, budget, error);
    }
    if (err == OTA_OK && *budget > 0) {
        err = ota_batch_unname_device(store, id, budget, error);
    }
    if (err == OTA_OK && *budget > 0) {
        err = ota_secret_forget(store, id, error);
    }
    if (err == OTA_OK && *budget > 0) {
        err = ota_write_id(store, OTA_TABLE_DEVICE, DELETE, id, error);
        (*budget)--;
    }
    return err;
}

static enum ota_err doom(struct ota_store *store, int64_t id, int64_t product_id,
                         struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, DOOM, error);
    ota_bind_int(&query, ":product_id", product_id);
    ota_bind_int(&query, ":id", id);
    return ota_query_write_row(&query);
}

enum ota_err ota_device_doom(struct ota_store *store, int64_t id, struct ota_error *error)
{
    bool busy = false;
    int lists = INT_MAX;
    int64_t product_id = 0;
    enum ota_err err = ota_task_busy(store, id, &busy, error);
    if (err == OTA_OK && busy) {
        err = ota_error_set(error, OTA_CONFLICT, "device",
                            "cancel the device's task first: it is unfinished");
    }
    if (err == OTA_OK) {
        err = ota_product_doomed(store, &product_id, error);
    }
    if (err == OTA_OK) {
        err = doom(store, id, product_id, error);
    }
    if (err == OTA_OK) {
        err = ota_secret_forget(store, id, error);
    }
    return err == OTA_OK ? ota_batch_unname_device(store, id, &lists, error) : err;
}

enum ota_err ota_device_purge(struct ota_store *store, int64_t product_id, int *budget,
                              struct ota_error *error)
{
    static const struct ota_purge purge = {OTA_TABLE_DEVICE, FIRST_OF_PRODUCT, purge_one};
    return ota_purge_each(store, &purge, product_id, budget, NULL, error);
}
