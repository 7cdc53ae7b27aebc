/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: whether a message on a block topic holds what we would have sent there: by its bytes.
 * Thread: the broker's.
 * Frees: nothing.
 */
#ifndef OTA_BLOCK_CHECK_H
#define OTA_BLOCK_CHECK_H

#include "core.h"

/* rest: the topic behind product and device, "/{task}/{offset}". True where these are the bytes at
 * that offset of the firmware that this task of the device is or was about; false, too, where the
 * database or memory fails. Reads a task and one or two rows of 256 KiB for each message. */
bool ota_block_is_genuine(struct ota_core *core, const struct ota_device *device, const char *rest,
                          const void *bytes, size_t len);

#endif
