/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf_check.h"

#define PREFIX     "plugin_opt_"
#define OLD_PREFIX "auth_opt_"
#define OURS       "mosquitto_ota"

static bool is_plugin(const struct ota_conf_line *line)
{
    return strcmp(line->key, "plugin") == 0 || strcmp(line->key, "auth_plugin") == 0;
}

static bool is_ours(const struct ota_conf_line *line)
{
    const char *slash = strrchr(line->value, '/');
    return is_plugin(line) && strstr(slash != NULL ? slash : line->value, OURS) != NULL;
}

/* The option's name, or NULL where the line is none. */
static const char *option_of(const struct ota_conf_line *line)
{
    if (strncmp(line->key, PREFIX, sizeof PREFIX - 1) == 0) {
        return line->key + sizeof PREFIX - 1;
    }
    bool old = strncmp(line->key, OLD_PREFIX, sizeof OLD_PREFIX - 1) == 0;
    return old ? line->key + sizeof OLD_PREFIX - 1 : NULL;
}

/* --- plugin lines ----------------------------------------------------------------------------- */

static const struct ota_conf_line *first_plugin(const struct ota_conf *conf,
                                                bool (*wanted)(const struct ota_conf_line *))
{
    for (size_t i = 0; i < conf->count; i++) {
        if (wanted(&conf->lines[i])) {
            return &conf->lines[i];
        }
    }
    return NULL;
}

static void find_no_plugin(const struct ota_conf_check *check)
{
    struct ota_finding at = {.level = OTA_LEVEL_ERROR,
                             .rule = "no_plugin",
                             .file = check->conf->files[0],
                             .remedy = "plugin /usr/lib/mosquitto-ota/mosquitto_ota.so, before "
                                       "every other plugin line"};
    ota_findings_add(check->findings, &at, "no plugin line loads mosquitto_ota.so");
}

static void check_order(const struct ota_conf_check *check, const struct ota_conf_line *ours)
{
    const struct ota_conf_line *first = first_plugin(check->conf, is_plugin);
    if (first != ours) {
        struct ota_finding at = ota_conf_at(ours, OTA_LEVEL_ERROR, "plugin_order",
                                            "put this line, and its plugin_opt_ lines, first");
        ota_findings_add(check->findings, &at,
                         "%s is loaded before (line %d): what it allows or denies on our topics "
                         "is never asked of us",
                         first->value, first->number);
    }
    for (const struct ota_conf_line *line = ours + 1;
         line < check->conf->lines + check->conf->count; line++) {
        if (is_ours(line)) {
            struct ota_finding at =
                ota_conf_at(line, OTA_LEVEL_ERROR, "plugin_twice", "remove one of the two lines");
            ota_findings_add(check->findings, &at, "the plugin is loaded twice (line %d)",
                             ours->number);
        }
    }
}

/* An option belongs to the plugin line above it, in the same file. */
static void check_strays(const struct ota_conf_check *check)
{
    const struct ota_conf_line *plugin = NULL;
    for (size_t i = 0; i < check->conf->count; i++) {
        const struct ota_conf_line *line = &check->conf->lines[i];
        plugin = is_plugin(line) ? line : plugin;
        bool stray = option_of(line) != NULL && (plugin == NULL || plugin->part != line->part);
        if (stray) {
            struct ota_finding at = ota_conf_at(line, OTA_LEVEL_ERROR, "stray_option",
                                                "move it below the plugin line that it belongs to");
            ota_findings_add(check->findings, &at,
                             "no plugin line stands above %s in this file: the broker doesn't "
                             "start",
                             line->key);
        }
    }
}

/* --- our options ------------------------------------------------------------------------------ */

/* Visits the options of ours; stops where see returns true, and returns that line. */
static const struct ota_conf_line *walk(const struct ota_conf *conf,
                                        const struct ota_conf_line *ours,
                                        bool (*see)(const struct ota_conf_line *, void *),
                                        void *context)
{
    for (const struct ota_conf_line *line = ours + 1; line < conf->lines + conf->count; line++) {
        if (is_plugin(line) || line->part != ours->part) {
            /* what an include_dir between brought in belongs to nobody */
            if (line->part != ours->part) {
                continue;
            }
            break;
        }
        if (option_of(line) != NULL && see(line, context)) {
            return line;
        }
    }
    return NULL;
}

struct option_search {
    const char *name;
    const struct ota_conf_line *found;
};

static bool see_named(const struct ota_conf_line *line, void *context)
{
    struct option_search *search = context;
    if (strcmp(option_of(line), search->name) == 0) {
        search->found = line;
    }
    return false;
}

const struct ota_conf_line *ota_conf_option_line(const struct ota_conf_check *check,
                                                 const struct ota_conf_ours *ours, const char *name)
{
    struct option_search search = {.name = name};
    (void)walk(check->conf, ours->plugin, see_named, &search);
    return search.found != NULL ? search.found : ours->plugin;
}

struct reading {
    const struct ota_conf_check *check;
    const struct ota_conf_line *plugin;
    const char **keys;
    const char **values;
    int count;
};

static void find_option(const struct reading *reading, const struct ota_conf_line *line,
                        const char *text)
{
    struct ota_finding at = ota_conf_at(line, OTA_LEVEL_ERROR, "plugin_option",
                                        "correct the line: the broker doesn't start with it");
    ota_findings_add(reading->check->findings, &at, "%s", text);
}

static void check_twice(const struct reading *reading, const struct ota_conf_line *line)
{
    for (int i = 0; i < reading->count; i++) {
        if (strcmp(reading->keys[i], option_of(line)) == 0) {
            struct ota_finding at =
                ota_conf_at(line, OTA_LEVEL_WARNING, "option_twice", "remove one of the two lines");
            ota_findings_add(reading->check->findings, &at, "%s was given before; this one counts",
                             line->key);
            return;
        }
    }
}

static bool read_option(const struct ota_conf_line *line, void *context)
{
    struct reading *reading = context;
    struct ota_error error = {0};
    if (line->value[0] == '\0') {
        (void)ota_error_set(&error, OTA_INVALID_REQUEST, NULL,
                            "%s has no value; leave the line out for the default", line->key);
        find_option(reading, line, error.text);
    } else if (ota_options_check(option_of(line), line->value, &error) != OTA_OK) {
        find_option(reading, line, error.text);
    } else {
        check_twice(reading, line);
        reading->keys[reading->count] = option_of(line);
        reading->values[reading->count++] = line->value;
    }
    return false;
}

/* Rules of several options; each is told once. */
static void check_together(const struct reading *reading)
{
    struct ota_options options;
    struct ota_error error = {0};
    struct ota_conf_ours ours = {.plugin = reading->plugin, .options = &options};
    if (ota_options_read(reading->keys, reading->values, reading->count, &options, &error) ==
        OTA_OK) {
        ota_conf_check_options(reading->check, &ours);
        ota_options_free(&options);
        return;
    }
    find_option(reading, ota_conf_option_line(reading->check, &ours, error.field), error.text);
}

static void check_our_options(const struct ota_conf_check *check,
                              const struct ota_conf_line *plugin)
{
    struct reading reading = {.check = check, .plugin = plugin};
    reading.keys = calloc(check->conf->count + 1, sizeof *reading.keys);
    reading.values = calloc(check->conf->count + 1, sizeof *reading.values);
    if (reading.keys != NULL && reading.values != NULL) {
        (void)walk(check->conf, plugin, read_option, &reading);
        check_together(&reading);
    }
    free(reading.keys);
    free(reading.values);
}

void ota_conf_check_plugin(const struct ota_conf_check *check)
{
    const struct ota_conf_line *ours = first_plugin(check->conf, is_ours);
    check_strays(check);
    if (ours == NULL) {
        find_no_plugin(check);
        return;
    }
    (void)ota_conf_check_file(check, ours, ours->value, 4);
    check_order(check, ours);
    check_our_options(check, ours);
}
