/* SPDX-License-Identifier: BSD-3-Clause */
#include "assets.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define OTA_ASSET_PATH_MAX 255
#define OTA_ASSET_SIZE_MAX (8L << 20)

static const char index_page[] = "index.html";

/* Without the slash in front. */
static const char *name_of(const char *path)
{
    return path[0] != '/' ? path : path[1] == '\0' ? index_page : path + 1;
}

const struct ota_asset *ota_asset_find(const char *path)
{
    const char *name = name_of(path);

    for (size_t i = 0; i < ota_asset_count; i++) {
        if (strcmp(ota_assets[i].path, name) == 0) {
            return &ota_assets[i];
        }
    }
    return NULL;
}

const char *ota_asset_type(const char *path)
{
    static const struct {
        const char *ending;
        const char *type;
    } types[] = {
        {".html", "text/html; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".svg", "image/svg+xml"},
        {".png", "image/png"},
        {".webmanifest", "application/manifest+json"},
    };
    size_t len = strlen(name_of(path));

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        size_t ending = strlen(types[i].ending);
        if (len > ending && strcmp(name_of(path) + len - ending, types[i].ending) == 0) {
            return types[i].type;
        }
    }
    return NULL;
}

/* Whether "q=0", "q=0.000" and the like stand in the parameters. */
static bool is_unwanted(const char *parameters, size_t len)
{
    for (size_t i = 0; i + 2 < len; i++) {
        if (strncasecmp(parameters + i, "q=0", 3) == 0) {
            size_t zeros = strspn(parameters + i + 2, "0.");
            return i + 2 + zeros >= len || strchr("123456789", parameters[i + 2 + zeros]) == NULL;
        }
    }
    return false;
}

bool ota_asset_takes_gzip(const char *accept)
{
    while (accept != NULL && *accept != '\0') {
        accept += strspn(accept, ", \t");
        size_t len = strcspn(accept, ",");
        size_t name = strcspn(accept, ";, \t");
        if ((name == 4 && strncasecmp(accept, "gzip", 4) == 0) || (name == 1 && *accept == '*')) {
            return !is_unwanted(accept + name, len - name);
        }
        accept += len;
    }
    return false;
}

/* Each of its parts is visible and of plain characters. */
static bool is_plain_path(const char *name)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                  "._-";

    if (strlen(name) > OTA_ASSET_PATH_MAX) {
        return false;
    }
    for (;;) {
        size_t len = strspn(name, letters);
        if (len == 0 || name[0] == '.') {
            return false;
        }
        name += len;
        if (*name == '\0') {
            return true;
        }
        if (*name++ != '/') {
            return false;
        }
    }
}

static bool read_all(int fd, char **bytes, size_t *len)
{
    struct stat file;

    if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode) || file.st_size > OTA_ASSET_SIZE_MAX) {
        return false;
    }
    size_t size = (size_t)file.st_size;
    char *read_bytes = malloc(size + 1);
    if (read_bytes == NULL) {
        return false;
    }
    size_t used = 0;
    ssize_t n = 1;
    while (used < size && n > 0) {
        n = read(fd, read_bytes + used, size - used);
        used += n > 0 ? (size_t)n : 0;
    }
    *bytes = read_bytes;
    *len = used;
    return true;
}

bool ota_asset_read(const char *folder, const char *path, char **bytes, size_t *len)
{
    char whole[4096];
    const char *name = name_of(path);

    if (!is_plain_path(name) || ota_asset_type(path) == NULL ||
        snprintf(whole, sizeof whole, "%s/%s", folder, name) >= (int)sizeof whole) {
        return false;
    }
    int fd = open(whole, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return false;
    }
    bool done = read_all(fd, bytes, len);
    close(fd);
    return done;
}
