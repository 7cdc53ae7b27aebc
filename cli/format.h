/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: how one value is written for people.
 * Thread: main.
 * Frees: nothing; the caller brings the buffers.
 */
#ifndef OTA_CLI_FORMAT_H
#define OTA_CLI_FORMAT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OTA_FORMAT_MAX 1024

enum ota_colour { OTA_PLAIN, OTA_BOLD, OTA_DIM, OTA_RED, OTA_GREEN, OTA_YELLOW, OTA_CYAN };

/* Copies text without what would steer a terminal; never cuts a character in two. */
void ota_format_clean(const char *text, char *out, size_t size);

/* How many columns clean text takes. */
size_t ota_format_width(const char *text);

/* "2026-11-24 17:03:12", local. */
void ota_format_time(int64_t ms, char *out, size_t size);

/* "691.9 KB"; 1024 to the next, as in the 10 MB that a firmware may have. */
void ota_format_size(int64_t bytes, char *out, size_t size);

/* "45 s", "12 min", "2 h 10 min", "3 d 4 h". */
void ota_format_duration(int64_t seconds, char *out, size_t size);

/* value of most as a bar of at most width columns; no bar is empty but that of 0. */
void ota_format_bar(int64_t value, int64_t most, int width, char *out, size_t size);

/* Any value of an answer, by its key; object is what it stands in: a status takes its percent
 * and confirmation from there. */
void ota_format_value(const char *key, const json_t *value, const json_t *object, char *out,
                      size_t size);

/* Whether the key's value is already part of what the status of this object says. */
bool ota_format_is_folded(const char *key, const json_t *object);

/* Whether the value is a time in Unix milliseconds. */
bool ota_format_is_time(const char *key, const json_t *value);

/* "version reported at" for "versionReportedAt". */
void ota_format_title(const char *key, char *out, size_t size);

enum ota_colour ota_format_colour(const char *key, const json_t *value, const json_t *object);

/* Escape sequences, or "" where stdout is no terminal or NO_COLOR is set. */
const char *ota_format_on(enum ota_colour colour);
const char *ota_format_off(enum ota_colour colour);

#endif
