/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what somebody may have meant.
 * Thread: main; pure functions over constant tables.
 * Frees: nothing.
 */
#ifndef OTA_CLI_SUGGEST_H
#define OTA_CLI_SUGGEST_H

#include <stdbool.h>
#include <stddef.h>

/* Whether candidate looks more like what was typed than best does, or, best being NULL, enough. */
bool ota_suggest_is_nearer(const char *typed, const char *candidate, const char *best);

/* The verb nearest to these one or two words. False: none is near. */
bool ota_suggest_verb(const char *first, const char *second, char *out, size_t size);

/* The option nearest to it, dashes included. */
bool ota_suggest_option(const char *option, char *out, size_t size);

/* All verbs of a noun, with commas between. False: no such noun. */
bool ota_suggest_noun(const char *noun, char *out, size_t size);

#endif
