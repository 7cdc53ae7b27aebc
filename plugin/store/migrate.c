/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "../util/new_file.h"
#include "store_internal.h"

/* What a file says about itself. */
struct identity {
    int64_t application;
    int64_t version;
    int64_t tables;
};

static enum ota_err identify(const struct ota_conn *conn, struct identity *identity,
                             struct ota_error *error)
{
    struct identity found;
    enum ota_err err = ota_conn_int(conn, "PRAGMA application_id", &found.application, error);
    if (err == OTA_OK) {
        err = ota_conn_int(conn, "PRAGMA user_version", &found.version, error);
    }
    if (err == OTA_OK) {
        err = ota_conn_int(conn, "SELECT count(*) FROM sqlite_schema", &found.tables, error);
    }
    if (err == OTA_OK) {
        *identity = found;
    }
    return err;
}

static bool is_new(const struct identity *identity)
{
    return identity->application == 0 && identity->version == 0 && identity->tables == 0;
}

static enum ota_err refuse_foreign(const struct ota_conn *conn, const struct identity *identity,
                                   int last, struct ota_error *error)
{
    if (is_new(identity)) {
        return OTA_OK;
    }
    if (identity->application != OTA_APPLICATION_ID) {
        return ota_error_set(error, OTA_CONFLICT, "db_path",
                             "set db_path to another file: %s belongs to another program",
                             conn->path);
    }
    if (identity->version > last) {
        return ota_error_set(error, OTA_CONFLICT, "db_path",
                             "install the newer mosquitto-ota that wrote %s (schema %d, this one "
                             "knows %d), or restore the copy \"%s.v%d.bak\"",
                             conn->path, (int)identity->version, last, conn->path, last);
    }
    if (identity->version < 1) {
        return ota_error_set(error, OTA_INTERNAL, "db_path",
                             "restore %s from a backup: it has lost its version", conn->path);
    }
    return OTA_OK;
}

static enum ota_err fail_copy(const char *name, const char *reason, struct ota_error *error)
{
    return ota_error_set(error, OTA_UNAVAILABLE, "db_path",
                         "make room for the copy %s, without which nothing is migrated (%s)", name,
                         reason);
}

/* The copy is complete and on the disk before it gets its name. */
static enum ota_err finish_copy(int fd, const char *part, const char *name, struct ota_error *error)
{
    if (fsync(fd) != 0 || rename(part, name) != 0 || !ota_new_file_sync_folder(name)) {
        return fail_copy(name, strerror(errno), error);
    }
    return OTA_OK;
}

/* Copies the file to "<path>.v<version>.bak", over an older copy of that name. */
static enum ota_err copy_file(const struct ota_conn *conn, int version, struct ota_error *error)
{
    enum ota_err err = OTA_OK;
    char *name = NULL;
    char *part = NULL;
    int fd = -1;
    if (asprintf(&name, "%s.v%d.bak", conn->path, version) < 0) {
        name = NULL;
    }
    if (name == NULL || asprintf(&part, "%s.part", name) < 0) {
        part = NULL;
        err = ota_conn_fail(conn, SQLITE_NOMEM, error);
        goto out;
    }
    /* Created here for its mode; SQLite takes an empty file. */
    fd = open(part, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        err = fail_copy(name, strerror(errno), error);
        goto out;
    }
    if (ota_conn_vacuum_into(conn, part) != SQLITE_DONE) {
        err = fail_copy(part, sqlite3_errmsg(conn->db), error);
    }
    if (err == OTA_OK) {
        err = finish_copy(fd, part, name, error);
    }
    if (err != OTA_OK) {
        (void)unlink(part);
    }
out:
    if (fd >= 0) {
        (void)close(fd);
    }
    free(part);
    free(name);
    return err;
}

/* What a new file holds from its first transaction on. */
static enum ota_err fill_new(const struct ota_conn *conn, int64_t now, struct ota_error *error)
{
    unsigned char key[OTA_KEY_SIZE];
    if (getrandom(key, sizeof key, 0) != (ssize_t)sizeof key) {
        return ota_error_set(error, OTA_UNAVAILABLE, NULL, "the system gives no random bytes (%s)",
                             strerror(errno));
    }
    enum ota_err err = ota_conn_exec(conn, "PRAGMA application_id = 0x4F54416D", error);
    if (err != OTA_OK) {
        return err;
    }
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(conn->db,
                                "INSERT INTO meta (id, service_ms, url_key, created_at) "
                                "VALUES (1, 0, :key, :now)",
                                -1, &statement, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_blob(statement, 1, key, sizeof key, SQLITE_STATIC);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_int64(statement, 2, now);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(statement);
    }
    if (rc != SQLITE_DONE) {
        err = ota_conn_fail(conn, rc, error);
    }
    (void)sqlite3_finalize(statement);
    return err;
}

/* A migration may rebuild tables while references aren't enforced: they must hold at its end. */
static enum ota_err check_result(const struct ota_conn *conn, int version, struct ota_error *error)
{
    int64_t now_version = 0;
    int64_t dangling = 0;
    enum ota_err err = ota_conn_int(conn, "PRAGMA user_version", &now_version, error);
    if (err == OTA_OK) {
        err = ota_conn_int(conn, "SELECT count(*) FROM pragma_foreign_key_check", &dangling, error);
    }
    if (err == OTA_OK && (now_version != version || dangling != 0)) {
        err = ota_error_set(error, OTA_INTERNAL, NULL,
                            "it leaves version %d and %d dangling references", (int)now_version,
                            (int)dangling);
    }
    return err;
}

static enum ota_err run_one(const struct ota_conn *conn, const struct ota_migration *migration,
                            bool fresh, int64_t now, struct ota_error *error)
{
    enum ota_err err = ota_conn_exec(conn, "BEGIN IMMEDIATE", error);
    if (err != OTA_OK) {
        return err;
    }
    err = ota_conn_exec(conn, migration->sql, error);
    if (err == OTA_OK && fresh) {
        err = fill_new(conn, now, error);
    }
    if (err == OTA_OK) {
        err = check_result(conn, migration->version, error);
    }
    if (err == OTA_OK) {
        err = ota_conn_exec(conn, "COMMIT", error);
    }
    if (err != OTA_OK && sqlite3_get_autocommit(conn->db) == 0) {
        (void)sqlite3_exec(conn->db, "ROLLBACK", NULL, NULL, NULL);
    }
    return err;
}

enum ota_err ota_migrate(const struct ota_conn *conn, const struct ota_migration *migrations,
                         int count, int64_t now, struct ota_error *error)
{
    struct identity identity;
    enum ota_err err = identify(conn, &identity, error);
    if (err == OTA_OK) {
        err = refuse_foreign(conn, &identity, migrations[count - 1].version, error);
    }
    int from = err == OTA_OK ? (int)identity.version : 0;
    if (err == OTA_OK && from > 0 && from < migrations[count - 1].version) {
        err = copy_file(conn, from, error);
    }
    for (int i = 0; i < count && err == OTA_OK; i++) {
        if (migrations[i].version > from) {
            bool fresh = from == 0 && i == 0;
            err = run_one(conn, &migrations[i], fresh, now, error);
            if (err != OTA_OK) {
                ota_error_context(error, "migration %d", migrations[i].version);
            }
        }
    }
    return err;
}
