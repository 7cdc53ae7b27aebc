/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: continuous batches: devices that something happened to are looked at, and those that have
 *       come to match get a task from the newest batch that they match.
 * Thread: the broker's.
 * Frees: nothing.
 */
#ifndef OTA_CONTINUOUS_H
#define OTA_CONTINUOUS_H

#include "batch.h"
#include "core.h"

/* Looks at marked devices until `end` (monotonic ms), in a transaction of its own. */
OTA_CHECKED enum ota_err ota_continuous_look(struct ota_core *core, int64_t end,
                                             struct ota_error *error);

/* Whether a newer one takes the device that this one matches. */
OTA_CHECKED enum ota_err ota_continuous_newer_takes(struct ota_core *core,
                                                    const struct ota_batch *batch,
                                                    const struct ota_device *device, bool *taken,
                                                    struct ota_error *error);

#endif
