/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: a change of a batch: a copy of its row and stages that is edited, written to the store in a
 *       transaction, and becomes memory at the commit; then listeners are told.
 * Thread: the broker's.
 * Frees: ota_batch_change_drop; storing takes the change over.
 */
#ifndef OTA_BATCH_CHANGE_H
#define OTA_BATCH_CHANGE_H

#include "batch.h"
#include "core.h"

struct ota_batch_change {
    struct ota_batch *batch;
    struct ota_batch_row row;
    struct ota_stage *stages; /* tallies in it are looked at where row.tallied becomes true */
    bool stages_too;          /* they were edited */
};

/* NULL: no memory. Ends with one of ota_batch_change_store, _commit, _drop. */
struct ota_batch_change *ota_batch_change_new(struct ota_batch *batch);
void ota_batch_change_drop(struct ota_batch_change *change);

/* In the open transaction. Takes the change over, also on failure; NULL: no memory. */
OTA_CHECKED enum ota_err ota_batch_change_store(struct ota_core *core,
                                                struct ota_batch_change *change,
                                                struct ota_error *error);
/* The same in a transaction of its own. */
OTA_CHECKED enum ota_err ota_batch_change_commit(struct ota_core *core,
                                                 struct ota_batch_change *change,
                                                 struct ota_error *error);
/* The change that the announced effect will make, or NULL: for an answer before the commit. */
struct ota_batch_change *ota_batch_change_of(const struct ota_effect *effect);

/* --- editing ---------------------------------------------------------------------------------- */

/* An expiry is remembered: it says why tasks were cancelled, and that none is added. */
void ota_batch_change_state(struct ota_batch_change *change, enum ota_batch_state state,
                            enum ota_batch_reason reason);
/* What the bucket earned until now is kept. */
void ota_batch_change_pause(const struct ota_core *core, struct ota_batch_change *change,
                            enum ota_batch_reason reason);
void ota_batch_change_open_next(struct ota_batch_change *change);

#endif
