/* SPDX-License-Identifier: BSD-3-Clause */
/* A batch from its start to its end: notices in order, stages, gates, thresholds,
 * and what admins may do when. Time is the test's. */
#include "batch_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/broker.h"
#include "../../plugin/presence.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static struct ota_batch *begin(struct crowd *crowd, int count)
{
    struct ota_batch_row row = batch_row(crowd);
    return batch_begin(crowd, count, &row, NULL, 0);
}

/* The devices of the crowd in the order of the batch. */
static void in_order(const struct crowd *crowd, const struct ota_batch *batch, int *order)
{
    for (int i = 0; i < crowd->count; i++) {
        uint64_t key = ota_rollout_key(batch->row.id, crowd_device(crowd, i)->id);
        int at = i;
        while (at > 0 &&
               ota_rollout_key(batch->row.id, crowd_device(crowd, order[at - 1])->id) > key) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = i;
    }
}

/* What listeners were told of the batch since the last clearing: "preparing;running". */
static const char *news(const struct ota_batch *batch)
{
    static char text[400];
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < fake_broker_message_count(); i++) {
        const struct fake_message *message = fake_broker_message(i);
        json_t *root = json_loadb(message->payload, message->len, 0, NULL);
        const char *reason = json_string_value(json_object_get(root, "reason"));
        if (strcmp(message->topic, NEWS) == 0 &&
            json_integer_value(json_object_get(root, "batch")) == batch->row.id) {
            used +=
                (size_t)snprintf(text + used, sizeof text - used, "%s%s%s%s", used > 0 ? ";" : "",
                                 json_string_value(json_object_get(root, "state")),
                                 reason != NULL ? " " : "", reason != NULL ? reason : "");
        }
        json_decref(root);
    }
    return text;
}

/* --- the whole way ------------------------------------------------------------------------------
 */

static void test_the_whole_way(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch *batch = begin(crowd, 10);
    assert_string_equal(batch_stands(batch), "running");
    assert_string_equal(batch_counts(batch), "message_sent 10");
    assert_string_equal(news(batch), "preparing;running");
    assert_int_equal(batch->row.started_at, ota_now_unix() - 100);
    assert_int_equal(crowd_notices(), 10);
    assert_int_equal(crowd->fix.firmware->batches, 1);
    for (int i = 0; i < 10; i++) {
        crowd_says(crowd, i, "downloading");
        assert_string_equal(crowd_stands(crowd, i), "downloading");
        crowd_says(crowd, i, "done");
    }
    assert_string_equal(batch_counts(batch), "succeeded 10");
    assert_string_equal(batch_stands(batch), "running");
    crowd_run(crowd, 100); /* every status is final; proofs may still come */
    assert_string_equal(batch_stands(batch), "finished");
    assert_string_equal(news(batch), "preparing;running;finished");
    assert_int_equal(batch->row.finished_at, ota_now_unix());
    assert_true(batch->row.tallied);
    assert_int_equal(crowd->fix.firmware->batches, 0);
    assert_int_equal(ota_batch_tally(batch).confirmed, 0);
    crowd_reports(crowd, 3, "2.0");
    crowd_reports(crowd, 4, "1.0");
    struct ota_tally tally = ota_batch_tally(batch);
    assert_int_equal(tally.confirmed, 1);
    assert_int_equal(tally.contradicted, 1);
    batch_check(crowd);
    crowd_restart(crowd, true);
    tally = ota_batch_tally(batch_again(crowd, 1));
    assert_int_equal(tally.confirmed, 1);
    assert_int_equal(tally.contradicted, 1);
    batch_check(crowd);
}

static void test_nobody_matches(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    struct ota_batch *batch = batch_start(crowd, &row, NULL, NULL, 0);
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "finished");
    assert_string_equal(news(batch), "preparing;running;finished");
    batch_check(crowd);
}

static void test_notices_go_in_the_order_of_the_batch(void **state)
{
    struct crowd *crowd = *state;
    int order[40];
    struct ota_batch *batch = begin(crowd, 40);
    in_order(crowd, batch, order);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(crowd_noticed(crowd, i), order[i]);
    }
    assert_int_equal(crowd_notices(), 40);
}

/* A device that only subscribed gets three seconds to report; then it is its turn. */
static void test_grace_and_then_the_line(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch *batch = begin(crowd, 2);
    crowd_disconnect(crowd, 0, 1);
    crowd_add(crowd, 1, "1.0");
    struct ota_batch_row row = batch_row(crowd);
    struct ota_batch *second = batch_start(crowd, &row, "{\"devices\":[\"m2\"]}", NULL, 0);
    crowd_run(crowd, 100);
    assert_string_equal(batch_counts(second), "waiting 1");
    assert_int_equal(ota_batch_tally(second).online, 0);
    ota_presence_sign(&crowd->fix.core, &crowd->clients[2], crowd_device(crowd, 2),
                      OTA_SIGN_SUBSCRIBED);
    assert_int_equal(ota_batch_tally(second).online, 1);
    crowd_run(crowd, 2800);
    assert_string_equal(batch_counts(second), "waiting 1");
    batch_check(crowd);
    crowd_run(crowd, 300);
    assert_string_equal(batch_counts(second), "message_sent 1");
    assert_string_equal(batch_counts(batch), "message_sent 2");
    batch_check(crowd);
}

static void test_a_version_report_ends_a_waiting_task(void **state)
{
    struct crowd *crowd = *state;
    crowd_add(crowd, 2, "1.0");
    struct ota_batch_row row = batch_row(crowd);
    struct ota_batch *batch = batch_start(crowd, &row, NULL, NULL, 0);
    crowd_run(crowd, 100);
    crowd_reports(crowd, 0, "2.0"); /* somebody was there with a cable */
    assert_string_equal(crowd_stands(crowd, 0), "succeeded confirmed");
    assert_int_equal(crowd_notices(), 0);
    crowd_reports(crowd, 1, "2.0");
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "finished");
    batch_check(crowd);
}

/* --- places in flight ---------------------------------------------------------------------------
 */

static void test_max_in_flight(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    int order[10];
    row.max_in_flight = 3;
    struct ota_batch *batch = batch_begin(crowd, 10, &row, NULL, 0);
    in_order(crowd, batch, order);
    assert_string_equal(batch_counts(batch), "waiting 7, message_sent 3");
    struct ota_task *waiting = crowd_task(crowd, order[3]);
    assert_int_equal(ota_tasks_wait(&crowd->fix.core, waiting), OTA_WAIT_IN_FLIGHT);
    crowd_run(crowd, 20000); /* repeated notices are nobody else's turn */
    assert_string_equal(batch_counts(batch), "waiting 7, message_sent 3");
    crowd_disconnect(crowd, order[0], order[0]); /* keeps its place */
    crowd_says(crowd, order[1], "done");         /* so does what isn't proved */
    crowd_run(crowd, 1000);
    assert_string_equal(batch_counts(batch), "waiting 7, message_sent 2, succeeded 1");
    crowd_reports(crowd, order[1], "2.0");
    crowd_fails(crowd, order[2], -4);
    crowd_run(crowd, 100);
    assert_string_equal(batch_counts(batch), "waiting 5, message_sent 3, failed 1, succeeded 1");
    assert_string_equal(crowd_stands(crowd, order[3]), "message_sent");
    assert_string_equal(crowd_stands(crowd, order[4]), "message_sent");
    crowd_run(crowd, FIX_TIMEOUT); /* all three time out, and three more go, and … */
    assert_int_equal(ota_batch_tally(batch).by_status[OTA_FAILED], 4);
    batch_check(crowd);
}

static void test_a_done_one_frees_its_place_under_done(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    int order[4];
    row.max_in_flight = 1;
    row.gate = OTA_GATE_DONE;
    struct ota_batch *batch = batch_begin(crowd, 4, &row, NULL, 0);
    in_order(crowd, batch, order);
    crowd_says(crowd, order[0], "done");
    crowd_run(crowd, 100);
    assert_string_equal(batch_counts(batch), "waiting 2, message_sent 1, succeeded 1");
}

/* One that doesn't prove its success in time frees its place, as the failure that it is. */
static void test_an_overdue_one_frees_its_place(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    int order[4];
    row.max_in_flight = 1;
    struct ota_batch *batch = batch_begin(crowd, 4, &row, NULL, 0);
    in_order(crowd, batch, order);
    crowd_says(crowd, order[0], "done");
    crowd_run(crowd, FIX_TIMEOUT - 100);
    assert_string_equal(batch_counts(batch), "waiting 3, succeeded 1");
    crowd_run(crowd, 200);
    assert_string_equal(batch_counts(batch), "waiting 2, message_sent 1, succeeded 1");
    struct ota_tally tally = ota_batch_tally(batch);
    assert_int_equal(ota_tally_failures(&tally, OTA_GATE_CONFIRMED), 1);
    batch_check(crowd);
    crowd_reports(crowd, order[0], "2.0"); /* pending → confirmed, at any time */
    tally = ota_batch_tally(batch);
    assert_int_equal(ota_tally_failures(&tally, OTA_GATE_CONFIRMED), 0);
    assert_int_equal(tally.confirmed, 1);
    batch_check(crowd);
}

static void test_fewer_places_than_are_taken(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.max_in_flight = 5;
    struct ota_batch *batch = batch_begin(crowd, 8, &row, NULL, 0);
    batch->row.max_in_flight = 2; /* updateBatch */
    for (int i = 0, failed = 0; failed < 3; i++) {
        if (strcmp(crowd_stands(crowd, i), "message_sent") == 0) {
            crowd_fails(crowd, i, -4);
            failed++;
            crowd_run(crowd, 100);
        }
    }
    assert_string_equal(batch_counts(batch), "waiting 3, message_sent 2, failed 3");
}

/* --- stages -------------------------------------------------------------------------------------
 */

/* 2, 10 and 20 of 20. */
static const struct ota_stage three[] = {{.count = 2, .min_success_percent = 90},
                                         {.percent = 50, .min_success_percent = 60},
                                         {.percent = 100, .min_success_percent = 90}};

/* How the stages stand: "passed;open;waiting". */
static const char *stages_stand(const struct ota_batch *batch)
{
    static char text[200];
    size_t used = 0;
    for (size_t i = 0; i < batch->stage_count; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i > 0 ? ";" : "",
                                 ota_stage_state_name(batch->stages[i].state));
    }
    return text;
}

static void test_one_stage_after_the_other(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    int order[20];
    struct ota_batch *batch = batch_begin(crowd, 20, &row, three, 3);
    in_order(crowd, batch, order);
    assert_string_equal(stages_stand(batch), "open;waiting;waiting");
    assert_string_equal(batch_stage_counts(batch, 0), "message_sent 2");
    assert_string_equal(batch_stage_counts(batch, 1), "waiting 8");
    assert_string_equal(batch_stage_counts(batch, 2), "waiting 10");
    assert_int_equal(batch->stages[0].opened_at, ota_now_unix());
    assert_int_equal(batch->stages[1].opened_at, 0);
    assert_int_equal(crowd_noticed(crowd, 0), order[0]);
    assert_int_equal(crowd_noticed(crowd, 1), order[1]);
    assert_int_equal(ota_tasks_wait(&crowd->fix.core, crowd_task(crowd, order[2])), OTA_WAIT_STAGE);
    crowd_succeeds(crowd, order[0]);
    crowd_says(crowd, order[1], "done");
    crowd_run(crowd, 1000);
    assert_string_equal(stages_stand(batch), "open;waiting;waiting"); /* one isn't proved */
    crowd_reports(crowd, order[1], "2.0");
    crowd_run(crowd, 100);
    assert_string_equal(stages_stand(batch), "passed;open;waiting");
    crowd_run(crowd, 100);
    assert_string_equal(batch_stage_counts(batch, 1), "message_sent 8");
    assert_string_equal(batch_stage_counts(batch, 2), "waiting 10");
    for (int i = 2; i < 6; i++) {
        crowd_succeeds(crowd, order[i]);
    }
    crowd_run(crowd, 1000);
    assert_string_equal(stages_stand(batch), "passed;open;waiting"); /* 5 of 8 are needed */
    crowd_succeeds(crowd, order[6]);
    crowd_run(crowd, 200);
    assert_string_equal(stages_stand(batch), "passed;passed;open");
    assert_string_equal(batch_stage_counts(batch, 2), "message_sent 10");
    batch_check(crowd);
    for (int i = 7; i < 20; i++) {
        crowd_succeeds(crowd, order[i]);
    }
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "finished");
    batch_check(crowd);
}

static void test_openings_are_told(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    int order[20];
    struct ota_batch *batch = batch_begin(crowd, 20, &row, three, 3);
    in_order(crowd, batch, order);
    fake_broker_clear_messages();
    crowd_succeeds(crowd, order[0]);
    crowd_succeeds(crowd, order[1]);
    fake_broker_clear_messages();
    crowd_run(crowd, 100);
    json_t *event = fixture_last(NEWS);
    assert_int_equal(json_integer_value(json_object_get(event, "openStages")), 2);
    assert_string_equal(json_string_value(json_object_get(event, "type")), "batch");
    assert_int_equal(json_integer_value(json_object_get(event, "at")), ota_now_unix());
    json_decref(event);
    assert_string_equal(news(batch), "running");
}

static void test_soak(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    struct ota_stage stages[3];
    int order[20];
    memcpy(stages, three, sizeof stages);
    stages[0].soak_ms = 60000;
    struct ota_batch *batch = batch_begin(crowd, 20, &row, stages, 3);
    in_order(crowd, batch, order);
    crowd_succeeds(crowd, order[0]);
    crowd_run(crowd, 30000);
    crowd_succeeds(crowd, order[1]);
    crowd_run(crowd, 100);
    int64_t passed = batch->stages[0].passed_ms;
    assert_int_equal(passed, crowd->fix.core.service_ms);
    crowd_run(crowd, 30000);
    assert_string_equal(stages_stand(batch), "open;waiting;waiting");
    crowd_reports(crowd, order[1], "1.0"); /* it rolled back: both of two are needed */
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "paused stage_gate");
    crowd_reports(crowd, order[1], "2.0");
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "paused stage_gate"); /* an admin lets it go on */
    assert_string_equal(stages_stand(batch), "open;waiting;waiting");
    batch_check(crowd);
}

/* The soak begins anew where the successes fell below what is needed. */
static void test_the_soak_begins_anew(void **state)
{
    static const struct ota_stage stages[] = {
        {.count = 10, .min_success_percent = 50, .soak_ms = 60000}, {.percent = 100}};
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    int order[20];
    struct ota_batch *batch = batch_begin(crowd, 20, &row, stages, 2);
    in_order(crowd, batch, order);
    for (int i = 0; i < 5; i++) {
        crowd_succeeds(crowd, order[i]);
    }
    crowd_run(crowd, 50000);
    assert_int_not_equal(batch->stages[0].passed_ms, 0);
    crowd_reports(crowd, order[0], "1.0");
    crowd_run(crowd, 100);
    assert_int_equal(batch->stages[0].passed_ms, 0);
    crowd_succeeds(crowd, order[5]);
    crowd_run(crowd, 59900);
    assert_string_equal(stages_stand(batch), "open;waiting");
    crowd_run(crowd, 200);
    assert_string_equal(stages_stand(batch), "passed;open");
    batch_check(crowd);
}

static void test_a_restart_does_not_shorten_a_soak(void **state)
{
    static const struct ota_stage stages[] = {
        {.count = 1, .min_success_percent = 100, .soak_ms = 60000}, {.percent = 100}};
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    int order[4];
    struct ota_batch *batch = batch_begin(crowd, 4, &row, stages, 2);
    int64_t id = batch->row.id;
    in_order(crowd, batch, order);
    crowd_succeeds(crowd, order[0]);
    crowd_run(crowd, 30000);
    crowd_restart(crowd, false);
    fake_broker_advance(86400000); /* a day off */
    fixture_tick(&crowd->fix, 0);  /* counts as a second */
    crowd_run(crowd, 28800);
    batch = batch_again(crowd, id);
    assert_string_equal(stages_stand(batch), "open;waiting");
    crowd_run(crowd, 300);
    assert_string_equal(stages_stand(batch), "passed;open");
}

static void test_a_manual_stage(void **state)
{
    static const struct ota_stage stages[] = {
        {.count = 1, .min_success_percent = 90, .manual = true}, {.percent = 100}};
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    int order[4];
    struct ota_batch *batch = batch_begin(crowd, 4, &row, stages, 2);
    in_order(crowd, batch, order);
    crowd_succeeds(crowd, order[0]);
    crowd_run(crowd, 600000);
    assert_string_equal(stages_stand(batch), "open;waiting");
    assert_string_equal(batch_stands(batch), "running");
    assert_int_equal(batch_do(crowd, ota_batches_advance, batch), OTA_OK);
    assert_string_equal(stages_stand(batch), "passed;open");
    crowd_run(crowd, 100);
    assert_string_equal(batch_counts(batch), "message_sent 3, succeeded 1");
    assert_int_equal(batch_do(crowd, ota_batches_advance, batch), OTA_CONFLICT); /* none is left */
}

static void test_more_stages_than_devices(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    struct ota_batch *batch = batch_begin(crowd, 1, &row, three, 3);
    assert_string_equal(batch_stage_counts(batch, 0), "message_sent 1");
    crowd_succeeds(crowd, 0);
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "finished");
    batch_check(crowd);
}

/* --- gates --------------------------------------------------------------------------------------
 */

static void test_a_stage_gate_pauses_and_resume_opens(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    int order[20];
    struct ota_batch *batch = batch_begin(crowd, 20, &row, three, 3);
    in_order(crowd, batch, order);
    fake_broker_clear_messages();
    crowd_fails(crowd, order[0], -4); /* both of two are needed */
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "paused stage_gate");
    assert_string_equal(news(batch), "paused stage_gate");
    crowd_run(crowd, 60000);
    assert_string_equal(batch_counts(batch), "waiting 18, message_sent 1, failed 1");
    assert_int_equal(batch_do(crowd, ota_batches_resume, batch), OTA_OK);
    assert_string_equal(batch_stands(batch), "running");
    assert_string_equal(stages_stand(batch), "passed;open;waiting");
    crowd_run(crowd, 200);
    assert_string_equal(batch_stage_counts(batch, 1), "message_sent 8");
    assert_string_equal(batch_stands(batch), "running"); /* the first stage's gate is behind it */
    batch_check(crowd);
}

static void test_resume_after_an_admins_pause_opens_nothing(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    struct ota_batch *batch = batch_begin(crowd, 20, &row, three, 3);
    assert_int_equal(batch_do(crowd, ota_batches_pause, batch), OTA_OK);
    assert_int_equal(batch_do(crowd, ota_batches_resume, batch), OTA_OK);
    crowd_run(crowd, 1000);
    assert_string_equal(stages_stand(batch), "open;waiting;waiting");
}

static void test_advance_out_of_a_pause(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    struct ota_batch *batch = batch_begin(crowd, 20, &row, three, 3);
    assert_int_equal(batch_do(crowd, ota_batches_pause, batch), OTA_OK);
    crowd_run(crowd, 1000);
    assert_int_equal(batch_do(crowd, ota_batches_advance, batch), OTA_OK);
    assert_string_equal(batch_stands(batch), "running");
    assert_string_equal(stages_stand(batch), "passed;open;waiting");
    crowd_run(crowd, 100);
    assert_string_equal(batch_counts(batch), "waiting 10, message_sent 10");
    /* on a running batch it leaves the counts alone */
    batch->row.known_failures = 0;
    for (int i = 0; i < 20; i++) {
        if (strcmp(crowd_stands(crowd, i), "message_sent") == 0) {
            crowd_fails(crowd, i, -4);
            break;
        }
    }
    assert_int_equal(batch_do(crowd, ota_batches_advance, batch), OTA_OK);
    assert_int_equal(batch->row.known_failures, 0);
    batch_check(crowd);
}

/* A gate that cancellations made unreachable is no failure: it waits for an admin. */
static void test_cancelled_tasks_pause_nothing(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    int order[20];
    struct ota_batch *batch = batch_begin(crowd, 20, &row, three, 3);
    in_order(crowd, batch, order);
    batch_cancel_task(crowd, order[0]);
    batch_cancel_task(crowd, order[1]);
    crowd_run(crowd, 60000);
    assert_string_equal(batch_stands(batch), "running");
    assert_string_equal(stages_stand(batch), "open;waiting;waiting");
    assert_int_equal(batch_do(crowd, ota_batches_advance, batch), OTA_OK);
    crowd_run(crowd, 100);
    assert_string_equal(batch_stage_counts(batch, 1), "message_sent 8");
}

static void test_a_fleet_that_is_often_off(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    int order[20];
    struct ota_batch *batch = batch_begin(crowd, 20, &row, three, 3);
    in_order(crowd, batch, order);
    crowd_disconnect(crowd, 0, 19);
    crowd_run(crowd, 600000); /* those that were told time out; the others never failed */
    assert_string_equal(batch_stage_counts(batch, 0), "failed 2");
    assert_string_equal(batch_stands(batch), "paused stage_gate");
    assert_string_equal(batch_stage_counts(batch, 2), "waiting 10");
}

/* --- the failure threshold ----------------------------------------------------------------------
 */

static void test_failure_threshold(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.threshold_percent = 50;
    row.threshold_min = 4;
    row.max_in_flight = 6;
    int order[20];
    struct ota_batch *batch = batch_begin(crowd, 20, &row, NULL, 0);
    in_order(crowd, batch, order);
    fake_broker_clear_messages();
    crowd_fails(crowd, order[0], -4);
    crowd_fails(crowd, order[1], -4);
    crowd_succeeds(crowd, order[2]);
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "running"); /* three of at least four */
    crowd_says(crowd, order[3], "done");
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "running"); /* done isn't confirmed */
    crowd_reports(crowd, order[3], "2.0");
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "paused failure_threshold");
    assert_string_equal(news(batch), "paused failure_threshold");
    int told = crowd_notices();
    crowd_run(crowd, 5000);
    assert_int_equal(crowd_notices(), told);
    crowd_succeeds(crowd, order[4]); /* devices under way go on */
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "paused failure_threshold");
    batch_check(crowd);
    /* resume: both counts begin at zero */
    assert_int_equal(batch_do(crowd, ota_batches_resume, batch), OTA_OK);
    assert_int_equal(batch->row.known_failures, 2);
    assert_int_equal(batch->row.known_successes, 3);
    crowd_run(crowd, 100);
    for (int i = 5; i < 8; i++) {
        assert_string_equal(batch_stands(batch), "running");
        crowd_fails(crowd, order[i], -4);
        crowd_run(crowd, 100);
    }
    assert_string_equal(batch_stands(batch), "running");
    crowd_fails(crowd, order[8], -4);
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "paused failure_threshold");
    batch_check(crowd);
}

static void test_contradictions_and_overdue_ones_meet_the_threshold(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.threshold_percent = 100;
    row.threshold_min = 2;
    struct ota_batch *batch = batch_begin(crowd, 2, &row, NULL, 0);
    int64_t id = batch->row.id;
    assert_int_equal(batch_do(crowd, batch_cancel_all, batch), OTA_OK);
    crowd_add(crowd, 1, "1.0"); /* never there */
    crowd_run(crowd, 1000);
    batch = batch_start(crowd, &row, NULL, NULL, 0);
    assert_int_not_equal(batch->row.id, id);
    crowd_run(crowd, 100);
    crowd_says(crowd, 0, "done");
    crowd_says(crowd, 1, "done");
    crowd_reports(crowd, 1, "1.0");
    crowd_run(crowd, FIX_TIMEOUT - 200);
    assert_string_equal(batch_counts(batch), "waiting 1, succeeded 2");
    assert_string_equal(batch_stands(batch), "running");
    crowd_run(crowd, 300);
    assert_string_equal(batch_stands(batch), "paused failure_threshold");
    batch_check(crowd);
}

static void test_threshold_under_done(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.threshold_percent = 50;
    row.threshold_min = 2;
    row.gate = OTA_GATE_DONE;
    struct ota_batch *batch = batch_begin(crowd, 10, &row, NULL, 0);
    crowd_says(crowd, 0, "done");
    crowd_reports(crowd, 0, "1.0"); /* no failure there */
    crowd_says(crowd, 1, "done");
    crowd_reports(crowd, 1, "1.0");
    crowd_fails(crowd, 2, -4);
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "running");
    crowd_fails(crowd, 3, -4);
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "paused failure_threshold");
}

/* A known failure that is none any more hides no new one. */
static void test_a_known_failure_that_goes_away(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.threshold_percent = 100;
    row.threshold_min = 2;
    struct ota_batch *batch = batch_begin(crowd, 10, &row, NULL, 0);
    crowd_says(crowd, 0, "downloading"); /* until its time is out */
    crowd_says(crowd, 1, "downloading");
    for (int i = 2; i < 10; i++) {
        batch_cancel_task(crowd, i);
    }
    crowd_run(crowd, FIX_TIMEOUT + 200);
    assert_string_equal(batch_counts(batch), "failed 2, cancelled 8");
    assert_string_equal(batch_stands(batch), "finished"); /* too late for a pause */
    assert_int_equal(batch_do(crowd, ota_batches_retry, batch), OTA_OK);
    crowd_run(crowd, 200);
    assert_string_equal(batch_counts(batch), "message_sent 2, cancelled 8");
    crowd_fails(crowd, 0, -4);
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "running");
    assert_int_equal(batch_retry_task(crowd, crowd_device(crowd, 2)->last_task), OTA_OK);
    crowd_fails(crowd, 1, -4);
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "paused failure_threshold");
    assert_int_equal(batch_do(crowd, ota_batches_resume, batch), OTA_OK);
    assert_int_equal(batch->row.known_failures, 2);
    assert_int_equal(batch_retry_task(crowd, crowd_device(crowd, 0)->last_task), OTA_OK);
    crowd_run(crowd, 200);
    assert_int_equal(batch->row.known_failures, 1);
    crowd_fails(crowd, 0, -4);
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "running"); /* one new one of at least two */
    crowd_fails(crowd, 2, -4);
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "finished");
    batch_check(crowd);
}

static void test_late_truth_is_no_failure(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch *batch = begin(crowd, 3);
    crowd_says(crowd, 0, "burning");
    crowd_run(crowd, FIX_TIMEOUT + 100);
    assert_string_equal(batch_counts(batch), "failed 3");
    assert_string_equal(batch_stands(batch), "finished");
    crowd_says(crowd, 0, "done"); /* it was only slow */
    assert_string_equal(batch_counts(batch), "failed 2, succeeded 1");
    crowd_reports(crowd, 1, "2.0");
    assert_string_equal(batch_counts(batch), "failed 1, succeeded 2");
    assert_int_equal(ota_batch_tally(batch).confirmed, 1);
    batch_check(crowd); /* the stored tallies too */
    crowd_restart(crowd, true);
    assert_string_equal(batch_counts(batch_again(crowd, 1)), "failed 1, succeeded 2");
    batch_check(crowd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, crowd_setup, crowd_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_the_whole_way),
        TEST(test_nobody_matches),
        TEST(test_notices_go_in_the_order_of_the_batch),
        TEST(test_grace_and_then_the_line),
        TEST(test_a_version_report_ends_a_waiting_task),
        TEST(test_max_in_flight),
        TEST(test_a_done_one_frees_its_place_under_done),
        TEST(test_an_overdue_one_frees_its_place),
        TEST(test_fewer_places_than_are_taken),
        TEST(test_one_stage_after_the_other),
        TEST(test_openings_are_told),
        TEST(test_soak),
        TEST(test_the_soak_begins_anew),
        TEST(test_a_restart_does_not_shorten_a_soak),
        TEST(test_a_manual_stage),
        TEST(test_more_stages_than_devices),
        TEST(test_a_stage_gate_pauses_and_resume_opens),
        TEST(test_resume_after_an_admins_pause_opens_nothing),
        TEST(test_advance_out_of_a_pause),
        TEST(test_cancelled_tasks_pause_nothing),
        TEST(test_a_fleet_that_is_often_off),
        TEST(test_failure_threshold),
        TEST(test_contradictions_and_overdue_ones_meet_the_threshold),
        TEST(test_threshold_under_done),
        TEST(test_a_known_failure_that_goes_away),
        TEST(test_late_truth_is_no_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
