/* SPDX-License-Identifier: BSD-3-Clause */
#include "help.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "format.h"
#include "render.h"
#include "settings.h"
#include "syntax.h"
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

static void print_verb_line(const struct ota_verb *verb, void *noun)
{
    char line[160];
    if (noun != NULL && !ota_verb_is_of(verb, noun)) {
        return;
    }
    ota_syntax_verb(verb, line, sizeof line);
    print_entry(line, VERB_WIDTH, verb->help);
}

static void print_settings(enum ota_setting_group group)
{
    const struct ota_setting *setting;
    for (size_t i = 0; (setting = ota_setting_at(i)) != NULL; i++) {
        char name[64];
        char indented[72];
        if (ota_setting_group(setting) != group) {
            continue;
        }
        ota_syntax_setting(setting, name, sizeof name);
        (void)snprintf(indented, sizeof indented, "%s%s",
                       ota_setting_letter(setting) == '\0' ? "    " : "", name);
        print_entry(indented, NAME_WIDTH, ota_setting_help(setting));
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

/* Whole lines, indented. */
static void print_lines(const char *lines)
{
    while (*lines != '\0') {
        size_t len = strcspn(lines, "\n");
        (void)printf("  %.*s\n", (int)len, lines);
        lines += len;
        lines += *lines == '\n';
    }
}

void ota_help_overview(void)
{
    (void)puts(
        "Usage: otactl [CONNECTION] COMMAND ARGUMENTS… [OPTIONS]\n"
        "Firmware upgrades through a Mosquitto broker: products, their firmware and devices, "
        "and\nthe upgrades themselves. otactl help COMMAND tells more about one.");
    print_heading("Commands");
    ota_syntax_walk(print_verb_line, NULL);
    print_heading("Connection");
    print_settings(OTA_SETTING_CONNECTION);
    print_heading("Other options");
    print_settings(OTA_SETTING_OTHER);
    print_exits();
    print_heading("Examples");
    print_lines(ota_syntax_first_day);
}

bool ota_help_noun(const char *noun)
{
    size_t len = strlen(noun);
    for (size_t i = 0; i < ota_verb_count(); i++) {
        struct ota_verb verb = ota_verb_at(i);
        if (strncmp(verb.words, noun, len) == 0 && verb.words[len] == ' ') {
            (void)printf("Usage: otactl %s%s COMMAND ARGUMENTS… [OPTIONS]\n",
                         verb.command == NULL ? "" : "[CONNECTION] ", noun);
            print_heading("Commands");
            ota_syntax_walk(print_verb_line, (void *)noun);
            (void)printf("\notactl help %s has arguments, options and an example.\n", verb.words);
            return true;
        }
    }
    return false;
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
        ota_syntax_param(param, name, sizeof name);
        print_entry(name, NAME_WIDTH, param->help);
        ota_syntax_rule(param, rule, sizeof rule);
        if (rule[0] != '\0') {
            print_entry("", NAME_WIDTH, rule);
        }
    }
}

static void print_examples(const struct ota_verb *verb)
{
    char lines[1024];
    ota_syntax_examples(verb, lines, sizeof lines);
    print_heading(strchr(lines, '\n')[1] != '\0' ? "Examples" : "Example");
    print_lines(lines);
}

void ota_help_verb(const struct ota_verb *verb)
{
    char line[160];
    ota_syntax_verb(verb, line, sizeof line);
    bool local = verb->command == NULL;
    (void)printf("Usage: otactl %s%s [OPTIONS]\n", local ? "" : "[CONNECTION] ", line);
    (void)printf(
        "%c%s. %s%s.\n", toupper((unsigned char)verb->help[0]), verb->help + 1,
        local ? "Needs no server" : "Role: ", local ? "" : ota_role_name(verb->command->role));
    print_params(verb, true);
    print_params(verb, false);
    print_examples(verb);
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
