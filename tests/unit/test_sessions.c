/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "../../plugin/sessions.h"

static const struct ota_session_rules rules = {
    .most = 5, .most_a_user = 3, .idle_ms = 100, .whole_ms = 1000};

static struct ota_session session_of(const char *user, unsigned char number)
{
    struct ota_session session = {.digest = {number}, .mark = {number}};
    (void)snprintf(session.user, sizeof session.user, "%s", user);
    return session;
}

static void open_one(struct ota_sessions *sessions, const char *user, unsigned char number,
                     int64_t now)
{
    struct ota_session session = session_of(user, number);
    ota_sessions_open(sessions, &session, now);
}

static bool has(struct ota_sessions *sessions, unsigned char number, int64_t now)
{
    const unsigned char digest[OTA_SESSION_DIGEST] = {number};
    return ota_sessions_has(sessions, digest, now);
}

static bool use(struct ota_sessions *sessions, unsigned char number, int64_t now)
{
    const unsigned char digest[OTA_SESSION_DIGEST] = {number};
    struct ota_session session;
    return ota_sessions_use(sessions, digest, now, &session);
}

static int setup(void **state)
{
    *state = ota_sessions_new(&rules);
    return *state == NULL;
}

static int teardown(void **state)
{
    ota_sessions_free(*state);
    return 0;
}

static void one_is_found_by_its_digest_alone(void **state)
{
    struct ota_sessions *sessions = *state;
    struct ota_session found;
    const unsigned char digest[OTA_SESSION_DIGEST] = {7};
    open_one(sessions, "ann", 7, 0);
    assert_true(ota_sessions_use(sessions, digest, 1, &found));
    assert_string_equal(found.user, "ann");
    assert_int_equal(found.mark[0], 7);
    unsigned char other[OTA_SESSION_DIGEST] = {7};
    other[OTA_SESSION_DIGEST - 1] = 1;
    assert_false(ota_sessions_use(sessions, other, 1, &found));
    ota_sessions_end(sessions, other);
    assert_int_equal(ota_sessions_count(sessions), 1);
    ota_sessions_end(sessions, digest);
    assert_false(has(sessions, 7, 1));
}

static void it_ends_when_it_is_idle_and_when_it_is_old(void **state)
{
    struct ota_sessions *sessions = *state;
    open_one(sessions, "ann", 1, 0);
    assert_true(use(sessions, 1, 99));
    assert_true(use(sessions, 1, 198));
    assert_true(has(sessions, 1, 297)); /* which doesn't use it */
    assert_false(use(sessions, 1, 298));
    open_one(sessions, "ann", 2, 1000);
    for (int64_t now = 1000; now < 2000; now += 50) {
        assert_true(use(sessions, 2, now));
    }
    assert_false(use(sessions, 2, 2000));
    assert_int_equal(ota_sessions_count(sessions), 0);
}

static void a_user_has_so_many_and_the_longest_unused_goes(void **state)
{
    struct ota_sessions *sessions = *state;
    open_one(sessions, "bob", 9, 0);
    open_one(sessions, "ann", 1, 1);
    open_one(sessions, "ann", 2, 2);
    open_one(sessions, "ann", 3, 3);
    assert_true(use(sessions, 1, 4));
    open_one(sessions, "ann", 4, 5);
    assert_false(has(sessions, 2, 5));
    assert_true(has(sessions, 1, 5) && has(sessions, 3, 5) && has(sessions, 4, 5));
    assert_true(has(sessions, 9, 5));
}

static void all_have_so_many(void **state)
{
    struct ota_sessions *sessions = *state;
    char user[8];
    for (int i = 0; i < 20; i++) {
        (void)snprintf(user, sizeof user, "u%d", i);
        open_one(sessions, user, (unsigned char)(i + 1), i);
        assert_true(ota_sessions_count(sessions) <= rules.most);
    }
    assert_true(has(sessions, 20, 20) && has(sessions, 16, 20));
    assert_false(has(sessions, 15, 20));
}

static void the_same_again_is_one(void **state)
{
    struct ota_sessions *sessions = *state;
    open_one(sessions, "ann", 1, 0);
    open_one(sessions, "ann", 1, 50);
    assert_int_equal(ota_sessions_count(sessions), 1);
    assert_true(has(sessions, 1, 149));
}

static void ids_are_drawn(void **state)
{
    char one[OTA_SESSION_ID_HEX + 1];
    char two[OTA_SESSION_ID_HEX + 1];
    unsigned char digest[OTA_SESSION_DIGEST];
    unsigned char again[OTA_SESSION_DIGEST];
    (void)state;
    assert_true(ota_session_draw(one, digest));
    assert_int_equal(strlen(one), OTA_SESSION_ID_HEX);
    assert_true(ota_session_digest(one, again));
    assert_memory_equal(digest, again, sizeof digest);
    assert_true(ota_session_draw(two, again));
    assert_string_not_equal(one, two);
    assert_memory_not_equal(digest, again, sizeof digest);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_is_found_by_its_digest_alone),
        TEST(it_ends_when_it_is_idle_and_when_it_is_old),
        TEST(a_user_has_so_many_and_the_longest_unused_goes),
        TEST(all_have_so_many),
        TEST(the_same_again_is_one),
        TEST(ids_are_drawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
