/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: user name and password as the vendor's SDK makes them (tencent-sdk.md, "Connection"):
 *       "{p}{d};appid;connid;expiry" and "{hex};hmacsha1".
 * Thread: any; pure functions.
 * Frees: nothing; names point into the user name.
 */
#ifndef OTA_VENDOR_LOGIN_H
#define OTA_VENDOR_LOGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OTA_VENDOR_MAC_MAX 32

struct ota_vendor_name {
    const char *names; /* {p}{d}, without a terminator */
    size_t names_len;
    int64_t expiry; /* Unix seconds; INT64_MAX: never */
};

struct ota_vendor_mac {
    unsigned char bytes[OTA_VENDOR_MAC_MAX];
    size_t len; /* 20: HMAC-SHA1, 32: HMAC-SHA256 */
};

/* Whether the user name has that form; else it is somebody else's. */
bool ota_vendor_parse_name(const char *username, struct ota_vendor_name *name);

/* Whether the password has its form; false, too, for another digest than SHA-1 and SHA-256. */
bool ota_vendor_parse_mac(const char *password, struct ota_vendor_mac *mac);

/* Whether the password is the HMAC over the user name, as it was sent, with the secret: *right.
 * False: memory is out, and nobody knows. */
bool ota_vendor_check_mac(const struct ota_vendor_mac *mac, const unsigned char *secret, size_t len,
                          const char *username, bool *right);

#endif
