/* SPDX-License-Identifier: BSD-3-Clause */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/fields.h"

#define T64  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define T256 T64 T64 T64 T64

/* JSON values of each type: what is taken, what isn't. */
struct samples {
    const char *good[12];
    const char *bad[24];
};

static const struct samples samples[] = {
    [OTA_PARAM_PRODUCT] = {{"\"a\"", "\"A_-9\"", "\"01234567890123456789012345678901\""},
                           {"\"\"", "\"a b\"", "\"a/b\"", "\"a:b\"", "\"a.b\"", "\"\\u00e4\"",
                            "\"012345678901234567890123456789012\"", "1", "null", "true", "[\"a\"]",
                            "{}", "\"a\\n\"", "\"+\""}},
    [OTA_PARAM_DEVICE] = {{"\"a\"", "\"A_:-9\"",
                           "\"012345678901234567890123456789012345678901234567\""},
                          {"\"\"", "\"a b\"", "\"a/b\"", "\"a.b\"", "1", "null", "[]",
                           "\"0123456789012345678901234567890123456789012345678\""}},
    [OTA_PARAM_VERSION] = {{"\"1\"", "\"v1.0_x-2\""},
                           {"\"\"", "\"1 \"", "\"1:2\"", "\"1/2\"", "1", "1.5", "null",
                            "\"012345678901234567890123456789012\""}},
    [OTA_PARAM_FILENAME] = {{"\"a.bin\"", "\"A b.TAR\"", "\"\\u00e4.zip\"", "\"x.tar.gz\""},
                            {"\"\"", "\".bin\"", "\"a\"", "\"a.exe\"", "\"a/b.bin\"",
                             "\"a\\t.bin\"", "1", "null", "\"" T64 T64 ".bin\""}},
    [OTA_PARAM_TEXT] = {{"\"\"", "\"any \\u00e4\"", "\"" T256 "\""},
                        {"\"a\\nb\"", "\"\\u0001\"", "\"\\u007f\"", "\"" T256 "x\"", "1", "null",
                         "[]"}},
    [OTA_PARAM_TAG] = {{"\"a\"", "\"site:berlin_1=x.y-z\""},
                       {"\"\"", "\"a b\"", "\"a,b\"", "1", "null",
                        "\"012345678901234567890123456789012\""}},
    [OTA_PARAM_TAGS] = {{"[]", "[\"a\"]", "[\"a\",\"a\"]",
                         "[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\","
                         "\"12\",\"13\",\"14\",\"15\",\"16\"]"},
                        {"\"a\"", "null", "{}", "1", "[1]", "[null]", "[\"\"]", "[\"a b\"]",
                         "[[\"a\"]]",
                         "[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\","
                         "\"12\",\"13\",\"14\",\"15\",\"16\",\"17\"]"}},
    [OTA_PARAM_BOOL] = {{"true", "false"}, {"0", "1", "\"true\"", "null", "[]", "{}"}},
    [OTA_PARAM_INT] = {{NULL}, {"\"1\"", "1.0", "1.5", "null", "true", "[]", "{}"}},
    [OTA_PARAM_SHA256] = {{"\"" T64 "\""},
                          {"\"\"", "\"" T64 "0\"", "\"0123\"", "1", "null",
                           "\"0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef\"",
                           "\"g123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\""}},
    [OTA_PARAM_BASE64] = {{NULL}, {"\"\"", "\"A\"", "\"AAA\"", "\"AAAAA\"", "1", "null", "[]"}},
    [OTA_PARAM_STATUS] = {{"\"device_offline\"", "\"task_waiting\"", "\"failed\"", "\"cancelled\""},
                          {"\"\"", "\"waiting\"", "\"device offline\"", "\"FAILED\"", "1", "null"}},
    [OTA_PARAM_CURSOR] = {{"\"\"", "\"abc\"", "\"" T64 T64 "\""},
                          {"1", "null", "[]", "\"" T64 T64 "x\""}},
    [OTA_PARAM_RETRY] = {{"{\"max\":0}", "{\"max\":10,\"delaySeconds\":30}",
                          "{\"max\":1,\"delaySeconds\":604800,\"on\":[\"timeout\",-1,0,7]}",
                          "{\"max\":1,\"on\":[1,2,3,4,5,6,7,8]}"},
                         {"{}", "[]", "1", "null", "\"\"", "{\"max\":-1}", "{\"max\":11}",
                          "{\"max\":\"1\"}", "{\"max\":1,\"delaySeconds\":29}",
                          "{\"max\":1,\"delaySeconds\":604801}", "{\"max\":1,\"on\":[]}",
                          "{\"max\":1,\"on\":[\"x\"]}", "{\"max\":1,\"on\":\"timeout\"}",
                          "{\"max\":1,\"on\":[1.5]}", "{\"max\":1,\"on\":[100000]}",
                          "{\"max\":1,\"x\":1}", "{\"delaySeconds\":60}",
                          "{\"max\":1,\"on\":[1,2,3,4,5,6,7,8,9]}"}},
    [OTA_PARAM_TIME] = {{"1", "1700000000000", "253402300799999"},
                        {"0", "-1", "253402300800000", "1.5", "\"1\"", "null", "true", "[]"}},
    [OTA_PARAM_DEVICES] = {{"[\"a\"]", "[\"a\",\"a\"]", "[\"A_:-9\",\"b\"]"},
                           {"[]", "\"a\"", "{}", "null", "1", "[1]", "[null]", "[\"\"]",
                            "[\"a b\"]", "[\"a\",\"b.c\"]", "[[\"a\"]]"}},
    [OTA_PARAM_TARGET] = {{"{\"all\":true}", "{\"fromVersions\":[\"0.0.1\"]}",
                           "{\"notVersions\":[\"1\",\"2\"]}", "{\"devices\":[\"a\"]}",
                           "{\"tags\":[\"a\",\"b\"]}", "{\"online\":false}",
                           "{\"online\":true,\"tags\":[\"a\"],\"fromVersions\":[\"1\"]}"},
                          {"{}", "[]", "null", "1", "\"all\"", "{\"all\":false}", "{\"all\":1}",
                           "{\"nosuch\":1}", "{\"all\":true,\"online\":true}"}},
    [OTA_PARAM_STAGES] = {{"[{\"percent\":100}]", "[{\"percent\":0.1},{\"percent\":100.0}]",
                           "[{\"count\":1},{\"count\":10000000},{\"percent\":100}]",
                           "[{\"percent\":50},{\"count\":3},{\"percent\":100}]",
                           "[{\"percent\":1,\"minSuccessPercent\":0,\"soakSeconds\":0,"
                           "\"advance\":\"manual\"},{\"percent\":100,\"minSuccessPercent\":"
                           "100,\"soakSeconds\":31536000,\"advance\":\"auto\"}]"},
                          {"[]",
                           "{}",
                           "null",
                           "1",
                           "[1]",
                           "[{}]",
                           "[{\"percent\":99}]",
                           "[{\"count\":5}]",
                           "[{\"percent\":0},{\"percent\":100}]",
                           "[{\"percent\":100.1}]",
                           "[{\"percent\":\"100\"}]",
                           "[{\"percent\":100,\"count\":1}]",
                           "[{\"count\":0},{\"percent\":100}]",
                           "[{\"count\":10000001},{\"percent\":100}]",
                           "[{\"count\":1.5},{\"percent\":100}]",
                           "[{\"percent\":5},{\"percent\":5},{\"percent\":100}]",
                           "[{\"count\":5},{\"percent\":50},{\"count\":5},{\"percent\":100}]",
                           "[{\"percent\":100,\"minSuccessPercent\":101}]",
                           "[{\"percent\":100,\"minSuccessPercent\":-1}]",
                           "[{\"percent\":100,\"soakSeconds\":-1}]",
                           "[{\"percent\":100,\"soakSeconds\":31536001}]",
                           "[{\"percent\":100,\"advance\":\"soon\"}]",
                           "[{\"percent\":100,\"advance\":1}]",
                           "[{\"percent\":100,\"nosuch\":1}]"}},
    [OTA_PARAM_THRESHOLD] =
        {{"{\"percent\":1,\"minFinished\":1}", "{\"percent\":100,\"minFinished\":10000000}"},
         {"{}", "[]", "1", "null", "{\"percent\":5}", "{\"minFinished\":5}",
          "{\"percent\":0,\"minFinished\":1}", "{\"percent\":101,\"minFinished\":1}",
          "{\"percent\":1.5,\"minFinished\":1}", "{\"percent\":5,\"minFinished\":0}",
          "{\"percent\":5,\"minFinished\":10000001}", "{\"percent\":5,\"minFinished\":1,\"x\":1}"}},
    [OTA_PARAM_GATE] = {{"\"confirmed\"", "\"done\""},
                        {"\"\"", "\"Done\"", "\"pending\"", "1", "null"}},
    [OTA_PARAM_MODE] = {{"\"snapshot\"", "\"continuous\""},
                        {"\"\"", "\"once\"", "1", "null", "true"}},
    [OTA_PARAM_RUNNING] = {{"\"finish\"", "\"cancel\""}, {"\"\"", "\"stop\"", "true", "null"}},
    [OTA_PARAM_BATCH_STATE] = {{"\"draft\"", "\"scheduled\"", "\"preparing\"", "\"running\"",
                                "\"paused\"", "\"cancelled\"", "\"finished\""},
                               {"\"\"", "\"done\"", "\"Draft\"", "1", "null"}},
    [OTA_PARAM_NAME] = {{"\"ci\"", "\"build_1.x-2\""}, {"\"\"", "\"a b\"", "\"a:b\"", "1", "null"}},
    [OTA_PARAM_ROLE] = {{"\"viewer\"", "\"operator\"", "\"admin\""},
                        {"\"\"", "\"none\"", "\"Admin\"", "1", "null"}},
};

static json_t *parse(const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    if (value == NULL) {
        fail_msg("the sample %s is no JSON", text);
    }
    return value;
}

/* A good value of the parameter: its type's, or what its range says. */
static json_t *good_value(const struct ota_param *param)
{
    if (param->type == OTA_PARAM_INT) {
        return json_integer(param->min);
    }
    if (param->type == OTA_PARAM_BASE64) {
        char text[100];
        memset(text, 'A', sizeof text);
        text[param->min] = '\0';
        return json_string(text);
    }
    return parse(samples[param->type].good[0]);
}

static json_t *whole_command(const struct ota_command *command)
{
    json_t *fields = json_pack("{s:s, s:s}", "command", command->name, "correlationData", "c");
    for (const struct ota_param *param = command->params; param->key != NULL; param++) {
        assert_int_equal(json_object_set_new(fields, param->key, good_value(param)), 0);
    }
    if (command->writes) {
        assert_int_equal(json_object_set_new(fields, "requestId", json_string("r")), 0);
    }
    return fields;
}

static void assert_taken(const struct ota_command *command, const json_t *fields)
{
    struct ota_error error = {0};
    if (ota_fields_check(command, fields, &error) != OTA_OK) {
        fail_msg("%s: %s", command->name, error.text);
    }
}

static void assert_refused(const struct ota_command *command, const json_t *fields,
                           const char *field)
{
    struct ota_error error = {0};
    if (ota_fields_check(command, fields, &error) != OTA_INVALID_REQUEST) {
        char *text = json_dumps(fields, 0);
        fail_msg("%s was taken: %s", command->name, text);
    }
    assert_string_equal(error.field, field);
    assert_non_null(strstr(error.text, field));
}

/* The command with this value in place of a good one; takes the value. */
static void try_value(const struct ota_command *command, const struct ota_param *param,
                      json_t *value, bool is_good)
{
    json_t *fields = whole_command(command);
    assert_int_equal(json_object_set_new(fields, param->key, value), 0);
    if (is_good) {
        assert_taken(command, fields);
    } else {
        assert_refused(command, fields, param->key);
    }
    json_decref(fields);
}

static void try_range(const struct ota_command *command, const struct ota_param *param)
{
    try_value(command, param, json_integer(param->min), true);
    try_value(command, param, json_integer(param->max), true);
    try_value(command, param, json_integer(param->min - 1), false);
    if (param->max < INT64_MAX) {
        try_value(command, param, json_integer(param->max + 1), false);
    }
}

static void try_length(const struct ota_command *command, const struct ota_param *param,
                       int64_t len, bool is_good)
{
    char *text = malloc((size_t)len + 1);
    assert_non_null(text);
    memset(text, 'A', (size_t)len);
    text[len] = '\0';
    try_value(command, param, json_string(text), is_good);
    free(text);
}

/* An array of so many copies of the item. */
static json_t *copies(size_t count, json_t *item)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(json_array_append(array, item), 0);
    }
    json_decref(item);
    return array;
}

/* Stages at 1, 2 … percent, the last one at 100. */
static json_t *stages(int count)
{
    json_t *array = json_array();
    for (int i = 1; i <= count; i++) {
        json_t *stage = json_pack("{s:i}", "percent", i < count ? i : 100);
        assert_int_equal(json_array_append_new(array, stage), 0);
    }
    return array;
}

static void try_lengths(const struct ota_command *command, const struct ota_param *param)
{
    json_t *name = json_string("d");
    if (param->type == OTA_PARAM_DEVICES) {
        try_value(command, param, copies(OTA_DEVICES_A_COMMAND, json_incref(name)), true);
        try_value(command, param, copies(OTA_DEVICES_A_COMMAND + 1, json_incref(name)), false);
    } else if (param->type == OTA_PARAM_STAGES) {
        try_value(command, param, stages(20), true);
        try_value(command, param, stages(21), false);
    }
    json_decref(name);
}

static void try_parameter(const struct ota_command *command, const struct ota_param *param)
{
    try_lengths(command, param);
    const struct samples *of_type = &samples[param->type];
    for (size_t i = 0; i < 12 && of_type->good[i] != NULL; i++) {
        try_value(command, param, parse(of_type->good[i]), true);
    }
    for (size_t i = 0; i < 24 && of_type->bad[i] != NULL; i++) {
        try_value(command, param, parse(of_type->bad[i]), false);
    }
    if (param->type == OTA_PARAM_INT) {
        try_range(command, param);
    }
    if (param->type == OTA_PARAM_BASE64) {
        try_length(command, param, param->max, true);
        try_length(command, param, param->max + 4, false);
        try_length(command, param, param->min - 4, false);
    }
}

static void test_the_whole_table(void **state)
{
    (void)state;
    for (int id = 0; id < OTA_COMMAND_COUNT; id++) {
        const struct ota_command *command = ota_command((enum ota_command_id)id);
        for (const struct ota_param *param = command->params; param->key != NULL; param++) {
            try_parameter(command, param);
        }
    }
}

static void test_required_and_optional(void **state)
{
    (void)state;
    for (int id = 0; id < OTA_COMMAND_COUNT; id++) {
        const struct ota_command *command = ota_command((enum ota_command_id)id);
        for (const struct ota_param *param = command->params; param->key != NULL; param++) {
            json_t *fields = whole_command(command);
            assert_int_equal(json_object_del(fields, param->key), 0);
            if (param->required) {
                assert_refused(command, fields, param->key);
            } else {
                assert_taken(command, fields);
            }
            json_decref(fields);
        }
    }
}

static void test_unknown_keys_are_named(void **state)
{
    (void)state;
    for (int id = 0; id < OTA_COMMAND_COUNT; id++) {
        const struct ota_command *command = ota_command((enum ota_command_id)id);
        json_t *fields = whole_command(command);
        assert_int_equal(json_object_set_new(fields, "nosuch", json_null()), 0);
        assert_refused(command, fields, "nosuch");
        json_decref(fields);
    }
}

static void test_request_id_only_where_it_changes_something(void **state)
{
    (void)state;
    for (int id = 0; id < OTA_COMMAND_COUNT; id++) {
        const struct ota_command *command = ota_command((enum ota_command_id)id);
        if (!command->writes) {
            json_t *fields = whole_command(command);
            assert_int_equal(json_object_set_new(fields, "requestId", json_string("r")), 0);
            assert_refused(command, fields, "requestId");
            json_decref(fields);
        }
    }
}

static void test_reading_fields(void **state)
{
    json_t *fields = parse("{\"t\":\"x\",\"n\":7,\"yes\":true,\"no\":false}");
    (void)state;
    assert_string_equal(ota_field_text(fields, "t"), "x");
    assert_string_equal(ota_field_text(fields, "none"), "");
    assert_null(ota_field_text_or_null(fields, "none"));
    assert_int_equal(ota_field_int(fields, "n", 3), 7);
    assert_int_equal(ota_field_int(fields, "none", 3), 3);
    assert_true(ota_field_bool(fields, "yes"));
    assert_false(ota_field_bool(fields, "no"));
    assert_false(ota_field_bool(fields, "none"));
    assert_int_equal(ota_field_int(NULL, "n", 3), 3);
    json_decref(fields);
}

/* Names and words are one to one: otactl finds a command by either. */
static void test_table_is_sound(void **state)
{
    (void)state;
    for (int id = 0; id < OTA_COMMAND_COUNT; id++) {
        const struct ota_command *command = ota_command((enum ota_command_id)id);
        assert_int_equal(command->id, id);
        assert_ptr_equal(ota_command_find(command->name), command);
        assert_int_not_equal(strlen(command->help), 0);
        for (int other = 0; other < id; other++) {
            assert_string_not_equal(ota_command((enum ota_command_id)other)->words, command->words);
        }
        for (const struct ota_param *param = command->params; param->key != NULL; param++) {
            assert_ptr_equal(ota_command_param(command, param->key), param);
            assert_true(strlen(param->key) < 32); /* it fits an error's field */
        }
    }
    assert_null(ota_command_find("nosuch"));
    assert_null(ota_command_find(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_whole_table),
        cmocka_unit_test(test_required_and_optional),
        cmocka_unit_test(test_unknown_keys_are_named),
        cmocka_unit_test(test_request_id_only_where_it_changes_something),
        cmocka_unit_test(test_reading_fields),
        cmocka_unit_test(test_table_is_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
