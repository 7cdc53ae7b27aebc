/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../util/new_file.h"
#include "store_internal.h"

/* It holds the database's keys. */
#define FILE_MODE 0600

/* What isn't whole yet has this name; one at a time in a directory, and the next one takes over
 * what a killed broker left. */
#define PART_NAME ".ota-backup.part"

/* While a copy is made the WAL can't start afresh: one that takes too long must not fill the disk.
 */
#define WAL_PAGES_MAX 262144 /* 1 GB */

/* Steps of SQLite's machine between two looks at `stop`: a fraction of a millisecond. */
#define LOOK_EVERY 2000

enum stop { GO_ON, STOP, STOP_WAL };

struct ota_backup {
    struct ota_store *store; /* for the broker's thread */
    struct ota_conn conn;    /* the thread's alone */
    char *dir;
    char *part;
    char *journal; /* of the part, while SQLite begins it */
    char *path;
    int fd; /* of the part, with a lock: -1 until it is ours */
    pthread_t thread;
    bool started;
    atomic_int stop;
    atomic_bool done; /* what follows is written before, and read after it is set */
    enum ota_err err;
    struct ota_error error;
    int64_t bytes;
};

/* Only by who holds the part's lock. */
static void remove_part(const struct ota_backup *backup)
{
    (void)unlink(backup->journal);
    (void)unlink(backup->part);
}

/* --- on its own thread ------------------------------------------------------------------------ */

/* sqlite3_interrupt would be lost where nothing runs yet, or nothing any more. */
static int is_stopped(void *data)
{
    const struct ota_backup *backup = data;
    return atomic_load(&backup->stop) != GO_ON;
}

static enum ota_err fail(struct ota_backup *backup, const char *reason)
{
    return ota_error_set(&backup->error, OTA_UNAVAILABLE, NULL,
                         "the backup %s can't be written: look at the disk and the permissions "
                         "there (%s)",
                         backup->path, reason);
}

static enum ota_err fail_full(struct ota_backup *backup)
{
    return ota_error_set(&backup->error, OTA_UNAVAILABLE, NULL,
                         "free some space on the disk of %s: it is full, so no backup was made",
                         backup->dir);
}

static enum ota_err fail_errno(struct ota_backup *backup, int reason)
{
    return reason == ENOSPC || reason == EDQUOT ? fail_full(backup)
                                                : fail(backup, strerror(reason));
}

static enum ota_err fail_stopped(struct ota_backup *backup)
{
    return atomic_load(&backup->stop) == STOP_WAL
               ? ota_error_set(&backup->error, OTA_UNAVAILABLE, NULL,
                               "the backup was given up: 1 GB was written to the database "
                               "meanwhile; try again when there is less to do, or with backup_dir "
                               "on a faster disk")
               : ota_error_set(&backup->error, OTA_UNAVAILABLE, NULL,
                               "the backup was given up: the broker stops");
}

static enum ota_err copy(struct ota_backup *backup)
{
    int rc = ota_conn_vacuum_into(&backup->conn, backup->part);
    switch (rc & 0xff) {
    case SQLITE_DONE:
        return OTA_OK;
    case SQLITE_INTERRUPT:
        return fail_stopped(backup);
    case SQLITE_FULL:
        return fail_full(backup);
    default:
        return fail(backup, sqlite3_errmsg(backup->conn.db));
    }
}

/* Complete and on the disk before it gets its name, which nothing else may have. */
static enum ota_err publish(struct ota_backup *backup)
{
    struct stat file;
    if (fstat(backup->fd, &file) != 0) {
        return fail_errno(backup, errno);
    }
    if (!ota_new_file_publish(backup->fd, backup->part, backup->path)) {
        return errno == EEXIST
                   ? ota_error_set(&backup->error, OTA_ALREADY_EXISTS, "name",
                                   "there is a file %s already: choose another name", backup->path)
                   : fail_errno(backup, errno);
    }
    backup->bytes = file.st_size;
    return OTA_OK;
}

static void *run(void *data)
{
    struct ota_backup *backup = data;
    sqlite3_progress_handler(backup->conn.db, LOOK_EVERY, is_stopped, backup);
    enum ota_err err = copy(backup);
    if (err == OTA_OK && is_stopped(backup)) {
        err = fail_stopped(backup);
    }
    if (err == OTA_OK) {
        err = publish(backup);
    }
    if (err != OTA_OK) {
        remove_part(backup);
    }
    ota_conn_close(&backup->conn);
    (void)close(backup->fd);
    backup->fd = -1;
    backup->err = err;
    atomic_store(&backup->done, true);
    return NULL;
}

/* --- on the broker's -------------------------------------------------------------------------- */

static enum ota_err explain_dir(const struct ota_backup *backup, int reason,
                                struct ota_error *error)
{
    if (reason == EMFILE || reason == ENFILE) {
        return ota_error_set(error, OTA_UNAVAILABLE, NULL,
                             "give the broker more file descriptors (LimitNOFILE=, ulimit -n): "
                             "there is none left for a backup");
    }
    return ota_error_set(error, OTA_UNAVAILABLE, NULL,
                         "let the broker's user write to backup_dir, %s (%s)", backup->dir,
                         strerror(reason));
}

/* Another broker that shares the directory may have finished its copy since we opened the file:
 * then what we have is that copy. */
static bool is_still_the_part(const struct ota_backup *backup, int fd)
{
    struct stat ours;
    struct stat named;
    return fstat(fd, &ours) == 0 && stat(backup->part, &named) == 0 &&
           ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
}

static enum ota_err claim_part(struct ota_backup *backup, struct ota_error *error)
{
    int fd = open(backup->part, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (fd < 0) {
        return explain_dir(backup, errno, error);
    }
    enum ota_err err = OTA_OK;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 || !is_still_the_part(backup, fd)) {
        err = ota_error_set(error, OTA_CONFLICT, NULL,
                            "another broker writes a backup to %s just now", backup->dir);
    } else if (fchmod(fd, FILE_MODE) != 0 || ftruncate(fd, 0) != 0) {
        err = explain_dir(backup, errno, error);
    }
    if (err != OTA_OK) {
        (void)close(fd);
        return err;
    }
    (void)unlink(backup->journal); /* of a killed broker's copy: SQLite would want to undo it */
    backup->fd = fd;
    return OTA_OK;
}

static enum ota_err prepare(struct ota_backup *backup, const char *dir, const char *name,
                            struct ota_error *error)
{
    struct stat file;
    backup->dir = strdup(dir);
    if (asprintf(&backup->path, "%s/%s", dir, name) < 0) {
        backup->path = NULL;
    }
    if (asprintf(&backup->part, "%s/" PART_NAME, dir) < 0) {
        backup->part = NULL;
    }
    if (asprintf(&backup->journal, "%s/" PART_NAME "-journal", dir) < 0) {
        backup->journal = NULL;
    }
    if (backup->dir == NULL || backup->path == NULL || backup->part == NULL ||
        backup->journal == NULL) {
        return ota_error_no_memory(error);
    }
    if (lstat(backup->path, &file) == 0) {
        return ota_error_set(error, OTA_ALREADY_EXISTS, "name",
                             "there is a file %s already: choose another name", backup->path);
    }
    return claim_part(backup, error);
}

static enum ota_err begin(struct ota_backup *backup, struct ota_error *error)
{
    enum ota_err err =
        ota_conn_open(&backup->conn, backup->store->conn.path, SQLITE_OPEN_READONLY, error);
    if (err == OTA_OK) {
        err = ota_conn_exec(&backup->conn,
                            "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON", error);
    }
    if (err == OTA_OK && ota_thread_start(&backup->thread, run, backup, "ota-backup") != 0) {
        err = ota_error_set(error, OTA_UNAVAILABLE, NULL, "the system gives no thread");
    }
    if (err == OTA_OK) {
        backup->started = true;
        ota_checkpoint_pin(backup->store->checkpoint, true);
    }
    return err;
}

enum ota_err ota_backup_start(struct ota_store *store, const char *dir, const char *name,
                              struct ota_backup **backup, struct ota_error *error)
{
    struct ota_backup *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return ota_error_no_memory(error);
    }
    made->store = store;
    made->fd = -1;
    enum ota_err err = prepare(made, dir, name, error);
    if (err == OTA_OK) {
        err = begin(made, error);
    }
    if (err != OTA_OK) {
        ota_backup_end(made);
        return err;
    }
    *backup = made;
    return OTA_OK;
}

enum ota_err ota_backup_poll(struct ota_backup *backup, struct ota_error *error)
{
    if (!atomic_load(&backup->done)) {
        if (ota_checkpoint_pages(backup->store->checkpoint) > WAL_PAGES_MAX) {
            int expected = GO_ON;
            (void)atomic_compare_exchange_strong(&backup->stop, &expected, STOP_WAL);
        }
        return OTA_AGAIN;
    }
    return backup->err == OTA_OK
               ? OTA_OK
               : ota_error_set(error, backup->err, backup->error.field, "%s", backup->error.text);
}

const char *ota_backup_path(const struct ota_backup *backup)
{
    return backup->path;
}

int64_t ota_backup_bytes(const struct ota_backup *backup)
{
    return atomic_load(&backup->done) ? backup->bytes : 0;
}

static void finish(struct ota_backup *backup)
{
    int expected = GO_ON;
    (void)atomic_compare_exchange_strong(&backup->stop, &expected, STOP);
    if (backup->started) {
        (void)pthread_join(backup->thread, NULL);
        ota_checkpoint_pin(backup->store->checkpoint, false);
    }
    if (backup->fd >= 0) { /* it never began */
        remove_part(backup);
        (void)close(backup->fd);
    }
}

static void free_backup(struct ota_backup *backup)
{
    ota_conn_close(&backup->conn);
    free(backup->dir);
    free(backup->part);
    free(backup->journal);
    free(backup->path);
    free(backup);
}

void ota_backup_end(struct ota_backup *backup)
{
    if (backup != NULL) {
        finish(backup);
        free_backup(backup);
    }
}

void ota_backup_drop(struct ota_backup *backup)
{
    if (backup == NULL) {
        return;
    }
    finish(backup);
    if (backup->started && backup->err == OTA_OK) {
        (void)unlink(backup->path);
    }
    free_backup(backup);
}
