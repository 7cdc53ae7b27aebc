/* SPDX-License-Identifier: BSD-3-Clause */
#include "download.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "store/store.h"
#include "util/names.h"

enum ota_err ota_download_mac(const unsigned char *key, const struct ota_claim *claim,
                              const char *sha256, char *mac)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char digest[OTA_MAC_HEX / 2];
    char text[256];

    if (!ota_name_is_hex(sha256, OTA_SHA256_HEX)) {
        return OTA_INTERNAL;
    }
    /* A line a field, and no field can hold a line break: no two claims share a text. */
    int len = snprintf(text, sizeof text, "mosquitto-ota-url/1\n%lld\n%s\n%lld\n%lld\n%d\n",
                       (long long)claim->firmware_id, sha256, (long long)claim->device_id,
                       (long long)claim->task_id, claim->attempt);
    if (HMAC(EVP_sha256(), key, OTA_KEY_SIZE, (const unsigned char *)text, (size_t)len, digest,
             NULL) == NULL) {
        return OTA_INTERNAL;
    }
    for (size_t i = 0; i < sizeof digest; i++) {
        mac[2 * i] = hex[digest[i] >> 4];
        mac[2 * i + 1] = hex[digest[i] & 15];
    }
    mac[OTA_MAC_HEX] = '\0';
    return OTA_OK;
}

void ota_download_path(const struct ota_claim *claim, char *path)
{
    (void)snprintf(path, OTA_PATH_MAX, "/f/%lld/%lld/%lld/%d/%s", (long long)claim->firmware_id,
                   (long long)claim->device_id, (long long)claim->task_id, claim->attempt,
                   claim->mac);
}

/* Reads "/N" with 1 <= N <= max as printf writes it, and moves *text behind it. */
static bool take_number(const char **text, int64_t max, int64_t *number)
{
    const char *at = *text;
    int64_t value = 0;

    if (*at++ != '/' || *at == '0') {
        return false;
    }
    for (; *at >= '0' && *at <= '9'; at++) {
        int digit = *at - '0';
        if (value > (max - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    if (value == 0) {
        return false;
    }
    *text = at;
    *number = value;
    return true;
}

bool ota_download_parse(const char *path, struct ota_claim *claim)
{
    struct ota_claim found;
    int64_t attempt;

    if (strncmp(path, "/f", 2) != 0) {
        return false;
    }
    path += 2;
    if (!take_number(&path, INT64_MAX, &found.firmware_id) ||
        !take_number(&path, INT64_MAX, &found.device_id) ||
        !take_number(&path, INT64_MAX, &found.task_id) || !take_number(&path, INT_MAX, &attempt)) {
        return false;
    }
    if (*path++ != '/' || !ota_name_is_hex(path, OTA_MAC_HEX)) {
        return false;
    }
    found.attempt = (int)attempt;
    memcpy(found.mac, path, sizeof found.mac);
    *claim = found;
    return true;
}

bool ota_download_mac_equal(const char *a, const char *b)
{
    return CRYPTO_memcmp(a, b, OTA_MAC_HEX) == 0;
}

/* Reads digits, moves *text behind them; what is too large for 63 bits stays at INT64_MAX. */
static bool take_digits(const char **text, int64_t *number)
{
    const char *at = *text;
    int64_t value = 0;

    for (; *at >= '0' && *at <= '9'; at++) {
        int digit = *at - '0';
        value = value > (INT64_MAX - digit) / 10 ? INT64_MAX : value * 10 + digit;
    }
    if (at == *text) {
        return false;
    }
    *text = at;
    *number = value;
    return true;
}

struct span {
    bool has_first;
    bool has_last;
    int64_t first;
    int64_t last;
};

/* Reads "0-99", "0-" or "-99", and nothing else. */
static bool take_span(const char *at, struct span *span)
{
    struct span found = {.last = INT64_MAX};

    found.has_first = take_digits(&at, &found.first);
    if (*at++ != '-') {
        return false;
    }
    found.has_last = take_digits(&at, &found.last);
    if (*at != '\0' || (!found.has_first && !found.has_last)) {
        return false;
    }
    *span = found;
    return true;
}

static bool is_of_bytes(const char *header)
{
    return strncasecmp(header, "bytes=", 6) == 0;
}

enum ota_range_form ota_range_form(const char *header)
{
    struct span span;

    if (header == NULL) {
        return OTA_RANGE_NONE;
    }
    if (!is_of_bytes(header)) {
        size_t unit = strspn(header, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-");
        return unit > 0 && header[unit] == '=' ? OTA_RANGE_NONE : OTA_RANGE_FAULTY;
    }
    if (!take_span(header + 6, &span)) {
        return OTA_RANGE_FAULTY;
    }
    return span.has_first && span.last < span.first ? OTA_RANGE_REVERSED : OTA_RANGE_SINGLE;
}

static struct ota_range range_part(int64_t first, int64_t length)
{
    return (struct ota_range){.kind = OTA_RANGE_PART, .first = first, .length = length};
}

struct ota_range ota_range_parse(const char *header, int64_t size)
{
    const struct ota_range all = {.kind = OTA_RANGE_ALL, .first = 0, .length = size};
    const struct ota_range outside = {.kind = OTA_RANGE_OUTSIDE, .first = 0, .length = 0};
    struct span span;

    if (header == NULL || !is_of_bytes(header) || !take_span(header + 6, &span) ||
        span.last < span.first) {
        return all;
    }
    if (!span.has_first) { /* the last so many bytes */
        int64_t length = span.last < size ? span.last : size;
        return length > 0 ? range_part(size - length, length) : outside;
    }
    if (span.first >= size) {
        return outside;
    }
    return range_part(span.first, (span.last < size ? span.last : size - 1) - span.first + 1);
}
