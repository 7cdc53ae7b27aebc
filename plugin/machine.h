/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what the machine around the service looks like: who else can reach its files, how much
 *       room is left on the database's disk.
 * Thread: the broker's, at load and on SIGHUP; the disk's room at any time: one quick call.
 * Frees: the caller owns the array.
 */
#ifndef OTA_MACHINE_H
#define OTA_MACHINE_H

#include <jansson.h>
#include <stdint.h>

#include "options.h"

/* Sentences about files and folders of the options that others on this machine can read or change,
 * but should not. A new array, NULL where memory is out. */
json_t *ota_machine_warnings(const struct ota_options *options);

/* Bytes that are free for the broker's user where that file is, and those of the whole disk; -1
 * where the system doesn't tell, or path is NULL. */
void ota_machine_disk(const char *path, int64_t *free_bytes, int64_t *all_bytes);

#endif
