/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: which MQTT user has which role: options admins, operators, viewers, and roles_file.
 * Thread: the broker's.
 * Frees: ota_roles_free.
 */
#ifndef OTA_ROLES_H
#define OTA_ROLES_H

#include <stddef.h>

#include "util/error.h"
#include "util/words.h"

struct ota_roles {
    struct ota_role_entry *entries;
    size_t count;
};

/* Adds the comma-separated users. A user named twice has the highest of the roles. */
OTA_CHECKED enum ota_err ota_roles_add_list(struct ota_roles *roles, const char *users,
                                            enum ota_role role, struct ota_error *error);

/* Adds a file's `USER ROLE` lines ('#' begins a comment line); an error names the line. */
OTA_CHECKED enum ota_err ota_roles_add_file(struct ota_roles *roles, const char *path,
                                            struct ota_error *error);

/* user may be NULL (anonymous: no role). */
enum ota_role ota_roles_of(const struct ota_roles *roles, const char *user);

void ota_roles_free(struct ota_roles *roles);

#endif
