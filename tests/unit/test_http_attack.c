/* SPDX-License-Identifier: BSD-3-Clause */
/* People who mean it ill, and keep the rules by the letter. */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http_steps.h"

/* As much of the text, again and again, as the connection takes without our reading; at most so
 * many bytes. */
static size_t say_without_end(int fd, const char *text, size_t most)
{
    size_t len = strlen(text);
    size_t total = 0;

    for (int full = 0; full < 100 && total < most;) {
        ssize_t sent = send(fd, text + total % len, len - total % len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent <= 0) {
            full++;
            sleep_ms(1);
        } else {
            total += (size_t)sent;
            full = 0;
        }
    }
    return total;
}

/* Nobody needs a URL to be refused, and refusals can be read as slowly as images. */
static void test_refusals_are_no_download(void **state)
{
    (void)state;
    enum { PLACES = 4 };
    char path[OTA_PATH_MAX];
    int fds[PLACES];
    new_path(&world.big, path);

    restart(PLACES);
    for (int i = 0; i < PLACES; i++) {
        fds[i] = connect_from(2 + i, WINDOW);
        (void)say_without_end(fds[i], "GET / HTTP/1.1\r\n" HOST "\r\n", 1000000);
    }
    for (int i = 0; i < 12; i++) {
        advance(1000);
        for (int k = 0; k < PLACES; k++) {
            take(fds[k], 2000);
        }
    }
    assert_int_equal(present(), PLACES);
    int fd = connect_from(100, 0);
    get_whole(fd, path, &world.big);
    close_all(fds, PLACES);
    (void)close(fd);
}

/* Who has got one URL, and many addresses to come from. */
static void test_one_url_takes_few_places(void **state)
{
    (void)state;
    enum { MANY = OTA_HTTP_PER_TASK + 8 };
    char stolen[OTA_PATH_MAX];
    char path[OTA_PATH_MAX];
    int fds[MANY];
    new_path(&world.big, stolen);
    new_path(&world.big, path);

    restart(OTA_HTTP_PER_TASK + 1);
    for (int i = 0; i < MANY; i++) {
        fds[i] = connect_from(2 + i, WINDOW);
        request(fds[i], "GET", stolen, "");
        expect_begun(fds[i]);
    }
    wait_until_present(OTA_HTTP_PER_TASK);
    assert_true(is_open(fds[0]) || client_drain(fds[0]) < (size_t)world.big.size);
    int fd = connect_from(100, 0);
    get_whole(fd, path, &world.big);
    /* The newest of them is as good as ever. */
    struct client_reply reply;
    client_hear(fds[MANY - 1], false, &reply);
    expect_body(&reply, &world.big, 0, world.big.size);
    close_all(fds, MANY);
    (void)close(fd);
}

/* Requests without end, sent while the first of them waits for its image. */
static void test_unread_requests_are_few(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    char text[512];
    const int small = 4096;
    new_path(&world.small, path);
    int fd = client_connect(world.port, WINDOW);

    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    fixture_slow_loads(60000);
    (void)snprintf(text, sizeof text, "GET %s HTTP/1.1\r\n" HOST "\r\n", path);
    assert_in_range(say_without_end(fd, text, 1000000), 4096, 65535);
    fixture_slow_loads(0);
    (void)close(fd);
}

static void test_pipelined(void **state)
{
    (void)state;
    enum { MANY = 60 };
    static char text[MANY * 300];
    char path[OTA_PATH_MAX];
    size_t len = 0;
    new_path(&world.small, path);
    int fd = client_connect(world.port, 0);

    for (int i = 0; i < MANY; i++) {
        len += (size_t)snprintf(text + len, sizeof text - len,
                                "%s %s HTTP/1.1\r\n" HOST "Range: bytes=%d-%d\r\n\r\n", "GET",
                                i % 3 == 2 ? "/x" : path, i, 2 * i);
    }
    client_say(fd, text);
    for (int i = 0; i < MANY; i++) {
        struct client_reply reply;
        client_hear(fd, false, &reply);
        if (i % 3 == 2) {
            expect_refused(&reply, 404);
        } else {
            expect_body(&reply, &world.small, i, i + 1);
        }
    }
    (void)close(fd);
}

/* "That was all", says the client; it gets its answer, and then the connection ends. */
static void test_half_closed(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    struct client_reply reply;
    new_path(&world.big, path);

    for (int i = 0; i < 10; i++) {
        int fd = client_connect(world.port, 0);
        request(fd, "GET", path, "");
        (void)shutdown(fd, SHUT_WR);
        client_hear(fd, false, &reply);
        expect_body(&reply, &world.big, 0, world.big.size);
        assert_true(client_is_closed(fd, 30000)); /* the clock stands still: nobody is idle */
        (void)close(fd);
    }
    for (int i = 0; i < 10; i++) {
        int fd = client_connect(world.port, 0);
        client_say(fd, i % 2 == 0 ? "" : "GET / HTTP/1.1\r\nHo");
        (void)shutdown(fd, SHUT_WR);
        assert_true(client_is_closed(fd, 30000));
        (void)close(fd);
    }
    wait_until_present(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HTTP_TEST(test_refusals_are_no_download),
        HTTP_TEST(test_one_url_takes_few_places),
        HTTP_TEST(test_unread_requests_are_few),
        HTTP_TEST(test_pipelined),
        HTTP_TEST(test_half_closed),
    };
    return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
