/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store_internal.h"

/* Opening may wait for what a killed broker left behind; after that the broker mustn't wait. */
#define OPEN_TIMEOUT_MS 5000
#define BUSY_TIMEOUT_MS 10

enum { META_GET, META_SET_SERVICE, BEGIN, COMMIT, ROLLBACK };

static const char *const statements[] = {
    [META_GET] = "SELECT service_ms, url_key FROM meta WHERE id = 1",
    [META_SET_SERVICE] = "UPDATE meta SET service_ms = :service_ms WHERE id = 1",
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
};

const struct ota_table ota_table_store = OTA_TABLE("store", statements);

/* Before anything is read: what a hostile or damaged file could do. */
static const char pragmas_first[] = "PRAGMA trusted_schema = OFF;"
                                    "PRAGMA cell_size_check = ON;"
                                    "PRAGMA temp_store = MEMORY;"
                                    "PRAGMA foreign_keys = OFF;";

/*
 * secure_delete would write zeros over each image that goes. No mmap: a bad sector would be a
 * signal that ends the broker. The cache is 32 MB: lists of a large fleet touch a page a row.
 */
static const char pragmas_last[] = "PRAGMA foreign_keys = ON;"
                                   "PRAGMA wal_autocheckpoint = 0;"
                                   "PRAGMA journal_size_limit = 67108864;"
                                   "PRAGMA secure_delete = OFF;"
                                   "PRAGMA cache_size = -32768;";

static void online_function(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    struct ota_store *store = sqlite3_user_data(context);
    int64_t id = sqlite3_value_int64(values[0]);
    sqlite3_result_int(context, store->online != NULL && store->online(store->online_data, id));
}

/* On the writer's thread, at the end of each commit. */
static int wal_hook(void *data, sqlite3 *db, const char *name, int pages)
{
    (void)db;
    (void)name;
    struct ota_store *store = data;
    ota_checkpoint_note(store->checkpoint, pages);
    return SQLITE_OK;
}

/* ota_listed(id): whether the id is on the list. Ids are asked for in rising order. */
static void listed_function(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    struct ota_store *store = sqlite3_user_data(context);
    int64_t id = sqlite3_value_int64(values[0]);
    while (store->listed_count > 0 && *store->listed < id) {
        store->listed++;
        store->listed_count--;
    }
    sqlite3_result_int(context, store->listed_count > 0 && *store->listed == id);
}

static enum ota_err add_functions(struct ota_store *store, struct ota_error *error)
{
    sqlite3 *db = store->conn.db;
    int rc = sqlite3_create_function_v2(db, "ota_online", 1, SQLITE_UTF8 | SQLITE_INNOCUOUS, store,
                                        online_function, NULL, NULL, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_create_function_v2(db, "ota_listed", 1, SQLITE_UTF8, store, listed_function,
                                        NULL, NULL, NULL);
    }
    return rc == SQLITE_OK ? OTA_OK : ota_conn_fail(&store->conn, rc, error);
}

static enum ota_err open_connection(struct ota_store *store, const char *path,
                                    struct ota_error *error)
{
    enum ota_err err = ota_conn_open(&store->conn, path, SQLITE_OPEN_READWRITE, error);
    if (err != OTA_OK) {
        return err;
    }
    sqlite3 *db = store->conn.db;
    (void)sqlite3_busy_timeout(db, OPEN_TIMEOUT_MS);
    /* Not before it is known to be ours is its WAL written back. */
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    err = add_functions(store, error);
    if (err != OTA_OK) {
        return err;
    }
    return ota_conn_exec(&store->conn, pragmas_first, error);
}

static enum ota_err set_wal(const struct ota_conn *conn, struct ota_error *error)
{
    enum ota_err err = ota_conn_exec(conn, "PRAGMA journal_mode = WAL", error);
    int64_t is_wal = 0;
    if (err == OTA_OK) {
        err = ota_conn_int(conn, "SELECT journal_mode = 'wal' FROM pragma_journal_mode", &is_wal,
                           error);
    }
    if (err == OTA_OK && !is_wal) {
        err = ota_error_set(error, OTA_UNAVAILABLE, "db_path",
                            "set db_path to a file on a local disk: %s lies where SQLite can't "
                            "keep a WAL",
                            conn->path);
    }
    return err;
}

static enum ota_err configure(struct ota_store *store, bool full, struct ota_error *error)
{
    enum ota_err err = set_wal(&store->conn, error);
    if (err == OTA_OK) {
        err = ota_conn_exec(&store->conn, pragmas_last, error);
    }
    if (err == OTA_OK) {
        err = ota_conn_exec(&store->conn,
                            full ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL",
                            error);
    }
    return err;
}

static enum ota_err start(struct ota_store *store, struct ota_error *error)
{
    enum ota_err err = ota_conn_prepare(&store->conn, OTA_TABLE_STORE, OTA_TABLE_SECRET, error);
    struct ota_meta meta;
    if (err == OTA_OK) {
        err = ota_store_meta(store, &meta, error);
    }
    if (err == OTA_NOT_FOUND) {
        err = ota_error_set(error, OTA_INTERNAL, "db_path",
                            "restore %s from a backup: it has lost its keys", store->conn.path);
    }
    if (err == OTA_OK) {
        err = ota_checkpoint_start(store->conn.path, &store->checkpoint, error);
    }
    if (err == OTA_OK) {
        (void)sqlite3_db_config(store->conn.db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
        (void)sqlite3_wal_hook(store->conn.db, wal_hook, store);
        (void)sqlite3_busy_timeout(store->conn.db, BUSY_TIMEOUT_MS);
    }
    return err;
}

static void free_store(struct ota_store *store)
{
    ota_checkpoint_stop(store->checkpoint);
    ota_conn_close(&store->conn);
    if (store->lock_fd >= 0) {
        (void)close(store->lock_fd);
    }
    free(store);
}

enum ota_err ota_store_open_with(const struct ota_store_config *config,
                                 const struct ota_migration *migrations, int count,
                                 struct ota_store **store, struct ota_error *error)
{
    struct ota_store *made = calloc(1, sizeof *made);
    char *path = NULL;
    if (made == NULL) {
        return ota_error_set(error, OTA_UNAVAILABLE, NULL, "memory is out");
    }
    made->lock_fd = -1;
    made->online = config->online;
    made->online_data = config->online_data;
    enum ota_err err = ota_file_claim(config->path, &path, &made->lock_fd, &made->opening, error);
    if (err == OTA_OK) {
        err = open_connection(made, path, error);
    }
    if (err == OTA_OK) {
        err = ota_migrate(&made->conn, migrations, count, config->now, error);
    }
    if (err == OTA_OK) {
        ota_file_hold(made->lock_fd);
        err = configure(made, config->synchronous_full, error);
    }
    if (err == OTA_OK) {
        err = start(made, error);
    }
    free(path);
    if (err != OTA_OK) {
        free_store(made);
        return err;
    }
    *store = made;
    return OTA_OK;
}

enum ota_err ota_store_open(const struct ota_store_config *config, struct ota_store **store,
                            struct ota_error *error)
{
    return ota_store_open_with(config, ota_migrations, ota_migration_count, store, error);
}

struct ota_opening ota_store_opening(const struct ota_store *store)
{
    return store->opening;
}

void ota_store_close(struct ota_store *store)
{
    if (store == NULL) {
        return;
    }
    ota_store_rollback(store);
    ota_checkpoint_stop(store->checkpoint);
    store->checkpoint = NULL;
    /* A failure loses nothing: the WAL stays, and the next opening reads it. */
    (void)sqlite3_wal_checkpoint_v2(store->conn.db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    free_store(store);
}

enum ota_err ota_store_meta(struct ota_store *store, struct ota_meta *meta, struct ota_error *error)
{
    struct ota_meta found = {0};
    int64_t version = 0;
    enum ota_err err = ota_conn_int(&store->conn, "PRAGMA user_version", &version, error);
    if (err != OTA_OK) {
        return err;
    }
    found.schema_version = (int)version;
    struct ota_query query;
    ota_query_begin(&query, &store->conn, OTA_TABLE_STORE, META_GET, error);
    bool row = ota_query_row(&query);
    if (row) {
        found.service_ms = ota_next_int(&query);
        ota_next_blob(&query, found.url_key, sizeof found.url_key);
    }
    err = ota_query_end_found(&query, row);
    if (err == OTA_OK) {
        *meta = found;
    }
    return err;
}

enum ota_err ota_store_set_service_ms(struct ota_store *store, int64_t service_ms,
                                      struct ota_error *error)
{
    struct ota_query query;
    ota_query_begin(&query, &store->conn, OTA_TABLE_STORE, META_SET_SERVICE, error);
    ota_bind_int(&query, ":service_ms", service_ms);
    return ota_query_write_row(&query);
}

bool ota_store_is_pressed(struct ota_store *store)
{
    return ota_checkpoint_is_behind(store->checkpoint);
}

void ota_store_stats(struct ota_store *store, struct ota_store_stats *stats)
{
    char path[4096];
    struct stat file;
    ota_checkpoint_stats(store->checkpoint, stats);
    (void)snprintf(path, sizeof path, "%s-wal", store->conn.path);
    stats->wal_bytes = stat(path, &file) == 0 ? (int64_t)file.st_size : 0;
}

int64_t ota_store_bytes(struct ota_store *store)
{
    struct stat file;
    return stat(store->conn.path, &file) == 0 ? (int64_t)file.st_size : -1;
}

static enum ota_err run(struct ota_conn *conn, int which, struct ota_error *error)
{
    struct ota_query query;
    ota_query_begin(&query, conn, OTA_TABLE_STORE, which, error);
    (void)ota_query_row(&query);
    return ota_query_end(&query);
}

enum ota_err ota_store_begin(struct ota_store *store, struct ota_error *error)
{
    return run(&store->conn, BEGIN, error);
}

enum ota_err ota_store_commit(struct ota_store *store, struct ota_error *error)
{
    return run(&store->conn, COMMIT, error);
}

void ota_conn_rollback(struct ota_conn *conn)
{
    conn->rollback_due = false;
    /* SQLite itself has rolled back after some failures. Without any memory even this fails: then
     * it comes before whatever is done next. */
    conn->rollback_due =
        sqlite3_get_autocommit(conn->db) == 0 && run(conn, ROLLBACK, NULL) != OTA_OK;
}

void ota_store_rollback(struct ota_store *store)
{
    ota_conn_rollback(&store->conn);
}
