/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the repository's rules: limits, formats, what may be deleted (control-api.md "Firmware").
 * Thread: the broker's.
 * Frees: nothing.
 */
#ifndef OTA_FIRMWARE_H
#define OTA_FIRMWARE_H

#include "core.h"
#include "uploads.h"

/* Bytes from the start of a file that tell an archive's format. */
#define OTA_MAGIC_BYTES 512

/* Whether a file that begins with these bytes may be called so: .gz, .zip and .tar have a magic
 * number, .bin is anything. */
bool ota_firmware_magic_fits(const char *filename, const unsigned char *bytes, size_t len);

/* Announces the file that row describes, or finds the user's same unfinished upload: fills row's
 * id, image and received. In an open transaction, as all below. */
OTA_CHECKED enum ota_err ota_firmware_announce(struct ota_core *core, struct ota_upload_row *row,
                                               struct ota_error *error);

/* The user's (NULL: anybody's) unfinished upload: whoever else asks is told that there is none. */
OTA_CHECKED enum ota_err ota_firmware_find_upload(struct ota_core *core, const char *user,
                                                  int64_t id, struct ota_upload_row *row,
                                                  struct ota_error *error);
/* Takes the next bytes of the user's upload; *next is the offset that is wanted then. OTA_AGAIN:
 * call again at the next tick. bytes is taken over and freed. */
OTA_CHECKED enum ota_err ota_firmware_take_block(struct ota_core *core, struct ota_uploads *uploads,
                                                 const struct ota_upload_row *row, int64_t offset,
                                                 unsigned char *bytes, size_t len, int64_t *next,
                                                 struct ota_error *error);

/* Checks the whole upload and makes it firmware; OTA_AGAIN as above. */
OTA_CHECKED enum ota_err ota_firmware_commit(struct ota_core *core, struct ota_uploads *uploads,
                                             const struct ota_upload_row *upload,
                                             struct ota_firmware_row *row, struct ota_error *error);

OTA_CHECKED enum ota_err ota_firmware_remove(struct ota_core *core, struct ota_firmware *firmware,
                                             struct ota_error *error);

#endif
