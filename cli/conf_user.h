/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: who the broker is on this machine, and what that user may do with a file.
 * Thread: main.
 * Frees: nothing.
 */
#ifndef OTA_CLI_CONF_USER_H
#define OTA_CLI_CONF_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define OTA_CONF_GROUPS 32

struct ota_conf_user {
    char name[64];
    bool known; /* such a user is on this machine; else files are tried as who asks */
    uid_t uid;
    gid_t groups[OTA_CONF_GROUPS];
    int group_count;
};

void ota_conf_user_find(const char *name, struct ota_conf_user *user);

/* Whether the user may do that (R_OK, W_OK, X_OK) with the file, all folders above it included;
 * else why says what is in the way. */
bool ota_conf_user_can(const struct ota_conf_user *user, const char *path, int mode, char *why,
                       size_t size);

#endif
