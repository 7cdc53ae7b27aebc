/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what "%p/%d" and "dev%05d" mean, and the numbers drawn from a seed.
 * Thread: any; pure functions.
 * Frees: nothing; the caller frees what it is given.
 */
#ifndef OTA_SIM_PATTERN_H
#define OTA_SIM_PATTERN_H

#include <stdbool.h>
#include <stdint.h>

#include "../plugin/util/error.h"

/* %p is the product, %d the device, %% a percent sign. */
enum ota_err ota_pattern_names(const char *pattern, const char *product, const char *device,
                               char **text, struct ota_error *error) OTA_CHECKED;

/* %d or %05d is the number. */
enum ota_err ota_pattern_number(const char *pattern, int64_t number, char **text,
                                struct ota_error *error) OTA_CHECKED;

bool ota_pattern_varies(const char *pattern);

/* Moves the state on; the same state gives the same number on every machine. */
uint64_t ota_random(uint64_t *state);

/* From low to high, both included. */
int64_t ota_random_between(uint64_t *state, int64_t low, int64_t high);

#endif
