/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: secret_keyfile: 32 random bytes that only the broker's user can read.
 * Thread: the broker's, at load.
 * Frees: nothing.
 */
#ifndef OTA_KEYFILE_H
#define OTA_KEYFILE_H

#include "util/error.h"

#define OTA_KEYFILE_SIZE 32 /* bytes of a key */

/* OTA_NOT_FOUND (without a sentence) where there is no such file; OTA_INVALID_REQUEST where it is
 * none of 32 bytes, can't be read, or others than the broker's user can. */
OTA_CHECKED enum ota_err ota_keyfile_read(const char *path, unsigned char *key,
                                          struct ota_error *error);
/* Makes one that isn't there, mode 0600, and has it on the disk; else OTA_INVALID_REQUEST. */
OTA_CHECKED enum ota_err ota_keyfile_make(const char *path, unsigned char *key,
                                          struct ota_error *error);

#endif
