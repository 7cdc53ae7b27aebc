/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: answers on stdout: tables and blocks for people, JSON for scripts.
 * Thread: main.
 * Frees: nothing; a table's widths live in the caller's struct.
 */
#ifndef OTA_CLI_RENDER_H
#define OTA_CLI_RENDER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OTA_COLUMNS_MAX 18

/* A table that is written page by page: columns may grow, but never shrink. */
struct ota_table {
    const char *keys[OTA_COLUMNS_MAX];
    size_t widths[OTA_COLUMNS_MAX];
    size_t count;
    int64_t most; /* devices in the fullest row: the longest bar */
};

/* Chooses the columns of rows called name ("devices"); keys live as long as the first page
 * where name has no table of its own. */
void ota_table_begin(struct ota_table *table, const char *name, const json_t *rows);
void ota_table_header(const struct ota_table *table);
void ota_table_rows(struct ota_table *table, const json_t *rows);

/* Objects as blocks, arrays of objects as tables. */
void ota_render_data(const json_t *data);

/* A list of objects. */
bool ota_render_is_table(const json_t *value);

/* The one object that an answer is about, or NULL. */
const json_t *ota_render_only_object(const json_t *data);

/* One document, indented on a terminal. */
void ota_render_json(const json_t *data);

/* Keys and values, one a line. */
void ota_render_block(const json_t *object);

#endif
