/* SPDX-License-Identifier: BSD-3-Clause */
/* What the download server serves, to one and to many. */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fake_broker.h"
#include "http_steps.h"

/* --- what is served -------------------------------------------------------------------------- */

static void test_whole_file_on_one_connection(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    struct ota_http_stats stats;
    new_path(&world.big, path);
    int fd = client_connect(world.port, 0);

    get_whole(fd, path, &world.big);
    struct client_reply reply = exchange(fd, "HEAD", path, "");
    assert_int_equal(reply.status, 200);
    expect_described(&reply, world.big.sha256, world.big.size, NULL);
    get_whole(fd, path, &world.big);
    (void)close(fd);

    wait_until_active(0);
    ota_http_stats(world.http, &stats);
    assert_int_equal(stats.requests, 3);
    assert_int_equal(stats.refused, 0);
    assert_int_equal(stats.bytes, 2 * world.big.size);
}

static void test_ranges(void **state)
{
    (void)state;
    static const struct {
        const char *range;
        int64_t first;
        int64_t length; /* -1: everything, 200 */
    } cases[] = {
        {"bytes=0-0", 0, 1},
        {"bytes=0-65535", 0, 65536},
        {"bytes=65535-65536", 65535, 2},
        {"bytes=100000-165535", 100000, 65536},
        {"bytes=39000-40000", 39000, -2}, /* clamped: see below */
        {"bytes=-7", -7, 7},
        {"bytes=0-9 \t", 0, 10},
        {"lines=1-2", 0, -1},
    };
    const struct fixture_firmware *big = &world.big;
    char path[OTA_PATH_MAX];
    char headers[128];
    char content_range[128];

    new_path(big, path);
    int fd = client_connect(world.port, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t first = cases[i].first < 0 ? big->size + cases[i].first : cases[i].first;
        int64_t length = cases[i].length == -2 ? 1001 : cases[i].length;
        (void)snprintf(headers, sizeof headers, "Range: %s\r\n", cases[i].range);
        struct client_reply reply = exchange(fd, "GET", path, headers);
        if (length == -1) {
            assert_int_equal(reply.status, 200);
            expect_described(&reply, big->sha256, big->size, NULL);
            expect_body(&reply, big, 0, big->size);
            continue;
        }
        assert_int_equal(reply.status, 206);
        assert_memory_equal(reply.head, "HTTP/1.1 206 Partial Content\r\n", 30);
        (void)snprintf(content_range, sizeof content_range, "bytes %lld-%lld/%lld",
                       (long long)first, (long long)(first + length - 1), (long long)big->size);
        expect_described(&reply, big->sha256, length, content_range);
        expect_body(&reply, big, first, length);
    }
    (void)close(fd);
}

/* As the vendor's SDK asks: one past the end, from the start and in mid-file; and once more when
 * it has everything. */
static void test_vendor_ranges(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    new_path(&world.small, path);
    int fd = client_connect(world.port, 0);

    struct client_reply reply = exchange(fd, "GET", path, "Range: bytes=0-40000\r\n");
    assert_int_equal(reply.status, 206);
    expect_described(&reply, world.small.sha256, 40000, "bytes 0-39999/40000");
    expect_body(&reply, &world.small, 0, 40000);
    reply = exchange(fd, "GET", path, "Range: bytes=29994-40000\r\n");
    assert_int_equal(reply.status, 206);
    expect_described(&reply, world.small.sha256, 10006, "bytes 29994-39999/40000");
    expect_body(&reply, &world.small, 29994, 10006);

    reply = exchange(fd, "GET", path, "Range: bytes=40000-40000\r\n");
    assert_int_equal(reply.status, 416);
    expect_described(&reply, world.small.sha256, 0, "bytes */40000");
    client_reply_free(&reply);
    get_whole(fd, path, &world.small); /* not a byte of a body was sent */
    (void)close(fd);
}

static void test_if_range(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    char headers[640];
    new_path(&world.small, path);
    int fd = client_connect(world.port, 0);

    (void)snprintf(headers, sizeof headers, "Range: bytes=10-19\r\nIf-Range: \"%s\"\r\n",
                   world.small.sha256);
    struct client_reply reply = exchange(fd, "GET", path, headers);
    assert_int_equal(reply.status, 206);
    expect_body(&reply, &world.small, 10, 10);

    const char *const sha256 = world.small.sha256;
    char others[4][128];
    (void)snprintf(others[0], sizeof others[0], "\"%s\"", world.big.sha256);
    (void)snprintf(others[1], sizeof others[1], "W/\"%s\"", sha256);
    (void)snprintf(others[2], sizeof others[2], "%s", sha256);
    (void)snprintf(others[3], sizeof others[3], "Sat, 29 Oct 1994 19:43:31 GMT");
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        (void)snprintf(headers, sizeof headers, "Range: bytes=10-19\r\nIf-Range: %s\r\n",
                       others[i]);
        reply = exchange(fd, "GET", path, headers);
        assert_int_equal(reply.status, 200);
        expect_body(&reply, &world.small, 0, world.small.size);
    }
    (void)close(fd);
}

/* Conditions that could give 304 or 412, and compression, are ignored. */
static void test_other_headers_change_nothing(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    char headers[512];
    new_path(&world.small, path);
    int fd = client_connect(world.port, 0);

    (void)snprintf(headers, sizeof headers,
                   "If-None-Match: \"%s\"\r\nIf-Match: \"x\"\r\nAccept-Encoding: gzip, deflate\r\n"
                   "If-Modified-Since: Sat, 29 Oct 2044 19:43:31 GMT\r\nTE: chunked\r\n"
                   "Accept: text/html\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n",
                   world.small.sha256);
    struct client_reply reply = exchange(fd, "GET", path, headers);
    assert_int_equal(reply.status, 200);
    expect_body(&reply, &world.small, 0, world.small.size);
    (void)close(fd);
}

/* --- how it is asked ------------------------------------------------------------------------- */

static void test_http_1_0(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    char text[512];
    struct client_reply reply;
    new_path(&world.small, path);

    int fd = client_connect(world.port, 0);
    (void)snprintf(text, sizeof text, "GET %s HTTP/1.0\r\n\r\n", path);
    client_say(fd, text);
    client_hear(fd, false, &reply);
    assert_int_equal(reply.status, 200);
    expect_number(&reply, "Content-Length", world.small.size);
    expect_body(&reply, &world.small, 0, world.small.size);
    assert_true(client_is_closed(fd, 30000));
    (void)close(fd);
}

static void test_connection_close(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    new_path(&world.small, path);

    int fd = client_connect(world.port, 0);
    struct client_reply reply = exchange(fd, "GET", path, "Connection: close\r\n");
    assert_int_equal(reply.status, 200);
    expect_header(&reply, "Connection", "close");
    expect_body(&reply, &world.small, 0, world.small.size);
    assert_true(client_is_closed(fd, 30000));
    (void)close(fd);
}

static void test_pipelined(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    struct client_reply reply;
    new_path(&world.small, path);

    int fd = client_connect(world.port, 0);
    for (int i = 0; i < 5; i++) {
        request(fd, i % 2 == 0 ? "GET" : "HEAD", path, "");
    }
    for (int i = 0; i < 5; i++) {
        client_hear(fd, i % 2 != 0, &reply);
        assert_int_equal(reply.status, 200);
        if (i % 2 == 0) {
            expect_body(&reply, &world.small, 0, world.small.size);
        }
    }
    (void)close(fd);
}

static void test_byte_by_byte(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    char text[512];
    struct client_reply reply;
    new_path(&world.small, path);

    int fd = client_connect(world.port, 0);
    (void)snprintf(text, sizeof text, "GET %s HTTP/1.1\r\n" HOST "Range: bytes=1-2\r\n\r\n", path);
    for (const char *at = text; *at != '\0'; at++) {
        const char byte[2] = {*at, '\0'};
        client_say(fd, byte);
        sleep_ms(1);
    }
    client_hear(fd, false, &reply);
    assert_int_equal(reply.status, 206);
    expect_body(&reply, &world.small, 1, 2);
    (void)close(fd);
}

/* --- several at a time ----------------------------------------------------------------------- */

struct download {
    pthread_t thread;
    char path[OTA_PATH_MAX];
    const struct fixture_firmware *firmware;
    bool good;
};

/* cmocka's assertions are for the test's thread alone. */
static void *run_download(void *data)
{
    struct download *download = data;
    int fd = client_connect(world.port, 0);
    struct client_reply reply = exchange(fd, "GET", download->path, "");
    download->good = reply.status == 200 && reply.whole &&
                     reply.body_len == (size_t)download->firmware->size &&
                     memcmp(reply.body, download->firmware->bytes, reply.body_len) == 0;
    client_reply_free(&reply);
    (void)close(fd);
    return NULL;
}

static void run_downloads(struct download *downloads, int count)
{
    for (int i = 0; i < count; i++) {
        assert_int_equal(pthread_create(&downloads[i].thread, NULL, run_download, &downloads[i]),
                         0);
    }
    for (int i = 0; i < count; i++) {
        (void)pthread_join(downloads[i].thread, NULL);
        assert_true(downloads[i].good);
    }
}

/* Many ask for two images that aren't in memory: each is loaded once, and nobody is forgotten. */
static void test_parallel_cold(void **state)
{
    (void)state;
    struct download downloads[24] = {0};
    int before = fixture_loads();

    fixture_slow_loads(200);
    for (int i = 0; i < 24; i++) {
        downloads[i].firmware = i % 2 == 0 ? &world.big : &world.small;
        new_path(downloads[i].firmware, downloads[i].path);
    }
    run_downloads(downloads, 24);
    assert_int_equal(fixture_loads() - before, 2);
    run_downloads(downloads, 24);
    assert_int_equal(fixture_loads() - before, 2);
}

/* While an image is being loaded, others are served. */
static void test_loading_blocks_nobody(void **state)
{
    (void)state;
    char hot[OTA_PATH_MAX];
    char cold[OTA_PATH_MAX];
    new_path(&world.small, hot);
    new_path(&world.big, cold);
    int fd = client_connect(world.port, 0);
    int waiting[8];

    get_whole(fd, hot, &world.small);
    fixture_slow_loads(60000);
    for (int i = 0; i < 8; i++) {
        waiting[i] = client_connect(world.port, 0);
        request(waiting[i], "GET", cold, "");
    }
    wait_until_active(8);
    for (int i = 0; i < 20; i++) {
        get_whole(fd, hot, &world.small);
    }
    wait_until_active(8); /* the last hot one is in the books for a moment after its last byte */
    fixture_slow_loads(0);
    for (int i = 0; i < 8; i++) {
        struct client_reply reply;
        client_hear(waiting[i], false, &reply);
        assert_int_equal(reply.status, 200);
        expect_body(&reply, &world.big, 0, world.big.size);
        (void)close(waiting[i]);
    }
    (void)close(fd);
}

/* More readers that have stopped reading than there are threads. */
static void test_stalled_readers_block_nobody(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    int stalled[8];
    new_path(&world.big, path);

    for (int i = 0; i < 8; i++) {
        stalled[i] = client_connect(world.port, 4096);
        request(stalled[i], "GET", path, "");
    }
    wait_until_active(8);
    int fd = client_connect(world.port, 0);
    get_whole(fd, path, &world.big);
    (void)close(fd);
    for (int i = 0; i < 8; i++) {
        (void)close(stalled[i]);
    }
    wait_until_active(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HTTP_TEST(test_whole_file_on_one_connection),
        HTTP_TEST(test_ranges),
        HTTP_TEST(test_vendor_ranges),
        HTTP_TEST(test_if_range),
        HTTP_TEST(test_other_headers_change_nothing),
        HTTP_TEST(test_http_1_0),
        HTTP_TEST(test_connection_close),
        HTTP_TEST(test_pipelined),
        HTTP_TEST(test_byte_by_byte),
        HTTP_TEST(test_parallel_cold),
        HTTP_TEST(test_loading_blocks_nobody),
        HTTP_TEST(test_stalled_readers_block_nobody),
    };
    return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
