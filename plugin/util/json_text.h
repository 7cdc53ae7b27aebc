/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: JSON to and from texts where memory may be too short, which jansson alone gets wrong. Its
 *       lexer doesn't notice when its buffer can't grow: it reads and writes past what it kept, and
 *       where that goes well it says "invalid token". Its dumps and its copies leave out a key, and
 *       succeed.
 * Thread: any.
 * Frees: the caller decrefs or frees the result.
 */
#ifndef OTA_UTIL_JSON_TEXT_H
#define OTA_UTIL_JSON_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* As json_loadb; NULL with *no_memory set says nothing about the text. `where` may be NULL. */
json_t *ota_json_read(const char *text, size_t len, size_t flags, json_error_t *where,
                      bool *no_memory);

/* As json_dumps; NULL, too, for a json that is NULL. */
char *ota_json_write(const json_t *json, size_t flags);
/* The same of an object, without these keys; NULL ends them. */
char *ota_json_write_without(const json_t *object, const char *const *without, size_t flags);

/* SHA-256 (32 bytes) over the object, whatever the order of its keys, without these; NULL ends
 * them. False: memory is out. */
bool ota_json_digest(const json_t *object, const char *const *without, unsigned char *digest);

#endif
