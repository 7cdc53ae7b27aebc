/* SPDX-License-Identifier: BSD-3-Clause */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/util/index.h"

static uint32_t seed;

static uint32_t draw(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

/* --- the index against an array ----------------------------------------------------------------
 */

#define ITEMS 400

struct item {
    int number;
    bool present;
};

static struct item items[ITEMS];

static bool is_number(const void *item, const void *key)
{
    return ((const struct item *)item)->number == *(const int *)key;
}

/* A bad hash makes long runs that wrap around the end; a good one is what names have. */
static uint64_t hash_of(int number, uint32_t spread)
{
    return spread == 0 ? 15 : (uint64_t)number * UINT64_C(0x9e3779b97f4a7c15) >> (spread * 8);
}

static void check_all(const struct ota_index *index, uint32_t spread)
{
    size_t present = 0;
    for (int i = 0; i < ITEMS; i++) {
        struct item *found = ota_index_find(index, hash_of(i, spread), is_number, &i);
        assert_ptr_equal(found, items[i].present ? &items[i] : NULL);
        present += items[i].present;
    }
    assert_int_equal(index->count, present);
    size_t walked = 0;
    const struct item *item;
    for (size_t at = 0; (item = ota_index_next(index, &at)) != NULL; walked++) {
        assert_true(item->present);
    }
    assert_int_equal(walked, present);
}

static void run_against_the_array(uint32_t spread)
{
    struct ota_index index = {0};
    memset(items, 0, sizeof items);
    for (int i = 0; i < 6000; i++) {
        int number = (int)draw(draw(2) != 0 ? ITEMS : 40);
        struct item *item = &items[number];
        item->number = number;
        if (item->present) {
            ota_index_remove(&index, hash_of(number, spread), item);
        } else {
            assert_true(ota_index_add(&index, hash_of(number, spread), item));
        }
        item->present = !item->present;
        if (i % 200 == 0) {
            check_all(&index, spread);
        }
    }
    check_all(&index, spread);
    ota_index_free(&index);
    assert_int_equal(index.count, 0);
}

static void test_random_operations(void **state)
{
    (void)state;
    for (seed = 1; seed < 4; seed++) {
        for (uint32_t spread = 0; spread < 8; spread++) {
            uint32_t start = seed;
            run_against_the_array(spread);
            seed = start;
        }
    }
}

static void test_empty(void **state)
{
    struct ota_index index = {0};
    int key = 1;
    size_t at = 0;
    (void)state;
    assert_null(ota_index_find(&index, 1, is_number, &key));
    assert_null(ota_index_next(&index, &at));
    ota_index_remove(&index, 1, &key);
    ota_index_free(&index);
}

static void test_removing_what_is_not_there(void **state)
{
    struct ota_index index = {0};
    struct item in = {.number = 1};
    struct item out = {.number = 2};
    (void)state;
    assert_true(ota_index_add(&index, 7, &in));
    ota_index_remove(&index, 7, &out);
    ota_index_remove(&index, 8, &in);
    assert_int_equal(index.count, 1);
    int key = 1;
    assert_ptr_equal(ota_index_find(&index, 7, is_number, &key), &in);
    ota_index_free(&index);
}

static void test_grows_step_by_step(void **state)
{
    static struct item many[3000];
    struct ota_index index = {0};
    size_t left_before = 0;
    (void)state;
    for (int i = 0; i < 3000; i++) {
        many[i] = (struct item){.number = i, .present = true};
        assert_true(ota_index_add(&index, hash_of(i, 0) * (uint64_t)i, &many[i]));
        size_t left = index.old.capacity - index.moved;
        assert_true(index.old.capacity == 0 || left_before == 0 || left_before - left <= 8);
        left_before = index.old.capacity == 0 ? 0 : left;
        int key = i / 2;
        assert_ptr_equal(ota_index_find(&index, hash_of(key, 0) * (uint64_t)key, is_number, &key),
                         &many[key]);
    }
    assert_int_equal(index.count, 3000);
    ota_index_free(&index);
}

static void test_settles_at_once(void **state)
{
    struct ota_index index = {0};
    int last = 0;
    (void)state;
    while (index.old.capacity == 0) {
        items[last].number = last;
        assert_true(ota_index_add(&index, hash_of(last, 1), &items[last]));
        last++;
    }
    ota_index_settle(&index);
    assert_null(index.old.slots);
    for (int i = 0; i < last; i++) {
        assert_ptr_equal(ota_index_find(&index, hash_of(i, 1), is_number, &i), &items[i]);
    }
    ota_index_settle(&index);
    ota_index_free(&index);
}

/* --- the hash --------------------------------------------------------------------------------- */

/*
 * The vectors of the paper and its reference code (key 00 … 0f, message 00 01 02 …, of 0 to 15
 * bytes), read so: the number is the message's first eight bytes, the text is the rest.
 */
static void test_siphash_vectors(void **state)
{
    static const uint64_t vectors[] = {
        /* from 8 bytes on, SipHash-2-4 */
        UINT64_C(0x93f5f5799a932462), UINT64_C(0x9e0082df0ba9e4b0), UINT64_C(0x7a5dbbc594ddb9f3),
        UINT64_C(0xf4b32f46226bada7), UINT64_C(0x751e8fbc860ee5fb), UINT64_C(0x14ea5627c0843d90),
        UINT64_C(0xf723ca908e7af2ee), UINT64_C(0xa129ca6149be45e5),
    };
    static const struct ota_hash_key key = {UINT64_C(0x0706050403020100),
                                            UINT64_C(0x0f0e0d0c0b0a0908)};
    char text[8];
    (void)state;
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (char)(8 + i);
    }
    for (size_t len = 0; len < sizeof vectors / sizeof vectors[0]; len++) {
        assert_int_equal(ota_hash(&key, UINT64_C(0x0706050403020100), text, len), vectors[len]);
    }
}

/* Number, text, its length and the key: a change of any one bit changes about half the bits. */
static void test_avalanche(void **state)
{
    struct ota_hash_key key = {1, 2};
    char text[20] = "a device's own name";
    int bits = 0;
    int changes = 0;
    (void)state;
    uint64_t base = ota_hash(&key, 5, text, sizeof text - 1);
    for (size_t bit = 0; bit < 64 + 8 * (sizeof text - 1); bit++, changes++) {
        uint64_t number = bit < 64 ? 5 ^ (UINT64_C(1) << bit) : 5;
        if (bit >= 64) {
            text[(bit - 64) / 8] = (char)(text[(bit - 64) / 8] ^ (1 << bit % 8));
        }
        bits += __builtin_popcountll(base ^ ota_hash(&key, number, text, sizeof text - 1));
        if (bit >= 64) {
            text[(bit - 64) / 8] = (char)(text[(bit - 64) / 8] ^ (1 << bit % 8));
        }
    }
    assert_in_range(bits / changes, 28, 36);
    key.k0 ^= 1;
    assert_int_not_equal(ota_hash(&key, 5, text, sizeof text - 1), base);
}

static void test_length_counts(void **state)
{
    static const struct ota_hash_key key = {1, 2};
    static const char zeros[32];
    uint64_t seen[sizeof zeros];
    (void)state;
    for (size_t len = 0; len < sizeof zeros; len++) {
        seen[len] = ota_hash(&key, 0, zeros, len);
        for (size_t i = 0; i < len; i++) {
            assert_int_not_equal(seen[i], seen[len]);
        }
    }
}

static void test_keys_are_drawn(void **state)
{
    struct ota_hash_key a = {0};
    struct ota_hash_key b = {0};
    (void)state;
    ota_hash_key_draw(&a);
    ota_hash_key_draw(&b);
    assert_memory_not_equal(&a, &b, sizeof a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_operations),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_removing_what_is_not_there),
        cmocka_unit_test(test_grows_step_by_step),
        cmocka_unit_test(test_settles_at_once),
        cmocka_unit_test(test_siphash_vectors),
        cmocka_unit_test(test_avalanche),
        cmocka_unit_test(test_length_counts),
        cmocka_unit_test(test_keys_are_drawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
