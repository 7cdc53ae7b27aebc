/* SPDX-License-Identifier: BSD-3-Clause */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "../../plugin/util/json_text.h"

/* --- memory: the n-th allocation from here on fails, once --------------------------------------
 */

static int left;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size);

void *__wrap_malloc(size_t size)
{
    return left > 0 && --left == 0 ? NULL : __real_malloc(size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return left > 0 && --left == 0 ? NULL : __real_realloc(memory, size);
}

/* --- the tests -------------------------------------------------------------------------------- */

/* All that is to be there, or nothing: whichever allocation fails. */
static void test_what_is_written_is_whole(void **state)
{
    static const char *const without[] = {"secret", "nothing", NULL};
    json_t *object = json_pack("{s:{s:i}, s:s, s:s}", "token", "id", 1, "secret", "s", "a", "b");
    int failed = 0;
    (void)state;
    assert_non_null(object);
    for (bool met = true; met; failed += met) {
        left = failed + 1;
        char *text = ota_json_write_without(object, without, JSON_COMPACT);
        met = left == 0;
        left = 0;
        if (text != NULL) {
            assert_string_equal(text, "{\"token\":{\"id\":1},\"a\":\"b\"}");
        } else {
            assert_true(met);
        }
        free(text);
    }
    assert_true(failed > 4);
    assert_non_null(json_object_get(object, "secret"));
    json_decref(object);
}

static void test_of_nothing(void **state)
{
    static const char *const without[] = {NULL};
    json_t *object = json_object();
    char *text = ota_json_write_without(object, without, JSON_COMPACT);
    (void)state;
    assert_string_equal(text, "{}");
    assert_null(ota_json_write_without(NULL, without, JSON_COMPACT));
    free(text);
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_whole),
        cmocka_unit_test(test_of_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
