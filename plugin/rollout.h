/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the rules of a batch: where its stages end, what counts as success and failure, when the
 *       next stage opens, when it pauses, how fast it sends. Pure: no SQL, no broker, no clock of
 *       its own.
 * Thread: any.
 * Frees: nothing.
 *
 * Rules: control-api.md "Batches". Service times are milliseconds.
 */
#ifndef OTA_ROLLOUT_H
#define OTA_ROLLOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/stage.h"
#include "util/words.h"

/* --- order ---------------------------------------------------------------------------------- */

/* The device's place in the batch's order: a fair sample, the same after a restart, and no two
 * devices of a batch have the same. */
uint64_t ota_rollout_key(int64_t batch_id, uint32_t device_id);

/* --- outcomes ------------------------------------------------------------------------------- */

/* What a task adds to the tally of its stage: +1 or -1. */
struct ota_standing {
    enum ota_status status;
    enum ota_confirmation confirmation;
    bool online;
    bool overdue;
};

void ota_tally_add(struct ota_tally *tally, const struct ota_standing *standing, int change);

uint32_t ota_tally_total(const struct ota_tally *tally);
uint32_t ota_tally_successes(const struct ota_tally *tally, enum ota_gate gate);
uint32_t ota_tally_failures(const struct ota_tally *tally, enum ota_gate gate);
/* From the first notice of an attempt to its outcome, connected or not. */
uint32_t ota_tally_in_flight(const struct ota_tally *tally, enum ota_gate gate);
/* Tasks whose status isn't final. */
uint32_t ota_tally_unfinished(const struct ota_tally *tally);

/* --- what is due ---------------------------------------------------------------------------- */

enum ota_rollout_act {
    OTA_ROLLOUT_NOTHING,
    OTA_ROLLOUT_PAUSE_THRESHOLD,
    OTA_ROLLOUT_PAUSE_GATE,
    OTA_ROLLOUT_PASS,    /* enough of the last open stage succeeded: its soak time begins */
    OTA_ROLLOUT_UNPASS,  /* no longer enough */
    OTA_ROLLOUT_ADVANCE, /* the next stage is to open */
    OTA_ROLLOUT_FINISH
};

struct ota_rollout {
    enum ota_gate gate;
    bool continuous;
    int threshold_percent; /* 0: none */
    uint32_t threshold_min;
    /* What had come when an admin let it go on: counts from there. */
    uint32_t known_failures;
    uint32_t known_successes;
    const struct ota_stage *stages;
    size_t stage_count;
    size_t open; /* the first so many are open */
    bool running;
};

enum ota_rollout_act ota_rollout_next(const struct ota_rollout *rollout, int64_t service_now);

/* Failures and successes of the open stages. */
void ota_rollout_outcomes(const struct ota_rollout *rollout, uint32_t *failures,
                          uint32_t *successes);

/* Whether the last open stage has lost all its devices while others wait behind it: nobody proves
 * anything there, so only an admin opens the next one. */
bool ota_rollout_is_emptied(const struct ota_rollout *rollout);

/* How many must succeed in the stage for the next one to open. */
uint32_t ota_rollout_needed(const struct ota_stage *stage);

/* --- pace ----------------------------------------------------------------------------------- */

/* As the batch begins to run: one token. */
void ota_bucket_begin(struct ota_bucket *bucket, int64_t service_now);
/* Fills it up for the time since; rate is per minute. Not called while the batch is paused. Where a
 * token was wanted, what is earned until this look is kept. */
void ota_bucket_fill(struct ota_bucket *bucket, int64_t rate, int64_t service_now);
/* What the bucket of another rate can't hold is gone. */
void ota_bucket_fit(struct ota_bucket *bucket, int64_t rate);
/* Time that passes without filling. */
void ota_bucket_skip(struct ota_bucket *bucket, int64_t service_now);

#endif
