/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: time that never steps back, and waiting.
 * Thread: main.
 * Frees: nothing.
 */
#ifndef OTA_CLI_CLOCK_H
#define OTA_CLI_CLOCK_H

#include <stdint.h>

/* Milliseconds of the monotonic clock. */
int64_t ota_clock_ms(void);

/* Shorter when a signal comes. */
void ota_clock_sleep(int64_t ms);

#endif
