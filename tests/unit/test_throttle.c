/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "../../plugin/throttle.h"

#define HERE  1
#define THERE 2

static int setup(void **state)
{
    *state = ota_throttle_new();
    return *state == NULL;
}

static int teardown(void **state)
{
    ota_throttle_free(*state);
    return 0;
}

static void use_up(struct ota_throttle *throttle, const char *user, uint64_t from, int64_t now)
{
    for (int i = 0; i < OTA_THROTTLE_USER; i++) {
        assert_int_equal(ota_throttle_try(throttle, user, from, now), 0);
    }
}

static void some_tries_are_free_then_they_wait_ever_longer(void **state)
{
    struct ota_throttle *throttle = *state;
    int64_t now = 0;
    int64_t last = 0;
    use_up(throttle, "ann", HERE, now);
    for (int i = 0; i < 8; i++) {
        int64_t wait = ota_throttle_try(throttle, "ann", HERE, now);
        assert_true(wait >= last && wait > 0 && wait <= OTA_THROTTLE_MOST_MS);
        assert_int_equal(ota_throttle_try(throttle, "ann", HERE, now + wait - 1), 1);
        now += wait;
        assert_int_equal(ota_throttle_try(throttle, "ann", HERE, now), 0);
        last = wait;
    }
    assert_int_equal(last, OTA_THROTTLE_MOST_MS);
}

static void waiting_in_vain_costs_nothing(void **state)
{
    struct ota_throttle *throttle = *state;
    use_up(throttle, "ann", HERE, 0);
    int64_t wait = ota_throttle_try(throttle, "ann", HERE, 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(ota_throttle_try(throttle, "ann", HERE, 0), wait);
    }
}

static void another_user_from_another_place_is_not_held_up(void **state)
{
    struct ota_throttle *throttle = *state;
    use_up(throttle, "ann", HERE, 0);
    assert_true(ota_throttle_try(throttle, "ann", THERE, 0) > 0); /* a user from anywhere */
    assert_int_equal(ota_throttle_try(throttle, "bob", HERE, 0), 0);
    assert_int_equal(ota_throttle_try(throttle, "bob", THERE, 0), 0);
}

static void an_address_is_held_up_whatever_the_user(void **state)
{
    struct ota_throttle *throttle = *state;
    char user[16];
    for (int i = 0; i < OTA_THROTTLE_ADDRESS; i++) {
        (void)snprintf(user, sizeof user, "u%d", i);
        assert_int_equal(ota_throttle_try(throttle, user, HERE, 0), 0);
    }
    assert_true(ota_throttle_try(throttle, "new", HERE, 0) > 0);
    assert_int_equal(ota_throttle_try(throttle, "new", THERE, 0), 0);
}

static void a_right_one_frees_its_user(void **state)
{
    struct ota_throttle *throttle = *state;
    use_up(throttle, "ann", HERE, 0);
    ota_throttle_right(throttle, "ann", HERE, 0);
    use_up(throttle, "ann", HERE, 0);
    assert_true(ota_throttle_try(throttle, "ann", HERE, 0) > 0);
}

/* Who has an account may not guess at others' for ever, with a right password in between. */
static void a_right_one_is_no_pardon_for_the_address(void **state)
{
    struct ota_throttle *throttle = *state;
    char user[16];
    int guesses = 0;
    for (; guesses < 1000; guesses++) {
        (void)snprintf(user, sizeof user, "u%d", guesses);
        if (ota_throttle_try(throttle, user, HERE, 0) > 0) {
            break;
        }
        if (ota_throttle_try(throttle, "mine", HERE, 0) == 0) {
            ota_throttle_right(throttle, "mine", HERE, 0);
        }
    }
    assert_int_equal(guesses, OTA_THROTTLE_ADDRESS);
}

static void it_is_forgotten_in_the_end(void **state)
{
    struct ota_throttle *throttle = *state;
    use_up(throttle, "ann", HERE, 0);
    int64_t later = OTA_THROTTLE_MEMORY_MS;
    use_up(throttle, "ann", HERE, later);
    assert_true(ota_throttle_try(throttle, "ann", HERE, later) > 0);
}

static void hundreds_of_names_push_none_out(void **state)
{
    struct ota_throttle *throttle = *state;
    char user[16];
    use_up(throttle, "ann", HERE, 0);
    for (int i = 0; i < 500; i++) {
        (void)snprintf(user, sizeof user, "u%d", i);
        assert_int_equal(ota_throttle_try(throttle, user, 100 + (uint64_t)i, 1), 0);
    }
    assert_true(ota_throttle_try(throttle, "ann", THERE, 1) > 0);
    for (int i = 500; i < 3000; i++) { /* the table is full: the one tried longest ago goes */
        (void)snprintf(user, sizeof user, "u%d", i);
        assert_int_equal(ota_throttle_try(throttle, user, 100 + (uint64_t)i, 2), 0);
    }
    assert_int_equal(ota_throttle_try(throttle, "ann", THERE, 2), 0);
}

/* Who is kept out of an account by others' guesses? Not who has been in it from the same place. */
static void guesses_of_others_do_not_keep_its_user_out(void **state)
{
    struct ota_throttle *throttle = *state;
    int64_t later = 10 * OTA_THROTTLE_MEMORY_MS;
    assert_int_equal(ota_throttle_try(throttle, "ann", HERE, 0), 0);
    ota_throttle_right(throttle, "ann", HERE, 0);
    use_up(throttle, "ann", THERE, later);
    assert_true(ota_throttle_try(throttle, "ann", THERE, later) > 0);
    assert_true(ota_throttle_try(throttle, "ann", 3, later) > 0);
    ota_throttle_right(throttle, "ann", HERE, later); /* which is no pardon for them */
    assert_true(ota_throttle_try(throttle, "ann", THERE, later) > 0);
    for (int i = 0; i < OTA_THROTTLE_ADDRESS; i++) { /* all may come by one proxy */
        char user[16];
        (void)snprintf(user, sizeof user, "u%d", i);
        assert_int_equal(ota_throttle_try(throttle, user, HERE, later), 0);
    }
    assert_true(ota_throttle_try(throttle, "bob", HERE, later) > 0);
    use_up(throttle, "ann", HERE, later); /* and no more than these */
    assert_true(ota_throttle_try(throttle, "ann", HERE, later) > 0);
    use_up(throttle, "ann", HERE, 2 * later); /* it is at home there yet */
    ota_throttle_right(throttle, "ann", HERE, 2 * later);
    use_up(throttle, "ann", HERE, 2 * later);
    assert_true(ota_throttle_try(throttle, "ann", HERE, 2 * later) > 0);
}

static void what_nobody_checked_is_not_charged(void **state)
{
    struct ota_throttle *throttle = *state;
    for (int i = 0; i < 2 * OTA_THROTTLE_ADDRESS; i++) {
        assert_int_equal(ota_throttle_try(throttle, "ann", HERE, 0), 0);
        ota_throttle_unchecked(throttle, "ann", HERE);
    }
    use_up(throttle, "ann", HERE, 0);
    assert_true(ota_throttle_try(throttle, "ann", HERE, 0) > 0);
    assert_int_equal(ota_throttle_try(throttle, "bob", HERE, 0), 0);
    ota_throttle_right(throttle, "bob", HERE, 0);
    for (int i = 0; i < 2 * OTA_THROTTLE_ADDRESS; i++) {
        assert_int_equal(ota_throttle_try(throttle, "bob", HERE, 0), 0);
        ota_throttle_unchecked(throttle, "bob", HERE);
    }
    ota_throttle_unchecked(throttle, "bob", HERE); /* it is at home there all the same */
    use_up(throttle, "bob", THERE, 0);
    use_up(throttle, "bob", HERE, 0);
    assert_true(ota_throttle_try(throttle, "bob", HERE, 0) > 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(some_tries_are_free_then_they_wait_ever_longer),
        TEST(waiting_in_vain_costs_nothing),
        TEST(another_user_from_another_place_is_not_held_up),
        TEST(an_address_is_held_up_whatever_the_user),
        TEST(a_right_one_frees_its_user),
        TEST(a_right_one_is_no_pardon_for_the_address),
        TEST(it_is_forgotten_in_the_end),
        TEST(guesses_of_others_do_not_keep_its_user_out),
        TEST(what_nobody_checked_is_not_charged),
        TEST(hundreds_of_names_push_none_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
