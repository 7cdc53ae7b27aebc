/* SPDX-License-Identifier: BSD-3-Clause */
/* Which devices a batch is for: what may be written, what it means. */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "../../plugin/command_table.h"
#include "../../plugin/target.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static json_t *parse(const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    if (value == NULL) {
        fail_msg("%s is no JSON", text);
    }
    return value;
}

static void assert_rule(const char *text, const char *part)
{
    json_t *json = parse(text);
    const char *rule = ota_target_rule(json);
    if (part == NULL && rule != NULL) {
        fail_msg("%s: %s", text, rule);
    }
    if (part != NULL && (rule == NULL || strstr(rule, part) == NULL)) {
        fail_msg("%s: \"%s\" says nothing of %s", text, rule != NULL ? rule : "(taken)", part);
    }
    json_decref(json);
}

static void test_good_ones(void **state)
{
    static const char *const good[] = {
        "{\"all\":true}",
        "{\"fromVersions\":[\"0.0.1\"]}",
        "{\"fromVersions\":[\"0.0.1\",\"0.0.2\"]}",
        "{\"notVersions\":[\"0.0.1\"]}",
        "{\"devices\":[\"d:1\"]}",
        "{\"tags\":[\"site:berlin\"]}",
        "{\"online\":true}",
        "{\"online\":false}",
        "{\"fromVersions\":[\"1\"],\"notVersions\":[\"2\"],\"tags\":[\"t\"]}",
        "{\"devices\":[\"d\"],\"tags\":[\"t\"],\"online\":true}",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_rule(good[i], NULL);
    }
}

static void test_bad_ones(void **state)
{
    static const struct {
        const char *text;
        const char *part;
    } bad[] = {
        {"{}", "target"},
        {"[]", "target"},
        {"null", "target"},
        {"true", "target"},
        {"\"all\"", "target"},
        {"7", "target"},
        {"{\"all\":false}", "target.all can only be true"},
        {"{\"all\":1}", "target.all"},
        {"{\"all\":null}", "target.all"},
        {"{\"all\":true,\"online\":true}", "stands alone"},
        {"{\"tags\":[\"t\"],\"all\":true}", "stands alone"},
        {"{\"online\":1}", "target.online"},
        {"{\"online\":\"true\"}", "target.online"},
        {"{\"online\":null}", "target.online"},
        {"{\"fromVersions\":[]}", "target.fromVersions"},
        {"{\"fromVersions\":\"1\"}", "target.fromVersions"},
        {"{\"fromVersions\":[1]}", "target.fromVersions"},
        {"{\"fromVersions\":[\"a b\"]}", "target.fromVersions"},
        {"{\"fromVersions\":[\"\"]}", "target.fromVersions"},
        {"{\"fromVersions\":{\"1\":\"1\"}}", "target.fromVersions"},
        {"{\"notVersions\":[]}", "target.notVersions"},
        {"{\"notVersions\":[\"1\",null]}", "target.notVersions"},
        {"{\"devices\":[]}", "target.devices"},
        {"{\"devices\":[\"a b\"]}", "target.devices"},
        {"{\"devices\":[\"a\",7]}", "target.devices"},
        {"{\"devices\":\"a\"}", "target.devices"},
        {"{\"tags\":[]}", "target.tags"},
        {"{\"tags\":[\"a,b\"]}", "target.tags"},
        {"{\"tags\":[null]}", "target.tags"},
        {"{\"nosuch\":true}", "target takes all"},
        {"{\"online\":true,\"version\":\"1\"}", "target takes all"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_rule(bad[i].text, bad[i].part);
    }
}

static void test_lists_have_an_end(void **state)
{
    static const struct {
        const char *key;
        size_t most;
    } lists[] = {{"fromVersions", OTA_TARGET_VERSIONS},
                 {"notVersions", OTA_TARGET_VERSIONS},
                 {"devices", OTA_DEVICES_A_COMMAND},
                 {"tags", OTA_TAGS_MAX}};
    (void)state;
    for (size_t i = 0; i < COUNT(lists); i++) {
        json_t *list = json_array();
        json_t *json = json_pack("{s:O}", lists[i].key, list);
        while (json_array_size(list) < lists[i].most) {
            assert_int_equal(json_array_append_new(list, json_string("x")), 0);
        }
        assert_null(ota_target_rule(json));
        assert_int_equal(json_array_append_new(list, json_string("x")), 0);
        assert_non_null(ota_target_rule(json));
        json_decref(list);
        json_decref(json);
    }
}

/* --- what it means ------------------------------------------------------------------------------
 */

static struct ota_target read_target(const char *text)
{
    struct ota_target target;
    json_t *json = text != NULL ? parse(text) : NULL;
    assert_int_equal(ota_target_read(json, &target, NULL), OTA_OK);
    json_decref(json);
    return target;
}

static void test_versions(void **state)
{
    static const struct {
        const char *target;  /* NULL: none yet */
        const char *version; /* NULL: never reported */
        bool takes;
    } cases[] = {
        {"{\"all\":true}", "1", true},
        {"{\"all\":true}", NULL, true},
        {NULL, NULL, true},
        {NULL, "1", true},
        {"{\"online\":true}", NULL, true},
        {"{\"tags\":[\"t\"]}", NULL, true},
        {"{\"devices\":[\"d\"]}", NULL, true},
        {"{\"fromVersions\":[\"1\",\"2\"]}", "1", true},
        {"{\"fromVersions\":[\"1\",\"2\"]}", "2", true},
        {"{\"fromVersions\":[\"1\",\"2\"]}", "3", false},
        {"{\"fromVersions\":[\"1\",\"2\"]}", "1.0", false},
        {"{\"fromVersions\":[\"1.0\"]}", "1", false},
        {"{\"fromVersions\":[\"1\"]}", NULL, false},
        {"{\"notVersions\":[\"1\"]}", "1", false},
        {"{\"notVersions\":[\"1\"]}", "2", true},
        {"{\"notVersions\":[\"1\"]}", NULL, false},
        {"{\"fromVersions\":[\"1\",\"2\"],\"notVersions\":[\"2\"]}", "1", true},
        {"{\"fromVersions\":[\"1\",\"2\"],\"notVersions\":[\"2\"]}", "2", false},
        {"{\"fromVersions\":[\"1\",\"2\"],\"notVersions\":[\"2\"]}", "3", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ota_target target = read_target(cases[i].target);
        if (ota_target_takes_version(&target, cases[i].version) != cases[i].takes) {
            fail_msg("%s and version %s", cases[i].target,
                     cases[i].version != NULL ? cases[i].version : "(none)");
        }
        ota_target_free(&target);
    }
}

static void test_online(void **state)
{
    static const struct {
        const char *target;
        bool takes_online;
        bool takes_offline;
    } cases[] = {{"{\"all\":true}", true, true},
                 {NULL, true, true},
                 {"{\"online\":true}", true, false},
                 {"{\"online\":false}", false, true},
                 {"{\"fromVersions\":[\"1\"]}", true, true}};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ota_target target = read_target(cases[i].target);
        assert_int_equal(ota_target_takes_online(&target, true), cases[i].takes_online);
        assert_int_equal(ota_target_takes_online(&target, false), cases[i].takes_offline);
        ota_target_free(&target);
    }
}

/* A device has all of them, whatever else it has. */
static void test_tags(void **state)
{
    static const struct {
        const char *tags;
        bool takes;
    } cases[] = {{"", false},     {"a", false},     {"b", false},    {"a b", true},
                 {"a b c", true}, {"a bb", false},  {"aa b", false}, {"0 a a1 b", true},
                 {"a b1", false}, {"aa bb", false}, {"ab", false}};
    struct ota_target target = read_target("{\"tags\":[\"b\",\"a\"]}");
    (void)state;
    assert_true(ota_target_needs_tags(&target));
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(ota_target_takes_tags(&target, cases[i].tags), cases[i].takes);
    }
    ota_target_free(&target);
    target = read_target("{\"all\":true}");
    assert_false(ota_target_needs_tags(&target));
    ota_target_free(&target);
}

/* --- kept ---------------------------------------------------------------------------------------
 */

/* The names are kept beside it. */
static void test_names_are_not_kept_in_it(void **state)
{
    struct ota_target target = read_target("{\"devices\":[\"a\",\"b\"],\"online\":true}");
    (void)state;
    assert_true(target.named);
    char *text = ota_target_write(&target);
    assert_string_equal(text, "{\"online\":true}");
    free(text);
    ota_target_free(&target);
    assert_false(target.named);
    target = read_target("{\"online\":true}");
    assert_false(target.named);
    ota_target_free(&target);
}

static void test_write_and_load(void **state)
{
    static const char *const texts[] = {
        "",
        "{\"all\":true}",
        "{\"online\":false}",
        "{\"fromVersions\":[\"1\",\"2\"],\"notVersions\":[\"3\"]}",
        "{\"tags\":[\"t\",\"u\"],\"online\":true}",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct ota_target target;
        assert_int_equal(ota_target_load(texts[i], &target, NULL), OTA_OK);
        assert_int_equal(target.json == NULL, i == 0);
        char *text = ota_target_write(&target);
        assert_string_equal(text, texts[i]);
        free(text);
        ota_target_free(&target);
    }
    struct ota_target target;
    assert_int_equal(ota_target_load(texts[3], &target, NULL), OTA_OK);
    assert_true(ota_target_takes_version(&target, "2"));
    assert_false(ota_target_takes_version(&target, "3"));
    ota_target_free(&target);
    assert_int_equal(ota_target_load(texts[4], &target, NULL), OTA_OK);
    assert_false(ota_target_takes_online(&target, false));
    assert_true(ota_target_takes_tags(&target, "t u"));
    assert_false(ota_target_takes_tags(&target, "t"));
    ota_target_free(&target);
}

static void test_a_damaged_one(void **state)
{
    static const char *const texts[] = {"{", "x", "{\"all\":tru", "\xff"};
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct ota_target target;
        struct ota_error error = {0};
        assert_int_equal(ota_target_load(texts[i], &target, &error), OTA_INTERNAL);
        assert_non_null(strstr(error.text, "target"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_ones),
        cmocka_unit_test(test_bad_ones),
        cmocka_unit_test(test_lists_have_an_end),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_online),
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_names_are_not_kept_in_it),
        cmocka_unit_test(test_write_and_load),
        cmocka_unit_test(test_a_damaged_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
