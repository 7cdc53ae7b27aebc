/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what is due in batches at a tick: schedule and expiry, the slices of preparing, ending and
 *       retrying their tasks, and what their rules (rollout.h) say.
 * Thread: the broker's.
 * Frees: nothing.
 */
#ifndef OTA_BATCH_TICK_H
#define OTA_BATCH_TICK_H

#include "core.h"

/* One round over the live batches, until `end` (monotonic ms). */
enum ota_err ota_batch_tick(struct ota_core *core, int64_t end, struct ota_error *error);

#endif
