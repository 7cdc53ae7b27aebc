/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: writing a small flat JSON object into a buffer, for the messages that go out with every
 *       report (docs/adr/0009-json-on-the-hot-path.md). All other JSON is jansson's.
 * Thread: any; one ota_json_out belongs to one caller.
 * Frees: nothing; the buffer is the caller's.
 */
#ifndef OTA_UTIL_JSON_OUT_H
#define OTA_UTIL_JSON_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ota_json_out {
    char *text;
    size_t size;
    size_t len;
    bool full; /* something didn't fit */
};

/* Begins an object in text, which has room for size bytes. */
void ota_json_out_begin(struct ota_json_out *out, char *text, size_t size);

/* Members, in the order of the calls. Keys are written as they are; values are escaped where JSON
 * demands it, and only there. They must be UTF-8. */
void ota_json_out_text(struct ota_json_out *out, const char *key, const char *value);
void ota_json_out_int(struct ota_json_out *out, const char *key, int64_t value);
void ota_json_out_bool(struct ota_json_out *out, const char *key, bool value);

/* Ends the object; its length, without a terminator, or 0 where it didn't fit. */
size_t ota_json_out_end(struct ota_json_out *out);

#endif
