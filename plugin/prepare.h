/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: preparing a batch: looking for its devices and making their tasks, in slices; where its
 *       stages end; what a dry run tells.
 * Thread: the broker's.
 * Frees: nothing.
 */
#ifndef OTA_PREPARE_H
#define OTA_PREPARE_H

#include "batch.h"
#include "core.h"

/* Goes on preparing the batch until `end` (monotonic ms), in a transaction of its own. */
OTA_CHECKED enum ota_err ota_prepare_some(struct ota_core *core, struct ota_batch *batch,
                                          int64_t end, struct ota_error *error);

/* How far a dry run has come, and what it has counted. */
struct ota_dry_run {
    uint32_t looked_to; /* a device's id */
    uint32_t matched;   /* those that would get a task among them */
    uint32_t taken;
    uint32_t excluded[OTA_EXCLUSION_COUNT];
    bool done;
};

/* Looks at the product's devices until `end`; the batch is one that was never stored. */
OTA_CHECKED enum ota_err ota_prepare_dry_run(struct ota_core *core, const struct ota_batch *batch,
                                             struct ota_dry_run *run, int64_t end,
                                             struct ota_error *error);
/* The same for one device. */
OTA_CHECKED enum ota_err ota_prepare_dry_look(struct ota_core *core, const struct ota_batch *batch,
                                              struct ota_device *device, struct ota_dry_run *run,
                                              struct ota_error *error);

#endif
