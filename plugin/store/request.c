/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>

#include "store_internal.h"

enum { FIND, INSERT, PURGE, LEFT };

#define DIGEST_SIZE 32

static const char *const statements[] = {
    [FIND] = "SELECT digest, data FROM request WHERE user = :user AND request_id = :request_id",
    [INSERT] = "INSERT INTO request (user, request_id, digest, data, at) "
               "VALUES (:user, :request_id, :digest, :data, :at)",
    [PURGE] = "DELETE FROM request WHERE id IN "
              "(SELECT id FROM request WHERE at < :before ORDER BY at LIMIT :rows)",
    [LEFT] = "SELECT EXISTS (SELECT 1 FROM request WHERE at < :before)",
};

const struct ota_table ota_table_request = OTA_TABLE("request", statements);

static void begin(struct ota_query *query, struct ota_store *store, int which,
                  struct ota_error *error)
{
    ota_query_begin(query, &store->conn, OTA_TABLE_REQUEST, which, error);
}

/* The text of the column that is next, for free(); NULL fails the query. */
static char *copy_text(struct ota_query *query)
{
    const unsigned char *text = sqlite3_column_text(query->statement, query->column++);
    char *copy = text != NULL ? strdup((const char *)text) : NULL;
    if (copy == NULL) {
        query->err = ota_conn_fail(query->conn, SQLITE_NOMEM, query->error);
    }
    return copy;
}

enum ota_err ota_request_find(struct ota_store *store, const char *user, const char *request_id,
                              unsigned char *digest, char **data, struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, FIND, error);
    ota_bind_text(&query, ":user", user);
    ota_bind_text(&query, ":request_id", request_id);
    bool found = ota_query_row(&query);
    if (found) {
        unsigned char read[DIGEST_SIZE] = {0};
        (void)ota_next_blob(&query, read, sizeof read);
        char *copy = copy_text(&query);
        if (copy != NULL) {
            memcpy(digest, read, sizeof read);
            *data = copy;
        }
    }
    return ota_query_end_found(&query, found);
}

enum ota_err ota_request_insert(struct ota_store *store, const char *user, const char *request_id,
                                const unsigned char *digest, const char *data, int64_t at,
                                struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, INSERT, error);
    ota_bind_text(&query, ":user", user);
    ota_bind_text(&query, ":request_id", request_id);
    ota_bind_blob(&query, ":digest", digest, DIGEST_SIZE);
    ota_bind_text(&query, ":data", data);
    ota_bind_int(&query, ":at", at);
    return ota_query_write(&query);
}

enum ota_err ota_request_purge(struct ota_store *store, int64_t before, int rows, bool *left,
                               struct ota_error *error)
{
    static const struct ota_purge_older purge = {OTA_TABLE_REQUEST, PURGE, LEFT};
    return ota_purge_older(store, &purge, before, rows, left, error);
}
