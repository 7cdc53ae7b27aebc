/* SPDX-License-Identifier: BSD-3-Clause */
#include "pace.h"

#include <string.h>

#define WINDOW_MS  60000
#define SPACING_MS 1000
/* Over less time a rate is chance. */
#define LEAST_MS   3000

static void drop_first(struct ota_pace *pace)
{
    pace->count--;
    memmove(pace->samples, pace->samples + 1, pace->count * sizeof pace->samples[0]);
}

void ota_pace_note(struct ota_pace *pace, int64_t now_ms, int64_t count)
{
    if (pace->count > 0 && count < pace->samples[pace->count - 1].count) {
        pace->count = 0;
    }
    /* The newest one moves along until it is a second behind the one before. */
    if (pace->count > 1 && now_ms - pace->samples[pace->count - 2].at_ms < SPACING_MS) {
        pace->count--;
    }
    while (pace->count == OTA_PACE_SAMPLES ||
           (pace->count > 1 && now_ms - pace->samples[1].at_ms >= WINDOW_MS)) {
        drop_first(pace);
    }
    pace->samples[pace->count].at_ms = now_ms;
    pace->samples[pace->count].count = count;
    pace->count++;
}

double ota_pace_per_minute(const struct ota_pace *pace)
{
    if (pace->count < 2) {
        return -1;
    }
    int64_t spent = pace->samples[pace->count - 1].at_ms - pace->samples[0].at_ms;
    int64_t grown = pace->samples[pace->count - 1].count - pace->samples[0].count;
    return spent >= LEAST_MS ? (double)grown * 60000.0 / (double)spent : -1;
}
