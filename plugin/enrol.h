/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: whether a device gets a task from a batch: does it match, what excludes it; and its task.
 * Thread: the broker's.
 * Frees: nothing.
 */
#ifndef OTA_ENROL_H
#define OTA_ENROL_H

#include "batch.h"
#include "core.h"
#include "task_make.h"

/* Whether the device is one of the target's; its list of names is the caller's matter. */
OTA_CHECKED enum ota_err ota_enrol_matches(struct ota_core *core, const struct ota_batch *batch,
                                           const struct ota_device *device, bool *match,
                                           struct ota_error *error);
/* Why the device, which matches, gets no task; OTA_EXCLUSION_COUNT: it gets one. */
enum ota_exclusion ota_enrol_exclusion(const struct ota_core *core, const struct ota_batch *batch,
                                       const struct ota_device *device,
                                       const struct ota_firmware *firmware);
/* Whether the target is older than what the device runs; a version never uploaded has no order. */
bool ota_enrol_is_downgrade(const struct ota_core *core, const struct ota_device *device,
                            const struct ota_firmware *target);

/* What the batch's tasks are made of; the device is left open. */
struct ota_task_order ota_enrol_order(const struct ota_batch *batch, struct ota_firmware *firmware);
/* One task, in the open transaction; an unfinished one of the device is cancelled for it. */
OTA_CHECKED enum ota_err ota_enrol_make(struct ota_core *core, const struct ota_batch *batch,
                                        struct ota_device *device, struct ota_firmware *firmware,
                                        struct ota_error *error);

#endif
