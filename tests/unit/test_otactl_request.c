/* SPDX-License-Identifier: BSD-3-Clause */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <string.h>

#include "../../cli/args.h"
#include "../../cli/pace.h"
#include "../../cli/request.h"
#include "../../cli/verb.h"

#define WORDS_MAX 20

/* Reads a command line, words apart by single spaces. */
static enum ota_exit read_line(const char *line, struct ota_job *job, struct ota_failure *failure)
{
    char copy[256];
    char *argv[WORDS_MAX] = {(char *)"otactl"};
    int argc = 1;
    struct ota_args args;
    (void)strncpy(copy, line, sizeof copy - 1);
    copy[sizeof copy - 1] = '\0';
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " ")) {
        argv[argc++] = word;
    }
    *job = (struct ota_job){0};
    enum ota_exit rc = ota_args_parse(argc, argv, &args, failure);
    if (rc == OTA_EXIT_OK) {
        rc = ota_request_make(&args, job, failure);
    }
    /* The job keeps nothing of the line: a test would not notice otherwise. */
    memset(copy, 'x', sizeof copy);
    ota_args_free(&args);
    return rc;
}

static void check(const char *line, const char *command, const char *fields, const char *local)
{
    struct ota_job job;
    struct ota_failure failure = {0};
    json_t *wanted = json_loads(fields, 0, NULL);
    json_t *wanted_local = json_loads(local, 0, NULL);
    assert_non_null(wanted);
    assert_int_equal(read_line(line, &job, &failure), OTA_EXIT_OK);
    assert_string_equal(job.verb.command->name, command);
    assert_true(json_equal(job.fields, wanted));
    assert_true(json_equal(job.local, wanted_local));
    json_decref(wanted);
    json_decref(wanted_local);
    ota_request_free(&job);
}

static void check_bad(const char *line, const char *field, const char *said)
{
    struct ota_job job;
    struct ota_failure failure = {0};
    assert_int_equal(read_line(line, &job, &failure), OTA_EXIT_USAGE);
    assert_string_equal(failure.field, field);
    assert_non_null(strstr(failure.text, said));
    ota_request_free(&job);
}

static void test_positionals_follow_the_table(void **state)
{
    (void)state;
    check("device show p d", "getDevice", "{\"product\":\"p\",\"device\":\"d\"}", "{}");
    check("firmware block 3 0 AAEC", "uploadFirmwareBlock",
          "{\"upload\":3,\"offset\":0,\"data\":\"AAEC\"}", "{}");
    check("firmware add p 1 /tmp/a.bin", "addFirmware", "{\"product\":\"p\",\"version\":\"1\"}",
          "{\"file\":\"/tmp/a.bin\"}");
}

static void test_options_stand_anywhere(void **state)
{
    (void)state;
    const char *fields = "{\"product\":\"p\",\"device\":\"d\",\"version\":\"1\",\"override\":true,"
                         "\"timeoutSeconds\":60}";
    check("upgrade p d 1 --override --timeout-seconds 60", "upgradeDevice", fields, "{}");
    check("--override upgrade -h host p --timeout-seconds=60 d -- 1", "upgradeDevice", fields,
          "{}");
}

static void test_bools(void **state)
{
    (void)state;
    const char *yes = "{\"product\":\"p\",\"device\":\"d\",\"hold\":true}";
    const char *no = "{\"product\":\"p\",\"device\":\"d\",\"hold\":false}";
    check("device update p d --hold", "updateDevice", yes, "{}");
    check("device update --hold yes p d", "updateDevice", yes, "{}");
    check("device update --hold p d", "updateDevice", yes, "{}");
    check("device update p d --no-hold", "updateDevice", no, "{}");
    check("device update p d --hold=false", "updateDevice", no, "{}");
}

static void test_structures(void **state)
{
    (void)state;
    check("device create p d --tags a,b=c", "createDevice",
          "{\"product\":\"p\",\"device\":\"d\",\"tags\":[\"a\",\"b=c\"]}", "{}");
    check("upgrade p d 1 --retry max=3,delaySeconds=60,on=timeout:-1", "upgradeDevice",
          "{\"product\":\"p\",\"device\":\"d\",\"version\":\"1\",\"retry\":{\"max\":3,"
          "\"delaySeconds\":60,\"on\":[\"timeout\",-1]}}",
          "{}");
}

static void test_batches(void **state)
{
    (void)state;
    check("batch create p 1 --stage 1% --stage 0.5%:min=95%:soak=2h:manual,50:auto "
          "--threshold 10%/50 --rate 9",
          "createBatch",
          "{\"product\":\"p\",\"version\":\"1\",\"stages\":[{\"percent\":1},{\"percent\":0.5,"
          "\"minSuccessPercent\":95,\"soakSeconds\":7200,\"advance\":\"manual\"},{\"count\":50,"
          "\"advance\":\"auto\"}],\"failureThreshold\":{\"percent\":10,\"minFinished\":50},"
          "\"ratePerMinute\":9}",
          "{}");
    check("batch create p 1 --retry 3:60:on=timeout,-1 --expire-at 2026-12-01T08:00Z",
          "createBatch",
          "{\"product\":\"p\",\"version\":\"1\",\"retry\":{\"max\":3,\"delaySeconds\":60,"
          "\"on\":[\"timeout\",-1]},\"expireAt\":1796112000000}",
          "{}");
    check("batch create p 1 --from-version 1,2 --from-version 3 --device a --device b,c --offline",
          "createBatch", "{\"product\":\"p\",\"version\":\"1\"}",
          "{\"fromVersion\":[\"1\",\"2\",\"3\"],\"device\":[\"a\",\"b\",\"c\"],"
          "\"online\":false}");
    check("batch add 7 a b,c", "addBatchDevices", "{\"batch\":7,\"devices\":[\"a\",\"b\",\"c\"]}",
          "{}");
    check("batch add 7 --devices-from -", "addBatchDevices", "{\"batch\":7}",
          "{\"devicesFrom\":\"-\"}");
    check("batch list --state paused", "listBatches", "{\"state\":\"paused\"}", "{}");
}

static void test_bad_batches(void **state)
{
    (void)state;
    check_bad("batch add 7", "devices", "missing");
    check_bad("batch add 7 a,,b", "devices", "names of 1-48");
    check_bad("batch create p 1 --stage 10%:soak=1w", "stages", "10% or 500");
    check_bad("batch create p 1 --stage 1,,5", "stages", "10% or 500");
    check_bad("batch create p 1 --threshold 10%", "failureThreshold", "10%/50");
    check_bad("batch create p 1 --expire-at 2026-02-31T08:00", "expireAt", "a local time");
    check_bad("batch create p 1 --expire-at +2", "expireAt", "a local time");
    check_bad("batch create p 1 --expire-at 1764003792", "expireAt", "Unix milliseconds");
    check_bad("batch create p 1 --retry 3:60:often", "retry", "max=0-10");
    check_bad("batch create p 1 --offline=yes", "online", "takes no value");
    check_bad("batch create p 1 --rate 1 --rate-per-minute 1", "ratePerMinute", "twice");
    check_bad("batch cancel 1 --running stop", "running", "finish or cancel");
}

static void test_the_pace_is_that_of_the_last_minute(void **state)
{
    (void)state;
    struct ota_pace pace = {0};
    assert_true(ota_pace_per_minute(&pace) < 0);
    for (int64_t second = 0; second <= 600; second++) {
        /* One a second, and from the fifth minute on two. */
        ota_pace_note(&pace, second * 1000, second <= 300 ? second : 2 * second - 300);
        ota_pace_note(&pace, second * 1000 + 10, second <= 300 ? second : 2 * second - 300);
        if (second == 2) {
            assert_true(ota_pace_per_minute(&pace) < 0);
        }
        if (second == 100) {
            assert_in_range(ota_pace_per_minute(&pace), 59, 61);
        }
    }
    assert_in_range(ota_pace_per_minute(&pace), 118, 122);
    ota_pace_note(&pace, 601000, 3); /* failed devices try again */
    assert_true(ota_pace_per_minute(&pace) < 0);
}

static void test_what_the_server_never_sees(void **state)
{
    (void)state;
    check("task list --limit 500 --page-size 7", "listTasks", "{}",
          "{\"limit\":500,\"pageSize\":7}");
    check("task watch 7 --until confirmed", "getTask", "{\"task\":7}", "{\"until\":\"confirmed\"}");
}

static void test_bad_values(void **state)
{
    (void)state;
    check_bad("task show 0", "task", "at least 1");
    check_bad("task show 9223372036854775808", "task", "at least 1");
    check_bad("upgrade p d 1 --timeout-seconds 604801", "timeoutSeconds", "from 10 to 604800");
    check_bad("upgrade p d 1 --timeout-seconds 60s", "timeoutSeconds", "\"60s\"");
    check_bad("upgrade p d 1 --retry max=1,,", "retry", "max=0-10");
    check_bad("upgrade p d 1 --retry max=99999999999999999999999", "retry", "max=0-10");
    check_bad("device create p d --tags a,b/c", "tags", "at most 16");
    check_bad("product create a+b", "product", "1-32");
    check_bad("task list --status lost", "status", "task_waiting");
    check_bad("task list --page-size 201", "pageSize", "from 1 to 200");
}

static void test_bad_lines(void **state)
{
    (void)state;
    check_bad("device show p", "device", "missing");
    check_bad("device show p d e", "", "one too many");
    check_bad("device show p d --hold", "hold", "does not take");
    check_bad("firmware add p 1 a.bin --size 3", "size", "does not take");
    check_bad("task list --limit", "", "needs a value");
    check_bad("task list --limit 1 --limit 1", "limit", "twice");
    check_bad("devcie show p d", "", "device show");
    check_bad("task list --stauts failed", "", "--status");
}

/* No option of a command may hide behind a connection option of the same name. */
static void test_no_parameter_is_shadowed(void **state)
{
    (void)state;
    const struct ota_param *param;
    for (size_t i = 0; i < ota_verb_count(); i++) {
        struct ota_verb verb = ota_verb_at(i);
        assert_non_null(verb.run);
        for (size_t j = 0; (param = ota_verb_param_at(&verb, j)) != NULL; j++) {
            char kebab[64];
            char camel[64];
            ota_verb_kebab(param->key, kebab, sizeof kebab);
            ota_verb_camel(kebab, camel, sizeof camel);
            assert_string_equal(camel, param->key);
            if (!param->required && strcmp(kebab, "version") != 0) {
                assert_null(ota_setting_by_name(kebab, strlen(kebab)));
            }
        }
    }
}

/* Whether an option takes a value is decided before its command is known. */
static void test_a_key_is_a_bool_everywhere_or_nowhere(void **state)
{
    (void)state;
    const struct ota_param *param;
    for (size_t i = 0; i < ota_verb_count(); i++) {
        struct ota_verb verb = ota_verb_at(i);
        for (size_t j = 0; (param = ota_verb_param_at(&verb, j)) != NULL; j++) {
            const struct ota_param *first = ota_verb_param_anywhere(param->key);
            assert_int_equal(first->type == OTA_PARAM_BOOL, param->type == OTA_PARAM_BOOL);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_positionals_follow_the_table),
        cmocka_unit_test(test_options_stand_anywhere),
        cmocka_unit_test(test_bools),
        cmocka_unit_test(test_structures),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_bad_batches),
        cmocka_unit_test(test_the_pace_is_that_of_the_last_minute),
        cmocka_unit_test(test_what_the_server_never_sees),
        cmocka_unit_test(test_bad_values),
        cmocka_unit_test(test_bad_lines),
        cmocka_unit_test(test_no_parameter_is_shadowed),
        cmocka_unit_test(test_a_key_is_a_bool_everywhere_or_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
