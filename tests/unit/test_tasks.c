/* SPDX-License-Identifier: BSD-3-Clause */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/broker.h"

#define UPDATE "$ota/update/door/d1"
#define EVENT  "$ota/event/door/d1"

static enum ota_err apply(struct fixture *fix, enum ota_upgrade_event_kind kind, int percent,
                          int code, const char *message)
{
    struct ota_upgrade_event event = {
        .kind = kind, .percent = percent, .code = code, .service_now = fix->core.service_ms};
    bool changed;
    return ota_tasks_apply(&fix->core, fix->device->task, &event, message, &changed, NULL);
}

static void does(struct fixture *fix, enum ota_upgrade_event_kind kind)
{
    assert_int_equal(apply(fix, kind, 0, 0, NULL), OTA_OK);
}

static void fails(struct fixture *fix, int code, const char *message)
{
    assert_int_equal(apply(fix, OTA_EV_FAIL, 0, code, message), OTA_OK);
}

static void settles(struct fixture *fix, int64_t id, enum ota_upgrade_event_kind kind)
{
    struct ota_upgrade_event event = {.kind = kind, .service_now = fix->core.service_ms};
    struct ota_task_row row = fixture_row(fix, id);
    bool changed;
    assert_int_equal(ota_tasks_settle(&fix->core, fix->device, &row, &event, &changed, NULL),
                     OTA_OK);
}

static void assert_history(struct fixture *fix, int64_t id, const char *want)
{
    char *have = fixture_history(fix, id);
    assert_string_equal(have, want);
    free(have);
}

/* --- making ----------------------------------------------------------------------------------- */

static void test_create(void **state)
{
    struct fixture *fix = *state;
    struct ota_task *task = fixture_plain_task(fix, fix->device);
    struct ota_task_row row = fixture_row(fix, task->id);

    assert_ptr_equal(fix->device->task, task);
    assert_int_equal(fix->device->last_task, task->id);
    assert_int_equal(fix->core.fleet.task_count, 1);
    assert_int_equal(fix->firmware->unfinished, 1);
    assert_int_equal(row.status, OTA_WAITING);
    assert_int_equal(row.attempt, 1);
    assert_int_equal(row.created_at, FAKE_UNIX_START);
    assert_int_equal(row.finished_at, 0);
    assert_string_equal(row.version, "2.0");
    assert_string_equal(row.from_version, "1.0");
    assert_history(fix, task->id, "");
    assert_int_equal(fixture_count(EVENT, "task"), 1);
    assert_int_equal(fix->core.due.count, 0); /* the device is offline */
}

static void test_create_rolled_back(void **state)
{
    struct fixture *fix = *state;
    struct ota_task_order order = fixture_order(fix, fix->device);
    int64_t id = 77;
    assert_int_equal(ota_core_begin(&fix->core, NULL), OTA_OK);
    assert_int_equal(ota_tasks_create(&fix->core, &order, &id, NULL), OTA_OK);
    fixture_fail_commits(true);
    assert_int_equal(ota_core_commit(&fix->core, NULL), OTA_UNAVAILABLE);

    assert_null(fix->device->task);
    assert_int_equal(fix->device->last_task, 0);
    assert_int_equal(fix->core.fleet.task_count, 0);
    assert_int_equal(fix->firmware->unfinished, 0);
    assert_int_equal(fake_broker_message_count(), 0);
    struct ota_task_row row;
    assert_int_equal(ota_task_get(fix->core.store, id, &row, NULL), OTA_NOT_FOUND);
}

static void test_second_unfinished_task(void **state)
{
    struct fixture *fix = *state;
    struct ota_task *task = fixture_plain_task(fix, fix->device);
    struct ota_task_order order = fixture_order(fix, fix->device);
    int64_t id = 0;
    assert_int_equal(ota_core_begin(&fix->core, NULL), OTA_OK);
    assert_int_equal(ota_tasks_create(&fix->core, &order, &id, NULL), OTA_CONFLICT);
    ota_core_rollback(&fix->core);
    assert_ptr_equal(fix->device->task, task);
    assert_int_equal(fix->core.fleet.task_count, 1);
}

/* --- the whole way ---------------------------------------------------------------------------- */

static void test_noticed(void **state)
{
    struct fixture *fix = *state;
    struct ota_task *task = fixture_plain_task(fix, fix->device);
    fixture_connect(fix);
    fake_broker_advance(500);
    does(fix, OTA_EV_NOTICED);

    struct ota_task_row row = fixture_row(fix, task->id);
    assert_int_equal(row.status, OTA_MESSAGE_SENT);
    assert_int_equal(row.sent_at, FAKE_UNIX_START + 500);
    assert_int_equal(row.deadline, fix->core.service_ms + FIX_TIMEOUT);
    assert_history(fix, task->id, "message_sent 0");
    assert_int_equal(fixture_count(UPDATE, "update_firmware"), 1);
    assert_int_equal(task->next_notice, fix->core.mono_now + 10000);
    assert_int_equal(fix->core.due.count, 1);
}

/* A commit takes its time: memory and store must tell the same moment all the same. */
static void test_sent_at_is_the_stored_one(void **state)
{
    struct fixture *fix = *state;
    struct ota_task *task = fixture_plain_task(fix, fix->device);
    fixture_connect(fix);
    assert_int_equal(ota_core_begin(&fix->core, NULL), OTA_OK);
    does(fix, OTA_EV_NOTICED);
    fake_broker_advance(3);
    assert_int_equal(ota_core_commit(&fix->core, NULL), OTA_OK);
    assert_int_equal(fixture_row(fix, task->id).sent_at, FAKE_UNIX_START);
    assert_int_equal(task->sent_at, FAKE_UNIX_START);
    does(fix, OTA_EV_BURNING);
    assert_int_equal(fixture_row(fix, task->id).sent_at, FAKE_UNIX_START);
}

/* What a vendor device can read: the five keys first, no escapes, to its client alone, QoS 0. */
static void test_notice(void **state)
{
    struct fixture *fix = *state;
    struct ota_task *task = fixture_plain_task(fix, fix->device);
    fixture_connect(fix);
    does(fix, OTA_EV_NOTICED);
    const struct fake_message *message = fake_broker_last_on(UPDATE);
    assert_non_null(message);
    assert_string_equal(message->client_id, "client-1");
    assert_int_equal(message->qos, 0);
    assert_null(strchr(message->payload, '\\'));
    static const char start[] =
        "{\"type\":\"update_firmware\",\"version\":\"2.0\",\"url\":\"" FIX_URL;
    assert_memory_equal(message->payload, start, sizeof start - 1);
    assert_non_null(strstr(message->payload, "\",\"md5sum\":\"" FIX_MD5
                                             "\",\"file_size\":3,\"sha256\":\"" FIX_SHA256));
    json_t *root = fixture_last(UPDATE);
    assert_int_equal(json_integer_value(json_object_get(root, "task")), task->id);
    assert_null(json_object_get(root, "signature"));
    json_decref(root);
}

static void test_the_whole_way(void **state)
{
    struct fixture *fix = *state;
    int64_t id = fixture_plain_task(fix, fix->device)->id;
    fixture_connect(fix);
    does(fix, OTA_EV_NOTICED);
    assert_int_equal(apply(fix, OTA_EV_DOWNLOADING, 10, 0, NULL), OTA_OK);
    assert_int_equal(apply(fix, OTA_EV_DOWNLOADED, 100, 0, NULL), OTA_OK);
    does(fix, OTA_EV_BURNING);
    fake_broker_advance(7000);
    does(fix, OTA_EV_DONE);

    struct ota_task_row row = fixture_row(fix, id);
    assert_int_equal(row.status, OTA_SUCCEEDED);
    assert_int_equal(row.confirmation, OTA_PENDING);
    assert_int_equal(row.finished_at, FAKE_UNIX_START + 7000);
    assert_int_equal(row.sent_at, FAKE_UNIX_START);
    assert_int_equal(row.percent, 100);
    assert_history(fix, id,
                   "message_sent 0;downloading 10;downloaded 100;upgrading 100;"
                   "succeeded 100 the device's word");
    assert_null(fix->device->task);
    assert_true(fix->device->may_settle);
    assert_int_equal(fix->core.fleet.task_count, 0);
    assert_int_equal(fix->firmware->unfinished, 0);
    assert_int_equal(fix->core.due.count, 0);
    assert_int_equal(fix->cut, id);
}

static void test_percent_is_kept_for_later(void **state)
{
    struct fixture *fix = *state;
    struct ota_task *task = fixture_plain_task(fix, fix->device);
    fixture_connect(fix);
    does(fix, OTA_EV_NOTICED);
    assert_int_equal(apply(fix, OTA_EV_DOWNLOADING, 10, 0, NULL), OTA_OK);
    assert_false(task->percent_dirty);
    fixture_fail_commits(true); /* it needs no disk */
    assert_int_equal(apply(fix, OTA_EV_DOWNLOADING, 33, 0, NULL), OTA_OK);
    assert_int_equal(fixture_failed_commits(), 0);
    assert_true(task->percent_dirty);
    assert_int_equal(task->up.percent, 33);
    assert_int_equal(fixture_row(fix, task->id).percent, 10);
    fixture_fail_commits(false);
    does(fix, OTA_EV_BURNING);
    assert_int_equal(fixture_row(fix, task->id).percent, 33);
    assert_false(task->percent_dirty);
}

/* "Percentages at most every 5 s a device": status changes always. */
static void test_percent_events(void **state)
{
    struct fixture *fix = *state;
    (void)fixture_plain_task(fix, fix->device);
    fixture_connect(fix);
    does(fix, OTA_EV_NOTICED);
    assert_int_equal(apply(fix, OTA_EV_DOWNLOADING, 0, 0, NULL), OTA_OK);
    fake_broker_clear_messages();
    for (int percent = 1; percent <= 99; percent++) { /* 9.9 s */
        fake_broker_advance(100);
        ota_core_tick_clock(&fix->core);
        assert_int_equal(apply(fix, OTA_EV_DOWNLOADING, percent, 0, NULL), OTA_OK);
    }
    assert_in_range(fixture_count(EVENT, "task"), 1, 2);
}

/* A device may begin without a notice; when it was first heard of must then stay. */
static void test_progress_without_notice(void **state)
{
    struct fixture *fix = *state;
    int64_t id = fixture_plain_task(fix, fix->device)->id;
    fixture_connect(fix);
    assert_int_equal(apply(fix, OTA_EV_DOWNLOADING, 5, 0, NULL), OTA_OK);
    assert_int_equal(fixture_row(fix, id).sent_at, FAKE_UNIX_START);
    fake_broker_advance(4000);
    does(fix, OTA_EV_BURNING);
    assert_int_equal(fixture_row(fix, id).sent_at, FAKE_UNIX_START);
}

/* --- failures --------------------------------------------------------------------------------- */

static void test_fail(void **state)
{
    struct fixture *fix = *state;
    int64_t id = fixture_plain_task(fix, fix->device)->id;
    fixture_connect(fix);
    does(fix, OTA_EV_NOTICED);
    fails(fix, -4, "md5 \xc3\xa4");
    struct ota_task_row row = fixture_row(fix, id);
    assert_int_equal(row.status, OTA_FAILED);
    assert_true(row.has_result_code);
    assert_int_equal(row.result_code, -4);
    assert_string_equal(row.device_message, "md5 \xc3\xa4");
    assert_history(fix, id, "message_sent 0;failed 0 -4: checksum mismatch");
    assert_false(fix->device->may_settle);
    assert_int_equal(fix->cut, id);
}

static void test_long_message_is_cut_at_a_character(void **state)
{
    struct fixture *fix = *state;
    int64_t id = fixture_plain_task(fix, fix->device)->id;
    char message[200];
    memset(message, 'x', sizeof message);
    memcpy(message + 127, "\xe2\x82\xac\xe2\x82\xac", 7);
    does(fix, OTA_EV_NOTICED);
    fails(fix, -1, message);
    assert_int_equal(strlen(fixture_row(fix, id).device_message), 127);
}

static void test_message_of_128_bytes_fits(void **state)
{
    struct fixture *fix = *state;
    int64_t id = fixture_plain_task(fix, fix->device)->id;
    char message[129];
    memset(message, 'x', 128);
    memcpy(message + 125, "\xe2\x82\xac", 4);
    does(fix, OTA_EV_NOTICED);
    fails(fix, -1, message);
    assert_string_equal(fixture_row(fix, id).device_message, message);
}

static struct ota_task *retried_task(struct fixture *fix, const char *on)
{
    struct ota_task_order order = fixture_order(fix, fix->device);
    order.retry_max = 3;
    order.retry_on = on;
    return fixture_task(fix, &order);
}

static void test_retry(void **state)
{
    struct fixture *fix = *state;
    struct ota_task *task = retried_task(fix, "-2");
    fixture_connect(fix);
    does(fix, OTA_EV_NOTICED);
    assert_int_equal(apply(fix, OTA_EV_DOWNLOADING, 60, 0, NULL), OTA_OK);
    fails(fix, -2, "gone");
    struct ota_task_row row = fixture_row(fix, task->id);
    assert_ptr_equal(fix->device->task, task);
    assert_int_equal(row.status, OTA_WAITING);
    assert_int_equal(row.attempt, 2);
    assert_int_equal(row.sent_at, 0);
    assert_int_equal(row.finished_at, 0);
    assert_string_equal(row.device_message, "gone");
    assert_int_equal(ota_tasks_wait(&fix->core, task), OTA_WAIT_RETRY);
    assert_history(fix, task->id,
                   "message_sent 0;downloading 60;failed 60 -2: file missing; attempt 2 in 30 s");
    assert_int_equal(fix->cut, task->id);
    fixture_restart(fix, true);
    assert_string_equal(fix->device->task->up.retry_on, "-2");
    assert_int_equal(fix->device->task->up.retries, 1);
}

/* Vendor devices report a failure twice: the second must not take the retry's notice away. */
static void test_retry_outlives_the_echo(void **state)
{
    struct fixture *fix = *state;
    struct ota_task *task = retried_task(fix, "");
    fixture_connect(fix);
    does(fix, OTA_EV_NOTICED);
    fails(fix, -1, "time_out");
    fails(fix, -1, "time_out");
    assert_int_equal(task->up.attempt, 2);
    assert_false(task->progress_seen);
    assert_int_equal(fix->core.due.count, 1);
    fake_broker_clear_messages();
    fixture_run(fix, 31000, 500);
    assert_int_equal(fixture_count(UPDATE, "update_firmware"), 1);
    assert_int_equal(task->up.status, OTA_MESSAGE_SENT);
}

/* deviceMessage and resultCode are of one failure. */
static void test_message_goes_with_its_failure(void **state)
{
    struct fixture *fix = *state;
    struct ota_task *task = retried_task(fix, "");
    fixture_connect(fix);
    does(fix, OTA_EV_NOTICED);
    fails(fix, -1, "first");
    does(fix, OTA_EV_NOTICED);
    assert_string_equal(fixture_row(fix, task->id).device_message, "first");
    does(fix, OTA_EV_TIMEOUT);
    assert_string_equal(fixture_row(fix, task->id).device_message, "");
    does(fix, OTA_EV_NOTICED);
    assert_string_equal(fixture_row(fix, task->id).device_message, "");
    fails(fix, -3, "");
    does(fix, OTA_EV_NOTICED);
    struct ota_task_row row = fixture_row(fix, task->id);
    assert_int_equal(row.result_code, -3);
    assert_string_equal(row.device_message, "");
}

static void test_message_goes_with_success(void **state)
{
    struct fixture *fix = *state;
    int64_t id = retried_task(fix, "")->id;
    does(fix, OTA_EV_NOTICED);
    fails(fix, -1, "first");
    does(fix, OTA_EV_NOTICED);
    does(fix, OTA_EV_DONE);
    struct ota_task_row row = fixture_row(fix, id);
    assert_false(row.has_result_code);
    assert_string_equal(row.device_message, "");
}

static void test_a_new_attempt_has_a_new_url(void **state)
{
    struct fixture *fix = *state;
    (void)retried_task(fix, "");
    fixture_connect(fix);
    does(fix, OTA_EV_NOTICED);
    json_t *first = fixture_last(UPDATE);
    fails(fix, -1, "");
    does(fix, OTA_EV_NOTICED);
    json_t *second = fixture_last(UPDATE);
    assert_string_not_equal(json_string_value(json_object_get(first, "url")),
                            json_string_value(json_object_get(second, "url")));
    json_decref(first);
    json_decref(second);
}

/* --- cancelled -------------------------------------------------------------------------------- */

static void test_cancel(void **state)
{
    struct fixture *fix = *state;
    int64_t id = fixture_plain_task(fix, fix->device)->id;
    fixture_connect(fix);
    does(fix, OTA_EV_NOTICED);
    fake_broker_clear_messages();
    does(fix, OTA_EV_CANCEL);
    assert_null(fix->device->task);
    assert_true(fix->device->may_settle);
    assert_int_equal(fix->cut, id);
    assert_int_equal(fixture_count(UPDATE, "cancel_firmware"), 1);
    assert_history(fix, id, "message_sent 0;cancelled 0 cancelled by an admin");
    json_t *root = fixture_last(UPDATE);
    assert_string_equal(json_string_value(json_object_get(root, "version")), "2.0");
    assert_int_equal(json_integer_value(json_object_get(root, "task")), id);
    json_decref(root);
}

static void test_cancel_before_the_notice(void **state)
{
    struct fixture *fix = *state;
    int64_t id = fixture_plain_task(fix, fix->device)->id;
    fixture_connect(fix);
    fake_broker_clear_messages();
    does(fix, OTA_EV_CANCEL);
    assert_false(fix->device->may_settle);
    assert_int_equal(fixture_count(UPDATE, NULL), 0); /* it knows of nothing */
    assert_history(fix, id, "cancelled 0 cancelled by an admin");
}

static void test_expire(void **state)
{
    struct fixture *fix = *state;
    int64_t id = fixture_plain_task(fix, fix->device)->id;
    does(fix, OTA_EV_EXPIRE);
    assert_int_equal(fixture_row(fix, id).ending, OTA_ENDING_EXPIRED);
    assert_history(fix, id, "cancelled 0 expired");
    assert_false(fix->device->may_settle);
}

/* Cancelled and made anew in one transaction, as `override` does. */
static void override(struct fixture *fix)
{
    struct ota_task_order order = fixture_order(fix, fix->device);
    int64_t id;
    assert_int_equal(ota_core_begin(&fix->core, NULL), OTA_OK);
    does(fix, OTA_EV_CANCEL);
    assert_int_equal(ota_tasks_create(&fix->core, &order, &id, NULL), OTA_OK);
}

static void test_override(void **state)
{
    struct fixture *fix = *state;
    int64_t old = fixture_plain_task(fix, fix->device)->id;
    override(fix);
    assert_int_equal(ota_core_commit(&fix->core, NULL), OTA_OK);
    assert_int_equal(fixture_row(fix, old).status, OTA_CANCELLED);
    assert_int_not_equal(fix->device->task->id, old);
    assert_int_equal(fix->device->last_task, fix->device->task->id);
    assert_false(fix->device->may_settle);
    assert_int_equal(fix->core.fleet.task_count, 1);
    assert_int_equal(fix->firmware->unfinished, 1);
}

static void test_override_rolled_back(void **state)
{
    struct fixture *fix = *state;
    int64_t old = fixture_plain_task(fix, fix->device)->id;
    fixture_connect(fix);
    fake_broker_clear_messages();
    override(fix);
    fixture_fail_commits(true);
    assert_int_equal(ota_core_commit(&fix->core, NULL), OTA_UNAVAILABLE);
    assert_int_equal(fix->device->task->id, old);
    assert_int_equal(fixture_row(fix, old).status, OTA_WAITING);
    assert_int_equal(fix->core.fleet.task_count, 1);
    assert_int_equal(fix->core.due.count, 1);
    assert_int_equal(fake_broker_message_count(), 0);
    assert_int_equal(fix->cut, 0);
}

/* --- a commit that fails -----------------------------------------------------------------------
 */

struct picture {
    struct ota_upgrade up;
    int64_t last_event;
    int64_t sent_at;
    int64_t next_notice;
    bool progress_seen;
    bool percent_dirty;
};

static struct picture take_picture(const struct ota_task *task)
{
    return (struct picture){.up = task->up,
                            .last_event = task->last_event,
                            .sent_at = task->sent_at,
                            .next_notice = task->next_notice,
                            .progress_seen = task->progress_seen,
                            .percent_dirty = task->percent_dirty};
}

static void assert_as_before(const struct ota_task *task, const struct picture *picture)
{
    assert_int_equal(task->up.status, picture->up.status);
    assert_int_equal(task->up.attempt, picture->up.attempt);
    assert_int_equal(task->up.percent, picture->up.percent);
    assert_int_equal(task->up.flags, picture->up.flags);
    assert_int_equal(task->up.deadline, picture->up.deadline);
    assert_int_equal(task->last_event, picture->last_event);
    assert_int_equal(task->sent_at, picture->sent_at);
    assert_int_equal(task->next_notice, picture->next_notice);
    assert_int_equal(task->progress_seen, picture->progress_seen);
    assert_int_equal(task->percent_dirty, picture->percent_dirty);
}

static void check_failing_commit(struct fixture *fix, enum ota_upgrade_event_kind kind)
{
    struct ota_task *task = fix->device->task;
    struct picture picture = take_picture(task);
    int64_t due = ota_due_when(&fix->core);
    char *history = fixture_history(fix, task->id);
    fake_broker_clear_messages();
    fixture_fail_commits(true);
    assert_int_equal(apply(fix, kind, 20, -1, "m"), OTA_UNAVAILABLE);
    fixture_fail_commits(false);
    assert_ptr_equal(fix->device->task, task);
    assert_as_before(task, &picture);
    assert_int_equal(ota_due_when(&fix->core), due);
    assert_int_equal(fake_broker_message_count(), 0);
    assert_int_equal(fix->cut, 0);
    assert_int_equal(fixture_row(fix, task->id).status, picture.up.status);
    assert_history(fix, task->id, history);
    free(history);
}

static void test_failing_commit_changes_nothing(void **state)
{
    struct fixture *fix = *state;
    (void)retried_task(fix, "");
    fixture_connect(fix);
    check_failing_commit(fix, OTA_EV_NOTICED);
    check_failing_commit(fix, OTA_EV_DOWNLOADING);
    check_failing_commit(fix, OTA_EV_CANCEL);
    does(fix, OTA_EV_NOTICED);
    for (int kind = OTA_EV_DOWNLOADING; kind <= OTA_EV_CANCEL; kind++) {
        if (kind != OTA_EV_VERSION_OTHER) {
            check_failing_commit(fix, (enum ota_upgrade_event_kind)kind);
        }
    }
    does(fix, OTA_EV_DONE);
    assert_null(fix->device->task);
}

/* --- finished tasks --------------------------------------------------------------------------- */

static int64_t timed_out_task(struct fixture *fix)
{
    int64_t id = fixture_plain_task(fix, fix->device)->id;
    fixture_connect(fix);
    does(fix, OTA_EV_NOTICED);
    does(fix, OTA_EV_TIMEOUT);
    assert_int_equal(fixture_row(fix, id).status, OTA_FAILED);
    return id;
}

static void test_late_success(void **state)
{
    struct fixture *fix = *state;
    int64_t id = timed_out_task(fix);
    assert_true(fix->device->may_settle);
    fake_broker_advance(60000);
    settles(fix, id, OTA_EV_DONE);
    struct ota_task_row row = fixture_row(fix, id);
    assert_int_equal(row.status, OTA_SUCCEEDED);
    assert_int_equal(row.finished_at, FAKE_UNIX_START + 60000);
    assert_true(row.flags & OTA_UPGRADE_LATE);
    assert_true(fix->device->may_settle);
    assert_history(fix, id,
                   "message_sent 0;failed 0 timeout;"
                   "succeeded 100 late, after its time was out; the device's word");
    settles(fix, id, OTA_EV_VERSION_OTHER);
    assert_int_equal(fixture_row(fix, id).confirmation, OTA_CONTRADICTED);
    assert_int_equal(fixture_row(fix, id).finished_at, FAKE_UNIX_START + 60000);
}

static void test_late_success_after_cancel(void **state)
{
    struct fixture *fix = *state;
    int64_t id = fixture_plain_task(fix, fix->device)->id;
    does(fix, OTA_EV_NOTICED);
    does(fix, OTA_EV_CANCEL);
    settles(fix, id, OTA_EV_VERSION_TARGET);
    assert_history(fix, id,
                   "message_sent 0;cancelled 0 cancelled by an admin;succeeded 100 late, after it "
                   "was cancelled; confirmed by a version report");
}

static void test_confirmation(void **state)
{
    struct fixture *fix = *state;
    int64_t id = fixture_plain_task(fix, fix->device)->id;
    does(fix, OTA_EV_NOTICED);
    does(fix, OTA_EV_DONE);
    fake_broker_clear_messages();
    settles(fix, id, OTA_EV_VERSION_TARGET);
    assert_int_equal(fixture_row(fix, id).confirmation, OTA_CONFIRMED);
    assert_int_equal(fixture_count(EVENT, "task"), 1);
    settles(fix, id, OTA_EV_VERSION_TARGET); /* nothing new */
    assert_int_equal(fixture_count(EVENT, "task"), 1);
    assert_history(fix, id,
                   "message_sent 0;succeeded 100 the device's word;"
                   "succeeded 100 confirmed by a version report");
}

static void test_may_settle_ends(void **state)
{
    struct fixture *fix = *state;
    int64_t id = fixture_plain_task(fix, fix->device)->id;
    does(fix, OTA_EV_VERSION_TARGET);
    assert_true(fix->device->may_settle);
    fix->core.service_ms += FIX_TIMEOUT + 1;
    settles(fix, id, OTA_EV_VERSION_OTHER);
    assert_int_equal(fixture_row(fix, id).confirmation, OTA_CONFIRMED);
    assert_false(fix->device->may_settle);
}

static void test_settle_failing_commit(void **state)
{
    struct fixture *fix = *state;
    int64_t id = timed_out_task(fix);
    struct ota_task_row row = fixture_row(fix, id);
    struct ota_upgrade_event event = {.kind = OTA_EV_DONE};
    bool changed;
    fixture_fail_commits(true);
    assert_int_equal(ota_tasks_settle(&fix->core, fix->device, &row, &event, &changed, NULL),
                     OTA_UNAVAILABLE);
    fixture_fail_commits(false);
    assert_true(fix->device->may_settle);
    assert_int_equal(fixture_row(fix, id).status, OTA_FAILED);
    settles(fix, id, OTA_EV_DONE);
    assert_int_equal(fixture_row(fix, id).status, OTA_SUCCEEDED);
}

static void test_retry_by_an_admin(void **state)
{
    struct fixture *fix = *state;
    int64_t id = fixture_plain_task(fix, fix->device)->id;
    fixture_connect(fix);
    does(fix, OTA_EV_NOTICED);
    fails(fix, -4, "bad");
    settles(fix, id, OTA_EV_RETRY);
    struct ota_task_row row = fixture_row(fix, id);
    assert_int_equal(row.status, OTA_WAITING);
    assert_int_equal(row.attempt, 2);
    assert_int_equal(row.finished_at, 0);
    assert_int_equal(row.sent_at, 0);
    assert_false(row.has_result_code);
    assert_string_equal(row.device_message, "");
    assert_int_equal(fix->device->task->id, id);
    assert_int_equal(fix->firmware->unfinished, 1);
    assert_int_equal(fix->core.due.count, 1);
    assert_history(fix, id,
                   "message_sent 0;failed 0 -4: checksum mismatch;task_waiting 0 attempt 2 asked "
                   "for");
    fixture_tick(fix, 1000);
    assert_int_equal(fix->device->task->up.status, OTA_MESSAGE_SENT);
    does(fix, OTA_EV_DONE);
    assert_int_equal(fixture_row(fix, id).status, OTA_SUCCEEDED);
}

/* The retried task is the device's last one again, also after a restart. */
static void test_retry_of_an_older_task(void **state)
{
    struct fixture *fix = *state;
    int64_t old = timed_out_task(fix);
    int64_t id = timed_out_task(fix);
    assert_int_equal(fix->device->last_task, id);
    settles(fix, old, OTA_EV_RETRY);
    assert_int_equal(fix->device->last_task, old);
    does(fix, OTA_EV_CANCEL);
    fixture_restart(fix, true);
    assert_int_equal(fix->device->last_task, old);
}

/* --- a restart -------------------------------------------------------------------------------- */

static void test_restart(void **state)
{
    struct fixture *fix = *state;
    int64_t id = fixture_plain_task(fix, fix->device)->id;
    fixture_connect(fix);
    does(fix, OTA_EV_NOTICED);
    assert_int_equal(apply(fix, OTA_EV_DOWNLOADING, 10, 0, NULL), OTA_OK);
    struct ota_upgrade before = fix->device->task->up;
    fixture_restart(fix, true);
    struct ota_task *task = fix->device->task;
    assert_int_equal(task->id, id);
    assert_int_equal(task->up.status, before.status);
    assert_int_equal(task->up.percent, before.percent);
    assert_int_equal(task->up.deadline, before.deadline);
    assert_int_equal(task->up.flags, before.flags);
    assert_int_equal(fix->firmware->unfinished, 1);
    assert_int_equal(fix->core.due.count, 1);
    does(fix, OTA_EV_DONE);
    assert_int_equal(fixture_row(fix, id).status, OTA_SUCCEEDED);
}

/* It has its place among what is due before it is committed: afterwards nothing may fail. */
static void test_room_comes_first(void **state)
{
    struct fixture *fix = *state;
    for (int i = 0; i < 2 * OTA_HEAP_PAGE + 10; i++) {
        char name[16];
        int64_t id;
        (void)snprintf(name, sizeof name, "r%d", i);
        struct ota_task_order order = fixture_order(fix, fixture_device(fix, name, "1.0"));
        assert_true(fix->core.fleet.dirty.words * 64 > order.device->id);
        assert_true(fix->core.fleet.looks.words * 64 > order.device->id);
        assert_int_equal(ota_core_begin(&fix->core, NULL), OTA_OK);
        assert_int_equal(ota_tasks_create(&fix->core, &order, &id, NULL), OTA_OK);
        assert_true(fix->core.due.page_count * OTA_HEAP_PAGE > fix->core.fleet.task_count);
        assert_int_equal(ota_core_commit(&fix->core, NULL), OTA_OK);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_create),
        TEST(test_create_rolled_back),
        TEST(test_room_comes_first),
        TEST(test_second_unfinished_task),
        TEST(test_noticed),
        TEST(test_sent_at_is_the_stored_one),
        TEST(test_notice),
        TEST(test_the_whole_way),
        TEST(test_percent_is_kept_for_later),
        TEST(test_percent_events),
        TEST(test_progress_without_notice),
        TEST(test_fail),
        TEST(test_long_message_is_cut_at_a_character),
        TEST(test_message_of_128_bytes_fits),
        TEST(test_retry),
        TEST(test_retry_outlives_the_echo),
        TEST(test_message_goes_with_its_failure),
        TEST(test_message_goes_with_success),
        TEST(test_a_new_attempt_has_a_new_url),
        TEST(test_cancel),
        TEST(test_cancel_before_the_notice),
        TEST(test_expire),
        TEST(test_override),
        TEST(test_override_rolled_back),
        TEST(test_failing_commit_changes_nothing),
        TEST(test_late_success),
        TEST(test_late_success_after_cancel),
        TEST(test_confirmation),
        TEST(test_may_settle_ends),
        TEST(test_settle_failing_commit),
        TEST(test_retry_by_an_admin),
        TEST(test_retry_of_an_older_task),
        TEST(test_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
