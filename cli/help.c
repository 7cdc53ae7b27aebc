/* SPDX-License-Identifier: BSD-3-Clause */
#include "help.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "format.h"
#include "render.h"
#include "settings.h"
#include "value.h"

#define LINE_WIDTH 96
#define VERB_WIDTH 34
#define NAME_WIDTH 26

static void print_heading(const char *text)
{
    (void)printf("\n%s%s%s\n", ota_format_on(OTA_BOLD), text, ota_format_off(OTA_BOLD));
}

/* The rest of a line, and lines below it that begin at that column. */
static void print_wrapped(const char *text, size_t indent)
{
    size_t column = indent;
    while (*text != '\0') {
        char word[128];
        size_t len = strcspn(text, " ");
        (void)snprintf(word, sizeof word, "%.*s", (int)len, text);
        size_t width = ota_format_width(word);
        if (column + 1 + width > LINE_WIDTH && column > indent) {
            (void)printf("\n%*s", (int)indent, "");
            column = indent;
        }
        const char *gap = column > indent ? " " : "  ";
        (void)printf("%s%s", gap, word);
        column += strlen(gap) + width;
        text += len;
        text += strspn(text, " ");
    }
    (void)putchar('\n');
}

/* Name and explanation, wrapped; a name that is too long gets a line of its own. */
static void print_entry(const char *name, size_t width, const char *help)
{
    size_t column = ota_format_width(name);
    (void)printf("  %s", name);
    if (column > width) {
        (void)fputs("\n  ", stdout);
        column = 0;
    }
    (void)printf("%*s", (int)(width - column), "");
    print_wrapped(help, width + 2);
}

/* "TASK": its key, as it stands in a synopsis. */
static void positional_name(const struct ota_param *param, char *out, size_t size)
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

static void option_name(const struct ota_param *param, char *out, size_t size)
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

static void synopsis(const struct ota_verb *verb, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "%s", verb->words);
    const struct ota_param *param;
    for (size_t i = 0; n < size && (param = ota_verb_param_at(verb, i)) != NULL; i++) {
        char name[64];
        positional_name(param, name, sizeof name);
        n += param->required ? (size_t)snprintf(out + n, size - n, " %s", name) : 0;
    }
}

/* Verbs that were added first: they are what people want. */
static void print_verbs(const char *noun)
{
    size_t len = strlen(noun);
    size_t count = ota_verb_count();
    for (size_t i = 0; i < count; i++) {
        struct ota_verb verb = ota_verb_at((i + OTA_COMMAND_COUNT) % count);
        bool same = strncmp(verb.words, noun, len) == 0 &&
                    (verb.words[len] == ' ' || verb.words[len] == '\0');
        if (same) {
            char line[160];
            synopsis(&verb, line, sizeof line);
            print_entry(line, VERB_WIDTH, verb.help);
        }
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
    char other[32];
    bool found = false;
    for (size_t i = 0; !found && i < index; i++) {
        copy_noun(i, other, sizeof other);
        found = strcmp(other, noun) == 0;
    }
    return found;
}

/* Nouns come in the order of the table; a verb that was added stands with its noun. */
static void print_all_verbs(void)
{
    for (size_t i = 0; i < ota_verb_count(); i++) {
        char noun[32];
        copy_noun(i, noun, sizeof noun);
        if (!was_before(i, noun)) {
            print_verbs(noun);
        }
    }
}

static void print_settings(enum ota_setting_group group)
{
    const struct ota_setting *setting;
    for (size_t i = 0; (setting = ota_setting_at(i)) != NULL; i++) {
        char name[64];
        char letter = ota_setting_letter(setting);
        char dashed[5] = "";
        const char *value = ota_setting_value(setting);
        if (ota_setting_group(setting) != group) {
            continue;
        }
        if (letter != '\0') {
            (void)snprintf(dashed, sizeof dashed, "-%c, ", letter);
        }
        (void)snprintf(name, sizeof name, "%4s--%s%s%s", dashed, ota_setting_name(setting),
                       value != NULL ? " " : "", value != NULL ? value : "");
        print_entry(name, NAME_WIDTH, ota_setting_help(setting));
    }
}

static void print_exits(void)
{
    const char *line;
    print_heading("Exit status");
    for (size_t i = 0; (line = ota_exit_help(i)) != NULL; i++) {
        (void)printf("  %s\n", line);
    }
}

void ota_help_overview(void)
{
    (void)puts(
        "Usage: otactl [CONNECTION] COMMAND ARGUMENTS… [OPTIONS]\n"
        "Firmware upgrades through a Mosquitto broker: products, their firmware and devices, "
        "and\nthe upgrades themselves. otactl help COMMAND tells more about one.");
    print_heading("Commands");
    print_all_verbs();
    print_heading("Connection");
    print_settings(OTA_SETTING_CONNECTION);
    print_heading("Other options");
    print_settings(OTA_SETTING_OTHER);
    print_exits();
    print_heading("Examples");
    (void)puts("  printf '%s\\n' '-h broker.example' '-u admin' > ~/.config/otactl\n"
               "  otactl product create testProduct\n"
               "  otactl firmware add testProduct 0.0.2 app.bin\n"
               "  otactl device list testProduct --version 0.0.1\n"
               "  otactl upgrade testProduct testDevice0 0.0.2 --watch\n"
               "  otactl batch create testProduct 0.0.2 --from-version 0.0.1 --stage 1% --watch\n"
               "  otactl task list --product testProduct --status failed --json");
}

bool ota_help_noun(const char *noun)
{
    size_t len = strlen(noun);
    for (size_t i = 0; i < ota_verb_count(); i++) {
        const char *words = ota_verb_at(i).words;
        if (strncmp(words, noun, len) == 0 && words[len] == ' ') {
            print_verbs(noun);
            return true;
        }
    }
    return false;
}

/* Where the parameter's own help doesn't say it all. */
static bool needs_rule(enum ota_param_type type)
{
    static const enum ota_param_type told[] = {
        OTA_PARAM_BOOL,   OTA_PARAM_CURSOR, OTA_PARAM_TEXT, OTA_PARAM_TAGS, OTA_PARAM_FILENAME,
        OTA_PARAM_SHA256, OTA_PARAM_BASE64, OTA_PARAM_GATE, OTA_PARAM_MODE, OTA_PARAM_RUNNING,
        OTA_PARAM_TARGET, OTA_LOCAL_UNTIL,  OTA_LOCAL_PATH,
    };
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
        if (told[i] == type) {
            return false;
        }
    }
    return true;
}

static void print_params(const struct ota_verb *verb, bool required)
{
    const struct ota_param *param;
    bool any = false;
    for (size_t i = 0; (param = ota_verb_param_at(verb, i)) != NULL; i++) {
        char name[96];
        char rule[256];
        if (param->required != required) {
            continue;
        }
        if (!any) {
            print_heading(required ? "Arguments" : "Options");
            any = true;
        }
        if (required) {
            positional_name(param, name, sizeof name);
        } else {
            option_name(param, name, sizeof name);
        }
        print_entry(name, NAME_WIDTH, param->help);
        if (needs_rule(param->type)) {
            ota_value_rule(param, rule, sizeof rule);
            print_entry("", NAME_WIDTH, rule);
        }
    }
}

static void print_example(const struct ota_verb *verb)
{
    bool many = verb->example != NULL && strchr(verb->example, '\n') != NULL;
    print_heading(many ? "Examples" : "Example");
    if (verb->example != NULL) {
        for (const char *line = verb->example; *line != '\0';) {
            size_t len = strcspn(line, "\n");
            (void)printf("  otactl %.*s\n", (int)len, line);
            line += len;
            line += *line == '\n';
        }
        return;
    }
    (void)printf("  otactl %s", verb->words);
    const struct ota_param *param;
    for (size_t i = 0; (param = ota_verb_param_at(verb, i)) != NULL; i++) {
        if (param->required) {
            (void)printf(" %s", ota_value_example(param));
        }
    }
    (void)putchar('\n');
}

void ota_help_verb(const struct ota_verb *verb)
{
    char line[160];
    synopsis(verb, line, sizeof line);
    bool local = verb->command == NULL;
    (void)printf("Usage: otactl %s%s [OPTIONS]\n", local ? "" : "[CONNECTION] ", line);
    (void)printf(
        "%c%s. %s%s.\n", toupper((unsigned char)verb->help[0]), verb->help + 1,
        local ? "Needs no server" : "Role: ", local ? "" : ota_role_name(verb->command->role));
    print_params(verb, true);
    print_params(verb, false);
    print_example(verb);
}

static json_t *param_row(const struct ota_verb *verb, const struct ota_param *param)
{
    char name[64];
    ota_verb_kebab(param->key, name, sizeof name);
    return json_pack("{s:s, s:s, s:b, s:b, s:s, s:I, s:I, s:s}", "key", param->key, "option", name,
                     "required", (int)param->required, "local", (int)ota_verb_is_extra(verb, param),
                     "value", ota_value_placeholder(param->type), "min", (json_int_t)param->min,
                     "max", (json_int_t)param->max, "help", param->help);
}

static json_t *verb_row(const struct ota_verb *verb)
{
    json_t *params = json_array();
    const struct ota_param *param;
    for (size_t i = 0; (param = ota_verb_param_at(verb, i)) != NULL; i++) {
        (void)json_array_append_new(params, param_row(verb, param));
    }
    const struct ota_command *command = verb->command;
    return json_pack("{s:s, s:s?, s:s?, s:b, s:s, s:o}", "words", verb->words, "command",
                     command != NULL ? command->name : NULL, "role",
                     command != NULL ? ota_role_name(command->role) : NULL, "writes",
                     command != NULL && command->writes, "help", verb->help, "params", params);
}

void ota_help_list(bool json)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < ota_verb_count(); i++) {
        struct ota_verb verb = ota_verb_at(i);
        if (json) {
            (void)json_array_append_new(rows, verb_row(&verb));
        } else {
            (void)puts(verb.words);
        }
    }
    if (json) {
        ota_render_json(rows);
    }
    json_decref(rows);
}
