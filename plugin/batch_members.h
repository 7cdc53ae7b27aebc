/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: who is in a batch with stages while it is prepared, and where its stages end by their keys.
 * Thread: the broker's.
 * Frees: ota_batch_forget_members.
 */
#ifndef OTA_BATCH_MEMBERS_H
#define OTA_BATCH_MEMBERS_H

#include "batch.h"

/* The devices of a batch with stages, while their order isn't known. */
bool ota_batch_note_member(struct ota_batch *batch, uint32_t device_id);
/* Takes back all but the first `count`. */
void ota_batch_trim_members(struct ota_batch *batch, uint32_t count);
/* The device was deleted: it counts in no stage. Ends that were found are looked for again; where
 * members are counted in their stages already, it just isn't met. */
void ota_batch_drop_member(struct ota_batch *batch, uint32_t device_id);
uint32_t ota_batch_member_count(const struct ota_batch *batch);
/* By their ids; those that were read at a start come in the order of their tasks. */
void ota_batch_sort_members(struct ota_batch *batch);
/* The key of the member at the rank (from 1); a look at each member. False: no memory. */
bool ota_batch_key_at(const struct ota_batch *batch, uint32_t rank, uint64_t *key);
/* The members from the i-th on, in the order of their ids. */
const uint32_t *ota_batch_members(const struct ota_batch *batch, size_t i, size_t *count);
void ota_batch_forget_members(struct ota_batch *batch);

#endif
