/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "store_internal.h"

enum { INSERT, SET_COUNT, LIST, PURGE, LEFT };

static const char *const statements[] = {
    [INSERT] = "INSERT INTO audit (at, user, client, command, target, code, count) "
               "VALUES (:at, :user, :client, :command, :target, :code, :count)",
    [SET_COUNT] = "UPDATE audit SET count = :count WHERE id = :id",
    [LIST] = "SELECT id, at, user, client, command, target, code, count FROM audit "
             "INDEXED BY audit_by_time WHERE at >= :since AND (at, id) < (:at, :id) "
             "ORDER BY at DESC, id DESC LIMIT :rows",
    [PURGE] = "DELETE FROM audit WHERE id IN "
              "(SELECT id FROM audit WHERE at < :before ORDER BY at LIMIT :rows)",
    [LEFT] = "SELECT EXISTS (SELECT 1 FROM audit WHERE at < :before)",
};

const struct ota_table ota_table_audit = OTA_TABLE("audit", statements);

static void begin(struct ota_query *query, struct ota_store *store, int which,
                  struct ota_error *error)
{
    ota_query_begin(query, &store->conn, OTA_TABLE_AUDIT, which, error);
}

enum ota_err ota_audit_insert(struct ota_store *store, struct ota_audit_row *row,
                              struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, INSERT, error);
    ota_bind_int(&query, ":at", row->at);
    ota_bind_text(&query, ":user", row->user);
    ota_bind_text(&query, ":client", row->client);
    ota_bind_text(&query, ":command", row->command);
    ota_bind_text(&query, ":target", row->target);
    ota_bind_text(&query, ":code", row->code);
    ota_bind_int(&query, ":count", row->count);
    return ota_query_insert(&query, &row->id);
}

enum ota_err ota_audit_set_count(struct ota_store *store, int64_t id, int64_t count,
                                 struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, SET_COUNT, error);
    ota_bind_int(&query, ":count", count);
    ota_bind_int(&query, ":id", id);
    return ota_query_write_row(&query);
}

static void read_row(struct ota_query *query, struct ota_audit_row *row)
{
    row->id = ota_next_int(query);
    row->at = ota_next_int(query);
    ota_next_text(query, row->user, sizeof row->user);
    ota_next_text(query, row->client, sizeof row->client);
    ota_next_text(query, row->command, sizeof row->command);
    ota_next_text(query, row->target, sizeof row->target);
    ota_next_text(query, row->code, sizeof row->code);
    row->count = ota_next_int(query);
}

static bool is_or_any(const char *have, const char *want)
{
    return want == NULL || strcmp(have, want) == 0;
}

enum ota_err ota_audit_list(struct ota_store *store, const struct ota_audit_filter *filter,
                            const struct ota_audit_place *after, ota_audit_fn fn, void *data,
                            struct ota_audit_place *last, bool *more, struct ota_error *error)
{
    struct ota_audit_row row = {.at = after->at, .id = after->id};
    struct ota_query query;
    bool first = after->id == 0;
    begin(&query, store, LIST, error);
    ota_bind_int(&query, ":since", filter->since);
    ota_bind_int(&query, ":at", first ? INT64_MAX : after->at);
    ota_bind_int(&query, ":id", first ? INT64_MAX : after->id);
    ota_bind_int(&query, ":rows", OTA_LIST_EXAMINED + 1);

    int examined = 0;
    bool going = true;
    bool found = false;
    /* One row more is stepped onto, but not looked at: it tells that there are more. */
    while ((found = ota_query_row(&query)) && going && examined < OTA_LIST_EXAMINED) {
        read_row(&query, &row);
        examined++;
        bool matches = is_or_any(row.user, filter->user) && is_or_any(row.command, filter->command);
        going = !matches || fn(data, &row);
    }
    enum ota_err err = ota_query_end(&query);
    if (err == OTA_OK) {
        *last = (struct ota_audit_place){row.at, row.id};
        *more = found;
    }
    return err;
}

enum ota_err ota_audit_purge(struct ota_store *store, int64_t before, int rows, bool *left,
                             struct ota_error *error)
{
    static const struct ota_purge_older purge = {OTA_TABLE_AUDIT, PURGE, LEFT};
    return ota_purge_older(store, &purge, before, rows, left, error);
}
