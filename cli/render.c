/* SPDX-License-Identifier: BSD-3-Clause */
#include "render.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "format.h"
#include "util/words.h"

#define BAR_WIDTH 20
#define BAR_KEY   "#bar" /* no key of an answer: a bar drawn of "devices" */
#define GAP       2

/* The columns of each list, in order; those that no row has are left out. A list that isn't
 * here shows whatever its first row holds. */
static const struct {
    const char *name;
    const char *columns[OTA_COLUMNS_MAX];
} layouts[] = {
    {"products", {"product", "devices", "online", "firmware", "createdAt", "description"}},
    {"firmware",
     {"version", "order", "filename", "size", "signed", "createdAt", "md5", "description"}},
    {"devices",
     {"device", "version", "online", "hold", "tags", "gateway", "lastSeenAt", "task",
      "description"}},
    {"tasks",
     {"task", "product", "device", "fromVersion", "version", "status", "attempt", "updatedAt",
      "resultCode", "resultMessage"}},
    {"events", {"at", "status", "percent", "detail"}},
    {"batches", {"batch", "product", "version", "name", "state", "done", "failed", "createdAt"}},
    {"stages",
     {"stage", "upTo", "state", "total", "device_offline", "task_waiting", "message_sent",
      "downloading", "downloaded", "upgrading", "failed", "succeeded", "cancelled", "confirmed",
      "contradicted", "gate", "openedAt"}},
    {"excluded", {"devices", "reason"}},
    {"statuses", {"status", "devices", BAR_KEY}},
    {"failures", {"count", "text", "resultCode", "fromVersion"}},
    {"tokens",
     {"token", "name", "role", "roleNow", "madeBy", "createdAt", "expireAt", "lastUsedAt"}},
    {"versions", {"at", "version", "uploaded", "devices", BAR_KEY}},
};

/* Titles that are better than the key's own words. */
static const struct {
    const char *key;
    const char *title;
} titles[] = {
    {"fromVersion", "from"},  {"updatedAt", "updated"},
    {"createdAt", "created"}, {"lastSeenAt", "last seen"},
    {"resultCode", "code"},   {"resultMessage", "result"},
    {"at", "time"},           {BAR_KEY, ""},
    {"upTo", "up to"},        {"openedAt", "opened"},
    {"roleNow", "now"},       {"madeBy", "made by"},
    {"expireAt", "expires"},  {"lastUsedAt", "last used"},
    {"count", "devices"},     {"text", "failure"},
};

static void title_of(const char *key, char *out, size_t size)
{
    for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++) {
        if (strcmp(titles[i].key, key) == 0) {
            (void)snprintf(out, size, "%s", titles[i].title);
            return;
        }
    }
    enum ota_shown shown = ota_shown_parse(key);
    if (shown != OTA_SHOWN_COUNT) {
        (void)snprintf(out, size, "%s", ota_shown_words(shown));
        return;
    }
    ota_format_title(key, out, size);
}

static bool is_number(const char *key, const json_t *value)
{
    char text[64];
    if (!json_is_integer(value)) {
        return false;
    }
    ota_format_value(key, value, NULL, text, sizeof text);
    return strchr(text, ':') == NULL; /* a time reads from the left */
}

static void put_bar(const struct ota_table *table, const json_t *row, char *out, size_t size)
{
    int64_t devices = json_integer_value(json_object_get(row, "devices"));
    ota_format_bar(devices, table->most > devices ? table->most : devices, BAR_WIDTH, out, size);
}

static void put_cell(const struct ota_table *table, const char *key, const json_t *row, char *out,
                     size_t size)
{
    if (strcmp(key, BAR_KEY) == 0) {
        put_bar(table, row, out, size);
    } else {
        ota_format_value(key, json_object_get(row, key), row, out, size);
    }
}

static bool is_in_some_row(const char *key, const json_t *rows)
{
    size_t i;
    const json_t *row;
    const char *wanted = strcmp(key, BAR_KEY) == 0 ? "devices" : key;
    json_array_foreach((json_t *)rows, i, row)
    {
        if (json_object_get(row, wanted) != NULL) {
            return true;
        }
    }
    return false;
}

static const char *const *layout_of(const char *name)
{
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
        if (strcmp(layouts[i].name, name) == 0) {
            return layouts[i].columns;
        }
    }
    return NULL;
}

static void choose_columns(struct ota_table *table, const char *name, const json_t *rows)
{
    const char *const *layout = layout_of(name);
    for (size_t i = 0; layout != NULL && i < OTA_COLUMNS_MAX && layout[i] != NULL; i++) {
        if (is_in_some_row(layout[i], rows)) {
            table->keys[table->count++] = layout[i];
        }
    }
    if (table->count > 0) {
        return;
    }
    const char *key;
    json_t *value;
    json_object_foreach(json_array_get(rows, 0), key, value)
    {
        if (table->count < OTA_COLUMNS_MAX && !ota_format_is_folded(key, json_array_get(rows, 0))) {
            table->keys[table->count++] = key;
        }
    }
}

static void widen(struct ota_table *table, const json_t *rows)
{
    size_t i;
    const json_t *row;
    char text[OTA_FORMAT_MAX];
    json_array_foreach((json_t *)rows, i, row)
    {
        int64_t devices = json_integer_value(json_object_get(row, "devices"));
        table->most = devices > table->most ? devices : table->most;
        for (size_t c = 0; c < table->count; c++) {
            if (strcmp(table->keys[c], BAR_KEY) == 0) {
                continue;
            }
            put_cell(table, table->keys[c], row, text, sizeof text);
            size_t width = ota_format_width(text);
            table->widths[c] = width > table->widths[c] ? width : table->widths[c];
        }
    }
}

void ota_table_begin(struct ota_table *table, const char *name, const json_t *rows)
{
    *table = (struct ota_table){0};
    choose_columns(table, name, rows);
    for (size_t c = 0; c < table->count; c++) {
        char title[64];
        title_of(table->keys[c], title, sizeof title);
        table->widths[c] = ota_format_width(title);
    }
    widen(table, rows);
}

/* Writes the spaces owed and the cell; returns the spaces that the next one owes: a line never
 * ends in spaces. */
static int print_cell(const struct ota_table *table, size_t column, const char *text, int owed,
                      bool right, enum ota_colour colour)
{
    size_t width = ota_format_width(text);
    int pad = table->widths[column] > width ? (int)(table->widths[column] - width) : 0;
    if (width > 0) {
        (void)printf("%*s%s%s%s", owed + (right ? pad : 0), "", ota_format_on(colour), text,
                     ota_format_off(colour));
    }
    return GAP + (right ? 0 : pad) + (width > 0 ? 0 : owed);
}

void ota_table_header(const struct ota_table *table)
{
    int owed = 0;
    for (size_t c = 0; c < table->count; c++) {
        char title[64];
        title_of(table->keys[c], title, sizeof title);
        owed = print_cell(table, c, title, owed, false, OTA_BOLD);
    }
    (void)putchar('\n');
}

void ota_table_rows(struct ota_table *table, const json_t *rows)
{
    size_t i;
    const json_t *row;
    char text[OTA_FORMAT_MAX];
    widen(table, rows);
    json_array_foreach((json_t *)rows, i, row)
    {
        int owed = 0;
        for (size_t c = 0; c < table->count; c++) {
            const char *key = table->keys[c];
            const json_t *value = json_object_get(row, key);
            put_cell(table, key, row, text, sizeof text);
            owed = print_cell(table, c, text, owed, is_number(key, value),
                              ota_format_colour(key, value, row));
        }
        (void)putchar('\n');
    }
}

bool ota_render_is_table(const json_t *value)
{
    return json_is_array(value) && json_is_object(json_array_get(value, 0));
}

static size_t title_width(const json_t *object)
{
    size_t width = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        char title[64];
        ota_format_title(key, title, sizeof title);
        size_t mine = ota_format_width(title);
        width = mine > width && !ota_format_is_folded(key, object) ? mine : width;
    }
    return width;
}

static void print_line(const char *key, const json_t *value, const json_t *object, size_t width)
{
    char title[64];
    char text[OTA_FORMAT_MAX];
    enum ota_colour colour = ota_format_colour(key, value, object);
    ota_format_title(key, title, sizeof title);
    ota_format_value(key, value, object, text, sizeof text);
    (void)printf("%s%s:%s%*s %s%s%s\n", ota_format_on(OTA_BOLD), title, ota_format_off(OTA_BOLD),
                 (int)(width - ota_format_width(title)), "", ota_format_on(colour), text,
                 ota_format_off(colour));
}

/* Sentences are long: one a line. */
static void print_sentences(const char *key, const json_t *value, const json_t *object,
                            size_t width)
{
    size_t i;
    json_t *sentence;
    json_array_foreach((json_t *)value, i, sentence)
    {
        print_line(key, sentence, object, width);
    }
}

static void print_tables(const json_t *object)
{
    const char *key;
    json_t *rows;
    json_object_foreach((json_t *)object, key, rows)
    {
        if (ota_render_is_table(rows)) {
            struct ota_table table;
            (void)putchar('\n');
            ota_table_begin(&table, key, rows);
            ota_table_header(&table);
            ota_table_rows(&table, rows);
        }
    }
}

void ota_render_block(const json_t *object)
{
    const char *key;
    json_t *value;
    size_t width = title_width(object);
    json_object_foreach((json_t *)object, key, value)
    {
        if (ota_render_is_table(value) || ota_format_is_folded(key, object)) {
            continue;
        }
        if (strcmp(key, "warnings") == 0 && json_array_size(value) > 0) {
            print_sentences(key, value, object, width);
        } else {
            print_line(key, value, object, width);
        }
    }
    print_tables(object);
}

/* {"device": {…}} holds one object, under the name of what it is; whatever else comes with it
 * (a task's events) are tables. */
const json_t *ota_render_only_object(const json_t *data)
{
    const json_t *found = NULL;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)data, key, value)
    {
        if (json_is_object(value) && found == NULL) {
            found = value;
        } else if (!json_is_array(value)) {
            return NULL;
        }
    }
    return found;
}

void ota_render_data(const json_t *data)
{
    const json_t *object = ota_render_only_object(data);
    if (json_object_size(data) == 0) {
        (void)puts("done");
    } else if (object == NULL) {
        ota_render_block(data);
    } else {
        ota_render_block(object);
        print_tables(data);
    }
}

void ota_render_json(const json_t *data)
{
    (void)json_dumpf(data, stdout, isatty(STDOUT_FILENO) ? JSON_INDENT(2) : JSON_COMPACT);
    (void)putchar('\n');
}
