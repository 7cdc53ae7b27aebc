/* SPDX-License-Identifier: BSD-3-Clause */
/* A pool of things against an array of them. */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdalign.h>
#include <stdbool.h>
#include <string.h>

#include "../../plugin/util/pool.h"

#define THINGS 6000 /* some pages */

struct thing {
    unsigned char bytes[200];
};

static uint32_t seed;

static uint32_t draw(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

static bool is_all(const struct thing *thing, unsigned char byte)
{
    for (size_t i = 0; i < sizeof thing->bytes; i++) {
        if (thing->bytes[i] != byte) {
            return false;
        }
    }
    return true;
}

static struct thing *take(struct ota_pool *pool, size_t number)
{
    struct thing *thing = ota_pool_take(pool);
    assert_non_null(thing);
    assert_int_equal((uintptr_t)thing % alignof(max_align_t), 0);
    assert_true(is_all(thing, 0));
    memset(thing, (int)(number % 255 + 1), sizeof *thing);
    return thing;
}

static void give(struct ota_pool *pool, struct thing *thing, size_t number)
{
    assert_true(is_all(thing, (unsigned char)(number % 255 + 1))); /* nobody else wrote there */
    ota_pool_give(pool, thing);
}

static void things_are_their_takers_alone(void **state)
{
    (void)state;
    static struct thing *things[THINGS];
    for (seed = 1; seed <= 5; seed++) {
        uint32_t game = seed;
        struct ota_pool pool = {.size = sizeof(struct thing)};
        for (int step = 0; step < 20 * THINGS; step++) {
            uint32_t i = draw(THINGS);
            if (things[i] == NULL) {
                things[i] = take(&pool, i);
            } else if (draw(100) < 60) {
                give(&pool, things[i], i);
                things[i] = NULL;
            }
        }
        for (size_t i = 0; i < THINGS; i++) {
            if (things[i] != NULL) {
                give(&pool, things[i], i);
                things[i] = NULL;
            }
        }
        assert_true(pool.pages <= 1);
        ota_pool_free(&pool);
        assert_int_equal(pool.pages, 0);
        seed = game;
    }
}

/* In the order in which they came, as a cancelled batch does it, and the other way round. */
static void pages_go_back_when_they_are_empty(void **state)
{
    (void)state;
    static struct thing *things[THINGS];
    for (int round = 0; round < 2; round++) {
        struct ota_pool pool = {.size = sizeof(struct thing)};
        for (size_t i = 0; i < THINGS; i++) {
            things[i] = take(&pool, i);
        }
        size_t full = pool.pages;
        for (size_t i = 0; i < THINGS; i++) {
            size_t at = round == 0 ? i : THINGS - 1 - i;
            give(&pool, things[at], at);
            if (i == THINGS / 2) {
                assert_true(pool.pages <= full / 2 + 2);
            }
        }
        assert_true(pool.pages <= 1);
        ota_pool_free(&pool);
    }
}

static void nothing_is_nothing(void **state)
{
    (void)state;
    struct ota_pool pool = {.size = sizeof(struct thing)};
    ota_pool_give(&pool, NULL);
    ota_pool_free(&pool);
    assert_int_equal(pool.pages, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(things_are_their_takers_alone),
        cmocka_unit_test(pages_go_back_when_they_are_empty),
        cmocka_unit_test(nothing_is_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
