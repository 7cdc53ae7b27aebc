/* SPDX-License-Identifier: BSD-3-Clause */
/* Who is cut, and how quickly. */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "fake_broker.h"
#include "http_steps.h"

#define TASKS 118 /* with as many connections as each may have: 1,888 */

static double ms_of(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* libmicrohttpd 0.9.75 takes at most 128 events at once, and seems to wait for more after just so
 * many: what was cut then stays in its books until anybody comes. Seen once in some fifty runs. */
static void wait_until_gone(void)
{
    for (int i = 0; i < 600 && active() > 0; i++) {
        int passer_by = client_connect(world.port, 0);
        sleep_ms(100);
        (void)close(passer_by);
    }
    assert_int_equal(active(), 0);
}

/* What the slowest of all cuts costs the caller, which is the broker's thread. */
static double cut_all(const struct ota_claim *claims)
{
    double began = ms_of(CLOCK_MONOTONIC);
    double worst = 0;

    for (int i = 0; i < TASKS; i++) {
        double before = ms_of(CLOCK_THREAD_CPUTIME_ID);
        ota_http_cut(world.http, claims[i].task_id);
        double took = ms_of(CLOCK_THREAD_CPUTIME_ID) - before;
        worst = took > worst ? took : worst;
    }
    double all = ms_of(CLOCK_MONOTONIC) - began;
    wait_until_gone();
    print_message("%d tasks cut: %.3f ms, %.3f ms of the processor at most for one, all gone after "
                  "%.0f ms\n",
                  TASKS, all, worst, ms_of(CLOCK_MONOTONIC) - began);
    return worst;
}

/* A batch is cancelled while all of it downloads. */
static void test_many_are_cut_in_no_time(void **state)
{
    (void)state;
    enum { MANY = TASKS * OTA_HTTP_PER_TASK };
    static int fds[MANY];
    static struct ota_claim claims[TASKS];
    static char paths[TASKS][OTA_PATH_MAX];
    struct rlimit files;

    (void)getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_max < 4 * OTA_HTTP_PLACES) {
        skip();
    }
    restart(0);
    for (int i = 0; i < TASKS; i++) {
        claims[i] = new_path(&world.big, paths[i]);
    }
    for (int i = 0; i < MANY; i++) {
        fds[i] = connect_from(2 + i % 50, WINDOW);
        request(fds[i], "GET", paths[i % TASKS], "");
    }
    wait_until_active(MANY);
    assert_true(cut_all(claims) < 2);
    close_all(fds, MANY);
    wait_until_present(0);
}

/* An image that takes its time to be loaded holds up no cut. */
static void test_cut_while_another_image_loads(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    char cold[OTA_PATH_MAX];
    const struct ota_claim claim = new_path(&world.big, path);
    new_path(&world.small, cold);
    int running = begin_download(1, path);

    int loads = fixture_loads();
    fixture_slow_loads(60000);
    int waiting = client_connect(world.port, 0);
    request(waiting, "GET", cold, "");
    wait_until_active(2);
    for (int i = 0; i < 10000 && fixture_loads() == loads; i++) {
        sleep_ms(1);
    }
    ota_http_cut(world.http, claim.task_id);
    assert_true(client_is_reset(running));
    fixture_slow_loads(0);
    (void)close(running);
    (void)close(waiting);
}

/* The attempt ended, its connection was idle, and the next attempt uses it at once. */
static void test_cut_spares_the_next_attempt(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    struct ota_claim claim = new_path(&world.small, path);
    int fd = client_connect(world.port, 0);

    get_whole(fd, path, &world.small);
    for (int i = 0; i < 5; i++) {
        wait_until_active(0);
        fixture_retry(&world, claim.task_id);
        ota_http_cut(world.http, claim.task_id);
        claim.attempt++;
        fixture_sign(&world, world.small.sha256, &claim);
        ota_download_path(&claim, path);
        get_whole(fd, path, &world.small);
    }
    (void)close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_many_are_cut_in_no_time),
        TEST(test_cut_while_another_image_loads),
        TEST(test_cut_spares_the_next_attempt),
    };
    (void)signal(SIGPIPE, SIG_DFL); /* a server thread that lets it through kills the test */
    return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
