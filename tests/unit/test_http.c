/* SPDX-License-Identifier: BSD-3-Clause */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
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

/* --- what is refused ------------------------------------------------------------------------- */

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

static void expect_forbidden(int fd, const struct ota_claim *claim)
{
    char path[OTA_PATH_MAX];
    ota_download_path(claim, path);
    struct client_reply reply = exchange(fd, "GET", path, "Range: bytes=0-100\r\n");
    expect_refused(&reply, 403);
    reply = exchange(fd, "HEAD", path, "");
    expect_refused(&reply, 403);
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

/* --- cut ------------------------------------------------------------------------------------- */

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

/* --- start and stop -------------------------------------------------------------------------- */

static void test_restart_leaks_nothing(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    new_path(&world.big, path);

    fixture_stop(&world);
    int descriptors = fixture_descriptors();
    int threads = fixture_threads();
    for (int round = 0; round < 6; round++) {
        int fds[6];
        struct client_reply reply;
        fixture_start(&world, 0);
        assert_true(fixture_threads() > threads);
        fixture_slow_loads(round % 2 == 0 ? 300 : 0); /* some wait while it stops */
        for (int i = 0; i < 6; i++) {
            fds[i] = client_connect(world.port, 4096);
            request(fds[i], "GET", path, "");
        }
        if (round % 3 == 2) {
            client_hear(fds[0], false, &reply);
            client_reply_free(&reply);
        }
        sleep_ms(round * 10);
        fixture_stop(&world);
        for (int i = 0; i < 6; i++) {
            (void)client_drain(fds[i]);
            (void)close(fds[i]);
        }
        assert_int_equal(fixture_descriptors(), descriptors);
        assert_int_equal(fixture_threads(), threads);
    }
    ota_http_stop(NULL);
}

static bool blocks_signals(const char *tid)
{
    const unsigned long all = 1ul << (SIGTERM - 1) | 1ul << (SIGHUP - 1) | 1ul << (SIGINT - 1) |
                              1ul << (SIGUSR1 - 1) | 1ul << (SIGUSR2 - 1) | 1ul << (SIGPIPE - 1);
    char path[300];
    char line[256];
    unsigned long bits = 0;

    (void)snprintf(path, sizeof path, "/proc/self/task/%s/status", tid);
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        (void)sscanf(line, "SigBlk: %lx", &bits);
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return (bits & all) == all;
}

static int threads_that_block_signals(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/task");
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        count += blocks_signals(entry->d_name);
    }
    (void)closedir(dir);
    return count;
}

/* SIGTERM, SIGHUP and the others must reach the broker's thread, whose mask stays as it was. */
static void test_threads_take_no_signals(void **state)
{
    (void)state;
    sigset_t mask;

    int with = threads_that_block_signals();
    fixture_stop(&world);
    /* Two of the library's, the one that loads and the one that watches. */
    assert_int_equal(with - threads_that_block_signals(), 4);
    (void)pthread_sigmask(SIG_BLOCK, NULL, &mask);
    assert_false(sigismember(&mask, SIGTERM));
}

static enum ota_err try_start(const char *address, const char *certfile, const char *keyfile,
                              struct ota_error *error)
{
    struct ota_http_config config = {
        .listen = address, .certfile = certfile, .keyfile = keyfile, .db_path = world.db_path};
    struct ota_http *http = NULL;
    memset(error, 0, sizeof *error);
    enum ota_err err = ota_http_start(&config, &http, error);
    if (err == OTA_OK) {
        ota_http_stop(http);
    } else {
        assert_null(http);
        assert_int_equal(error->code, err);
    }
    return err;
}

static void test_bad_addresses(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "8080",
                                      ":8080",
                                      "127.0.0.1",
                                      "127.0.0.1:",
                                      "127.0.0.1:http",
                                      "127.0.0.1:65536",
                                      "127.0.0.1:-1",
                                      "127.0.0.1:80x",
                                      "127.0.0.1:999999999999",
                                      "localhost:8080",
                                      "1.2.3:x:8080",
                                      "::1:8080",
                                      "[::1]8080",
                                      "[::1",
                                      "[]:8080",
                                      "[127.0.0.1:8080",
                                      "256.0.0.1:8080"};
    char taken[32];
    struct ota_error error;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(try_start(bad[i], NULL, NULL, &error), OTA_INVALID_REQUEST);
        assert_string_equal(error.field, "download_listen");
        assert_non_null(strstr(error.text, "0.0.0.0:8080"));
    }
    (void)snprintf(taken, sizeof taken, "127.0.0.1:%d", world.port);
    assert_int_equal(try_start(taken, NULL, NULL, &error), OTA_UNAVAILABLE);
    assert_string_equal(error.field, "download_listen");
    assert_non_null(strstr(error.text, "another program"));
    assert_non_null(strstr(error.text, taken));
    assert_int_equal(try_start("192.0.2.1:0", NULL, NULL, &error), OTA_INVALID_REQUEST);
    assert_string_equal(error.field, "download_listen");
    assert_int_equal(try_start("0.0.0.0:0", NULL, NULL, &error), OTA_OK);
    if (access("/proc/sys/net/ipv6", F_OK) == 0) {
        assert_int_equal(try_start("[::1]:0", NULL, NULL, &error), OTA_OK);
        assert_int_equal(try_start("[::]:0", NULL, NULL, &error), OTA_OK);
    }
}

static void test_unreadable_database(void **state)
{
    (void)state;
    const struct ota_http_config config = {.listen = "127.0.0.1:0", .db_path = "/nonexistent/db"};
    struct ota_http *http = NULL;
    struct ota_error error = {0};
    assert_int_not_equal(ota_http_start(&config, &http, &error), OTA_OK);
    assert_null(http);
    assert_true(error.text[0] != '\0');
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_whole_file_on_one_connection),
        TEST(test_ranges),
        TEST(test_vendor_ranges),
        TEST(test_if_range),
        TEST(test_other_headers_change_nothing),
        TEST(test_http_1_0),
        TEST(test_connection_close),
        TEST(test_pipelined),
        TEST(test_byte_by_byte),
        TEST(test_unknown_urls),
        TEST(test_other_methods),
        TEST(test_forged),
        TEST(test_signed_but_over),
        TEST(test_database_trouble_closes),
        TEST(test_missing_bytes_close),
        TEST(test_rubbish_does_no_harm),
        TEST(test_parallel_cold),
        TEST(test_loading_blocks_nobody),
        TEST(test_stalled_readers_block_nobody),
        TEST(test_cut_drops_a_transfer),
        TEST(test_cut_drops_what_the_kernel_has),
        TEST(test_cut_spares_idle_connections),
        TEST(test_cut_hits_a_request_that_passed),
        TEST(test_cut_while_loading),
        TEST(test_cut_in_a_storm),
        TEST(test_restart_leaks_nothing),
        TEST(test_threads_take_no_signals),
        TEST(test_bad_addresses),
        TEST(test_unreadable_database),
    };
    (void)signal(SIGPIPE, SIG_DFL); /* a server thread that lets it through kills the test */
    return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
