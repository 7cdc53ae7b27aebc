/* SPDX-License-Identifier: BSD-3-Clause */
#include "new_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* NULL: memory is out. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return strdup(".");
    }
    return strndup(path, slash > path ? (size_t)(slash - path) : 1);
}

bool ota_new_file_sync_folder(const char *path)
{
    char *folder = folder_of(path);
    int fd = folder != NULL ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    bool synced = fd >= 0 && fsync(fd) == 0;
    int reason = errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    free(folder);
    errno = reason;
    return synced;
}

/* Some network file systems don't have the first way, some cards' not the second. */
static int give_name(const char *part, const char *path)
{
    if (renameat2(AT_FDCWD, part, AT_FDCWD, path, RENAME_NOREPLACE) == 0) {
        return 0;
    }
    return (errno == EINVAL || errno == ENOSYS) && link(part, path) == 0 ? unlink(part) : -1;
}

bool ota_new_file_publish(int fd, const char *part, const char *path)
{
    if (fsync(fd) != 0 || give_name(part, path) != 0) {
        return false;
    }
    if (!ota_new_file_sync_folder(path)) {
        int reason = errno;
        (void)unlink(path);
        errno = reason;
        return false;
    }
    return true;
}
