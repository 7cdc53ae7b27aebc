/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the rules for names and texts (device-protocol.md "Names", control-api.md).
 * Thread: any; pure functions.
 * Frees: nothing.
 */
#ifndef OTA_UTIL_NAMES_H
#define OTA_UTIL_NAMES_H

#include <stdbool.h>
#include <stddef.h>

/* Longest values in bytes, without the terminator; buffers are one larger. */
#define OTA_PRODUCT_MAX  32
#define OTA_DEVICE_MAX   48
#define OTA_VERSION_MAX  32
#define OTA_FILENAME_MAX 128
#define OTA_TEXT_MAX     256
#define OTA_TAG_MAX      32
#define OTA_TAGS_MAX     16 /* tags a device */
#define OTA_USER_MAX     256
#define OTA_BACKUP_MAX   64

#define OTA_DEVICE_MESSAGE_MAX 128 /* a device's result_msg, as it is kept */

/* What the vendor's SDK can speak (tencent-sdk.md, "Connection"). */
#define OTA_VENDOR_PRODUCT_MAX 10
#define OTA_VENDOR_NAMES_MAX   50

/* Each takes text of exactly len bytes (no terminator needed) and tells whether it is legal. */
bool ota_name_is_product(const char *text, size_t len);
bool ota_name_is_device(const char *text, size_t len);
bool ota_name_is_version(const char *text, size_t len);
bool ota_name_is_tag(const char *text, size_t len);

/* A bare file name ending in .bin, .tar, .gz or .zip, in any case. */
bool ota_name_is_filename(const char *text, size_t len);

/* A bare file name of a backup: visible, and none that SQLite would take for a part of another. */
bool ota_name_is_backup(const char *text, size_t len);

/* At most OTA_TEXT_MAX bytes without control characters. The caller knows that it is UTF-8. */
bool ota_name_is_text(const char *text, size_t len);

/* Copies what fits into size bytes, cut at a character's border. */
void ota_text_cut(const char *text, char *out, size_t size);

/* Whether tags (sorted, one space between) has the tag of len bytes. */
bool ota_tags_have(const char *tags, const char *tag, size_t len);

/* Whether the NUL-terminated text is exactly len lower-case hex digits. */
bool ota_name_is_hex(const char *text, size_t len);

#endif
