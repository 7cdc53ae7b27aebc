/* SPDX-License-Identifier: BSD-3-Clause */
#include "hex.h"

#include <openssl/evp.h>
#include <string.h>

void ota_hex(const unsigned char *bytes, size_t len, char *text)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * len] = '\0';
}

/* Whether the last digit before the padding has no bits that end up in no byte. */
static bool ends_clean(char last, size_t padding)
{
    static const char *const digits[] = {NULL, "AEIMQUYcgkosw048", "AQgw"};
    return padding == 0 || strchr(digits[padding], last) != NULL;
}

bool ota_base64_decode(const char *text, size_t len, unsigned char *bytes, size_t *decoded)
{
    if (len == 0 || len % 4 != 0) {
        return false;
    }
    size_t padding =
        (size_t)(text[len - 1] == '=') + (text[len - 1] == '=' && text[len - 2] == '=');
    size_t body = len - padding;
    if (strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") < body) {
        return false; /* OpenSSL would skip white space at the ends */
    }
    if (!ends_clean(text[body - 1], padding)) {
        return false; /* OpenSSL would drop the bits: a second spelling of the same bytes */
    }
    int n = EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)len);
    if (n < 0) {
        return false;
    }
    *decoded = (size_t)n - padding;
    return true;
}
