/* SPDX-License-Identifier: BSD-3-Clause */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "../../plugin/util/names.h"

typedef bool (*rule)(const char *text, size_t len);

/* Exactly these characters of all 256 may be in a name. */
static void check_characters(rule is_legal, const char *extra)
{
    for (int c = 0; c < 256; c++) {
        char text[3] = {'a', (char)c, 'a'};
        bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool want = alnum || (c != 0 && strchr(extra, c) != NULL);
        if (is_legal(text, 3) != want || is_legal(text + 1, 1) != want) {
            fail_msg("character %d", c);
        }
    }
}

static void check_length(rule is_legal, size_t max)
{
    char text[300];
    memset(text, 'x', sizeof text);
    assert_false(is_legal(text, 0));
    assert_true(is_legal(text, 1));
    assert_true(is_legal(text, max));
    assert_false(is_legal(text, max + 1));
    assert_false(is_legal(text, sizeof text));
}

static void test_names(void **state)
{
    static const struct {
        rule is_legal;
        const char *extra;
        size_t max;
    } rows[] = {{ota_name_is_product, "_-", 32},
                {ota_name_is_device, "_:-", 48},
                {ota_name_is_version, "._-", 32},
                {ota_name_is_tag, "_.:=-", 32}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_characters(rows[i].is_legal, rows[i].extra);
        check_length(rows[i].is_legal, rows[i].max);
    }
}

static bool is_filename(const char *text)
{
    return ota_name_is_filename(text, strlen(text));
}

static void test_filenames(void **state)
{
    static const char *const good[] = {"a.bin",    "a.BIN", "a.tar",   "a.gz",
                                       "a.tar.gz", "a.Zip", "a b.bin", "\xc3\xa4.bin",
                                       "..bin",    "a..gz", "-.zip"};
    static const char *const bad[] = {"",       "a",       ".bin",      ".gz",     "bin",
                                      "a.bin ", "a.bi",    "a.exe",     "a/b.bin", "/a.bin",
                                      "a.bin/", "a\n.bin", "a\x7f.bin", "a.binx",  "a.tgz"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(is_filename(good[i]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(is_filename(bad[i]));
    }
    char text[140];
    memset(text, 'x', sizeof text);
    memcpy(text + 124, ".bin", 5);
    assert_true(is_filename(text));
    memcpy(text + 124, "x.bin", 6);
    assert_false(is_filename(text));
    assert_false(ota_name_is_filename("a\0.bin", 6));
}

static void test_texts(void **state)
{
    char text[300];
    (void)state;
    memset(text, 'x', sizeof text);
    assert_true(ota_name_is_text(text, 0));
    assert_true(ota_name_is_text(text, 256));
    assert_false(ota_name_is_text(text, 257));
    for (int c = 0; c < 256; c++) {
        char one = (char)c;
        assert_int_equal(ota_name_is_text(&one, 1), c >= 0x20 && c != 0x7f);
    }
}

static void test_hex(void **state)
{
    (void)state;
    assert_true(ota_name_is_hex("09af", 4));
    assert_true(ota_name_is_hex("", 0));
    assert_false(ota_name_is_hex("09af", 3));
    assert_false(ota_name_is_hex("09af", 5));
    assert_false(ota_name_is_hex("09aF", 4));
    assert_false(ota_name_is_hex("09ag", 4));
    assert_false(ota_name_is_hex(" 09a", 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_filenames),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_hex),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
