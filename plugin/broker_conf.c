/* SPDX-License-Identifier: BSD-3-Clause */
#include "broker_conf.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker.h"

#define OURS           "mosquitto_ota"
#define ARGUMENTS_READ 65536

static enum ota_other_logins look_into(const char *path, int depth);

/* The worse is known, the more it says: one that can't be read may hold either. */
static enum ota_other_logins more_of(enum ota_other_logins a, enum ota_other_logins b)
{
    if (a == OTA_LOGINS_SOME || b == OTA_LOGINS_SOME) {
        return OTA_LOGINS_SOME;
    }
    return a == OTA_LOGINS_UNKNOWN || b == OTA_LOGINS_UNKNOWN ? OTA_LOGINS_UNKNOWN
                                                              : OTA_LOGINS_NONE;
}

static bool is_conf(const char *name)
{
    size_t len = strlen(name);
    return len > 5 && strcmp(name + len - 5, ".conf") == 0;
}

static enum ota_other_logins look_into_folder(const char *folder, int depth)
{
    enum ota_other_logins found = OTA_LOGINS_NONE;
    const struct dirent *entry;
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        return OTA_LOGINS_UNKNOWN;
    }
    while ((entry = readdir(dir)) != NULL) {
        char path[4096];
        if (is_conf(entry->d_name)) {
            (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
            found = more_of(found, look_into(path, depth));
        }
    }
    (void)closedir(dir);
    return found;
}

static bool is_plugin(const char *key)
{
    static const char *const keys[] = {"plugin", "auth_plugin", "global_plugin"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (strcmp(keys[i], key) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_ours(const char *file)
{
    const char *slash = strrchr(file, '/');
    return strstr(slash != NULL ? slash : file, OURS) != NULL;
}

static enum ota_other_logins look_at(char *line, int depth)
{
    line[strcspn(line, "\r\n")] = '\0';
    char *value = line + strcspn(line, " ");
    if (*value != '\0') {
        *value++ = '\0';
        value += strspn(value, " ");
    }
    if (strcmp(line, "password_file") == 0 || (is_plugin(line) && !is_ours(value))) {
        return OTA_LOGINS_SOME;
    }
    return strcmp(line, "include_dir") == 0 && depth == 0 ? look_into_folder(value, depth + 1)
                                                          : OTA_LOGINS_NONE;
}

static enum ota_other_logins look_into(const char *path, int depth)
{
    enum ota_other_logins found = OTA_LOGINS_NONE;
    char *line = NULL;
    size_t size = 0;
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return OTA_LOGINS_UNKNOWN;
    }
    while (getline(&line, &size, file) >= 0) {
        found = more_of(found, look_at(line, depth));
    }
    if (ferror(file)) {
        found = more_of(found, OTA_LOGINS_UNKNOWN);
    }
    free(line);
    (void)fclose(file);
    return found;
}

enum ota_other_logins ota_broker_conf_logins(const char *path)
{
    return look_into(path, 0);
}

/* The arguments stand one behind the other, each with its NUL. */
static bool find_path(const char *arguments, size_t len, char *path, size_t size)
{
    for (const char *at = arguments; at < arguments + len; at += strlen(at) + 1) {
        const char *next = at + strlen(at) + 1;
        bool names = strcmp(at, "-c") == 0 || strcmp(at, "--config-file") == 0;
        if (names && next < arguments + len && strlen(next) < size) {
            (void)snprintf(path, size, "%s", next);
            return true;
        }
    }
    return false;
}

bool ota_broker_conf_path(char *path, size_t size)
{
    FILE *file = fopen("/proc/self/cmdline", "re");
    char *arguments = malloc(ARGUMENTS_READ + 1);
    bool found = false;
    if (file != NULL && arguments != NULL) {
        size_t len = fread(arguments, 1, ARGUMENTS_READ, file);
        arguments[len] = '\0';
        found = find_path(arguments, len, path, size);
    }
    free(arguments);
    if (file != NULL) {
        (void)fclose(file);
    }
    return found;
}

enum ota_err ota_broker_conf_check(const struct ota_options *options, struct ota_error *error)
{
    char path[4096];
    if (strcmp(options->device_auth, "off") == 0 || options->device_auth_only) {
        return OTA_OK;
    }
    enum ota_other_logins others =
        ota_broker_conf_path(path, sizeof path) ? ota_broker_conf_logins(path) : OTA_LOGINS_UNKNOWN;
    switch (others) {
    case OTA_LOGINS_NONE:
        return ota_error_set(error, OTA_INVALID_REQUEST, "device_auth_only",
                             "plugin_opt_device_auth vendor: there is neither a password_file nor "
                             "another plugin, so Mosquitto 2.0 would deny everybody else who comes "
                             "with a user name or without: give it one of them, or say "
                             "plugin_opt_device_auth_only true");
    case OTA_LOGINS_UNKNOWN:
        ota_log(OTA_LOG_WARNING, "device_auth is vendor, and the broker's configuration can't be "
                                 "read: without a password_file or another plugin nobody else "
                                 "can log in");
        break;
    case OTA_LOGINS_SOME:
        break;
    }
    return OTA_OK;
}
