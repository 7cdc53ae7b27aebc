/* SPDX-License-Identifier: BSD-3-Clause */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fake_broker.h"
#include "http_steps.h"

struct fixture world;

int set_up_group(void **state)
{
    (void)state;
    (void)signal(SIGPIPE, SIG_DFL); /* a server thread that lets it through kills the test */
    fixture_open(&world);
    return 0;
}

int tear_down_group(void **state)
{
    (void)state;
    fixture_close(&world);
    return 0;
}

int set_up(void **state)
{
    (void)state;
    fake_broker_reset();
    fixture_fail_grants(false);
    fixture_tarry(0);
    fixture_slow_loads(0);
    fixture_start(&world, 0);
    return 0;
}

int tear_down(void **state)
{
    (void)state;
    fixture_stop(&world);
    return 0;
}

void sleep_ms(int ms)
{
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    (void)nanosleep(&time, NULL);
}

void advance(int ms)
{
    fake_broker_advance(ms);
    fixture_await_look();
}

void request(int fd, const char *method, const char *target, const char *headers)
{
    char text[2048];
    (void)snprintf(text, sizeof text, "%s %s HTTP/1.1\r\n" HOST "%s\r\n", method, target, headers);
    client_say(fd, text);
}

struct client_reply exchange(int fd, const char *method, const char *target, const char *headers)
{
    struct client_reply reply;
    request(fd, method, target, headers);
    client_hear(fd, strcmp(method, "HEAD") == 0, &reply);
    return reply;
}

void expect_header(const struct client_reply *reply, const char *name, const char *value)
{
    char found[256];
    if (!client_header(reply, name, found, sizeof found)) {
        fail_msg("%s isn't there just once:\n%s", name, reply->head);
    }
    assert_string_equal(found, value);
}

void expect_number(const struct client_reply *reply, const char *name, int64_t value)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%lld", (long long)value);
    expect_header(reply, name, text);
}

void expect_described(const struct client_reply *reply, const char *sha256, int64_t length,
                      const char *content_range)
{
    char etag[80];
    (void)snprintf(etag, sizeof etag, "\"%s\"", sha256);
    expect_number(reply, "Content-Length", length);
    expect_header(reply, "Content-Type", "application/octet-stream");
    expect_header(reply, "ETag", etag);
    expect_header(reply, "Accept-Ranges", "bytes");
    expect_header(reply, "Cache-Control", "no-store");
    if (content_range != NULL) {
        expect_header(reply, "Content-Range", content_range);
    }
    assert_int_equal(client_header_count(reply), content_range != NULL ? 7 : 6); /* and Date */
    assert_true(reply->head_len < 1000);
}

void expect_refused(struct client_reply *reply, int status)
{
    assert_int_equal(reply->status, status);
    expect_header(reply, "Content-Length", "0");
    assert_int_equal(client_header_count(reply), 2); /* and Date */
    assert_true(reply->head_len < 1000);
    client_reply_free(reply);
}

void expect_forbidden(int fd, const struct ota_claim *claim)
{
    char path[OTA_PATH_MAX];
    ota_download_path(claim, path);
    struct client_reply reply = exchange(fd, "GET", path, "Range: bytes=0-100\r\n");
    expect_refused(&reply, 403);
    reply = exchange(fd, "HEAD", path, "");
    expect_refused(&reply, 403);
}

void expect_body(struct client_reply *reply, const struct fixture_firmware *firmware, int64_t first,
                 int64_t length)
{
    assert_true(reply->whole);
    assert_int_equal(reply->body_len, length);
    assert_memory_equal(reply->body, firmware->bytes + first, (size_t)length);
    client_reply_free(reply);
}

void get_whole(int fd, const char *path, const struct fixture_firmware *firmware)
{
    struct client_reply reply = exchange(fd, "GET", path, "");
    assert_int_equal(reply.status, 200);
    assert_memory_equal(reply.head, "HTTP/1.1 200 OK\r\n", 17);
    expect_described(&reply, firmware->sha256, firmware->size, NULL);
    expect_body(&reply, firmware, 0, firmware->size);
}

void expect_begun(int fd)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    char byte;
    assert_int_equal(poll(&ready, 1, 30000), 1);
    assert_int_equal(recv(fd, &byte, 1, MSG_PEEK), 1);
}

struct ota_claim new_path(const struct fixture_firmware *firmware, char *path)
{
    struct ota_claim claim = fixture_task(&world, firmware);
    ota_download_path(&claim, path);
    return claim;
}

int active(void)
{
    struct ota_http_stats stats;
    ota_http_stats(world.http, &stats);
    return stats.active;
}

void wait_until_active(int count)
{
    for (int i = 0; i < 6000 && active() != count; i++) {
        sleep_ms(10);
    }
    assert_int_equal(active(), count);
}

int present(void)
{
    struct ota_http_stats stats;
    ota_http_stats(world.http, &stats);
    return stats.connections;
}

void wait_until_present(int count)
{
    for (int i = 0; i < 6000 && present() != count; i++) {
        sleep_ms(10);
    }
    assert_int_equal(present(), count);
}

void close_all(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        (void)close(fds[i]);
    }
}

bool is_open(int fd)
{
    struct pollfd seen = {.fd = fd, .events = POLLRDHUP};
    return poll(&seen, 1, 0) == 0;
}

/* "127.0.0.N" */
static const char *address(int number)
{
    static char text[16];
    (void)snprintf(text, sizeof text, "127.0.0.%d", number);
    return text;
}

int connect_from(int number, int window)
{
    return client_connect_from(address(number), world.port, window);
}

void take(int fd, size_t bytes)
{
    static char buffer[65536];
    assert_true(bytes <= sizeof buffer);
    assert_int_equal(recv(fd, buffer, bytes, MSG_WAITALL), bytes);
    client_acknowledge(fd);
}

int begin_download(int number, const char *path)
{
    int fd = connect_from(number, WINDOW);

    request(fd, "GET", path, "");
    take(fd, 1000); /* it has begun, and counts as active */
    return fd;
}

void restart(int places)
{
    fixture_stop(&world);
    fixture_start(&world, places);
}
