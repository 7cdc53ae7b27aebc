/* SPDX-License-Identifier: BSD-3-Clause */
#include "vendor_login.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#include "util/names.h"

#define WORD_MAX   32
#define DIGITS_MAX 18 /* so that every number fits */

/* How the SDK says never: with long integers of 64 bits, and of 32. */
#define NEVER_64 INT64_C(92233720368547758)
#define NEVER_32 INT64_C(2147483647)

static const char alphanumeric[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/* Reads 1 to max of those characters, and the mark behind them. */
static bool skip(const char **text, const char *of, size_t max, char mark)
{
    size_t len = strspn(*text, of);
    if (len < 1 || len > max || (*text)[len] != mark) {
        return false;
    }
    *text += len + (mark != '\0');
    return true;
}

static int64_t expiry_of(const char *digits)
{
    int64_t expiry = strtoll(digits, NULL, 10);
    return expiry == NEVER_64 || expiry == NEVER_32 ? INT64_MAX : expiry;
}

/* Each name's own rule is checked when it is looked up; a device's covers a product's. */
bool ota_vendor_parse_name(const char *username, struct ota_vendor_name *name)
{
    size_t len = strcspn(username, ";");
    const char *rest = username + len;
    if (len < 2 || len > OTA_PRODUCT_MAX + OTA_DEVICE_MAX || *rest != ';') {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!ota_name_is_device(username + i, 1)) {
            return false;
        }
    }
    rest++;
    bool has_app = skip(&rest, alphanumeric, WORD_MAX, ';');
    bool has_connection = has_app && skip(&rest, alphanumeric, WORD_MAX, ';');
    const char *digits = rest;
    if (!has_connection || !skip(&rest, "0123456789", DIGITS_MAX, '\0')) {
        return false;
    }
    *name = (struct ota_vendor_name){username, len, expiry_of(digits)};
    return true;
}

static int digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *found = c != '\0' ? strchr(digits, c) : NULL;
    return found != NULL ? (int)(found - digits) : -1;
}

static bool parse_hex(const char *text, unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        int high = digit(text[2 * i]);
        int low = high >= 0 ? digit(text[2 * i + 1]) : -1;
        if (low < 0) {
            return false;
        }
        bytes[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

bool ota_vendor_parse_mac(const char *password, struct ota_vendor_mac *mac)
{
    static const struct {
        const char *method;
        size_t len;
    } methods[] = {{";hmacsha1", 20}, {";hmacsha256", 32}};
    struct ota_vendor_mac parsed = {.len = 0};
    size_t hex = strcspn(password, ";");
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (hex == 2 * methods[i].len && strcmp(password + hex, methods[i].method) == 0) {
            parsed.len = methods[i].len;
        }
    }
    if (parsed.len == 0 || !parse_hex(password, parsed.bytes, parsed.len)) {
        return false;
    }
    *mac = parsed;
    return true;
}

bool ota_vendor_check_mac(const struct ota_vendor_mac *mac, const unsigned char *secret, size_t len,
                          const char *username, bool *right)
{
    unsigned char computed[EVP_MAX_MD_SIZE];
    unsigned size = sizeof computed;
    const EVP_MD *digest = mac->len == 20 ? EVP_sha1() : EVP_sha256();
    if (HMAC(digest, secret, (int)len, (const unsigned char *)username, strlen(username), computed,
             &size) == NULL) {
        return false;
    }
    *right = size == mac->len && CRYPTO_memcmp(computed, mac->bytes, size) == 0;
    return true;
}
