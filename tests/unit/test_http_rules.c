/* SPDX-License-Identifier: BSD-3-Clause */
/* The guards by themselves: pace, addresses, guests without a server, a server that isn't the
 * download server. */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../../plugin/addresses.h"
#include "../../plugin/guests.h"
#include "../../plugin/listen.h"
#include "../../plugin/pace.h"
#include "../../plugin/server.h"
#include "../../plugin/shape.h"
#include "../../plugin/worker.h"
#include "http_client.h"

static void sleep_ms(int ms)
{
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    (void)nanosleep(&time, NULL);
}

/* --- pace ------------------------------------------------------------------------------------ */

static const struct ota_pace_rules usual = OTA_PACE_RULES_USUAL;

/* Seconds until a client that takes so many bytes each second is dead; 0: not in an hour. */
static int dies_after(int64_t rate)
{
    struct ota_pace pace = {0};

    for (int second = 0; second < 3600; second++) {
        if (ota_pace_look(&pace, &usual, (uint64_t)(rate * second), second * 1000) ==
            OTA_PACE_DEAD) {
            return second;
        }
    }
    return 0;
}

static void test_floor(void **state)
{
    (void)state;
    assert_int_equal(dies_after(0), 60);
    assert_int_equal(dies_after(500), 60);
    assert_int_equal(dies_after(511), 60);
    assert_int_equal(dies_after(512), 0);
    assert_int_equal(dies_after(600), 0);
    assert_int_equal(dies_after(1000000000), 0);
}

/* A radio that is silent for most of a minute, and better in between, isn't slow. */
static void test_floor_is_an_average(void **state)
{
    (void)state;
    struct ota_pace pace = {0};
    uint64_t taken = 0;

    for (int second = 0; second < 3600; second++) {
        taken += second % 60 == 5 ? 31000 : 0;
        assert_int_not_equal(ota_pace_look(&pace, &usual, taken, second * 1000), OTA_PACE_DEAD);
    }
}

static void test_slow_before_dead(void **state)
{
    (void)state;
    struct ota_pace pace = {0};

    assert_int_equal(ota_pace_look(&pace, &usual, 0, 1000), OTA_PACE_FAIR);
    assert_int_equal(ota_pace_look(&pace, &usual, 0, 10999), OTA_PACE_FAIR);
    assert_int_equal(ota_pace_look(&pace, &usual, 0, 11000), OTA_PACE_SLOW);
    assert_int_equal(ota_pace_look(&pace, &usual, 6000, 21000), OTA_PACE_FAIR);
    assert_int_equal(ota_pace_look(&pace, &usual, 7000, 31000), OTA_PACE_SLOW);
    ota_pace_rest(&pace);
    assert_int_equal(ota_pace_look(&pace, &usual, 7000, 31000), OTA_PACE_FAIR);
    assert_int_equal(ota_pace_look(&pace, &usual, 7000, 40999), OTA_PACE_FAIR);
}

/* --- addresses ------------------------------------------------------------------------------- */

static uint64_t number_of(int family, const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

    assert_int_equal(
        inet_pton(family, text, family == AF_INET ? (void *)&v4.sin_addr : (void *)&v6.sin6_addr),
        1);
    return ota_address_number(family == AF_INET ? (const struct sockaddr *)&v4
                                                : (const struct sockaddr *)&v6);
}

static void test_addresses(void **state)
{
    (void)state;
    uint64_t v4 = number_of(AF_INET, "192.0.2.1");

    assert_true(v4 == number_of(AF_INET6, "::ffff:192.0.2.1"));
    assert_true(v4 != number_of(AF_INET, "192.0.2.2"));
    assert_true(number_of(AF_INET, "0.0.0.0") != number_of(AF_INET6, "::"));
    assert_true(number_of(AF_INET6, "2001:db8:1:2::1") ==
                number_of(AF_INET6, "2001:db8:1:2:ffff:ffff:ffff:ffff"));
    assert_true(number_of(AF_INET6, "2001:db8:1:2::1") != number_of(AF_INET6, "2001:db8:1:3::1"));
    const struct sockaddr other = {.sa_family = AF_UNIX};
    assert_true(ota_address_number(&other) == 0);
}

static void test_weight(void **state)
{
    (void)state;
    static struct ota_addresses addresses;
    struct ota_address *many[3];

    ota_addresses_init(&addresses, 5);
    assert_null(ota_addresses_find(&addresses, 7));
    for (int i = 0; i < 3; i++) {
        many[i] = ota_addresses_join(&addresses, 7);
        assert_int_equal(many[i]->heavy, i == 2);
    }
    struct ota_address *other = ota_addresses_join(&addresses, 8);
    assert_true(many[0] == many[2] && many[0] != other && !other->heavy);
    assert_true(LIST_FIRST(&addresses.heavy) == many[0]);
    ota_addresses_part(&addresses, many[0]);
    assert_true(LIST_EMPTY(&addresses.heavy) && ota_addresses_find(&addresses, 7) != NULL);
    ota_addresses_part(&addresses, many[0]);
    ota_addresses_part(&addresses, many[0]);
    assert_null(ota_addresses_find(&addresses, 7));
    ota_addresses_part(&addresses, other);
    ota_addresses_part(&addresses, NULL);
}

/* --- shape ----------------------------------------------------------------------------------- */

/* The status for a POST with these headers, "name:value" each, to a server that takes bodies. */
static int status_of(const char *const *headers, size_t count, size_t hidden)
{
    struct ota_shape shape;
    size_t size = strlen("POST /x HTTP/1.1\r\n\r\n");

    ota_shape_begin(&shape, 10, "POST", ota_shape_target("/x"), "HTTP/1.1");
    for (size_t i = 0; i < count; i++) {
        const char *colon = strchr(headers[i], ':');
        ota_shape_header(&shape, headers[i], (size_t)(colon - headers[i]), colon + 1,
                         strlen(colon + 1));
        size += strlen(headers[i]) + 2;
    }
    return ota_shape_verdict(&shape, size + hidden);
}

/* What a library makes of a folded line: a name from here, a value from there. */
static void test_torn_headers(void **state)
{
    (void)state;
    static const char text[] = "value\0name\0                                                  "
                               "                                                  far away";
    static const struct {
        size_t name;
        size_t value;
        int status;
    } cases[] = {{6, 11, 0}, {6, 12, 0}, {6, 0, 400}, {6, 10, 400}, {6, 111, 400}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ota_shape shape;
        ota_shape_begin(&shape, 0, "GET", 1, "HTTP/1.0");
        ota_shape_header(&shape, text + cases[i].name, 4, text + cases[i].value, 5);
        assert_int_equal(ota_shape_verdict(&shape, 0), cases[i].status);
    }
}

static void test_bodies_where_they_may_be(void **state)
{
    (void)state;
    static const char *const none[] = {"Host:a"};
    static const char *const good[] = {"Host:a", "Content-Length:10", "Expect:100-continue"};
    static const char *const large[] = {"Host:a", "Content-Length:11"};
    static const char *const two[] = {"Host:a", "Content-Length:5", "content-length:5"};
    static const char *const chunks[] = {"Host:a", "Transfer-Encoding:chunked"};

    assert_int_equal(status_of(none, 1, 0), 0);
    assert_int_equal(status_of(none, 1, 1), 400);
    assert_int_equal(status_of(good, 3, 0), 0);
    assert_int_equal(status_of(large, 2, 0), 413);
    assert_int_equal(status_of(two, 3, 0), 400);
    assert_int_equal(status_of(chunks, 2, 0), 400);
}

/* --- guests without a server ----------------------------------------------------------------- */

static const struct ota_guest_rules rules = {
    .places = 10, .head_ms = 10000, .idle_ms = 60000, .pace = OTA_PACE_RULES_USUAL};

struct pair {
    struct ota_guests *guests;
    struct ota_guest guest;
    int client;
    int server;
};

static void open_pair(struct pair *pair)
{
    struct ota_error error = {0};
    const struct sockaddr_in from = {.sin_family = AF_INET};
    int listening;
    int port;

    assert_int_equal(ota_listen("127.0.0.1:0", "x", &listening, &port, &error), OTA_OK);
    pair->client = client_connect(port, 4096);
    for (pair->server = -1; pair->server < 0;) {
        pair->server = accept4(listening, NULL, NULL, SOCK_NONBLOCK);
    }
    (void)close(listening);
    assert_int_equal(ota_guests_open(&rules, &pair->guests, &error), OTA_OK);
    ota_guests_enter(pair->guests, &pair->guest, pair->server, (const struct sockaddr *)&from, 0);
}

static void close_pair(struct pair *pair)
{
    ota_guests_leave(pair->guests, &pair->guest);
    ota_guests_close(pair->guests);
    (void)close(pair->server);
    (void)close(pair->client);
}

/* More than the client takes. */
static void send_much(struct pair *pair)
{
    static const char much[1 << 20];
    assert_true(send(pair->server, much, sizeof much, MSG_NOSIGNAL) > 0);
}

static void ask(struct pair *pair, int64_t key)
{
    ota_guests_ask(pair->guests, &pair->guest, key, 0, 0);
}

static bool lives(struct pair *pair)
{
    ota_guests_drop_cut(pair->guests);
    sleep_ms(20);
    return !client_is_closed(pair->client, 0);
}

static void test_cut_of_one_who_has_it_all(void **state)
{
    (void)state;
    struct pair pair;

    open_pair(&pair);
    ask(&pair, 7);
    ota_guests_rest(pair.guests, &pair.guest, 0);
    assert_true(ota_guests_cut(pair.guests, 7));
    assert_true(lives(&pair));
    assert_false(ota_guests_cut(pair.guests, 8));
    close_pair(&pair);
}

/* It asked again before the thread came to the cut: that was about the answer before. */
static void test_cut_then_asked_again(void **state)
{
    (void)state;
    struct pair pair;

    open_pair(&pair);
    ask(&pair, 7);
    ota_guests_rest(pair.guests, &pair.guest, 0);
    assert_true(ota_guests_cut(pair.guests, 7));
    ask(&pair, 7);
    send_much(&pair);
    ota_guests_drop_cut(pair.guests);
    struct ota_guest_counts counts;
    ota_guests_count(pair.guests, &counts);
    assert_int_equal(counts.present, 1);
    close_pair(&pair);
}

static void test_cut_of_what_the_kernel_has(void **state)
{
    (void)state;
    for (int again = 0; again < 2; again++) {
        struct pair pair;
        struct ota_guest_counts counts;

        open_pair(&pair);
        ask(&pair, 7);
        send_much(&pair);
        ota_guests_rest(pair.guests, &pair.guest, 0);
        assert_true(ota_guests_cut(pair.guests, 7));
        if (again == 1) {
            ask(&pair, 8);
        }
        ota_guests_drop_cut(pair.guests);
        ota_guests_count(pair.guests, &counts);
        assert_int_equal(counts.present, 0);
        close_pair(&pair);
    }
}

static struct ota_guest_counts after_minutes(struct pair *pair)
{
    struct ota_guest_counts counts;

    for (int64_t now = 0; now < 200000; now += 1000) {
        ota_guests_work(pair->guests, now);
    }
    ota_guests_count(pair->guests, &counts);
    return counts;
}

/* Who sends a body has no deadline, but must not send it below the floor. */
static void test_slow_bodies(void **state)
{
    (void)state;
    static char bytes[600];
    for (int slow = 0; slow < 2; slow++) {
        struct pair pair;
        struct ota_guest_counts counts;

        open_pair(&pair);
        ota_guests_read(pair.guests, &pair.guest, 0);
        for (int64_t second = 0; second < 200; second++) {
            ota_guests_work(pair.guests, second * 1000);
            (void)send(pair.client, bytes, slow ? 400 : 600, MSG_NOSIGNAL);
            (void)recv(pair.server, bytes, sizeof bytes, MSG_DONTWAIT);
        }
        ota_guests_count(pair.guests, &counts);
        assert_int_equal(counts.present, !slow);
        assert_int_equal(counts.slow, slow);
        ask(&pair, 7);
        assert_int_equal(after_minutes(&pair).present, !slow);
        close_pair(&pair);
    }
}

static void drain_client(struct pair *pair)
{
    static char bytes[65536];

    for (int quiet = 0; quiet < 100; quiet++) {
        while (recv(pair->client, bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
            quiet = 0;
        }
        sleep_ms(1);
    }
}

/* A stream of events may be silent for as long as it likes, but what it says must be taken. */
static void test_silent_streams_are_not_slow(void **state)
{
    (void)state;
    struct pair pair;

    open_pair(&pair);
    ask(&pair, 7);
    send_much(&pair);
    for (int64_t now = 0; now <= 30000; now += 1000) {
        ota_guests_work(pair.guests, now);
    }
    assert_true(pair.guest.weak);
    drain_client(&pair);
    assert_int_equal(after_minutes(&pair).present, 1);
    assert_false(pair.guest.weak);
    send_much(&pair);
    struct ota_guest_counts counts = after_minutes(&pair);
    assert_int_equal(counts.present, 0);
    assert_int_equal(counts.slow, 1);
    close_pair(&pair);
}

/* The lock isn't held while the socket is looked at, so somebody may leave meanwhile. */
static atomic_bool leaving;

static void *work_on(void *data)
{
    struct ota_guests *guests = data;
    for (int64_t now = 0; !atomic_load(&leaving); now++) {
        ota_guests_work(guests, now);
        ota_guests_drop_cut(guests);
    }
    return NULL;
}

static void test_leaving_while_looked_at(void **state)
{
    (void)state;
    struct pair pair;
    pthread_t thread;
    const struct sockaddr_in from = {.sin_family = AF_INET};
    struct ota_guest *others[64];

    open_pair(&pair);
    atomic_store(&leaving, false);
    assert_int_equal(pthread_create(&thread, NULL, work_on, pair.guests), 0);
    for (int round = 0; round < 2000; round++) {
        int count = round % 64 + 1;
        for (int i = 0; i < count; i++) {
            others[i] = calloc(1, sizeof *others[i]);
            ota_guests_enter(pair.guests, others[i], dup(pair.server),
                             (const struct sockaddr *)&from, 0);
            ota_guests_ask(pair.guests, others[i], i % 3, 1, 0);
            ota_guests_rest(pair.guests, others[i], 0);
        }
        (void)ota_guests_cut(pair.guests, round % 3);
        for (int i = 0; i < count; i++) {
            int fd = others[i]->fd;
            ota_guests_leave(pair.guests, others[i]);
            (void)close(fd);
            free(others[i]);
        }
    }
    atomic_store(&leaving, true);
    (void)pthread_join(thread, NULL);
    struct ota_guest_counts counts;
    ota_guests_count(pair.guests, &counts);
    assert_int_equal(counts.busy, 0);
    close_pair(&pair);
}

/* --- another listener ------------------------------------------------------------------------ */

/* It says how long the bodies are that it gets. */
struct teller {
    struct ota_visitor visitor;
    size_t len;
    bool done;
};

static void teller_target(struct ota_visitor *visitor, const char *target)
{
    ((struct teller *)visitor)->len = 0;
    visitor->key = target != NULL ? (int64_t)strlen(target) : 0;
}

static bool teller_body(struct ota_visitor *visitor, const char *bytes, size_t len)
{
    (void)bytes;
    ((struct teller *)visitor)->len += len;
    return true;
}

static bool teller_request(struct ota_visitor *visitor, const char *method)
{
    char text[64];
    (void)snprintf(text, sizeof text, "%s %zu", method, ((struct teller *)visitor)->len);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_COPY);
    bool sent = ota_server_answer(visitor, 200, response);
    MHD_destroy_response(response);
    return sent;
}

static void teller_done(struct ota_visitor *visitor, bool whole)
{
    (void)visitor, (void)whole;
}

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

static void test_another_listener(void **state)
{
    (void)state;
    struct ota_error error = {0};
    struct ota_server *server = NULL;
    int fd;
    int port;
    struct ota_server_config config = {
        .name = "teller",
        .threads = 1,
        .max_body = 1000,
        .rules = rules,
        .look_ms = 10,
        .calls = {.visitor_size = sizeof(struct teller),
                  .on_target = teller_target,
                  .on_body = teller_body,
                  .on_request = teller_request,
                  .on_done = teller_done},
    };

    assert_int_equal(ota_listen("127.0.0.1:0", "x", &fd, &port, &error), OTA_OK);
    assert_int_equal(ota_server_start(&config, fd, &server, &error), OTA_OK);
    int client = client_connect(port, 0);
    expect_said(client, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 200,
                "POST 5");
    expect_said(client, "GET /a HTTP/1.1\r\nHost: a\r\n\r\n", 200, "GET 0");
    expect_said(client, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n", 413, NULL);
    assert_true(client_is_closed(client, 5000));
    (void)close(client);
    client = client_connect(port, 0);
    expect_said(client, "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
                NULL);
    (void)close(client);
    ota_server_stop(server);
    ota_server_stop(NULL);
}

/* --- the worker ------------------------------------------------------------------------------ */

static atomic_int chores;

static void chore(void *data)
{
    (void)data;
    atomic_fetch_add(&chores, 1);
}

static void test_worker(void **state)
{
    (void)state;
    struct ota_worker worker = {0};
    struct ota_error error = {0};

    ota_worker_wake(&worker);
    ota_worker_stop(&worker);
    assert_int_equal(ota_worker_start(&worker, 60000, chore, NULL, &error), OTA_OK);
    ota_worker_wake(&worker);
    for (int i = 0; i < 5000 && atomic_load(&chores) == 0; i++) {
        sleep_ms(1);
    }
    assert_int_equal(atomic_load(&chores), 1);
    ota_worker_stop(&worker); /* at once, whatever it waits for */
    int done = atomic_load(&chores);
    ota_worker_wake(&worker);
    ota_worker_stop(&worker);
    assert_int_equal(atomic_load(&chores), done);
    ota_worker_free(&worker);
    atomic_store(&chores, 0);
    assert_int_equal(ota_worker_start(&worker, 5, chore, NULL, &error), OTA_OK);
    for (int i = 0; i < 5000 && atomic_load(&chores) < 3; i++) {
        sleep_ms(1);
    }
    assert_true(atomic_load(&chores) >= 3);
    ota_worker_free(&worker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floor),
        cmocka_unit_test(test_floor_is_an_average),
        cmocka_unit_test(test_slow_before_dead),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_weight),
        cmocka_unit_test(test_torn_headers),
        cmocka_unit_test(test_bodies_where_they_may_be),
        cmocka_unit_test(test_cut_of_one_who_has_it_all),
        cmocka_unit_test(test_cut_then_asked_again),
        cmocka_unit_test(test_cut_of_what_the_kernel_has),
        cmocka_unit_test(test_slow_bodies),
        cmocka_unit_test(test_silent_streams_are_not_slow),
        cmocka_unit_test(test_leaving_while_looked_at),
        cmocka_unit_test(test_another_listener),
        cmocka_unit_test(test_worker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
