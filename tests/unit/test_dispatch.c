/* SPDX-License-Identifier: BSD-3-Clause */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/broker.h"
#include "../../plugin/devices.h"
#include "../../plugin/presence.h"

#define UPDATE  "$ota/update/door/d1"
#define HOUR_MS 3600000

static int notices(void)
{
    return fixture_count(UPDATE, "update_firmware");
}

static int all_notices(void)
{
    return fixture_count(NULL, "update_firmware");
}

static void apply_to(struct fixture *fix, struct ota_device *device,
                     enum ota_upgrade_event_kind kind, int percent)
{
    struct ota_upgrade_event event = {
        .kind = kind, .percent = percent, .code = -1, .service_now = fix->core.service_ms};
    bool changed;
    assert_int_equal(ota_tasks_apply(&fix->core, device->task, &event, NULL, &changed, NULL),
                     OTA_OK);
}

static void apply(struct fixture *fix, enum ota_upgrade_event_kind kind, int percent)
{
    apply_to(fix, fix->device, kind, percent);
}

/* A device that is connected, with a task that was just noticed. */
static struct ota_task *noticed_task(struct fixture *fix)
{
    fixture_connect(fix);
    struct ota_task *task = fixture_plain_task(fix, fix->device);
    fixture_tick(fix, 1);
    assert_int_equal(task->up.status, OTA_MESSAGE_SENT);
    return task;
}

/* --- when the notice goes out ------------------------------------------------------------------
 */

static void test_at_once_for_a_connected_device(void **state)
{
    struct fixture *fix = *state;
    fixture_connect(fix);
    fixture_run(fix, 1000, 100);
    (void)fixture_plain_task(fix, fix->device);
    fixture_tick(fix, 1);
    assert_int_equal(notices(), 1);
    assert_int_equal(fix->core.counters.notices, 1);
}

static void test_three_seconds_after_subscribe(void **state)
{
    struct fixture *fix = *state;
    (void)fixture_plain_task(fix, fix->device);
    fixture_run(fix, 5000, 100);
    assert_int_equal(notices(), 0);
    fixture_subscribe(fix);
    fixture_run(fix, 2900, 100);
    assert_int_equal(notices(), 0);
    fixture_run(fix, 200, 100);
    assert_int_equal(notices(), 1);
}

static void test_subscribing_again_puts_nothing_off(void **state)
{
    struct fixture *fix = *state;
    (void)fixture_plain_task(fix, fix->device);
    fixture_subscribe(fix);
    fixture_run(fix, 2000, 100);
    fixture_subscribe(fix);
    fixture_run(fix, 1100, 100);
    assert_int_equal(notices(), 1);
}

static void test_after_a_version_report(void **state)
{
    struct fixture *fix = *state;
    struct ota_task *task = fixture_plain_task(fix, fix->device);
    fixture_subscribe(fix);
    fixture_run(fix, 500, 100);
    ota_tasks_reported_version(&fix->core, task);
    fixture_tick(fix, 1);
    assert_int_equal(notices(), 1);
    fixture_run(fix, 9000, 100); /* and the three seconds are off */
    assert_int_equal(notices(), 1);
}

static void test_again_every_ten_seconds(void **state)
{
    struct fixture *fix = *state;
    (void)noticed_task(fix);
    for (int i = 1; i <= 5; i++) {
        assert_int_equal(notices(), i);
        fixture_run(fix, 9900, 100);
        assert_int_equal(notices(), i);
        fixture_run(fix, 100, 100);
    }
}

static void check_stops(struct fixture *fix, enum ota_upgrade_event_kind kind)
{
    apply(fix, kind, 5);
    fake_broker_clear_messages();
    fixture_run(fix, 30000, 500);
    assert_int_equal(notices(), 0);
}

static void test_progress_stops_it(void **state)
{
    struct fixture *fix = *state;
    (void)noticed_task(fix);
    fixture_run(fix, 12000, 500);
    assert_int_equal(notices(), 2);
    check_stops(fix, OTA_EV_DOWNLOADING);
    check_stops(fix, OTA_EV_DOWNLOADED);
    check_stops(fix, OTA_EV_BURNING);
}

static void test_not_after_a_version_report_then(void **state)
{
    struct fixture *fix = *state;
    struct ota_task *task = noticed_task(fix);
    apply(fix, OTA_EV_DOWNLOADING, 5);
    fake_broker_clear_messages();
    ota_tasks_reported_version(&fix->core, task);
    fixture_run(fix, 30000, 500);
    assert_int_equal(notices(), 0);
}

static void test_the_end_stops_it(void **state)
{
    struct fixture *fix = *state;
    (void)noticed_task(fix);
    apply(fix, OTA_EV_CANCEL, 0);
    fake_broker_clear_messages();
    fixture_run(fix, 30000, 500);
    assert_int_equal(notices(), 0);
    assert_int_equal(fix->core.due.count, 0);
}

static void test_a_lost_connection_stops_it(void **state)
{
    struct fixture *fix = *state;
    struct ota_task *task = noticed_task(fix);
    fixture_disconnect(fix);
    fake_broker_clear_messages();
    fixture_run(fix, 30000, 500);
    assert_int_equal(notices(), 0);
    assert_int_equal(task->up.status, OTA_MESSAGE_SENT);
}

static void test_a_new_connection_starts_afresh(void **state)
{
    struct fixture *fix = *state;
    (void)noticed_task(fix);
    apply(fix, OTA_EV_DOWNLOADING, 5);
    fixture_disconnect(fix);
    fake_broker_clear_messages();
    fixture_subscribe(fix);
    fixture_run(fix, 3100, 100);
    assert_int_equal(notices(), 1);
    fixture_run(fix, 10000, 100);
    assert_int_equal(notices(), 2);
}

/* It may be booting: only a report of another version says that it isn't. */
static void test_upgrading_waits_for_a_report(void **state)
{
    struct fixture *fix = *state;
    struct ota_task *task = noticed_task(fix);
    apply(fix, OTA_EV_BURNING, 0);
    fixture_disconnect(fix);
    fake_broker_clear_messages();
    fixture_subscribe(fix);
    fixture_run(fix, 30000, 500);
    assert_int_equal(notices(), 0);
    ota_tasks_reported_version(&fix->core, task);
    fixture_tick(fix, 1);
    assert_int_equal(notices(), 1);
}

static void test_a_restart_costs_no_upgrade(void **state)
{
    struct fixture *fix = *state;
    (void)noticed_task(fix);
    fixture_restart(fix, true);
    fake_broker_clear_messages();
    fixture_subscribe(fix);
    fixture_run(fix, 3100, 100);
    assert_int_equal(notices(), 1);
}

/* 13 devices: the index has just begun to grow. */
static void test_a_start_leaves_no_old_table(void **state)
{
    struct fixture *fix = *state;
    while (fix->core.fleet.devices.old.slots == NULL) {
        char name[16];
        (void)snprintf(name, sizeof name, "more%zu", fix->core.fleet.devices.count);
        (void)fixture_device(fix, name, "");
    }
    fixture_restart(fix, true);
    assert_null(fix->core.fleet.devices.old.slots);
}

static void test_hold(void **state)
{
    struct fixture *fix = *state;
    fix->device->hold = true;
    struct ota_task *task = fixture_plain_task(fix, fix->device);
    fixture_connect(fix);
    ota_tasks_reported_version(&fix->core, task);
    fixture_run(fix, 30000, 500);
    assert_int_equal(notices(), 0);
    assert_int_equal(ota_tasks_wait(&fix->core, task), OTA_WAIT_HELD);
    fix->device->hold = false;
    ota_tasks_plan(&fix->core, task);
    fixture_tick(fix, 100);
    assert_int_equal(notices(), 1);
}

static void test_retry_after_its_delay(void **state)
{
    struct fixture *fix = *state;
    struct ota_task_order order = fixture_order(fix, fix->device);
    order.retry_max = 1;
    fixture_connect(fix);
    (void)fixture_task(fix, &order);
    fixture_tick(fix, 1);
    apply(fix, OTA_EV_FAIL, 0);
    fake_broker_clear_messages();
    fixture_run(fix, 29900, 100);
    assert_int_equal(notices(), 0);
    fixture_run(fix, 200, 100);
    assert_int_equal(notices(), 1);
}

/* An impatient device changes nothing about the delay. */
static void test_a_report_does_not_shorten_a_retry(void **state)
{
    struct fixture *fix = *state;
    struct ota_task_order order = fixture_order(fix, fix->device);
    order.retry_max = 1;
    fixture_connect(fix);
    struct ota_task *task = fixture_task(fix, &order);
    fixture_tick(fix, 1);
    apply(fix, OTA_EV_FAIL, 0);
    fake_broker_clear_messages();
    for (int i = 0; i < 29; i++) {
        ota_tasks_reported_version(&fix->core, task);
        fixture_run(fix, 1000, 500);
    }
    assert_int_equal(notices(), 0);
    fixture_disconnect(fix);
    fixture_run(fix, 60000, 1000);
    fixture_subscribe(fix);
    fixture_run(fix, 3100, 100);
    assert_int_equal(notices(), 1);
}

/* --- the budget ------------------------------------------------------------------------------- */

#define MANY 300

/* Devices m0… with tasks, connected as clients of their own. */
static struct mosquitto many_clients[MANY];
static char many_ids[MANY][16];

static struct ota_device *many_device(struct fixture *fix, int i)
{
    return ota_fleet_device(&fix->core.fleet, fix->product, many_ids[i], strlen(many_ids[i]));
}

static void connect_many(struct fixture *fix, int count)
{
    for (int i = 0; i < count; i++) {
        ota_presence_sign(&fix->core, &many_clients[i], many_device(fix, i), OTA_SIGN_REPORTED);
    }
}

static void make_many(struct fixture *fix, int count)
{
    for (int i = 0; i < count; i++) {
        (void)snprintf(many_ids[i], sizeof many_ids[i], "m%d", i);
        many_clients[i] = (struct mosquitto){.id = many_ids[i]};
        (void)fixture_plain_task(fix, fixture_device(fix, many_ids[i], "1.0"));
    }
    connect_many(fix, count);
    fixture_tick(fix, 0);
    fake_broker_clear_messages();
}

static void test_budget(void **state)
{
    struct fixture *fix = *state;
    make_many(fix, MANY);
    fixture_tick(fix, 2999);
    fix->dispatch.notice_tokens = 0;
    fixture_tick(fix, 1);
    assert_int_equal(all_notices(), 2);
    fixture_tick(fix, 1);
    assert_int_equal(all_notices(), 5);
    fixture_tick(fix, 1000);
    assert_int_equal(all_notices(), 255); /* never over 250 a tick */
    fixture_run(fix, 2000, 10);
    assert_int_equal(all_notices(), MANY);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(many_device(fix, i)->task->up.status, OTA_MESSAGE_SENT);
    }
}

/* Those that a tick had no time for: the loop that pays for the others doesn't get all of them. */
static void test_what_was_left_is_not_kept(void **state)
{
    struct fixture *fix = *state;
    make_many(fix, MANY);
    fixture_tick(fix, 2999);
    fix->dispatch.notice_tokens = 200;
    fixture_tick(fix, 1);
    assert_int_equal(all_notices(), 27);
}

/* Admin commands may take 5 ms of the same loop before it is the dispatcher's turn. */
static void test_busy_commands_starve_nobody(void **state)
{
    struct fixture *fix = *state;
    fixture_connect(fix);
    (void)fixture_plain_task(fix, fix->device);
    for (int i = 0; i < 10; i++) {
        fake_broker_advance(5);
        ota_core_tick_clock(&fix->core);
        fake_broker_advance(5);
        ota_dispatch_tick(&fix->dispatch);
    }
    assert_int_equal(notices(), 1);
}

/* --- deadlines -------------------------------------------------------------------------------- */

static void test_deadline(void **state)
{
    struct fixture *fix = *state;
    int64_t id = noticed_task(fix)->id;
    fixture_run(fix, FIX_TIMEOUT - 1000, 1000);
    assert_int_equal(fixture_row(fix, id).status, OTA_MESSAGE_SENT);
    fixture_run(fix, 1000, 1000);
    assert_int_equal(fixture_row(fix, id).status, OTA_FAILED);
    assert_int_equal(fixture_row(fix, id).ending, OTA_ENDING_TIMEOUT);
    assert_int_equal(fix->cut, id);
}

static void test_deadline_of_an_offline_device(void **state)
{
    struct fixture *fix = *state;
    int64_t id = noticed_task(fix)->id;
    fixture_disconnect(fix);
    fixture_run(fix, FIX_TIMEOUT + 1000, 1000);
    assert_int_equal(fixture_row(fix, id).status, OTA_FAILED);
}

static void test_waiting_has_no_deadline(void **state)
{
    struct fixture *fix = *state;
    int64_t id = fixture_plain_task(fix, fix->device)->id;
    fixture_run(fix, 3 * FIX_TIMEOUT, 1000);
    assert_int_equal(fixture_row(fix, id).status, OTA_WAITING);
}

/* Time in which the broker didn't run, or hung, counts as one second at most. */
static void test_a_gap_counts_as_a_second(void **state)
{
    struct fixture *fix = *state;
    int64_t id = noticed_task(fix)->id;
    int64_t before = fix->core.service_ms;
    fixture_tick(fix, 10 * HOUR_MS);
    assert_int_equal(fix->core.service_ms - before, 1000);
    assert_int_equal(fixture_row(fix, id).status, OTA_MESSAGE_SENT);
    fixture_run(fix, FIX_TIMEOUT - 3000, 1000);
    assert_int_equal(fixture_row(fix, id).status, OTA_MESSAGE_SENT);
    fixture_run(fix, 3000, 1000);
    assert_int_equal(fixture_row(fix, id).status, OTA_FAILED);
}

static void test_a_stepped_system_clock_changes_nothing(void **state)
{
    struct fixture *fix = *state;
    int64_t id = noticed_task(fix)->id;
    fake_broker_set_unix(FAKE_UNIX_START + INT64_C(400) * 24 * HOUR_MS);
    fixture_run(fix, 20000, 1000);
    fake_broker_set_unix(FAKE_UNIX_START - 24 * HOUR_MS);
    fixture_run(fix, 20000, 1000);
    assert_int_equal(fixture_row(fix, id).status, OTA_MESSAGE_SENT);
}

/* A second is the most that a kill -9 may take from the clock. */
static void test_the_clock_goes_on_after_a_restart(void **state)
{
    struct fixture *fix = *state;
    int64_t id = noticed_task(fix)->id;
    fixture_run(fix, FIX_TIMEOUT / 2, 500);
    int64_t service = fix->core.service_ms;
    fake_broker_advance(10 * HOUR_MS); /* it is off */
    fixture_restart(fix, true);
    assert_in_range(service - fix->core.service_ms, 0, 1000);
    fixture_run(fix, FIX_TIMEOUT / 2 - 1000, 500);
    assert_int_equal(fixture_row(fix, id).status, OTA_MESSAGE_SENT);
    fixture_run(fix, 3000, 500);
    assert_int_equal(fixture_row(fix, id).status, OTA_FAILED);
}

static void test_an_orderly_stop_loses_no_time(void **state)
{
    struct fixture *fix = *state;
    (void)noticed_task(fix);
    fixture_run(fix, 1777, 111);
    int64_t service = fix->core.service_ms;
    fixture_restart(fix, false);
    assert_int_equal(fix->core.service_ms, service);
}

/* --- what is written later ---------------------------------------------------------------------
 */

static void test_percent_after_ten_seconds(void **state)
{
    struct fixture *fix = *state;
    int64_t id = noticed_task(fix)->id;
    apply(fix, OTA_EV_DOWNLOADING, 1);
    fixture_run(fix, 1000, 100);
    apply(fix, OTA_EV_DOWNLOADING, 42);
    assert_int_equal(fixture_row(fix, id).percent, 1);
    fixture_run(fix, 10000, 100);
    assert_int_equal(fixture_row(fix, id).percent, 42);
    assert_false(fix->device->task->percent_dirty);
}

/* How many of the many have this percentage on disk. */
static int written(struct fixture *fix, int count, int percent)
{
    int n = 0;
    for (int i = 0; i < count; i++) {
        n += fixture_row(fix, many_device(fix, i)->task->id).percent == percent;
    }
    return n;
}

static void download_many(struct fixture *fix, int count, int percent)
{
    for (int i = 0; i < count; i++) {
        apply_to(fix, many_device(fix, i), OTA_EV_DOWNLOADING, percent);
    }
}

static void test_fifty_rows_a_slice(void **state)
{
    struct fixture *fix = *state;
    make_many(fix, 120);
    download_many(fix, 120, 1);
    fixture_run(fix, 20000, 1000);
    download_many(fix, 120, 7);
    int before = 0;
    int ticks = 0;
    for (int i = 0; i < 200 && before < 120; i++) {
        fixture_tick(fix, 100);
        int now = written(fix, 120, 7);
        assert_in_range(now - before, 0, 50);
        ticks += now > before;
        before = now;
    }
    assert_int_equal(before, 120);
    assert_int_equal(ticks, 3);
}

static void test_finish_writes_all(void **state)
{
    struct fixture *fix = *state;
    make_many(fix, 120);
    download_many(fix, 120, 1);
    download_many(fix, 120, 9);
    fixture_restart(fix, false);
    assert_int_equal(written(fix, 120, 9), 120);
    assert_int_equal(many_device(fix, 3)->task->up.percent, 9);
}

static int64_t last_seen(struct fixture *fix)
{
    struct ota_device_row row = {0};
    assert_int_equal(ota_device_get(fix->core.store, fix->device->id, &row, NULL), OTA_OK);
    return row.last_seen_at;
}

static void test_last_seen_once_an_hour(void **state)
{
    struct fixture *fix = *state;
    fixture_connect(fix);
    fixture_run(fix, 11000, 1000);
    assert_int_equal(last_seen(fix), FAKE_UNIX_START);
    int writes = 0;
    for (int64_t seen = last_seen(fix), i = 0; i < 3 * 60; i++) { /* three hours, a sign a minute */
        fixture_run(fix, 60000, 1000);
        fixture_subscribe(fix);
        writes += last_seen(fix) != seen;
        seen = last_seen(fix);
    }
    assert_in_range(writes, 2, 4);
}

static void test_last_seen_at_disconnect(void **state)
{
    struct fixture *fix = *state;
    fixture_connect(fix);
    fixture_run(fix, 60000, 1000);
    int64_t at = ota_now_unix();
    fixture_disconnect(fix);
    fixture_run(fix, 11000, 1000);
    assert_int_equal(last_seen(fix), at);
}

/* --- a store that fails ------------------------------------------------------------------------
 */

static void test_notice_waits_for_the_store(void **state)
{
    struct fixture *fix = *state;
    fixture_connect(fix);
    struct ota_task *task = fixture_plain_task(fix, fix->device);
    fixture_fail_commits(true);
    fixture_run(fix, 10000, 100);
    assert_int_equal(notices(), 0);
    assert_int_equal(task->up.status, OTA_WAITING);
    assert_in_range(fixture_failed_commits(), 5, 20); /* it doesn't hammer */
    assert_true(fix->core.counters.store_failures > 0);
    assert_true(fake_broker_logged("put off"));
    fixture_fail_commits(false);
    fixture_run(fix, 1100, 100);
    assert_int_equal(notices(), 1);
    assert_int_equal(fixture_row(fix, task->id).status, OTA_MESSAGE_SENT);
}

static void test_deadline_waits_for_the_store(void **state)
{
    struct fixture *fix = *state;
    int64_t id = noticed_task(fix)->id;
    fixture_disconnect(fix);
    fixture_run(fix, FIX_TIMEOUT - 2000, 1000);
    fixture_fail_commits(true);
    fixture_run(fix, 10000, 100);
    assert_int_equal(fixture_row(fix, id).status, OTA_MESSAGE_SENT);
    fixture_fail_commits(false);
    fixture_run(fix, 1100, 100);
    assert_int_equal(fixture_row(fix, id).status, OTA_FAILED);
}

static void test_many_notices_wait_for_the_store(void **state)
{
    struct fixture *fix = *state;
    make_many(fix, 120);
    fixture_fail_commits(true);
    fixture_run(fix, 5000, 100);
    assert_int_equal(all_notices(), 0);
    fixture_fail_commits(false);
    fixture_run(fix, 2000, 100);
    assert_int_equal(all_notices(), 120);
}

static void test_percent_survives_a_failing_store(void **state)
{
    struct fixture *fix = *state;
    make_many(fix, 60);
    download_many(fix, 60, 1);
    fixture_run(fix, 20000, 1000);
    download_many(fix, 60, 8);
    fixture_fail_commits(true);
    fixture_run(fix, 15000, 1000);
    assert_true(fixture_failed_commits() > 0);
    fixture_fail_commits(false);
    fixture_run(fix, 25000, 1000);
    assert_int_equal(written(fix, 60, 8), 60);
}

/* What fails is one row's write, not the commit: its neighbours must not be forgotten over it. */
static void test_a_row_that_fails_costs_no_other(void **state)
{
    struct fixture *fix = *state;
    make_many(fix, 3);
    download_many(fix, 3, 1);
    fixture_run(fix, 20000, 1000);
    download_many(fix, 3, 8);
    struct ota_task *task = many_device(fix, 0)->task;
    int64_t id = task->id;
    task->id = 999999; /* no such row */
    fixture_run(fix, 15000, 1000);
    task->id = id;
    fixture_run(fix, 25000, 1000);
    assert_int_equal(written(fix, 3, 8), 3);
}

static void test_last_seen_survives_a_failing_store(void **state)
{
    struct fixture *fix = *state;
    fixture_connect(fix);
    fixture_run(fix, 60000, 1000);
    int64_t at = ota_now_unix();
    fixture_disconnect(fix);
    fixture_fail_commits(true);
    fixture_run(fix, 15000, 1000);
    fixture_fail_commits(false);
    fixture_run(fix, 25000, 1000);
    assert_int_equal(last_seen(fix), at);
}

/* --- rubbish ---------------------------------------------------------------------------------- */

static bool count_upload(void *data, const struct ota_upload_row *row)
{
    (void)row;
    (*(int *)data)++;
    return true;
}

static int uploads(struct fixture *fix)
{
    int count = 0;
    assert_int_equal(ota_upload_each(fix->core.store, count_upload, &count, NULL), OTA_OK);
    return count;
}

static void test_idle_uploads_expire(void **state)
{
    struct fixture *fix = *state;
    struct ota_upload_row row = {.product_id = fix->product->id,
                                 .user = "u",
                                 .version = "3",
                                 .filename = "f.bin",
                                 .sha256 = FIX_SHA256,
                                 .size = 9,
                                 .touched_at = ota_now_unix()};
    assert_int_equal(ota_core_begin(&fix->core, NULL), OTA_OK);
    assert_int_equal(ota_upload_insert(fix->core.store, &row, NULL), OTA_OK);
    assert_int_equal(ota_core_commit(&fix->core, NULL), OTA_OK);
    fixture_run(fix, HOUR_MS, 20000);
    assert_int_equal(uploads(fix), 1);
    fixture_run(fix, 120000, 20000);
    assert_int_equal(uploads(fix), 0);
}

static void doom(struct fixture *fix)
{
    assert_int_equal(ota_core_begin(&fix->core, NULL), OTA_OK);
    assert_int_equal(ota_product_doom(fix->core.store, fix->product->id, NULL), OTA_OK);
    assert_int_equal(ota_core_commit(&fix->core, NULL), OTA_OK);
    ota_fleet_doom_product(&fix->core.fleet, fix->product);
    ota_dispatch_purge_soon(&fix->dispatch);
}

/* Nothing is told of a product that is gone, and its devices' last words trouble no sweep. */
static void test_a_deleted_product_goes_quietly(void **state)
{
    struct fixture *fix = *state;
    int64_t id = noticed_task(fix)->id;
    apply(fix, OTA_EV_CANCEL, 0);
    fake_broker_clear_messages();
    uint32_t device = fix->device->id;
    doom(fix);
    assert_null(ota_fleet_device_by_id(&fix->core.fleet, device));
    fixture_disconnect(fix);
    assert_int_equal(fake_broker_message_count(), 0);
    fixture_run(fix, 30000, 100);
    assert_int_equal(fix->core.counters.store_failures, 0);
    assert_int_equal(fix->core.fleet.device_count, 0);
    assert_int_equal(fix->core.fleet.online_count, 0);
    struct ota_task_row row;
    assert_int_equal(ota_task_get(fix->core.store, id, &row, NULL), OTA_NOT_FOUND);
}

/* --- whatever comes --------------------------------------------------------------------------- */

#define CROWD 20

static uint32_t seed;

static uint32_t draw(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

static void do_something(struct fixture *fix, int i)
{
    struct ota_device *device = many_device(fix, i);
    struct ota_upgrade_event event = {.kind = (enum ota_upgrade_event_kind)draw(OTA_EV_RETRY),
                                      .percent = (int)draw(100),
                                      .code = -(int)draw(6),
                                      .service_now = fix->core.service_ms};
    bool changed;
    switch (draw(6)) {
    case 0:
        ota_presence_sign(&fix->core, &many_clients[draw(CROWD)], device,
                          draw(2) != 0 ? OTA_SIGN_REPORTED : OTA_SIGN_SUBSCRIBED);
        return;
    case 1:
        ota_presence_gone(&fix->core, &many_clients[i]);
        return;
    case 2:
        fixture_fail_commits(draw(4) == 0);
        return;
    case 3:
        fixture_tick(fix, draw(20000));
        return;
    default:
        /* only the clock and the dispatcher say these two */
        if (device->task != NULL && event.kind != OTA_EV_TIMEOUT && event.kind != OTA_EV_NOTICED) {
            (void)!ota_tasks_apply(&fix->core, device->task, &event, "m", &changed, NULL);
        }
    }
}

static void check_device(struct fixture *fix, const struct ota_device *device)
{
    struct ota_task_row row = fixture_row(fix, device->last_task);
    const struct ota_task *task = device->task;
    if (task == NULL) {
        assert_true(ota_status_is_finished(row.status));
        return;
    }
    assert_int_equal(row.id, task->id);
    assert_int_equal(row.status, task->up.status);
    assert_int_equal(row.attempt, task->up.attempt);
    assert_int_equal(row.flags, task->up.flags);
    assert_int_equal(row.deadline, task->up.deadline);
    assert_int_equal(row.last_event, task->last_event);
    assert_int_equal(row.sent_at, task->sent_at);
    assert_string_equal(row.device_message,
                        task->device_message != NULL ? task->device_message : "");
    assert_true(row.percent == task->up.percent || task->percent_dirty);
    if (ota_status_is_timed(task->up.status)) {
        assert_true(task->heap_at != 0); /* its deadline comes */
    } else if (device->conn != NULL) {
        assert_true(task->heap_at != 0); /* its notice comes */
    }
}

static void check_heap(const struct ota_core *core)
{
    size_t planned = 0;
    for (int i = 0; i < CROWD; i++) {
        const struct ota_device *device =
            ota_fleet_device(&core->fleet, ota_fleet_product(&core->fleet, "door", 4), many_ids[i],
                             strlen(many_ids[i]));
        planned += device->task != NULL && device->task->heap_at != 0;
    }
    assert_int_equal(core->due.count, planned);
}

static void live(struct fixture *fix, int steps)
{
    for (int i = 0; i < steps; i++) {
        do_something(fix, (int)draw(CROWD));
        if (i % 8 == 0) {
            fake_broker_clear_messages();
            check_device(fix, many_device(fix, (int)draw(CROWD)));
            check_heap(&fix->core);
        }
    }
}

/* A life of connections, reports and full disks leaves memory and store the same, and no task is
 * lost: once all is well again, each of them comes to an end by itself. */
static void test_no_task_is_lost(void **state)
{
    struct fixture *fix = *state;
    make_many(fix, CROWD);
    for (seed = 1; seed < 4; seed++) {
        uint32_t start = seed;
        live(fix, 1500);
        seed = start;
        fixture_fail_commits(false);
        for (int i = 0; i < CROWD; i++) {
            struct ota_task_order order = fixture_order(fix, many_device(fix, i));
            order.retry_max = 2;
            if (order.device->task == NULL) {
                (void)fixture_task(fix, &order);
            }
            check_device(fix, order.device);
        }
    }
    connect_many(fix, CROWD);
    fixture_run(fix, 4 * (FIX_TIMEOUT + 40000), 1000);
    for (int i = 0; i < CROWD; i++) {
        assert_null(many_device(fix, i)->task);
        check_device(fix, many_device(fix, i));
    }
    assert_int_equal(fix->core.fleet.task_count, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_at_once_for_a_connected_device),
        TEST(test_three_seconds_after_subscribe),
        TEST(test_subscribing_again_puts_nothing_off),
        TEST(test_after_a_version_report),
        TEST(test_again_every_ten_seconds),
        TEST(test_progress_stops_it),
        TEST(test_not_after_a_version_report_then),
        TEST(test_the_end_stops_it),
        TEST(test_a_lost_connection_stops_it),
        TEST(test_a_new_connection_starts_afresh),
        TEST(test_upgrading_waits_for_a_report),
        TEST(test_a_restart_costs_no_upgrade),
        TEST(test_a_start_leaves_no_old_table),
        TEST(test_hold),
        TEST(test_retry_after_its_delay),
        TEST(test_a_report_does_not_shorten_a_retry),
        TEST(test_budget),
        TEST(test_what_was_left_is_not_kept),
        TEST(test_busy_commands_starve_nobody),
        TEST(test_deadline),
        TEST(test_deadline_of_an_offline_device),
        TEST(test_waiting_has_no_deadline),
        TEST(test_a_gap_counts_as_a_second),
        TEST(test_a_stepped_system_clock_changes_nothing),
        TEST(test_the_clock_goes_on_after_a_restart),
        TEST(test_an_orderly_stop_loses_no_time),
        TEST(test_percent_after_ten_seconds),
        TEST(test_fifty_rows_a_slice),
        TEST(test_finish_writes_all),
        TEST(test_last_seen_once_an_hour),
        TEST(test_last_seen_at_disconnect),
        TEST(test_notice_waits_for_the_store),
        TEST(test_deadline_waits_for_the_store),
        TEST(test_many_notices_wait_for_the_store),
        TEST(test_percent_survives_a_failing_store),
        TEST(test_a_row_that_fails_costs_no_other),
        TEST(test_last_seen_survives_a_failing_store),
        TEST(test_idle_uploads_expire),
        TEST(test_a_deleted_product_goes_quietly),
        TEST(test_no_task_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
