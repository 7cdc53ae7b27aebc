/* SPDX-License-Identifier: BSD-3-Clause */
/* Base64: what is taken has one way to be written, and that is what was given. */
#include "fuzz.h"

#include <openssl/evp.h>

#include "../../plugin/util/hex.h"

static void check_same_text(const char *text, size_t len, const unsigned char *bytes, size_t n)
{
    unsigned char *back = malloc(len + 1);
    FUZZ_CHECK(back != NULL);
    FUZZ_CHECK(EVP_EncodeBlock(back, bytes, (int)n) == (int)len);
    FUZZ_CHECK(memcmp(back, text, len) == 0);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* As json_string_value gives it: a terminator behind, and NULs possible within. */
    char *text = malloc(size + 1);
    unsigned char *bytes = malloc(size / 4 * 3 + 1);
    FUZZ_CHECK(text != NULL && bytes != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    size_t n = SIZE_MAX;
    if (ota_base64_decode(text, size, bytes, &n)) {
        FUZZ_CHECK(n > 0 && n <= size / 4 * 3);
        check_same_text(text, size, bytes, n);
    } else {
        FUZZ_CHECK(n == SIZE_MAX);
    }
    free(bytes);
    free(text);
    return 0;
}
