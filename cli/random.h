/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: numbers that nobody else draws: request ids, client ids.
 * Thread: main.
 * Frees: nothing.
 */
#ifndef OTA_CLI_RANDOM_H
#define OTA_CLI_RANDOM_H

#include <stddef.h>

/* 2 * bytes (at most 32) lower-case hex digits of randomness, and a terminator. */
void ota_random_hex(char *out, size_t bytes);

#endif
