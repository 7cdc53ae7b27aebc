/* SPDX-License-Identifier: BSD-3-Clause */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/util/json_out.h"

static size_t write_all(char *text, size_t size, const char *value)
{
    struct ota_json_out out;
    ota_json_out_begin(&out, text, size);
    ota_json_out_text(&out, "text", value);
    ota_json_out_int(&out, "least", INT64_MIN);
    ota_json_out_int(&out, "zero", 0);
    ota_json_out_bool(&out, "yes", true);
    ota_json_out_bool(&out, "no", false);
    return ota_json_out_end(&out);
}

static void test_bytes(void **state)
{
    char text[200];
    (void)state;
    size_t len = write_all(text, sizeof text, "http://a/b?c=\"d\"\\ \n\x7f\xc3\xa4");
    const char *want = "{\"text\":\"http://a/b?c=\\\"d\\\"\\\\ \\u000a\x7f\xc3\xa4\","
                       "\"least\":-9223372036854775808,\"zero\":0,\"yes\":true,\"no\":false}";
    assert_int_equal(len, strlen(want));
    assert_memory_equal(text, want, len);
}

static void test_empty(void **state)
{
    char text[2];
    struct ota_json_out out;
    (void)state;
    ota_json_out_begin(&out, text, sizeof text);
    assert_int_equal(ota_json_out_end(&out), 2);
    assert_memory_equal(text, "{}", 2);
}

static void test_jansson_reads_it_back(void **state)
{
    (void)state;
    srand(5);
    for (int i = 0; i < 5000; i++) {
        char value[40] = "";
        char text[400];
        for (int n = rand() % 39; n > 0; n--) {
            value[n - 1] = (char)(1 + rand() % 127);
        }
        size_t len = write_all(text, sizeof text, value);
        json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
        assert_string_equal(json_string_value(json_object_get(root, "text")), value);
        assert_int_equal(json_integer_value(json_object_get(root, "least")), INT64_MIN);
        assert_true(json_is_true(json_object_get(root, "yes")));
        json_decref(root);
    }
}

static void test_what_does_not_fit_is_nothing(void **state)
{
    char whole[200];
    (void)state;
    size_t len = write_all(whole, sizeof whole, "a\tb");
    for (size_t size = 0; size < len; size++) {
        char *text = malloc(size > 0 ? size : 1);
        assert_int_equal(write_all(text, size, "a\tb"), 0);
        free(text);
    }
    char *exact = malloc(len);
    assert_int_equal(write_all(exact, len, "a\tb"), len);
    free(exact);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_jansson_reads_it_back),
        cmocka_unit_test(test_what_does_not_fit_is_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
