/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "../../plugin/vendor_login.h"

#define NAME   "lampd1;21010406;a1B2c;92233720368547758"
/* printf '%s' NAME | openssl dgst -sha1 -mac HMAC -macopt hexkey:000102030405060708090a0b0c0d0e0f
 */
#define SHA1   "544862a9506eb7c9332f6bad51aba27b7ade0d7a"
#define SHA256 "7bc9312ecd260f17fb92e222feda37e66a80e07f970bac8a021d3c6927061dcb"

static const unsigned char secret[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static void test_names(void **state)
{
    static const struct {
        const char *username;
        const char *names; /* NULL: not the vendor's form */
        int64_t expiry;
    } rows[] = {
        {NAME, "lampd1", INT64_MAX},
        {"lampd1;21010406;a1B2c;2147483647", "lampd1", INT64_MAX},
        {"lampd1;21010406;a1B2c;2147483648", "lampd1", 2147483648},
        {"lampd1;21010406;a1B2c;0", "lampd1", 0},
        {"lampd1;1;x;999999999999999999", "lampd1", 999999999999999999},
        {"a-b_c:d;1;x;17", "a-b_c:d", 17},
        {"lampd1;1;x;9999999999999999999", NULL, 0},
        {"lampd1;21010406;a1B2c;", NULL, 0},
        {"lampd1;21010406;a1B2c;-1", NULL, 0},
        {"lampd1;21010406;a1B2c; 1", NULL, 0},
        {"lampd1;21010406;a1B2c;1;", NULL, 0},
        {"lampd1;21010406;a1B2c;1x", NULL, 0},
        {"lampd1;21010406;a1B2c", NULL, 0},
        {"lampd1;21010406;;1", NULL, 0},
        {"lampd1;;a1B2c;1", NULL, 0},
        {"lampd1;2-1;a1B2c;1", NULL, 0},
        {";21010406;a1B2c;1", NULL, 0},
        {"l;21010406;a1B2c;1", NULL, 0},
        {"lamp/d1;21010406;a1B2c;1", NULL, 0},
        {"lamp d1;21010406;a1B2c;1", NULL, 0},
        {"lampd1", NULL, 0},
        {"", NULL, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ota_vendor_name name = {0};
        bool is = ota_vendor_parse_name(rows[i].username, &name);
        if (is != (rows[i].names != NULL)) {
            fail_msg("%s", rows[i].username);
        }
        if (is) {
            assert_int_equal(name.names_len, strlen(rows[i].names));
            assert_memory_equal(name.names, rows[i].names, name.names_len);
            assert_true(name.expiry == rows[i].expiry);
        }
    }
}

/* 80 characters of names, and 32 of each word, are the most. */
static void test_lengths(void **state)
{
    (void)state;
    for (int len = 79; len <= 82; len++) {
        char text[200];
        struct ota_vendor_name name;
        (void)snprintf(text, sizeof text, "%.*s;1;x;1", len,
                       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                       "aaaaaaaaaaaaa");
        assert_int_equal(ota_vendor_parse_name(text, &name), len <= 80);
    }
    for (int len = 31; len <= 34; len++) {
        char text[200];
        struct ota_vendor_name name;
        (void)snprintf(text, sizeof text, "lampd1;1;%.*s;1", len,
                       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
        assert_int_equal(ota_vendor_parse_name(text, &name), len <= 32);
    }
}

static void test_passwords(void **state)
{
    static const char *const bad[] = {"",
                                      ";hmacsha1",
                                      SHA1,
                                      SHA1 ";",
                                      SHA1 ";hmacsha256",
                                      SHA256 ";hmacsha1",
                                      SHA1 ";hmacmd5",
                                      SHA1 ";hmacsha1 ",
                                      SHA1 ";HMACSHA1",
                                      " " SHA1 ";hmacsha1",
                                      SHA1 "0;hmacsha1",
                                      "g" SHA1 ";hmacsha1"};
    struct ota_vendor_mac mac = {0};
    char upper[] = SHA1 ";hmacsha1";
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (ota_vendor_parse_mac(bad[i], &mac)) {
            fail_msg("%s", bad[i]);
        }
    }
    assert_int_equal(mac.len, 0);
    upper[0] = 'g';
    assert_false(ota_vendor_parse_mac(upper, &mac));
    upper[0] = 'A';
    assert_false(ota_vendor_parse_mac(upper, &mac));
}

static bool is_right(const struct ota_vendor_mac *mac, const unsigned char *with, size_t len,
                     const char *username)
{
    bool right = false;
    assert_true(ota_vendor_check_mac(mac, with, len, username, &right));
    return right;
}

static void check_matches(const char *password)
{
    struct ota_vendor_mac mac;
    unsigned char other[sizeof secret];
    assert_true(ota_vendor_parse_mac(password, &mac));
    assert_true(is_right(&mac, secret, sizeof secret, NAME));
    assert_false(is_right(&mac, secret, sizeof secret, NAME "0"));
    assert_false(is_right(&mac, secret, sizeof secret - 1, NAME));
    memcpy(other, secret, sizeof other);
    other[15] ^= 1;
    assert_false(is_right(&mac, other, sizeof other, NAME));
    for (size_t i = 0; i < mac.len; i++) {
        mac.bytes[i] ^= 1;
        assert_false(is_right(&mac, secret, sizeof secret, NAME));
        mac.bytes[i] ^= 1;
    }
}

static void test_macs_by_another_hand(void **state)
{
    (void)state;
    check_matches(SHA1 ";hmacsha1");
    check_matches(SHA256 ";hmacsha256");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_passwords),
        cmocka_unit_test(test_macs_by_another_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
