/* SPDX-License-Identifier: BSD-3-Clause */
/* Who is cut, who isn't, and how quickly. */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "fake_broker.h"
#include "http_steps.h"

#define TASKS 118 /* with as many connections as each may have: 1,888 */

static void test_cut_drops_a_transfer(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    char other_path[OTA_PATH_MAX];
    struct client_reply reply;
    const struct ota_claim claim = new_path(&world.big, path);
    new_path(&world.big, other_path);

    int fd = client_connect(world.port, 16384);
    int twin = client_connect(world.port, 16384);
    int other = client_connect(world.port, 16384);
    request(fd, "GET", path, "");
    request(twin, "GET", path, "");
    request(other, "GET", other_path, "");
    wait_until_active(3);
    sleep_ms(100);
    fixture_finish(&world, claim.task_id);
    ota_http_cut(world.http, claim.task_id);
    wait_until_active(1);
    assert_true(client_drain(fd) < (size_t)world.big.size / 2);
    assert_true(client_drain(twin) < (size_t)world.big.size / 2);
    client_hear(other, false, &reply);
    expect_body(&reply, &world.big, 0, world.big.size);

    int again = client_connect(world.port, 0);
    expect_forbidden(again, &claim);
    (void)close(again);
    (void)close(other);
    (void)close(twin);
    (void)close(fd);
}

/* The whole response is in the kernel's buffer, and the server long done with it. */
static void test_cut_drops_what_the_kernel_has(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    const struct ota_claim claim = new_path(&world.small, path);
    int fd = client_connect(world.port, 2048);

    request(fd, "GET", path, "");
    expect_begun(fd);
    wait_until_active(0);
    ota_http_cut(world.http, claim.task_id);
    assert_true(client_is_reset(fd));
    assert_true(client_drain(fd) < (size_t)world.small.size);
    (void)close(fd);
}

/* A device that has everything keeps its connection, as has one that asked for another task. */
static void test_cut_spares_idle_connections(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    char next[OTA_PATH_MAX];
    const struct ota_claim claim = new_path(&world.small, path);
    const struct ota_claim next_claim = new_path(&world.small, next);
    int fd = client_connect(world.port, 0);

    get_whole(fd, path, &world.small);
    wait_until_active(0);
    ota_http_cut(world.http, claim.task_id);
    ota_http_cut(world.http, 0);
    ota_http_cut(world.http, -5);
    get_whole(fd, next, &world.small);
    ota_http_cut(world.http, claim.task_id);
    get_whole(fd, next, &world.small);
    ota_http_cut(world.http, next_claim.task_id + 1024); /* the same bucket */
    get_whole(fd, next, &world.small);
    (void)close(fd);
    ota_http_cut(NULL, 1);
}

/* The grant was read before the end was committed, and is used after the cut. */
static void test_cut_hits_a_request_that_passed(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    struct client_reply reply;
    const struct ota_claim claim = new_path(&world.small, path);
    int fd = client_connect(world.port, 0);

    get_whole(fd, path, &world.small);
    fixture_tarry(60000);
    request(fd, "GET", path, "");
    for (int i = 0; i < 10000 && fixture_tarrying() == 0; i++) {
        sleep_ms(1);
    }
    fixture_finish(&world, claim.task_id);
    ota_http_cut(world.http, claim.task_id);
    fixture_tarry(0);
    client_hear(fd, false, &reply);
    assert_int_equal(reply.head_len, 0);
    (void)close(fd);
}

/* A request that waits for its image. */
static void test_cut_while_loading(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    struct client_reply reply;
    const struct ota_claim claim = new_path(&world.big, path);
    int fd = client_connect(world.port, 0);

    fixture_slow_loads(500);
    request(fd, "GET", path, "");
    wait_until_active(1);
    fixture_finish(&world, claim.task_id);
    ota_http_cut(world.http, claim.task_id);
    client_hear(fd, false, &reply);
    assert_int_equal(reply.head_len, 0);
    wait_until_active(0);
    (void)close(fd);
}

static atomic_bool storming;

static void *storm(void *data)
{
    const char *path = data;
    while (atomic_load(&storming)) {
        int fd = client_connect(world.port, 0);
        for (int i = 0; i < 20; i++) {
            struct client_reply reply = exchange(fd, "GET", path, "Range: bytes=0-99999\r\n");
            client_reply_free(&reply);
            if (!reply.whole) {
                break;
            }
        }
        (void)close(fd);
    }
    return NULL;
}

/* Connections come, go and are cut from all sides: nothing is leaked, freed twice or hung. */
static void test_cut_in_a_storm(void **state)
{
    (void)state;
    pthread_t threads[6];
    char paths[6][OTA_PATH_MAX];
    struct ota_claim claims[6];

    atomic_store(&storming, true);
    for (int i = 0; i < 6; i++) {
        claims[i] = new_path(i % 2 == 0 ? &world.big : &world.small, paths[i]);
        assert_int_equal(pthread_create(&threads[i], NULL, storm, paths[i]), 0);
    }
    for (int i = 0; i < 2000; i++) {
        ota_http_cut(world.http, claims[i % 6].task_id);
        if (i % 100 == 0) {
            fake_broker_advance(1000);
        }
        sleep_ms(i % 3 == 0 ? 1 : 0);
    }
    atomic_store(&storming, false);
    for (int i = 0; i < 6; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    wait_until_active(0);
    int fd = client_connect(world.port, 0);
    get_whole(fd, paths[0], &world.big);
    (void)close(fd);
}

/* --- how quickly ---------------------------------------------------------------------------- */

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        HTTP_TEST(test_cut_drops_a_transfer),        HTTP_TEST(test_cut_drops_what_the_kernel_has),
        HTTP_TEST(test_cut_spares_idle_connections), HTTP_TEST(test_cut_hits_a_request_that_passed),
        HTTP_TEST(test_cut_while_loading),           HTTP_TEST(test_cut_in_a_storm),
        HTTP_TEST(test_many_are_cut_in_no_time),     HTTP_TEST(test_cut_while_another_image_loads),
        HTTP_TEST(test_cut_spares_the_next_attempt),
    };
    return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
