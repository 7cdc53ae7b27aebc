/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what everybody on this machine may do with a file.
 * Thread: any.
 * Frees: nothing.
 */
#ifndef OTA_OTHERS_H
#define OTA_OTHERS_H

#include <stdbool.h>
#include <stddef.h>

#define OTA_OTHERS_READ  04U
#define OTA_OTHERS_WRITE 02U

/* Whether others can do one of that with the file, and get there at all; mode is the file's. */
bool ota_others_can(const char *path, unsigned what, unsigned *mode);

/* The folder that the file is in: "/", "." */
void ota_others_folder(const char *path, char *out, size_t size);

/* "write to", "read" */
const char *ota_others_verb(unsigned what, unsigned mode);

#endif
