/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: how often something took how long. Plain numbers: one thread.
 * Thread: the caller's.
 * Frees: nothing.
 */
#ifndef OTA_UTIL_HISTOGRAM_H
#define OTA_UTIL_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

/* Upper ends in microseconds; one bucket more is for what is beyond. */
#define OTA_HISTOGRAM_ENDS                                                                         \
    {                                                                                              \
        50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 100000                                  \
    }
#define OTA_HISTOGRAM_COUNT 10

struct ota_histogram {
    uint64_t counts[OTA_HISTOGRAM_COUNT + 1];
    uint64_t sum_us;
};

static inline void ota_histogram_add(struct ota_histogram *histogram, int64_t us)
{
    static const int64_t ends[OTA_HISTOGRAM_COUNT] = OTA_HISTOGRAM_ENDS;
    size_t i = 0;
    while (i < OTA_HISTOGRAM_COUNT && us > ends[i]) {
        i++;
    }
    histogram->counts[i]++;
    histogram->sum_us += (uint64_t)us;
}

#endif
