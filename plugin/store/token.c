/* SPDX-License-Identifier: BSD-3-Clause */
#include "store_internal.h"

enum { INSERT, EACH, SET_USED, DELETE };

static const char *const statements[] = {
    [INSERT] = "INSERT INTO token (digest, name, role, maker, created_at, expire_at) "
               "VALUES (:digest, :name, :role, :maker, :created_at, :expire_at)",
    [EACH] = "SELECT id, digest, name, role, maker, created_at, expire_at, used_at FROM token "
             "WHERE id < :before ORDER BY id DESC",
    [SET_USED] = "UPDATE token SET used_at = :used_at WHERE id = :id",
    [DELETE] = "DELETE FROM token WHERE id = :id",
};

const struct ota_table ota_table_token = OTA_TABLE("token", statements);

static void begin(struct ota_query *query, struct ota_store *store, int which,
                  struct ota_error *error)
{
    ota_query_begin(query, &store->conn, OTA_TABLE_TOKEN, which, error);
}

enum ota_err ota_token_insert(struct ota_store *store, struct ota_token *token,
                              struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, INSERT, error);
    ota_bind_blob(&query, ":digest", token->digest, sizeof token->digest);
    ota_bind_text(&query, ":name", token->name);
    ota_bind_int(&query, ":role", token->role);
    ota_bind_text(&query, ":maker", token->maker);
    ota_bind_int(&query, ":created_at", token->created_at);
    ota_bind_id(&query, ":expire_at", token->expire_at);
    return ota_query_insert(&query, &token->id);
}

static void read_token(struct ota_query *query, struct ota_token *token)
{
    token->id = ota_next_int(query);
    (void)ota_next_blob(query, token->digest, sizeof token->digest);
    ota_next_text(query, token->name, sizeof token->name);
    token->role = (enum ota_role)ota_next_choice(query, OTA_ROLE_ADMIN + 1);
    ota_next_text(query, token->maker, sizeof token->maker);
    token->created_at = ota_next_int(query);
    token->expire_at = ota_next_int(query);
    token->used_at = ota_next_int(query);
}

enum ota_err ota_token_each(struct ota_store *store, int64_t before, ota_token_fn fn, void *data,
                            struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, EACH, error);
    ota_bind_int(&query, ":before", before != 0 ? before : INT64_MAX);
    while (ota_query_row(&query)) {
        struct ota_token token = {0};
        read_token(&query, &token);
        if (query.err != OTA_OK || !fn(data, &token)) {
            break;
        }
    }
    return ota_query_end(&query);
}

enum ota_err ota_token_set_used(struct ota_store *store, int64_t id, int64_t used_at,
                                struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, SET_USED, error);
    ota_bind_int(&query, ":used_at", used_at);
    ota_bind_int(&query, ":id", id);
    return ota_query_write_row(&query);
}

enum ota_err ota_token_delete(struct ota_store *store, int64_t id, struct ota_error *error)
{
    return ota_write_id(store, OTA_TABLE_TOKEN, DELETE, id, error);
}
