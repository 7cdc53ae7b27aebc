/* SPDX-License-Identifier: BSD-3-Clause */
/* What admins do with a batch, and when: start, pause, cancel, retry; schedule and expiry; what
 * happens to it where devices, firmware and products go. */
#include "batch_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/broker.h"
#include "../../plugin/devices.h"
#include "../../plugin/firmware.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define HOUR_MS      3600000

static struct ota_batch *begin(struct crowd *crowd, int count)
{
    struct ota_batch_row row = batch_row(crowd);
    return batch_begin(crowd, count, &row, NULL, 0);
}

/* Cancellations that devices were told of. */
static int cancels(void)
{
    return fixture_count(NULL, "cancel_firmware");
}

/* How often the history of the device's last task says this. */
static bool history_has(struct crowd *crowd, int i, const char *text)
{
    char *history = fixture_history(&crowd->fix, crowd_device(crowd, i)->last_task);
    bool has = strstr(history, text) != NULL;
    free(history);
    return has;
}

/* --- what is allowed when -----------------------------------------------------------------------
 */

static struct ota_batch *in_state(struct crowd *crowd, enum ota_batch_state state)
{
    static const struct ota_stage two[] = {{.count = 1, .min_success_percent = 90},
                                           {.percent = 100}};
    struct ota_batch_row row = batch_row(crowd);
    const char *nobody = "{\"fromVersions\":[\"nosuch\"]}";
    row.start_at = state == OTA_BATCH_SCHEDULED ? ota_now_unix() + HOUR_MS : 0;
    struct ota_batch *batch =
        state == OTA_BATCH_DRAFT
            ? batch_draft(crowd, &row, NULL)
            : batch_start(crowd, &row, state == OTA_BATCH_FINISHED ? nobody : NULL, two, 2);
    if (state != OTA_BATCH_PREPARING && state != OTA_BATCH_DRAFT) {
        crowd_run(crowd, 100);
    }
    if (state == OTA_BATCH_PAUSED) {
        assert_int_equal(batch_do(crowd, ota_batches_pause, batch), OTA_OK);
    } else if (state == OTA_BATCH_CANCELLED) {
        assert_int_equal(batch_do(crowd, batch_cancel, batch), OTA_OK);
    }
    assert_int_equal(batch->row.state, state);
    return batch;
}

static void test_what_is_allowed_when(void **state)
{
    static const struct {
        batch_act act;
        bool good[OTA_BATCH_STATE_COUNT];
    } cases[] = {
        /* draft, scheduled, preparing, running, paused, cancelled, finished */
        {ota_batches_start, {1, 0, 0, 0, 0, 0, 0}},  {ota_batches_pause, {0, 1, 1, 1, 0, 0, 0}},
        {ota_batches_resume, {0, 0, 0, 0, 1, 0, 0}}, {ota_batches_advance, {0, 0, 0, 1, 1, 0, 0}},
        {batch_cancel, {1, 1, 1, 1, 1, 0, 0}},       {batch_cancel_all, {1, 1, 1, 1, 1, 0, 0}},
        {ota_batches_retry, {0, 0, 0, 1, 1, 0, 1}}};
    struct crowd *crowd = *state;
    crowd_add(crowd, 4, "1.0");
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (int j = 0; j < OTA_BATCH_STATE_COUNT; j++) {
            struct ota_batch *batch = in_state(crowd, (enum ota_batch_state)j);
            struct ota_batch_row before = batch->row;
            enum ota_err err = batch_do(crowd, cases[i].act, batch);
            if (err != (cases[i].good[j] ? OTA_OK : OTA_CONFLICT)) {
                fail_msg("act %zu, state %d: %s", i, j, ota_err_name(err));
            }
            if (err != OTA_OK) {
                assert_memory_equal(&batch->row, &before, sizeof before);
            }
            batch_check(crowd);
            if (!ota_batch_is_over(batch)) {
                assert_int_equal(batch_do(crowd, batch_cancel, batch), OTA_OK);
            }
            crowd_run(crowd, 200);
            batch_check(crowd);
        }
    }
    assert_int_equal(crowd->fix.core.fleet.live_count, 0);
    assert_int_equal(crowd->fix.firmware->batches, 0);
}

static void test_a_draft_for_nobody_is_not_started(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    struct ota_batch *batch = batch_draft(crowd, &row, "");
    crowd_run(crowd, HOUR_MS / 10);
    assert_string_equal(batch_stands(batch), "draft");
    assert_int_equal(batch_do(crowd, ota_batches_start, batch), OTA_CONFLICT);
    row.named = true; /* it has a list, though its devices are gone */
    batch = batch_draft(crowd, &row, "");
    assert_int_equal(batch_do(crowd, ota_batches_start, batch), OTA_OK);
    crowd_run(crowd, 200);
    assert_string_equal(batch_stands(batch), "finished");
}

static void test_at_most_a_thousand_that_are_not_over(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    struct ota_batch *batch = NULL;
    for (int i = 0; i < OTA_BATCHES_LIVE_MAX; i++) {
        batch = batch_draft(crowd, &row, NULL);
    }
    struct ota_target target = {.online = -1};
    struct ota_error error = {0};
    assert_int_equal(ota_core_begin(&crowd->fix.core, NULL), OTA_OK);
    assert_int_equal(ota_batches_create(&crowd->fix.core, &row, &target, batch->stages, 1, &error),
                     OTA_LIMIT_EXCEEDED);
    ota_core_rollback(&crowd->fix.core);
    assert_int_equal(batch_do(crowd, batch_cancel, batch), OTA_OK);
    crowd_run(crowd, 100);
    (void)batch_draft(crowd, &row, NULL);
}

/* --- pausing ------------------------------------------------------------------------------------
 */

static void test_a_pause_stops_first_notices(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.max_in_flight = 2;
    struct ota_batch *batch = batch_begin(crowd, 6, &row, NULL, 0);
    assert_int_equal(batch_do(crowd, ota_batches_pause, batch), OTA_OK);
    assert_string_equal(batch_stands(batch), "paused admin");
    int told = crowd_notices();
    crowd_run(crowd, 20000);
    assert_true(crowd_notices() > told); /* those under way hear it again */
    for (int i = 0; i < 6; i++) {
        if (strcmp(crowd_stands(crowd, i), "message_sent") == 0) {
            crowd_succeeds(crowd, i);
        } else {
            assert_int_equal(ota_tasks_wait(&crowd->fix.core, crowd_task(crowd, i)),
                             OTA_WAIT_PAUSED);
        }
    }
    crowd_run(crowd, 1000);
    assert_string_equal(batch_counts(batch), "waiting 4, succeeded 2");
    assert_int_equal(batch_do(crowd, ota_batches_resume, batch), OTA_OK);
    assert_string_equal(batch_stands(batch), "running");
    crowd_run(crowd, 100);
    assert_string_equal(batch_counts(batch), "waiting 2, message_sent 2, succeeded 2");
    batch_check(crowd);
}

static void test_a_paused_batch_whose_last_task_ends(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch *batch = begin(crowd, 2);
    assert_int_equal(batch_do(crowd, ota_batches_pause, batch), OTA_OK);
    crowd_succeeds(crowd, 0);
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "paused admin");
    crowd_fails(crowd, 1, -4);
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "finished");
    batch_check(crowd);
}

/* --- schedule and expiry ------------------------------------------------------------------------
 */

static void test_start_at(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    crowd_add(crowd, 2, "1.0");
    row.start_at = ota_now_unix() + 60000;
    struct ota_batch *batch = batch_start(crowd, &row, NULL, NULL, 0);
    assert_string_equal(batch_stands(batch), "scheduled");
    assert_int_equal(batch->row.started_at, 0);
    crowd_run(crowd, 59900);
    assert_string_equal(batch_stands(batch), "scheduled");
    crowd_add(crowd, 1, "1.0"); /* those that match when it starts */
    crowd_run(crowd, 200);
    assert_string_equal(batch_stands(batch), "running");
    assert_string_equal(batch_counts(batch), "waiting 3");
    assert_int_not_equal(batch->row.started_at, 0);
    row.start_at = 1; /* long ago: at once */
    struct ota_batch *second = batch_start(crowd, &row, NULL, NULL, 0);
    assert_string_equal(batch_stands(second), "preparing");
}

static void test_a_scheduled_one_that_is_paused(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    crowd_add(crowd, 2, "1.0");
    row.start_at = ota_now_unix() + 60000;
    struct ota_batch *batch = batch_start(crowd, &row, NULL, NULL, 0);
    assert_int_equal(batch_do(crowd, ota_batches_pause, batch), OTA_OK);
    crowd_run(crowd, 30000);
    assert_int_equal(batch_do(crowd, ota_batches_resume, batch), OTA_OK);
    assert_string_equal(batch_stands(batch), "scheduled");
    assert_int_equal(batch_do(crowd, ota_batches_pause, batch), OTA_OK);
    crowd_run(crowd, 60000);
    assert_string_equal(batch_stands(batch), "paused admin"); /* also past its time */
    assert_int_equal(batch_do(crowd, ota_batches_resume, batch), OTA_OK);
    crowd_run(crowd, 200);
    assert_string_equal(batch_stands(batch), "running");
    assert_string_equal(batch_counts(batch), "waiting 2");
}

static void test_a_draft_with_a_start(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    crowd_add(crowd, 2, "1.0");
    row.start_at = ota_now_unix() + 60000;
    struct ota_batch *batch = batch_draft(crowd, &row, NULL);
    struct ota_batch *late = batch_draft(crowd, &row, NULL);
    assert_int_equal(batch_do(crowd, ota_batches_start, batch), OTA_OK);
    assert_string_equal(batch_stands(batch), "scheduled");
    crowd_run(crowd, 61000);
    assert_string_equal(batch_stands(batch), "running");
    assert_string_equal(batch_stands(late), "draft");
    assert_int_equal(batch_do(crowd, ota_batches_start, late), OTA_OK);
    assert_string_equal(batch_stands(late), "preparing");
}

/* What was never noticed ends; what was goes on, and gets its automatic retries. */
static void test_expiry(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.expire_at = ota_now_unix() + 60000;
    row.max_in_flight = 3;
    row.retry_max = 1;
    struct ota_batch *batch = batch_begin(crowd, 6, &row, NULL, 0);
    int told[3];
    int n = 0;
    for (int i = 0; i < 6; i++) {
        if (strcmp(crowd_stands(crowd, i), "message_sent") == 0) {
            told[n++] = i;
        }
    }
    assert_int_equal(n, 3);
    crowd_run(crowd, 50000);
    crowd_fails(crowd, told[0], -1); /* waits for a retry when the time comes */
    batch->row.max_in_flight = 2;
    crowd_run(crowd, 9600);
    assert_string_equal(batch_stands(batch), "running");
    crowd_run(crowd, 300);
    assert_string_equal(batch_stands(batch), "running expired");
    assert_string_equal(batch_counts(batch), "waiting 1, message_sent 2, cancelled 3");
    assert_int_equal(cancels(), 0);
    for (int i = 0; i < 6; i++) {
        if (strcmp(crowd_stands(crowd, i), "cancelled") == 0) {
            assert_true(history_has(crowd, i, "cancelled 0 expired"));
            assert_int_equal(fixture_row(&crowd->fix, crowd_device(crowd, i)->last_task).ending,
                             OTA_ENDING_EXPIRED);
        }
    }
    crowd_succeeds(crowd, told[1]);
    crowd_run(crowd, 31000);
    assert_string_equal(crowd_stands(crowd, told[0]), "message_sent");
    batch_check(crowd);
    crowd_succeeds(crowd, told[0]);
    crowd_fails(crowd, told[2], -4);
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "finished expired");
    assert_string_equal(batch_counts(batch), "failed 1, succeeded 2, cancelled 3");
    batch_check(crowd);
    assert_int_equal(batch_do(crowd, ota_batches_retry, batch), OTA_CONFLICT);
    assert_int_equal(batch_retry_task(crowd, crowd_device(crowd, told[2])->last_task),
                     OTA_CONFLICT);
}

static void test_expiry_in_any_state(void **state)
{
    static const enum ota_batch_state states[] = {OTA_BATCH_DRAFT, OTA_BATCH_SCHEDULED,
                                                  OTA_BATCH_PREPARING, OTA_BATCH_RUNNING,
                                                  OTA_BATCH_PAUSED};
    struct crowd *crowd = *state;
    crowd_add(crowd, 5, "1.0");
    for (size_t i = 0; i < COUNT(states); i++) {
        struct ota_batch *batch = in_state(crowd, states[i]);
        batch->row.expire_at = ota_now_unix() + 50; /* updateBatch */
        crowd_run(crowd, 300);
        assert_string_equal(batch_stands(batch), "finished expired");
        assert_string_equal(batch_counts(batch),
                            states[i] >= OTA_BATCH_RUNNING ? "cancelled 5" : "");
        assert_true(batch->row.tallied);
        batch_check(crowd);
    }
    assert_int_equal(crowd->fix.firmware->batches, 0);
}

/* It expires while its tasks are being made: no stage was ever open. */
static void test_expiry_amid_preparing(void **state)
{
    static const struct ota_stage two[] = {{.percent = 10, .min_success_percent = 90},
                                           {.percent = 100}};
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    crowd_add(crowd, 1000, "1.0");
    row.expire_at = ota_now_unix() + 150;
    struct ota_batch *batch = batch_start(crowd, &row, NULL, two, 2);
    fixture_slow_commits(6);
    fixture_tick(&crowd->fix, 100);
    assert_string_equal(batch_stands(batch), "preparing");
    assert_string_equal(batch_counts(batch), "waiting 256");
    fixture_tick(&crowd->fix, 100);
    assert_string_equal(batch_stands(batch), "running expired");
    assert_int_equal(batch->row.open_stages, 0);
    struct ota_task *task = batch->tasks;
    if (task != NULL) {
        (void)ota_tasks_wait(&crowd->fix.core, task);
    }
    fixture_slow_commits(0);
    crowd_run(crowd, 500);
    assert_string_equal(batch_stands(batch), "finished expired");
    assert_string_equal(batch_counts(batch), "cancelled 256");
    batch_check(crowd);
    int64_t id = batch->row.id;
    crowd_restart(crowd, true);
    assert_string_equal(batch_counts(batch_again(crowd, id)), "cancelled 256");
    batch_check(crowd);
}

static void test_a_paused_one_that_expires(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.expire_at = ota_now_unix() + 60000;
    row.max_in_flight = 1;
    struct ota_batch *batch = batch_begin(crowd, 3, &row, NULL, 0);
    assert_int_equal(batch_do(crowd, ota_batches_pause, batch), OTA_OK);
    crowd_run(crowd, 60000);
    assert_string_equal(batch_stands(batch), "paused expired");
    assert_string_equal(batch_counts(batch), "message_sent 1, cancelled 2");
    assert_int_equal(batch_do(crowd, ota_batches_resume, batch), OTA_OK);
    assert_string_equal(batch_stands(batch), "running expired"); /* it is remembered */
    assert_int_equal(batch_do(crowd, ota_batches_pause, batch), OTA_OK);
    assert_string_equal(batch_stands(batch), "paused expired");
    crowd_run(crowd, FIX_TIMEOUT);
    assert_string_equal(batch_stands(batch), "finished expired");
    batch_check(crowd);
}

/* An expired one may still be cancelled, together with what is under way: at once. */
static void test_cancel_after_expiry(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.expire_at = ota_now_unix() + 60000;
    row.max_in_flight = 3;
    struct ota_batch *batch = batch_begin(crowd, 6, &row, NULL, 0);
    for (int i = 0; i < 6; i++) {
        crowd_says(crowd, i, "downloading");
    }
    crowd_run(crowd, 60000);
    assert_string_equal(batch_stands(batch), "running expired");
    assert_int_equal(batch_do(crowd, batch_cancel_all, batch), OTA_OK);
    crowd_run(crowd, 300);
    assert_string_equal(batch_counts(batch), "cancelled 6");
    batch_check(crowd);
}

/* --- cancelling ---------------------------------------------------------------------------------
 */

static void test_cancel_lets_those_under_way_finish(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.max_in_flight = 4;
    row.retry_max = 3;
    struct ota_batch *batch = batch_begin(crowd, 10, &row, NULL, 0);
    assert_int_equal(batch_do(crowd, batch_cancel, batch), OTA_OK);
    assert_string_equal(batch_stands(batch), "cancelled admin"); /* at once */
    assert_int_equal(batch->row.finished_at, ota_now_unix());
    assert_int_equal(crowd->fix.firmware->batches, 0);
    crowd_run(crowd, 200);
    assert_string_equal(batch_counts(batch), "message_sent 4, cancelled 6");
    assert_int_equal(cancels(), 0);
    assert_false(batch->row.tallied);
    batch_check(crowd);
    int done = 0;
    for (int i = 0; i < 10; i++) {
        if (strcmp(crowd_stands(crowd, i), "message_sent") == 0) {
            if (done++ < 2) {
                crowd_succeeds(crowd, i);
            } else if (done == 3) {
                crowd_fails(crowd, i, -1); /* no new attempt any more */
                crowd_run(crowd, 100);
                assert_string_equal(crowd_stands(crowd, i), "cancelled");
                assert_true(history_has(crowd, i, "failed 0 -1"));
            }
        }
    }
    crowd_run(crowd, FIX_TIMEOUT + 200);
    assert_string_equal(batch_counts(batch), "succeeded 2, cancelled 8");
    assert_true(batch->row.tallied);
    assert_string_equal(batch_stands(batch), "cancelled admin");
    batch_check(crowd);
}

static void test_cancel_all(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.max_in_flight = 4;
    struct ota_batch *batch = batch_begin(crowd, 10, &row, NULL, 0);
    int done = 0;
    while (strcmp(crowd_stands(crowd, done), "message_sent") != 0) {
        done++;
    }
    crowd_says(crowd, done, "done");
    assert_int_equal(batch_do(crowd, batch_cancel_all, batch), OTA_OK);
    crowd_run(crowd, 300);
    assert_string_equal(batch_counts(batch), "succeeded 1, cancelled 9");
    assert_int_equal(cancels(), 3); /* who was told is told */
    assert_true(batch->row.tallied);
    batch_check(crowd);
    /* late truth, also of a batch that is settled */
    for (int i = 0; i < 10; i++) {
        crowd_says(crowd, i, "done");
    }
    assert_string_equal(batch_counts(batch), "succeeded 4, cancelled 6");
    batch_check(crowd);
    assert_int_equal(batch_do(crowd, ota_batches_retry, batch), OTA_CONFLICT);
    for (int i = 0; i < 10; i++) {
        if (strcmp(crowd_stands(crowd, i), "cancelled") == 0) {
            assert_int_equal(batch_retry_task(crowd, crowd_device(crowd, i)->last_task),
                             OTA_CONFLICT);
        }
    }
}

static void test_cancelling_many_takes_slices(void **state)
{
    struct crowd *crowd = *state;
    crowd_add(crowd, 1100, "1.0");
    struct ota_batch_row row = batch_row(crowd);
    struct ota_batch *batch = batch_start(crowd, &row, NULL, NULL, 0);
    crowd_run(crowd, 100);
    assert_string_equal(batch_counts(batch), "waiting 1100");
    struct ota_task *other = fixture_plain_task(&crowd->fix, fixture_device(&crowd->fix, "x", "1"));
    assert_int_equal(batch_do(crowd, batch_cancel, batch), OTA_OK);
    int before = 1100;
    for (int i = 0; i < 20 && !batch->row.tallied; i++) {
        fixture_tick(&crowd->fix, 10);
        int left = (int)ota_batch_tally(batch).by_status[OTA_WAITING];
        assert_in_range(before - left, 0, 300);
        before = left;
        batch_check(crowd);
    }
    assert_true(batch->row.tallied);
    assert_int_equal(other->up.status, OTA_WAITING);
}

/* --- automatic retries --------------------------------------------------------------------------
 */

static void test_a_retry_is_no_failure(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.retry_max = 1;
    row.threshold_percent = 100;
    row.threshold_min = 1;
    (void)snprintf(row.retry_on, sizeof row.retry_on, "-4");
    struct ota_batch *batch = batch_begin(crowd, 2, &row, NULL, 0);
    crowd_fails(crowd, 0, -4);
    crowd_run(crowd, 100);
    assert_string_equal(batch_counts(batch), "waiting 1, message_sent 1");
    assert_string_equal(batch_stands(batch), "running");
    assert_int_equal(ota_tasks_wait(&crowd->fix.core, crowd_task(crowd, 0)), OTA_WAIT_RETRY);
    assert_int_equal(crowd_task(crowd, 0)->up.attempt, 2);
    crowd_run(crowd, 29800);
    assert_string_equal(crowd_stands(crowd, 0), "waiting");
    crowd_run(crowd, 300);
    assert_string_equal(crowd_stands(crowd, 0), "message_sent");
    crowd_fails(crowd, 0, -4); /* that was the only one */
    crowd_run(crowd, 100);
    assert_string_equal(batch_counts(batch), "message_sent 1, failed 1");
    assert_string_equal(batch_stands(batch), "paused failure_threshold");
    crowd_fails(crowd, 1, -1); /* not on the list */
    crowd_run(crowd, 100);
    assert_string_equal(batch_counts(batch), "failed 2");
    batch_check(crowd);
}

/* The reasons are the batch's, also after a restart. */
static void test_retry_on_after_a_restart(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.retry_max = 2;
    (void)snprintf(row.retry_on, sizeof row.retry_on, "-4,-99");
    int64_t id = batch_begin(crowd, 3, &row, NULL, 0)->row.id;
    crowd_restart(crowd, true);
    crowd_connect(crowd, 0, 2);
    crowd_fails(crowd, 0, -99);
    crowd_fails(crowd, 1, -5);
    assert_string_equal(batch_counts(batch_again(crowd, id)),
                        "waiting 1, message_sent 1, failed 1");
    batch_check(crowd);
}

/* --- retryBatch ---------------------------------------------------------------------------------
 */

static void test_retry_of_a_running_batch(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch *batch = begin(crowd, 6);
    crowd_fails(crowd, 0, -4);
    crowd_fails(crowd, 1, -4);
    crowd_fails(crowd, 2, -4);
    crowd_succeeds(crowd, 3);
    batch_cancel_task(crowd, 4);
    crowd_hold(crowd, 1, true);
    (void)fixture_plain_task(&crowd->fix, crowd_device(crowd, 2)); /* busy otherwise */
    crowd_run(crowd, 100);
    int64_t retried = crowd_device(crowd, 0)->last_task;
    assert_int_equal(batch_do(crowd, ota_batches_retry, batch), OTA_OK);
    crowd_run(crowd, 200);
    assert_string_equal(batch_stands(batch), "running");
    assert_string_equal(batch_counts(batch), "message_sent 2, failed 2, succeeded 1, cancelled 1");
    assert_false(batch->row.retrying);
    assert_int_equal(crowd_task(crowd, 0)->id, retried); /* the same task */
    assert_int_equal(crowd_task(crowd, 0)->up.attempt, 2);
    assert_true(history_has(crowd, 0, "attempt 2 asked for"));
    batch_check(crowd);
}

static void test_retry_of_a_finished_batch(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch *batch = begin(crowd, 4);
    crowd_says(crowd, 0, "done");
    crowd_succeeds(crowd, 1);
    crowd_fails(crowd, 2, -4);
    crowd_fails(crowd, 3, -4);
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "finished");
    assert_int_equal(batch_do(crowd, ota_batches_retry, batch), OTA_OK);
    assert_string_equal(batch_stands(batch), "running");
    assert_int_equal(batch->row.finished_at, 0);
    assert_int_equal(crowd->fix.firmware->batches, 1);
    crowd_run(crowd, 200);
    assert_string_equal(batch_counts(batch), "message_sent 2, succeeded 2");
    batch_check(crowd);
    crowd_run(crowd, FIX_TIMEOUT); /* the one without a proof is overdue now */
    assert_string_equal(batch_stands(batch), "finished");
    assert_string_equal(batch_counts(batch), "failed 2, succeeded 2");
    batch_check(crowd);
    assert_int_equal(batch_do(crowd, ota_batches_retry, batch), OTA_OK);
    crowd_run(crowd, 200);
    struct ota_tally tally = ota_batch_tally(batch);
    assert_int_equal(tally.overdue, 1);
    assert_int_equal(ota_tally_in_flight(&tally, OTA_GATE_CONFIRMED), 2);
    batch_check(crowd);
    crowd_reports(crowd, 0, "2.0");
    assert_int_equal(ota_batch_tally(batch).overdue, 0);
    batch_check(crowd);
}

static void test_retry_of_a_batch_without_failures(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch *batch = begin(crowd, 1);
    crowd_succeeds(crowd, 0);
    crowd_run(crowd, 100);
    assert_int_equal(batch_do(crowd, ota_batches_retry, batch), OTA_OK);
    crowd_run(crowd, 200);
    assert_string_equal(batch_stands(batch), "finished");
    assert_true(batch->row.tallied);
    batch_check(crowd);
}

static void test_retry_of_a_paused_batch(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.threshold_percent = 50;
    row.threshold_min = 2;
    struct ota_batch *batch = batch_begin(crowd, 4, &row, NULL, 0);
    crowd_fails(crowd, 0, -4);
    crowd_fails(crowd, 1, -4);
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "paused failure_threshold");
    assert_int_equal(batch_do(crowd, ota_batches_retry, batch), OTA_OK);
    crowd_run(crowd, 200);
    assert_string_equal(batch_stands(batch), "running");
    assert_string_equal(batch_counts(batch), "message_sent 4");
    crowd_fails(crowd, 2, -4);
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "running");
    crowd_fails(crowd, 3, -4); /* the retried ones aren't known any more: these are two */
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "paused failure_threshold");
    batch_check(crowd);
}

/* More than one slice, and with a restart in between. */
static void test_retrying_many(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.gate = OTA_GATE_DONE;
    struct ota_batch *batch = batch_begin(crowd, 450, &row, NULL, 0);
    crowd_run(crowd, 1000);
    assert_string_equal(batch_counts(batch), "message_sent 450");
    for (int i = 0; i < 450; i++) {
        if (i % 10 == 0) {
            crowd_says(crowd, i, "done");
        } else {
            crowd_fails(crowd, i, -4);
        }
    }
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "finished");
    int64_t id = batch->row.id;
    assert_int_equal(batch_do(crowd, ota_batches_retry, batch), OTA_OK);
    fixture_tick(&crowd->fix, 10);
    fixture_tick(&crowd->fix, 10);
    assert_true(batch->row.retrying);
    assert_string_equal(batch_stands(batch), "running");
    int again = 450 - 45 - (int)ota_batch_tally(batch).by_status[OTA_FAILED];
    assert_in_range(again, 150, 200);
    crowd_restart(crowd, true);
    batch = batch_again(crowd, id);
    assert_true(batch->row.retrying);
    batch_check(crowd);
    crowd_run(crowd, 1000);
    assert_string_equal(batch_stands(batch), "running");
    assert_int_equal(ota_batch_tally(batch).by_status[OTA_FAILED], 0);
    assert_int_equal(ota_batch_tally(batch).by_status[OTA_SUCCEEDED], 45);
    batch_check(crowd);
}

/* A continuous batch gives a device up to three tasks; all may have failed, one waits again. */
static void test_retry_where_a_device_failed_twice(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.mode = OTA_MODE_CONTINUOUS;
    struct ota_batch *batch = batch_begin(crowd, 3, &row, NULL, 0);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 3; i++) {
            crowd_fails(crowd, i, -4);
        }
        crowd_run(crowd, 200);
    }
    assert_string_equal(batch_counts(batch), "failed 9");
    assert_int_equal(batch_do(crowd, ota_batches_retry, batch), OTA_OK);
    crowd_run(crowd, 2000);
    assert_false(batch->row.retrying);
    assert_string_equal(batch_counts(batch), "message_sent 3, failed 6");
    assert_int_equal(crowd->fix.core.counters.store_failures, 0);
    assert_false(fake_broker_logged("set aside"));
    batch_check(crowd);
}

/* Who has moved on since the failure is left alone, as when a batch is made: an old batch that is
 * retried must not bring its firmware back. */
static void test_a_retry_takes_nobody_back(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    struct ota_batch *strict = begin(crowd, 3);
    (void)fixture_firmware(&crowd->fix, "3.0"); /* newer than 2.0 */
    for (int i = 0; i < 3; i++) {
        crowd_fails(crowd, i, -4);
    }
    crowd_run(crowd, 100);
    crowd_reports(crowd, 0, "3.0");
    crowd_reports(crowd, 1, "2.0");
    assert_string_equal(batch_counts(strict), "failed 3");
    fake_broker_clear_messages();
    assert_int_equal(batch_do(crowd, ota_batches_retry, strict), OTA_OK);
    crowd_run(crowd, 200);
    assert_string_equal(batch_counts(strict), "message_sent 1, failed 2");
    assert_int_equal(crowd_notices(), 1);
    assert_int_equal(crowd_noticed(crowd, 0), 2);
    batch_check(crowd);

    row.flags = OTA_BATCH_DOWNGRADE | OTA_BATCH_REINSTALL;
    struct ota_batch *both = batch_start(crowd, &row, "{\"devices\":[\"m0\",\"m1\"]}", NULL, 0);
    crowd_run(crowd, 200);
    crowd_fails(crowd, 0, -4);
    crowd_fails(crowd, 1, -4);
    crowd_run(crowd, 100);
    assert_string_equal(batch_counts(both), "failed 2");
    assert_int_equal(batch_do(crowd, ota_batches_retry, both), OTA_OK);
    crowd_run(crowd, 200);
    assert_string_equal(batch_counts(both), "message_sent 2");
    batch_check(crowd);
}

static void test_retry_needs_the_firmware(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch *batch = begin(crowd, 1);
    crowd_fails(crowd, 0, -4);
    crowd_run(crowd, 100);
    assert_int_equal(ota_core_begin(&crowd->fix.core, NULL), OTA_OK);
    assert_int_equal(ota_firmware_remove(&crowd->fix.core, crowd->fix.firmware, NULL), OTA_OK);
    assert_int_equal(ota_core_commit(&crowd->fix.core, NULL), OTA_OK);
    assert_int_equal(batch_do(crowd, ota_batches_retry, batch), OTA_CONFLICT);
    assert_int_equal(batch_retry_task(crowd, crowd_device(crowd, 0)->last_task), OTA_CONFLICT);
    batch_check(crowd);
}

/* --- retryTask ----------------------------------------------------------------------------------
 */

static void test_retry_of_one_task_of_a_finished_batch(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch *batch = begin(crowd, 5);
    crowd_says(crowd, 0, "done");
    crowd_succeeds(crowd, 1);
    crowd_fails(crowd, 2, -4);
    crowd_fails(crowd, 3, -4);
    batch_cancel_task(crowd, 4);
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "finished");
    assert_int_equal(batch_retry_task(crowd, crowd_device(crowd, 2)->last_task), OTA_OK);
    assert_string_equal(batch_stands(batch), "running");
    crowd_run(crowd, 200);
    assert_string_equal(batch_counts(batch),
                        "message_sent 1, failed 1, succeeded 2, cancelled 1"); /* that one alone */
    assert_false(batch->row.retrying);
    batch_check(crowd);
    assert_int_equal(batch_retry_task(crowd, crowd_device(crowd, 4)->last_task), OTA_OK);
    crowd_run(crowd, 200);
    crowd_succeeds(crowd, 2);
    crowd_run(crowd, FIX_TIMEOUT); /* m0 is overdue, m4 times out */
    assert_string_equal(batch_stands(batch), "finished");
    assert_string_equal(batch_counts(batch), "failed 2, succeeded 3");
    batch_check(crowd);
    assert_int_equal(batch_do(crowd, ota_batches_retry, batch), OTA_OK);
    crowd_run(crowd, 200);
    assert_string_equal(batch_counts(batch), "message_sent 2, succeeded 3"); /* now all */
    batch_check(crowd);
}

/* --- other hands --------------------------------------------------------------------------------
 */

/* The old task is cancelled in its batch, never a failure there. */
static void test_override(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.threshold_percent = 1;
    row.threshold_min = 1;
    struct ota_batch *old = batch_begin(crowd, 4, &row, NULL, 0);
    row = batch_row(crowd);
    struct ota_batch *polite = batch_start(crowd, &row, NULL, NULL, 0);
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(polite), "finished");
    assert_int_equal(polite->row.excluded[OTA_EXCLUDED_BUSY], 4);
    row.flags = OTA_BATCH_OVERRIDE;
    crowd_succeeds(crowd, 3);
    fake_broker_clear_messages();
    struct ota_batch *second = batch_start(crowd, &row, "{\"notVersions\":[\"2.0\"]}", NULL, 0);
    crowd_run(crowd, 200);
    assert_string_equal(batch_counts(old), "succeeded 1, cancelled 3");
    assert_string_equal(batch_stands(old), "finished");
    assert_string_equal(batch_counts(second), "message_sent 3");
    assert_int_equal(cancels(), 3);
    batch_check(crowd);
}

static void test_a_hold_in_line(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.max_in_flight = 1;
    struct ota_batch *batch = batch_begin(crowd, 3, &row, NULL, 0);
    int waiting = 0;
    while (strcmp(crowd_stands(crowd, waiting), "waiting") != 0) {
        waiting++;
    }
    crowd_hold(crowd, waiting, true);
    assert_int_equal(ota_tasks_wait(&crowd->fix.core, crowd_task(crowd, waiting)), OTA_WAIT_HELD);
    crowd_run(crowd, FIX_TIMEOUT * 3);
    assert_string_equal(batch_counts(batch), "waiting 1, failed 2");
    batch_check(crowd);
    crowd_hold(crowd, waiting, false);
    crowd_run(crowd, 200);
    assert_string_equal(batch_counts(batch), "message_sent 1, failed 2");
    batch_check(crowd);
}

/* total and the counts are of tasks that exist. */
static void test_a_device_that_is_deleted_leaves(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch *batch = begin(crowd, 6);
    crowd_succeeds(crowd, 0);
    crowd_says(crowd, 1, "done");
    crowd_fails(crowd, 2, -4);
    assert_int_equal(crowd_delete(crowd, 1), OTA_OK); /* while the batch runs */
    assert_string_equal(batch_counts(batch), "message_sent 3, failed 1, succeeded 1");
    batch_check(crowd);
    crowd_run(crowd, FIX_TIMEOUT + 200);
    assert_string_equal(batch_counts(batch), "failed 4, succeeded 1");
    assert_true(batch->row.tallied);
    assert_int_equal(crowd_delete(crowd, 0), OTA_OK); /* when it is settled */
    assert_int_equal(crowd_delete(crowd, 3), OTA_OK);
    assert_string_equal(batch_counts(batch), "failed 3");
    batch_check(crowd);
    int64_t id = batch->row.id;
    crowd_restart(crowd, true);
    assert_string_equal(batch_counts(batch_again(crowd, id)), "failed 3");
    batch_check(crowd);
}

static void test_a_device_with_several_tasks_leaves(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.mode = OTA_MODE_CONTINUOUS;
    struct ota_batch *batch = batch_begin(crowd, 2, &row, NULL, 0);
    for (int round = 0; round < 3; round++) {
        crowd_fails(crowd, 0, -4);
        crowd_fails(crowd, 1, -4);
        crowd_run(crowd, 200);
    }
    assert_int_equal(batch_do(crowd, batch_cancel, batch), OTA_OK);
    crowd_run(crowd, 100);
    assert_string_equal(batch_counts(batch), "failed 6");
    assert_int_equal(crowd_delete(crowd, 0), OTA_OK);
    assert_string_equal(batch_counts(batch), "failed 3");
    batch_check(crowd); /* what is stored, too */
}

static void test_deleting_is_rolled_back_whole(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch *batch = begin(crowd, 2);
    crowd_fails(crowd, 0, -4);
    crowd_fails(crowd, 1, -4);
    crowd_run(crowd, 100);
    for (int n = 1; n <= 2; n++) { /* the stage, the commit */
        fixture_fail_write(n);
        assert_int_equal(ota_core_begin(&crowd->fix.core, NULL), OTA_OK);
        enum ota_err err = ota_devices_remove(&crowd->fix.core, crowd_device(crowd, 0), NULL);
        err = err == OTA_OK ? ota_core_commit(&crowd->fix.core, NULL) : err;
        assert_int_equal(err, OTA_UNAVAILABLE);
        ota_core_rollback(&crowd->fix.core);
        assert_string_equal(batch_counts(batch), "failed 2");
        batch_check(crowd);
    }
}

static enum ota_err remove_firmware(struct crowd *crowd, struct ota_error *error)
{
    assert_int_equal(ota_core_begin(&crowd->fix.core, NULL), OTA_OK);
    enum ota_err err = ota_firmware_remove(&crowd->fix.core, crowd->fix.firmware, error);
    ota_core_rollback(&crowd->fix.core);
    return err;
}

static void test_firmware_that_a_batch_names(void **state)
{
    struct crowd *crowd = *state;
    crowd_add(crowd, 3, "1.0");
    for (int j = 0; j < OTA_BATCH_STATE_COUNT; j++) {
        struct ota_error error = {0};
        struct ota_batch *batch = in_state(crowd, (enum ota_batch_state)j);
        int64_t id = batch->row.id;
        if (j >= OTA_BATCH_CANCELLED) {
            crowd_run(crowd, 100);
        }
        for (int restarts = 0; restarts < 2; restarts++) {
            assert_int_equal(remove_firmware(crowd, &error),
                             j >= OTA_BATCH_CANCELLED ? OTA_OK : OTA_CONFLICT);
            crowd_restart(crowd, true);
        }
        batch = batch_again(crowd, id);
        if (!ota_batch_is_over(batch)) {
            assert_non_null(strstr(error.text, "batch"));
            assert_int_equal(batch_do(crowd, batch_cancel_all, batch), OTA_OK);
            crowd_run(crowd, 200);
        }
    }
}

static void test_a_product_goes_with_its_batches(void **state)
{
    struct crowd *crowd = *state;
    crowd_add(crowd, 3, "1.0");
    for (int j = 0; j < OTA_BATCH_STATE_COUNT; j++) {
        if (j != OTA_BATCH_PREPARING && j != OTA_BATCH_RUNNING && j != OTA_BATCH_PAUSED) {
            (void)in_state(crowd, (enum ota_batch_state)j);
        }
    }
    crowd_run(crowd, 200);
    batch_check(crowd);
    assert_int_equal(ota_core_begin(&crowd->fix.core, NULL), OTA_OK);
    assert_int_equal(ota_product_doom(crowd->fix.core.store, crowd->fix.product->id, NULL), OTA_OK);
    assert_int_equal(ota_core_commit(&crowd->fix.core, NULL), OTA_OK);
    ota_fleet_doom_product(&crowd->fix.core.fleet, crowd->fix.product);
    ota_dispatch_purge_soon(&crowd->fix.dispatch);
    assert_int_equal(crowd->fix.core.fleet.live_count, 0);
    assert_null(ota_fleet_batch(&crowd->fix.core.fleet, 1));
    fake_broker_clear_messages();
    crowd_run(crowd, 2 * HOUR_MS / 100); /* nobody starts any more */
    assert_int_equal(fake_broker_message_count(), 0);
    assert_int_equal(crowd->fix.core.counters.store_failures, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, crowd_setup, crowd_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_allowed_when),
        TEST(test_a_draft_for_nobody_is_not_started),
        TEST(test_at_most_a_thousand_that_are_not_over),
        TEST(test_a_pause_stops_first_notices),
        TEST(test_a_paused_batch_whose_last_task_ends),
        TEST(test_start_at),
        TEST(test_a_scheduled_one_that_is_paused),
        TEST(test_a_draft_with_a_start),
        TEST(test_expiry),
        TEST(test_expiry_in_any_state),
        TEST(test_expiry_amid_preparing),
        TEST(test_a_paused_one_that_expires),
        TEST(test_cancel_after_expiry),
        TEST(test_cancel_lets_those_under_way_finish),
        TEST(test_cancel_all),
        TEST(test_cancelling_many_takes_slices),
        TEST(test_a_retry_is_no_failure),
        TEST(test_retry_on_after_a_restart),
        TEST(test_retry_of_a_running_batch),
        TEST(test_retry_of_a_finished_batch),
        TEST(test_retry_of_a_batch_without_failures),
        TEST(test_retry_of_a_paused_batch),
        TEST(test_retrying_many),
        TEST(test_retry_where_a_device_failed_twice),
        TEST(test_a_retry_takes_nobody_back),
        TEST(test_retry_needs_the_firmware),
        TEST(test_retry_of_one_task_of_a_finished_batch),
        TEST(test_override),
        TEST(test_a_hold_in_line),
        TEST(test_a_device_that_is_deleted_leaves),
        TEST(test_a_device_with_several_tasks_leaves),
        TEST(test_deleting_is_rolled_back_whole),
        TEST(test_firmware_that_a_batch_names),
        TEST(test_a_product_goes_with_its_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
