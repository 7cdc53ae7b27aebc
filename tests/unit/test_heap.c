/* SPDX-License-Identifier: BSD-3-Clause */
/* Heaps of tasks against a plain array. */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "../../plugin/fleet.h"
#include "../../plugin/heap.h"

#define TASKS 300

static uint32_t seed;

static uint32_t draw(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

struct world {
    struct ota_heap heap;
    struct ota_task tasks[TASKS];
    bool in[TASKS];
    int64_t rank[TASKS];
};

static void check(const struct world *world)
{
    size_t count = 0;
    for (int i = 0; i < TASKS; i++) {
        const struct ota_task *task = &world->tasks[i];
        count += world->in[i];
        assert_int_equal(task->heap_at != 0, world->in[i]);
        if (world->in[i]) { /* it knows its place, and the place knows it */
            assert_ptr_equal(ota_heap_at(&world->heap, task->heap_at - 1)->task, task);
            assert_int_equal(ota_heap_at(&world->heap, task->heap_at - 1)->rank, world->rank[i]);
            assert_true(ota_heap_at(&world->heap, 0)->rank <= world->rank[i]);
        }
    }
    assert_int_equal(world->heap.count, count);
}

static size_t naive_before(const struct world *world, int64_t rank, size_t most)
{
    size_t count = 0;
    for (int i = 0; i < TASKS; i++) {
        count += world->in[i] && world->rank[i] < rank;
    }
    return count < most ? count : most;
}

static void step(struct world *world)
{
    uint32_t i = draw(TASKS);
    if (draw(3) == 0) {
        ota_heap_remove(&world->heap, &world->tasks[i]); /* also where it isn't in */
        world->in[i] = false;
        return;
    }
    world->rank[i] = draw(20) == 0 ? INT64_MIN : (int64_t)draw(1000) - 500; /* many ties */
    assert_true(ota_heap_set(&world->heap, &world->tasks[i], world->rank[i]));
    world->in[i] = true;
}

static void test_against_an_array(void **state)
{
    static struct world world;
    (void)state;
    for (seed = 1; seed < 4; seed++) {
        uint32_t start = seed;
        memset(&world, 0, sizeof world);
        for (int i = 0; i < 6000; i++) {
            step(&world);
            if (i % 20 == 0) {
                int64_t rank = (int64_t)draw(1100) - 550;
                size_t most = draw(2) != 0 ? 10 : 1000;
                check(&world);
                assert_int_equal(ota_heap_before(&world.heap, rank, most),
                                 naive_before(&world, rank, most));
            }
        }
        ota_heap_free(&world.heap);
        seed = start;
    }
}

static void test_the_least_first(void **state)
{
    static struct world world;
    (void)state;
    memset(&world, 0, sizeof world);
    for (int i = 0; i < TASKS; i++) {
        world.rank[i] = (int64_t)draw(100000);
        assert_true(ota_heap_set(&world.heap, &world.tasks[i], world.rank[i]));
    }
    int64_t last = INT64_MIN;
    for (int i = 0; i < TASKS; i++) {
        assert_true(ota_heap_at(&world.heap, 0)->rank >= last);
        last = ota_heap_at(&world.heap, 0)->rank;
        ota_heap_remove(&world.heap, ota_heap_at(&world.heap, 0)->task);
    }
    assert_int_equal(world.heap.count, 0);
    assert_int_equal(ota_heap_before(&world.heap, INT64_MAX, 10), 0);
    ota_heap_free(&world.heap);
    ota_heap_free(&world.heap); /* twice is fine */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_an_array),
        cmocka_unit_test(test_the_least_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
