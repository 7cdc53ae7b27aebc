/* SPDX-License-Identifier: BSD-3-Clause */
/* The broker's wait ends when it is called, and nothing else is changed by that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "../../plugin/broker.h"
#include "../../plugin/waker.h"

#define LONG_MS 20000

static int setup(void **state)
{
    struct ota_waker *waker = calloc(1, sizeof *waker);
    assert_non_null(waker);
    assert_int_equal(ota_waker_start(waker, NULL), OTA_OK);
    *state = waker;
    return 0;
}

static int teardown(void **state)
{
    ota_waker_free(*state);
    free(*state);
    return 0;
}

/* As the broker waits; whether a signal ended it. */
static bool wait_is_ended(int ms)
{
    struct epoll_event event;
    int fd = epoll_create1(0);
    int rc = epoll_wait(fd, &event, 1, ms);
    int why = errno;
    close(fd);
    return rc == -1 && why == EINTR;
}

static void test_a_call_ends_the_wait(void **state)
{
    struct ota_waker *waker = *state;
    for (int i = 0; i < 20; i++) {
        ota_waker_turn(waker);
        ota_waker_call(waker); /* its first signal may come before the wait: it is sent again */
        assert_true(ota_waker_has_called(waker));
        assert_true(wait_is_ended(LONG_MS));
    }
    ota_waker_turn(waker);
    assert_false(ota_waker_has_called(waker));
}

static void test_more_work_ends_the_wait_after_a_pause(void **state)
{
    struct ota_waker *waker = *state;
    struct timespec before;
    struct timespec after;
    ota_waker_turn(waker);
    (void)clock_gettime(CLOCK_MONOTONIC, &before);
    ota_waker_go_on(waker, 15000);
    assert_true(wait_is_ended(LONG_MS));
    (void)clock_gettime(CLOCK_MONOTONIC, &after);
    int64_t us =
        (after.tv_sec - before.tv_sec) * INT64_C(1000000) + (after.tv_nsec - before.tv_nsec) / 1000;
    assert_true(us >= 15000); /* the others had as long as we had */
}

static void test_a_turn_that_came_by_itself_needs_no_signal(void **state)
{
    struct ota_waker *waker = *state;
    ota_waker_turn(waker);
    ota_waker_go_on(waker, 20000);
    ota_waker_turn(waker);
    assert_false(wait_is_ended(100));
}

/* A broker that doesn't hear is not called for ever. */
static void test_gives_up(void **state)
{
    struct ota_waker *waker = *state;
    sigset_t one;
    (void)sigemptyset(&one);
    (void)sigaddset(&one, SIGURG);
    (void)pthread_sigmask(SIG_BLOCK, &one, NULL);
    ota_waker_turn(waker);
    ota_waker_call(waker);
    assert_false(wait_is_ended(1000));
    assert_in_range(atomic_load(&waker->woken), 1, 8);
    (void)pthread_sigmask(SIG_UNBLOCK, &one, NULL);
}

static void handler_of_another(int signal)
{
    (void)signal;
}

static void *handler_now(void)
{
    struct sigaction now;
    assert_int_equal(sigaction(SIGURG, NULL, &now), 0);
    return (void *)(uintptr_t)now.sa_handler;
}

static void test_what_others_use_stays_theirs(void **state)
{
    struct sigaction theirs = {.sa_handler = handler_of_another};
    struct sigaction before;
    struct ota_waker waker = {0};
    (void)state;
    assert_int_equal(sigaction(SIGURG, &theirs, &before), 0);
    assert_int_equal(ota_waker_start(&waker, NULL), OTA_OK);
    ota_waker_call(&waker); /* is written down, and that is all */
    assert_true(ota_waker_has_called(&waker));
    assert_ptr_equal(handler_now(), (void *)(uintptr_t)handler_of_another);
    ota_waker_free(&waker);
    assert_ptr_equal(handler_now(), (void *)(uintptr_t)handler_of_another);
    assert_int_equal(sigaction(SIGURG, &before, NULL), 0);
}

static void test_all_is_as_before_in_the_end(void **state)
{
    struct ota_waker waker = {0};
    (void)state;
    void *before = handler_now();
    assert_int_equal(ota_waker_start(&waker, NULL), OTA_OK);
    assert_ptr_not_equal(handler_now(), before);
    ota_waker_call(&waker);
    ota_waker_free(&waker);
    assert_ptr_equal(handler_now(), before);
    ota_waker_free(&(struct ota_waker){0});
    ota_waker_call(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_call_ends_the_wait),
        TEST(test_more_work_ends_the_wait_after_a_pause),
        TEST(test_a_turn_that_came_by_itself_needs_no_signal),
        TEST(test_gives_up),
        cmocka_unit_test(test_what_others_use_stays_theirs),
        cmocka_unit_test(test_all_is_as_before_in_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
