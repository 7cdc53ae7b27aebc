/* SPDX-License-Identifier: BSD-3-Clause */
#include "store_internal.h"

#include <stdlib.h>
#include <string.h>

static const struct ota_table *const tables[OTA_TABLE_COUNT] = {
    [OTA_TABLE_STORE] = &ota_table_store,       [OTA_TABLE_PRODUCT] = &ota_table_product,
    [OTA_TABLE_FIRMWARE] = &ota_table_firmware, [OTA_TABLE_UPLOAD] = &ota_table_upload,
    [OTA_TABLE_DEVICE] = &ota_table_device,     [OTA_TABLE_TASK] = &ota_table_task,
    [OTA_TABLE_BATCH] = &ota_table_batch,       [OTA_TABLE_REQUEST] = &ota_table_request,
    [OTA_TABLE_TOKEN] = &ota_table_token,       [OTA_TABLE_AUDIT] = &ota_table_audit,
    [OTA_TABLE_OUTCOME] = &ota_table_outcome,   [OTA_TABLE_SECRET] = &ota_table_secret,
    [OTA_TABLE_READER] = &ota_table_reader,
};

const struct ota_table *ota_table_of(enum ota_table_id id)
{
    return tables[id];
}

enum ota_err ota_conn_fail(const struct ota_conn *conn, int rc, struct ota_error *error)
{
    const char *path = conn->path;
    const char *reason = conn->db != NULL ? sqlite3_errmsg(conn->db) : sqlite3_errstr(rc);
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return ota_error_set(error, OTA_UNAVAILABLE, NULL,
                             "free some space on the disk of %s: it is full", path);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ota_error_set(error, OTA_UNAVAILABLE, NULL,
                             "try again, or end the other program that keeps %s locked", path);
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return ota_error_set(error, OTA_UNAVAILABLE, NULL,
                             "let the broker's user write %s and its directory (%s)", path, reason);
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        return ota_error_set(error, OTA_UNAVAILABLE, NULL,
                             "check the disk of %s and the permissions there (%s)", path, reason);
    case SQLITE_NOMEM:
        return ota_error_set(error, OTA_UNAVAILABLE, NULL, "memory is out while %s is used", path);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ota_error_set(error, OTA_INTERNAL, NULL,
                             "stop the broker and restore %s from a backup: it is damaged (%s)",
                             path, reason);
    case SQLITE_CONSTRAINT:
        return ota_error_set(error, OTA_CONFLICT, NULL, "the database refuses this (%s)", reason);
    default:
        return ota_error_set(error, OTA_INTERNAL, NULL, "SQLite's error %d in %s (%s)", rc, path,
                             reason);
    }
}

enum ota_err ota_conn_open(struct ota_conn *conn, const char *path, int flags,
                           struct ota_error *error)
{
    *conn = (struct ota_conn){.path = strdup(path)};
    int rc = SQLITE_NOMEM;
    if (conn->path != NULL) {
        rc = sqlite3_open_v2(path, &conn->db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                             NULL);
    }
    enum ota_err err = rc == SQLITE_OK ? OTA_OK : ota_conn_fail(conn, rc, error);
    if (err != OTA_OK) {
        ota_conn_close(conn);
    }
    return err;
}

enum ota_err ota_conn_exec(const struct ota_conn *conn, const char *sql, struct ota_error *error)
{
    int rc = sqlite3_exec(conn->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? OTA_OK : ota_conn_fail(conn, rc, error);
}

enum ota_err ota_conn_int(const struct ota_conn *conn, const char *sql, int64_t *value,
                          struct ota_error *error)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(conn->db, sql, -1, &statement, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(statement);
    }
    enum ota_err err = OTA_OK;
    if (rc == SQLITE_ROW) {
        *value = sqlite3_column_int64(statement, 0);
    } else {
        err = ota_conn_fail(conn, rc, error);
    }
    (void)sqlite3_finalize(statement);
    return err;
}

int ota_conn_vacuum_into(const struct ota_conn *conn, const char *path)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(conn->db, "VACUUM INTO :path", -1, &statement, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_text(statement, 1, path, -1, SQLITE_STATIC);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(statement);
    }
    (void)sqlite3_finalize(statement);
    return rc;
}

static enum ota_err prepare_table(struct ota_conn *conn, const struct ota_table *table,
                                  struct ota_error *error)
{
    for (int i = 0; i < table->count; i++) {
        int rc = sqlite3_prepare_v3(conn->db, table->sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                                    &conn->statements[conn->count], NULL);
        if (rc != SQLITE_OK) {
            enum ota_err err = ota_conn_fail(conn, rc, error);
            ota_error_context(error, "statement %d of %s", i, table->name);
            return err;
        }
        conn->count++;
    }
    return OTA_OK;
}

enum ota_err ota_conn_prepare(struct ota_conn *conn, enum ota_table_id from, enum ota_table_id to,
                              struct ota_error *error)
{
    size_t count = 1; /* never 0 */
    for (enum ota_table_id id = from; id <= to; id++) {
        count += (size_t)tables[id]->count;
    }
    conn->statements = calloc(count, sizeof *conn->statements);
    if (conn->statements == NULL) {
        return ota_conn_fail(conn, SQLITE_NOMEM, error);
    }
    enum ota_err err = OTA_OK;
    for (enum ota_table_id id = from; id <= to && err == OTA_OK; id++) {
        conn->first[id] = conn->count;
        err = prepare_table(conn, tables[id], error);
    }
    return err;
}

void ota_conn_close(struct ota_conn *conn)
{
    for (int i = 0; i < conn->count; i++) {
        (void)sqlite3_finalize(conn->statements[i]);
    }
    (void)sqlite3_close(conn->db);
    free(conn->statements);
    free(conn->path);
    *conn = (struct ota_conn){0};
}

enum ota_err ota_conn_writing(const struct ota_conn *conn, struct ota_error *error)
{
    if (sqlite3_get_autocommit(conn->db) == 0) {
        return OTA_OK;
    }
    return ota_error_set(error, OTA_INTERNAL, NULL, "a write to %s outside of a transaction",
                         conn->path);
}

void ota_query_begin(struct ota_query *query, struct ota_conn *conn, enum ota_table_id table,
                     int which, struct ota_error *error)
{
    *query = (struct ota_query){.conn = conn, .error = error};
    if (conn->rollback_due) {
        ota_conn_rollback(conn);
    }
    if (conn->rollback_due) {
        query->err = ota_conn_fail(conn, SQLITE_NOMEM, error);
        return;
    }
    sqlite3_stmt *statement = conn->statements[conn->first[table] + which];
    if (sqlite3_stmt_busy(statement)) {
        /* A row callback that comes back here would pull the rows from under its caller. */
        query->err = ota_error_set(error, OTA_INTERNAL, NULL, "statement %d of %s runs already",
                                   which, tables[table]->name);
        return;
    }
    query->statement = statement;
}

/* The parameter's number; 0 where the query has failed. */
static int parameter(struct ota_query *query, const char *name)
{
    if (query->err != OTA_OK) {
        return 0;
    }
    /* Mostly they come in the order in which the SQL names them: the search is the slow part. */
    int index = query->bound + 1;
    const char *there = sqlite3_bind_parameter_name(query->statement, index);
    if (there == NULL || strcmp(there, name) != 0) {
        index = sqlite3_bind_parameter_index(query->statement, name);
    }
    query->bound = index;
    if (index == 0) {
        query->err = ota_error_set(query->error, OTA_INTERNAL, NULL, "no parameter %s in: %s", name,
                                   sqlite3_sql(query->statement));
    }
    return index;
}

static void bound(struct ota_query *query, int rc)
{
    if (rc != SQLITE_OK) {
        query->err = ota_conn_fail(query->conn, rc, query->error);
    }
}

void ota_bind_int(struct ota_query *query, const char *name, int64_t value)
{
    int index = parameter(query, name);
    if (index != 0) {
        bound(query, sqlite3_bind_int64(query->statement, index, value));
    }
}

void ota_bind_double(struct ota_query *query, const char *name, double value)
{
    int index = parameter(query, name);
    if (index != 0) {
        bound(query, sqlite3_bind_double(query->statement, index, value));
    }
}

void ota_bind_id(struct ota_query *query, const char *name, int64_t value)
{
    /* What isn't bound is NULL: ota_query_end clears the bindings. */
    if (value != 0) {
        ota_bind_int(query, name, value);
    }
}

void ota_bind_text(struct ota_query *query, const char *name, const char *text)
{
    int index = parameter(query, name);
    if (index != 0) {
        bound(query, sqlite3_bind_text(query->statement, index, text, -1, SQLITE_STATIC));
    }
}

void ota_bind_word(struct ota_query *query, const char *name, const char *text)
{
    if (text[0] != '\0') {
        ota_bind_text(query, name, text);
    }
}

void ota_bind_blob(struct ota_query *query, const char *name, const void *bytes, size_t len)
{
    int index = parameter(query, name);
    if (index != 0) {
        bound(query, sqlite3_bind_blob64(query->statement, index, bytes, len, SQLITE_STATIC));
    }
}

bool ota_query_row(struct ota_query *query)
{
    if (query->err != OTA_OK) {
        return false;
    }
    query->column = 0;
    int rc = sqlite3_step(query->statement);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
        query->err = ota_conn_fail(query->conn, rc, query->error);
    }
    return rc == SQLITE_ROW;
}

int64_t ota_next_int(struct ota_query *query)
{
    return sqlite3_column_int64(query->statement, query->column++);
}

int ota_next_choice(struct ota_query *query, int count)
{
    int64_t value = ota_next_int(query);
    if (value >= 0 && value < count) {
        return (int)value;
    }
    if (query->err == OTA_OK) {
        query->err = ota_conn_fail(query->conn, SQLITE_CORRUPT, query->error);
    }
    return 0;
}

double ota_next_double(struct ota_query *query)
{
    return sqlite3_column_double(query->statement, query->column++);
}

/* A column that isn't there is NULL, or one for which memory was out. */
static void check_memory(struct ota_query *query)
{
    if (query->err == OTA_OK && sqlite3_errcode(query->conn->db) == SQLITE_NOMEM) {
        query->err = ota_conn_fail(query->conn, SQLITE_NOMEM, query->error);
    }
}

void ota_next_text(struct ota_query *query, char *text, size_t size)
{
    int column = query->column++;
    const unsigned char *value = sqlite3_column_text(query->statement, column);
    size_t len = (size_t)sqlite3_column_bytes(query->statement, column);
    if (len >= size) {
        len = size - 1; /* the CHECKs hold this back: it was written by another hand */
    }
    if (value == NULL) {
        len = 0;
        check_memory(query);
    } else {
        memcpy(text, value, len);
    }
    text[len] = '\0';
}

size_t ota_next_blob(struct ota_query *query, void *bytes, size_t size)
{
    int column = query->column++;
    const void *value = sqlite3_column_blob(query->statement, column);
    size_t len = (size_t)sqlite3_column_bytes(query->statement, column);
    if (len > size) {
        len = size;
    }
    if (value == NULL) {
        len = 0;
        check_memory(query);
    } else {
        memcpy(bytes, value, len);
    }
    return len;
}

bool ota_next_is_null(struct ota_query *query)
{
    return sqlite3_column_type(query->statement, query->column) == SQLITE_NULL;
}

enum ota_err ota_query_end(struct ota_query *query)
{
    if (query->statement != NULL) {
        (void)sqlite3_reset(query->statement);
        (void)sqlite3_clear_bindings(query->statement);
        query->statement = NULL;
    }
    return query->err;
}

enum ota_err ota_query_end_found(struct ota_query *query, bool found)
{
    enum ota_err err = ota_query_end(query);
    return err == OTA_OK && !found ? OTA_NOT_FOUND : err;
}

enum ota_err ota_query_write(struct ota_query *query)
{
    if (query->err == OTA_OK) {
        query->err = ota_conn_writing(query->conn, query->error);
    }
    while (ota_query_row(query)) {
    }
    return ota_query_end(query);
}

enum ota_err ota_query_insert(struct ota_query *query, int64_t *id)
{
    enum ota_err err = ota_query_write(query);
    if (err == OTA_OK) {
        *id = sqlite3_last_insert_rowid(query->conn->db);
    }
    return err;
}

enum ota_err ota_query_write_row(struct ota_query *query)
{
    enum ota_err err = ota_query_write(query);
    return err == OTA_OK && sqlite3_changes(query->conn->db) == 0 ? OTA_NOT_FOUND : err;
}

enum ota_err ota_write_id(struct ota_store *store, enum ota_table_id table, int which, int64_t id,
                          struct ota_error *error)
{
    struct ota_query query;
    ota_query_begin(&query, &store->conn, table, which, error);
    ota_bind_int(&query, ":id", id);
    return ota_query_write_row(&query);
}

enum ota_err ota_read_id(struct ota_store *store, enum ota_table_id table, int which, int64_t id,
                         int64_t *value, struct ota_error *error)
{
    struct ota_query query;
    ota_query_begin(&query, &store->conn, table, which, error);
    ota_bind_int(&query, ":id", id);
    bool found = ota_query_row(&query);
    if (found) {
        *value = ota_next_int(&query);
    }
    return ota_query_end_found(&query, found);
}

enum ota_err ota_find_id(struct ota_store *store, enum ota_table_id table, int which, int64_t id,
                         int64_t *value, struct ota_error *error)
{
    struct ota_query query;
    ota_query_begin(&query, &store->conn, table, which, error);
    if (id != 0) {
        ota_bind_int(&query, ":id", id);
    }
    int64_t found = ota_query_row(&query) ? ota_next_int(&query) : 0;
    enum ota_err err = ota_query_end(&query);
    if (err == OTA_OK) {
        *value = found;
    }
    return err;
}

enum ota_err ota_read_row(struct ota_store *store, enum ota_table_id table, int which, int64_t id,
                          ota_read_fn read, void *row, struct ota_error *error)
{
    struct ota_query query;
    ota_query_begin(&query, &store->conn, table, which, error);
    ota_bind_int(&query, ":id", id);
    bool found = ota_query_row(&query);
    if (found) {
        read(&query, row);
    }
    return ota_query_end_found(&query, found);
}

enum ota_err ota_purge_some(struct ota_store *store, enum ota_table_id table, int which, int64_t id,
                            int *budget, struct ota_error *error)
{
    struct ota_query query;
    ota_query_begin(&query, &store->conn, table, which, error);
    ota_bind_int(&query, ":id", id);
    ota_bind_int(&query, ":rows", *budget);
    enum ota_err err = ota_query_write(&query);
    if (err == OTA_OK) {
        *budget -= sqlite3_changes(store->conn.db);
    }
    return err;
}

enum ota_err ota_purge_each(struct ota_store *store, const struct ota_purge *purge, int64_t owner,
                            int *budget, bool *left, struct ota_error *error)
{
    int64_t id = 0;
    enum ota_err err = ota_find_id(store, purge->table, purge->first, owner, &id, error);
    while (err == OTA_OK && id != 0 && *budget > 0) {
        err = purge->one(store, id, budget, error);
        if (err == OTA_OK) {
            err = ota_find_id(store, purge->table, purge->first, owner, &id, error);
        }
    }
    if (err == OTA_OK && left != NULL) {
        *left = id != 0;
    }
    return err;
}

enum ota_err ota_purge_older(struct ota_store *store, const struct ota_purge_older *purge,
                             int64_t before, int rows, bool *left, struct ota_error *error)
{
    struct ota_query query;
    ota_query_begin(&query, &store->conn, purge->table, purge->some, error);
    ota_bind_int(&query, ":before", before);
    ota_bind_int(&query, ":rows", rows);
    enum ota_err err = ota_query_write(&query);
    if (err != OTA_OK) {
        return err;
    }
    ota_query_begin(&query, &store->conn, purge->table, purge->any, error);
    ota_bind_int(&query, ":before", before);
    bool found = ota_query_row(&query) && ota_next_int(&query) != 0;
    err = ota_query_end(&query);
    if (err == OTA_OK) {
        *left = found;
    }
    return err;
}
