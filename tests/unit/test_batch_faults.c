/* SPDX-License-Identifier: BSD-3-Clause */
/* Batches where the store fails and where the broker ends: nothing by halves, nobody forgotten,
 * the same before and after. */
#include "batch_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/broker.h"
#include "../../plugin/devices.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* --- writes that fail ---------------------------------------------------------------------------
 */

/* A task that can't be written though the others can: it is tried again, and holds up nobody. */
static void test_a_task_that_cannot_be_sent(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    crowd_add(crowd, 5, "1.0");
    struct ota_batch *batch = batch_start(crowd, &row, NULL, NULL, 0);
    crowd_run(crowd, 100);
    crowd_connect(crowd, 0, 4);
    struct ota_task *task = ota_batch_next(batch);
    int64_t id = task->id;
    task->id = 999999; /* no such row */
    crowd_run(crowd, 10000);
    assert_string_equal(batch_counts(batch), "waiting 1, message_sent 4");
    task->id = id;
    crowd_run(crowd, 70000);
    assert_string_equal(batch_counts(batch), "message_sent 5");
    batch_check(crowd);
}

/* So is a batch that can't be written. */
static void test_a_batch_that_cannot_be_written(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    crowd_add(crowd, 4, "1.0");
    struct ota_batch *other = batch_start(crowd, &row, "{\"devices\":[\"m0\",\"m1\"]}", NULL, 0);
    struct ota_batch *batch = batch_start(crowd, &row, "{\"devices\":[\"m2\",\"m3\"]}", NULL, 0);
    int64_t id = batch->row.id;
    batch->row.id = 999999; /* no such row */
    crowd_run(crowd, 10000);
    assert_string_equal(batch_stands(other), "running");
    assert_string_equal(batch_stands(batch), "preparing");
    assert_true(fake_broker_logged("set aside"));
    assert_int_equal(crowd->fix.core.counters.store_failures, 0); /* the store is well */
    batch->row.id = id;
    crowd_run(crowd, 60000);
    assert_string_equal(batch_stands(batch), "running");
    assert_string_equal(batch_counts(batch), "waiting 2");
    batch_check(crowd);
}

/* A device that can't be looked at, though the store is well, holds up nobody. */
static void test_a_device_that_cannot_be_looked_at(void **state)
{
    struct crowd *crowd = *state;
    struct ota_core *core = &crowd->fix.core;
    struct ota_batch_row row = batch_row(crowd);
    row.mode = OTA_MODE_CONTINUOUS;
    struct ota_batch *batch = batch_start(crowd, &row, "{\"fromVersions\":[\"1.0\"]}", NULL, 0);
    (void)batch_start(crowd, &row, "{\"tags\":[\"t\"]}", NULL, 0); /* each row is read for it */
    crowd_run(crowd, 100);
    crowd_add(crowd, 4, "1.0");
    crowd_break(crowd, 1);
    crowd_connect(crowd, 0, 3);
    crowd_run(crowd, 500);
    assert_string_equal(batch_counts(batch), "message_sent 3");
    assert_int_equal(core->counters.store_failures, 0); /* the store is well */
    assert_true(fake_broker_logged("device m1"));
    assert_false(core->fleet.looks.any);
    crowd_break(crowd, -1);
    crowd_reports(crowd, 1, "1.0"); /* that is a look again */
    crowd_run(crowd, 100);
    assert_string_equal(batch_counts(batch), "message_sent 4");
    batch_check(crowd);
}

/* One that wasn't committed was never there. */
static void test_a_batch_that_is_not_committed(void **state)
{
    struct crowd *crowd = *state;
    struct ota_core *core = &crowd->fix.core;
    struct ota_batch_row row = batch_row(crowd);
    struct ota_target target = {.online = -1};
    static const struct ota_stage whole = {.percent = 100};
    fake_broker_clear_messages();
    fixture_fail_write(1); /* the commit */
    assert_int_equal(ota_core_begin(core, NULL), OTA_OK);
    assert_int_equal(ota_batches_create(core, &row, &target, &whole, 1, NULL), OTA_OK);
    assert_non_null(ota_fleet_batch(&core->fleet, row.id)); /* for the answer */
    assert_int_equal(ota_core_commit(core, NULL), OTA_UNAVAILABLE);
    assert_null(ota_fleet_batch(&core->fleet, row.id));
    assert_int_equal(core->fleet.live_count, 0);
    assert_int_equal(crowd->fix.firmware->batches, 0);
    assert_int_equal(fake_broker_message_count(), 0);
    struct ota_batch_row again = batch_row(crowd);
    assert_int_equal(batch_draft(crowd, &again, NULL)->row.id, row.id);
    batch_check(crowd);
}

/* What wasn't sent wasn't paid for. */
static void test_a_failed_notice_costs_no_token(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.rate_per_minute = 1;
    struct ota_batch *batch = batch_begin(crowd, 3, &row, NULL, 0);
    assert_string_equal(batch_counts(batch), "waiting 2, message_sent 1");
    crowd_run(crowd, 55000);
    fixture_fail_commits(true);
    crowd_run(crowd, 6000);
    assert_string_equal(batch_counts(batch), "waiting 2, message_sent 1");
    assert_true(fixture_failed_commits() > 0);
    fixture_fail_commits(false);
    crowd_run(crowd, 2000);
    assert_string_equal(batch_counts(batch), "waiting 1, message_sent 2");
    batch_check(crowd);
}

static void test_sending_fails_in_turn(void **state)
{
    struct crowd *crowd = *state;
    for (int n = 1;; n++) {
        struct ota_batch_row row = batch_row(crowd);
        row.rate_per_minute = 6000;
        crowd_add(crowd, 4, "1.0");
        crowd_disconnect(crowd, 0, crowd->count - 1);
        struct ota_batch *batch = batch_start(crowd, &row, NULL, NULL, 0);
        crowd_run(crowd, 100);
        crowd_connect(crowd, 0, crowd->count - 1);
        crowd_run(crowd, 900);
        batch_check(crowd);
        assert_int_equal(batch_do(crowd, batch_cancel_all, batch), OTA_OK);
        crowd_run(crowd, 300);
        batch = batch_start(crowd, &row, NULL, NULL, 0);
        fixture_fail_write(n + 3); /* behind the preparation */
        crowd_run(crowd, 100);
        batch_check(crowd);
        bool failed = fixture_write_failed();
        fixture_fail_write(0);
        crowd_run(crowd, 3000);
        struct ota_tally tally = ota_batch_tally(batch);
        assert_int_equal(tally.by_status[OTA_MESSAGE_SENT], crowd->count);
        batch_check(crowd);
        if (!failed) {
            assert_in_range(n, 5, 60);
            return;
        }
        assert_int_equal(batch_do(crowd, batch_cancel_all, batch), OTA_OK);
        crowd_run(crowd, 300);
    }
}

/* A batch that was settled and runs again: what is overdue is counted once. */
static void test_retrying_fails_in_turn(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    struct ota_batch *batch = batch_begin(crowd, 4, &row, NULL, 0);
    crowd_says(crowd, 0, "done");
    crowd_succeeds(crowd, 1);
    for (int n = 1;; n++) {
        crowd_fails(crowd, 2, -4);
        crowd_fails(crowd, 3, -4);
        crowd_run(crowd, FIX_TIMEOUT + 100);
        assert_string_equal(batch_stands(batch), "finished");
        assert_int_equal(batch_do(crowd, ota_batches_retry, batch), OTA_OK);
        fixture_fail_write(n);
        crowd_run(crowd, 100);
        batch_check(crowd);
        bool failed = fixture_write_failed();
        fixture_fail_write(0);
        crowd_run(crowd, 3000);
        assert_string_equal(batch_counts(batch), "message_sent 2, succeeded 2");
        assert_int_equal(ota_batch_tally(batch).overdue, 1);
        batch_check(crowd);
        if (!failed) {
            assert_in_range(n, 4, 20);
            return;
        }
    }
}

/* A command fails as a whole, and can be given again. */
static void test_commands_fail_in_turn(void **state)
{
    static const struct ota_stage two[] = {{.count = 1, .min_success_percent = 90},
                                           {.percent = 100}};
    static const batch_act acts[] = {ota_batches_pause, ota_batches_resume, ota_batches_advance,
                                     ota_batches_retry, batch_cancel_all};
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    struct ota_batch *batch = batch_begin(crowd, 4, &row, two, 2);
    for (size_t i = 0; i < COUNT(acts); i++) {
        for (int n = 1;; n++) {
            struct ota_batch_row before = batch->row;
            struct ota_stage stages[2];
            memcpy(stages, batch->stages, sizeof stages);
            fixture_fail_write(n);
            enum ota_err err = batch_do(crowd, acts[i], batch);
            assert_int_equal(err, fixture_write_failed() ? OTA_UNAVAILABLE : OTA_OK);
            fixture_fail_write(0);
            batch_check(crowd);
            if (err == OTA_OK) {
                assert_in_range(n, 3, 5);
                break;
            }
            assert_memory_equal(&batch->row, &before, sizeof before);
            assert_memory_equal(batch->stages, stages, sizeof stages);
        }
        crowd_run(crowd, 200);
    }
    assert_string_equal(batch_counts(batch), "cancelled 4");
}

/* Cancelling, its slices and its settling. */
static void test_a_cancel_fails_in_turn(void **state)
{
    struct crowd *crowd = *state;
    for (int n = 1;; n++) {
        struct ota_batch_row row = batch_row(crowd);
        struct ota_batch *batch = batch_begin(crowd, n == 1 ? 5 : 0, &row, NULL, 0);
        assert_int_equal(batch_do(crowd, batch_cancel_all, batch), OTA_OK);
        fixture_fail_write(n);
        crowd_run(crowd, 300);
        batch_check(crowd);
        bool failed = fixture_write_failed();
        fixture_fail_write(0);
        crowd_run(crowd, 2000);
        assert_string_equal(batch_counts(batch), "cancelled 5");
        assert_true(batch->row.tallied);
        batch_check(crowd);
        if (!failed) {
            assert_in_range(n, 8, 12);
            return;
        }
    }
}

/* A staged batch that is cancelled when its devices were counted in their stages, but that wasn't
 * written yet. */
static void test_a_cancel_between_placing_and_its_commit(void **state)
{
    static const struct ota_stage half[] = {{.percent = 50, .min_success_percent = 90},
                                            {.percent = 100}};
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    crowd_add(crowd, 40, "1.0");
    struct ota_batch *batch = batch_start(crowd, &row, NULL, half, 2);
    fixture_fail_write(4); /* tasks, row, commit, and then */
    crowd_run(crowd, 100);
    assert_true(fixture_write_failed());
    assert_string_equal(batch_stands(batch), "preparing");
    batch_check(crowd);
    assert_int_equal(batch_do(crowd, batch_cancel, batch), OTA_OK);
    crowd_run(crowd, 3000);
    assert_true(batch->row.tallied);
    batch_check(crowd);
    int64_t id = batch->row.id;
    crowd_restart(crowd, true);
    batch_check(crowd);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(crowd_delete(crowd, i), OTA_OK);
    }
    assert_string_equal(batch_counts(batch_again(crowd, id)), "");
}

/* --- before and after ---------------------------------------------------------------------------
 */

#define BATCHES_MAX 400

struct picture {
    int count;
    int64_t ids[BATCHES_MAX];
    struct ota_batch_row rows[BATCHES_MAX];
    struct ota_stage stages[BATCHES_MAX][4];
    size_t stage_counts[BATCHES_MAX];
    bool overdue_known[BATCHES_MAX];
};

static struct picture *take_picture(const struct crowd *crowd)
{
    const struct ota_batch *batch;
    struct picture *picture = calloc(1, sizeof *picture);
    assert_non_null(picture);
    for (size_t at = 0; (batch = ota_index_next(&crowd->fix.core.fleet.batches, &at)) != NULL;) {
        int i = picture->count++;
        assert_in_range(picture->count, 1, BATCHES_MAX);
        picture->ids[i] = batch->row.id;
        picture->rows[i] = batch->row;
        picture->stage_counts[i] = batch->stage_count;
        picture->overdue_known[i] =
            !batch->reviving && batch->overdue_to == crowd->fix.core.service_ms;
        memcpy(picture->stages[i], batch->stages, batch->stage_count * sizeof *batch->stages);
        if (batch->row.prepared != OTA_PREPARED_FULLY) { /* stages are a matter of the end */
            picture->stages[i][0].tally = ota_batch_tally(batch);
        }
    }
    return picture;
}

static void assert_same_tallies(const struct ota_tally *a, const struct ota_tally *b, bool overdue)
{
    assert_memory_equal(a->by_status, b->by_status, sizeof a->by_status);
    assert_int_equal(a->confirmed, b->confirmed);
    assert_int_equal(a->contradicted, b->contradicted);
    if (overdue) {
        assert_int_equal(a->overdue, b->overdue);
    }
}

/* All but the bucket: what it earned since the last notice is earned again. */
static void assert_same_row(const struct ota_batch_row *a, const struct ota_batch_row *b)
{
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->reason, b->reason);
    assert_int_equal(a->named, b->named);
    assert_int_equal(a->rate_per_minute, b->rate_per_minute);
    assert_int_equal(a->max_in_flight, b->max_in_flight);
    assert_int_equal(a->threshold_percent, b->threshold_percent);
    assert_int_equal(a->threshold_min, b->threshold_min);
    assert_string_equal(a->retry_on, b->retry_on);
    assert_int_equal(a->flags, b->flags);
    assert_int_equal(a->start_at, b->start_at);
    assert_int_equal(a->expire_at, b->expire_at);
    assert_int_equal(a->started_at, b->started_at);
    assert_int_equal(a->finished_at, b->finished_at);
    assert_int_equal(a->prepared, b->prepared);
    assert_int_equal(a->prepared_to, b->prepared_to);
    assert_int_equal(a->retrying, b->retrying);
    assert_int_equal(a->retrying ? a->retried_to : 0, b->retrying ? b->retried_to : 0);
    assert_memory_equal(a->excluded, b->excluded, sizeof a->excluded);
    assert_int_equal(a->open_stages, b->open_stages);
    assert_int_equal(a->known_failures, b->known_failures);
    assert_int_equal(a->known_successes, b->known_successes);
    assert_int_equal(a->tallied, b->tallied);
}

static void compare(const struct picture *picture, const struct crowd *crowd)
{
    for (int i = 0; i < picture->count; i++) {
        const struct ota_batch *batch = batch_again(crowd, picture->ids[i]);
        assert_same_row(&batch->row, &picture->rows[i]);
        assert_int_equal(batch->stage_count, picture->stage_counts[i]);
        if (batch->row.prepared != OTA_PREPARED_FULLY) {
            struct ota_tally tally = ota_batch_tally(batch);
            assert_same_tallies(&tally, &picture->stages[i][0].tally, picture->overdue_known[i]);
            continue;
        }
        for (size_t j = 0; j < batch->stage_count; j++) {
            const struct ota_stage *stage = &picture->stages[i][j];
            assert_same_tallies(&batch->stages[j].tally, &stage->tally, picture->overdue_known[i]);
            assert_int_equal(batch->stages[j].state, stage->state);
            assert_true(batch->stages[j].end_key == stage->end_key);
            assert_int_equal(batch->stages[j].opened_at, stage->opened_at);
            assert_int_equal(batch->stages[j].passed_ms, stage->passed_ms);
        }
    }
}

/* The broker ends, and all is as it was. */
static void restart(struct crowd *crowd, bool kill)
{
    struct picture *picture = take_picture(crowd);
    uint32_t live = crowd->fix.core.fleet.live_count;
    uint32_t tasks = crowd->fix.core.fleet.task_count;
    uint32_t firmware = crowd->fix.firmware->batches;
    if (!kill) { /* orderly, it loses no service time either */
        int64_t service = crowd->fix.core.service_ms;
        crowd_restart(crowd, false);
        assert_int_equal(crowd->fix.core.service_ms, service);
    } else {
        /* what became overdue since the clock was written last isn't yet */
        for (int i = 0; i < picture->count; i++) {
            picture->overdue_known[i] = false;
        }
        crowd_restart(crowd, true);
    }
    compare(picture, crowd);
    free(picture);
    assert_int_equal(crowd->fix.core.fleet.live_count, live);
    assert_int_equal(crowd->fix.core.fleet.task_count, tasks);
    assert_int_equal(crowd->fix.firmware->batches, firmware);
    batch_check(crowd);
}

/* A batch in each state of affairs that there is, one beside the other; each has its devices. */
static void make_all_phases(struct crowd *crowd)
{
    static const struct ota_stage three[] = {
        {.count = 4, .min_success_percent = 50, .soak_ms = 600000},
        {.percent = 50, .min_success_percent = 90},
        {.percent = 100, .min_success_percent = 90}};
    struct ota_batch_row row = batch_row(crowd);
    struct ota_batch *batch;
    char target[200];
    int first = 0;
#define TEN(version)                                                                               \
    first = crowd->count;                                                                          \
    crowd_add(crowd, 10, version);                                                                 \
    crowd_connect(crowd, first, first + 9);                                                        \
    crowd_run(crowd, 100);                                                                         \
    (void)snprintf(target, sizeof target, "{\"fromVersions\":[\"%s\"]}", version)
    TEN("draft");
    (void)batch_draft(crowd, &row, target);
    TEN("scheduled");
    row.start_at = ota_now_unix() + 3600000;
    (void)batch_start(crowd, &row, target, three, 3);
    row = batch_row(crowd);
    TEN("soaking"); /* with one of each status */
    batch = batch_start(crowd, &row, target, three, 3);
    crowd_run(crowd, 100);
    for (int i = first, n = 0; i < first + 10; i++) {
        if (ota_batch_stage_of(batch, crowd_device(crowd, i)->id) == 0 && n++ < 2) {
            crowd_succeeds(crowd, i);
        }
    }
    crowd_run(crowd, 100);
    assert_int_not_equal(batch->stages[0].passed_ms, 0);
    TEN("mixed");
    row.max_in_flight = 7;
    row.rate_per_minute = 6000;
    row.retry_max = 1;
    row.threshold_percent = 90;
    row.threshold_min = 9;
    batch = batch_start(crowd, &row, target, NULL, 0);
    crowd_run(crowd, 1000);
    static const char *const says[] = {"downloading", "downloaded", "burning", "done"};
    for (int i = first, n = 0; i < first + 10; i++) {
        if (strcmp(crowd_stands(crowd, i), "message_sent") == 0) {
            if (n < 4) {
                crowd_says(crowd, i, says[n]);
            } else if (n == 4) {
                crowd_succeeds(crowd, i);
            } else if (n == 5) {
                crowd_fails(crowd, i, -1);
            } else {
                crowd_fails(crowd, i, -4);
            }
            n++;
        }
    }
    row = batch_row(crowd);
    TEN("paused");
    batch = batch_start(crowd, &row, target, three, 3);
    crowd_run(crowd, 100);
    assert_int_equal(batch_do(crowd, ota_batches_pause, batch), OTA_OK);
    TEN("finished");
    batch = batch_start(crowd, &row, target, NULL, 0);
    crowd_run(crowd, 100);
    for (int i = 0; i < 10; i++) {
        if (i < 5) {
            crowd_says(crowd, first + i, "done");
        }
        if (i < 3) {
            crowd_reports(crowd, first + i, i == 0 ? "1.1" : "2.0");
        }
        if (i >= 5) {
            crowd_fails(crowd, first + i, -4);
        }
    }
    crowd_run(crowd, 100);
    assert_string_equal(batch_stands(batch), "finished");
    TEN("cancelling");
    batch = batch_start(crowd, &row, target, NULL, 0);
    crowd_run(crowd, 100);
    assert_int_equal(batch_do(crowd, batch_cancel, batch), OTA_OK);
    crowd_run(crowd, 100);
    assert_false(batch->row.tallied);
    TEN("cancelled");
    batch = batch_start(crowd, &row, target, three, 3);
    crowd_run(crowd, 100);
    assert_int_equal(batch_do(crowd, batch_cancel_all, batch), OTA_OK);
    crowd_run(crowd, 300);
    assert_true(batch->row.tallied);
    TEN("expired");
    row.expire_at = ota_now_unix() + 250;
    row.max_in_flight = 2;
    batch = batch_start(crowd, &row, target, NULL, 0);
    crowd_run(crowd, 600);
    assert_string_equal(batch_stands(batch), "running expired");
    row = batch_row(crowd);
    row.mode = OTA_MODE_CONTINUOUS;
    TEN("continuous");
    (void)batch_start(crowd, &row, target, NULL, 0);
    crowd_run(crowd, 100);
#undef TEN
}

static void test_all_phases_over_restarts(void **state)
{
    struct crowd *crowd = *state;
    make_all_phases(crowd);
    batch_check(crowd);
    for (int i = 0; i < 4; i++) {
        restart(crowd, i % 2 == 0);
        fake_broker_advance(86400000); /* off for a day */
    }
}

/* Nobody is told twice because of it, and everybody is told in the end. */
static void test_they_go_on_after_a_kill(void **state)
{
    struct crowd *crowd = *state;
    make_all_phases(crowd);
    restart(crowd, true);
    fake_broker_clear_messages();
    crowd_connect(crowd, 0, crowd->count - 1);
    for (int i = 0; i < crowd->count; i++) {
        const struct ota_task *task = crowd_task(crowd, i);
        assert_true(task == NULL || task->up.attempt <= 2);
    }
    fixture_run(&crowd->fix, 4000000, 1000);
    for (size_t at = 0;;) {
        const struct ota_batch *batch = ota_index_next(&crowd->fix.core.fleet.batches, &at);
        if (batch == NULL) {
            break;
        }
        struct ota_tally tally = ota_batch_tally(batch);
        bool waits = batch->row.state == OTA_BATCH_DRAFT || batch->row.state == OTA_BATCH_PAUSED;
        if (!waits) {
            assert_int_equal(ota_tally_unfinished(&tally), 0);
        }
    }
    batch_check(crowd);
}

/* --- a kill in the midst of things --------------------------------------------------------------
 */

/* Killed after each tick of a cancel. */
static void test_killed_amid_a_cancel(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    crowd_add(crowd, 1100, "1.0");
    struct ota_batch *batch = batch_start(crowd, &row, NULL, NULL, 0);
    int64_t id = batch->row.id;
    crowd_run(crowd, 100);
    assert_int_equal(batch_do(crowd, batch_cancel, batch), OTA_OK);
    int kills = 0;
    for (; !batch_again(crowd, id)->row.tallied && kills < 50; kills++) {
        fixture_tick(&crowd->fix, 100);
        restart(crowd, true);
    }
    assert_in_range(kills, 4, 12);
    batch = batch_again(crowd, id);
    assert_string_equal(batch_stands(batch), "cancelled admin");
    assert_string_equal(batch_counts(batch), "cancelled 1100");
}

static void test_killed_amid_a_retry(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    struct ota_batch *batch = batch_begin(crowd, 450, &row, NULL, 0);
    int64_t id = batch->row.id;
    crowd_run(crowd, 1000);
    for (int i = 0; i < 450; i++) {
        if (i % 9 == 0) {
            crowd_says(crowd, i, "done");
        } else {
            crowd_fails(crowd, i, -4);
        }
    }
    crowd_run(crowd, FIX_TIMEOUT);
    assert_string_equal(batch_stands(batch), "finished");
    crowd_disconnect(crowd, 0, 449);
    assert_int_equal(batch_do(crowd, ota_batches_retry, batch), OTA_OK);
    int kills = 0;
    for (; batch_again(crowd, id)->row.retrying && kills < 50; kills++) {
        fixture_tick(&crowd->fix, 10);
        restart(crowd, kills % 2 == 0);
    }
    assert_in_range(kills, 4, 6);
    crowd_run(crowd, 100);
    batch = batch_again(crowd, id);
    assert_string_equal(batch_stands(batch), "running");
    assert_string_equal(batch_counts(batch), "waiting 400, succeeded 50");
    assert_int_equal(ota_batch_tally(batch).overdue, 50);
    batch_check(crowd);
}

/* --- whatever comes -----------------------------------------------------------------------------
 */

static uint32_t seed;

static uint32_t draw(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

#define LIFE_DEVICES 60

static void make_a_batch(struct crowd *crowd)
{
    static const char *const targets[] = {
        "{\"all\":true}", "{\"fromVersions\":[\"1.0\"]}", "{\"notVersions\":[\"2.0\"]}",
        "{\"online\":true}", "{\"devices\":[\"m1\",\"m2\",\"m3\",\"m4\",\"m5\",\"m6\",\"m7\"]}"};
    static const struct ota_stage stages[] = {
        {.count = 2, .min_success_percent = 50, .soak_ms = 5000},
        {.percent = 30, .min_success_percent = 80, .manual = true},
        {.percent = 100, .min_success_percent = 90}};
    struct ota_batch_row row = batch_row(crowd);
    row.mode = draw(4) == 0 ? OTA_MODE_CONTINUOUS : OTA_MODE_SNAPSHOT;
    row.gate = draw(3) == 0 ? OTA_GATE_DONE : OTA_GATE_CONFIRMED;
    row.max_in_flight = 1 + draw(30);
    row.rate_per_minute = draw(2) == 0 ? 0 : 1 + draw(600);
    row.retry_max = (int)draw(3);
    row.threshold_percent = (int)draw(3) * 30;
    row.threshold_min = 1 + draw(5);
    row.flags = draw(8);
    row.start_at = draw(4) == 0 ? ota_now_unix() + draw(60000) : 0;
    row.expire_at = draw(4) == 0 ? ota_now_unix() + 60001 + draw(600000) : 0;
    const char *target = targets[draw(COUNT(targets))];
    if (row.mode == OTA_MODE_CONTINUOUS) {
        row.flags &= ~OTA_BATCH_REINSTALL;
    }
    fixture_fail_write(0);
    fixture_fail_commits(false);
    if (draw(8) == 0) {
        (void)batch_draft(crowd, &row, target);
    } else if (row.mode == OTA_MODE_SNAPSHOT && draw(2) == 0) {
        (void)batch_start(crowd, &row, target, stages, 3);
    } else {
        (void)batch_start(crowd, &row, target, NULL, 0);
    }
}

static void steer(struct crowd *crowd)
{
    static const batch_act acts[] = {ota_batches_start,   ota_batches_pause, ota_batches_resume,
                                     ota_batches_resume,  ota_batches_retry, ota_batches_retry,
                                     ota_batches_advance, batch_cancel,      batch_cancel_all};
    int64_t newest = crowd->fix.core.fleet.newest_batch;
    if (newest > 0) {
        int64_t id = 1 + (int64_t)draw((uint32_t)newest);
        id = draw(3) == 0 ? id : newest - (int64_t)draw((uint32_t)(newest < 6 ? newest : 6));
        (void)batch_do(crowd, acts[draw(COUNT(acts))], batch_again(crowd, id));
    }
}

static void touch_a_task(struct crowd *crowd, int i)
{
    const struct ota_device *device = crowd_device(crowd, i);
    struct ota_task_row row;
    bool changed;
    struct ota_upgrade_event event = {.kind = OTA_EV_CANCEL,
                                      .service_now = crowd->fix.core.service_ms};
    if (device->task != NULL) {
        (void)!ota_tasks_apply(&crowd->fix.core, device->task, &event, NULL, &changed, NULL);
    } else if (device->last_task != 0 && !device->hold &&
               ota_task_get(crowd->fix.core.store, device->last_task, &row, NULL) == OTA_OK &&
               (row.status == OTA_FAILED || row.status == OTA_CANCELLED)) {
        (void)!batch_retry_task(crowd, row.id);
    }
}

static void replace_a_device(struct crowd *crowd, int i)
{
    if (crowd_task(crowd, i) != NULL || crowd_delete(crowd, i) != OTA_OK) {
        return;
    }
    fixture_fail_write(0);
    fixture_fail_commits(false);
    (void)fixture_device(&crowd->fix, crowd->names[i], "1.0");
}

static void live(struct crowd *crowd)
{
    static const char *const says[] = {"downloading", "downloaded", "burning", "done", "done"};
    static const char *const versions[] = {"1.0", "1.1", "2.0", "2.0"};
    int i = (int)draw(LIFE_DEVICES);
    switch (draw(16)) {
    case 0:
        make_a_batch(crowd);
        return;
    case 1:
    case 2:
        steer(crowd);
        return;
    case 3:
        touch_a_task(crowd, i);
        return;
    case 4:
        fixture_fail_write((int)draw(12));
        fixture_fail_commits(draw(6) == 0);
        fixture_slow_commits(draw(3) == 0 ? 6 : 0);
        return;
    case 5:
        if (draw(4) == 0) {
            fixture_fail_commits(false);
            fixture_fail_write(0);
            restart(crowd, draw(2) != 0);
            crowd_connect(crowd, 0, LIFE_DEVICES / 2);
        }
        return;
    case 6:
        crowd_disconnect(crowd, i, i);
        return;
    case 7:
        crowd_connect(crowd, i, i);
        return;
    case 8:
        if (draw(4) == 0) {
            replace_a_device(crowd, i);
        }
        return;
    case 9:
        crowd_fails(crowd, i, draw(2) != 0 ? -1 : -4);
        return;
    case 10:
        crowd_says(crowd, i, says[draw(COUNT(says))]);
        return;
    case 11:
        crowd_reports(crowd, i, versions[draw(COUNT(versions))]);
        return;
    default:
        fixture_run(&crowd->fix, draw(3) == 0 ? draw(20000) : draw(300), 100 + draw(400));
        return;
    }
}

/* No task beyond the open stages was told. */
static void check_stages(const struct crowd *crowd)
{
    for (int i = 0; i < LIFE_DEVICES; i++) {
        const struct ota_task *task = crowd_task(crowd, i);
        if (task != NULL && task->batch != NULL && task->up.status == OTA_MESSAGE_SENT) {
            assert_true((int64_t)ota_batch_stage_of(task->batch, task->device->id) <
                        task->batch->row.open_stages);
        }
    }
}

/* All that isn't over is cancelled, and comes to its end by itself. */
static void end_all(struct crowd *crowd)
{
    fixture_fail_commits(false);
    fixture_fail_write(0);
    fixture_slow_commits(0);
    for (struct ota_batch *batch = crowd->fix.core.fleet.live; batch != NULL;) {
        struct ota_batch *next = batch->next_live;
        if (!ota_batch_is_over(batch)) {
            assert_int_equal(batch_do(crowd, draw(2) != 0 ? batch_cancel : batch_cancel_all, batch),
                             OTA_OK);
        }
        batch = next;
    }
    fixture_run(&crowd->fix, FIX_TIMEOUT + 70000, 500);
    assert_int_equal(crowd->fix.core.fleet.live_count, 0);
    for (int i = 0; i < LIFE_DEVICES; i++) {
        assert_true(crowd_task(crowd, i) == NULL);
    }
    assert_int_equal(crowd->fix.firmware->batches, 0);
    assert_int_equal(crowd->fix.firmware->unfinished, 0);
    batch_check(crowd);
}

static void test_a_life(void **state)
{
    struct crowd *crowd = *state;
    const char *given = getenv("OTA_LIFE_SEED");
    uint32_t start = given != NULL ? (uint32_t)atoi(given) : 1;
    uint32_t end = given != NULL ? start + 1 : 4;
    int steps = given != NULL ? 3000 : 400;
    crowd_add(crowd, LIFE_DEVICES, "1.0");
    crowd_connect(crowd, 0, LIFE_DEVICES - 1);
    for (; start < end; start++) {
        seed = start;
        for (int i = 0; i < steps; i++) {
            live(crowd);
            fake_broker_clear_messages();
            check_stages(crowd);
            if (i % 4 == 0) {
                batch_check_live(crowd);
            }
        }
        end_all(crowd);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, crowd_setup, crowd_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_task_that_cannot_be_sent),
        TEST(test_a_batch_that_cannot_be_written),
        TEST(test_a_device_that_cannot_be_looked_at),
        TEST(test_a_batch_that_is_not_committed),
        TEST(test_a_failed_notice_costs_no_token),
        TEST(test_sending_fails_in_turn),
        TEST(test_retrying_fails_in_turn),
        TEST(test_commands_fail_in_turn),
        TEST(test_a_cancel_fails_in_turn),
        TEST(test_a_cancel_between_placing_and_its_commit),
        TEST(test_all_phases_over_restarts),
        TEST(test_they_go_on_after_a_kill),
        TEST(test_killed_amid_a_cancel),
        TEST(test_killed_amid_a_retry),
        TEST(test_a_life),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
