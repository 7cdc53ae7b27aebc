/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: a list of device names of any length, from options and from a file, and on which line each
 *       of them stood.
 * Thread: main.
 * Frees: ota_roster_free() frees what a roster holds.
 */
#ifndef OTA_CLI_ROSTER_H
#define OTA_CLI_ROSTER_H

#include <jansson.h>

#include "failure.h"

struct ota_roster {
    json_t *names; /* array, each name once, in the order given */
    json_t *lines; /* line by name; 0: it came from an option */
    const char *file;
};

/* given: an array of names or NULL; path: a file, "-" for standard input, or NULL. A file has a
 * name a line; blank lines and what follows a # are left out. */
enum ota_exit ota_roster_read(const json_t *given, const char *path, struct ota_roster *roster,
                              struct ota_failure *failure) OTA_CHECKED;

/* Puts "names.txt, line 7: " in front of a refusal that is about one of these names. */
void ota_roster_locate(const struct ota_roster *roster, struct ota_failure *failure);

/* The names from `first` on, at most `count`, as a new array. */
json_t *ota_roster_piece(const struct ota_roster *roster, size_t first, size_t count) OTA_CHECKED;

void ota_roster_free(struct ota_roster *roster);

#endif
