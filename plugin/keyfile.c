/* SPDX-License-Identifier: BSD-3-Clause */
#include "keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/new_file.h"

#define NAME "secret_keyfile"

static enum ota_err fail(const char *path, const char *why, struct ota_error *error)
{
    return ota_error_set(error, OTA_INVALID_REQUEST, NAME, "plugin_opt_" NAME " %.120s: %s", path,
                         why);
}

static enum ota_err check(int fd, const char *path, struct ota_error *error)
{
    struct stat file;
    if (fstat(fd, &file) != 0) {
        return fail(path, strerror(errno), error);
    }
    if (!S_ISREG(file.st_mode) || file.st_size != OTA_KEYFILE_SIZE) {
        return fail(path, "must be a file of 32 random bytes, as head -c 32 /dev/urandom gives",
                    error);
    }
    if ((file.st_mode & 077) != 0) {
        return fail(path, "others than the broker's user can get at it: chmod 600", error);
    }
    return OTA_OK;
}

enum ota_err ota_keyfile_read(const char *path, unsigned char *key, struct ota_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return errno == ENOENT ? OTA_NOT_FOUND : fail(path, strerror(errno), error);
    }
    enum ota_err err = check(fd, path, error);
    if (err == OTA_OK && read(fd, key, OTA_KEYFILE_SIZE) != OTA_KEYFILE_SIZE) {
        err = fail(path, "can't be read", error);
    }
    (void)close(fd);
    return err;
}

static enum ota_err fail_make(const char *path, struct ota_error *error)
{
    return ota_error_set(error, OTA_INVALID_REQUEST, NAME,
                         "plugin_opt_" NAME " %.80s isn't there and can't be made here (%s): "
                         "head -c 32 /dev/urandom > FILE, chmod 600, and chown it to the "
                         "broker's user",
                         path, strerror(errno));
}

static enum ota_err write_part(int fd, const char *part, const char *path, const unsigned char *key,
                               struct ota_error *error)
{
    if (write(fd, key, OTA_KEYFILE_SIZE) != OTA_KEYFILE_SIZE) {
        return fail(path, "can't be written: is the disk full?", error);
    }
    return ota_new_file_publish(fd, part, path) ? OTA_OK : fail_make(path, error);
}

/* A broker that dies in the middle leaves no file of that name that the next start would refuse. */
enum ota_err ota_keyfile_make(const char *path, unsigned char *key, struct ota_error *error)
{
    char *part = NULL;
    if (getrandom(key, OTA_KEYFILE_SIZE, 0) != OTA_KEYFILE_SIZE) {
        return fail(path, "the system gives no random bytes", error);
    }
    if (asprintf(&part, "%s.XXXXXX", path) < 0) {
        return ota_error_no_memory(error);
    }
    int fd = mkostemp(part, O_CLOEXEC);
    enum ota_err err = fd >= 0 ? write_part(fd, part, path, key, error) : fail_make(path, error);
    if (fd >= 0) {
        (void)close(fd); /* it is synced */
    }
    if (fd >= 0 && err != OTA_OK) {
        (void)unlink(part);
    }
    free(part);
    return err;
}
