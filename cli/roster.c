/* SPDX-License-Identifier: BSD-3-Clause */
#include "roster.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/names.h"

#define SPACE "\t\r\n\v\f "
#define BOM   "\xef\xbb\xbf" /* some editors put it in front */

static enum ota_exit fail_memory(struct ota_failure *failure)
{
    return ota_fail(failure, OTA_EXIT_USAGE, NULL, NULL, "out of memory");
}

static enum ota_exit add(struct ota_roster *roster, const char *name, json_int_t line,
                         struct ota_failure *failure)
{
    if (json_object_get(roster->lines, name) != NULL) {
        return OTA_EXIT_OK;
    }
    bool good = json_object_set_new(roster->lines, name, json_integer(line)) == 0 &&
                json_array_append_new(roster->names, json_string(name)) == 0;
    return good ? OTA_EXIT_OK : fail_memory(failure);
}

/* Cuts what isn't the name off both ends. */
static char *trim(char *line)
{
    line[strcspn(line, "#")] = '\0';
    line += strncmp(line, BOM, strlen(BOM)) == 0 ? strlen(BOM) : 0;
    line += strspn(line, SPACE);
    size_t len = strlen(line);
    while (len > 0 && strchr(SPACE, line[len - 1]) != NULL) {
        line[--len] = '\0';
    }
    return line;
}

static enum ota_exit add_line(struct ota_roster *roster, char *line, json_int_t number, bool *any,
                              struct ota_failure *failure)
{
    const char *name = trim(line);
    if (name[0] == '\0') {
        return OTA_EXIT_OK;
    }
    if (!ota_name_is_device(name, strlen(name))) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, "devices",
                        "%s, line %" JSON_INTEGER_FORMAT
                        ": \"%.80s\" is no device's name: 1-48 of A-Z a-z 0-9 _ : -, one a line",
                        roster->file, number, name);
    }
    *any = true;
    return add(roster, name, number, failure);
}

static enum ota_exit read_lines(struct ota_roster *roster, FILE *file, struct ota_failure *failure)
{
    enum ota_exit rc = OTA_EXIT_OK;
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    bool any = false;
    for (json_int_t number = 1; rc == OTA_EXIT_OK && (len = getline(&line, &room, file)) >= 0;
         number++) {
        /* A zero byte would hide the rest of its line. */
        for (ssize_t i = 0; i < len; i++) {
            line[i] = (char)(line[i] == '\0' ? '?' : line[i]);
        }
        rc = add_line(roster, line, number, &any, failure);
    }
    free(line);
    if (rc == OTA_EXIT_OK && ferror(file) != 0) {
        rc = ota_fail(failure, OTA_EXIT_USAGE, NULL, "devices", "cannot read %s: %s", roster->file,
                      strerror(errno));
    }
    if (rc == OTA_EXIT_OK && !any) {
        rc = ota_fail(failure, OTA_EXIT_USAGE, NULL, "devices",
                      "%s holds no name: one device a line, # begins a comment", roster->file);
    }
    return rc;
}

static enum ota_exit read_file(struct ota_roster *roster, const char *path,
                               struct ota_failure *failure)
{
    bool standard = strcmp(path, "-") == 0;
    roster->file = standard ? "standard input" : path;
    FILE *file = standard ? stdin : fopen(path, "re");
    if (file == NULL) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, "devices", "cannot read %s: %s", path,
                        strerror(errno));
    }
    enum ota_exit rc = read_lines(roster, file, failure);
    if (!standard) {
        (void)fclose(file);
    }
    return rc;
}

enum ota_exit ota_roster_read(const json_t *given, const char *path, struct ota_roster *roster,
                              struct ota_failure *failure)
{
    size_t i;
    json_t *name;
    enum ota_exit rc = OTA_EXIT_OK;
    *roster = (struct ota_roster){.names = json_array(), .lines = json_object()};
    json_array_foreach((json_t *)given, i, name)
    {
        if (rc == OTA_EXIT_OK) {
            rc = add(roster, json_string_value(name), 0, failure);
        }
    }
    return rc == OTA_EXIT_OK && path != NULL ? read_file(roster, path, failure) : rc;
}

/* The server names the device at the end of its sentence. */
void ota_roster_locate(const struct ota_roster *roster, struct ota_failure *failure)
{
    struct ota_failure inner = *failure;
    const char *name = strrchr(inner.text, ' ');
    const json_t *line = name != NULL ? json_object_get(roster->lines, name + 1) : NULL;
    if (inner.exit != OTA_EXIT_REFUSED || strcmp(inner.code, "not_found") != 0 || line == NULL) {
        return;
    }
    char place[256] = "";
    if (json_integer_value(line) > 0) {
        (void)snprintf(place, sizeof place, "%.200s, line %" JSON_INTEGER_FORMAT ": ", roster->file,
                       json_integer_value(line));
    }
    (void)ota_fail(failure, inner.exit, inner.code, inner.field,
                   "%s%s: correct the name or leave it out, or let the device report first (or "
                   "otactl device create)",
                   place, inner.text);
}

json_t *ota_roster_piece(const struct ota_roster *roster, size_t first, size_t count)
{
    json_t *piece = json_array();
    for (size_t i = first; i < first + count && i < json_array_size(roster->names); i++) {
        (void)json_array_append(piece, json_array_get(roster->names, i));
    }
    return piece;
}

void ota_roster_free(struct ota_roster *roster)
{
    json_decref(roster->names);
    json_decref(roster->lines);
    *roster = (struct ota_roster){0};
}
