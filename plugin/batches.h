/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: every change of a batch's state: what admins ask for, and what its rules (rollout.h) make
 *       due at a tick. Written to the store, then to memory, then told to listeners.
 * Thread: the broker's.
 * Frees: nothing of the caller's.
 */
#ifndef OTA_BATCHES_H
#define OTA_BATCHES_H

#include "batch.h"
#include "core.h"

#define OTA_BATCHES_LIVE_MAX 1000

/* --- a change, made in an open transaction --------------------------------------------------- */

/* What a batch will be: a copy that is edited, then stored; memory follows at the commit. */
struct ota_batch_change {
    struct ota_batch *batch;
    struct ota_batch_row row;
    struct ota_stage *stages; /* tallies in it are looked at where row.tallied becomes true */
    bool stages_too;          /* they were edited */
};

/* NULL: no memory. Ends with ota_batches_store, or ota_batches_drop. */
struct ota_batch_change *ota_batches_change(struct ota_batch *batch);
/* Takes the change over, also on failure. */
OTA_CHECKED enum ota_err ota_batches_store(struct ota_core *core, struct ota_batch_change *change,
                                           struct ota_error *error);
void ota_batches_drop(struct ota_batch_change *change);
/* The change that the announced effect will make, or NULL: for an answer before the commit. */
struct ota_batch_change *ota_batches_change_of(const struct ota_effect *effect);

/* What the row of a batch is that starts now, or at its startAt. */
void ota_batches_set_off(struct ota_batch_row *row);

/* --- what admins ask for, in an open transaction -----------------------------------------------
 */

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

/* --- what is due --------------------------------------------------------------------------------
 */

/* One round over the live batches, until `end` (monotonic ms). */
enum ota_err ota_batches_tick(struct ota_core *core, int64_t end, struct ota_error *error);

/* Whether some batch has a first notice to send now. */
bool ota_batches_can_send(struct ota_core *core);
/* Sends first notices in the open transaction; each takes one of *tokens. */
OTA_CHECKED enum ota_err ota_batches_send(struct ota_core *core, double *tokens, int64_t end,
                                          struct ota_error *error);

#endif
