/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store_internal.h"

/* Firmware that isn't public yet, and the key of the download URLs, are nobody else's business. */
#define FILE_MODE 0600

/* Where the file would lie, its last part or all of its directory is missing or closed to us. */
static enum ota_err explain_missing(const char *path, int reason, struct ota_error *error)
{
    if (reason == ENOENT || reason == ENOTDIR) {
        return ota_error_set(error, OTA_UNAVAILABLE, "db_path",
                             "create the directory of %s and let the broker's user write there, "
                             "or set db_path to another file",
                             path);
    }
    return ota_error_set(error, OTA_UNAVAILABLE, "db_path",
                         "let the broker's user write %s and its directory, or set db_path to "
                         "another file (%s)",
                         path, strerror(reason));
}

/* A file that exists is never opened here: closing it again would drop SQLite's own locks. */
static enum ota_err create_missing(const char *path, bool *created, struct ota_error *error)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    *created = fd >= 0;
    if (fd >= 0) {
        (void)close(fd);
        return OTA_OK;
    }
    if (errno != EEXIST) {
        return explain_missing(path, errno, error);
    }
    struct stat file;
    if (stat(path, &file) == 0 && !S_ISREG(file.st_mode)) {
        return ota_error_set(error, OTA_CONFLICT, "db_path",
                             "set db_path to a file: %s is something else", path);
    }
    return OTA_OK;
}

static char *beside(const char *path, const char *suffix)
{
    char *name = NULL;
    return asprintf(&name, "%s%s", path, suffix) < 0 ? NULL : name;
}

/* Tells who holds the lock, by the number that its holder wrote. */
static enum ota_err explain_held(int fd, const char *path, struct ota_error *error)
{
    char holder[16] = "";
    ssize_t len = pread(fd, holder, sizeof holder - 1, 0);
    holder[len > 0 ? len : 0] = '\0';
    return ota_error_set(error, OTA_UNAVAILABLE, "db_path",
                         "stop the other broker that uses %s (process %ld), or set db_path to "
                         "another file",
                         path, strtol(holder, NULL, 10));
}

void ota_file_hold(int lock_fd)
{
    char text[16];
    int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    /* Only ever read to be told to people: a failure changes nothing. */
    if (ftruncate(lock_fd, 0) != 0 || pwrite(lock_fd, text, (size_t)len, 0) != len) {
        return;
    }
}

static enum ota_err take_lock(const char *path, int *lock_fd, struct ota_error *error)
{
    enum ota_err err = OTA_OK;
    char *name = beside(path, ".lock");
    int fd = name != NULL ? open(name, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE) : -1;
    if (fd < 0) {
        err = explain_missing(name != NULL ? name : path, errno, error);
        goto out;
    }
    /* Goes with the process, however that ends. */
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        err = explain_held(fd, path, error);
        goto out;
    }
    *lock_fd = fd;
    fd = -1;
out:
    if (fd >= 0) {
        (void)close(fd);
    }
    free(name);
    return err;
}

static int64_t size_of(const char *path)
{
    struct stat file;
    return stat(path, &file) == 0 ? (int64_t)file.st_size : -1;
}

/* The size of what lies beside the file; -1 where nothing does. */
static int64_t size_beside(const char *path, const char *suffix)
{
    char *name = beside(path, suffix);
    int64_t size = name != NULL ? size_of(name) : -1;
    free(name);
    return size;
}

static bool wal_is_damaged(const char *path)
{
    char *name = beside(path, "-wal");
    bool damaged = name != NULL && ota_wal_is_damaged(name);
    free(name);
    return damaged;
}

/* Only under our lock: closing the file drops the locks of any other connection of this process. */
static bool has_header(const char *path)
{
    static const char magic[] = "SQLite format 3";
    char start[sizeof magic] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? pread(fd, start, sizeof start, 0) : -1;
    if (fd >= 0) {
        (void)close(fd);
    }
    return len == (ssize_t)sizeof start && memcmp(start, magic, sizeof magic) == 0;
}

/*
 * What SQLite would take for a new database, and so for a reason to start with nothing: a file
 * that lost its contents, though the lock says that it was a database or its WAL, which SQLite
 * would throw away, still has some; or one that lost its first page. (With a journal beside it
 * SQLite restores that page.)
 */
static enum ota_err check_contents(const char *path, bool created, struct ota_error *error)
{
    int64_t size = size_of(path);
    if (size == 0 && !created && size_beside(path, ".lock") > 0 && size_beside(path, "-wal") <= 0) {
        return ota_error_set(error, OTA_INTERNAL, "db_path",
                             "restore %s from a backup: it is empty, and was a database (to start "
                             "anew, delete it and %s.lock)",
                             path, path);
    }
    if (size == 0 && size_beside(path, "-wal") > 0) {
        return ota_error_set(error, OTA_INTERNAL, "db_path",
                             "restore %s from a backup: it is missing or empty, but its WAL isn't "
                             "(to start anew, move that away)",
                             path);
    }
    if (size > 0 && size_beside(path, "-journal") <= 0 && !has_header(path)) {
        return ota_error_set(error, OTA_INTERNAL, "db_path",
                             "restore %s from a backup, or set db_path to another file: it isn't "
                             "a SQLite database",
                             path);
    }
    return OTA_OK;
}

enum ota_err ota_file_claim(const char *path, char **resolved, int *lock_fd,
                            struct ota_opening *opening, struct ota_error *error)
{
    bool created = false;
    int fd = -1;
    char *real = NULL;
    enum ota_err err = create_missing(path, &created, error);
    if (err != OTA_OK) {
        goto out;
    }
    /* By its real name: the lock must hold for every link to the file. */
    real = realpath(path, NULL);
    if (real == NULL) {
        err = explain_missing(path, errno, error);
        goto out;
    }
    err = take_lock(real, &fd, error);
    if (err != OTA_OK) {
        goto out;
    }
    /* Where this opening fails, the next one finds an empty file that has lost nothing. */
    if (created && ftruncate(fd, 0) != 0) {
        err = explain_missing(real, errno, error);
        goto out;
    }
    err = check_contents(real, created, error);
    if (err != OTA_OK) {
        goto out;
    }
    opening->made = size_of(real) == 0;
    opening->wal_damaged = wal_is_damaged(real);
    *resolved = real;
    *lock_fd = fd;
    real = NULL;
    fd = -1;
out:
    if (fd >= 0) {
        (void)close(fd);
    }
    free(real);
    return err;
}
