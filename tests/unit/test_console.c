/* SPDX-License-Identifier: BSD-3-Clause */
/* The door on real sockets, with the test as the broker's thread: what happens between the two,
 * above all when either ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../plugin/errands.h"
#include "desk.h"
#include "http_client.h"

/* "ann" and "pw", and their hash by the rule of Mosquitto 1.x: the salt is "abc". */
#define BASIC    "Authorization: Basic YW5uOnB3\r\n"
#define STRANGER "Authorization: Basic eDp5\r\n"
#define HASH                                                                                       \
    "qykiU/0ED3S8EHmXGQGc07C+7gR6UnuJ7Zu1QxLAWNcRoR+qN2lsEuBuFfqncEty/Jd6rDTS8mDjUexV08PfBw=="
#define LINE "ann:$6$YWJj$" HASH "\n"

struct door {
    struct desk *desk;
    struct ota_roles roles;
    struct ota_console *console;
    struct ota_errands errands;
    char passwords[64];
    int port;
};

static int setup(void **state)
{
    struct door *door = calloc(1, sizeof *door);
    struct ota_error error = {0};
    assert_non_null(door);
    assert_int_equal(desk_setup((void **)&door->desk), 0);
    assert_int_equal(ota_roles_add_list(&door->roles, "ann", OTA_ROLE_ADMIN, &error), OTA_OK);
    strcpy(door->passwords, "/tmp/ota-console.XXXXXX");
    int fd = mkstemp(door->passwords);
    assert_int_equal(write(fd, LINE, strlen(LINE)), strlen(LINE));
    close(fd);
    const struct ota_console_config config = {
        .listen = "127.0.0.1:0", .password_file = door->passwords, .roles = &door->roles};
    assert_int_equal(ota_console_start(&config, &door->console, &error), OTA_OK);
    door->port = ota_console_port(door->console);
    door->desk->around.console = door->console;
    ota_errands_init(&door->errands, &door->desk->around, door->desk->control, door->console);
    *state = door;
    return 0;
}

/* In the order of ota_service_stop. */
static void shut(struct door *door)
{
    ota_console_quiet(door->console);
    ota_errands_finish(&door->errands);
    ota_control_free(door->desk->control);
    door->desk->control = NULL;
    ota_console_stop(door->console);
    door->console = NULL;
    door->desk->around.console = NULL;
}

static int teardown(void **state)
{
    struct door *door = *state;
    shut(door);
    desk_teardown((void **)&door->desk);
    ota_roles_free(&door->roles);
    unlink(door->passwords);
    free(door);
    return 0;
}

static void tick(struct door *door)
{
    ota_errands_take(&door->errands);
    ota_control_tick(door->desk->control);
    ota_errands_work(&door->errands, ota_now_us());
}

static bool is_readable(int fd, int ms)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};
    return poll(&one, 1, ms) == 1;
}

static int ask(struct door *door, const char *head, const char *body)
{
    char text[1024];
    int fd = client_connect(door->port, 0);
    (void)snprintf(text, sizeof text,
                   "%s HTTP/1.1\r\nHost: localhost\r\n" BASIC
                   "Content-Length: %zu\r\nContent-Type: %s\r\n\r\n%s",
                   head, strlen(body),
                   strncmp(head, "PUT", 3) == 0 ? "application/octet-stream" : "application/json",
                   body);
    client_say(fd, text);
    return fd;
}

/* Ticks until the answer comes. */
static void hear(struct door *door, int fd, struct client_reply *reply)
{
    for (int i = 0; i < 1000 && !is_readable(fd, 10); i++) {
        tick(door);
    }
    client_hear(fd, false, reply);
    close(fd);
}

static bool says(const struct client_reply *reply, const char *text)
{
    return memmem(reply->body, reply->body_len, text, strlen(text)) != NULL;
}

static void expect(struct door *door, int fd, int status, const char *text)
{
    struct client_reply reply = {0};
    hear(door, fd, &reply);
    if (reply.status != status || !says(&reply, text)) {
        fail_msg("%d %.*s", reply.status, (int)reply.body_len, reply.body);
    }
    client_reply_free(&reply);
}

/* An upload of ten bytes by ann, who is the desk's admin, too. */
static int64_t announce(struct door *door)
{
    json_t *data = desk_data(door->desk, "\"command\":\"addFirmware\",\"product\":\"door\","
                                         "\"version\":\"3.0\",\"filename\":\"a.bin\",\"size\":10,"
                                         "\"sha256\":\"" FIX_SHA256 "\"");
    int64_t upload = json_integer_value(json_object_get(data, "upload"));
    json_decref(data);
    return upload;
}

static int put(struct door *door, int64_t upload, int offset, const char *body)
{
    char head[96];
    (void)snprintf(head, sizeof head, "PUT /api/v1/uploads/%lld?offset=%d", (long long)upload,
                   offset);
    return ask(door, head, body);
}

static int ask_info(struct door *door)
{
    return ask(door, "POST /api/v1/control", "{\"commands\":[{\"command\":\"listProducts\"}]}");
}

/* Until so many letters of the console wait in the mailbox or are held, none was answered. */
static void await_posted(struct door *door, int *fds, size_t count)
{
    (void)door;
    for (size_t i = 0; i < count; i++) {
        assert_false(is_readable(fds[i], 20));
    }
}

static void a_command_is_answered_by_the_tick(void **state)
{
    struct door *door = *state;
    int fd = ask_info(door);
    assert_false(is_readable(fd, 50)); /* it waits for us */
    expect(door, fd, 200, "\"product\":\"door\"");
}

static void what_is_no_message_is_a_400(void **state)
{
    struct door *door = *state;
    expect(door, ask(door, "POST /api/v1/control", "{\"commands\":7}"), 400, "invalid_request");
    expect(door, ask(door, "POST /api/v1/control", "nothing"), 400, "isn't JSON");
}

static void the_way_of_an_upload(void **state)
{
    struct door *door = *state;
    int64_t upload = announce(door);
    expect(door, put(door, upload, 0, "01234"), 200, "{\"offset\":5}");
    expect(door, put(door, upload, 0, "01234"), 409, "\"offset\":5");
    expect(door, put(door, upload, 5, "0123456"), 400, "announced size");
    expect(door, put(door, upload + 1, 0, "x"), 404, "not_found");
    fixture_fail_commits(true);
    expect(door, put(door, upload, 5, "56789"), 503, "unavailable");
    fixture_fail_commits(false);
    expect(door, put(door, upload, 5, "56789"), 200, "{\"offset\":10}");
}

static void a_stop_answers_what_waits_in_the_mailbox(void **state)
{
    struct door *door = *state;
    int fds[8];
    for (size_t i = 0; i < 8; i++) {
        fds[i] = ask_info(door);
    }
    await_posted(door, fds, 8);
    shut(door);
    for (size_t i = 0; i < 8; i++) { /* 503, or cut off: but never left hanging */
        (void)client_drain(fds[i]);
        close(fds[i]);
    }
}

static void a_stop_answers_what_the_queues_hold(void **state)
{
    struct door *door = *state;
    int fds[3];
    int64_t upload = announce(door);
    fds[0] = ask_info(door);
    fds[1] = ask_info(door);
    fds[2] = put(door, upload, 0, "01234");
    await_posted(door, fds, 3);
    ota_errands_take(&door->errands); /* now they are in the queues of the broker's thread */
    shut(door);
    for (size_t i = 0; i < 3; i++) {
        (void)client_drain(fds[i]);
        close(fds[i]);
    }
}

/* Its head has been read when this returns. */
static void await_welcome(int fd)
{
    char answer[26];
    assert_true(is_readable(fd, 30000));
    assert_int_equal(read(fd, answer, sizeof answer), 25); /* "HTTP/1.1 100 Continue" */
}

/* A body of a megabyte begins; by ann or by a stranger. */
static int begin_upload(struct door *door, const char *who)
{
    char text[512];
    int fd = client_connect(door->port, 0);
    (void)snprintf(text, sizeof text,
                   "PUT /api/v1/uploads/1?offset=0 HTTP/1.1\r\nHost: localhost\r\n%s"
                   "Content-Length: 1048576\r\nContent-Type: application/octet-stream\r\n"
                   "Expect: 100-continue\r\n\r\n",
                   who);
    client_say(fd, text);
    await_welcome(fd);
    client_say(fd, "x");
    return fd;
}

/* Uploads five thousand bytes, from another address than others do, until the answer is this one.
 */
static void await_upload(struct door *door, const char *who, int status)
{
    struct client_reply reply = {0};
    const struct timespec pause = {.tv_nsec = 10000000}; /* who has closed is seen within seconds */
    char text[6000];
    int len = snprintf(text, sizeof text,
                       "PUT /api/v1/uploads/1?offset=0 HTTP/1.1\r\nHost: localhost\r\n%s"
                       "Content-Length: 5000\r\nContent-Type: application/octet-stream\r\n\r\n",
                       who);
    memset(text + len, 'x', 5000);
    for (int i = 0; i < 2000 && reply.status != status; i++) {
        client_reply_free(&reply);
        (void)nanosleep(&pause, NULL);
        int fd = client_connect_from("127.0.0.2", door->port, 0);
        client_say_bytes(fd, text, (size_t)len + 5000);
        hear(door, fd, &reply);
    }
    assert_int_equal(reply.status, status);
    client_reply_free(&reply);
}

/* What a body that never becomes whole took of the memory for all is given back. */
static void half_a_body_leaves_nothing_behind(void **state)
{
    struct door *door = *state;
    for (int i = 0; i < 80; i++) {
        close(begin_upload(door, BASIC));
    }
    await_upload(door, BASIC, 404);
}

/* Those who haven't shown who they are get half of it, and then the others still have room; and
 * whoever isn't known yet can log in, and have commands carried out. */
static void strangers_do_not_fill_the_memory_for_bodies(void **state)
{
    struct door *door = *state;
    int fds[20];
    expect(door, put(door, 1, 0, "x"), 404, "not_found"); /* ann is known now */
    for (size_t i = 0; i < 20; i++) {
        fds[i] = begin_upload(door, STRANGER);
    }
    await_upload(door, STRANGER, 503);
    await_upload(door, BASIC, 404);
    int fd = client_connect(door->port, 0);
    client_say(fd, "POST /api/v1/login HTTP/1.1\r\nHost: localhost\r\n"
                   "Content-Type: application/json\r\nContent-Length: 30\r\n\r\n"
                   "{\"user\":\"ann\",\"password\":\"pw\"}");
    expect(door, fd, 200, "admin");
    for (size_t i = 0; i < 20; i++) {
        close(fds[i]);
    }
}

/* Who names nobody gets no memory at all. */
static void a_body_of_nobody_is_not_kept(void **state)
{
    struct door *door = *state;
    int fds[20];
    for (size_t i = 0; i < 20; i++) {
        fds[i] = begin_upload(door, "");
    }
    for (int i = 0; i < 20; i++) {
        await_upload(door, "", 401);
    }
    await_upload(door, STRANGER, 401); /* there was room to see who that is */
    for (size_t i = 0; i < 20; i++) {
        close(fds[i]);
    }
}

/* Takes the n-th place, with a body that is begun. */
static int take_place(struct door *door, int n)
{
    char address[32];
    (void)snprintf(address, sizeof address, "127.0.0.%d", 10 + n / 64);
    int fd = client_connect_from(address, door->port, 0);
    client_say(fd, "POST /api/v1/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n"
                   "Content-Type: application/json\r\nExpect: 100-continue\r\n\r\n");
    await_welcome(fd);
    return fd;
}

/* Strangers may begin what they like: others come in all the same. */
static void strangers_do_not_hold_all_places(void **state)
{
    struct door *door = *state;
    int fds[256];
    for (int i = 0; i < 256; i++) {
        fds[i] = take_place(door, i);
    }
    expect(door, ask_info(door), 200, "door");
    for (int i = 0; i < 256; i++) {
        close(fds[i]);
    }
}

static void who_goes_away_is_no_trouble(void **state)
{
    struct door *door = *state;
    expect(door, ask_info(door), 200, "door"); /* the password needn't be checked any more */
    for (int i = 0; i < 20; i++) {
        int fd = ask_info(door);
        assert_false(is_readable(fd, 5));
        close(fd);
        tick(door);
    }
    expect(door, ask_info(door), 200, "door");
}

static void a_stop_ends_streams(void **state)
{
    struct door *door = *state;
    int fd = client_connect(door->port, 0);
    client_say(fd, "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n" BASIC "\r\n");
    assert_true(is_readable(fd, 10000));
    shut(door);
    assert_true(client_drain(fd) > 0);
    close(fd);
}

static void a_stop_amid_a_login(void **state)
{
    struct door *door = *state;
    int fds[30];
    for (size_t i = 0; i < 30; i++) {
        fds[i] = ask(door, "POST /api/v1/login", "{\"user\":\"ann\",\"password\":\"no\"}");
    }
    shut(door);
    for (size_t i = 0; i < 30; i++) {
        (void)client_drain(fds[i]);
        close(fds[i]);
    }
}

/* Nothing ticks until the answer is there, however long that takes. */
static void expect_still(struct door *door, const char *text)
{
    struct client_reply reply = {0};
    int fd = ask(door, "GET /healthz", "");
    client_hear(fd, false, &reply);
    assert_int_equal(reply.status, 503);
    assert_true(says(&reply, text));
    client_reply_free(&reply);
    close(fd);
}

static void health_tells_of_a_loop_that_stands_still(void **state)
{
    struct door *door = *state;
    ota_core_tick_clock(&door->desk->fix.core);
    tick(door);
    expect(door, ask(door, "GET /healthz", ""), 200, "ok");
    fake_broker_advance(OTA_PULSE_STILL_MS + 1000);
    expect_still(door, "stood still for 6 seconds");
    ota_core_tick_clock(&door->desk->fix.core);
    expect_still(door, "stood still");
    tick(door);
    expect(door, ask(door, "GET /healthz", ""), 200, "ok");
}

static void health_is_proved_by_a_write_while_somebody_asks(void **state)
{
    struct door *door = *state;
    int before = fixture_commits();
    tick(door);
    assert_int_equal(fixture_commits(), before); /* nobody asked */
    for (int i = 0; i < 5; i++) {
        expect(door, ask(door, "GET /healthz", ""), 200, "ok");
        tick(door);
    }
    assert_int_equal(fixture_commits(), before + 1);
    fixture_fail_commits(true);
    fake_broker_advance(OTA_PULSE_PROOF_MS);
    ota_core_tick_clock(&door->desk->fix.core);
    tick(door);
    expect(door, ask(door, "GET /healthz", ""), 503, "can't be written");
    fixture_fail_commits(false);
    fake_broker_advance(OTA_PULSE_PROOF_MS);
    ota_core_tick_clock(&door->desk->fix.core);
    tick(door);
    expect(door, ask(door, "GET /healthz", ""), 200, "ok");
}

static void numbers_are_read_on_the_brokers_thread(void **state)
{
    struct door *door = *state;
    expect(door, ask(door, "GET /metrics", ""), 200, "\nota_devices 1\n");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_command_is_answered_by_the_tick),
        TEST(what_is_no_message_is_a_400),
        TEST(the_way_of_an_upload),
        TEST(a_stop_answers_what_waits_in_the_mailbox),
        TEST(a_stop_answers_what_the_queues_hold),
        TEST(half_a_body_leaves_nothing_behind),
        TEST(strangers_do_not_fill_the_memory_for_bodies),
        TEST(a_body_of_nobody_is_not_kept),
        TEST(strangers_do_not_hold_all_places),
        TEST(who_goes_away_is_no_trouble),
        TEST(a_stop_ends_streams),
        TEST(a_stop_amid_a_login),
        TEST(health_tells_of_a_loop_that_stands_still),
        TEST(health_is_proved_by_a_write_while_somebody_asks),
        TEST(numbers_are_read_on_the_brokers_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
