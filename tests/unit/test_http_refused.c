/* SPDX-License-Identifier: BSD-3-Clause */
/* What the download server refuses: URLs that are none, are forged or are over, and rubbish. */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fake_broker.h"
#include "http_steps.h"

static void test_unknown_urls(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    char target[OTA_PATH_MAX + 32];
    /* What stands around a good path. */
    static const struct {
        const char *before;
        const char *after;
    } around[] = {
        {"", "?"},       {"", "?a=b"}, {"", "/"},         {"", ".bin"}, {"", "#"},
        {"", "%00"},     {"", "%20"},  {"", "%3f"},       {"/", ""},    {"/x/..", ""},
        {"/%2e%2e", ""}, {"/.", ""},   {"http://fw", ""},
    };
    static const char *const others[] = {
        "/", "*", "/f", "/f/1", "/f/1/2/3/4", "/favicon.ico", "/index.html", "/%66/1/2/3/4/5"};

    new_path(&world.small, path);
    int fd = client_connect(world.port, 0);
    for (size_t i = 0; i < sizeof around / sizeof around[0]; i++) {
        (void)snprintf(target, sizeof target, "%s%s%s", around[i].before, path, around[i].after);
        struct client_reply reply = exchange(fd, "GET", target, "");
        expect_refused(&reply, 404);
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct client_reply reply = exchange(fd, "GET", others[i], "");
        expect_refused(&reply, 404);
    }
    /* One character spelt %XX, which the library would decode. */
    (void)snprintf(target, sizeof target, "/%%66%s", path + 2);
    struct client_reply reply = exchange(fd, "GET", target, "");
    expect_refused(&reply, 404);
    get_whole(fd, path, &world.small); /* the connection is still good */
    (void)close(fd);
}

static void test_other_methods(void **state)
{
    (void)state;
    static const char *const methods[] = {"POST",  "PUT",      "DELETE", "OPTIONS", "PATCH",
                                          "TRACE", "PROPFIND", "get",    "BREW"};
    char path[OTA_PATH_MAX];

    new_path(&world.small, path);
    int fd = client_connect(world.port, 0);
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        struct client_reply reply = exchange(fd, methods[i], path, "");
        expect_refused(&reply, 404);
        reply = exchange(fd, methods[i], path, "Content-Length: 0\r\n");
        expect_refused(&reply, 404);
    }
    get_whole(fd, path, &world.small);
    (void)close(fd);
}

static void test_forged(void **state)
{
    (void)state;
    const struct ota_claim good = fixture_task(&world, &world.small);
    const struct ota_claim other = fixture_task(&world, &world.small);
    struct ota_claim claim;
    struct ota_http_stats stats;
    int fd = client_connect(world.port, 0);

    for (size_t i = 0; i < OTA_MAC_HEX; i++) {
        claim = good;
        claim.mac[i] = claim.mac[i] == '0' ? '1' : '0';
        expect_forbidden(fd, &claim);
    }
    /* Good parts, put together anew. */
    claim = good;
    claim.task_id = other.task_id;
    expect_forbidden(fd, &claim);
    claim.device_id = other.device_id;
    expect_forbidden(fd, &claim);
    claim = good;
    claim.firmware_id = world.big.id;
    expect_forbidden(fd, &claim);
    claim = good;
    memcpy(claim.mac, other.mac, sizeof claim.mac);
    expect_forbidden(fd, &claim);
    /* Of tasks that there are not, or not any more, nothing else can be learnt. */
    claim = good;
    claim.task_id = 1000000;
    expect_forbidden(fd, &claim);
    (void)close(fd);

    ota_http_stats(world.http, &stats);
    assert_int_equal(stats.refused, 2 * (OTA_MAC_HEX + 5));
}

/* Rightly signed, but not true, or not true any more. */
static void test_signed_but_over(void **state)
{
    (void)state;
    const struct ota_claim good = fixture_task(&world, &world.small);
    char path[OTA_PATH_MAX];
    struct ota_claim claim;
    int fd = client_connect(world.port, 0);

    claim = good;
    claim.device_id++;
    fixture_sign(&world, world.small.sha256, &claim);
    expect_forbidden(fd, &claim);
    claim = good;
    claim.firmware_id = world.big.id; /* not the task's */
    fixture_sign(&world, world.big.sha256, &claim);
    expect_forbidden(fd, &claim);
    claim = good;
    claim.task_id = 1000000;
    fixture_sign(&world, world.small.sha256, &claim);
    expect_forbidden(fd, &claim);
    claim = good;
    claim.attempt = 2;
    fixture_sign(&world, world.small.sha256, &claim);
    expect_forbidden(fd, &claim);
    /* The next attempt begins: its URL is good, the last one's no more. */
    fixture_retry(&world, good.task_id);
    expect_forbidden(fd, &good);
    ota_download_path(&claim, path);
    get_whole(fd, path, &world.small);
    fixture_finish(&world, good.task_id);
    expect_forbidden(fd, &claim);
    (void)close(fd);
}

static void test_database_trouble_closes(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    new_path(&world.small, path);

    fixture_fail_grants(true);
    for (int i = 0; i < 3; i++) {
        int fd = client_connect(world.port, 0);
        struct client_reply reply = exchange(fd, "GET", path, "");
        assert_int_equal(reply.head_len, 0);
        (void)close(fd);
    }
    assert_true(fake_broker_logged("a test's fault"));
    assert_int_equal(fake_broker_log_count(), 1); /* one line a second */
    fixture_fail_grants(false);
    int fd = client_connect(world.port, 0);
    get_whole(fd, path, &world.small);
    (void)close(fd);
}

static void test_missing_bytes_close(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    new_path(&world.broken, path);

    for (int i = 0; i < 2; i++) {
        int fd = client_connect(world.port, 0);
        struct client_reply reply = exchange(fd, "GET", path, "");
        assert_int_equal(reply.head_len, 0);
        (void)close(fd);
    }
    assert_int_equal(fake_broker_log_count(), 1);
    wait_until_active(0);
}

static void test_rubbish_does_no_harm(void **state)
{
    (void)state;
    static const char *const starts[] = {"\r\n\r\n\r\n",
                                         "GET\r\n\r\n",
                                         "GET  HTTP/1.1\r\n\r\n",
                                         "\x16\x03\x01\x02\x01\x01",
                                         "GET / HTTP/9.9\r\n\r\n",
                                         "GET / HTTP/1.1\r\nno colon\r\n\r\n",
                                         "",
                                         " \t "};
    char path[OTA_PATH_MAX];
    static char long_text[100000];

    new_path(&world.small, path);
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        int fd = client_connect(world.port, 0);
        client_say(fd, starts[i]);
        sleep_ms(20);
        (void)close(fd);
    }
    memset(long_text, 'a', sizeof long_text - 1);
    for (int i = 0; i < 3; i++) {
        int fd = client_connect(world.port, 0);
        client_say(fd, i == 0 ? "" : i == 1 ? "GET /" : "GET / HTTP/1.1\r\n" HOST "X: ");
        client_say(fd, long_text);
        client_say(fd, "\r\n\r\n");
        (void)client_drain(fd); /* it closes, with or without an answer */
        (void)close(fd);
    }
    int fd = client_connect(world.port, 0);
    get_whole(fd, path, &world.small);
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HTTP_TEST(test_unknown_urls),
        HTTP_TEST(test_other_methods),
        HTTP_TEST(test_forged),
        HTTP_TEST(test_signed_but_over),
        HTTP_TEST(test_database_trouble_closes),
        HTTP_TEST(test_missing_bytes_close),
        HTTP_TEST(test_rubbish_does_no_harm),
    };
    return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
