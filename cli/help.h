/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what --help says, made from the tables of commands and settings.
 * Thread: main.
 * Frees: nothing.
 */
#ifndef OTA_CLI_HELP_H
#define OTA_CLI_HELP_H

#include "verb.h"

void ota_help_overview(void);
void ota_help_verb(const struct ota_verb *verb);

/* All verbs of a noun; false: there is no such noun. */
bool ota_help_noun(const char *noun);

/* The table itself, for scripts and tests. */
void ota_help_list(bool json);

#endif
