/* SPDX-License-Identifier: BSD-3-Clause */
/* A server that isn't the download server: it takes bodies and cookies, and vouches for some. */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <microhttpd.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../plugin/listen.h"
#include "../../plugin/server.h"
#include "fake_broker.h"
#include "http_client.h"

/* --- a user of the server --------------------------------------------------------------------- */

/* It says how long the bodies are that it gets, and whom they are from. */
struct teller {
    struct ota_visitor visitor;
    size_t len;
};

static atomic_int bodies; /* pieces */

static void on_target(struct ota_visitor *visitor, const char *target)
{
    ((struct teller *)visitor)->len = 0;
    visitor->key = target != NULL ? (int64_t)strlen(target) : 0;
}

/* 403 to who has no key, though it says what it is about to send. */
static int on_head(struct ota_visitor *visitor, const char *method, int64_t body)
{
    assert_true(body > 0 && strcmp(method, "POST") == 0);
    return ota_server_header(visitor, "x-key") != NULL ? 0 : 403;
}

static bool on_body(struct ota_visitor *visitor, const char *bytes, size_t len)
{
    (void)bytes;
    atomic_fetch_add(&bodies, 1);
    ((struct teller *)visitor)->len += len;
    return true;
}

static bool on_request(struct ota_visitor *visitor, const char *method)
{
    static char text[8192];
    const char *cookie = ota_server_header(visitor, "Cookie");

    (void)snprintf(text, sizeof text, "%s %zu %s", method, ((struct teller *)visitor)->len,
                   cookie != NULL ? cookie : "nobody");
    if (cookie == NULL) {
        ota_server_doubt(visitor);
    }
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_COPY);
    bool sent = visitor->address != 0 && ota_server_answer(visitor, 200, response);
    MHD_destroy_response(response);
    return sent;
}

static void on_done(struct ota_visitor *visitor, bool whole)
{
    (void)visitor, (void)whole;
}

static struct ota_server *server;
static int port;

static void start(int places)
{
    struct ota_error error = {0};
    int fd;
    struct ota_server_config config = {
        .name = "teller",
        .threads = 1,
        .max_body = 1000,
        .rules = {.places = places,
                  .head_ms = 10000,
                  .idle_ms = 60000,
                  .pace = OTA_PACE_RULES_USUAL},
        .look_ms = 10,
        .calls = {.visitor_size = sizeof(struct teller),
                  .on_target = on_target,
                  .on_head = on_head,
                  .on_body = on_body,
                  .on_request = on_request,
                  .on_done = on_done},
    };

    fake_broker_reset();
    atomic_store(&bodies, 0);
    assert_int_equal(ota_listen("127.0.0.1:0", "x", &fd, &port, &error), OTA_OK);
    assert_int_equal(ota_server_start(&config, fd, &server, &error), OTA_OK);
}

static void stop_server(void)
{
    ota_server_stop(server);
    server = NULL;
}

/* --- steps ------------------------------------------------------------------------------------ */

static void expect_said(int fd, const char *text, int status, const char *said)
{
    struct client_reply reply;

    client_say(fd, text);
    client_hear(fd, false, &reply);
    assert_int_equal(reply.status, status);
    if (said != NULL) {
        assert_int_equal(reply.body_len, strlen(said));
        assert_memory_equal(reply.body, said, reply.body_len);
    }
    client_reply_free(&reply);
}

/* On a connection of its own, which ends with it. */
static void expect_refused(const char *text, int status)
{
    int fd = client_connect(port, 0);
    expect_said(fd, text, status, NULL);
    assert_true(client_is_closed(fd, 30000)); /* and no second head */
    (void)close(fd);
}

/* All that comes until the end, as text. */
static size_t hear_all(int fd, char *text, size_t size)
{
    size_t len = 0;
    ssize_t got;

    while (len < size - 1 && (got = recv(fd, text + len, size - 1 - len, 0)) > 0) {
        len += (size_t)got;
    }
    text[len] = '\0';
    return len;
}

#define POST "POST /a HTTP/1.1\r\nHost: a\r\nX-Key: x\r\n"

static void test_bodies(void **state)
{
    (void)state;
    start(10);
    int client = client_connect(port, 0);

    expect_said(client, POST "Content-Length: 5\r\n\r\nhello", 200, "POST 5 nobody");
    expect_said(client, "GET /a HTTP/1.1\r\nHost: a\r\n\r\n", 200, "GET 0 nobody");
    expect_said(client, POST "Content-Length: 0\r\n\r\n", 200, "POST 0 nobody");
    (void)close(client);
    expect_refused(POST "Content-Length: 1001\r\n\r\n", 413);
    expect_refused(POST "Transfer-Encoding: chunked\r\n\r\n", 400);
    stop_server();
    stop_server();
}

/* A head has ten seconds; a body has as long as it needs, above the floor. */
static void test_a_body_takes_its_time(void **state)
{
    (void)state;
    start(10);
    int client = client_connect(port, 0);

    client_say(client, POST "Content-Length: 5\r\n\r\nhe");
    while (atomic_load(&bodies) == 0) {
        (void)usleep(1000);
    }
    fake_broker_advance(11000);
    (void)usleep(100000); /* some looks */
    expect_said(client, "llo", 200, "POST 5 nobody");
    (void)close(client);
    stop_server();
}

/* Nobody's megabytes are taken in before it is known whose they are. */
static void test_refused_before_the_body(void **state)
{
    (void)state;
    start(10);
    expect_refused("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n", 403);
    expect_refused("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
                   "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
                   403);
    assert_int_equal(atomic_load(&bodies), 0);
    stop_server();
}

/* The library finds some of these by itself, and then writes its head twice (before 1.0). Whatever
 * it says, it is the end: no body is taken, and what stands behind isn't answered. */
static void test_faulty_lengths(void **state)
{
    (void)state;
    static const char *const lengths[] = {
        "+5", "-1", "0x5", "5, 5", "5 5", "", "5a", "99999999999999999999999", "\t+5", "5\x01"};
    static char heard[8192];
    char text[256];

    start(10);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        (void)snprintf(text, sizeof text,
                       POST "Content-Length: %s\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\n\r\n",
                       lengths[i]);
        int fd = client_connect(port, 0);
        client_say(fd, text);
        size_t len = hear_all(fd, heard, sizeof heard);
        assert_true(len == 0 || strncmp(heard, "HTTP/1.1 4", 10) == 0);
        assert_null(strstr(heard, "HTTP/1.1 200"));
        (void)close(fd);
    }
    assert_int_equal(atomic_load(&bodies), 0);
    stop_server();
}

/* Of any size: where the library parses them, it may run out of memory, and answers twice. */
static void test_cookies(void **state)
{
    (void)state;
    static char cookie[3000];
    static char text[4096];
    static char said[4096];
    start(10);
    int fd = client_connect(port, 0);

    for (size_t len = 4; len < sizeof cookie - 4; len += 100) {
        for (size_t i = 0; i < len; i += 4) {
            (void)strcpy(cookie + i, "a=b;");
        }
        (void)snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: a\r\nCookie: %s\r\n\r\n",
                       cookie);
        (void)snprintf(said, sizeof said, "GET 0 %s", cookie);
        expect_said(fd, text, 200, said);
    }
    (void)close(fd);
    stop_server();
}

/* Somebody unknown, who takes what everybody may have, has no place for ever. */
static void test_places_for_those_who_are_known(void **state)
{
    (void)state;
    int known[2];
    int unknown[2];
    start(4);

    for (int i = 0; i < 2; i++) {
        known[i] = client_connect_from("127.0.0.2", port, 0);
        expect_said(known[i], "GET / HTTP/1.1\r\nHost: a\r\nCookie: me\r\n\r\n", 200, "GET 0 me");
    }
    for (int i = 0; i < 2; i++) {
        unknown[i] = client_connect_from("127.0.0.3", port, 0);
        expect_said(unknown[i], "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200, "GET 0 nobody");
    }
    for (int i = 0; i < 2; i++) {
        int fd = client_connect_from("127.0.0.4", port, 0);
        expect_said(fd, "GET / HTTP/1.1\r\nHost: a\r\nCookie: me\r\n\r\n", 200, "GET 0 me");
        (void)close(fd);
    }
    for (int i = 0; i < 2; i++) {
        assert_false(client_is_closed(known[i], 0));
        (void)close(known[i]);
        (void)close(unknown[i]);
    }
    stop_server();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_a_body_takes_its_time),
        cmocka_unit_test(test_refused_before_the_body),
        cmocka_unit_test(test_faulty_lengths),
        cmocka_unit_test(test_cookies),
        cmocka_unit_test(test_places_for_those_who_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
