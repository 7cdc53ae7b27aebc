/* SPDX-License-Identifier: BSD-3-Clause */
/* The rules of a batch, each by itself: no store, no broker, the clock is an argument. */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/rollout.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static uint32_t seed = 1;

static uint32_t draw(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

/* --- the order ---------------------------------------------------------------------------------
 */

#define KEYS 50000

static int compare_keys(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static void test_no_two_keys_are_the_same(void **state)
{
    (void)state;
    uint64_t *keys = malloc(KEYS * sizeof *keys);
    assert_non_null(keys);
    for (uint32_t i = 0; i < KEYS; i++) {
        keys[i] = ota_rollout_key(7, i + 1);
        assert_int_equal(keys[i], ota_rollout_key(7, i + 1));
    }
    qsort(keys, KEYS, sizeof *keys, compare_keys);
    for (size_t i = 1; i < KEYS; i++) {
        assert_true(keys[i - 1] < keys[i]);
    }
    free(keys);
}

/* How many of the devices first..last of the batch come before the given share of all keys. */
static int within(int64_t batch, uint32_t first, uint32_t last, double share)
{
    int count = 0;
    for (uint32_t id = first; id <= last; id++) {
        count += (double)ota_rollout_key(batch, id) < share * 18446744073709551616.0;
    }
    return count;
}

/* Ids that lie together were bought together: a stage must not be one delivery. Three sigma of a
 * fair draw of 10 percent out of 10,000 are 90. */
static void test_a_stage_is_a_fair_sample(void **state)
{
    (void)state;
    for (int64_t batch = 1; batch <= 20; batch++) {
        for (uint32_t first = 1; first < 50000; first += 10000) {
            assert_in_range(within(batch, first, first + 9999, 0.1), 1000 - 120, 1000 + 120);
        }
    }
}

/* The unlucky ones of one batch aren't those of the next. */
static void test_batches_draw_anew(void **state)
{
    (void)state;
    int both = 0;
    for (uint32_t id = 1; id <= 10000; id++) {
        both +=
            ota_rollout_key(8, id) < UINT64_MAX / 10 && ota_rollout_key(9, id) < UINT64_MAX / 10;
    }
    assert_in_range(both, 60, 140); /* 1 percent */
}

/* --- where stages end ---------------------------------------------------------------------------
 */

#define PERCENT(share)                                                                             \
    {                                                                                              \
        .percent = share                                                                           \
    }
#define NUMBER(devices)                                                                            \
    {                                                                                              \
        .count = devices                                                                           \
    }

static void test_ends(void **state)
{
    static const struct {
        struct ota_stage stages[4];
        size_t count;
        uint32_t total;
        uint32_t ends[4];
    } cases[] = {
        {{PERCENT(100)}, 1, 0, {0}},
        {{PERCENT(100)}, 1, 17, {17}},
        {{PERCENT(1), PERCENT(10), PERCENT(100)}, 3, 1000, {10, 100, 1000}},
        {{PERCENT(1), PERCENT(10), PERCENT(100)}, 3, 1001, {11, 101, 1001}}, /* rounded up */
        {{PERCENT(0.1), PERCENT(100)}, 2, 1000, {1, 1000}},
        {{PERCENT(0.1), PERCENT(100)}, 2, 1001, {2, 1001}},
        {{PERCENT(0.1), PERCENT(100)}, 2, 3000000, {3000, 3000000}},
        {{PERCENT(0.7), PERCENT(100)}, 2, 1000, {7, 1000}},
        {{PERCENT(33.3), PERCENT(66.6), PERCENT(100)}, 3, 1000, {333, 666, 1000}},
        {{NUMBER(5), NUMBER(50), PERCENT(100)}, 3, 1000, {5, 50, 1000}},
        {{NUMBER(5), NUMBER(50), PERCENT(100)}, 3, 20, {5, 20, 20}},
        {{NUMBER(5), PERCENT(50), PERCENT(100)}, 3, 1000, {5, 500, 1000}},
        {{NUMBER(600), PERCENT(50), PERCENT(100)}, 3, 1000, {600, 601, 1000}}, /* one more */
        {{PERCENT(50), NUMBER(3), PERCENT(100)}, 3, 1000, {500, 501, 1000}},
        {{PERCENT(1), PERCENT(2), PERCENT(3), PERCENT(100)}, 4, 10, {1, 2, 3, 10}},
        {{PERCENT(1), PERCENT(2), PERCENT(3), PERCENT(100)}, 4, 4, {1, 2, 3, 4}},
        {{PERCENT(1), PERCENT(2), PERCENT(3), PERCENT(100)}, 4, 3, {1, 2, 3, 3}},
        {{PERCENT(1), PERCENT(2), PERCENT(3), PERCENT(100)}, 4, 1, {1, 1, 1, 1}},
        {{PERCENT(1), PERCENT(2), PERCENT(3), PERCENT(100)}, 4, 0, {0, 0, 0, 0}},
        {{PERCENT(99.9), PERCENT(100)}, 2, 10, {10, 10}},
        {{PERCENT(99.9), PERCENT(100)}, 2, 1000, {999, 1000}},
        {{NUMBER(10000000), PERCENT(100)}, 2, 10, {10, 10}},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint32_t ends[4] = {0};
        ota_stage_ends(cases[i].stages, cases[i].count, cases[i].total, ends);
        for (size_t j = 0; j < cases[i].count; j++) {
            if (ends[j] != cases[i].ends[j]) {
                fail_msg("case %zu, stage %zu: %u is not %u", i, j, ends[j], cases[i].ends[j]);
            }
        }
    }
}

/* Against whole numbers: shares are tenths of a percent. */
static void test_ends_of_any_total(void **state)
{
    (void)state;
    for (int round = 0; round < 20000; round++) {
        struct ota_stage stages[3] = {0};
        uint32_t ends[3];
        uint32_t tenths[2] = {1 + draw(500), 0};
        tenths[1] = tenths[0] + 1 + draw(400);
        uint32_t total = draw(round % 2 != 0 ? 30 : 3000000);
        stages[0].percent = (double)tenths[0] / 10.0;
        stages[1].percent = (double)tenths[1] / 10.0;
        stages[2].percent = 100.0;
        ota_stage_ends(stages, 3, total, ends);
        uint32_t before = 0;
        for (int i = 0; i < 2; i++) {
            uint32_t end = (uint32_t)(((uint64_t)total * tenths[i] + 999) / 1000);
            end = end > before ? end : before + 1;
            end = end < total ? end : total;
            assert_int_equal(ends[i], end);
            before = end;
        }
        assert_int_equal(ends[2], total);
    }
}

/* --- tallies ------------------------------------------------------------------------------------
 */

static void add(struct ota_tally *tally, enum ota_status status, enum ota_confirmation confirmation,
                bool overdue, uint32_t count)
{
    struct ota_standing standing = {status, confirmation, false, overdue};
    for (uint32_t i = 0; i < count; i++) {
        ota_tally_add(tally, &standing, 1);
    }
}

static void test_each_task_counts_once(void **state)
{
    (void)state;
    for (int status = 0; status < OTA_STATUS_COUNT; status++) {
        for (int confirmation = 0; confirmation < OTA_CONFIRMATION_COUNT; confirmation++) {
            for (int bits = 0; bits < 4; bits++) {
                struct ota_tally tally = {0};
                struct ota_standing standing = {(enum ota_status)status,
                                                (enum ota_confirmation)confirmation, bits & 1,
                                                (bits & 2) != 0};
                ota_tally_add(&tally, &standing, 1);
                assert_int_equal(ota_tally_total(&tally), 1);
                assert_int_equal(tally.by_status[status], 1);
                assert_int_equal(tally.online, status == OTA_WAITING && standing.online);
                bool succeeded = status == OTA_SUCCEEDED;
                assert_int_equal(tally.confirmed, succeeded && confirmation == OTA_CONFIRMED);
                assert_int_equal(tally.contradicted, succeeded && confirmation == OTA_CONTRADICTED);
                ota_tally_add(&tally, &standing, -1);
                static const struct ota_tally none = {0};
                assert_memory_equal(&tally, &none, sizeof none);
            }
        }
    }
}

/* One of each: what it is under either gate. */
static void test_what_counts_as_what(void **state)
{
    static const struct {
        enum ota_status status;
        enum ota_confirmation confirmation;
        bool overdue;
        bool unfinished;
        /* under confirmed, under done */
        bool success[OTA_GATE_COUNT];
        bool failure[OTA_GATE_COUNT];
        bool in_flight[OTA_GATE_COUNT];
    } cases[] = {
        {OTA_WAITING, OTA_UNCONFIRMED, false, true, {0, 0}, {0, 0}, {0, 0}},
        {OTA_MESSAGE_SENT, OTA_UNCONFIRMED, false, true, {0, 0}, {0, 0}, {1, 1}},
        {OTA_DOWNLOADING, OTA_UNCONFIRMED, false, true, {0, 0}, {0, 0}, {1, 1}},
        {OTA_DOWNLOADED, OTA_UNCONFIRMED, false, true, {0, 0}, {0, 0}, {1, 1}},
        {OTA_UPGRADING, OTA_UNCONFIRMED, false, true, {0, 0}, {0, 0}, {1, 1}},
        {OTA_FAILED, OTA_UNCONFIRMED, false, false, {0, 0}, {1, 1}, {0, 0}},
        {OTA_CANCELLED, OTA_UNCONFIRMED, false, false, {0, 0}, {0, 0}, {0, 0}},
        {OTA_SUCCEEDED, OTA_PENDING, false, false, {0, 1}, {0, 0}, {1, 0}},
        {OTA_SUCCEEDED, OTA_PENDING, true, false, {0, 1}, {1, 0}, {0, 0}},
        {OTA_SUCCEEDED, OTA_CONFIRMED, false, false, {1, 1}, {0, 0}, {0, 0}},
        {OTA_SUCCEEDED, OTA_CONTRADICTED, false, false, {0, 1}, {1, 0}, {0, 0}},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ota_tally tally = {0};
        add(&tally, cases[i].status, cases[i].confirmation, cases[i].overdue, 3);
        assert_int_equal(ota_tally_total(&tally), 3);
        assert_int_equal(ota_tally_unfinished(&tally), cases[i].unfinished ? 3 : 0);
        for (int gate = 0; gate < OTA_GATE_COUNT; gate++) {
            assert_int_equal(ota_tally_successes(&tally, (enum ota_gate)gate),
                             cases[i].success[gate] ? 3 : 0);
            assert_int_equal(ota_tally_failures(&tally, (enum ota_gate)gate),
                             cases[i].failure[gate] ? 3 : 0);
            assert_int_equal(ota_tally_in_flight(&tally, (enum ota_gate)gate),
                             cases[i].in_flight[gate] ? 3 : 0);
        }
    }
}

static void test_needed(void **state)
{
    static const struct {
        uint32_t total;
        int percent;
        uint32_t needed;
    } cases[] = {
        {10, 90, 9},
        {3, 90, 3},
        {0, 90, 0},
        {0, 100, 0},
        {7, 0, 0},
        {7, 100, 7},
        {11, 60, 7},
        {1, 1, 1},
        {1, 90, 1},
        {200, 99, 198},
        {201, 99, 199},
        {10000000, 100, 10000000},
        {4000000000u, 50, 2000000000u},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ota_stage stage = {.min_success_percent = cases[i].percent};
        stage.tally.by_status[OTA_WAITING] = cases[i].total;
        assert_int_equal(ota_rollout_needed(&stage), cases[i].needed);
    }
}

/* --- what is due --------------------------------------------------------------------------------
 */

/* Two stages of ten; the first one is open, all wait. */
struct game {
    struct ota_stage stages[2];
    struct ota_rollout rollout;
};

static void begin(struct game *game)
{
    *game = (struct game){.stages = {{.percent = 50, .min_success_percent = 90, .end_key = 1},
                                     {.percent = 100, .min_success_percent = 90}}};
    game->stages[0].tally.by_status[OTA_WAITING] = 10;
    game->stages[1].tally.by_status[OTA_WAITING] = 10;
    game->rollout = (struct ota_rollout){.gate = OTA_GATE_DONE,
                                         .stages = game->stages,
                                         .stage_count = 2,
                                         .open = 1,
                                         .running = true};
}

/* So many waiting ones of the stage end so. */
static void end(struct game *game, int stage, enum ota_status status, uint32_t count)
{
    struct ota_tally *tally = &game->stages[stage].tally;
    assert_true(tally->by_status[OTA_WAITING] >= count);
    tally->by_status[OTA_WAITING] -= count;
    add(tally, status, OTA_UNCONFIRMED, false, count);
}

static enum ota_rollout_act next(const struct game *game, int64_t now)
{
    return ota_rollout_next(&game->rollout, now);
}

static void test_nothing_is_due_at_first(void **state)
{
    struct game game;
    (void)state;
    begin(&game);
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_NOTHING);
    assert_int_equal(next(&game, INT64_C(1) << 50), OTA_ROLLOUT_NOTHING);
    game.rollout.open = 0; /* it has expired before a stage was there to open */
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_NOTHING);
    game.rollout.running = false;
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_NOTHING);
}

static void test_threshold(void **state)
{
    struct game game;
    (void)state;
    begin(&game);
    game.stages[0].min_success_percent = 10;
    game.rollout.threshold_percent = 50;
    game.rollout.threshold_min = 4;
    end(&game, 0, OTA_FAILED, 3);
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_NOTHING); /* too few have ended */
    end(&game, 0, OTA_FAILED, 1);
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_PAUSE_THRESHOLD);
    game.rollout.threshold_min = 5;
    end(&game, 0, OTA_CANCELLED, 2); /* neither */
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_NOTHING);
    game.rollout.threshold_percent = 0;
    game.rollout.threshold_min = 0;
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_NOTHING);
}

static void test_threshold_is_met_exactly(void **state)
{
    static const struct {
        uint32_t failed;
        uint32_t succeeded;
        int percent;
        bool pauses;
    } cases[] = {
        {1, 9, 10, true}, {1, 9, 11, false},  {1, 2, 33, true},   {1, 2, 34, false},
        {0, 9, 1, false}, {10, 0, 100, true}, {9, 1, 100, false}, {9, 1, 90, true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct game game;
        begin(&game);
        game.stages[0].min_success_percent = 0;
        game.stages[0].passed_ms = 5;
        game.stages[0].manual = true;
        game.rollout.threshold_percent = cases[i].percent;
        game.rollout.threshold_min = 1;
        end(&game, 0, OTA_FAILED, cases[i].failed);
        end(&game, 0, OTA_SUCCEEDED, cases[i].succeeded);
        assert_int_equal(next(&game, 9),
                         cases[i].pauses ? OTA_ROLLOUT_PAUSE_THRESHOLD : OTA_ROLLOUT_NOTHING);
    }
}

static void test_threshold_comes_before_the_gate(void **state)
{
    struct game game;
    (void)state;
    begin(&game);
    end(&game, 0, OTA_FAILED, 5);
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_PAUSE_GATE);
    game.rollout.threshold_percent = 100;
    game.rollout.threshold_min = 5;
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_PAUSE_THRESHOLD);
}

/* What came before an admin let it go on doesn't count again. */
static void test_known_outcomes(void **state)
{
    struct game game;
    (void)state;
    begin(&game);
    game.rollout.threshold_percent = 50;
    game.rollout.threshold_min = 2;
    game.rollout.open = 2;
    end(&game, 0, OTA_FAILED, 4);
    end(&game, 0, OTA_SUCCEEDED, 4);
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_PAUSE_THRESHOLD);
    game.rollout.known_failures = 4;
    game.rollout.known_successes = 4;
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_NOTHING);
    end(&game, 1, OTA_FAILED, 1);
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_NOTHING); /* one of at least two */
    end(&game, 1, OTA_SUCCEEDED, 2);
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_NOTHING); /* a third of them */
    end(&game, 1, OTA_FAILED, 1);
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_PAUSE_THRESHOLD);
    game.rollout.known_failures = 99; /* retried in the meantime: never below zero */
    game.rollout.known_successes = 99;
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_NOTHING);
}

static void test_only_open_stages_count(void **state)
{
    struct game game;
    uint32_t failures;
    uint32_t successes;
    (void)state;
    begin(&game);
    game.rollout.threshold_percent = 10;
    game.rollout.threshold_min = 1;
    end(&game, 1, OTA_FAILED, 6);
    end(&game, 1, OTA_SUCCEEDED, 1);
    end(&game, 0, OTA_SUCCEEDED, 2);
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_NOTHING);
    ota_rollout_outcomes(&game.rollout, &failures, &successes);
    assert_int_equal(failures, 0);
    assert_int_equal(successes, 2);
    game.rollout.open = 2;
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_PAUSE_THRESHOLD);
    ota_rollout_outcomes(&game.rollout, &failures, &successes);
    assert_int_equal(failures, 6);
    assert_int_equal(successes, 3);
}

static void test_a_gate_that_became_unreachable(void **state)
{
    struct game game;
    (void)state;
    begin(&game);
    end(&game, 0, OTA_FAILED, 1);
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_NOTHING); /* nine of ten can still come */
    end(&game, 0, OTA_FAILED, 1);
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_PAUSE_GATE);
    game.stages[0].min_success_percent = 80;
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_NOTHING);
}

/* An admin's cancellations are no reason to stop; it waits for an admin. */
static void test_cancelled_tasks_close_no_gate(void **state)
{
    struct game game;
    (void)state;
    begin(&game);
    end(&game, 0, OTA_CANCELLED, 9);
    end(&game, 0, OTA_SUCCEEDED, 1);
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_NOTHING);
}

static void test_pass_soak_advance(void **state)
{
    struct game game;
    (void)state;
    begin(&game);
    game.stages[0].soak_ms = 5000;
    end(&game, 0, OTA_SUCCEEDED, 8);
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_NOTHING);
    end(&game, 0, OTA_SUCCEEDED, 1);
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_PASS);
    game.stages[0].passed_ms = 1000;
    assert_int_equal(next(&game, 1000), OTA_ROLLOUT_NOTHING);
    assert_int_equal(next(&game, 5999), OTA_ROLLOUT_NOTHING);
    assert_int_equal(next(&game, 6000), OTA_ROLLOUT_ADVANCE);
    game.stages[0].manual = true;
    assert_int_equal(next(&game, 6000000), OTA_ROLLOUT_NOTHING);
    game.stages[0].manual = false;
    game.stages[0].soak_ms = 0;
    assert_int_equal(next(&game, 1000), OTA_ROLLOUT_ADVANCE);
}

/* A contradiction during the soak takes the pass back. */
static void test_unpass(void **state)
{
    struct game game;
    (void)state;
    begin(&game);
    game.rollout.gate = OTA_GATE_CONFIRMED;
    game.stages[0].passed_ms = 1000;
    game.stages[0].tally.by_status[OTA_WAITING] = 1;
    add(&game.stages[0].tally, OTA_SUCCEEDED, OTA_CONFIRMED, false, 8);
    add(&game.stages[0].tally, OTA_SUCCEEDED, OTA_CONTRADICTED, false, 1);
    assert_int_equal(next(&game, 90000), OTA_ROLLOUT_UNPASS);
    game.stages[0].passed_ms = 0;
    assert_int_equal(next(&game, 90000), OTA_ROLLOUT_NOTHING);
    add(&game.stages[0].tally, OTA_SUCCEEDED, OTA_CONTRADICTED, false, 1);
    assert_int_equal(next(&game, 90000), OTA_ROLLOUT_PAUSE_GATE);
}

static void test_a_gate_at_no_percent_and_an_empty_stage(void **state)
{
    struct game game;
    (void)state;
    begin(&game);
    game.stages[0].min_success_percent = 0;
    end(&game, 0, OTA_FAILED, 10);
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_PASS);
    begin(&game); /* a fleet of fewer devices than stages: nobody is behind the empty one */
    struct ota_stage three[3] = {game.stages[0], game.stages[1], game.stages[1]};
    three[1].tally.by_status[OTA_WAITING] = 0;
    three[2].tally.by_status[OTA_WAITING] = 0;
    game.rollout.stages = three;
    game.rollout.stage_count = 3;
    game.rollout.open = 2;
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_PASS);
}

/* All devices of the open stage were deleted: nobody has proved anything. */
static void test_an_emptied_stage_opens_nothing(void **state)
{
    struct game game;
    (void)state;
    begin(&game);
    game.stages[0].tally.by_status[OTA_WAITING] = 0;
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_NOTHING);
    game.stages[0].passed_ms = 1; /* also where they went while it soaked */
    assert_int_equal(next(&game, INT64_C(1) << 50), OTA_ROLLOUT_NOTHING);
    game.stages[0].min_success_percent = 0; /* no success was asked for */
    assert_int_equal(next(&game, INT64_C(1) << 50), OTA_ROLLOUT_ADVANCE);
}

static void test_the_last_stage_has_no_gate(void **state)
{
    struct game game;
    (void)state;
    begin(&game);
    game.rollout.open = 2;
    end(&game, 1, OTA_FAILED, 10);
    end(&game, 0, OTA_FAILED, 9);
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_NOTHING);
}

static void test_finish(void **state)
{
    struct game game;
    (void)state;
    begin(&game);
    game.rollout.threshold_percent = 1;
    game.rollout.threshold_min = 1;
    game.rollout.open = 2;
    end(&game, 0, OTA_SUCCEEDED, 10);
    end(&game, 1, OTA_CANCELLED, 9);
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_NOTHING);
    end(&game, 1, OTA_FAILED, 1);
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_FINISH); /* too late to pause */
    game.rollout.open = 1;
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_FINISH);
    game.rollout.running = false; /* paused */
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_FINISH);
    game.rollout.continuous = true;
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_NOTHING);
    game.rollout.running = true;
    game.rollout.open = 2;
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_PAUSE_THRESHOLD);
}

static void test_each_status_that_is_not_final_keeps_it_going(void **state)
{
    (void)state;
    for (int status = OTA_WAITING; status <= OTA_UPGRADING; status++) {
        struct game game;
        begin(&game);
        end(&game, 0, OTA_SUCCEEDED, 10);
        end(&game, 1, OTA_FAILED, 10);
        game.rollout.open = 2;
        assert_int_equal(next(&game, 0), OTA_ROLLOUT_FINISH);
        add(&game.stages[1].tally, (enum ota_status)status, OTA_UNCONFIRMED, false, 1);
        assert_int_equal(next(&game, 0), OTA_ROLLOUT_NOTHING);
    }
}

static void test_nobody_to_upgrade(void **state)
{
    struct game game;
    (void)state;
    begin(&game);
    game.stages[0].tally = (struct ota_tally){0};
    game.stages[1].tally = (struct ota_tally){0};
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_FINISH);
}

static void test_nothing_is_due_in_a_pause(void **state)
{
    struct game game;
    (void)state;
    begin(&game);
    game.rollout.running = false;
    game.rollout.threshold_percent = 1;
    game.rollout.threshold_min = 1;
    end(&game, 0, OTA_FAILED, 5);
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_NOTHING);
    begin(&game);
    game.rollout.running = false;
    end(&game, 0, OTA_SUCCEEDED, 10);
    game.stages[0].passed_ms = 1;
    assert_int_equal(next(&game, 99999), OTA_ROLLOUT_NOTHING);
}

/* What has not proved its success in time is a failure under `confirmed`. */
static void test_overdue_ones_fail(void **state)
{
    struct game game;
    (void)state;
    begin(&game);
    game.rollout.threshold_percent = 20;
    game.rollout.threshold_min = 10;
    game.stages[0].tally.by_status[OTA_WAITING] = 0;
    add(&game.stages[0].tally, OTA_SUCCEEDED, OTA_CONFIRMED, false, 8);
    add(&game.stages[0].tally, OTA_SUCCEEDED, OTA_PENDING, true, 2);
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_PASS); /* done is enough */
    game.rollout.gate = OTA_GATE_CONFIRMED;
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_PAUSE_THRESHOLD);
    game.rollout.threshold_percent = 0;
    assert_int_equal(next(&game, 0), OTA_ROLLOUT_PAUSE_GATE);
}

/* --- pace --------------------------------------------------------------------------------------
 */

/* 1000ths of a token. */
static int tokens(const struct ota_bucket *bucket)
{
    return (int)(bucket->tokens * 1000.0 + 0.5);
}

static void test_a_bucket_starts_with_one(void **state)
{
    static const int64_t rates[] = {1, 59, 60, 6000, 6000000};
    (void)state;
    for (size_t i = 0; i < COUNT(rates); i++) {
        struct ota_bucket bucket = {0};
        ota_bucket_fill(&bucket, rates[i], 5000000);
        assert_int_equal(tokens(&bucket), 1000);
        assert_int_equal(bucket.at, 5000000);
    }
}

static void test_it_holds_a_seconds_worth(void **state)
{
    struct ota_bucket bucket = {.tokens = 0.0, .at = 1000};
    (void)state;
    ota_bucket_fill(&bucket, 600, 1300);
    assert_int_equal(tokens(&bucket), 3000);
    ota_bucket_fill(&bucket, 600, 1900);
    assert_int_equal(tokens(&bucket), 9000);
    ota_bucket_fill(&bucket, 600, 2100);
    assert_int_equal(tokens(&bucket), 10000);
    ota_bucket_fill(&bucket, 600, 9999999);
    assert_int_equal(tokens(&bucket), 10000);
}

static void test_a_slow_one_holds_one(void **state)
{
    struct ota_bucket bucket = {.tokens = 0.0, .at = 1000};
    (void)state;
    ota_bucket_fill(&bucket, 6, 6000);
    assert_int_equal(tokens(&bucket), 500);
    ota_bucket_fill(&bucket, 6, 10999);
    assert_true(bucket.tokens < 1.0);
    ota_bucket_fill(&bucket, 6, 11000);
    assert_int_equal(tokens(&bucket), 1000);
    ota_bucket_fill(&bucket, 6, 9999999);
    assert_int_equal(tokens(&bucket), 1000);
}

static void test_a_pause_fills_nothing(void **state)
{
    struct ota_bucket bucket = {.tokens = 0.5, .at = 1000};
    (void)state;
    ota_bucket_skip(&bucket, 900000);
    assert_int_equal(tokens(&bucket), 500);
    ota_bucket_fill(&bucket, 60, 900250);
    assert_int_equal(tokens(&bucket), 750);
    bucket = (struct ota_bucket){0};
    ota_bucket_skip(&bucket, 900000); /* never used: it still starts with one */
    ota_bucket_fill(&bucket, 60, 900250);
    assert_int_equal(tokens(&bucket), 1000);
}

static void test_another_rate_keeps_what_is_there(void **state)
{
    struct ota_bucket bucket = {.tokens = 7.0, .at = 1000};
    (void)state;
    ota_bucket_fill(&bucket, 6000, 1000);
    assert_int_equal(tokens(&bucket), 7000);
    ota_bucket_fit(&bucket, 480);
    assert_int_equal(tokens(&bucket), 7000);
    ota_bucket_fit(&bucket, 120); /* as far as it fits */
    assert_int_equal(tokens(&bucket), 2000);
    ota_bucket_fit(&bucket, 6);
    assert_int_equal(tokens(&bucket), 1000);
}

/* Who waits takes the token as it comes, though nobody looks until a tick later; where nobody waits
 * it is one token that is there, however long. */
static void test_a_token_between_two_looks(void **state)
{
    struct ota_bucket bucket = {.tokens = 0.99, .at = 1000, .wanted = true};
    (void)state;
    ota_bucket_fill(&bucket, 60, 1060);
    assert_int_equal(tokens(&bucket), 1050);
    bucket = (struct ota_bucket){.tokens = 0.99, .at = 1000, .wanted = true};
    ota_bucket_fill(&bucket, 60, 2000); /* nobody looked for a second: that is no tick */
    assert_int_equal(tokens(&bucket), 1100);
    bucket.wanted = false;
    ota_bucket_fill(&bucket, 60, 2010);
    assert_int_equal(tokens(&bucket), 1000);
    bucket.wanted = true;
    ota_bucket_skip(&bucket, 9000); /* a pause */
    assert_false(bucket.wanted);
}

/* Whatever the steps: the first at once, then as many as the rate says. */
static void test_pace_over_ten_minutes(void **state)
{
    static const int64_t rates[] = {1, 7, 60, 90, 600, 100000};
    static const int64_t steps[] = {1, 10, 77};
    (void)state;
    for (size_t i = 0; i < COUNT(rates) * COUNT(steps); i++) {
        int64_t rate = rates[i / COUNT(steps)];
        int64_t step = steps[i % COUNT(steps)];
        int64_t sent = 0;
        struct ota_bucket bucket = {0};
        for (int64_t now = 1000; now <= 601000; now += step) {
            ota_bucket_fill(&bucket, rate, now);
            int64_t some = (int64_t)bucket.tokens;
            bucket.tokens -= (double)some;
            bucket.wanted = true;
            sent += some;
        }
        int64_t last_step = rate * step / 60000;
        assert_in_range(sent, rate * 10 - 1 - last_step, rate * 10 + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_two_keys_are_the_same),
        cmocka_unit_test(test_a_stage_is_a_fair_sample),
        cmocka_unit_test(test_batches_draw_anew),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_ends_of_any_total),
        cmocka_unit_test(test_each_task_counts_once),
        cmocka_unit_test(test_what_counts_as_what),
        cmocka_unit_test(test_needed),
        cmocka_unit_test(test_nothing_is_due_at_first),
        cmocka_unit_test(test_threshold),
        cmocka_unit_test(test_threshold_is_met_exactly),
        cmocka_unit_test(test_threshold_comes_before_the_gate),
        cmocka_unit_test(test_known_outcomes),
        cmocka_unit_test(test_only_open_stages_count),
        cmocka_unit_test(test_a_gate_that_became_unreachable),
        cmocka_unit_test(test_cancelled_tasks_close_no_gate),
        cmocka_unit_test(test_pass_soak_advance),
        cmocka_unit_test(test_unpass),
        cmocka_unit_test(test_a_gate_at_no_percent_and_an_empty_stage),
        cmocka_unit_test(test_an_emptied_stage_opens_nothing),
        cmocka_unit_test(test_the_last_stage_has_no_gate),
        cmocka_unit_test(test_finish),
        cmocka_unit_test(test_each_status_that_is_not_final_keeps_it_going),
        cmocka_unit_test(test_nobody_to_upgrade),
        cmocka_unit_test(test_nothing_is_due_in_a_pause),
        cmocka_unit_test(test_overdue_ones_fail),
        cmocka_unit_test(test_a_bucket_starts_with_one),
        cmocka_unit_test(test_it_holds_a_seconds_worth),
        cmocka_unit_test(test_a_slow_one_holds_one),
        cmocka_unit_test(test_a_pause_fills_nothing),
        cmocka_unit_test(test_another_rate_keeps_what_is_there),
        cmocka_unit_test(test_a_token_between_two_looks),
        cmocka_unit_test(test_pace_over_ten_minutes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
