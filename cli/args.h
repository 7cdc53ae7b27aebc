/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: a command line taken apart: words, the command's options, and settings.
 * Thread: main.
 * Frees: ota_args_free(); the texts belong to argv.
 */
#ifndef OTA_CLI_ARGS_H
#define OTA_CLI_ARGS_H

#include "failure.h"
#include "settings.h"

struct ota_arg_option {
    char key[64];      /* camelCase */
    const char *value; /* NULL: none was given */
    bool negated;      /* --no-… */
};

struct ota_arg_setting {
    const struct ota_setting *setting;
    const char *value;
};

struct ota_args {
    const char **words;
    size_t word_count;
    struct ota_arg_option *options;
    size_t option_count;
    struct ota_arg_setting *settings;
    size_t setting_count;
};

/* Takes argv apart; options may stand anywhere, "--" ends them. */
enum ota_exit ota_args_parse(int argc, char **argv, struct ota_args *args,
                             struct ota_failure *failure) OTA_CHECKED;

/* Applies files, environment and command line, in that order. */
enum ota_exit ota_args_settle(const struct ota_args *args, struct ota_settings *settings,
                              struct ota_failure *failure) OTA_CHECKED;

void ota_args_free(struct ota_args *args);

#endif
