/* SPDX-License-Identifier: BSD-3-Clause */
/* What is refused for how it is asked: after each of these, whatever the client has sent behind it
 * must not be taken for a request. */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http_steps.h"

#define GET         "GET %s HTTP/1.1\r\n"
#define ANY_REFUSAL (-1) /* 400 or closed without an answer */

/* A request with %s for a good path. */
struct shape {
    const char *text;
    int status;
};

/* Appends text, with path for each %s and a NUL for each '@'. */
static size_t write_shape(char *at, const char *text, const char *path)
{
    char *start = at;

    for (; *text != '\0'; text++) {
        if (text[0] == '%' && text[1] == 's') {
            at += strlen(strcpy(at, path));
            text++;
        } else {
            *at++ = *text == '@' ? '\0' : *text;
        }
    }
    return (size_t)(at - start);
}

static void expect_status(const struct shape *shape, const struct client_reply *reply)
{
    bool fits = shape->status == ANY_REFUSAL
                    ? reply->status == 400 || reply->status == 0 || reply->status == -1
                    : reply->status == shape->status;
    if (!fits) {
        fail_msg("%d instead of %d to:\n%s", reply->status, shape->status, shape->text);
    }
    assert_true(reply->status <= 0 || reply->head_len < 1000);
}

/* One refusal, and then the end: no answer to the good request that stands behind it. */
static void expect_one_refusal(const struct shape *shape, const char *path)
{
    static char bytes[32768];
    struct client_reply reply;
    int fd = client_connect(world.port, 0);

    size_t len = write_shape(bytes, shape->text, path);
    len += write_shape(bytes + len, GET HOST "\r\n", path);
    client_say_bytes(fd, bytes, len);
    client_hear(fd, false, &reply);
    expect_status(shape, &reply);
    if (!client_is_closed(fd, 30000)) {
        fail_msg("the connection lives on after:\n%s", shape->text);
    }
    client_reply_free(&reply);
    (void)close(fd);
}

static void expect_refusals(const struct shape *shapes, size_t count)
{
    char path[OTA_PATH_MAX];
    new_path(&world.small, path);

    for (size_t i = 0; i < count; i++) {
        expect_one_refusal(&shapes[i], path);
    }
    int fd = client_connect(world.port, 0);
    get_whole(fd, path, &world.small);
    (void)close(fd);
}

#define EXPECT(shapes) expect_refusals(shapes, sizeof(shapes) / sizeof(shapes)[0])

static void test_transfer_encoding(void **state)
{
    (void)state;
    static const struct shape shapes[] = {
        {GET HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
        {GET HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 400},
        {GET HOST "transfer-encoding:CHUNKED\r\n\r\n", 400},
        {GET HOST "Transfer-Encoding: identity\r\n\r\n", 400},
        {GET HOST "Transfer-Encoding: xchunked\r\n\r\n", 400},
        {GET HOST "Transfer-Encoding: chunked, identity\r\n\r\n", 400},
        {GET HOST "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {GET HOST "Transfer-Encoding:\r\n\r\n", 400},
        {GET HOST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400},
        {GET HOST "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", 400},
        {GET HOST "Transfer_Encoding: x\r\nTransfer-Encoding: \x0b chunked\r\n\r\n", 400},
        {GET HOST "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
        {GET HOST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400},
        {"GET %s HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
        {"HEAD %s HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
        {"POST %s HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
    };
    EXPECT(shapes);
}

static void test_content_length(void **state)
{
    (void)state;
    static const struct shape shapes[] = {
        {GET HOST "Content-Length: 5\r\n\r\nhello", 413},
        {GET HOST "Content-Length: 5\r\n\r\n", 413}, /* what follows would be the body */
        {GET HOST "Content-Length: 1000000000\r\n\r\n", 413},
        {GET HOST "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n", 413},
        {GET HOST "Content-Length: 99999999999999999999999\r\n\r\n", 413},
        {"HEAD %s HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello", 413},
        {"POST %s HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello", 413},
        {"PUT /x HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello", 413},
        {GET HOST "Content-Length: +0\r\n\r\n", 400},
        {GET HOST "Content-Length: -1\r\n\r\n", 400},
        {GET HOST "Content-Length: 0x5\r\n\r\n", 400},
        {GET HOST "Content-Length: 5, 5\r\n\r\n", 400},
        {GET HOST "Content-Length: 0, 5\r\n\r\n", 400},
        {GET HOST "Content-Length: 0 5\r\n\r\n", 400},
        {GET HOST "Content-Length:\r\n\r\n", 400},
        {GET HOST "Content-Length: 0\r\nContent-Length: 0\r\n\r\n", 400},
        {GET HOST "Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello", 400},
        {GET HOST "Content-Length : 5\r\n\r\nhello", 400},
        {GET HOST "Content Length: 5\r\n\r\nhello", 400},
    };
    EXPECT(shapes);
}

static void test_host(void **state)
{
    (void)state;
    static const struct shape shapes[] = {
        {GET "\r\n", 400},
        {GET "X: y\r\n\r\n", 400},
        {GET HOST HOST "\r\n", 400},
        {GET HOST "host: other\r\n\r\n", 400},
        {GET "Host: a b\r\n\r\n", 400},
        {GET "Host: a,b\r\n\r\n", 400},
        {GET "Host: a/b\r\n\r\n", 400},
        {GET "Host: u@h\r\n\r\n", 400},
        {GET "Host : a\r\n\r\n", 400},
    };
    EXPECT(shapes);
}

static void test_lines(void **state)
{
    (void)state;
    static const struct shape shapes[] = {
        /* folded */
        {GET HOST "X: a\r\n b\r\n\r\n", 400},
        {GET HOST "X: a\r\n\tb\r\n\r\n", 400},
        {GET HOST "X: a\r\n \r\n\r\n", 400},
        {GET HOST "Content-Length: 5\r\n X\r\n\r\nhello", 400},
        {GET HOST "X: a\r\n Content-Length: 5\r\n\r\nhello", 400},
        {GET "Host:\r\n fw\r\n\r\n", 400},
        {GET " " HOST "\r\n", 400},
        /* bare ends of lines */
        {"GET %s HTTP/1.1\n" HOST "\r\n", 400},
        {GET "Host: a\n\r\n", 400},
        {GET HOST "\n", 400},
        {GET HOST "X: a\nY: b\r\n\r\n", 400},
        {GET HOST "X: a\rY: b\r\n\r\n", 400},
        {GET HOST "X: a\r\r\n\r\n", 400},
        {GET HOST "X: a\n\n", 400},
        /* NUL, and other control characters */
        {"GET %s@ HTTP/1.1\r\n" HOST "\r\n", ANY_REFUSAL},
        {"GET %s@/x HTTP/1.1\r\n" HOST "\r\n", ANY_REFUSAL},
        {"GET@ %s HTTP/1.1\r\n" HOST "\r\n", ANY_REFUSAL},
        {"GET %s HTTP/1.1@\r\n" HOST "\r\n", ANY_REFUSAL},
        {GET "Host: a@b\r\n\r\n", ANY_REFUSAL},
        {GET HOST "X@: a\r\n\r\n", ANY_REFUSAL},
        {GET HOST "X: @\r\n\r\n", ANY_REFUSAL},
        {GET HOST "X: a@Content-Length: 5\r\n\r\n", ANY_REFUSAL},
        {GET HOST "@\r\n\r\n", ANY_REFUSAL},
        {GET HOST "X: \x01\r\n\r\n", 400},
        {GET HOST "X: \x7f\r\n\r\n", 400},
        /* names */
        {GET HOST "no colon\r\n\r\n", 400},
        {GET HOST ": a\r\n\r\n", 400},
        {GET HOST "X : a\r\n\r\n", 400},
        {GET HOST "X\t: a\r\n\r\n", 400},
        {GET HOST "X(y): a\r\n\r\n", 400},
        {GET HOST "X\xc3\xa4: a\r\n\r\n", 400},
        /* what may come once */
        {GET HOST "Range: bytes=0-1\r\nRange: bytes=3-4\r\n\r\n", 400},
        {GET HOST "Range: bytes=0-1\r\nrange: bytes=0-1\r\n\r\n", 400},
        {GET HOST "If-Range: \"a\"\r\nIf-Range: \"b\"\r\n\r\n", 400},
        /* there is no body to expect, and no device knows a 100 */
        {GET HOST "Expect: 100-continue\r\n\r\n", 400},
        {GET HOST "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n", 400},
    };
    EXPECT(shapes);
}

static void test_request_lines(void **state)
{
    (void)state;
    static const struct shape shapes[] = {
        {"GET  %s HTTP/1.1\r\n" HOST "\r\n", ANY_REFUSAL},
        {"GET %s  HTTP/1.1\r\n" HOST "\r\n", ANY_REFUSAL},
        {"GET %s HTTP/1.1 \r\n" HOST "\r\n", ANY_REFUSAL},
        {" GET %s HTTP/1.1\r\n" HOST "\r\n", ANY_REFUSAL},
        {"GET\t%s HTTP/1.1\r\n" HOST "\r\n", ANY_REFUSAL},
        {"GET %s\tHTTP/1.1\r\n" HOST "\r\n", ANY_REFUSAL},
        {"GET %s x HTTP/1.1\r\n" HOST "\r\n", ANY_REFUSAL},
        {"GET %s\r\n\r\n", ANY_REFUSAL},
        {"GET\r\n\r\n", ANY_REFUSAL},
        {"GET %s http/1.1\r\n" HOST "\r\n", ANY_REFUSAL},
        {"GET %s HTTP/1.10\r\n" HOST "\r\n", ANY_REFUSAL},
        {"GET %s HTTP/11\r\n" HOST "\r\n", ANY_REFUSAL},
        {"GET %s HTTP/2.0\r\n" HOST "\r\n", 505},
        {"GET %s HTTP/0.9\r\n" HOST "\r\n", 505},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
        {"G(T %s HTTP/1.1\r\n" HOST "\r\n", 400},
    };
    EXPECT(shapes);
}

static void test_long_lines(void **state)
{
    (void)state;
    static const struct {
        const char *before;
        const char *each;
        const char *after;
        int status;
    } cases[] = {
        {"GET /", "a", " HTTP/1.1\r\n" HOST "\r\n", 414},
        {"", "a", "", ANY_REFUSAL}, /* it ends with a method yet to come: 414 or nothing */
        {"GET / HTTP/1.1\r\n" HOST "X: ", "a", "\r\n\r\n", 431},
        {"GET / HTTP/1.1\r\n" HOST, "X: y\r\n", "\r\n", 431},
        {"GET / HTTP/1.1\r\n" HOST, "a", ": y\r\n\r\n", 431},
        {"GET / HTTP/1.1\r\n" HOST "Cookie: ", "a=b;", "\r\n\r\n", 431},
    };
    static char text[24000];

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct client_reply reply;
        char *at = text + strlen(strcpy(text, cases[i].before));
        while (at < text + 20000) {
            at += strlen(strcpy(at, cases[i].each));
        }
        (void)strcpy(at, cases[i].after);
        int fd = client_connect(world.port, 0);
        client_say(fd, text);
        client_hear(fd, false, &reply);
        if (cases[i].status != ANY_REFUSAL) {
            assert_int_equal(reply.status, cases[i].status);
        }
        assert_true(client_is_closed(fd, 30000));
        client_reply_free(&reply);
        (void)close(fd);
    }
}

/* --- what stays open ------------------------------------------------------------------------- */

/* The framing is beyond doubt: an answer, and the connection is as good as before. */
static void test_ranges_that_are_none(void **state)
{
    (void)state;
    static const char *const faulty[] = {
        "bytes=0-1,3-4", "bytes=0-1,",
        "bytes=,0-1",    "bytes=",
        "bytes=-",       "bytes=--1",
        "bytes=1",       "bytes=a-b",
        "bytes=1-2b",    "bytes=+1-2",
        "bytes= 1-2",    "bytes=1 -2",
        "bytes =1-2",    "bytes:1-2",
        "1-2",           "bytes",
        "bytes=0-1;q=1", "=0-1",
        "bytes=0x0-0x9", "bytes=00000000000000000000000000000000000000000000000000000000000-1",
    };
    static const char *const reversed[] = {"bytes=5-3", "bytes=50000-40000"};
    char path[OTA_PATH_MAX];
    char headers[160];
    new_path(&world.small, path);
    int fd = client_connect(world.port, 0);

    for (size_t i = 0; i < sizeof faulty / sizeof faulty[0]; i++) {
        (void)snprintf(headers, sizeof headers, "Range: %s\r\n", faulty[i]);
        struct client_reply reply = exchange(fd, "GET", path, headers);
        expect_refused(&reply, 400);
        reply = exchange(fd, "HEAD", path, headers); /* where a Range means nothing */
        assert_int_equal(reply.status, 200);
    }
    for (size_t i = 0; i < sizeof reversed / sizeof reversed[0]; i++) {
        (void)snprintf(headers, sizeof headers, "Range: %s\r\n", reversed[i]);
        struct client_reply reply = exchange(fd, "GET", path, headers);
        assert_int_equal(reply.status, 416);
        expect_described(&reply, world.small.sha256, 0, "bytes */40000");
        client_reply_free(&reply);
    }
    get_whole(fd, path, &world.small);
    (void)close(fd);
}

static void test_raw_targets(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    char target[OTA_PATH_MAX + 64];
    static const char *const forms[] = {
        "http://fw.example.com%s",
        "https://fw.example.com%s",
        "//fw.example.com%s",
        "/%s",
        "%s/",
        "%s?",
        "%s?x",
        "%s?x=%%00",
        "%s#",
        "%s;",
        "%s%%0d%%0aX:y",
        "%s\\",
        "\\%s",
        "/.%s",
        "/..%s",
        "/x/..%s",
        "/%%2e%%2e%s",
        "/%%2e%s",
        "*",
        "fw.example.com:80",
        "%s%s",
    };

    new_path(&world.small, path);
    int fd = client_connect(world.port, 0);
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        (void)snprintf(target, sizeof target, forms[i], path, path);
        struct client_reply reply = exchange(fd, "GET", target, "");
        expect_refused(&reply, 404);
    }
    /* Each character of the path as %XX, then in the other case. */
    for (size_t i = 0; path[i] != '\0'; i++) {
        (void)snprintf(target, sizeof target, "%.*s%%%02x%s", (int)i, path, (unsigned char)path[i],
                       path + i + 1);
        struct client_reply reply = exchange(fd, "GET", target, "");
        expect_refused(&reply, 404);
        if (path[i] >= 'a' && path[i] <= 'f') {
            (void)strcpy(target, path);
            target[i] = (char)(path[i] - 'a' + 'A');
            reply = exchange(fd, "GET", target, "");
            expect_refused(&reply, 404);
        }
    }
    get_whole(fd, path, &world.small);
    (void)close(fd);
}

/* Where the library parses them, it may run out of memory, and then it answers twice. */
static void test_cookies(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    static char headers[1500];
    new_path(&world.small, path);

    for (size_t len = 20; len < sizeof headers - 20; len += 40) {
        int fd = client_connect(world.port, 0);
        char *at = headers + strlen(strcpy(headers, "Cookie: "));
        while (at < headers + len) {
            at += strlen(strcpy(at, "a=b;"));
        }
        (void)strcpy(at, "\r\n");
        struct client_reply reply = exchange(fd, "GET", path, headers);
        assert_int_equal(reply.status, 200);
        expect_body(&reply, &world.small, 0, world.small.size);
        get_whole(fd, path, &world.small); /* nothing stands before its answer */
        (void)close(fd);
    }
}

/* Where the library parses them, it may run out of memory, and before 1.0 it then goes on with a
 * request that it has half torn down: the connection hangs, or the process crashes. */
static void test_arguments(void **state)
{
    (void)state;
    static const char *const units[] = {"a&", "a=b&", "&", "%00=&"};
    static char target[8192];

    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        for (size_t len = 10; len < 8000; len += len < 2000 ? 50 : 333) {
            struct client_reply reply;
            int fd = client_connect(world.port, 0);
            char *at = target + strlen(strcpy(target, "GET /x?"));
            while (at < target + len) {
                at += strlen(strcpy(at, units[i]));
            }
            client_say(fd, target);
            client_say(fd, " HTTP/1.1\r\n" HOST "\r\n");
            client_hear(fd, false, &reply);
            assert_true(reply.status == 404 || (len > 2000 && reply.status != 200));
            client_reply_free(&reply);
            (void)close(fd);
        }
    }
}

/* What is unusual, but right. */
static void test_good_shapes(void **state)
{
    (void)state;
    static const char *const good[] = {
        "Host:fw\r\n",
        "host:   fw  \r\n",
        "HOST:\tfw:8080\r\n",
        "Host:\r\n",
        "Host: [::1]:8080\r\n",
        HOST "Content-Length: 0\r\n",
        HOST "X:\r\nY: \t \r\n",
        HOST "X: \xc3\xa4\t\"'()\r\n",
        HOST "Cookie: a=b; c\r\nCookie: d\r\n",
        HOST "Range: lines=0-5\r\n",
        HOST "!#$%&'*+-.^_`|~9Az: y\r\n",
    };
    char path[OTA_PATH_MAX];
    char text[512];
    struct client_reply reply;
    new_path(&world.small, path);
    int fd = client_connect(world.port, 0);

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        (void)snprintf(text, sizeof text, "GET %s HTTP/1.1\r\n%s\r\n", path, good[i]);
        client_say(fd, text);
        client_hear(fd, false, &reply);
        if (reply.status != 200) {
            fail_msg("%d to:\n%s", reply.status, text);
        }
        expect_body(&reply, &world.small, 0, world.small.size);
    }
    (void)close(fd);
}

/* Whatever is forged or over: the MAC is computed and compared, whole, in constant time. */
static void test_mac_is_always_compared(void **state)
{
    (void)state;
    struct ota_claim claim = fixture_task(&world, &world.small);
    char path[OTA_PATH_MAX];
    int fd = client_connect(world.port, 0);
    struct ota_claim claims[4] = {claim, claim, claim, claim};

    claims[1].mac[0] = claim.mac[0] == '0' ? '1' : '0';
    claims[2].task_id = 1000000;
    claims[3].attempt = 7;
    ota_download_path(&claim, path);
    get_whole(fd, path, &world.small); /* from here on the image is in memory: one call each */
    int compared = fixture_mac_compares();
    for (int i = 0; i < 4; i++) {
        ota_download_path(&claims[i], path);
        struct client_reply reply = exchange(fd, "GET", path, "Range: bytes=0-1\r\n");
        assert_int_equal(reply.status, i == 0 ? 206 : 403);
        client_reply_free(&reply);
        assert_int_equal(fixture_mac_compares(), compared + i + 1);
    }
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HTTP_TEST(test_transfer_encoding),
        HTTP_TEST(test_content_length),
        HTTP_TEST(test_host),
        HTTP_TEST(test_lines),
        HTTP_TEST(test_request_lines),
        HTTP_TEST(test_long_lines),
        HTTP_TEST(test_ranges_that_are_none),
        HTTP_TEST(test_raw_targets),
        HTTP_TEST(test_cookies),
        HTTP_TEST(test_arguments),
        HTTP_TEST(test_good_shapes),
        HTTP_TEST(test_mac_is_always_compared),
    };
    return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
