/* SPDX-License-Identifier: BSD-3-Clause */
#include "args.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "suggest.h"
#include "value.h"
#include "verb.h"

struct cursor {
    char **argv;
    int left;
};

static const char *peek(const struct cursor *at)
{
    return at->left > 0 ? at->argv[0] : NULL;
}

static const char *next(struct cursor *at)
{
    if (at->left <= 0) {
        return NULL;
    }
    at->left--;
    return *at->argv++;
}

static enum ota_exit fail_value(const char *option, struct ota_failure *failure)
{
    return ota_fail(failure, OTA_EXIT_USAGE, NULL, NULL, "%s needs a value%s", option,
                    strcmp(option, "-h") == 0 ? ": it is the broker's host; for help: --help" : "");
}

static enum ota_exit take_setting(const struct ota_setting *setting, const char *option,
                                  const char *inlined, struct cursor *at, struct ota_args *args,
                                  struct ota_failure *failure)
{
    const char *value = inlined;
    bool wants = ota_setting_value(setting) != NULL;
    if (!wants && inlined != NULL) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, NULL, "%s takes no value", option);
    }
    if (wants && value == NULL) {
        value = next(at);
    }
    if (wants && value == NULL) {
        return fail_value(option, failure);
    }
    args->settings[args->setting_count++] = (struct ota_arg_setting){setting, value};
    return OTA_EXIT_OK;
}

static enum ota_exit fail_unknown(const char *option, struct ota_failure *failure)
{
    char near[96];
    bool found = ota_suggest_option(option, near, sizeof near);
    return ota_fail(failure, OTA_EXIT_USAGE, NULL, NULL, "%s is not an option%s%s%s", option,
                    found ? "; do you mean " : "", found ? near : "", found ? "?" : "");
}

static enum ota_exit take_bool(struct ota_arg_option *option, const char *inlined,
                               struct cursor *at)
{
    bool ignored;
    option->value = inlined;
    if (inlined == NULL && !option->negated && peek(at) != NULL &&
        ota_value_is_bool(peek(at), &ignored)) {
        option->value = next(at);
    }
    return OTA_EXIT_OK;
}

/* Which command it belongs to isn't known yet; whether it takes a value is the same for all. */
static enum ota_exit take_option(const char *name, const char *inlined, struct cursor *at,
                                 struct ota_args *args, struct ota_failure *failure)
{
    struct ota_arg_option *option = &args->options[args->option_count];
    ota_verb_camel(name, option->key, sizeof option->key);
    const struct ota_verb_alias *alias = ota_verb_alias(option->key);
    if (alias != NULL) {
        (void)snprintf(option->key, sizeof option->key, "%s", alias->key);
        option->negated = alias->negates;
    }
    const struct ota_param *param = ota_verb_param_anywhere(option->key);
    if (param == NULL && strncmp(name, "no-", 3) == 0) {
        option->negated = true;
        ota_verb_camel(name + 3, option->key, sizeof option->key);
        param = ota_verb_param_anywhere(option->key);
    }
    char dashed[72];
    (void)snprintf(dashed, sizeof dashed, "--%s", name);
    if (param == NULL || (option->negated && param->type != OTA_PARAM_BOOL)) {
        return fail_unknown(dashed, failure);
    }
    args->option_count++;
    if (param->type == OTA_PARAM_BOOL) {
        return take_bool(option, inlined, at);
    }
    option->value = inlined != NULL ? inlined : next(at);
    return option->value != NULL ? OTA_EXIT_OK : fail_value(dashed, failure);
}

/* Commands have a --version of their own: it is otactl's only where no command can follow. */
static bool is_setting(const struct ota_setting *setting, const char *inlined,
                       const struct cursor *at, const struct ota_args *args)
{
    if (setting == NULL) {
        return false;
    }
    return strcmp(ota_setting_name(setting), "version") != 0 ||
           (inlined == NULL && at->left == 0 && args->word_count == 0);
}

static enum ota_exit take_long(const char *token, struct cursor *at, struct ota_args *args,
                               struct ota_failure *failure)
{
    char name[64];
    const char *equals = strchr(token, '=');
    size_t len = equals != NULL ? (size_t)(equals - token) : strlen(token);
    (void)snprintf(name, sizeof name, "%.*s", (int)len - 2, token + 2);
    const char *inlined = equals != NULL ? equals + 1 : NULL;
    const struct ota_setting *setting = ota_setting_by_name(name, strlen(name));
    if (is_setting(setting, inlined, at, args)) {
        return take_setting(setting, token, inlined, at, args, failure);
    }
    return take_option(name, inlined, at, args, failure);
}

static enum ota_exit take_token(const char *token, struct cursor *at, struct ota_args *args,
                                struct ota_failure *failure)
{
    if (strncmp(token, "--", 2) == 0) {
        return take_long(token, at, args, failure);
    }
    if (token[0] != '-' || token[1] == '\0') {
        args->words[args->word_count++] = token;
        return OTA_EXIT_OK;
    }
    const struct ota_setting *setting = token[2] == '\0' ? ota_setting_by_letter(token[1]) : NULL;
    return setting != NULL ? take_setting(setting, token, NULL, at, args, failure)
                           : fail_unknown(token, failure);
}

enum ota_exit ota_args_parse(int argc, char **argv, struct ota_args *args,
                             struct ota_failure *failure)
{
    size_t room = (size_t)argc + 1;
    *args = (struct ota_args){.words = calloc(room, sizeof *args->words),
                              .options = calloc(room, sizeof *args->options),
                              .settings = calloc(room, sizeof *args->settings)};
    if (args->words == NULL || args->options == NULL || args->settings == NULL) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, NULL, "out of memory");
    }
    struct cursor at = {argv + 1, argc - 1};
    enum ota_exit rc = OTA_EXIT_OK;
    const char *token;
    while (rc == OTA_EXIT_OK && (token = next(&at)) != NULL) {
        if (strcmp(token, "--") == 0) {
            break;
        }
        rc = take_token(token, &at, args, failure);
    }
    while (rc == OTA_EXIT_OK && (token = next(&at)) != NULL) {
        args->words[args->word_count++] = token;
    }
    return rc;
}

static enum ota_exit apply(const struct ota_args *args, struct ota_settings *settings,
                           struct ota_failure *failure)
{
    enum ota_exit rc = OTA_EXIT_OK;
    for (size_t i = 0; rc == OTA_EXIT_OK && i < args->setting_count; i++) {
        rc = ota_setting_apply(args->settings[i].setting, args->settings[i].value, settings,
                               failure);
    }
    return rc;
}

static const char *options_file(const struct ota_args *args)
{
    const char *file = NULL;
    for (size_t i = 0; i < args->setting_count; i++) {
        if (ota_setting_letter(args->settings[i].setting) == 'o') {
            file = args->settings[i].value;
        }
    }
    return file;
}

enum ota_exit ota_args_settle(const struct ota_args *args, struct ota_settings *settings,
                              struct ota_failure *failure)
{
    const char *file = options_file(args);
    enum ota_exit rc = file != NULL ? ota_settings_load(file, settings, failure)
                                    : ota_settings_load_default(settings, failure);
    if (rc == OTA_EXIT_OK) {
        rc = ota_settings_load_env(settings, failure);
    }
    return rc == OTA_EXIT_OK ? apply(args, settings, failure) : rc;
}

void ota_args_free(struct ota_args *args)
{
    free(args->words);
    free(args->options);
    free(args->settings);
    *args = (struct ota_args){0};
}
