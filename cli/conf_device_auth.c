/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices that log in with a secret: the key of these, and who else can log in. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf_check.h"
#include "util/others.h"

#define KEY_SIZE 32

static void find(const struct ota_conf_check *check, const struct ota_conf_line *line,
                 enum ota_level level, const char *remedy, const char *text)
{
    struct ota_finding at = ota_conf_at(line, level, "device_auth", remedy);
    ota_findings_add(check->findings, &at, "%s", text);
}

static void check_key(const struct ota_conf_check *check, const struct ota_conf_line *line,
                      const char *path)
{
    struct stat file;
    char folder[1024];
    if (stat(path, &file) != 0) { /* it is made */
        ota_others_folder(path, folder, sizeof folder);
        (void)ota_conf_check_file(check, line, folder, W_OK | X_OK);
        return;
    }
    if (!S_ISREG(file.st_mode) || file.st_size != KEY_SIZE) {
        find(check, line, OTA_LEVEL_ERROR, "head -c 32 /dev/urandom > FILE, or no file: it is made",
             "secret_keyfile must be a file of 32 random bytes");
    } else if ((file.st_mode & 077) != 0) {
        find(check, line, OTA_LEVEL_ERROR, "chmod 600",
             "others than its owner can get at the key of devices' secrets");
    } else {
        (void)ota_conf_check_file(check, line, path, R_OK);
    }
}

/* Whoever copies the folder has both. */
static void check_place(const struct ota_conf_check *check, const struct ota_conf_line *line,
                        const struct ota_options *options)
{
    char of_key[1024];
    char of_database[1024];
    ota_others_folder(options->secret_keyfile, of_key, sizeof of_key);
    ota_others_folder(options->db_path, of_database, sizeof of_database);
    if (strcmp(of_key, of_database) == 0) {
        find(check, line, OTA_LEVEL_WARNING, "another folder, and another backup",
             "the key lies beside the database that holds what is encrypted with it");
    }
}

static bool has_other_logins(const struct ota_conf *conf, const struct ota_conf_line *ours)
{
    for (size_t i = 0; i < conf->count; i++) {
        const char *key = conf->lines[i].key;
        if (strcmp(key, "password_file") == 0 || strcmp(key, "auth_plugin") == 0 ||
            (strcmp(key, "plugin") == 0 && &conf->lines[i] != ours)) {
            return true;
        }
    }
    return false;
}

static void check_others(const struct ota_conf_check *check, const struct ota_conf_ours *ours)
{
    bool others = has_other_logins(check->conf, ours->plugin);
    const struct ota_conf_line *only = ota_conf_option_line(check, ours, "device_auth_only");
    if (!ours->options->device_auth_only && !others) {
        find(check, ota_conf_option_line(check, ours, "device_auth"), OTA_LEVEL_ERROR,
             "password_file FILE, or plugin_opt_device_auth_only true",
             "nobody but devices with a secret could log in, no admin either: the broker doesn't "
             "start");
    }
    if (ours->options->device_auth_only && ota_conf_last(check->conf, "password_file") != NULL) {
        find(check, only, OTA_LEVEL_WARNING, "leave out one of the two",
             "device_auth_only lets in nobody of password_file");
    }
}

void ota_conf_check_device_auth(const struct ota_conf_check *check,
                                const struct ota_conf_ours *ours)
{
    const struct ota_conf_line *line = ota_conf_option_line(check, ours, "secret_keyfile");
    if (strcmp(ours->options->device_auth, "off") == 0) {
        return;
    }
    check_key(check, line, ours->options->secret_keyfile);
    check_place(check, line, ours->options);
    check_others(check, ours);
}
