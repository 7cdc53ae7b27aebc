/* SPDX-License-Identifier: BSD-3-Clause */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <string.h>

#include "../../plugin/util/hex.h"

static void test_hex(void **state)
{
    static const unsigned char bytes[] = {0x00, 0x09, 0xaf, 0xff};
    char text[9];
    (void)state;
    ota_hex(bytes, 4, text);
    assert_string_equal(text, "0009afff");
    ota_hex(bytes, 0, text);
    assert_string_equal(text, "");
}

/* Every length, and every byte. */
static void test_base64_round_trip(void **state)
{
    (void)state;
    for (int len = 1; len <= 256; len++) {
        unsigned char bytes[256];
        char text[360];
        unsigned char back[360];
        size_t n = 0;
        for (int i = 0; i < len; i++) {
            bytes[i] = (unsigned char)(i * 7 + len);
        }
        int encoded = EVP_EncodeBlock((unsigned char *)text, bytes, len);
        assert_true(ota_base64_decode(text, (size_t)encoded, back, &n));
        assert_int_equal(n, len);
        assert_memory_equal(back, bytes, n);
    }
}

static void test_base64_is_strict(void **state)
{
    static const char *const bad[] = {
        "",
        "A",
        "AA",
        "AAA",
        "AAAAA",
        "A===",
        "====",
        "=AAA",
        "AA=A",
        "A=AA",
        "AAAA====",
        "AAAA=AAA",
        "AAAAAA=A",
        "AA A",
        " AAAA",
        "AAA\n",
        "AAAA\n",
        "AAAA   ",
        "\nAAA",
        "AA-A",
        "AA_A",
        "AA*A",
        "QR==", /* bits that no byte holds: "QQ==" has no second spelling */
        "QUJ=",
        "AAAA\tAAA",
        ("A\xc3\xa4"
         "A"),
        "AA==AAAA",
        "AA==AA==",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        unsigned char bytes[64];
        size_t n = 4711;
        if (ota_base64_decode(bad[i], strlen(bad[i]), bytes, &n)) {
            fail_msg("\"%s\" was taken", bad[i]);
        }
        assert_int_equal(n, 4711);
    }
}

static void test_base64_with_nul(void **state)
{
    unsigned char bytes[8];
    size_t n;
    (void)state;
    assert_false(ota_base64_decode("AA\0A", 4, bytes, &n));
    assert_false(ota_base64_decode("AAAA\0\0\0\0", 8, bytes, &n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hex),
        cmocka_unit_test(test_base64_round_trip),
        cmocka_unit_test(test_base64_is_strict),
        cmocka_unit_test(test_base64_with_nul),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
