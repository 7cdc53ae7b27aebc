/* SPDX-License-Identifier: BSD-3-Clause */
#include "others.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define OTHERS_ENTER 01U

/* A folder above that nobody may enter hides all that is in it. */
static bool is_reachable(const char *path)
{
    char part[4096];
    struct stat folder;
    const char *slash = path[0] != '\0' ? strchr(path + 1, '/') : NULL;
    while (slash != NULL) {
        (void)snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
        if (stat(part, &folder) != 0 || (folder.st_mode & OTHERS_ENTER) == 0) {
            return false;
        }
        slash = strchr(slash + 1, '/');
    }
    return true;
}

bool ota_others_can(const char *path, unsigned what, unsigned *mode)
{
    struct stat file;
    if (stat(path, &file) != 0 || (file.st_mode & what) == 0 || !is_reachable(path)) {
        return false;
    }
    *mode = file.st_mode & 07777U;
    return true;
}

void ota_others_folder(const char *path, char *out, size_t size)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        (void)snprintf(out, size, ".");
    } else {
        (void)snprintf(out, size, "%.*s", slash > path ? (int)(slash - path) : 1, path);
    }
}

const char *ota_others_verb(unsigned what, unsigned mode)
{
    return (what & mode & OTA_OTHERS_WRITE) != 0 ? "write to" : "read";
}
