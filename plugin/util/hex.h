/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: bytes as text: hex and base64.
 * Thread: any; pure functions.
 * Frees: nothing.
 */
#ifndef OTA_UTIL_HEX_H
#define OTA_UTIL_HEX_H

#include <stdbool.h>
#include <stddef.h>

/* Lower-case digits and a terminator: room for 2 * len + 1. */
void ota_hex(const unsigned char *bytes, size_t len, char *text);

/*
 * Decodes strict base64 (RFC 4648, padded, no white space, unused bits zero) into bytes, which has
 * room for len / 4 * 3. False for anything else.
 */
bool ota_base64_decode(const char *text, size_t len, unsigned char *bytes, size_t *decoded);

#endif
