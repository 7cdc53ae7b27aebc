/* SPDX-License-Identifier: BSD-3-Clause */
#include "roles.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/names.h"
#include "util/token.h"

#define OTA_LINE_MAX 512 /* of roles_file, with the line's end */

struct ota_role_entry {
    char *user;
    enum ota_role role;
};

static struct ota_role_entry *find(const struct ota_roles *roles, const char *user, size_t len)
{
    for (size_t i = 0; i < roles->count; i++) {
        if (strncmp(roles->entries[i].user, user, len) == 0 &&
            roles->entries[i].user[len] == '\0') {
            return &roles->entries[i];
        }
    }
    return NULL;
}

static enum ota_err check_name(const char *user, size_t len, struct ota_error *error)
{
    static const char tokens[] = OTA_TOKEN_USER;
    if (len > OTA_USER_MAX) {
        return ota_error_set(error, OTA_INVALID_REQUEST, NULL,
                             "a user with a role has a name of at most %d bytes", OTA_USER_MAX);
    }
    if (len >= sizeof tokens - 1 && memcmp(user, tokens, sizeof tokens - 1) == 0) {
        return ota_error_set(error, OTA_INVALID_REQUEST, NULL,
                             "%.*s can't be a user with a role: names that begin with %s are "
                             "those of tokens",
                             (int)len, user, tokens);
    }
    return OTA_OK;
}

static enum ota_err add(struct ota_roles *roles, const char *user, size_t len, enum ota_role role,
                        struct ota_error *error)
{
    struct ota_role_entry *known = find(roles, user, len);
    if (known != NULL) {
        known->role = role > known->role ? role : known->role;
        return OTA_OK;
    }
    enum ota_err err = check_name(user, len, error);
    if (err != OTA_OK) {
        return err;
    }
    struct ota_role_entry *grown =
        realloc(roles->entries, (roles->count + 1) * sizeof *roles->entries);
    if (grown == NULL) {
        return ota_error_no_memory(error);
    }
    roles->entries = grown;
    char *copy = strndup(user, len);
    if (copy == NULL) {
        return ota_error_no_memory(error);
    }
    roles->entries[roles->count++] = (struct ota_role_entry){copy, role};
    return OTA_OK;
}

enum ota_err ota_roles_add_list(struct ota_roles *roles, const char *users, enum ota_role role,
                                struct ota_error *error)
{
    while (*users != '\0') {
        users += strspn(users, ", \t");
        size_t len = strcspn(users, ",");
        size_t used = len;
        while (used > 0 && strchr(" \t", users[used - 1]) != NULL) {
            used--;
        }
        enum ota_err err = used > 0 ? add(roles, users, used, role, error) : OTA_OK;
        if (err != OTA_OK) {
            return err;
        }
        users += len;
    }
    return OTA_OK;
}

static enum ota_err add_line(struct ota_roles *roles, char *line, const char *path, int number,
                             struct ota_error *error)
{
    if (strlen(line) == OTA_LINE_MAX && line[OTA_LINE_MAX - 1] != '\n') {
        return ota_error_set(error, OTA_INVALID_REQUEST, "roles_file",
                             "%s line %d: a line has at most %d bytes", path, number,
                             OTA_LINE_MAX - 1);
    }
    line[strcspn(line, "\r\n")] = '\0';
    line += strspn(line, " \t");
    if (line[0] == '\0' || line[0] == '#') {
        return OTA_OK;
    }
    char *space = strpbrk(line, " \t");
    enum ota_role role = OTA_ROLE_NONE;
    if (space != NULL) {
        char *name = space + strspn(space, " \t");
        char *more = name + strcspn(name, " \t");
        bool is_last = more[strspn(more, " \t")] == '\0';
        *more = '\0';
        role = is_last ? ota_role_parse(name) : OTA_ROLE_NONE;
    }
    if (role == OTA_ROLE_NONE) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "roles_file",
                             "roles_file: %s line %d: write `USER ROLE`, the role being viewer, "
                             "operator or admin",
                             path, number);
    }
    enum ota_err err = add(roles, line, (size_t)(space - line), role, error);
    ota_error_context(error, "roles_file: %s line %d", path, number);
    return err;
}

enum ota_err ota_roles_add_file(struct ota_roles *roles, const char *path, struct ota_error *error)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "roles_file",
                             "roles_file: can't read %s: %s", path, strerror(errno));
    }
    enum ota_err err = OTA_OK;
    char line[OTA_LINE_MAX + 1];
    for (int number = 1; err == OTA_OK && fgets(line, sizeof line, file) != NULL; number++) {
        err = add_line(roles, line, path, number, error);
    }
    if (err == OTA_OK && ferror(file)) {
        err = ota_error_set(error, OTA_INVALID_REQUEST, "roles_file", "can't read %s: %s", path,
                            strerror(errno));
    }
    (void)fclose(file);
    return err;
}

enum ota_role ota_roles_of(const struct ota_roles *roles, const char *user)
{
    const struct ota_role_entry *entry = user != NULL ? find(roles, user, strlen(user)) : NULL;
    return entry != NULL ? entry->role : OTA_ROLE_NONE;
}

void ota_roles_free(struct ota_roles *roles)
{
    for (size_t i = 0; i < roles->count; i++) {
        free(roles->entries[i].user);
    }
    free(roles->entries);
    *roles = (struct ota_roles){0};
}
