/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: secret_keyfile: 32 random bytes that only the broker's user can read.
 * Thread: the broker's, at load.
 * Frees: nothing.
 */
#ifndef OTA_KEYFILE_H
#define OTA_KEYFILE_H

#include "util/error.h"

#define OTA_KEYFILE_SIZE 32

/* OTA_NOT_FOUND (without a sentence) where there is no such file. */
OTA_CHECKED enum ota_err ota_keyfile_read(const char *path, unsigned char *key,
                                          struct ota_error *error);
/* Makes one that isn't there. */
OTA_CHECKED enum ota_err ota_keyfile_make(const char *path, unsigned char *key,
                                          struct ota_error *error);

#endif
