/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: HTTP as the vendor's SDK speaks it: which URLs it can use, the bytes of its request, and
 * what it makes of an answer's head.
 * Thread: any; pure functions.
 * Frees: nothing; all are plain values.
 */
#ifndef OTA_SIM_VENDOR_HTTP_H
#define OTA_SIM_VENDOR_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "resolve.h"

#define OTA_VENDOR_PATH_MAX    1023
#define OTA_VENDOR_REQUEST_MAX 1023 /* more goes out garbled */
#define OTA_VENDOR_WIRE_MAX    3072 /* the garbled one */
#define OTA_VENDOR_HEAD_MAX    1014 /* the longest that was seen to work */

struct ota_vendor_url {
    struct ota_place place;
    bool secure, names_port;
    char path[OTA_VENDOR_PATH_MAX + 1]; /* and query */
};

/* False where it can't use the URL: with a port too, unless that is allowed. */
bool ota_vendor_url_parse(const char *text, bool allow_port, struct ota_vendor_url *url);

/* For the bytes from `from` to the file's size: one more than there are. Gives the length. */
size_t ota_vendor_request(const struct ota_vendor_url *url, int64_t from, int64_t size,
                          char wire[OTA_VENDOR_WIRE_MAX]);

struct ota_vendor_head {
    size_t size; /* of the head itself */
    int64_t length;
    int status;
    int code; /* of the fail that it means, or 0 */
};

/* False where the head isn't all there. text ends with a NUL. */
bool ota_vendor_head_parse(const char *text, struct ota_vendor_head *head);

#endif
