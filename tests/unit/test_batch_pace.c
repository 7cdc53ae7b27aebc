/* SPDX-License-Identifier: BSD-3-Clause */
/* When a batch's notices go out: the bucket of ratePerMinute, and what stops them at once; how it
 * ends tasks beside others' work. Time is the test's. */
#include "batch_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/batch_send.h"
#include "../../plugin/broker.h"

static void test_rate_per_minute(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.rate_per_minute = 60;
    (void)batch_begin(crowd, 12, &row, NULL, 0);
    assert_int_equal(crowd_notices(), 1); /* at once */
    int waiting = 0;
    while (strcmp(crowd_stands(crowd, waiting), "waiting") != 0) {
        waiting++;
    }
    assert_int_equal(ota_tasks_wait(&crowd->fix.core, crowd_task(crowd, waiting)), OTA_WAIT_PACED);
    fixture_run(&crowd->fix, 800, 10);
    for (int i = 2; i <= 8; i++) { /* one a second, and a tick more where fractions add up so */
        assert_int_equal(crowd_notices(), i - 1);
        fixture_run(&crowd->fix, 400, 10);
        assert_int_equal(crowd_notices(), i);
        fixture_run(&crowd->fix, 600, 10);
    }
    batch_check(crowd);
}

/* A tick comes when it comes; what the bucket earned until then isn't lost by it. */
static void test_the_rate_is_kept_whenever_ticks_come(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.rate_per_minute = 60;
    row.timeout_ms = 1000000;
    crowd->fix.core.settings.notice_interval_ms = 1000000;
    (void)batch_begin(crowd, 200, &row, NULL, 0);
    fixture_run(&crowd->fix, 119000, 70);
    assert_in_range(crowd_notices(), 119, 120);
}

/* Nobody to send to for a while: then a second's worth at once, and no more. */
/* A thousand a second come one by one, not fifty at each look; one in ten seconds keeps nobody. */
static void test_a_quick_pace_is_smooth(void **state)
{
    struct crowd *crowd = *state;
    struct ota_core *core = &crowd->fix.core;
    struct ota_batch_row row = batch_row(crowd);
    row.rate_per_minute = 60000;
    struct ota_batch *batch = batch_begin(crowd, 40, &row, NULL, 0);
    int64_t in = ota_batch_sends_in(core);
    assert_in_range(in, 1, 2);
    assert_true(core->hurries);
    batch->row.rate_per_minute = 6;
    fixture_tick(&crowd->fix, 1);
    assert_false(core->hurries);
    in = ota_batch_sends_in(core);
    assert_in_range(in, 1, 10001);
    core->wake_at = INT64_MAX;
    fixture_tick(&crowd->fix, 1);
    assert_int_equal(core->wake_at, core->mono_now + ota_batch_sends_in(core));
}

static void test_no_burst_after_a_lull(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.rate_per_minute = 300;
    struct ota_batch *batch = batch_begin(crowd, 40, &row, NULL, 0);
    crowd_disconnect(crowd, 0, 39);
    fake_broker_clear_messages();
    crowd_run(crowd, 60000);
    assert_int_equal(crowd_notices(), 0); /* offline devices take nothing */
    crowd_connect(crowd, 0, 39);
    fixture_tick(&crowd->fix, 10);
    assert_in_range(crowd_notices(), 5, 6); /* one of them is told again */
    crowd_run(crowd, 1000);
    struct ota_tally tally = ota_batch_tally(batch);
    assert_in_range(tally.by_status[OTA_MESSAGE_SENT], 10, 11);
}

static void test_a_pause_earns_nothing(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.rate_per_minute = 6; /* one in ten seconds */
    struct ota_batch *batch = batch_begin(crowd, 5, &row, NULL, 0);
    assert_string_equal(batch_counts(batch), "waiting 4, message_sent 1");
    crowd_run(crowd, 6000);
    assert_int_equal(batch_do(crowd, ota_batches_pause, batch), OTA_OK);
    crowd_run(crowd, 60000);
    assert_string_equal(batch_counts(batch), "waiting 4, message_sent 1");
    assert_int_equal(batch_do(crowd, ota_batches_resume, batch), OTA_OK);
    crowd_run(crowd, 3800);
    assert_string_equal(batch_counts(batch), "waiting 4, message_sent 1");
    crowd_run(crowd, 300); /* six before, four after */
    assert_string_equal(batch_counts(batch), "waiting 3, message_sent 2");
}

static void test_a_restart_earns_nothing(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.rate_per_minute = 6;
    int64_t id = batch_begin(crowd, 5, &row, NULL, 0)->row.id;
    for (int i = 0; i < 3; i++) {
        crowd_restart(crowd, i % 2 != 0);
        fake_broker_advance(3600000);
        crowd_connect(crowd, 0, 4);
        crowd_run(crowd, 1000);
    }
    assert_string_equal(batch_counts(batch_again(crowd, id)), "waiting 4, message_sent 1");
    crowd_run(crowd, 9000);
    assert_string_equal(batch_counts(batch_again(crowd, id)), "waiting 3, message_sent 2");
}

/* Repeats are free, and a new attempt is a first notice again. */
static void test_what_takes_from_the_bucket(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.rate_per_minute = 2;
    row.retry_max = 1;
    struct ota_batch *batch = batch_begin(crowd, 1, &row, NULL, 0);
    crowd_run(crowd, 29000);
    assert_int_equal(crowd_notices(), 3);
    assert_in_range((int)(batch->row.bucket.tokens * 1000), 0, 1000);
    crowd_fails(crowd, 0, -1);
    crowd_run(crowd, 29000);
    assert_int_equal(crowd_notices(), 3);
    crowd_run(crowd, 1100);
    assert_int_equal(crowd_notices(), 4);
    assert_true(batch->row.bucket.tokens < 1.0);
}

/* The bucket begins to fill when the batch begins to run, not with the first that it could tell. */
static void test_the_bucket_fills_while_nobody_is_there(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.rate_per_minute = 240; /* holds four */
    crowd_add(crowd, 6, "1.0");
    (void)batch_start(crowd, &row, NULL, NULL, 0);
    crowd_run(crowd, 10000);
    crowd_connect(crowd, 0, 5);
    fixture_tick(&crowd->fix, 10);
    assert_int_equal(crowd_notices(), 4);
    batch_check(crowd);
}

/* It holds one token until it runs, however long it is paused before. */
static void test_the_bucket_of_one_that_was_paused_first(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.rate_per_minute = 240;
    crowd_add(crowd, 6, "1.0");
    crowd_connect(crowd, 0, 5);
    struct ota_batch *batch = batch_start(crowd, &row, NULL, NULL, 0);
    assert_int_equal(batch_do(crowd, ota_batches_pause, batch), OTA_OK);
    crowd_run(crowd, 10000);
    assert_int_equal(batch_do(crowd, ota_batches_resume, batch), OTA_OK);
    fixture_tick(&crowd->fix, 10);
    assert_int_equal(crowd_notices(), 1);
}

/* What had been earned until the batch paused itself is there afterwards. */
static void test_a_pause_by_itself_keeps_what_was_earned(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.rate_per_minute = 6;
    row.threshold_percent = 1;
    row.threshold_min = 1;
    struct ota_batch *batch = batch_begin(crowd, 2, &row, NULL, 0);
    int first = crowd_noticed(crowd, 0);
    crowd_disconnect(crowd, 1 - first, 1 - first);
    crowd_run(crowd, 15000);
    crowd_fails(crowd, first, -4);
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "paused failure_threshold");
    crowd_connect(crowd, 1 - first, 1 - first);
    fake_broker_clear_messages();
    assert_int_equal(batch_do(crowd, ota_batches_resume, batch), OTA_OK);
    crowd_run(crowd, 100);
    assert_int_equal(crowd_notices(), 1);
    batch_check(crowd);
}

/* The batch with another rate, as updateBatch makes it. */
static void set_rate(struct crowd *crowd, struct ota_batch *batch, int64_t rate)
{
    struct ota_batch_row row = batch->row;
    row.rate_per_minute = rate;
    assert_int_equal(ota_core_begin(&crowd->fix.core, NULL), OTA_OK);
    assert_int_equal(ota_batches_update(&crowd->fix.core, batch, &row, NULL), OTA_OK);
    assert_int_equal(ota_core_commit(&crowd->fix.core, NULL), OTA_OK);
}

/* Time before the change counts at the old rate. */
static void test_a_new_rate_is_for_what_follows(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.rate_per_minute = 6;
    struct ota_batch *batch = batch_begin(crowd, 3, &row, NULL, 0);
    crowd_disconnect(crowd, 0, 2);
    fake_broker_clear_messages();
    crowd_run(crowd, 4000);
    set_rate(crowd, batch, 60); /* 0.4 of a token is there */
    crowd_connect(crowd, 0, 2);
    crowd_run(crowd, 500);
    assert_string_equal(batch_counts(batch), "waiting 2, message_sent 1");
    crowd_run(crowd, 200);
    assert_string_equal(batch_counts(batch), "waiting 1, message_sent 2");
    batch_check(crowd);
}

/* What a smaller bucket can't hold is gone at once. */
static void test_a_lower_rate(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.rate_per_minute = 240;
    crowd_add(crowd, 6, "1.0");
    struct ota_batch *batch = batch_start(crowd, &row, NULL, NULL, 0);
    crowd_run(crowd, 10000); /* four are in it */
    set_rate(crowd, batch, 6);
    crowd_connect(crowd, 0, 5);
    fixture_tick(&crowd->fix, 0);
    assert_int_equal(crowd_notices(), 1);
}

/* Without a rate there is no bucket; where one is set then, it begins with one. */
static void test_a_first_rate(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.max_in_flight = 1;
    struct ota_batch *batch = batch_begin(crowd, 20, &row, NULL, 0);
    crowd_run(crowd, 60000);
    row = batch->row;
    row.max_in_flight = 100;
    row.rate_per_minute = 600;
    assert_int_equal(ota_core_begin(&crowd->fix.core, NULL), OTA_OK);
    assert_int_equal(ota_batches_update(&crowd->fix.core, batch, &row, NULL), OTA_OK);
    assert_int_equal(ota_core_commit(&crowd->fix.core, NULL), OTA_OK);
    fixture_tick(&crowd->fix, 10);
    assert_string_equal(batch_counts(batch), "waiting 18, message_sent 2");
    crowd_run(crowd, 500);
    assert_string_equal(batch_counts(batch), "waiting 13, message_sent 7");
}

/* --- what stops notices --------------------------------------------------------------------------
 */

/* The sweep that ends its tasks takes a while for so many: until it has come by they are in line.
 */
static void test_nothing_is_sent_after_expiry(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.expire_at = ota_now_unix() + 10000;
    crowd_add(crowd, 400, "1.0");
    crowd_connect(crowd, 0, 399);
    struct ota_batch *batch = batch_start(crowd, &row, NULL, NULL, 0);
    assert_int_equal(batch_do(crowd, ota_batches_pause, batch), OTA_OK);
    crowd_run(crowd, 9900);
    assert_string_equal(batch_counts(batch), "waiting 400");
    assert_int_equal(batch_do(crowd, ota_batches_resume, batch), OTA_OK);
    fixture_tick(&crowd->fix, 200);
    assert_non_null(batch->sweep_next);
    batch_check(crowd);
    crowd_run(crowd, 1000);
    assert_int_equal(crowd_notices(), 0);
    assert_string_equal(batch_counts(batch), "cancelled 400");
    assert_string_equal(batch_stands(batch), "finished expired");
    batch_check(crowd);
}

/* A new attempt of what was noticed before isn't held up by those that have to leave the line. */
static void test_a_retry_goes_on_amid_expiry(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.max_in_flight = 1;
    row.retry_max = 1;
    struct ota_batch *batch = batch_begin(crowd, 400, &row, NULL, 0);
    int first = crowd_noticed(crowd, 0);
    assert_int_equal(batch_do(crowd, ota_batches_pause, batch), OTA_OK);
    crowd_fails(crowd, first, -1);
    crowd_run(crowd, 29900);
    batch->row.expire_at = ota_now_unix() + 150; /* updateBatch */
    assert_int_equal(batch_do(crowd, ota_batches_resume, batch), OTA_OK);
    fake_broker_clear_messages();
    crowd_hold(crowd, first, true); /* its turn comes, but it isn't the first in line */
    fixture_tick(&crowd->fix, 200);
    assert_non_null(batch->sweep_next);
    crowd_hold(crowd, first, false);
    crowd_run(crowd, 1000);
    assert_int_equal(crowd_notices(), 1);
    assert_int_equal(crowd_noticed(crowd, 0), first);
    assert_string_equal(batch_counts(batch), "message_sent 1, cancelled 399");
    batch_check(crowd);
}

/* The batch couldn't be written: nobody could say that it has expired. It has. */
static void test_nothing_is_sent_where_expiry_is_late(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.max_in_flight = 1;
    row.expire_at = ota_now_unix() + 10000;
    struct ota_batch *batch = batch_begin(crowd, 3, &row, NULL, 0);
    batch->aside_until = ota_now_mono() + 60000;
    crowd_run(crowd, 10000);
    assert_string_equal(batch_stands(batch), "running");
    crowd_fails(crowd, crowd_noticed(crowd, 0), -4);
    fake_broker_clear_messages();
    crowd_run(crowd, 40000);
    assert_string_equal(batch_stands(batch), "running");
    assert_int_equal(crowd_notices(), 0);
    crowd_run(crowd, 20000);
    assert_string_equal(batch_counts(batch), "failed 1, cancelled 2");
}

/* The rules aren't looked at while failed tasks are brought back, slice by slice: nobody new is
 * told meanwhile, so that a threshold can't be overrun. */
static void test_nothing_is_sent_while_tasks_are_brought_back(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.max_in_flight = 250;
    row.threshold_percent = 50;
    row.threshold_min = 10;
    struct ota_batch *batch = batch_begin(crowd, 600, &row, NULL, 0);
    crowd_run(crowd, 300);
    assert_int_equal(crowd_notices(), 250);
    assert_int_equal(batch_do(crowd, ota_batches_retry, batch), OTA_OK);
    fixture_tick(&crowd->fix, 10);
    int failed = 0; /* of those that were looked at by now */
    for (int i = 0; i < 100 && failed < 20; i++) {
        if (strcmp(crowd_stands(crowd, i), "message_sent") == 0) {
            crowd_fails(crowd, i, -4);
            failed++;
        }
    }
    assert_int_equal(failed, 20);
    assert_true(batch->row.retrying);
    fake_broker_clear_messages();
    fixture_run(&crowd->fix, 200, 10);
    assert_false(batch->row.retrying);
    assert_int_equal(crowd_notices(), 0);
    assert_string_equal(batch_stands(batch), "paused failure_threshold");
    batch_check(crowd);
}

/* Nor while the batch can't be written: then it can't pause either. */
static void test_nothing_is_sent_of_what_is_aside(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.max_in_flight = 2;
    row.threshold_percent = 50;
    row.threshold_min = 2;
    struct ota_batch *batch = batch_begin(crowd, 10, &row, NULL, 0);
    batch->aside_until = ota_now_mono() + 60000;
    crowd_fails(crowd, crowd_noticed(crowd, 0), -4);
    crowd_fails(crowd, crowd_noticed(crowd, 1), -4);
    fake_broker_clear_messages();
    crowd_run(crowd, 59000);
    assert_int_equal(crowd_notices(), 0);
    crowd_run(crowd, 2000);
    assert_int_equal(crowd_notices(), 0);
    assert_string_equal(batch_stands(batch), "paused failure_threshold");
    assert_int_equal(batch_do(crowd, ota_batches_resume, batch), OTA_OK);
    crowd_run(crowd, 200);
    assert_int_equal(crowd_notices(), 2);
    batch_check(crowd);
}

/* Slices of many batches are due at once: a tick does what there is time for, and each has its
 * turn. */
static void test_many_retries_hold_up_no_tick(void **state)
{
    enum { BATCHES = 8 };
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    struct ota_batch *batches[BATCHES];
    crowd_add(crowd, BATCHES, "1.0");
    crowd_connect(crowd, 0, BATCHES - 1);
    for (int i = 0; i < BATCHES; i++) {
        char target[64];
        (void)snprintf(target, sizeof target, "{\"devices\":[\"m%d\"]}", i);
        batches[i] = batch_start(crowd, &row, target, NULL, 0);
    }
    crowd_run(crowd, 300);
    for (int i = 0; i < BATCHES; i++) {
        crowd_fails(crowd, i, -4);
    }
    crowd_run(crowd, 300);
    for (int i = 0; i < BATCHES; i++) {
        assert_string_equal(batch_stands(batches[i]), "finished");
        assert_int_equal(batch_do(crowd, ota_batches_retry, batches[i]), OTA_OK);
    }
    fixture_slow_commits(6);
    for (int i = 0; i < 3 * BATCHES; i++) {
        int64_t before = ota_now_mono();
        fixture_tick(&crowd->fix, 10);
        assert_in_range(ota_now_mono() - before, 10, 10 + 3 * 6); /* notices and the clock, too */
    }
    fixture_slow_commits(0);
    for (int i = 0; i < BATCHES; i++) {
        assert_string_equal(batch_counts(batches[i]), "message_sent 1");
    }
    batch_check(crowd);
}

/* Something is due at every tick, and more than it can do: others' devices hear their notices again
 * and again. The cancelled batch's tasks end all the same. */
static void test_a_sweep_never_starves(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    crowd->fix.core.settings.notice_interval_ms = 10;
    (void)batch_begin(crowd, 200, &row, NULL, 0);
    crowd_add(crowd, 300, "1.0");
    struct ota_batch *batch = batch_start(crowd, &row, NULL, NULL, 0);
    crowd_run(crowd, 300);
    assert_string_equal(batch_counts(batch), "waiting 300");
    assert_int_equal(batch_do(crowd, batch_cancel, batch), OTA_OK);
    for (int i = 0; i < 100; i++) {
        assert_non_null(ota_due_first(&crowd->fix.core, ota_now_mono() + 10));
        fixture_tick(&crowd->fix, 10);
    }
    assert_string_equal(batch_counts(batch), "cancelled 300");
    assert_true(batch->row.tallied);
    batch_check(crowd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, crowd_setup, crowd_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_rate_per_minute),
        TEST(test_the_rate_is_kept_whenever_ticks_come),
        TEST(test_a_quick_pace_is_smooth),
        TEST(test_no_burst_after_a_lull),
        TEST(test_a_pause_earns_nothing),
        TEST(test_a_restart_earns_nothing),
        TEST(test_what_takes_from_the_bucket),
        TEST(test_the_bucket_fills_while_nobody_is_there),
        TEST(test_the_bucket_of_one_that_was_paused_first),
        TEST(test_a_pause_by_itself_keeps_what_was_earned),
        TEST(test_a_new_rate_is_for_what_follows),
        TEST(test_a_lower_rate),
        TEST(test_a_first_rate),
        TEST(test_nothing_is_sent_after_expiry),
        TEST(test_a_retry_goes_on_amid_expiry),
        TEST(test_nothing_is_sent_where_expiry_is_late),
        TEST(test_nothing_is_sent_while_tasks_are_brought_back),
        TEST(test_nothing_is_sent_of_what_is_aside),
        TEST(test_many_retries_hold_up_no_tick),
        TEST(test_a_sweep_never_starves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
