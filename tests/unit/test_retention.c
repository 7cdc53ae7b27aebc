/* SPDX-License-Identifier: BSD-3-Clause */
/* What is too old is forgotten, in slices; what a device did last is not. */
#include "desk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/batch.h"
#include "../../plugin/broker.h"
#include "../../plugin/devices.h"

#define DAY INT64_C(86400000)

static int setup(void **state)
{
    int rc = desk_setup(state);
    struct desk *desk = *state;
    desk->fix.core.settings.keep_history_ms = 10 * DAY;
    return rc;
}

/* A task that ends now, with so many entries in its history beside its end. */
static int64_t add_task(struct desk *desk, struct ota_device *device, int entries)
{
    struct ota_store *store = desk->fix.core.store;
    struct ota_task_row row = {.device_id = device->id,
                               .firmware_id = desk->fix.firmware->row.id,
                               .version = "2.0",
                               .attempt = 1,
                               .timeout_ms = FIX_TIMEOUT,
                               .created_at = ota_now_unix(),
                               .updated_at = ota_now_unix()};
    struct ota_event_row event = {.at = ota_now_unix(), .status = OTA_DOWNLOADING};
    assert_int_equal(ota_core_begin(&desk->fix.core, NULL), OTA_OK);
    assert_int_equal(ota_task_insert(store, &row, NULL), OTA_OK);
    row.status = OTA_DOWNLOADING;
    for (int i = 0; i < entries; i++) {
        assert_int_equal(ota_task_change(store, &row, &event, NULL), OTA_OK);
    }
    row.status = event.status = OTA_FAILED;
    row.finished_at = ota_now_unix();
    assert_int_equal(ota_task_change(store, &row, &event, NULL), OTA_OK);
    assert_int_equal(ota_core_commit(&desk->fix.core, NULL), OTA_OK);
    device->last_task = row.id;
    return row.id;
}

static bool is_there(struct desk *desk, int64_t task)
{
    struct ota_task_row row;
    enum ota_err err = ota_task_get(desk->fix.core.store, task, &row, NULL);
    assert_true(err == OTA_OK || err == OTA_NOT_FOUND);
    return err == OTA_OK;
}

static void report(struct desk *desk, const char *version)
{
    assert_int_equal(ota_core_begin(&desk->fix.core, NULL), OTA_OK);
    assert_int_equal(ota_devices_set_version(&desk->fix.core, desk->fix.device, version, NULL),
                     OTA_OK);
    assert_int_equal(ota_core_commit(&desk->fix.core, NULL), OTA_OK);
}

static bool count_version(void *data, int64_t at, const char *version)
{
    (void)at;
    (void)version;
    ++*(int *)data;
    return true;
}

static int count_versions(struct desk *desk)
{
    int count = 0;
    assert_int_equal(ota_device_versions(desk->fix.core.store, desk->fix.device->id, 0,
                                         count_version, &count, NULL),
                     OTA_OK);
    return count;
}

/* Some rounds. */
static void run(struct desk *desk)
{
    fixture_run(&desk->fix, 180000, 10000);
}

static void pass(struct desk *desk, int64_t ms)
{
    fake_broker_advance(ms);
    run(desk);
}

/* --- tasks ------------------------------------------------------------------------------------ */

static void test_old_tasks_go(void **state)
{
    struct desk *desk = *state;
    struct ota_device *other = fixture_device(&desk->fix, "d2", "1.0");
    int64_t a = add_task(desk, desk->fix.device, 3);
    int64_t b = add_task(desk, other, 3); /* its device's last one */
    fake_broker_advance(8 * DAY);
    int64_t c = add_task(desk, desk->fix.device, 3);
    run(desk);
    assert_true(is_there(desk, a) && is_there(desk, b) && is_there(desk, c));
    pass(desk, 3 * DAY);
    assert_false(is_there(desk, a));
    assert_true(is_there(desk, b) && is_there(desk, c));
    desk_bad(desk, "\"command\":\"getTask\",\"task\":1", "not_found");
    pass(desk, 100 * DAY);
    assert_true(is_there(desk, b) && is_there(desk, c));
    int64_t d = add_task(desk, desk->fix.device, 3); /* now c isn't the last one any more */
    run(desk);
    assert_false(is_there(desk, c));
    assert_true(is_there(desk, d));
    assert_int_equal(desk->fix.core.counters.store_failures, 0);
}

static void test_nothing_goes_where_all_is_kept(void **state)
{
    struct desk *desk = *state;
    int64_t a = add_task(desk, desk->fix.device, 3);
    (void)add_task(desk, desk->fix.device, 3);
    desk->fix.core.settings.keep_history_ms = 0;
    pass(desk, 4000 * DAY);
    assert_true(is_there(desk, a));
}

/* What counts is when it ended; and a clock that was set back makes nothing old. */
static void test_when_it_ended_counts(void **state)
{
    struct desk *desk = *state;
    desk_good(desk, "\"command\":\"upgradeDevice\",\"product\":\"door\",\"device\":\"d1\","
                    "\"version\":\"2.0\"");
    pass(desk, 30 * DAY);
    assert_true(is_there(desk, 1)); /* unfinished */
    desk_good(desk, "\"command\":\"cancelTask\",\"task\":1");
    (void)add_task(desk, desk->fix.device, 1);
    pass(desk, 5 * DAY);
    assert_true(is_there(desk, 1));
    fake_broker_set_unix(1000);
    run(desk);
    assert_true(is_there(desk, 1));
    fake_broker_set_unix(FAKE_UNIX_START + 41 * DAY);
    run(desk);
    assert_false(is_there(desk, 1));
}

/* A history that is longer than a slice. */
static void test_a_long_history(void **state)
{
    struct desk *desk = *state;
    int64_t a = add_task(desk, desk->fix.device, 1000);
    int64_t b = add_task(desk, desk->fix.device, 10);
    bool gone = false;
    int slices = 0;
    while (!gone) {
        assert_int_equal(ota_core_begin(&desk->fix.core, NULL), OTA_OK);
        assert_int_equal(ota_task_prune(desk->fix.core.store, a, 50, &gone, NULL), OTA_OK);
        assert_int_equal(ota_core_commit(&desk->fix.core, NULL), OTA_OK);
        slices++;
        if (slices == 7) { /* what is left of it can still be looked at */
            char *history = fixture_history(&desk->fix, a);
            assert_true(strlen(history) > 100);
            free(history);
        }
    }
    assert_int_equal(slices, 21);
    assert_false(is_there(desk, a));
    assert_true(is_there(desk, b));
}

static void test_what_cannot_be_written_is_tried_again(void **state)
{
    struct desk *desk = *state;
    int64_t tasks[200];
    for (size_t i = 0; i < 200; i++) {
        tasks[i] = add_task(desk, desk->fix.device, 1);
    }
    fixture_fail_commits(true);
    fake_broker_advance(11 * DAY);
    run(desk);
    fixture_fail_commits(false);
    assert_true(is_there(desk, tasks[0]));
    run(desk);
    for (size_t i = 0; i < 200; i++) {
        assert_int_equal(is_there(desk, tasks[i]), i == 199);
    }
}

/* --- batches ---------------------------------------------------------------------------------- */

static struct ota_tally tally(struct desk *desk, int64_t batch)
{
    return ota_batch_tally(ota_fleet_batch(&desk->fix.core.fleet, batch));
}

#define BATCH                                                                                      \
    "\"command\":\"createBatch\",\"product\":\"door\",\"version\":\"2.0\",\"target\":{\"all\":"    \
    "true}"

/* The tallies of a batch that is settled stay, over a restart too; it never runs again. */
static void test_a_settled_batch(void **state)
{
    struct desk *desk = *state;
    (void)fixture_device(&desk->fix, "d2", "1.0");
    desk_good(desk, BATCH);
    fixture_run(&desk->fix, 1000, 100);
    desk_good(desk, "\"command\":\"cancelBatch\",\"batch\":1");
    fixture_run(&desk->fix, 1000, 100);
    assert_true(ota_fleet_batch(&desk->fix.core.fleet, 1)->row.tallied);
    (void)add_task(desk, desk->fix.device, 1);
    pass(desk, 11 * DAY);
    assert_false(is_there(desk, 1));
    assert_true(is_there(desk, 2)); /* the last one of d2 */
    assert_int_equal(tally(desk, 1).by_status[OTA_CANCELLED], 2);
    desk_restart(desk, true);
    assert_int_equal(tally(desk, 1).by_status[OTA_CANCELLED], 2);
    assert_int_equal(desk->fix.core.counters.store_failures, 0);
}

static void assert_never_again(struct desk *desk, const char *command)
{
    json_t *response = desk_ask(desk, OTA_ROLE_ADMIN, command);
    const char *error = json_string_value(json_object_get(response, "error"));
    assert_string_equal(json_string_value(json_object_get(response, "code")), "conflict");
    assert_non_null(strstr(error, "keep_history_days"));
    json_decref(response);
}

static void test_a_batch_that_lost_tasks_never_runs_again(void **state)
{
    struct desk *desk = *state;
    (void)fixture_device(&desk->fix, "d2", "1.0");
    desk_good(desk, BATCH);
    fixture_run(&desk->fix, 1000, 100);
    desk_good(desk, "\"command\":\"cancelTask\",\"task\":1");
    desk_good(desk, "\"command\":\"cancelTask\",\"task\":2");
    fixture_run(&desk->fix, 1000, 100);
    assert_int_equal(ota_fleet_batch(&desk->fix.core.fleet, 1)->row.state, OTA_BATCH_FINISHED);
    (void)add_task(desk, desk->fix.device, 1);
    pass(desk, 11 * DAY);
    assert_false(is_there(desk, 1));
    for (int i = 0; i < 2; i++) {
        assert_never_again(desk, "\"command\":\"retryBatch\",\"batch\":1");
        assert_never_again(desk, "\"command\":\"retryTask\",\"task\":2");
        desk_restart(desk, true);
    }
}

static void test_a_batch_that_is_not_over(void **state)
{
    struct desk *desk = *state;
    (void)fixture_device(&desk->fix, "d2", "1.0");
    desk_good(desk, BATCH);
    fixture_run(&desk->fix, 1000, 100);
    desk_good(desk, "\"command\":\"cancelTask\",\"task\":1");
    (void)add_task(desk, desk->fix.device, 1);
    pass(desk, 100 * DAY);
    assert_true(is_there(desk, 1));
    assert_int_equal(tally(desk, 1).by_status[OTA_CANCELLED], 1);
    desk_restart(desk, true);
    assert_int_equal(tally(desk, 1).by_status[OTA_CANCELLED], 1);
}

/* --- versions --------------------------------------------------------------------------------- */

static void test_old_versions_go(void **state)
{
    struct desk *desk = *state;
    struct ota_device *silent = fixture_device(&desk->fix, "d2", NULL);
    char text[16];
    for (int i = 0; i < 120; i++) { /* more than a slice */
        (void)snprintf(text, sizeof text, "2.%d", i);
        report(desk, text);
        fake_broker_advance(1000);
    }
    fake_broker_advance(8 * DAY);
    report(desk, "3.0");
    run(desk);
    assert_int_equal(count_versions(desk), 122); /* with the first */
    fixture_tick(&desk->fix, 3 * DAY);           /* all in one round */
    assert_int_equal(count_versions(desk), 1);
    pass(desk, 100 * DAY);
    assert_int_equal(count_versions(desk), 1); /* the newest stays */
    assert_string_equal(desk->fix.device->version->text, "3.0");
    assert_null(silent->version);
}

/* Rows that go are looked at once; those that stay cost a look a round, and no write. */
static void test_a_round_ends(void **state)
{
    struct desk *desk = *state;
    for (int i = 0; i < 100; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "x%d", i);
        (void)add_task(desk, fixture_device(&desk->fix, name, "1.0"), 1);
    }
    fake_broker_advance(20 * DAY);
    run(desk);
    const struct ota_retention *retention = &desk->fix.dispatch.retention;
    assert_int_equal(retention->tasks_left, 0);
    assert_int_equal(retention->devices_left, 0);
    assert_int_equal(retention->task_at, 0);
    int64_t next = retention->next_round;
    fixture_tick(&desk->fix, 10);
    assert_int_equal(retention->next_round, next);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, desk_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_old_tasks_go),
        TEST(test_nothing_goes_where_all_is_kept),
        TEST(test_when_it_ended_counts),
        TEST(test_a_long_history),
        TEST(test_what_cannot_be_written_is_tried_again),
        TEST(test_a_settled_batch),
        TEST(test_a_batch_that_lost_tasks_never_runs_again),
        TEST(test_a_batch_that_is_not_over),
        TEST(test_old_versions_go),
        TEST(test_a_round_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
