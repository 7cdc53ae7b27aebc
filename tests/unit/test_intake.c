/* SPDX-License-Identifier: BSD-3-Clause */
#include "fixture.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/broker.h"
#include "../../plugin/intake.h"
#include "../../plugin/presence.h"

#define UPDATE "$ota/update/door/d1"
#define EVENT  "$ota/event/door/d1"

struct door {
    struct fixture fix;
    struct ota_intake intake;
    struct ota_access access;
    sqlite3 *watcher;
};

static int setup(void **state)
{
    struct door *door = calloc(1, sizeof *door);
    assert_non_null(door);
    fixture_open(&door->fix);
    door->intake.core = &door->fix.core;
    door->access =
        (struct ota_access){.fleet = &door->fix.core.fleet, .prefix = "$ota", .prefix_len = 4};
    assert_int_equal(sqlite3_open(door->fix.path, &door->watcher), SQLITE_OK);
    *state = door;
    return 0;
}

static int teardown(void **state)
{
    struct door *door = *state;
    (void)sqlite3_close(door->watcher);
    fixture_close(&door->fix);
    free(door);
    return 0;
}

/* --- helpers ---------------------------------------------------------------------------------- */

static enum ota_intake_verdict report_as(struct door *door, const struct mosquitto *client,
                                         const char *names, const char *payload)
{
    char text[160];
    (void)snprintf(text, sizeof text, "$ota/report/%s", names);
    struct ota_topic topic = ota_topic_parse(&door->access, text);
    return ota_intake_report(&door->intake, client, &topic, payload, strlen(payload), 1);
}

static enum ota_intake_verdict report(struct door *door, const char *payload)
{
    return report_as(door, &door->fix.client, "door/d1", payload);
}

static void says_version(struct door *door, const char *version)
{
    char payload[200];
    (void)snprintf(payload, sizeof payload,
                   "{\"type\":\"report_version\",\"report\":{\"version\":\"%s\"}}", version);
    assert_int_equal(report(door, payload), OTA_INTAKE_TAKEN);
}

static const char *progress(const char *version, const char *state, const char *rest)
{
    static char payload[400];
    (void)snprintf(payload, sizeof payload,
                   "{\"type\":\"report_progress\",\"report\":{\"progress\":{\"state\":\"%s\"%s},"
                   "\"version\":\"%s\"}}",
                   state, rest, version);
    return payload;
}

static void says(struct door *door, const char *state, const char *rest)
{
    assert_int_equal(report(door, progress("2.0", state, rest)), OTA_INTAKE_TAKEN);
}

static uint64_t unclaimed(const struct door *door)
{
    return door->intake.refused[OTA_REFUSED_NO_TASK];
}

/* Changes whenever another connection wrote anything. */
static int64_t data_version(struct door *door)
{
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_prepare_v2(door->watcher, "PRAGMA data_version", -1, &stmt, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t version = sqlite3_column_int64(stmt, 0);
    (void)sqlite3_finalize(stmt);
    return version;
}

struct device_state {
    char version[OTA_VERSION_MAX + 1];
    int history;
};

static bool count_version(void *data, int64_t at, const char *version)
{
    (void)at;
    (void)version;
    (*(int *)data)++;
    return true;
}

static struct device_state stored(struct door *door, const struct ota_device *device)
{
    struct device_state state = {.history = 0};
    struct ota_device_row row = {0};
    struct ota_store *store = door->fix.core.store;
    assert_int_equal(ota_device_get(store, device->id, &row, NULL), OTA_OK);
    memcpy(state.version, row.version, sizeof state.version);
    assert_int_equal(ota_device_versions(store, device->id, 0, count_version, &state.history, NULL),
                     OTA_OK);
    return state;
}

static struct ota_task *noticed_task(struct door *door)
{
    struct fixture *fix = &door->fix;
    fixture_connect(fix);
    struct ota_task *task = fixture_plain_task(fix, fix->device);
    fixture_tick(fix, 10);
    assert_int_equal(task->up.status, OTA_MESSAGE_SENT);
    fake_broker_clear_messages();
    return task;
}

/* --- versions --------------------------------------------------------------------------------- */

static void test_new_version(void **state)
{
    struct door *door = *state;
    int commits = fixture_commits();
    says_version(door, "1.1");
    assert_int_equal(fixture_commits() - commits, 1);
    assert_string_equal(door->fix.device->version->text, "1.1");
    assert_string_equal(stored(door, door->fix.device).version, "1.1");
    assert_int_equal(stored(door, door->fix.device).history, 2);
    assert_int_equal(fixture_count(EVENT, "version"), 1);
    assert_int_equal(ota_fleet_version_count(&door->fix.core.fleet, door->fix.product, "1.0"), 0);
    assert_int_equal(ota_fleet_version_count(&door->fix.core.fleet, door->fix.product, "1.1"), 1);
}

static void test_unchanged_version_writes_nothing(void **state)
{
    struct door *door = *state;
    (void)data_version(door);
    int64_t before = data_version(door);
    fixture_fail_commits(true); /* nor needs it a disk */
    for (int i = 0; i < 100; i++) {
        says_version(door, "1.0");
    }
    assert_int_equal(fixture_failed_commits(), 0);
    assert_int_equal(data_version(door), before);
    assert_int_equal(fixture_count(UPDATE, "report_version_rsp"), 100);
    assert_int_equal(fixture_count(EVENT, "version"), 0);
    fixture_fail_commits(false);
    says_version(door, "1.1");
    assert_int_not_equal(data_version(door), before);
}

static void test_answer(void **state)
{
    struct door *door = *state;
    says_version(door, "1.0");
    const struct fake_message *answer = fake_broker_last_on(UPDATE);
    assert_string_equal(answer->payload, "{\"type\":\"report_version_rsp\",\"result_code\":0,"
                                         "\"result_msg\":\"success\",\"version\":\"1.0\"}");
    assert_string_equal(answer->client_id, "client-1");
    assert_int_equal(answer->qos, 0);
}

/* A non-zero code would make a vendor device deaf: there is no answer then. */
static void test_no_answer_to_what_was_refused(void **state)
{
    struct door *door = *state;
    assert_int_equal(report(door, "{\"type\":\"report_version\",\"report\":{\"version\":\"1/2\"}}"),
                     OTA_INTAKE_REFUSED);
    assert_int_equal(fake_broker_message_count(), 0);
    fixture_fail_commits(true);
    assert_int_equal(report(door, "{\"type\":\"report_version\",\"report\":{\"version\":\"1.2\"}}"),
                     OTA_INTAKE_NOT_COMMITTED);
    assert_int_equal(fixture_count(UPDATE, NULL), 0);
}

static void test_version_not_committed(void **state)
{
    struct door *door = *state;
    fixture_connect(&door->fix);
    fake_broker_clear_messages();
    fixture_fail_commits(true);
    assert_int_equal(report(door, "{\"type\":\"report_version\",\"report\":{\"version\":\"1.2\"}}"),
                     OTA_INTAKE_NOT_COMMITTED);
    fixture_fail_commits(false);
    assert_string_equal(door->fix.device->version->text, "1.0");
    assert_string_equal(stored(door, door->fix.device).version, "1.0");
    assert_int_equal(ota_fleet_version_count(&door->fix.core.fleet, door->fix.product, "1.2"), 0);
    assert_int_equal(fake_broker_message_count(), 0);
    assert_int_equal(door->fix.core.counters.store_failures, 1);
    says_version(door, "1.2");
    assert_string_equal(stored(door, door->fix.device).version, "1.2");
}

/* --- progress --------------------------------------------------------------------------------- */

static void test_status_change_is_one_transaction(void **state)
{
    static const char *const states[] = {"downloading", "downloaded", "burning", "done"};
    struct door *door = *state;
    (void)noticed_task(door);
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        int commits = fixture_commits();
        says(door, states[i], "");
        assert_int_equal(fixture_commits() - commits, 1);
        says(door, states[i], ""); /* and again: nothing */
        assert_int_equal(fixture_commits() - commits, 1);
    }
}

static void test_percentages_need_no_disk(void **state)
{
    struct door *door = *state;
    struct ota_task *task = noticed_task(door);
    says(door, "downloading", ",\"percent\":\"0\"");
    fixture_fail_commits(true);
    says(door, "downloading", ",\"percent\":\"50\"");
    says(door, "downloading", ",\"percent\":99");
    assert_int_equal(fixture_failed_commits(), 0);
    assert_int_equal(task->up.percent, 99);
}

static void test_progress_not_committed(void **state)
{
    struct door *door = *state;
    struct ota_task *task = noticed_task(door);
    fixture_fail_commits(true);
    assert_int_equal(report(door, progress("2.0", "downloading", "")), OTA_INTAKE_NOT_COMMITTED);
    fixture_fail_commits(false);
    assert_int_equal(task->up.status, OTA_MESSAGE_SENT);
    assert_int_equal(fake_broker_message_count(), 0);
    says(door, "downloading", "");
    assert_int_equal(task->up.status, OTA_DOWNLOADING);
}

static void test_failure_keeps_code_and_message(void **state)
{
    struct door *door = *state;
    int64_t id = noticed_task(door)->id;
    says(door, "fail", ",\"result_code\":\"-3\",\"result_msg\":\"no rights\"");
    says(door, "fail", ",\"result_code\":\"-1\",\"result_msg\":\"again\"");
    struct ota_task_row row = fixture_row(&door->fix, id);
    assert_int_equal(row.status, OTA_FAILED);
    assert_int_equal(row.result_code, -3);
    assert_string_equal(row.device_message, "no rights");
}

/* --- whose report is it ------------------------------------------------------------------------
 */

static void test_of_another_version(void **state)
{
    struct door *door = *state;
    struct ota_task *task = noticed_task(door);
    int commits = fixture_commits();
    assert_int_equal(report(door, progress("1.9", "done", "")), OTA_INTAKE_TAKEN);
    assert_int_equal(report(door, progress("1.9", "fail", "")), OTA_INTAKE_TAKEN);
    assert_int_equal(task->up.status, OTA_MESSAGE_SENT);
    assert_int_equal(unclaimed(door), 2);
    assert_int_equal(fixture_commits(), commits);
    assert_false(task->progress_seen);
}

static void test_of_no_task_at_all(void **state)
{
    struct door *door = *state;
    says(door, "downloading", "");
    says(door, "done", "");
    assert_int_equal(unclaimed(door), 2);
    assert_int_equal(fake_broker_log_count(), 0); /* counted, not logged: it is no fault */
}

static void test_proof_ends_a_waiting_task(void **state)
{
    struct door *door = *state;
    struct fixture *fix = &door->fix;
    int64_t id = fixture_plain_task(fix, fix->device)->id;
    int commits = fixture_commits();
    says_version(door, "2.0");
    assert_int_equal(fixture_commits() - commits, 1); /* version and task together */
    struct ota_task_row row = fixture_row(fix, id);
    assert_int_equal(row.status, OTA_SUCCEEDED);
    assert_int_equal(row.confirmation, OTA_CONFIRMED);
    assert_int_equal(row.sent_at, 0);
    assert_int_equal(fixture_count(UPDATE, "update_firmware"), 0);
    assert_null(fix->device->task);
    assert_string_equal(fix->device->version->text, "2.0");
}

static void test_proof_not_committed(void **state)
{
    struct door *door = *state;
    struct ota_task *task = noticed_task(door);
    fixture_fail_commits(true);
    assert_int_equal(report(door, "{\"type\":\"report_version\",\"report\":{\"version\":\"2.0\"}}"),
                     OTA_INTAKE_NOT_COMMITTED);
    fixture_fail_commits(false);
    assert_ptr_equal(door->fix.device->task, task);
    assert_string_equal(door->fix.device->version->text, "1.0");
    says_version(door, "2.0");
    assert_null(door->fix.device->task);
}

static void test_done_then_proof(void **state)
{
    struct door *door = *state;
    int64_t id = noticed_task(door)->id;
    says(door, "done", "");
    assert_int_equal(fixture_row(&door->fix, id).confirmation, OTA_PENDING);
    says_version(door, "2.0");
    assert_int_equal(fixture_row(&door->fix, id).confirmation, OTA_CONFIRMED);
}

/* A roll-back after the first boot counts; and the device isn't told to upgrade again. */
static void test_roll_back(void **state)
{
    struct door *door = *state;
    int64_t id = noticed_task(door)->id;
    says(door, "done", "");
    says_version(door, "2.0");
    says_version(door, "1.0");
    struct ota_task_row row = fixture_row(&door->fix, id);
    assert_int_equal(row.status, OTA_SUCCEEDED);
    assert_int_equal(row.confirmation, OTA_CONTRADICTED);
    assert_int_equal(fixture_count(UPDATE, "update_firmware"), 0);
    says_version(door, "2.0");
    assert_int_equal(fixture_row(&door->fix, id).confirmation, OTA_CONFIRMED);
}

/* Vendor samples report their compiled-in version after "done", unchanged: it still speaks. */
static void test_unchanged_version_contradicts(void **state)
{
    struct door *door = *state;
    int64_t id = noticed_task(door)->id;
    says(door, "done", "");
    says_version(door, "1.0");
    assert_int_equal(fixture_row(&door->fix, id).confirmation, OTA_CONTRADICTED);
}

static void test_progress_of_another_version_settles_nothing(void **state)
{
    struct door *door = *state;
    int64_t id = noticed_task(door)->id;
    says(door, "done", "");
    assert_int_equal(report(door, progress("1.9", "done", "")), OTA_INTAKE_TAKEN);
    assert_int_equal(fixture_row(&door->fix, id).confirmation, OTA_PENDING);
    assert_int_equal(unclaimed(door), 1);
}

static void test_late_truth(void **state)
{
    struct door *door = *state;
    int64_t id = noticed_task(door)->id;
    fixture_run(&door->fix, FIX_TIMEOUT + 2000, 1000);
    assert_int_equal(fixture_row(&door->fix, id).status, OTA_FAILED);
    says(door, "downloading", ",\"percent\":80");
    assert_int_equal(fixture_row(&door->fix, id).status, OTA_FAILED);
    assert_int_equal(unclaimed(door), 1);
    says(door, "done", "");
    assert_int_equal(fixture_row(&door->fix, id).status, OTA_SUCCEEDED);
    assert_int_equal(unclaimed(door), 1);
}

static void test_late_truth_after_a_restart(void **state)
{
    struct door *door = *state;
    int64_t id = noticed_task(door)->id;
    fixture_run(&door->fix, FIX_TIMEOUT + 2000, 1000);
    fixture_restart(&door->fix, true);
    says_version(door, "2.0");
    assert_int_equal(fixture_row(&door->fix, id).status, OTA_SUCCEEDED);
    assert_int_equal(fixture_row(&door->fix, id).confirmation, OTA_CONFIRMED);
}

static void test_the_device_gave_up_for_good(void **state)
{
    struct door *door = *state;
    int64_t id = noticed_task(door)->id;
    says(door, "fail", ",\"result_code\":\"-4\"");
    says(door, "done", "");
    says_version(door, "2.0");
    assert_int_equal(fixture_row(&door->fix, id).status, OTA_FAILED);
    assert_string_equal(door->fix.device->version->text, "2.0");
}

static void test_reinstall(void **state)
{
    struct door *door = *state;
    struct fixture *fix = &door->fix;
    says_version(door, "2.0");
    struct ota_task_order order = fixture_order(fix, fix->device);
    order.reinstall = true;
    int64_t id = fixture_task(fix, &order)->id;
    says_version(door, "2.0");
    fixture_tick(fix, 10);
    says_version(door, "2.0");
    says(door, "downloading", "");
    says_version(door, "2.0");
    assert_non_null(fix->device->task);
    says(door, "burning", "");
    says_version(door, "2.0");
    assert_int_equal(fixture_row(fix, id).status, OTA_SUCCEEDED);
    assert_int_equal(fixture_row(fix, id).confirmation, OTA_CONFIRMED);
}

/* Two failures in a row of a task that is tried again: one attempt each. */
static void test_fail_twice_with_retries(void **state)
{
    struct door *door = *state;
    struct fixture *fix = &door->fix;
    struct ota_task_order order = fixture_order(fix, fix->device);
    order.retry_max = 5;
    fixture_connect(fix);
    struct ota_task *task = fixture_task(fix, &order);
    for (int attempt = 1; attempt <= 3; attempt++) {
        fixture_run(fix, 31000, 1000);
        assert_int_equal(task->up.status, OTA_MESSAGE_SENT);
        assert_int_equal(task->up.attempt, attempt);
        says(door, "fail", ",\"result_code\":\"-1\"");
        says(door, "fail", ",\"result_code\":\"-1\"");
    }
}

/* --- when the notice goes out ------------------------------------------------------------------
 */

static void test_notice_after_the_report(void **state)
{
    struct door *door = *state;
    struct fixture *fix = &door->fix;
    (void)fixture_plain_task(fix, fix->device);
    fixture_subscribe(fix);
    fixture_tick(fix, 100);
    assert_int_equal(fixture_count(UPDATE, "update_firmware"), 0);
    says_version(door, "1.0");
    fixture_tick(fix, 10);
    assert_int_equal(fixture_count(UPDATE, "update_firmware"), 1);
}

/* --- who isn't known yet -----------------------------------------------------------------------
 */

#define NEW_VERSION "{\"type\":\"report_version\",\"report\":{\"version\":\"0.9\"}}"

static struct ota_device *find(struct door *door, const char *name)
{
    return ota_fleet_device(&door->fix.core.fleet, door->fix.product, name, strlen(name));
}

static void test_auto_register(void **state)
{
    struct door *door = *state;
    struct mosquitto client = {.id = "c2"};
    int commits = fixture_commits();
    assert_int_equal(report_as(door, &client, "door/new", NEW_VERSION), OTA_INTAKE_TAKEN);
    assert_int_equal(fixture_commits() - commits, 1);
    struct ota_device *device = find(door, "new");
    assert_non_null(device);
    assert_string_equal(device->version->text, "0.9");
    assert_string_equal(stored(door, device).version, "0.9");
    assert_int_equal(stored(door, device).history, 1);
    assert_int_equal(fixture_count("$ota/update/door/new", "report_version_rsp"), 1);
    assert_int_equal(door->fix.product->devices, 2);
    assert_int_equal(door->fix.product->online, 1);
    fixture_restart(&door->fix, true);
    assert_string_equal(find(door, "new")->version->text, "0.9");
}

static void test_auto_register_by_progress(void **state)
{
    struct door *door = *state;
    assert_int_equal(
        report_as(door, &door->fix.client, "door/new", progress("2.0", "downloading", "")),
        OTA_INTAKE_TAKEN);
    assert_non_null(find(door, "new"));
    assert_null(find(door, "new")->version);
    assert_int_equal(unclaimed(door), 1);
}

static void test_auto_register_not_committed(void **state)
{
    struct door *door = *state;
    fixture_fail_commits(true);
    assert_int_equal(report_as(door, &door->fix.client, "door/new", NEW_VERSION),
                     OTA_INTAKE_NOT_COMMITTED);
    fixture_fail_commits(false);
    assert_null(find(door, "new"));
    assert_int_equal(door->fix.product->devices, 1);
    assert_int_equal(ota_fleet_version_count(&door->fix.core.fleet, door->fix.product, "0.9"), 0);
    assert_int_equal(report_as(door, &door->fix.client, "door/new", NEW_VERSION), OTA_INTAKE_TAKEN);
}

static void assert_unregistered(struct door *door, const char *names, enum ota_refusal reason)
{
    uint64_t before = door->intake.refused[reason];
    uint32_t devices = door->fix.core.fleet.device_count;
    assert_int_equal(report_as(door, &door->fix.client, names, NEW_VERSION), OTA_INTAKE_REFUSED);
    assert_int_equal(door->intake.refused[reason], before + 1);
    assert_int_equal(door->fix.core.fleet.device_count, devices);
    assert_int_equal(fake_broker_message_count(), 0);
}

static void test_who_is_not_registered(void **state)
{
    struct door *door = *state;
    assert_unregistered(door, "gate/d1", OTA_REFUSED_UNKNOWN_PRODUCT);
    door->fix.core.settings.max_devices_per_product = 1;
    assert_unregistered(door, "door/new", OTA_REFUSED_DEVICE_LIMIT);
    door->fix.core.settings.auto_register = false;
    assert_unregistered(door, "door/new", OTA_REFUSED_UNKNOWN_DEVICE);
    says_version(door, "1.1"); /* who is known stays */
}

/* --- who speaks ------------------------------------------------------------------------------- */

static void test_the_last_speaker_is_the_connection(void **state)
{
    struct door *door = *state;
    struct fixture *fix = &door->fix;
    struct mosquitto second = {.id = "client-2"};
    says_version(door, "1.0");
    assert_int_equal(fixture_count(EVENT, "presence"), 1);
    assert_int_equal(report_as(door, &second, "door/d1", NEW_VERSION), OTA_INTAKE_TAKEN);
    assert_string_equal(fake_broker_last_on(UPDATE)->client_id, "client-2");
    assert_int_equal(fixture_count(EVENT, "presence"), 1); /* it was online all the time */
    fixture_disconnect(fix); /* the old connection's end is nobody's end */
    assert_non_null(fix->device->conn);
    ota_presence_gone(&fix->core, &second);
    assert_null(fix->device->conn);
    assert_int_equal(fixture_count(EVENT, "presence"), 2);
    assert_int_equal(fix->core.fleet.online_count, 0);
}

static void test_a_client_of_many_devices(void **state)
{
    struct door *door = *state;
    struct fixture *fix = &door->fix;
    says_version(door, "1.0");
    assert_int_equal(report_as(door, &fix->client, "door/d2", NEW_VERSION), OTA_INTAKE_TAKEN);
    assert_int_equal(report_as(door, &fix->client, "door/d3", NEW_VERSION), OTA_INTAKE_TAKEN);
    assert_int_equal(fix->product->online, 3);
    fixture_disconnect(fix);
    assert_int_equal(fix->product->online, 0);
    assert_int_equal(fix->core.fleet.conns.count, 0);
}

/* --- what is refused ---------------------------------------------------------------------------
 */

static void test_bad_reports_change_nothing(void **state)
{
    struct door *door = *state;
    struct ota_task *task = noticed_task(door);
    int commits = fixture_commits();
    assert_int_equal(report(door, "{"), OTA_INTAKE_REFUSED);
    assert_int_equal(report(door, "{\"type\":\"x\"}"), OTA_INTAKE_REFUSED);
    assert_int_equal(report(door, progress("2.0", "flying", "")), OTA_INTAKE_REFUSED);
    assert_int_equal(report(door, progress("2.0", "downloading", ",\"percent\":101")),
                     OTA_INTAKE_REFUSED);
    assert_int_equal(door->intake.refused[OTA_REFUSED_NOT_JSON], 1);
    assert_int_equal(door->intake.refused[OTA_REFUSED_TYPE], 1);
    assert_int_equal(door->intake.refused[OTA_REFUSED_STATE], 1);
    assert_int_equal(door->intake.refused[OTA_REFUSED_NUMBER], 1);
    assert_int_equal(door->intake.reports, 4);
    assert_int_equal(fixture_commits(), commits);
    assert_int_equal(task->up.status, OTA_MESSAGE_SENT);
    assert_int_equal(fake_broker_message_count(), 0);
}

static void test_logged_once_a_second_a_reason(void **state)
{
    struct door *door = *state;
    for (int i = 0; i < 50; i++) {
        (void)report(door, "{");
        (void)report(door, "{\"type\":\"x\"}");
        fake_broker_advance(20);
    }
    assert_int_equal(fake_broker_log_count(), 2);
    (void)report(door, "{");
    assert_int_equal(fake_broker_log_count(), 3);
    assert_true(fake_broker_logged("51 so far"));
}

static void test_log_shows_no_raw_bytes(void **state)
{
    struct door *door = *state;
    struct mosquitto client = {.id = "evil\n\x1b[31m\"\xc3\xa4\\"};
    (void)report_as(door, &client, "door/d1", "{\"secret\"");
    struct fake_log_line line;
    assert_true(fake_broker_log_line(0, &line));
    assert_non_null(strstr(line.text, "evil\\x0a\\x1b[31m"));
    assert_null(strchr(line.text, '\n'));
    assert_null(strchr(line.text, '\x1b'));
    assert_null(strstr(line.text, "secret"));
}

static void test_log_of_a_long_client_id(void **state)
{
    struct door *door = *state;
    char id[3000];
    memset(id, '\x01', sizeof id);
    id[sizeof id - 1] = '\0';
    struct mosquitto client = {.id = id};
    (void)report_as(door, &client, "door/d1", "{");
    client.id = NULL;
    fake_broker_advance(2000);
    (void)report_as(door, &client, "door/d1", "{");
    assert_int_equal(fake_broker_log_count(), 2);
}

static void test_last_seen(void **state)
{
    struct door *door = *state;
    fake_broker_advance(12345);
    says_version(door, "1.0");
    assert_int_equal(door->fix.device->last_seen, FAKE_UNIX_START + 12345);
}

/* --- too often ----------------------------------------------------------------------------------
 */

static void limit_reports(struct door *door)
{
    struct ota_task_order order = fixture_order(&door->fix, door->fix.device);
    (void)fixture_task(&door->fix, &order);
    says_version(door, "1.0");
    says(door, "downloading", ",\"percent\":1");
    fake_broker_advance(10000);
    ota_core_tick_clock(&door->fix.core);
    door->fix.core.settings.report_rate =
        (struct ota_rate){.step = OTA_RATE_TICKS_A_SECOND / 20, .burst = 100};
    for (int i = 0; i < 100; i++) {
        says(door, "downloading", ",\"percent\":2");
    }
}

static void test_too_many_percentages_are_ignored(void **state)
{
    struct door *door = *state;
    limit_reports(door);
    const char *more = progress("2.0", "downloading", ",\"percent\":3");
    assert_int_equal(report(door, more), OTA_INTAKE_REFUSED);
    assert_int_equal(door->fix.device->task->up.percent, 2);
    assert_int_equal(door->intake.refused[OTA_REFUSED_RATE], 1);
    fake_broker_advance(50); /* room for one */
    ota_core_tick_clock(&door->fix.core);
    assert_int_equal(report(door, more), OTA_INTAKE_TAKEN);
    assert_int_equal(door->fix.device->task->up.percent, 3);
    assert_int_equal(report(door, more), OTA_INTAKE_REFUSED);
}

static void test_too_many_unchanged_versions_are_not_answered(void **state)
{
    struct door *door = *state;
    limit_reports(door);
    fake_broker_clear_messages();
    assert_int_equal(report(door, NEW_VERSION), OTA_INTAKE_NOT_COMMITTED); /* another one */
    assert_int_equal(report(door, "{\"type\":\"report_version\",\"report\":{\"version\":\"1.0\"}}"),
                     OTA_INTAKE_REFUSED);
    assert_string_equal(door->fix.device->version->text, "1.0");
    assert_int_equal(fake_broker_message_count(), 0);
}

static void test_a_status_change_too_soon_is_not_acknowledged(void **state)
{
    struct door *door = *state;
    limit_reports(door);
    assert_int_equal(report(door, progress("2.0", "downloaded", "")), OTA_INTAKE_NOT_COMMITTED);
    assert_int_equal(door->fix.device->task->up.status, OTA_DOWNLOADING);
    fake_broker_advance(5000);
    ota_core_tick_clock(&door->fix.core);
    for (int i = 0; i < 100; i++) {
        says(door, "downloaded", ""); /* the same again is none */
    }
    assert_int_equal(report(door, progress("2.0", "downloaded", "")), OTA_INTAKE_REFUSED);
    assert_int_equal(door->fix.device->task->up.status, OTA_DOWNLOADED);
}

static void test_others_are_not_limited_with_it(void **state)
{
    struct door *door = *state;
    limit_reports(door);
    assert_int_equal(report_as(door, &door->fix.client, "door/d2", NEW_VERSION), OTA_INTAKE_TAKEN);
}

/* --- what a device asks for --------------------------------------------------------------------
 */

#define ASK_UPDATE "{\"type\":\"request_update\"}"
#define ASK_BLOCK  "{\"type\":\"request_block\",\"task\":1,\"offset\":0,\"length\":9}"

static int notices(void)
{
    return fixture_count(UPDATE, "update_firmware");
}

/* Asked for, it comes after a progress report, too; but that doesn't begin the repeating. */
static void test_the_notice_is_sent_again_once(void **state)
{
    struct door *door = *state;
    struct fixture *fix = &door->fix;
    (void)noticed_task(door);
    says(door, "downloading", ",\"percent\":1");
    fake_broker_clear_messages();
    fixture_run(fix, 30000, 1000);
    assert_int_equal(notices(), 0);
    assert_int_equal(report(door, ASK_UPDATE), OTA_INTAKE_TAKEN);
    assert_int_equal(report(door, ASK_UPDATE), OTA_INTAKE_TAKEN); /* one for both */
    fixture_run(fix, 30000, 1000);
    assert_int_equal(notices(), 1);
    assert_int_equal(door->intake.by_kind[OTA_REPORT_UPDATE], 2);
}

/* Before one, the repeating goes on from there. */
static void test_a_repeated_notice_is_asked_for(void **state)
{
    struct door *door = *state;
    (void)noticed_task(door);
    fake_broker_clear_messages();
    fixture_tick(&door->fix, 1000);
    assert_int_equal(notices(), 0);
    assert_int_equal(report(door, ASK_UPDATE), OTA_INTAKE_TAKEN);
    fixture_tick(&door->fix, 10);
    assert_int_equal(notices(), 1);
    fixture_run(&door->fix, 10000, 1000);
    assert_int_equal(notices(), 2);
}

static void test_a_notice_waits_for_its_turn(void **state)
{
    struct door *door = *state;
    struct fixture *fix = &door->fix;
    fixture_connect(fix);
    fix->device->hold = true;
    (void)fixture_plain_task(fix, fix->device);
    fake_broker_clear_messages();
    assert_int_equal(report(door, ASK_UPDATE), OTA_INTAKE_TAKEN);
    fixture_run(fix, 5000, 1000);
    assert_int_equal(fake_broker_message_count(), 0);
    assert_int_equal(door->intake.refused[OTA_REFUSED_NO_NOTICE], 0);
}

static void test_there_is_no_notice(void **state)
{
    struct door *door = *state;
    fixture_connect(&door->fix);
    fake_broker_clear_messages();
    assert_int_equal(report(door, ASK_UPDATE), OTA_INTAKE_TAKEN);
    fixture_run(&door->fix, 5000, 1000);
    assert_int_equal(fake_broker_message_count(), 0);
    assert_int_equal(door->intake.refused[OTA_REFUSED_NO_NOTICE], 1);
    assert_int_equal(fake_broker_log_count(), 0); /* everyday */
}

static void test_the_notice_is_asked_for_too_often(void **state)
{
    struct door *door = *state;
    limit_reports(door);
    assert_int_equal(report(door, ASK_UPDATE), OTA_INTAKE_REFUSED);
    assert_int_equal(door->intake.refused[OTA_REFUSED_RATE], 1);
}

/* A request for blocks is a sign of life and no progress report: nothing of the task changes. */
static void test_blocks_are_asked_for(void **state)
{
    struct door *door = *state;
    struct fixture *fix = &door->fix;
    struct ota_inband *inband = ota_inband_new(&(struct ota_inband_config){.core = &fix->core});
    assert_non_null(inband);
    door->intake.inband = inband;
    limit_reports(door); /* has a rate of its own */
    fixture_disconnect(fix);
    assert_int_equal(report(door, ASK_BLOCK), OTA_INTAKE_TAKEN);
    assert_non_null(fix->device->conn);
    assert_false(fix->device->task->progress_seen);
    assert_int_equal(fix->device->task->up.percent, 2);
    assert_int_equal(door->intake.by_kind[OTA_REPORT_BLOCK], 1);
    assert_int_equal(ota_inband_stats(inband)->requests, 1);
    assert_int_equal(report(door, "{\"type\":\"request_block\"}"), OTA_INTAKE_REFUSED);
    assert_int_equal(door->intake.refused[OTA_REFUSED_SHAPE], 1);
    assert_int_equal(ota_inband_stats(inband)->refused[OTA_BLOCK_BAD], 1);
    assert_int_equal(report_as(door, &fix->client, "door/nobody", "{\"type\":\"request_block\"}"),
                     OTA_INTAKE_REFUSED); /* nor does it make a device known */
    assert_null(ota_fleet_device(&fix->core.fleet, fix->product, "nobody", 6));
    assert_int_equal(ota_inband_stats(inband)->requests, 2);
    ota_inband_free(inband);
    door->intake.inband = NULL;
    assert_int_equal(report(door, ASK_BLOCK), OTA_INTAKE_TAKEN);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_new_version),
        TEST(test_unchanged_version_writes_nothing),
        TEST(test_answer),
        TEST(test_no_answer_to_what_was_refused),
        TEST(test_version_not_committed),
        TEST(test_status_change_is_one_transaction),
        TEST(test_percentages_need_no_disk),
        TEST(test_progress_not_committed),
        TEST(test_failure_keeps_code_and_message),
        TEST(test_of_another_version),
        TEST(test_of_no_task_at_all),
        TEST(test_proof_ends_a_waiting_task),
        TEST(test_proof_not_committed),
        TEST(test_done_then_proof),
        TEST(test_roll_back),
        TEST(test_unchanged_version_contradicts),
        TEST(test_progress_of_another_version_settles_nothing),
        TEST(test_late_truth),
        TEST(test_late_truth_after_a_restart),
        TEST(test_the_device_gave_up_for_good),
        TEST(test_reinstall),
        TEST(test_fail_twice_with_retries),
        TEST(test_notice_after_the_report),
        TEST(test_auto_register),
        TEST(test_auto_register_by_progress),
        TEST(test_auto_register_not_committed),
        TEST(test_who_is_not_registered),
        TEST(test_the_last_speaker_is_the_connection),
        TEST(test_a_client_of_many_devices),
        TEST(test_bad_reports_change_nothing),
        TEST(test_logged_once_a_second_a_reason),
        TEST(test_log_shows_no_raw_bytes),
        TEST(test_log_of_a_long_client_id),
        TEST(test_last_seen),
        TEST(test_too_many_percentages_are_ignored),
        TEST(test_too_many_unchanged_versions_are_not_answered),
        TEST(test_a_status_change_too_soon_is_not_acknowledged),
        TEST(test_others_are_not_limited_with_it),
        TEST(test_the_notice_is_sent_again_once),
        TEST(test_a_repeated_notice_is_asked_for),
        TEST(test_a_notice_waits_for_its_turn),
        TEST(test_there_is_no_notice),
        TEST(test_the_notice_is_asked_for_too_often),
        TEST(test_blocks_are_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
