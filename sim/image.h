/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what a device has of an image: a count and digests, and the file of --save. Not the bytes.
 * Thread: the loop's.
 * Frees: ota_image_drop(), which leaves it empty and usable.
 */
#ifndef OTA_SIM_IMAGE_H
#define OTA_SIM_IMAGE_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "../plugin/util/error.h"
#include "notice.h"

#define OTA_ETAG_MAX 128

struct ota_image {
    int64_t received;
    EVP_MD_CTX *md5, *sha256; /* NULL while there is no image */
    FILE *file;
    char version[OTA_VERSION_MAX + 1]; /* what it is of */
    char digest[65];
    char etag[OTA_ETAG_MAX + 1];
};

struct ota_image_digests {
    char md5[33], sha256[65];
};

/* Starts an empty one for the notice. save may be NULL. */
enum ota_err ota_image_start(struct ota_image *image, const struct ota_notice *notice,
                             const char *save, struct ota_error *error) OTA_CHECKED;
void ota_image_drop(struct ota_image *image);

/* Whether what is there belongs to the notice. by_version: as the vendor's SDK looks at it. */
bool ota_image_is_of(const struct ota_image *image, const struct ota_notice *notice,
                     bool by_version);

enum ota_err ota_image_add(struct ota_image *image, const void *data, size_t len,
                           struct ota_error *error) OTA_CHECKED;

/* In lower case. The image can't be added to afterwards. */
enum ota_err ota_image_finish(struct ota_image *image, struct ota_image_digests *digests,
                              struct ota_error *error) OTA_CHECKED;

#endif
