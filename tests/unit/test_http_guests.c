/* SPDX-License-Identifier: BSD-3-Clause */
/* Who may stay how long, and who has to go when places are scarce. */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fake_broker.h"
#include "http_steps.h"

/* --- deadlines ------------------------------------------------------------------------------- */

/* Ten seconds for a whole head, whatever comes in between. */
static void test_slow_head(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    new_path(&world.small, path);
    int silent = client_connect(world.port, 0);
    int trickling = client_connect(world.port, 0);
    int good = client_connect(world.port, 0);
    client_say(good, "GET ");
    wait_until_present(3);

    for (int i = 0; i < 9; i++) {
        client_say(trickling, i == 0 ? "GET / HTTP/1.1\r\nX: " : "x");
        advance(1000);
    }
    advance(900);
    assert_true(is_open(silent) && is_open(trickling) && is_open(good));
    client_say(good, path);
    client_say(good, " HTTP/1.1\r\n" HOST "\r\n");
    struct client_reply reply;
    client_hear(good, false, &reply);
    expect_body(&reply, &world.small, 0, world.small.size);
    advance(100);
    assert_true(client_is_closed(silent, 30000));
    assert_true(client_is_closed(trickling, 30000));
    advance(1000);
    assert_true(is_open(good));
    (void)close(silent);
    (void)close(trickling);
    (void)close(good);
}

/* On a connection that is kept: as long again, from the request's first byte on. */
static void test_slow_head_of_a_later_request(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    char text[512];
    struct client_reply reply;
    new_path(&world.small, path);
    int fd = client_connect(world.port, 0);

    get_whole(fd, path, &world.small);
    advance(30000);
    get_whole(fd, path, &world.small);
    advance(30000);
    client_say(fd, "G");
    int fragment = client_connect(world.port, 0);
    /* The next one's beginning comes in one packet with the one before it. */
    (void)snprintf(text, sizeof text, "GET %s HTTP/1.1\r\n" HOST "\r\nGET /", path);
    client_say(fragment, text);
    client_hear(fragment, false, &reply);
    expect_body(&reply, &world.small, 0, world.small.size);
    wait_until_active(0);
    advance(0); /* all is acknowledged */
    advance(0); /* the first byte is seen */
    for (int i = 0; i < 9; i++) {
        advance(1000);
        client_say(fd, "E");
    }
    assert_true(is_open(fd) && is_open(fragment));
    advance(1000);
    assert_true(client_is_closed(fd, 30000));
    assert_true(client_is_closed(fragment, 30000));
    (void)close(fragment);
    (void)close(fd);
}

static void test_idle(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    new_path(&world.small, path);
    int fd = client_connect(world.port, 0);

    get_whole(fd, path, &world.small);
    wait_until_active(0);
    advance(0);
    for (int i = 0; i < 5; i++) { /* in steps: no clock of a head runs */
        advance(11000);
    }
    assert_true(is_open(fd));
    advance(5000);
    assert_true(client_is_closed(fd, 30000));
    (void)close(fd);
}

/* While a request waits for us, nobody is late. */
static void test_waiting_for_an_image(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    struct client_reply reply;
    new_path(&world.small, path);
    int fd = client_connect(world.port, 0);

    fixture_slow_loads(60000);
    request(fd, "GET", path, "");
    wait_until_active(1);
    for (int i = 0; i < 8; i++) {
        advance(20000);
    }
    fixture_slow_loads(0);
    client_hear(fd, false, &reply);
    expect_body(&reply, &world.small, 0, world.small.size);
    (void)close(fd);
}

/* --- pace ------------------------------------------------------------------------------------ */

/* Minutes at 600 bytes a second. */
static void test_slow_reader_stays(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    new_path(&world.big, path);
    int fd = begin_download(1, path);

    advance(0);
    for (int i = 0; i < 30; i++) {
        take(fd, 6000);
        advance(10000);
        assert_true(is_open(fd));
    }
    assert_int_equal(active(), 1);
    (void)close(fd);
}

/* A minute at 400 bytes a second, behind one that was better. */
static void test_slower_reader_is_cut(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    new_path(&world.big, path);
    int fd = begin_download(1, path);
    int slots = 0;

    advance(0);
    take(fd, 60000);
    while (present() == 1 && slots < 20) {
        advance(10000);
        if (present() == 1) {
            take(fd, 4000);
        }
        slots++;
    }
    assert_in_range(slots, 6, 9);
    assert_true(client_is_closed(fd, 30000) || client_drain(fd) < 200000);
    (void)close(fd);
}

/* All that is left of the answer is in the kernel, and the client doesn't take it. */
static void test_stalled_at_the_end_is_cut(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    new_path(&world.small, path);
    int fd = client_connect(world.port, 2048);

    request(fd, "GET", path, "");
    take(fd, 100);
    for (int i = 0; i < 9; i++) {
        advance(10000);
    }
    wait_until_present(0);
    assert_true(client_drain(fd) < (size_t)world.small.size);
    (void)close(fd);
}

/* Small ranges now and then: there is nothing to send in between, so nobody is slow. */
static void test_pauses_are_not_slow(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    new_path(&world.small, path);
    int fd = client_connect(world.port, 0);

    for (int i = 0; i < 20; i++) {
        struct client_reply reply = exchange(fd, "GET", path, "Range: bytes=0-99\r\n");
        expect_body(&reply, &world.small, 0, 100);
        advance(0);
        advance(20000);
    }
    (void)close(fd);
}

/* A process that was stopped for an hour finds its clients as they were. */
static void test_a_leap_of_the_clock_cuts_nobody(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    new_path(&world.big, path);
    int fd = begin_download(1, path);

    advance(0);
    advance(3600000);
    assert_true(is_open(fd));
    (void)close(fd);
}

/* --- places ---------------------------------------------------------------------------------- */

/* The port was shut for everybody by those who only connect. */
static void test_idle_flood(void **state)
{
    (void)state;
    enum { FLOOD = 300 };
    static int fds[FLOOD];
    char path[OTA_PATH_MAX];
    new_path(&world.big, path);

    restart(40);
    int running = begin_download(2, path);
    for (int i = 0; i < FLOOD; i++) {
        fds[i] = connect_from(100 + i % 100, 0);
        if (i % 2 == 0) {
            client_say(fds[i], "GET / HTTP/1.1\r\n");
        }
    }
    for (int i = 0; i < 10; i++) {
        int fd = connect_from(3 + i, 0);
        get_whole(fd, path, &world.big);
        (void)close(fd);
    }
    assert_true(is_open(running));
    assert_true(present() <= 40);
    close_all(fds, FLOOD);
    (void)close(running);
}

/* The longest weak goes first: it had the most time to ask for something. */
static void test_newcomers_replace_the_weak(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    int fds[4];
    new_path(&world.small, path);

    restart(4);
    for (int i = 0; i < 4; i++) {
        fds[i] = connect_from(2 + i, 0);
        wait_until_present(i + 1);
    }
    get_whole(fds[0], path, &world.small); /* has done something since */
    wait_until_active(0);
    advance(0); /* all is acknowledged: now it is idle */
    for (int i = 0; i < 4; i++) {
        static const int order[] = {1, 2, 3, 0};
        int newcomer = connect_from(10 + i, 0);
        assert_true(client_is_closed(fds[order[i]], 30000));
        for (int k = i + 1; k < 4; k++) {
            assert_true(is_open(fds[order[k]]));
        }
        get_whole(newcomer, path, &world.small);
        fixture_await_look();
        (void)close(fds[order[i]]);
        fds[order[i]] = newcomer;
    }
    close_all(fds, 4);
}

/* Where all download at a fair pace, the newcomer is turned away at once. */
static void test_fair_downloads_are_never_dropped(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    int fds[4];
    new_path(&world.big, path);

    restart(4);
    for (int i = 0; i < 4; i++) {
        fds[i] = begin_download(2 + i, path);
    }
    for (int i = 0; i < 20; i++) {
        int newcomer = connect_from(20 + i, 0);
        assert_true(client_is_closed(newcomer, 30000));
        (void)close(newcomer);
        for (int k = 0; k < 4; k++) {
            assert_true(is_open(fds[k]));
            take(fds[k], 2000);
        }
        advance(1000);
    }
    /* One stops reading: after a while its place is for others. */
    for (int i = 0; i < 22; i++) {
        for (int k = 0; k < 3; k++) {
            take(fds[k], 2000);
        }
        advance(1000);
    }
    assert_true(is_open(fds[3]));
    int newcomer = connect_from(60, 0);
    get_whole(newcomer, path, &world.big);
    assert_true(client_drain(fds[3]) < (size_t)world.big.size / 2);
    assert_true(is_open(fds[0]) && is_open(fds[1]) && is_open(fds[2]));
    (void)close(newcomer);
    close_all(fds, 4);
}

/* What is left of an answer is in the kernel: the client is downloading, whatever we think. */
static void test_the_end_of_an_answer_is_no_pause(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    new_path(&world.small, path);

    restart(1);
    int fd = connect_from(2, 2048);
    request(fd, "GET", path, "");
    expect_begun(fd);
    wait_until_active(0);
    fixture_await_look();
    int newcomer = connect_from(3, 0);
    assert_true(client_is_closed(newcomer, 30000));
    struct client_reply reply;
    client_hear(fd, false, &reply);
    expect_body(&reply, &world.small, 0, world.small.size);
    (void)close(newcomer);
    (void)close(fd);
}

/* One address, however many devices behind it, leaves a quarter to others. */
static void test_one_address_leaves_room(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    int many[6];
    int others[2];
    new_path(&world.big, path);

    restart(8);
    for (int i = 0; i < 6; i++) {
        many[i] = begin_download(2, path);
    }
    for (int i = 0; i < 5; i++) {
        int one_more = connect_from(2, 0);
        assert_true(client_is_closed(one_more, 30000));
        (void)close(one_more);
    }
    for (int i = 0; i < 2; i++) {
        others[i] = begin_download(3 + i, path);
    }
    assert_int_equal(active(), 8);
    close_all(many, 6);
    close_all(others, 2);
}

/* Nor does it take away what others have, though they do nothing just now. */
static void test_a_large_share_replaces_its_own(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    int many[4];
    int others[2];
    new_path(&world.small, path);

    restart(8);
    for (int i = 0; i < 2; i++) { /* the longest weak of all */
        others[i] = connect_from(3 + i, 0);
        wait_until_present(i + 1);
    }
    for (int i = 0; i < 4; i++) {
        many[i] = connect_from(2, 0);
        wait_until_present(i + 3);
    }
    for (int i = 0; i < 20; i++) {
        int one_more = connect_from(2, 0);
        assert_true(client_is_closed(many[i % 4], 30000));
        (void)close(many[i % 4]);
        many[i % 4] = one_more;
        wait_until_present(6);
    }
    assert_true(is_open(others[0]) && is_open(others[1]));
    /* Others' newcomers, too, get a place of the large share, as long as it is one. */
    int newcomers[4];
    for (int i = 0; i < 4; i++) {
        newcomers[i] = connect_from(10 + i, 0);
        get_whole(newcomers[i], path, &world.small);
        assert_int_equal(is_open(many[0]), i < 2);
        assert_int_equal(is_open(others[0]), i < 3);
    }
    close_all(newcomers, 4);
    close_all(many, 4);
    close_all(others, 2);
}

static void flood(void)
{
    int fds[8];
    for (int i = 0; i < 8; i++) {
        fds[i] = connect_from(2 + i, 0);
    }
    advance(100);
    fixture_await_look();
    close_all(fds, 8);
    wait_until_present(0);
}

static void test_scarcity_is_told_once_a_minute(void **state)
{
    (void)state;

    restart(2);
    flood();
    assert_int_equal(fake_broker_log_count(), 1);
    assert_true(fake_broker_logged("downloads: the places are scarce"));
    flood();
    assert_int_equal(fake_broker_log_count(), 1);
    advance(61000);
    fixture_await_look();
    assert_int_equal(fake_broker_log_count(), 2);
    advance(61000);
    fixture_await_look();
    assert_int_equal(fake_broker_log_count(), 2); /* nothing new */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HTTP_TEST(test_slow_head),
        HTTP_TEST(test_slow_head_of_a_later_request),
        HTTP_TEST(test_idle),
        HTTP_TEST(test_waiting_for_an_image),
        HTTP_TEST(test_slow_reader_stays),
        HTTP_TEST(test_slower_reader_is_cut),
        HTTP_TEST(test_stalled_at_the_end_is_cut),
        HTTP_TEST(test_pauses_are_not_slow),
        HTTP_TEST(test_a_leap_of_the_clock_cuts_nobody),
        HTTP_TEST(test_idle_flood),
        HTTP_TEST(test_newcomers_replace_the_weak),
        HTTP_TEST(test_fair_downloads_are_never_dropped),
        HTTP_TEST(test_the_end_of_an_answer_is_no_pause),
        HTTP_TEST(test_one_address_leaves_room),
        HTTP_TEST(test_a_large_share_replaces_its_own),
        HTTP_TEST(test_scarcity_is_told_once_a_minute),
    };
    return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
