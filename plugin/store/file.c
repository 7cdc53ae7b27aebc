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
static enum ota_err create_missing(const char *path, struct ota_error *error)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    if (fd < 0) {
        return errno == EEXIST ? OTA_OK : explain_missing(path, errno, error);
    }
    (void)close(fd);
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

static void write_holder(int fd)
{
    char text[16];
    int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    /* Only ever read to be told to people: a failure changes nothing. */
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)len, 0) != len) {
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
    write_holder(fd);
    *lock_fd = fd;
    fd = -1;
out:
    if (fd >= 0) {
        (void)close(fd);
    }
    free(name);
    return err;
}

/* SQLite would throw such a WAL away, and with it all that somebody may still want to save. */
static enum ota_err check_wal(const char *path, struct ota_error *error)
{
    struct stat file;
    struct stat wal;
    char *name = beside(path, "-wal");
    if (name == NULL) {
        return ota_error_set(error, OTA_UNAVAILABLE, NULL, "memory is out");
    }
    enum ota_err err = OTA_OK;
    if (stat(path, &file) == 0 && file.st_size == 0 && stat(name, &wal) == 0 && wal.st_size > 0) {
        err = ota_error_set(error, OTA_INTERNAL, "db_path",
                            "restore %s from a backup: it is missing or empty, but %s isn't (to "
                            "start anew, move that away)",
                            path, name);
    }
    free(name);
    return err;
}

enum ota_err ota_file_claim(const char *path, char **resolved, int *lock_fd,
                            struct ota_error *error)
{
    int fd = -1;
    char *real = NULL;
    enum ota_err err = create_missing(path, error);
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
    err = check_wal(real, error);
    if (err != OTA_OK) {
        goto out;
    }
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
