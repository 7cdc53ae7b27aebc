/* SPDX-License-Identifier: BSD-3-Clause */
/* The seam's clocks, as the machine has them: for the plugin, and for bench/ without a broker. */
#include <time.h>

#include "broker.h"

static int64_t read_clock(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t ota_now_mono(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t ota_now_coarse(void)
{
    return read_clock(CLOCK_MONOTONIC_COARSE);
}

int64_t ota_now_unix(void)
{
    return read_clock(CLOCK_REALTIME);
}

int64_t ota_now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
