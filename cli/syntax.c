/* SPDX-License-Identifier: BSD-3-Clause */
#include "syntax.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "value.h"

const char ota_syntax_first_day[] =
    "printf '%s\\n' '-h broker.example' '-u admin' > ~/.config/otactl\n"
    "otactl doctor\n"
    "otactl product create testProduct\n"
    "otactl firmware add testProduct 0.0.2 app.bin\n"
    "otactl device list testProduct --version 0.0.1\n"
    "otactl upgrade testProduct testDevice0 0.0.2 --watch\n"
    "otactl batch create testProduct 0.0.2 --from-version 0.0.1 --stage 1% --watch\n"
    "otactl task list --product testProduct --status failed --output csv\n";

void ota_syntax_argument(const struct ota_param *param, char *out, size_t size)
{
    ota_verb_kebab(param->key, out, size);
    for (char *c = out; *c != '\0'; c++) {
        *c = (char)toupper((unsigned char)*c);
    }
}

/* "--rate, ", where there is a shorter name. */
static void short_name(const struct ota_param *param, char *out, size_t size)
{
    const struct ota_verb_alias *alias;
    out[0] = '\0';
    for (size_t i = 0; (alias = ota_verb_alias_at(i)) != NULL; i++) {
        if (!alias->negates && strcmp(alias->key, param->key) == 0) {
            (void)snprintf(out, size, "--%s, ", alias->name);
        }
    }
}

void ota_syntax_option(const struct ota_param *param, char *out, size_t size)
{
    char name[64];
    char shorter[32];
    ota_verb_kebab(param->key, name, sizeof name);
    short_name(param, shorter, sizeof shorter);
    if (param->type == OTA_PARAM_BOOL) {
        (void)snprintf(out, size, "%s--%s [yes|no]", shorter, name);
    } else {
        (void)snprintf(out, size, "%s--%s %s", shorter, name, ota_value_placeholder(param->type));
    }
}

void ota_syntax_param(const struct ota_param *param, char *out, size_t size)
{
    if (param->required) {
        ota_syntax_argument(param, out, size);
    } else {
        ota_syntax_option(param, out, size);
    }
}

void ota_syntax_setting(const struct ota_setting *setting, char *out, size_t size)
{
    char dashed[5] = "";
    char letter = ota_setting_letter(setting);
    const char *value = ota_setting_value(setting);
    if (letter != '\0') {
        (void)snprintf(dashed, sizeof dashed, "-%c, ", letter);
    }
    (void)snprintf(out, size, "%s--%s%s%s", dashed, ota_setting_name(setting),
                   value != NULL ? " " : "", value != NULL ? value : "");
}

void ota_syntax_verb(const struct ota_verb *verb, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "%s", verb->words);
    const struct ota_param *param;
    for (size_t i = 0; n < size && (param = ota_verb_param_at(verb, i)) != NULL; i++) {
        char name[64];
        ota_syntax_argument(param, name, sizeof name);
        n += param->required ? (size_t)snprintf(out + n, size - n, " %s", name) : 0;
    }
}

/* "firmware" of "firmware list". */
static void copy_noun(size_t index, char *out, size_t size)
{
    const char *words = ota_verb_at(index).words;
    (void)snprintf(out, size, "%.*s", (int)strcspn(words, " "), words);
}

static bool was_before(size_t index, const char *noun)
{
    bool found = false;
    for (size_t i = 0; !found && i < index; i++) {
        struct ota_verb verb = ota_verb_at(i);
        found = ota_verb_is_of(&verb, noun);
    }
    return found;
}

void ota_syntax_walk(void (*see)(const struct ota_verb *verb, void *context), void *context)
{
    size_t count = ota_verb_count();
    for (size_t i = 0; i < count; i++) {
        char noun[32];
        copy_noun(i, noun, sizeof noun);
        for (size_t j = 0; !was_before(i, noun) && j < count; j++) {
            struct ota_verb verb = ota_verb_at((j + OTA_COMMAND_COUNT) % count);
            if (ota_verb_is_of(&verb, noun)) {
                see(&verb, context);
            }
        }
    }
}

static bool needs_rule(enum ota_param_type type)
{
    static const enum ota_param_type told[] = {
        OTA_PARAM_BOOL,   OTA_PARAM_CURSOR, OTA_PARAM_TEXT,  OTA_PARAM_TAGS, OTA_PARAM_FILENAME,
        OTA_PARAM_SHA256, OTA_PARAM_BASE64, OTA_PARAM_GATE,  OTA_PARAM_MODE, OTA_PARAM_RUNNING,
        OTA_PARAM_TARGET, OTA_PARAM_ROLE,   OTA_LOCAL_UNTIL, OTA_LOCAL_PATH,
    };
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
        if (told[i] == type) {
            return false;
        }
    }
    return true;
}

void ota_syntax_rule(const struct ota_param *param, char *out, size_t size)
{
    out[0] = '\0';
    if (needs_rule(param->type)) {
        ota_value_rule(param, out, size);
    }
}

/* Made from the arguments, where the verb has no example of its own. */
static size_t make_example(const struct ota_verb *verb, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "otactl %s", verb->words);
    const struct ota_param *param;
    for (size_t i = 0; n < size && (param = ota_verb_param_at(verb, i)) != NULL; i++) {
        if (param->required) {
            n += (size_t)snprintf(out + n, size - n, " %s", ota_value_example(param));
        }
    }
    return n;
}

void ota_syntax_examples(const struct ota_verb *verb, char *out, size_t size)
{
    const char *line = verb->example;
    size_t n = 0;
    if (line == NULL) {
        n = make_example(verb, out, size);
        (void)snprintf(out + n, size > n ? size - n : 0, "\n");
        return;
    }
    while (*line != '\0' && n < size) {
        size_t len = strcspn(line, "\n");
        n += (size_t)snprintf(out + n, size - n, "otactl %.*s\n", (int)len, line);
        line += len;
        line += *line == '\n';
    }
}
