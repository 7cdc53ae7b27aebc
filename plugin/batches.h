/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what admins ask for: batches are made, started, steered, changed, retried.
 * Thread: the broker's.
 * Frees: nothing of the caller's.
 */
#ifndef OTA_BATCHES_H
#define OTA_BATCHES_H

#include "batch.h"
#include "core.h"

#define OTA_BATCHES_LIVE_MAX 1000

/* What the row of a batch is that starts now, or at its startAt. */
void ota_batches_set_off(struct ota_batch_row *row);

/* --- what admins ask for, in an open transaction ------------------------------------------- */

/* Fills row->id; takes target over. */
OTA_CHECKED enum ota_err ota_batches_create(struct ota_core *core, struct ota_batch_row *row,
                                            struct ota_target *target,
                                            const struct ota_stage *stages, size_t stage_count,
                                            struct ota_error *error);
OTA_CHECKED enum ota_err ota_batches_start(struct ota_core *core, struct ota_batch *batch,
                                           struct ota_error *error);
/* Takes what updateBatch may change (name, limits, expiry) over from `row`. */
OTA_CHECKED enum ota_err ota_batches_update(struct ota_core *core, struct ota_batch *batch,
                                            const struct ota_batch_row *row,
                                            struct ota_error *error);
OTA_CHECKED enum ota_err ota_batches_pause(struct ota_core *core, struct ota_batch *batch,
                                           struct ota_error *error);
OTA_CHECKED enum ota_err ota_batches_resume(struct ota_core *core, struct ota_batch *batch,
                                            struct ota_error *error);
OTA_CHECKED enum ota_err ota_batches_advance(struct ota_core *core, struct ota_batch *batch,
                                             struct ota_error *error);
OTA_CHECKED enum ota_err ota_batches_cancel(struct ota_core *core, struct ota_batch *batch,
                                            bool with_running, struct ota_error *error);
OTA_CHECKED enum ota_err ota_batches_retry(struct ota_core *core, struct ota_batch *batch,
                                           struct ota_error *error);
/* One task of the batch is about to be tried again: a finished batch runs again. */
OTA_CHECKED enum ota_err ota_batches_revive(struct ota_core *core, struct ota_batch *batch,
                                            struct ota_error *error);

#endif
