/* SPDX-License-Identifier: BSD-3-Clause */
/* Batches in memory: lists, order, tallies, and what their state means for a task. */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/batch_members.h"
#include "../../plugin/fleet_task.h"

#define PRODUCT 1
#define DEVICES 400
#define ID      7 /* of the batch */

struct world {
    struct ota_fleet fleet;
    struct ota_batch *batch;
};

static struct ota_batch *add_batch(struct world *world, int64_t id, size_t stage_count)
{
    static const struct ota_stage stages[OTA_STAGES_MAX];
    struct ota_batch_row row = {.id = id,
                                .product_id = PRODUCT,
                                .state = OTA_BATCH_RUNNING,
                                .prepared = OTA_PREPARED_PARTLY,
                                .open_stages = 1,
                                .max_in_flight = 500};
    struct ota_target target = {.online = -1};
    return ota_fleet_add_batch(&world->fleet, &row, &target, stages, stage_count);
}

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    ota_fleet_init(&world->fleet);
    assert_non_null(ota_fleet_add_product(&world->fleet, PRODUCT, "p"));
    for (int64_t id = 1; id <= DEVICES; id++) {
        struct ota_device_row row = {.id = id, .product_id = PRODUCT};
        (void)snprintf(row.name, sizeof row.name, "d%lld", (long long)id);
        assert_non_null(ota_fleet_add_device(&world->fleet, &row));
    }
    world->batch = add_batch(world, ID, 3);
    assert_non_null(world->batch);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    ota_fleet_free(&world->fleet);
    free(world);
    return 0;
}

static struct ota_task *add_task(struct world *world, int64_t id, int64_t device)
{
    struct ota_task_row row = {.id = id, .device_id = device, .batch_id = ID, .attempt = 1};
    struct ota_task *task = ota_task_new(&world->fleet, &row);
    assert_non_null(task);
    ota_fleet_link_task(&world->fleet, task);
    return task;
}

/* --- in the fleet -------------------------------------------------------------------------------
 */

static void test_found_by_id(void **state)
{
    struct world *world = *state;
    struct ota_batch *other = add_batch(world, 9, 1);
    assert_ptr_equal(ota_fleet_batch(&world->fleet, ID), world->batch);
    assert_ptr_equal(ota_fleet_batch(&world->fleet, 9), other);
    assert_null(ota_fleet_batch(&world->fleet, 8));
    assert_int_equal(world->fleet.newest_batch, 9);
    assert_int_equal(other->stage_count, 1);
    ota_fleet_remove_batch(&world->fleet, other);
    assert_null(ota_fleet_batch(&world->fleet, 9));
    assert_int_equal(world->fleet.live_count, 1);
}

static void test_of_no_product(void **state)
{
    struct world *world = *state;
    struct ota_batch_row row = {.id = 9, .product_id = 77};
    struct ota_target target = {.json = json_object(), .online = -1}; /* is freed */
    assert_null(ota_fleet_add_batch(&world->fleet, &row, &target, NULL, 0));
    assert_int_equal(world->fleet.live_count, 1);
}

/* The ids of the live ones, as "9 7". */
static const char *live(const struct world *world)
{
    static char text[64];
    size_t used = 0;
    text[0] = '\0';
    for (const struct ota_batch *batch = world->fleet.live; batch != NULL;
         batch = batch->next_live) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%lld", used > 0 ? " " : "",
                                 (long long)batch->row.id);
    }
    return text;
}

static void test_settled_ones_are_not_live(void **state)
{
    struct world *world = *state;
    struct ota_batch *eight = add_batch(world, 8, 1);
    (void)add_batch(world, 9, 1);
    assert_string_equal(live(world), "9 8 7");
    ota_fleet_turn_batches(&world->fleet);
    assert_string_equal(live(world), "8 7 9");
    eight->row.state = OTA_BATCH_CANCELLED; /* its tasks are still to be ended */
    ota_fleet_list_batch(&world->fleet, eight);
    assert_int_equal(world->fleet.live_count, 3);
    eight->row.tallied = true;
    ota_fleet_list_batch(&world->fleet, eight);
    assert_string_equal(live(world), "7 9");
    ota_fleet_list_batch(&world->fleet, eight); /* once more */
    assert_int_equal(world->fleet.live_count, 2);
    eight->row.tallied = false; /* retried */
    ota_fleet_list_batch(&world->fleet, eight);
    assert_string_equal(live(world), "8 7 9");
    world->batch->row.tallied = true;
    ota_fleet_list_batch(&world->fleet, world->batch);
    assert_string_equal(live(world), "8 9");
    eight->row.tallied = true;
    ota_fleet_list_batch(&world->fleet, eight);
    ota_fleet_turn_batches(&world->fleet);
    assert_string_equal(live(world), "9");
}

static void test_its_tasks(void **state)
{
    struct world *world = *state;
    struct ota_batch *batch = world->batch;
    struct ota_task *tasks[5];
    for (int i = 0; i < 5; i++) {
        tasks[i] = add_task(world, i + 1, i + 1);
        assert_ptr_equal(batch->tasks, tasks[i]);
    }
    batch->sweep_next = tasks[3];
    ota_fleet_unlink_task(&world->fleet, tasks[3]); /* the one that the sweep stands at */
    assert_ptr_equal(batch->sweep_next, tasks[2]);
    ota_fleet_unlink_task(&world->fleet, tasks[4]); /* first */
    assert_ptr_equal(batch->tasks, tasks[2]);
    ota_fleet_unlink_task(&world->fleet, tasks[0]); /* last */
    assert_null(tasks[1]->next_of_batch);
    assert_ptr_equal(batch->sweep_next, tasks[2]);
    ota_fleet_unlink_task(&world->fleet, tasks[2]);
    assert_ptr_equal(batch->sweep_next, tasks[1]);
    ota_fleet_unlink_task(&world->fleet, tasks[1]);
    assert_null(batch->sweep_next);
    assert_null(batch->tasks);
    for (int i = 0; i < 5; i++) {
        ota_task_free(&world->fleet, tasks[i]);
    }
}

/* --- members and stages -------------------------------------------------------------------------
 */

static int compare_keys(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

/* Devices 1..DEVICES as members, and their keys in order. */
static void add_members(struct ota_batch *batch, uint64_t *keys)
{
    for (uint32_t id = 1; id <= DEVICES; id++) {
        assert_true(ota_batch_note_member(batch, id));
        keys[id - 1] = ota_rollout_key(batch->row.id, id);
    }
    qsort(keys, DEVICES, sizeof *keys, compare_keys);
}

static void test_the_key_at_each_rank(void **state)
{
    struct world *world = *state;
    uint64_t keys[DEVICES];
    uint64_t key;
    assert_int_equal(ota_batch_member_count(world->batch), 0);
    add_members(world->batch, keys);
    assert_int_equal(ota_batch_member_count(world->batch), DEVICES);
    for (uint32_t rank = 1; rank <= DEVICES; rank++) {
        assert_true(ota_batch_key_at(world->batch, rank, &key));
        assert_true(key == keys[rank - 1]);
    }
}

static void test_members_are_taken_back(void **state)
{
    struct world *world = *state;
    uint64_t keys[DEVICES];
    uint64_t key;
    size_t count;
    add_members(world->batch, keys);
    ota_batch_trim_members(world->batch, 100);
    ota_batch_trim_members(world->batch, 200); /* there are no more */
    assert_int_equal(ota_batch_member_count(world->batch), 100);
    for (uint32_t id = 1; id <= 100; id++) {
        keys[id - 1] = ota_rollout_key(ID, id);
    }
    qsort(keys, 100, sizeof *keys, compare_keys);
    assert_true(ota_batch_key_at(world->batch, 100, &key));
    assert_true(key == keys[99]);
    assert_true(ota_batch_key_at(world->batch, 1, &key));
    assert_true(key == keys[0]);
    assert_int_equal(*ota_batch_members(world->batch, 98, &count), 99);
    assert_int_equal(count, 2);
    assert_null(ota_batch_members(world->batch, 100, &count));
    assert_int_equal(count, 0);
    ota_batch_forget_members(world->batch);
    ota_batch_forget_members(world->batch);
    assert_int_equal(ota_batch_member_count(world->batch), 0);
    assert_null(ota_batch_members(world->batch, 0, &count));
}

/* Whose device was deleted. */
static void test_a_member_goes(void **state)
{
    static const uint32_t gone[] = {1, 200, DEVICES, 200, DEVICES + 1}; /* two aren't there */
    struct world *world = *state;
    struct ota_batch *batch = world->batch;
    uint64_t keys[DEVICES];
    uint64_t key;
    size_t count;
    ota_batch_drop_member(batch, 1); /* nobody is in it yet */
    add_members(batch, keys);
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) {
        batch->ends_known = 2;
        ota_batch_drop_member(batch, gone[i]);
        assert_int_equal(batch->ends_known, i < 3 ? 0 : 2);
    }
    assert_int_equal(ota_batch_member_count(batch), DEVICES - 3);
    const uint32_t *members = ota_batch_members(batch, 0, &count);
    for (uint32_t i = 0; i < DEVICES - 3; i++) {
        assert_int_equal(members[i], i + 2 + (i + 2 >= 200));
    }
    for (uint32_t rank = 1; rank <= DEVICES - 3; rank++) {
        assert_true(ota_batch_key_at(batch, rank, &key));
        assert_true(key != ota_rollout_key(ID, 200));
    }
    batch->placing = true; /* it isn't met: who comes next keeps its place */
    ota_batch_drop_member(batch, 2);
    assert_int_equal(ota_batch_member_count(batch), DEVICES - 3);
}

/* Stages of 40, 160 and 200 devices. */
static void set_ends(struct ota_batch *batch)
{
    uint64_t keys[DEVICES];
    add_members(batch, keys);
    batch->stages[0].end_key = keys[39];
    batch->stages[1].end_key = keys[199];
    batch->stages[2].end_key = OTA_KEY_LAST;
}

static int stage_size(const struct ota_batch *batch, size_t stage)
{
    int size = 0;
    for (uint32_t id = 1; id <= DEVICES; id++) {
        size += ota_batch_stage_of(batch, id) == stage;
    }
    return size;
}

static void test_stages_have_the_size_that_was_asked_for(void **state)
{
    struct world *world = *state;
    struct ota_batch *batch = world->batch;
    set_ends(batch);
    assert_int_equal(stage_size(batch, 2), DEVICES); /* until all are there */
    batch->placing = true;
    assert_int_equal(stage_size(batch, 2), DEVICES);
    batch->placed_to = DEVICES / 2;
    for (uint32_t id = DEVICES / 2 + 1; id <= DEVICES; id++) {
        assert_int_equal(ota_batch_stage_of(batch, id), 2);
    }
    assert_in_range(stage_size(batch, 0), 5, 35); /* of the first half already */
    batch->placing = false;
    batch->row.prepared = OTA_PREPARED_FULLY;
    assert_int_equal(stage_size(batch, 0), 40);
    assert_int_equal(stage_size(batch, 1), 160);
    assert_int_equal(stage_size(batch, 2), 200);
    struct ota_batch *whole = add_batch(world, 9, 1);
    assert_int_equal(ota_batch_stage_of(whole, 5), 0);
}

static void queue(struct world *world, struct ota_task *task)
{
    uint64_t key = ota_rollout_key(ID, task->device->id);
    assert_true(ota_heap_set(&world->batch->queue, task, ota_batch_rank(key)));
}

/* In the order of the keys, and no further than the open stages reach. */
static void test_who_is_next(void **state)
{
    struct world *world = *state;
    struct ota_batch *batch = world->batch;
    set_ends(batch);
    batch->row.prepared = OTA_PREPARED_FULLY;
    assert_null(ota_batch_next(batch));
    for (int64_t id = 1; id <= DEVICES; id++) {
        queue(world, add_task(world, id, id));
    }
    batch->row.open_stages = 0;
    assert_null(ota_batch_next(batch));
    int sent = 0;
    uint64_t last = 0;
    static const int reaches[] = {40, 200, DEVICES};
    for (int open = 1; open <= 3; open++) {
        batch->row.open_stages = open;
        for (struct ota_task *task; (task = ota_batch_next(batch)) != NULL; sent++) {
            uint64_t key = ota_rollout_key(ID, task->device->id);
            assert_true(sent == 0 || key > last);
            last = key;
            ota_heap_remove(&batch->queue, task);
        }
        assert_int_equal(sent, reaches[open - 1]);
    }
}

/* --- tallies ------------------------------------------------------------------------------------
 */

static struct ota_upgrade stands(enum ota_status status)
{
    return (struct ota_upgrade){.status = status, .attempt = 1};
}

static struct ota_upgrade succeeded(enum ota_confirmation confirmation, int64_t settle_until)
{
    struct ota_upgrade up = stands(OTA_SUCCEEDED);
    up.confirmation = confirmation;
    up.settle_until = settle_until;
    return up;
}

/* The task of that number, of the device of that number, moves. NULL: it came, or goes. */
static void moves(struct world *world, uint32_t id, const struct ota_upgrade *before,
                  const struct ota_upgrade *after)
{
    struct ota_counted from = {.task_id = id, .device_id = id, .up = before};
    struct ota_counted to = {.task_id = id, .device_id = id, .up = after};
    ota_batch_count(world->batch, before != NULL ? &from : NULL, after != NULL ? &to : NULL);
}

static void test_a_task_comes_moves_and_goes(void **state)
{
    struct world *world = *state;
    struct ota_batch *batch = world->batch;
    struct ota_upgrade waiting = stands(OTA_WAITING);
    struct ota_upgrade sent = stands(OTA_MESSAGE_SENT);
    moves(world, 1, NULL, &waiting);
    moves(world, 2, NULL, &waiting);
    moves(world, 1, &waiting, &sent);
    struct ota_tally tally = ota_batch_tally(batch);
    assert_int_equal(tally.by_status[OTA_WAITING], 1);
    assert_int_equal(tally.by_status[OTA_MESSAGE_SENT], 1);
    assert_int_equal(ota_tally_total(&tally), 2);
    /* What it would be, without its being so. */
    struct ota_counted before = {.task_id = 2, .device_id = 2, .up = &waiting};
    tally = ota_batch_tally_after(batch, &before, NULL);
    assert_int_equal(tally.by_status[OTA_WAITING], 0);
    assert_int_equal(ota_batch_tally(batch).by_status[OTA_WAITING], 1);
    moves(world, 2, &waiting, NULL);
    moves(world, 1, &sent, NULL);
    static const struct ota_tally none = {0};
    tally = ota_batch_tally(batch);
    assert_memory_equal(&tally, &none, sizeof none);
}

static void test_it_counts_in_its_stage(void **state)
{
    struct world *world = *state;
    struct ota_batch *batch = world->batch;
    struct ota_upgrade waiting = stands(OTA_WAITING);
    struct ota_upgrade failed = stands(OTA_FAILED);
    set_ends(batch);
    for (uint32_t id = 1; id <= DEVICES; id++) {
        moves(world, id, NULL, &waiting);
    }
    ota_batch_count_online(batch, 5, 1);
    assert_int_equal(ota_tally_total(&batch->stages[2].tally), DEVICES);
    batch->placing = true;
    for (uint32_t id = 1; id <= DEVICES; id++) {
        struct ota_counted counted = {.task_id = id, .device_id = id, .online = id == 5};
        struct ota_upgrade *up = id == 9 ? &failed : &waiting;
        if (id == 9) { /* while they are being placed, things happen to both kinds */
            moves(world, 9, &waiting, &failed);
            moves(world, 8, &waiting, &failed);
            moves(world, 8, &failed, &waiting);
        }
        counted.up = up;
        ota_batch_place(batch, &counted);
    }
    batch->placing = false;
    batch->row.prepared = OTA_PREPARED_FULLY;
    assert_int_equal(ota_tally_total(&batch->stages[0].tally), 40);
    assert_int_equal(ota_tally_total(&batch->stages[1].tally), 160);
    assert_int_equal(ota_tally_total(&batch->stages[2].tally), 200);
    assert_int_equal(batch->stages[ota_batch_stage_of(batch, 5)].tally.online, 1);
    assert_int_equal(batch->stages[ota_batch_stage_of(batch, 9)].tally.by_status[OTA_FAILED], 1);
    struct ota_tally tally = ota_batch_tally(batch);
    assert_int_equal(tally.online, 1);
    assert_int_equal(tally.by_status[OTA_FAILED], 1);
    assert_int_equal(ota_tally_total(&tally), DEVICES);
    ota_batch_count_online(batch, 5, -1);
    assert_int_equal(ota_batch_tally(batch).online, 0);
}

/* --- successes that have to be proved -----------------------------------------------------------
 */

static uint32_t overdue(const struct world *world)
{
    return ota_batch_tally(world->batch).overdue;
}

static void test_a_success_becomes_overdue(void **state)
{
    struct world *world = *state;
    struct ota_upgrade burning = stands(OTA_UPGRADING);
    struct ota_upgrade pending = succeeded(OTA_PENDING, 5000);
    struct ota_upgrade confirmed = succeeded(OTA_CONFIRMED, 5000);
    moves(world, 1, NULL, &burning);
    moves(world, 1, &burning, &pending);
    ota_batch_let_overdue(world->batch, 4999);
    assert_int_equal(overdue(world), 0);
    ota_batch_let_overdue(world->batch, 5000);
    assert_int_equal(overdue(world), 1);
    ota_batch_let_overdue(world->batch, 9000);
    assert_int_equal(overdue(world), 1);
    moves(world, 1, &pending, &confirmed); /* late, and then it is none any more */
    assert_int_equal(overdue(world), 0);
    assert_int_equal(ota_batch_tally(world->batch).confirmed, 1);
}

static void test_a_proof_in_time(void **state)
{
    static const enum ota_confirmation proofs[] = {OTA_CONFIRMED, OTA_CONTRADICTED};
    struct world *world = *state;
    for (int i = 0; i < 2; i++) {
        struct ota_upgrade pending = succeeded(OTA_PENDING, 5000);
        struct ota_upgrade proved = succeeded(proofs[i], 5000);
        moves(world, 1, NULL, &pending);
        moves(world, 1, &pending, &proved);
        ota_batch_let_overdue(world->batch, 4000);
        moves(world, 1, &proved, NULL);
    }
    ota_batch_let_overdue(world->batch, 6000);
    assert_int_equal(overdue(world), 0);
    assert_null(world->batch->oldest);
}

static void test_under_done_nothing_is_to_be_proved(void **state)
{
    struct world *world = *state;
    struct ota_upgrade pending = succeeded(OTA_PENDING, 5000);
    world->batch->row.gate = OTA_GATE_DONE;
    moves(world, 1, NULL, &pending);
    ota_batch_let_overdue(world->batch, 6000);
    assert_int_equal(overdue(world), 0);
    assert_null(world->batch->oldest);
}

/* At a start tasks come in any order, some of them too late already. */
static void test_loaded_in_any_order(void **state)
{
    static const int64_t untils[] = {5000, 3000, 9000, 1000, 7000, 5000, 2000};
    struct world *world = *state;
    world->batch->overdue_to = 2000;
    for (uint32_t i = 0; i < 7; i++) {
        struct ota_upgrade pending = succeeded(OTA_PENDING, untils[i]);
        moves(world, i + 1, NULL, &pending);
    }
    assert_int_equal(overdue(world), 2);
    static const uint32_t counts[] = {2, 3, 3, 5, 5, 6, 6, 7};
    for (int i = 0; i < 8; i++) {
        ota_batch_let_overdue(world->batch, 2000 + 1000 * i);
        assert_int_equal(overdue(world), counts[i]);
    }
    assert_null(world->batch->oldest);
    assert_null(world->batch->newest);
}

static void test_one_that_goes_is_not_waited_for(void **state)
{
    struct world *world = *state;
    struct ota_upgrade pending = succeeded(OTA_PENDING, 5000);
    for (uint32_t id = 1; id <= 3; id++) {
        moves(world, id, NULL, &pending);
    }
    moves(world, 2, &pending, NULL);
    moves(world, 3, &pending, NULL);
    ota_batch_let_overdue(world->batch, 6000);
    assert_int_equal(overdue(world), 1);
    moves(world, 1, &pending, NULL);
    assert_int_equal(overdue(world), 0);
}

/* A settled batch knows of no overdue ones; one that runs again finds them anew, each once. */
static void test_a_batch_that_runs_again(void **state)
{
    struct world *world = *state;
    struct ota_batch *batch = world->batch;
    struct ota_upgrade early = succeeded(OTA_PENDING, 3000);
    struct ota_upgrade late = succeeded(OTA_PENDING, 9000);
    struct ota_upgrade confirmed = succeeded(OTA_CONFIRMED, 3000);
    batch->row.tallied = true;
    batch->overdue_to = 1000;
    for (uint32_t id = 1; id <= 4; id++) {
        moves(world, id, NULL, id % 2 != 0 ? &early : &late);
    }
    ota_batch_let_overdue(batch, 5000);
    assert_int_equal(overdue(world), 0);
    batch->row.tallied = false;
    batch->row.retrying = true;
    batch->reviving = true;
    moves(world, 1, &early, &confirmed); /* before it was looked at */
    for (uint32_t id = 1; id <= 4; id++) {
        const struct ota_upgrade *up = id == 1 ? &confirmed : id == 3 ? &early : &late;
        ota_batch_recount(batch, &(struct ota_counted){.task_id = id, .device_id = id, .up = up});
        batch->row.retried_to = id;
    }
    batch->reviving = false;
    assert_int_equal(overdue(world), 1);
    ota_batch_let_overdue(batch, 9000);
    assert_int_equal(overdue(world), 3);
    moves(world, 3, &early, &confirmed);
    assert_int_equal(overdue(world), 2);
}

/* --- rules --------------------------------------------------------------------------------------
 */

static void test_its_rules_as_rollout_has_them(void **state)
{
    struct world *world = *state;
    struct ota_batch_row *row = &world->batch->row;
    row->gate = OTA_GATE_DONE;
    row->threshold_percent = 5;
    row->threshold_min = 40;
    row->known_failures = 3;
    row->known_successes = 2;
    row->open_stages = 2;
    struct ota_rollout rollout = ota_batch_rollout(world->batch);
    assert_int_equal(rollout.gate, OTA_GATE_DONE);
    assert_int_equal(rollout.threshold_percent, 5);
    assert_int_equal(rollout.threshold_min, 40);
    assert_int_equal(rollout.known_failures, 3);
    assert_int_equal(rollout.known_successes, 2);
    assert_int_equal(rollout.stage_count, 3);
    assert_int_equal(rollout.open, 2);
    assert_ptr_equal(rollout.stages, world->batch->stages);
    assert_true(rollout.running);
    assert_false(rollout.continuous);
    row->state = OTA_BATCH_PAUSED;
    row->mode = OTA_MODE_CONTINUOUS;
    rollout = ota_batch_rollout(world->batch);
    assert_false(rollout.running);
    assert_true(rollout.continuous);
    row->reason = OTA_REASON_EXPIRED; /* now it can end */
    assert_false(ota_batch_rollout(world->batch).continuous);
}

static void test_which_tasks_a_batch_ends(void **state)
{
    static const struct {
        enum ota_batch_state state;
        enum ota_batch_reason reason;
        unsigned flags;
        enum ota_status status;
        unsigned task_flags;
        bool ends;
        bool expired;
    } cases[] = {
        {OTA_BATCH_RUNNING, OTA_REASON_NONE, 0, OTA_WAITING, 0, false, false},
        {OTA_BATCH_PAUSED, OTA_REASON_ADMIN, 0, OTA_WAITING, 0, false, false},
        {OTA_BATCH_CANCELLED, OTA_REASON_ADMIN, 0, OTA_WAITING, 0, true, false},
        {OTA_BATCH_CANCELLED, OTA_REASON_ADMIN, 0, OTA_WAITING, OTA_UPGRADE_SENT, true, false},
        {OTA_BATCH_CANCELLED, OTA_REASON_ADMIN, 0, OTA_MESSAGE_SENT, 0, false, false},
        {OTA_BATCH_CANCELLED, OTA_REASON_ADMIN, 0, OTA_UPGRADING, 0, false, false},
        {OTA_BATCH_CANCELLED, OTA_REASON_ADMIN, OTA_BATCH_CANCEL_ALL, OTA_UPGRADING, 0, true,
         false},
        {OTA_BATCH_RUNNING, OTA_REASON_EXPIRED, 0, OTA_WAITING, 0, true, true},
        {OTA_BATCH_PAUSED, OTA_REASON_EXPIRED, 0, OTA_WAITING, 0, true, true},
        {OTA_BATCH_RUNNING, OTA_REASON_EXPIRED, 0, OTA_WAITING, OTA_UPGRADE_SENT, false, false},
        {OTA_BATCH_RUNNING, OTA_REASON_EXPIRED, 0, OTA_DOWNLOADING, 0, false, false},
    };
    struct world *world = *state;
    struct ota_task *task = add_task(world, 1, 1);
    bool expired;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        world->batch->row.state = cases[i].state;
        world->batch->row.reason = cases[i].reason;
        world->batch->row.flags = cases[i].flags;
        task->up.status = cases[i].status;
        task->up.flags = cases[i].task_flags;
        assert_int_equal(ota_batch_ends(task, &expired), cases[i].ends);
        assert_int_equal(expired, cases[i].expired);
    }
    struct ota_task alone = {0};
    assert_false(ota_batch_ends(&alone, &expired));
    assert_false(expired);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

/* A settled batch runs again, and its tasks are recounted in slices: one whose success lapses
 * before its slice comes is overdue once. */
static void test_overdue_before_it_is_recounted(void **state)
{
    struct world *world = *state;
    struct ota_batch *batch = world->batch;
    struct ota_upgrade waiting = stands(OTA_WAITING);
    struct ota_upgrade pending = succeeded(OTA_PENDING, 1000);
    struct ota_upgrade confirmed = succeeded(OTA_CONFIRMED, 1000);
    struct ota_counted counted = {.task_id = 5, .device_id = 5, .up = &pending};
    batch->reviving = true;
    batch->row.retried_to = 0;
    moves(world, 5, NULL, &waiting);
    moves(world, 6, NULL, &waiting);
    moves(world, 5, &waiting, &pending);
    moves(world, 6, &waiting, &pending);
    ota_batch_let_overdue(batch, 2000);
    assert_int_equal(ota_batch_tally(batch).overdue, 0); /* nobody knows yet */
    moves(world, 6, &pending, &confirmed);
    batch->row.retried_to = 6;
    ota_batch_recount(batch, &counted);
    assert_int_equal(ota_batch_tally(batch).overdue, 1);
    moves(world, 5, &pending, &confirmed);
    assert_int_equal(ota_batch_tally(batch).overdue, 0);
    assert_int_equal(ota_batch_tally(batch).confirmed, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_found_by_id),
        TEST(test_of_no_product),
        TEST(test_settled_ones_are_not_live),
        TEST(test_its_tasks),
        TEST(test_the_key_at_each_rank),
        TEST(test_members_are_taken_back),
        TEST(test_a_member_goes),
        TEST(test_stages_have_the_size_that_was_asked_for),
        TEST(test_who_is_next),
        TEST(test_a_task_comes_moves_and_goes),
        TEST(test_it_counts_in_its_stage),
        TEST(test_a_success_becomes_overdue),
        TEST(test_a_proof_in_time),
        TEST(test_under_done_nothing_is_to_be_proved),
        TEST(test_loaded_in_any_order),
        TEST(test_one_that_goes_is_not_waited_for),
        TEST(test_a_batch_that_runs_again),
        TEST(test_its_rules_as_rollout_has_them),
        TEST(test_which_tasks_a_batch_ends),
        TEST(test_overdue_before_it_is_recounted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
