/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what a download URL says and what a Range header means: pure text work, no sockets.
 * Thread: any; pure functions.
 * Frees: nothing.
 */
#ifndef OTA_DOWNLOAD_H
#define OTA_DOWNLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

#define OTA_URL_MAX  512 /* device-protocol.md "Downstream" */
#define OTA_MAC_HEX  64
#define OTA_PATH_MAX 160 /* the longest path that ota_download_path writes, with terminator */

/* What a URL grants: one firmware, to one device, for one attempt of one task. */
struct ota_claim {
    int64_t firmware_id;
    int64_t task_id;
    int64_t device_id;
    int attempt;
    char mac[OTA_MAC_HEX + 1];
};

/* The claim's MAC: HMAC-SHA256 over firmware id, sha256, device, task, attempt; lower-case hex. */
OTA_CHECKED enum ota_err ota_download_mac(const unsigned char *key, const struct ota_claim *claim,
                                          const char *sha256, char *mac);

/* Writes "/f/{firmware}/{device}/{task}/{attempt}/{mac}" into path (OTA_PATH_MAX). */
void ota_download_path(const struct ota_claim *claim, char *path);

/* Reads a path that ota_download_path wrote, to the letter: no sign, no leading zero, no query,
 * no percent sign. False for every other text. The MAC is read, not checked. */
bool ota_download_parse(const char *path, struct ota_claim *claim);

/* Whether both MACs are equal, as text, in constant time. */
bool ota_download_mac_equal(const char *a, const char *b);

enum ota_range_kind {
    OTA_RANGE_ALL,    /* no usable single range: send everything, 200 */
    OTA_RANGE_PART,   /* 206 */
    OTA_RANGE_OUTSIDE /* 416 */
};

struct ota_range {
    enum ota_range_kind kind;
    int64_t first;
    int64_t length;
};

enum ota_range_form {
    OTA_RANGE_NONE,     /* none, or of a unit that isn't ours, which is to be ignored */
    OTA_RANGE_SINGLE,   /* one of bytes */
    OTA_RANGE_REVERSED, /* one of bytes whose end lies before its start */
    OTA_RANGE_FAULTY    /* several, or not a range at all */
};

/* Whether the header (or NULL) may be answered: a device appends whatever comes to what it has, so
 * "everything" is no answer to a faulty one. A device that kept more of an older image than the
 * new one has asks for a reversed one, and must be told that there is no such thing (416). */
enum ota_range_form ota_range_form(const char *header);

/* What header ("bytes=0-99", or NULL) means for a body of `size` bytes. An end past the file is
 * clamped; several ranges and anything malformed mean everything. */
struct ota_range ota_range_parse(const char *header, int64_t size);

#endif
