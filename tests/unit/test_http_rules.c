/* SPDX-License-Identifier: BSD-3-Clause */
/* The guards by themselves: pace, addresses, the shape of a head; and the thread that watches. */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "../../plugin/addresses.h"
#include "../../plugin/pace.h"
#include "../../plugin/shape.h"
#include "../../plugin/worker.h"

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
    assert_int_equal(ota_pace_look(&pace, &usual, 13000, 131000), OTA_PACE_SLOW); /* a long slot */
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
        cmocka_unit_test(test_worker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
