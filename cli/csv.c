/* SPDX-License-Identifier: BSD-3-Clause */
#include "csv.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "format.h"
#include "render.h"

#define TEXT_MAX        8192
#define NAME_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-"

/* A spreadsheet runs what begins so, and a device chooses its own messages: an apostrophe makes it
 * text. Names that begin with - can't do anything. */
static bool is_formula(const char *text)
{
    return text[0] != '\0' && strchr("=+-@\t\r", text[0]) != NULL &&
           text[strspn(text, NAME_CHARACTERS)] != '\0';
}

static void print_quoted(const char *text)
{
    (void)putchar('"');
    for (; *text != '\0'; text++) {
        (void)putchar(*text);
        if (*text == '"') {
            (void)putchar('"');
        }
    }
    (void)putchar('"');
}

static void print_text(const char *text)
{
    char guarded[TEXT_MAX];
    char clean[TEXT_MAX];
    if (is_formula(text) || isatty(STDOUT_FILENO)) {
        (void)snprintf(guarded, sizeof guarded, "%s%s", is_formula(text) ? "'" : "", text);
        text = guarded;
    }
    if (isatty(STDOUT_FILENO)) {
        ota_format_clean(guarded, clean, sizeof clean);
        text = clean;
    }
    if (strpbrk(text, ",\"\r\n") == NULL) {
        (void)fputs(text, stdout);
    } else {
        print_quoted(text);
    }
}

/* "2025-11-24T17:03:12.000Z": the same everywhere, and nothing is lost. */
static void print_time(int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm utc = {0};
    char text[32];
    if (gmtime_r(&seconds, &utc) == NULL ||
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc) == 0) {
        (void)printf("%" PRId64, ms);
        return;
    }
    (void)printf("%s.%03dZ", text, (int)(ms % 1000));
}

static void print_nested(const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    print_text(text != NULL ? text : "");
    free(text);
}

static bool is_list_of_texts(const json_t *value)
{
    size_t i;
    const json_t *member;
    json_array_foreach(value, i, member)
    {
        if (!json_is_string(member)) {
            return false;
        }
    }
    return json_is_array(value);
}

/* "canary,site=berlin": as --tags takes it. */
static void print_list(const json_t *list)
{
    size_t i;
    const json_t *member;
    char joined[4096] = "";
    size_t n = 0;
    json_array_foreach(list, i, member)
    {
        n += (size_t)snprintf(joined + n, sizeof joined - n, "%s%s", i > 0 ? "," : "",
                              json_string_value(member));
        if (n >= sizeof joined) {
            print_nested(list);
            return;
        }
    }
    print_text(joined);
}

static void print_value(const char *key, const json_t *value)
{
    if (value == NULL || json_is_null(value)) {
        return;
    }
    if (ota_format_is_time(key, value)) {
        print_time(json_integer_value(value));
    } else if (json_is_string(value)) {
        print_text(json_string_value(value));
    } else if (json_is_boolean(value)) {
        (void)fputs(json_is_true(value) ? "true" : "false", stdout);
    } else if (is_list_of_texts(value)) {
        print_list(value);
    } else {
        print_nested(value);
    }
}

/* A device's last task, which has columns of its own, the same for devices that have none. */
static const char *const task_keys[] = {
    "task",       "batch",   "fromVersion", "version",       "status",        "confirmation",
    "waitReason", "percent", "resultCode",  "resultMessage", "deviceMessage", "attempt",
    "createdAt",  "sentAt",  "updatedAt",   "deadlineAt",    "finishedAt",
};

#define TASK_KEY_COUNT (sizeof task_keys / sizeof task_keys[0])

static bool is_last_task(const char *key, const json_t *value)
{
    return strcmp(key, "task") == 0 && (json_is_object(value) || json_is_null(value));
}

static void print_task_keys(void)
{
    for (size_t i = 0; i < TASK_KEY_COUNT; i++) {
        (void)printf("%stask.%s", i > 0 ? "," : "", task_keys[i]);
    }
}

static void print_task(const json_t *task)
{
    for (size_t i = 0; i < TASK_KEY_COUNT; i++) {
        (void)fputs(i > 0 ? "," : "", stdout);
        print_value(task_keys[i], json_object_get(task, task_keys[i]));
    }
}

void ota_csv_header(const json_t *row)
{
    const char *key;
    json_t *value;
    const char *comma = "";
    json_object_foreach((json_t *)row, key, value)
    {
        (void)fputs(comma, stdout);
        if (is_last_task(key, value)) {
            print_task_keys();
        } else {
            print_text(key);
        }
        comma = ",";
    }
    (void)fputs("\r\n", stdout);
}

void ota_csv_row(const json_t *columns, const json_t *row)
{
    const char *key;
    json_t *value;
    const char *comma = "";
    json_object_foreach((json_t *)columns, key, value)
    {
        (void)fputs(comma, stdout);
        if (is_last_task(key, value)) {
            print_task(json_object_get(row, key));
        } else {
            print_value(key, json_object_get(row, key));
        }
        comma = ",";
    }
    (void)fputs("\r\n", stdout);
}

static void begin_table(bool *started)
{
    if (*started) {
        (void)fputs("\r\n", stdout);
    }
    *started = true;
}

static void print_object(const json_t *object, bool *started)
{
    json_t *columns = json_object();
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        if (!ota_render_is_table(value)) {
            (void)json_object_set(columns, key, value);
        }
    }
    if (json_object_size(columns) > 0) {
        begin_table(started);
        ota_csv_header(columns);
        ota_csv_row(columns, object);
    }
    json_decref(columns);
}

static void print_tables(const json_t *object, bool *started)
{
    const char *key;
    json_t *rows;
    json_object_foreach((json_t *)object, key, rows)
    {
        size_t i;
        const json_t *row;
        if (!ota_render_is_table(rows)) {
            continue;
        }
        begin_table(started);
        ota_csv_header(json_array_get(rows, 0));
        json_array_foreach(rows, i, row)
        {
            ota_csv_row(json_array_get(rows, 0), row);
        }
    }
}

void ota_csv_data(const json_t *data)
{
    bool started = false;
    const json_t *object = ota_render_only_object(data);
    print_object(object != NULL ? object : data, &started);
    if (object != NULL) {
        print_tables(object, &started);
    }
    print_tables(data, &started);
}
