/* SPDX-License-Identifier: BSD-3-Clause */
/* Streams without a server: the test plays the library, which reads, and puts aside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../plugin/streams.h"
#include "fake_broker.h"

#define EVENTS   8
#define ALIVE_MS 15000

struct reader {
    struct ota_visitor visitor;
    ota_reply_read read;
    void (*done)(void *data);
    void *data;
    atomic_bool aside;
};

static struct reader *opening;
static atomic_bool may;

void __wrap_ota_server_put_aside(struct ota_visitor *visitor);
void __wrap_ota_server_take_up(struct ota_visitor *visitor);
bool __wrap_ota_reply_stream(struct ota_visitor *visitor, const char *type, ota_reply_read read,
                             void (*done)(void *data), void *data);

void __wrap_ota_server_put_aside(struct ota_visitor *visitor)
{
    atomic_store(&((struct reader *)visitor)->aside, true);
}

void __wrap_ota_server_take_up(struct ota_visitor *visitor)
{
    atomic_store(&((struct reader *)visitor)->aside, false);
}

bool __wrap_ota_reply_stream(struct ota_visitor *visitor, const char *type, ota_reply_read read,
                             void (*done)(void *data), void *data)
{
    assert_string_equal(type, "text/event-stream");
    opening = (struct reader *)visitor;
    opening->read = read;
    opening->done = done;
    opening->data = data;
    return true;
}

static bool may_read(void *data, const void *reader)
{
    assert_null(data);
    assert_string_equal(reader, "me");
    return atomic_load(&may);
}

static int setup(void **state)
{
    const struct ota_streams_config config = {
        .events = EVENTS, .look_ms = 5, .alive_ms = ALIVE_MS, .may_read = may_read};
    struct ota_streams *streams = NULL;
    struct ota_error error = {0};
    fake_broker_reset();
    atomic_store(&may, true);
    assert_int_equal(ota_streams_start(&config, &streams, &error), OTA_OK);
    *state = streams;
    return 0;
}

static int teardown(void **state)
{
    ota_streams_free(*state);
    return 0;
}

static void open_stream(struct ota_streams *streams, struct reader *reader, const char *user,
                        const char *product)
{
    char text[64];
    memset(reader, 0, sizeof *reader);
    assert_true(ota_streams_open(streams, &reader->visitor, user, product, "me", 3));
    assert_ptr_equal(opening, reader);
    assert_int_equal(reader->read(reader->data, text, sizeof text), 13);
    assert_memory_equal(text, "retry: 3000\n\n", 13);
}

static void close_stream(struct reader *reader)
{
    reader->done(reader->data);
}

static void tell(struct ota_streams *streams, const char *product, const char *device, int number)
{
    char json[64];
    int len = snprintf(json, sizeof json, "{\"type\":\"task\",\"n\":%d}", number);
    ota_streams_tell(streams, "task", product, device, json, (size_t)len);
}

/* Reads the event and expects it to be this one. */
static void expect(struct reader *reader, const char *text)
{
    char buffer[512];
    long len = reader->read(reader->data, buffer, sizeof buffer);
    assert_true(len > 0);
    assert_int_equal(len, strlen(text));
    assert_memory_equal(buffer, text, (size_t)len);
}

/* Nothing is there: it was put aside. */
static void expect_nothing(struct reader *reader)
{
    char buffer[512];
    assert_int_equal(reader->read(reader->data, buffer, sizeof buffer), 0);
    assert_true(atomic_load(&reader->aside));
}

static void expect_end(struct reader *reader)
{
    char buffer[512];
    assert_int_equal(reader->read(reader->data, buffer, sizeof buffer), -1);
}

/* Until the waking thread has taken it up. */
static void await_waking(struct reader *reader)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    for (int i = 0; i < 10000 && atomic_load(&reader->aside); i++) {
        (void)nanosleep(&moment, NULL);
    }
    assert_false(atomic_load(&reader->aside));
}

static void events_come_with_the_names_of_their_topic(void **state)
{
    struct reader reader;
    open_stream(*state, &reader, "ann", NULL);
    expect_nothing(&reader);
    tell(*state, "lamp", "d1", 1);
    await_waking(&reader);
    expect(&reader, "event: task\ndata: {\"product\":\"lamp\",\"device\":\"d1\","
                    "\"type\":\"task\",\"n\":1}\n\n");
    tell(*state, "lamp", NULL, 2);
    expect(&reader, "event: task\ndata: {\"product\":\"lamp\",\"type\":\"task\",\"n\":2}\n\n");
    expect_nothing(&reader);
    close_stream(&reader);
}

static void what_came_before_is_not_told(void **state)
{
    struct reader first;
    struct reader second;
    open_stream(*state, &first, "ann", NULL);
    tell(*state, "lamp", NULL, 1);
    open_stream(*state, &second, "bob", NULL);
    expect_nothing(&second);
    close_stream(&first);
    close_stream(&second);
}

static void of_its_product_alone(void **state)
{
    struct reader reader;
    open_stream(*state, &reader, "ann", "door");
    tell(*state, "lamp", NULL, 1);
    tell(*state, "doors", NULL, 2);
    tell(*state, "door", NULL, 3);
    expect(&reader, "event: task\ndata: {\"product\":\"door\",\"type\":\"task\",\"n\":3}\n\n");
    expect_nothing(&reader);
    close_stream(&reader);
}

static void a_small_buffer_gets_it_in_pieces(void **state)
{
    struct reader reader;
    char whole[256] = "";
    size_t used = 0;
    open_stream(*state, &reader, "ann", NULL);
    tell(*state, "lamp", NULL, 1);
    tell(*state, "lamp", NULL, 2);
    while (!atomic_load(&reader.aside)) {
        used += (size_t)reader.read(reader.data, whole + used, 7);
    }
    whole[used] = '\0';
    assert_string_equal(whole,
                        "event: task\ndata: {\"product\":\"lamp\",\"type\":\"task\",\"n\":1}\n\n"
                        "event: task\ndata: {\"product\":\"lamp\",\"type\":\"task\",\"n\":2}\n\n");
    close_stream(&reader);
}

static void who_is_slower_than_the_ring_turns_is_dropped(void **state)
{
    struct reader slow;
    struct reader other;
    struct ota_stream_counts counts;
    open_stream(*state, &slow, "ann", NULL);
    for (int i = 0; i < EVENTS; i++) {
        tell(*state, "lamp", NULL, i);
    }
    expect(&slow, "event: task\ndata: {\"product\":\"lamp\",\"type\":\"task\",\"n\":0}\n\n");
    open_stream(*state, &other, "bob", NULL);
    tell(*state, "lamp", NULL, 8); /* takes the place of 0 */
    expect(&slow, "event: task\ndata: {\"product\":\"lamp\",\"type\":\"task\",\"n\":1}\n\n");
    tell(*state, "lamp", NULL, 9);
    tell(*state, "lamp", NULL, 10); /* that of 2, which was due */
    expect_end(&slow);
    expect_end(&slow);
    expect(&other, "event: task\ndata: {\"product\":\"lamp\",\"type\":\"task\",\"n\":8}\n\n");
    ota_streams_count(*state, &counts);
    assert_int_equal(counts.dropped, 1);
    assert_int_equal(counts.open, 2);
    close_stream(&slow);
    close_stream(&other);
    ota_streams_count(*state, &counts);
    assert_int_equal(counts.open, 0);
}

static void a_sign_of_life_and_a_look_whether_it_may(void **state)
{
    struct reader reader;
    open_stream(*state, &reader, "ann", NULL);
    expect_nothing(&reader);
    fake_broker_advance(ALIVE_MS - 1);
    expect_nothing(&reader);
    fake_broker_advance(1);
    await_waking(&reader);
    expect(&reader, ": alive\n\n");
    expect_nothing(&reader);
    atomic_store(&may, false);
    tell(*state, "lamp", NULL, 1); /* it isn't asked for each event */
    expect(&reader, "event: task\ndata: {\"product\":\"lamp\",\"type\":\"task\",\"n\":1}\n\n");
    expect_nothing(&reader);
    fake_broker_advance(ALIVE_MS);
    await_waking(&reader);
    expect_end(&reader);
    close_stream(&reader);
}

static void a_lost_right_is_seen_at_once_when_it_is_said(void **state)
{
    struct reader reader;
    open_stream(*state, &reader, "ann", NULL);
    expect_nothing(&reader);
    ota_streams_recheck(*state);
    await_waking(&reader);
    expect_nothing(&reader); /* it still may */
    atomic_store(&may, false);
    ota_streams_recheck(*state);
    await_waking(&reader);
    expect_end(&reader);
    close_stream(&reader);
}

static void a_user_has_so_many_and_the_oldest_ends(void **state)
{
    struct reader readers[OTA_STREAMS_A_USER + 2];
    struct reader other;
    open_stream(*state, &other, "bob", NULL);
    for (size_t i = 0; i < OTA_STREAMS_A_USER + 2; i++) {
        open_stream(*state, &readers[i], "ann", NULL);
        expect_nothing(&readers[i]);
    }
    for (size_t i = 0; i < OTA_STREAMS_A_USER + 2; i++) {
        assert_int_equal(atomic_load(&readers[i].aside), i >= 2);
    }
    expect_end(&readers[0]);
    expect_end(&readers[1]);
    expect_nothing(&other);
    for (size_t i = 0; i < OTA_STREAMS_A_USER + 2; i++) {
        close_stream(&readers[i]);
    }
    close_stream(&other);
}

static void when_it_stops_nobody_stays_aside(void **state)
{
    struct reader reader;
    struct reader late;
    char text[64];
    open_stream(*state, &reader, "ann", NULL);
    expect_nothing(&reader);
    ota_streams_stop(*state);
    assert_false(atomic_load(&reader.aside));
    expect_end(&reader);
    assert_true(ota_streams_open(*state, &late.visitor, "bob", NULL, "me", 3));
    assert_int_equal(late.read(late.data, text, sizeof text), -1);
    tell(*state, "lamp", NULL, 1);
    close_stream(&reader);
    close_stream(&late);
}

static void there_is_room_for_so_many(void **state)
{
    static struct reader readers[OTA_STREAMS_MOST];
    char user[16];
    for (size_t i = 0; i < OTA_STREAMS_MOST; i++) {
        assert_true(ota_streams_has_room(*state));
        (void)snprintf(user, sizeof user, "u%zu", i);
        open_stream(*state, &readers[i], user, NULL);
    }
    assert_false(ota_streams_has_room(*state));
    for (size_t i = 0; i < OTA_STREAMS_MOST; i++) {
        close_stream(&readers[i]);
    }
    assert_true(ota_streams_has_room(*state));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(events_come_with_the_names_of_their_topic),
        TEST(what_came_before_is_not_told),
        TEST(of_its_product_alone),
        TEST(a_small_buffer_gets_it_in_pieces),
        TEST(who_is_slower_than_the_ring_turns_is_dropped),
        TEST(a_sign_of_life_and_a_look_whether_it_may),
        TEST(a_lost_right_is_seen_at_once_when_it_is_said),
        TEST(a_user_has_so_many_and_the_oldest_ends),
        TEST(when_it_stops_nobody_stays_aside),
        TEST(there_is_room_for_so_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
