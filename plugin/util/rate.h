/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: a bucket of so many a second with bursts, in four bytes: the time at which it will be full
 *       again ("generic cell rate algorithm", ITU-T I.371).
 * Thread: any.
 * Frees: nothing.
 */
#ifndef OTA_UTIL_RATE_H
#define OTA_UTIL_RATE_H

#include <stdbool.h>
#include <stdint.h>

#define OTA_RATE_TICKS_A_SECOND 10000

struct ota_rate {
    uint32_t step;  /* what one takes, in ticks: so at most 10,000 a second */
    uint32_t burst; /* how many at once */
};

/* Takes one from the bucket whose state is *tat (0 at first); false where it is empty. now: ms of a
 * clock that never goes back. */
static inline bool ota_rate_take(const struct ota_rate *rate, uint32_t *tat, int64_t now)
{
    uint32_t at = (uint32_t)(now * (OTA_RATE_TICKS_A_SECOND / 1000));
    uint32_t most = rate->step * rate->burst;
    uint32_t ahead = *tat - at;
    if (ahead > most) { /* it was full long ago: the difference is below 0, and wrapped */
        ahead = 0;
    }
    if (ahead + rate->step > most) {
        return false;
    }
    *tat = at + ahead + rate->step;
    return true;
}

#endif
