/* SPDX-License-Identifier: BSD-3-Clause */
#include "conf_user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void ota_conf_user_find(const char *name, struct ota_conf_user *user)
{
    *user = (struct ota_conf_user){0};
    (void)snprintf(user->name, sizeof user->name, "%s", name);
    const struct passwd *row = getpwnam(name);
    if (row == NULL) {
        return;
    }
    user->known = true;
    user->uid = row->pw_uid;
    user->group_count = OTA_CONF_GROUPS;
    if (getgrouplist(name, row->pw_gid, user->groups, &user->group_count) < 0) {
        user->groups[0] = row->pw_gid;
        user->group_count = 1;
    }
}

static bool is_in(const struct ota_conf_user *user, gid_t group)
{
    for (int i = 0; i < user->group_count; i++) {
        if (user->groups[i] == group) {
            return true;
        }
    }
    return false;
}

/* The three bits of the mode that are this user's. */
static unsigned bits_of(const struct ota_conf_user *user, const struct stat *file)
{
    unsigned shift = file->st_uid == user->uid ? 6 : is_in(user, file->st_gid) ? 3 : 0;
    return file->st_mode >> shift & 7;
}

static bool may(const struct ota_conf_user *user, const char *path, int mode, char *why,
                size_t size)
{
    struct stat file;
    if (stat(path, &file) != 0) {
        (void)snprintf(why, size, "%s: %s", path, strerror(errno));
        return false;
    }
    unsigned wanted = (unsigned)mode; /* R_OK, W_OK and X_OK are the bits of a mode */
    bool allowed = !user->known     ? access(path, mode) == 0
                   : user->uid == 0 ? true
                                    : (bits_of(user, &file) & wanted) == wanted;
    if (!allowed) {
        (void)snprintf(why, size,
                       "%s has mode %04o and belongs to uid %u, gid %u; the broker is %s", path,
                       file.st_mode & 07777U, (unsigned)file.st_uid, (unsigned)file.st_gid,
                       user->known ? user->name : "you");
    }
    return allowed;
}

bool ota_conf_user_can(const struct ota_conf_user *user, const char *path, int mode, char *why,
                       size_t size)
{
    char part[4096];
    const char *slash = strchr(path + 1, '/');
    while (path[0] == '/' && slash != NULL) {
        (void)snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
        if (!may(user, part, X_OK, why, size)) {
            return false;
        }
        slash = strchr(slash + 1, '/');
    }
    return may(user, path, mode, why, size);
}
