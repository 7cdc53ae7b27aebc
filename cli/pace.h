/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: how fast a count has grown over the last minute.
 * Thread: main.
 * Frees: nothing; an ota_pace is a plain value.
 */
#ifndef OTA_CLI_PACE_H
#define OTA_CLI_PACE_H

#include <stddef.h>
#include <stdint.h>

#define OTA_PACE_SAMPLES 61

struct ota_pace {
    struct {
        int64_t at_ms;
        int64_t count;
    } samples[OTA_PACE_SAMPLES]; /* oldest first, at least a second apart */
    size_t count;
};

/* The count as it is now. One that fell (failed devices try again) begins anew. */
void ota_pace_note(struct ota_pace *pace, int64_t now_ms, int64_t count);

/* A minute; -1 while nobody knows. */
double ota_pace_per_minute(const struct ota_pace *pace);

#endif
