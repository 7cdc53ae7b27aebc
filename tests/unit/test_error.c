/* SPDX-License-Identifier: BSD-3-Clause */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#include "../../plugin/util/error.h"

static void test_the_first_error_wins(void **state)
{
    struct ota_error error = {0};
    (void)state;
    assert_int_equal(ota_error_set(&error, OTA_CONFLICT, "field", "number %d", 7), OTA_CONFLICT);
    assert_int_equal(ota_error_set(&error, OTA_INTERNAL, "other", "second"), OTA_INTERNAL);
    assert_int_equal(error.code, OTA_CONFLICT);
    assert_string_equal(error.field, "field");
    assert_string_equal(error.text, "number 7");
}

static void test_nobody_wants_to_know(void **state)
{
    struct ota_error error = {0};
    (void)state;
    assert_int_equal(ota_error_set(NULL, OTA_FORBIDDEN, NULL, "x"), OTA_FORBIDDEN);
    ota_error_context(NULL, "x");
    ota_error_context(&error, "x"); /* none is set */
    assert_string_equal(error.text, "");
    (void)ota_error_set(&error, OTA_FORBIDDEN, NULL, "y");
    assert_string_equal(error.field, "");
}

static void test_context_comes_in_front(void **state)
{
    struct ota_error error = {0};
    (void)state;
    (void)ota_error_set(&error, OTA_INTERNAL, NULL, "no memory");
    ota_error_context(&error, "reading %s", "a");
    ota_error_context(&error, "starting");
    assert_string_equal(error.text, "starting: reading a: no memory");
    assert_int_equal(error.code, OTA_INTERNAL);
}

/* Every cut of a text of 1- to 4-byte characters ends with a whole one. */
static bool ends_whole(const char *text)
{
    size_t len = strlen(text);
    size_t i = 0;
    while (i < len) {
        unsigned char c = (unsigned char)text[i];
        i += c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    }
    return i == len;
}

static void test_long_texts_are_cut_at_characters(void **state)
{
    static const char *const characters[] = {"x", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    (void)state;
    for (size_t which = 0; which < 4; which++) {
        for (int shift = 0; shift < 4; shift++) {
            char text[1000] = "xxxx";
            text[shift] = '\0';
            while (strlen(text) < 600) {
                strcat(text, characters[which]);
            }
            struct ota_error error = {0};
            (void)ota_error_set(&error, OTA_CONFLICT, text, "%s", text);
            assert_true(ends_whole(error.field));
            assert_true(ends_whole(error.text));
            assert_in_range(strlen(error.field), sizeof error.field - 4, sizeof error.field - 1);
            assert_in_range(strlen(error.text), sizeof error.text - 4, sizeof error.text - 1);
            ota_error_context(&error, "%s", text);
            assert_true(ends_whole(error.text));
        }
    }
}

static void test_names(void **state)
{
    static const char *const names[OTA_ERR_COUNT] = {
        "ok",          "invalid_request", "not_found", "already_exists",    "limit_exceeded",
        "conflict",    "forbidden",       "too_large", "checksum_mismatch", "bad_signature",
        "unavailable", "internal",        "again"};
    (void)state;
    for (int i = 0; i < OTA_ERR_COUNT; i++) {
        assert_string_equal(ota_err_name((enum ota_err)i), names[i]);
    }
    assert_string_equal(ota_err_name((enum ota_err)99), "internal");
    assert_string_equal(ota_err_name((enum ota_err) - 1), "internal");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_error_wins),
        cmocka_unit_test(test_nobody_wants_to_know),
        cmocka_unit_test(test_context_comes_in_front),
        cmocka_unit_test(test_long_texts_are_cut_at_characters),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
