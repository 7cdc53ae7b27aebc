/* SPDX-License-Identifier: BSD-3-Clause */
/* The command backup: names, one at a time, asked twice, given up. */
#include "desk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../plugin/broker.h"

#define BACKUP "\"command\":\"backup\""

static int setup(void **state)
{
    int rc = desk_setup(state);
    struct desk *desk = *state;
    desk->around.backup_dir = desk->fix.dir;
    return rc;
}

static bool exists(const struct desk *desk, const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", desk->fix.dir, name);
    return access(path, F_OK) == 0;
}

/* Ticks until so many answers are there; the last one. */
static json_t *wait_answers(struct desk *desk, int count)
{
    for (int i = 0; i < 10000 && fixture_count(OTA_CONTROL_RESPONSE, NULL) < count; i++) {
        (void)usleep(1000);
        fake_broker_advance(20);
        desk_tick(desk);
    }
    assert_int_equal(fixture_count(OTA_CONTROL_RESPONSE, NULL), count);
    return desk_response();
}

static json_t *back_up(struct desk *desk, const char *command)
{
    desk_send(desk, OTA_ROLE_ADMIN, command);
    return wait_answers(desk, 1);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

static void assert_copy(const struct desk *desk, const json_t *response, const char *name)
{
    struct stat file;
    char path[256];
    const json_t *data = json_object_get(response, "data");
    (void)snprintf(path, sizeof path, "%s/%s", desk->fix.dir, name);
    assert_string_equal(text_of(data, "path"), path);
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(json_integer_value(json_object_get(data, "bytes")), file.st_size);
}

static void test_names(void **state)
{
    static const char *const bad[] = {
        "",         ".",
        "..",       ".hidden",
        "a/b",      "../x",
        "a b",      "x-wal",
        "x.db-shm", "x.db-JOURNAL",
        "\\u00e4",  "01234567890123456789012345678901234567890123456789012345678901234"};
    static const char *const good[] = {
        "a", "ota.db.1", "A_b-9..db",
        "0123456789012345678901234567890123456789012345678901234567890123"};
    struct desk *desk = *state;
    char command[200];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        (void)snprintf(command, sizeof command, BACKUP ",\"name\":\"%s\"", bad[i]);
        desk_bad(desk, command, "invalid_request");
    }
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        (void)snprintf(command, sizeof command, BACKUP ",\"name\":\"%s\"", good[i]);
        json_t *response = back_up(desk, command);
        assert_copy(desk, response, good[i]);
        json_decref(response);
        desk_bad(desk, command, "already_exists");
    }
}

/* The clock stands at 2023-11-14 22:13:20 and some ms. */
static void test_the_name_of_the_time(void **state)
{
    struct desk *desk = *state;
    fake_broker_set_unix(FAKE_UNIX_START);
    json_t *response = back_up(desk, BACKUP);
    assert_copy(desk, response, "ota-20231114-221320.db");
    json_decref(response);
    fake_broker_set_unix(FAKE_UNIX_START);
    response = back_up(desk, BACKUP);
    assert_copy(desk, response, "ota-20231114-221320-2.db");
    json_decref(response);
}

static void test_without_a_directory(void **state)
{
    struct desk *desk = *state;
    desk->around.backup_dir = "";
    json_t *response = desk_ask(desk, OTA_ROLE_ADMIN, BACKUP);
    assert_string_equal(text_of(response, "code"), "unavailable");
    assert_non_null(strstr(text_of(response, "error"), "backup_dir"));
    json_decref(response);
    desk->around.backup_dir = "/nowhere";
    desk_bad(desk, BACKUP, "unavailable");
    response = desk_ask(desk, OTA_ROLE_OPERATOR, BACKUP);
    assert_string_equal(text_of(response, "code"), "forbidden");
    json_decref(response);
}

static void test_one_at_a_time(void **state)
{
    struct desk *desk = *state;
    desk_send(desk, OTA_ROLE_ADMIN, BACKUP ",\"name\":\"one\"");
    desk_tick(desk);
    json_t *response = desk_ask(desk, OTA_ROLE_ADMIN, BACKUP ",\"name\":\"two\"");
    assert_string_equal(text_of(response, "code"), "conflict");
    assert_non_null(strstr(text_of(response, "error"), "a backup is running"));
    json_decref(response);
    /* others aren't kept waiting, and it answers in its time */
    desk_good(desk, "\"command\":\"createProduct\",\"product\":\"lamp\"");
    response = wait_answers(desk, 2);
    assert_copy(desk, response, "one");
    json_decref(response);
    response = back_up(desk, BACKUP ",\"name\":\"two\"");
    assert_copy(desk, response, "two");
    json_decref(response);
}

/* MQTT may deliver the message twice: both get the same answer. */
static void test_the_same_request_twice(void **state)
{
    static const char command[] = "{\"commands\":[{" BACKUP ",\"requestId\":\"r\"}]}";
    struct desk *desk = *state;
    fake_broker_clear_messages();
    for (int i = 0; i < 2; i++) {
        ota_control_receive(desk->control, &desk->admin, OTA_ROLE_ADMIN, command,
                            sizeof command - 1);
    }
    json_t *last = wait_answers(desk, 2);
    json_t *first =
        json_loadb(fake_broker_message(0)->payload, fake_broker_message(0)->len, 0, NULL);
    assert_non_null(json_object_get(last, "data"));
    assert_true(json_equal(json_array_get(json_object_get(first, "responses"), 0), last));
    json_decref(first);
    json_decref(last);
    json_t *audit = desk_data(desk, "\"command\":\"listAudit\"");
    const json_t *entries = json_object_get(audit, "entries");
    assert_int_equal(json_array_size(entries), 1);
    assert_string_equal(text_of(json_array_get(entries, 0), "command"), "backup");
    assert_int_equal(strncmp(text_of(json_array_get(entries, 0), "target"), "ota-2", 5), 0);
    json_decref(audit);
}

/* Nobody would be told of the copy. */
static void test_an_answer_that_cannot_be_stored(void **state)
{
    struct desk *desk = *state;
    fixture_fail_commits(true);
    json_t *response = back_up(desk, BACKUP ",\"name\":\"one\"");
    fixture_fail_commits(false);
    assert_string_equal(text_of(response, "code"), "unavailable");
    json_decref(response);
    assert_false(exists(desk, "one"));
    response = back_up(desk, BACKUP ",\"name\":\"one\"");
    assert_copy(desk, response, "one");
    json_decref(response);
}

static void test_who_asked_is_gone(void **state)
{
    struct desk *desk = *state;
    desk_send(desk, OTA_ROLE_ADMIN, BACKUP ",\"name\":\"one\"");
    desk_tick(desk);
    ota_control_forget(desk->control, &desk->admin);
    for (int i = 0; i < 10000 && desk->around.backup != NULL; i++) {
        (void)usleep(1000);
        fake_broker_advance(20);
        desk_tick(desk);
    }
    assert_true(exists(desk, "one"));
    assert_int_equal(fixture_count(OTA_CONTROL_RESPONSE, NULL), 0);
}

static void test_a_stop_in_between(void **state)
{
    struct desk *desk = *state;
    desk_send(desk, OTA_ROLE_ADMIN, BACKUP ",\"name\":\"one\"");
    desk_tick(desk);
    assert_non_null(desk->around.backup);
    desk_restart(desk, false);
    desk->around.backup_dir = desk->fix.dir;
    assert_null(desk->around.backup);
    assert_false(exists(desk, ".ota-backup.part"));
    json_t *response = back_up(desk, BACKUP ",\"name\":\"two\"");
    assert_copy(desk, response, "two");
    json_decref(response);
}

/* A command that rests isn't called in every loop. */
static void test_it_is_looked_at_now_and_then(void **state)
{
    struct desk *desk = *state;
    desk_send(desk, OTA_ROLE_ADMIN, BACKUP ",\"name\":\"one\"");
    desk->fix.core.wake_at = INT64_MAX;
    desk_tick(desk);
    assert_int_equal(desk->fix.core.wake_at, ota_now_mono() + 20);
    (void)usleep(200000);
    for (int i = 0; i < 10; i++) {
        desk_tick(desk);
    }
    assert_int_equal(fixture_count(OTA_CONTROL_RESPONSE, NULL), 0);
    fake_broker_advance(20);
    json_t *response = wait_answers(desk, 1);
    assert_copy(desk, response, "one");
    json_decref(response);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, desk_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_names),
        TEST(test_the_name_of_the_time),
        TEST(test_without_a_directory),
        TEST(test_one_at_a_time),
        TEST(test_the_same_request_twice),
        TEST(test_an_answer_that_cannot_be_stored),
        TEST(test_who_asked_is_gone),
        TEST(test_a_stop_in_between),
        TEST(test_it_is_looked_at_now_and_then),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
