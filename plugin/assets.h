/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the files of the console: compiled in, or out of a folder while somebody works on them.
 * Thread: any.
 * Frees: ota_asset_file_free.
 */
#ifndef OTA_ASSETS_H
#define OTA_ASSETS_H

#include <stdbool.h>
#include <stddef.h>

struct ota_asset {
    const char *path; /* "js/app.js" */
    const char *digest;
    const unsigned char *plain;
    size_t plain_len;
    const unsigned char *gzip;
    size_t gzip_len;
};

/* Written at build time from console/. */
extern const struct ota_asset ota_assets[];
extern const size_t ota_asset_count;

/* The asset that a URL's path names ("/js/app.js", "/"), or NULL. */
const struct ota_asset *ota_asset_find(const char *path);

/* By the path's ending; NULL: a file of that kind isn't served. */
const char *ota_asset_type(const char *path);

/* Whether an Accept-Encoding header (or NULL) takes gzip. */
bool ota_asset_takes_gzip(const char *accept);

/* The whole file that the path names in the folder, malloc; false where there is none to be served:
 * the path can't leave the folder, nor name what is hidden. */
bool ota_asset_read(const char *folder, const char *path, char **bytes, size_t *len);

#endif
