/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the options that every command takes: connection and output. One row an option.
 * Thread: main.
 * Frees: ota_settings_free() frees the strings of an ota_settings.
 */
#ifndef OTA_CLI_SETTINGS_H
#define OTA_CLI_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

#include "failure.h"

enum ota_output { OTA_OUTPUT_TABLE, OTA_OUTPUT_JSON, OTA_OUTPUT_CSV };

struct ota_settings {
    char *host;
    char *user;
    char *password;
    char *id;
    char *cafile;
    char *capath;
    char *cert;
    char *key;
    char *file; /* -o */
    char *topic;
    char *request_id;
    int port; /* 0: the usual one */
    int timeout_s;
    bool insecure;
    bool tls; /* asked for by mqtts:// */
    enum ota_output output;
    bool help;
    bool version;
    bool list_commands;
    bool man_page;
};

enum ota_setting_group {
    OTA_SETTING_CONNECTION,
    OTA_SETTING_OTHER,
    OTA_SETTING_HIDDEN /* for tests and scripts */
};

struct ota_setting;

/* Row by "host" or 'h'; NULL when there is none. */
const struct ota_setting *ota_setting_by_name(const char *name, size_t len);
const struct ota_setting *ota_setting_by_letter(char letter);

/* Row of that number, or NULL past the last. */
const struct ota_setting *ota_setting_at(size_t index);

const char *ota_setting_name(const struct ota_setting *setting);
char ota_setting_letter(const struct ota_setting *setting); /* '\0': none */
const char *ota_setting_help(const struct ota_setting *setting);
enum ota_setting_group ota_setting_group(const struct ota_setting *setting);

/* What stands for its value in the help, or NULL when it takes none. */
const char *ota_setting_value(const struct ota_setting *setting);

/* value is NULL for one that takes none. */
enum ota_exit ota_setting_apply(const struct ota_setting *setting, const char *value,
                                struct ota_settings *settings,
                                struct ota_failure *failure) OTA_CHECKED;

/* Applies a file of options, one a line, as mosquitto_ctrl reads it. */
enum ota_exit ota_settings_load(const char *path, struct ota_settings *settings,
                                struct ota_failure *failure) OTA_CHECKED;

/* Applies the user's own file, if there is one, and OTACTL_PASSWORD. */
enum ota_exit ota_settings_load_default(struct ota_settings *settings,
                                        struct ota_failure *failure) OTA_CHECKED;
enum ota_exit ota_settings_load_env(struct ota_settings *settings,
                                    struct ota_failure *failure) OTA_CHECKED;

/* Fills in what nobody set. */
enum ota_exit ota_settings_finish(struct ota_settings *settings,
                                  struct ota_failure *failure) OTA_CHECKED;

bool ota_settings_json(const struct ota_settings *settings);
bool ota_settings_use_tls(const struct ota_settings *settings);
void ota_settings_free(struct ota_settings *settings);

#endif
