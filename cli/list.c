/* SPDX-License-Identifier: BSD-3-Clause */
#include "list.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "batch_show.h"
#include "csv.h"
#include "render.h"

struct listing {
    enum ota_output output;
    int64_t left; /* rows still wanted */
    int64_t page_size;
    int64_t printed;
    bool started;
    char name[64]; /* of the array: "devices" */
    struct ota_table table;
    json_t *first; /* the page, or row, that the columns were read from */
};

static void print_quoted(const char *text)
{
    json_t *string = json_string(text);
    (void)json_dumpf(string, stdout, JSON_ENCODE_ANY);
    json_decref(string);
}

/* A fleet's list doesn't fit into memory: rows are written as they come, into a frame. */
static void print_json_rows(struct listing *listing, const json_t *rows)
{
    size_t i;
    json_t *row;
    if (!listing->started) {
        (void)putchar('{');
        print_quoted(listing->name);
        (void)fputs(":[", stdout);
    }
    json_array_foreach((json_t *)rows, i, row)
    {
        (void)fputs(listing->printed + (int64_t)i > 0 ? ",\n" : "\n", stdout);
        (void)json_dumpf(row, stdout, JSON_COMPACT);
    }
}

static void print_rows(struct listing *listing, const json_t *rows)
{
    if (json_array_size(rows) == 0) {
        return;
    }
    json_t *shown = strcmp(listing->name, "batches") == 0 ? ota_batch_show_rows(rows)
                                                          : json_incref((json_t *)rows);
    if (!listing->started) {
        listing->first = json_incref(shown);
        ota_table_begin(&listing->table, listing->name, shown);
        ota_table_header(&listing->table);
        listing->started = true;
    }
    ota_table_rows(&listing->table, shown);
    json_decref(shown);
}

static void print_csv_rows(struct listing *listing, const json_t *rows)
{
    size_t i;
    json_t *row;
    json_array_foreach((json_t *)rows, i, row)
    {
        if (listing->first == NULL) {
            listing->first = json_incref(row);
            ota_csv_header(row);
        }
        ota_csv_row(listing->first, row);
    }
}

static void print_page(struct listing *listing, const json_t *rows)
{
    switch (listing->output) {
    case OTA_OUTPUT_TABLE:
        print_rows(listing, rows);
        break;
    case OTA_OUTPUT_JSON:
        print_json_rows(listing, rows);
        listing->started = true;
        break;
    case OTA_OUTPUT_CSV:
        print_csv_rows(listing, rows);
        break;
    }
    listing->printed += (int64_t)json_array_size(rows);
    listing->left -= (int64_t)json_array_size(rows);
    (void)fflush(stdout);
}

static const json_t *find_rows(const json_t *data, struct listing *listing)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)data, key, value)
    {
        if (json_is_array(value)) {
            (void)snprintf(listing->name, sizeof listing->name, "%s", key);
            return value;
        }
    }
    return NULL;
}

static enum ota_exit next_page(struct ota_session *session, const struct ota_job *job,
                               struct listing *listing, json_t *fields, bool *more,
                               struct ota_failure *failure)
{
    int64_t limit = listing->left < listing->page_size ? listing->left : listing->page_size;
    json_t *data = NULL;
    if (json_object_set_new(fields, "limit", json_integer(limit)) != 0) {
        return ota_fail(failure, OTA_EXIT_CONNECTION, "internal", NULL, "out of memory");
    }
    enum ota_exit rc = ota_session_call(session, job->verb.command->id, fields, &data, failure);
    if (rc != OTA_EXIT_OK) {
        return rc;
    }
    print_page(listing, find_rows(data, listing));
    json_t *cursor = json_object_get(data, "nextCursor");
    *more = json_is_string(cursor);
    if (*more && json_object_set(fields, "cursor", cursor) != 0) {
        rc = ota_fail(failure, OTA_EXIT_CONNECTION, "internal", NULL, "out of memory");
    }
    json_decref(data);
    return rc;
}

static void print_end(const struct listing *listing, const char *cursor)
{
    if (listing->output == OTA_OUTPUT_JSON) {
        (void)fputs(listing->printed > 0 ? "\n]" : "]", stdout);
        if (cursor != NULL) {
            (void)fputs(",\"nextCursor\":", stdout);
            print_quoted(cursor);
        }
        (void)puts("}");
    } else if (listing->printed == 0 && listing->output == OTA_OUTPUT_TABLE) {
        (void)printf("no %s\n", listing->name[0] != '\0' ? listing->name : "rows");
    } else if (cursor != NULL) {
        (void)fprintf(stderr, "there are more: --limit, or --cursor %s\n", cursor);
    }
}

static int64_t number_or(const json_t *object, const char *key, int64_t fallback)
{
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value) : fallback;
}

enum ota_exit ota_list_run(struct ota_session *session, const struct ota_job *job,
                           struct ota_failure *failure)
{
    struct listing listing = {.output = session->settings->output,
                              .left = number_or(job->local, "limit", INT64_MAX),
                              .page_size = number_or(job->local, "pageSize", OTA_LIST_MAX)};
    enum ota_exit rc = OTA_EXIT_OK;
    json_t *fields = json_copy(job->fields);
    bool more = true;
    /* A closed pipe (| head) ends the list. */
    while (rc == OTA_EXIT_OK && more && listing.left > 0 && ferror(stdout) == 0) {
        rc = next_page(session, job, &listing, fields, &more, failure);
    }
    if (rc == OTA_EXIT_OK) {
        print_end(&listing, more ? json_string_value(json_object_get(fields, "cursor")) : NULL);
    }
    json_decref(listing.first);
    json_decref(fields);
    return rc;
}
