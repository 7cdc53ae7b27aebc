/* SPDX-License-Identifier: BSD-3-Clause */
/* deleteDevice: out of sight at once, its rows in slices, whatever happens in between. */
#include "desk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/batch.h"
#include "../../plugin/broker.h"
#include "../../plugin/devices.h"

#define DELETE "\"command\":\"deleteDevice\",\"product\":\"door\",\"device\":\"d1\""
#define CREATE "\"command\":\"createDevice\",\"product\":\"door\",\"device\":\"d1\""

/* A finished task with some entries; in the batch, where that isn't 0. */
static int64_t add_task(struct desk *desk, int64_t device_id, int64_t batch_id)
{
    struct ota_store *store = desk->fix.core.store;
    struct ota_task_row row = {.device_id = device_id,
                               .firmware_id = desk->fix.firmware->row.id,
                               .batch_id = batch_id,
                               .version = "2.0",
                               .attempt = 1,
                               .timeout_ms = FIX_TIMEOUT,
                               .created_at = ota_now_unix(),
                               .updated_at = ota_now_unix()};
    struct ota_event_row event = {.at = ota_now_unix(), .status = OTA_MESSAGE_SENT};
    assert_int_equal(ota_core_begin(&desk->fix.core, NULL), OTA_OK);
    assert_int_equal(ota_task_insert(store, &row, NULL), OTA_OK);
    row.status = OTA_MESSAGE_SENT;
    assert_int_equal(ota_task_change(store, &row, &event, NULL), OTA_OK);
    row.status = event.status = OTA_CANCELLED;
    row.finished_at = ota_now_unix();
    assert_int_equal(ota_task_change(store, &row, &event, NULL), OTA_OK);
    assert_int_equal(ota_core_commit(&desk->fix.core, NULL), OTA_OK);
    return row.id;
}

static void fill(struct desk *desk, int tasks)
{
    for (int i = 0; i < tasks; i++) {
        desk->fix.device->last_task = add_task(desk, desk->fix.device->id, 0);
    }
}

/* As the purge does, but only so many rows. */
static bool purge_rows(struct desk *desk, int rows)
{
    bool left = false;
    assert_int_equal(ota_core_begin(&desk->fix.core, NULL), OTA_OK);
    assert_int_equal(ota_product_purge(desk->fix.core.store, rows, &left, NULL), OTA_OK);
    assert_int_equal(ota_core_commit(&desk->fix.core, NULL), OTA_OK);
    return left;
}

static size_t count(struct desk *desk, const char *command, const char *key)
{
    json_t *data = desk_data(desk, command);
    size_t n = json_array_size(json_object_get(data, key));
    json_decref(data);
    return n;
}

static void assert_gone(struct desk *desk)
{
    desk_bad(desk, "\"command\":\"getDevice\",\"product\":\"door\",\"device\":\"d1\"", "not_found");
    desk_bad(desk, "\"command\":\"getTask\",\"task\":1", "not_found");
    desk_bad(desk, "\"command\":\"retryTask\",\"task\":1", "not_found");
    desk_bad(desk, DELETE, "not_found");
    assert_int_equal(count(desk, "\"command\":\"listTasks\"", "tasks"), 0);
    assert_int_equal(count(desk, "\"command\":\"listDevices\",\"product\":\"door\"", "devices"), 0);
    json_t *stats = desk_data(desk, "\"command\":\"getStats\",\"product\":\"door\"");
    const json_t *statuses = json_object_get(stats, "statuses");
    assert_int_equal(json_integer_value(json_object_get(statuses, "cancelled")), 0);
    json_decref(stats);
    assert_int_equal(desk->fix.core.fleet.device_count, 0);
}

/* A device of that name which has nothing of the old one. */
static void assert_fresh(struct desk *desk)
{
    desk_good(desk, CREATE);
    assert_int_equal(
        count(desk, "\"command\":\"listTasks\",\"product\":\"door\",\"device\":\"d1\"", "tasks"),
        0);
    assert_int_equal(
        count(desk, "\"command\":\"listDeviceHistory\",\"product\":\"door\",\"device\":\"d1\"",
              "versions"),
        0);
}

static void test_out_of_sight_at_once(void **state)
{
    struct desk *desk = *state;
    fill(desk, 100);
    desk_good(desk, DELETE);
    assert_gone(desk);
    assert_true(purge_rows(desk, 10)); /* there is still much of it */
    assert_fresh(desk);
    fixture_run(&desk->fix, 1000, 100);
    assert_false(purge_rows(desk, 1));
    assert_int_equal(desk->fix.core.fleet.device_count, 1);
    assert_int_equal(desk->fix.core.counters.store_failures, 0);
}

static void test_restarts_in_between(void **state)
{
    struct desk *desk = *state;
    fill(desk, 20);
    desk_good(desk, DELETE);
    for (int i = 0; purge_rows(desk, 7); i++) {
        desk_restart(desk, i % 2 == 0);
        assert_gone(desk);
    }
    desk_restart(desk, true);
    assert_fresh(desk);
}

/* The name comes back before the rows are gone, again and again. */
static void test_again_and_again(void **state)
{
    struct desk *desk = *state;
    for (int i = 0; i < 5; i++) {
        fill(desk, 5);
        desk_good(desk, DELETE);
        desk_good(desk, CREATE);
        desk->fix.device = ota_fleet_device(&desk->fix.core.fleet, desk->fix.product, "d1", 2);
        (void)purge_rows(desk, 3);
    }
    assert_int_equal(count(desk, "\"command\":\"listTasks\"", "tasks"), 0);
    desk_good(desk, "\"command\":\"deleteProduct\",\"product\":\"door\",\"force\":true");
    fixture_run(&desk->fix, 1000, 100);
    assert_false(purge_rows(desk, 1));
    assert_int_equal(desk->fix.core.counters.store_failures, 0);
}

static void test_a_commit_that_fails(void **state)
{
    struct desk *desk = *state;
    fill(desk, 3);
    fixture_fail_commits(true);
    desk_bad(desk, DELETE, "unavailable");
    fixture_fail_commits(false);
    assert_int_equal(count(desk, "\"command\":\"listTasks\"", "tasks"), 3);
    assert_int_equal(count(desk, "\"command\":\"listDevices\",\"product\":\"door\"", "devices"), 1);
    assert_false(purge_rows(desk, 100));
    desk_good(desk, DELETE);
    assert_gone(desk);
}

/* A long history is looked through in slices, for what it did in batches. */
static void test_looking_back_in_slices(void **state)
{
    struct desk *desk = *state;
    struct ota_departure departure = {0};
    int slices = 0;
    fill(desk, 300);
    (void)add_task(desk, desk->fix.device->id, 77);
    enum ota_err err = OTA_AGAIN;
    while (err == OTA_AGAIN) {
        err = ota_devices_look_back(&desk->fix.core, desk->fix.device, &departure, 0, NULL);
        slices++;
        if (slices == 2) { /* what comes meanwhile is seen, too */
            (void)add_task(desk, desk->fix.device->id, 78);
        }
    }
    assert_int_equal(err, OTA_OK);
    assert_int_equal(slices, 302 / 64 + 1);
    assert_int_equal(departure.count, 2);
    ota_departure_free(&departure);
}

/* Between two slices another device took the name: what was found is forgotten. */
static void test_another_device_of_the_name(void **state)
{
    struct desk *desk = *state;
    struct ota_departure departure = {0};
    struct ota_device *other = fixture_device(&desk->fix, "d2", "1.0");
    for (int i = 0; i < 100; i++) {
        (void)add_task(desk, desk->fix.device->id, 77);
    }
    assert_int_equal(ota_devices_look_back(&desk->fix.core, desk->fix.device, &departure, 0, NULL),
                     OTA_AGAIN);
    assert_int_equal(departure.count, 64);
    assert_int_equal(ota_devices_look_back(&desk->fix.core, other, &departure, 0, NULL), OTA_OK);
    assert_int_equal(departure.count, 0);
    ota_departure_free(&departure);
}

/* After a restart amid the purge a batch that runs is counted without it. */
static void test_the_batch_after_a_restart(void **state)
{
    struct desk *desk = *state;
    struct fixture *fix = &desk->fix;
    (void)fixture_device(fix, "d2", "1.0");
    desk_good(desk, "\"command\":\"createBatch\",\"product\":\"door\",\"version\":\"2.0\","
                    "\"target\":{\"all\":true}");
    fixture_run(fix, 2000, 100);
    const struct ota_batch *batch = ota_fleet_batch(&fix->core.fleet, 1);
    struct ota_tally tally = ota_batch_tally(batch);
    assert_int_equal(tally.by_status[OTA_WAITING], 2);
    desk_good(desk, "\"command\":\"cancelTask\",\"task\":1");
    desk_good(desk, DELETE);
    tally = ota_batch_tally(batch);
    assert_int_equal(tally.by_status[OTA_CANCELLED], 0);
    desk_restart(desk, true);
    batch = ota_fleet_batch(&fix->core.fleet, 1);
    tally = ota_batch_tally(batch);
    assert_int_equal(tally.by_status[OTA_WAITING], 1);
    assert_int_equal(tally.by_status[OTA_CANCELLED], 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, desk_setup, desk_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_out_of_sight_at_once),      TEST(test_restarts_in_between),
        TEST(test_again_and_again),           TEST(test_a_commit_that_fails),
        TEST(test_looking_back_in_slices),    TEST(test_another_device_of_the_name),
        TEST(test_the_batch_after_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
