/* SPDX-License-Identifier: BSD-3-Clause */
#include "conf_file.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEVELS_MAX 1 /* an included file can't include */

static enum ota_exit load_file(const char *path, int level, struct ota_conf *conf,
                               struct ota_findings *findings, struct ota_failure *failure);

static enum ota_exit fail_memory(struct ota_failure *failure)
{
    return ota_fail(failure, OTA_EXIT_USAGE, NULL, NULL, "out of memory");
}

struct ota_finding ota_conf_at(const struct ota_conf_line *line, enum ota_level level,
                               const char *rule, const char *remedy)
{
    return (struct ota_finding){
        .level = level, .rule = rule, .file = line->file, .line = line->number, .remedy = remedy};
}

/* --- lines ------------------------------------------------------------------------------------ */

static void trim(char *text)
{
    size_t len = strlen(text);
    while (len > 0 && strchr(" \t\r\n", text[len - 1]) != NULL) {
        text[--len] = '\0';
    }
}

static bool grow(struct ota_conf *conf)
{
    if (conf->count < conf->room) {
        return true;
    }
    size_t room = conf->room == 0 ? 64 : conf->room * 2;
    struct ota_conf_line *lines = realloc(conf->lines, room * sizeof *lines);
    if (lines == NULL) {
        return false;
    }
    conf->lines = lines;
    conf->room = room;
    return true;
}

/* The word and the rest of the line; only a space ends the word, as in Mosquitto. */
static bool add_line(struct ota_conf *conf, const char *file, int number, char *text)
{
    trim(text);
    char *key = text + strspn(text, " ");
    char *value = key + strcspn(key, " ");
    if (*value != '\0') {
        *value++ = '\0';
        value += strspn(value, " ");
    }
    if (!grow(conf)) {
        return false;
    }
    struct ota_conf_line line = {.file = file,
                                 .number = number,
                                 .part = (int)conf->file_count,
                                 .key = strdup(key),
                                 .value = strdup(value)};
    if (line.key == NULL || line.value == NULL) {
        free(line.key);
        free(line.value);
        return false;
    }
    conf->lines[conf->count++] = line;
    return true;
}

/* --- include_dir ------------------------------------------------------------------------------ */

static int is_conf(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return len > 5 && strcmp(entry->d_name + len - 5, ".conf") == 0;
}

/* Character by character: first whatever its case, then capitals first, as Mosquitto does it. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
    const unsigned char *one = (const unsigned char *)(*a)->d_name;
    const unsigned char *other = (const unsigned char *)(*b)->d_name;
    while (*one != '\0' && *one == *other) {
        one++;
        other++;
    }
    int apart = toupper(*one) - toupper(*other);
    return apart != 0 ? apart : *one - *other;
}

static enum ota_exit load_folder(const struct ota_conf_line *line, int level, struct ota_conf *conf,
                                 struct ota_findings *findings, struct ota_failure *failure)
{
    struct dirent **entries = NULL;
    enum ota_exit rc = OTA_EXIT_OK;
    const struct ota_conf_line copy = *line; /* the array may move */
    int count = scandir(copy.value, &entries, is_conf, by_name);
    if (count < 0) {
        struct ota_finding at = ota_conf_at(&copy, OTA_LEVEL_ERROR, "include_dir",
                                            "create the folder, or remove the line: the broker "
                                            "doesn't start");
        ota_findings_add(findings, &at, "include_dir %s can't be read: %s", copy.value,
                         strerror(errno));
        return OTA_EXIT_OK;
    }
    for (int i = 0; i < count; i++) {
        char path[4096];
        (void)snprintf(path, sizeof path, "%s/%s", copy.value, entries[i]->d_name);
        free(entries[i]);
        rc = rc == OTA_EXIT_OK ? load_file(path, level + 1, conf, findings, failure) : rc;
    }
    free(entries);
    return rc;
}

static enum ota_exit include(struct ota_conf *conf, int level, struct ota_findings *findings,
                             struct ota_failure *failure)
{
    const struct ota_conf_line *line = &conf->lines[conf->count - 1];
    if (strcmp(line->key, "include_dir") != 0) {
        return OTA_EXIT_OK;
    }
    if (level >= LEVELS_MAX) {
        struct ota_finding at =
            ota_conf_at(line, OTA_LEVEL_ERROR, "include_dir", "move the line into the main file");
        ota_findings_add(findings, &at, "an included file can't include others");
        return OTA_EXIT_OK;
    }
    return load_folder(line, level, conf, findings, failure);
}

/* --- files ------------------------------------------------------------------------------------ */

static const char *keep_name(const char *path, struct ota_conf *conf)
{
    char *name = strdup(path);
    if (name == NULL || conf->file_count == sizeof conf->files / sizeof conf->files[0]) {
        free(name);
        return NULL;
    }
    conf->files[conf->file_count++] = name;
    return name;
}

static enum ota_exit load_stream(FILE *stream, const char *name, int level, struct ota_conf *conf,
                                 struct ota_findings *findings, struct ota_failure *failure)
{
    enum ota_exit rc = OTA_EXIT_OK;
    int part = (int)conf->file_count;
    char *text = NULL;
    size_t room = 0;
    for (int number = 1; rc == OTA_EXIT_OK && getline(&text, &room, stream) >= 0; number++) {
        if (text[0] == '#' || text[strspn(text, " \t\r\n")] == '\0') {
            continue;
        }
        if (!add_line(conf, name, number, text)) {
            rc = fail_memory(failure);
            break;
        }
        conf->lines[conf->count - 1].part = part;
        rc = include(conf, level, findings, failure);
    }
    free(text);
    return rc;
}

static enum ota_exit load_file(const char *path, int level, struct ota_conf *conf,
                               struct ota_findings *findings, struct ota_failure *failure)
{
    FILE *stream = fopen(path, "re");
    if (stream == NULL) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, "file", "cannot read %s: %s", path,
                        strerror(errno));
    }
    const char *name = keep_name(path, conf);
    enum ota_exit rc = name != NULL ? load_stream(stream, name, level, conf, findings, failure)
                                    : fail_memory(failure);
    (void)fclose(stream);
    return rc;
}

enum ota_exit ota_conf_load(const char *path, struct ota_conf *conf, struct ota_findings *findings,
                            struct ota_failure *failure)
{
    *conf = (struct ota_conf){0};
    return load_file(path, 0, conf, findings, failure);
}

void ota_conf_free(struct ota_conf *conf)
{
    for (size_t i = 0; i < conf->count; i++) {
        free(conf->lines[i].key);
        free(conf->lines[i].value);
    }
    for (size_t i = 0; i < conf->file_count; i++) {
        free(conf->files[i]);
    }
    free(conf->lines);
    *conf = (struct ota_conf){0};
}

const struct ota_conf_line *ota_conf_last(const struct ota_conf *conf, const char *key)
{
    for (size_t i = conf->count; i > 0; i--) {
        if (strcmp(conf->lines[i - 1].key, key) == 0) {
            return &conf->lines[i - 1];
        }
    }
    return NULL;
}

bool ota_conf_is_true(const struct ota_conf_line *line)
{
    return line != NULL && (strcmp(line->value, "true") == 0 || strcmp(line->value, "1") == 0);
}
