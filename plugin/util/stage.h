/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what a stage of a batch is: plain data that the store keeps and rollout.h judges; where
 *       stages end, for the plugin and the tools alike.
 * Thread: any.
 * Frees: nothing.
 */
#ifndef OTA_UTIL_STAGE_H
#define OTA_UTIL_STAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "words.h"

#define OTA_STAGES_MAX 20 /* of a batch */
#define OTA_KEY_LAST   UINT64_MAX

/* Tasks by where they stand. */
struct ota_tally {
    uint32_t by_status[OTA_STATUS_COUNT];
    uint32_t online; /* of the waiting ones: how many devices are connected */
    uint32_t confirmed;
    uint32_t contradicted;
    uint32_t overdue; /* succeeded, and not confirmed in time: a failure until it is */
};

struct ota_stage {
    double percent; /* cumulative; 0: by count */
    int64_t count;  /* cumulative; 0: by percent */
    int min_success_percent;
    int64_t soak_ms;
    bool manual; /* the one after it never opens by itself */
    enum ota_stage_state state;
    uint64_t end_key;  /* of its last device in the batch's order */
    int64_t opened_at; /* Unix ms; 0: never */
    int64_t passed_ms; /* service time at which enough had succeeded; 0: not yet */
    struct ota_tally tally;
};

/* The rank (from 1) of the last device of each stage, for `total` devices. */
void ota_stage_ends(const struct ota_stage *stages, size_t count, uint32_t total, uint32_t *ends);

/* A bucket of one second's worth of notices, at least one, starting with one. */
struct ota_bucket {
    double tokens;
    int64_t at;  /* service time at which it held them; 0: never used */
    bool wanted; /* somebody waited then for the next one; not stored */
};

#endif
