/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: batches in memory: what they were made with, their stages and tallies, the queue of those
 *       who could be told now, who has still to prove a success.
 * Thread: the broker's.
 * Frees: ota_fleet_remove_batch; ota_fleet_free frees all.
 *
 * A batch is over when it is cancelled or finished; it is settled (row.tallied) when, besides,
 * every task has ended and the tallies are stored. The others are live.
 */
#ifndef OTA_BATCH_H
#define OTA_BATCH_H

#include "fleet.h"
#include "heap.h"
#include "rollout.h"
#include "target.h"

struct ota_batch {
    struct ota_batch_row row;
    struct ota_target target;
    struct ota_product *product;
    struct ota_stage *stages;
    size_t stage_count;
    struct ota_batch *next_live;
    struct ota_task *tasks;      /* unfinished ones */
    struct ota_task *sweep_next; /* the one that a cancel or an expiry looks at next */
    struct ota_heap queue;       /* waiting ones that could be told now, by ota_batch_rank */
    struct ota_unproven *oldest; /* succeeded ones that may still be confirmed in time */
    struct ota_unproven *newest;
    struct ota_index unproven;   /* the same by task */
    int64_t overdue_to;          /* service time: successes that had until then are overdue */
    struct ota_members *members; /* of a batch with stages, while it is prepared */
    size_t ends_known;           /* stages whose end was found so far */
    size_t placed;               /* members counted in their stage so far, of devices up to */
    uint32_t placed_to;
    bool unnamed;        /* its list of names is gone, or there was none */
    int64_t aside_until; /* monotonic ms: it could not be written, though others can */
    bool all_looked_at;  /* no device is left to be looked at */
    bool placing;        /* stage ends are known, placed_to counts */
    bool reviving;       /* settled before; tasks beyond retried_to are never overdue */
};

/* --- in the fleet --------------------------------------------------------------------------- */

/* Copies row and stages, takes target over; NULL where memory is out or its product unknown. */
struct ota_batch *ota_fleet_add_batch(struct ota_fleet *fleet, const struct ota_batch_row *row,
                                      struct ota_target *target, const struct ota_stage *stages,
                                      size_t stage_count);
bool ota_batch_add_stage(struct ota_batch *batch, const struct ota_stage *stage);
struct ota_batch *ota_fleet_batch(const struct ota_fleet *fleet, int64_t id);
void ota_fleet_remove_batch(struct ota_fleet *fleet, struct ota_batch *batch);
/* After its row changed: puts it into the list of live ones or takes it out. */
void ota_fleet_list_batch(struct ota_fleet *fleet, struct ota_batch *batch);
/* The first of the live ones becomes the last. */
void ota_fleet_turn_batches(struct ota_fleet *fleet);
/* One more (1) that names its firmware, which can't be deleted then; -1: it is over. */
void ota_fleet_count_batch(struct ota_fleet *fleet, const struct ota_batch *batch, int change);
void ota_fleet_free_batches(struct ota_fleet *fleet);

static inline bool ota_batch_is_over(const struct ota_batch *batch)
{
    return batch->row.state >= OTA_BATCH_CANCELLED;
}

/* Its time was over, and that is written: what was never noticed ends. */
static inline bool ota_batch_is_expired(const struct ota_batch *batch)
{
    return batch->row.reason == OTA_REASON_EXPIRED;
}

/* Its time is over, though nobody has written that yet. */
static inline bool ota_batch_has_to_expire(const struct ota_batch *batch, int64_t unix_now)
{
    return !ota_batch_is_expired(batch) && batch->row.expire_at != 0 &&
           unix_now >= batch->row.expire_at;
}

/* --- order ---------------------------------------------------------------------------------- */

/* The same order in a heap's signed numbers. */
static inline int64_t ota_batch_rank(uint64_t key)
{
    return (int64_t)(key ^ (UINT64_C(1) << 63));
}

/* The stage that counts the device's task. */
size_t ota_batch_stage_of(const struct ota_batch *batch, uint32_t device_id);

/* The first that may be told now, stages considered, or NULL. */
struct ota_task *ota_batch_next(const struct ota_batch *batch);

/* --- who is in it --------------------------------------------------------------------------- */

void ota_batch_link(struct ota_task *task);
void ota_batch_unlink(struct ota_task *task);

/* --- tallies -------------------------------------------------------------------------------- */

/* A task as the tally sees it. */
struct ota_counted {
    int64_t task_id;
    uint32_t device_id;
    bool online;
    const struct ota_upgrade *up;
};

static inline struct ota_counted ota_batch_counted(const struct ota_task *task,
                                                   const struct ota_upgrade *up)
{
    return (struct ota_counted){.task_id = task->id,
                                .device_id = task->device->id,
                                .online = task->device->conn != NULL,
                                .up = up};
}

/* The task moved; before or after is NULL where it came or went. */
void ota_batch_count(struct ota_batch *batch, const struct ota_counted *before,
                     const struct ota_counted *after);
/* The device of a waiting task came (+1) or went (-1). */
void ota_batch_count_online(struct ota_batch *batch, uint32_t device_id, int change);
/* What the stage's tally will be after that. */
struct ota_tally ota_batch_tally_after(const struct ota_batch *batch,
                                       const struct ota_counted *before,
                                       const struct ota_counted *after);
/* Moves the task's part of the tally from where it was counted while the batch was prepared. */
void ota_batch_place(struct ota_batch *batch, const struct ota_counted *counted);

/* Successes whose time to be confirmed is over. */
void ota_batch_let_overdue(struct ota_batch *batch, int64_t service_now);
/* Of a batch that was settled and runs again: an unproved success is waited for again. */
void ota_batch_recount(struct ota_batch *batch, const struct ota_counted *counted);
void ota_batch_forget_unproven(struct ota_batch *batch);

/* All stages together. */
struct ota_tally ota_batch_tally(const struct ota_batch *batch);
struct ota_rollout ota_batch_rollout(const struct ota_batch *batch);

/* Up to now, where it runs. Without a rate that only says up to when it is filled. */
void ota_batch_fill_bucket(struct ota_batch_row *row, int64_t service_now);

/* --- rules that a task asks for -------------------------------------------------------------- */

/* Whether the waiting task is to be ended because of its batch; *expired: by expiry. */
bool ota_batch_ends(const struct ota_task *task, bool *expired);

#endif
