/* SPDX-License-Identifier: BSD-3-Clause */
/* What passes on our topics, in the order in which the broker asks and brings: wills, messages that
 * nobody asked us about, blocks that a session still has. */
#include <stdio.h>
#include <string.h>

#include "desk.h"

#define REPORT "$ota/report/door/d1"

static const char version[] = "{\"type\":\"report_version\",\"report\":{\"version\":\"1.1\"}}";

static int setup(void **state)
{
    desk_setup(state);
    struct desk *desk = *state;
    return ota_access_parse_identity("username:%p/%d", &desk->access, NULL) == OTA_OK ? 0 : -1;
}

static struct ota_topic topic_of(const struct desk *desk, const char *text)
{
    return ota_topic_parse(&desk->access, text);
}

static struct ota_message message_of(const struct mosquitto *client, const char *payload)
{
    return (struct ota_message){.client = client, .payload = payload, .len = strlen(payload)};
}

static bool may(struct desk *desk, enum ota_access_op op, const char *text,
                const struct ota_message *message)
{
    const struct ota_topic topic = topic_of(desk, text);
    return ota_traffic_may(&desk->traffic, op, &topic, message);
}

static enum ota_intake_verdict take(struct desk *desk, const char *text,
                                    const struct ota_message *message)
{
    const struct ota_topic topic = topic_of(desk, text);
    return ota_traffic_take(&desk->traffic, &topic, message);
}

static void test_a_report_is_asked_about_and_taken(void **state)
{
    struct desk *desk = *state;
    const struct ota_message report = message_of(&desk->fix.client, version);
    assert_true(may(desk, OTA_ACCESS_SUBSCRIBE, "$ota/update/door/d1", &report));
    assert_non_null(desk->fix.device->conn);
    assert_true(may(desk, OTA_ACCESS_PUBLISH, REPORT, &report));
    assert_int_equal(take(desk, REPORT, &report), OTA_INTAKE_TAKEN);
    assert_int_equal(desk->around.shadowed, 0);
    assert_string_equal(desk->fix.device->version->text, "1.1");
    ota_traffic_gone(&desk->traffic, &desk->fix.client);
    assert_null(desk->fix.device->conn);
}

static void test_bad_ways_to_publish(void **state)
{
    struct desk *desk = *state;
    const uint64_t *refused = desk->intake.refused;
    struct ota_message report = message_of(&desk->fix.client, version);
    report.retain = true;
    assert_false(may(desk, OTA_ACCESS_PUBLISH, REPORT, &report));
    assert_int_equal(take(desk, REPORT, &report), OTA_INTAKE_REFUSED);
    assert_int_equal(refused[OTA_REFUSED_RETAINED], 2);
    report.retain = false;
    report.len = OTA_REPORT_MAX + 1; /* what is too long isn't even looked at */
    assert_false(may(desk, OTA_ACCESS_PUBLISH, REPORT, &report));
    assert_int_equal(refused[OTA_REFUSED_TOO_LARGE], 1);
    const struct ota_message other = message_of(&desk->admin, version);
    assert_false(may(desk, OTA_ACCESS_PUBLISH, REPORT, &other));
    assert_int_equal(take(desk, REPORT, &other), OTA_INTAKE_REFUSED);
    assert_int_equal(refused[OTA_REFUSED_IDENTITY], 2);
    assert_string_equal(desk->fix.device->version->text, "1.0");
}

/* It comes in the loop in which its client went; a new connection comes in a later one. */
static void test_a_will(void **state)
{
    struct desk *desk = *state;
    const struct ota_message report = message_of(&desk->fix.client, version);
    ota_traffic_gone(&desk->traffic, &desk->fix.client);
    assert_false(may(desk, OTA_ACCESS_PUBLISH, REPORT, &report));
    assert_int_equal(desk->intake.refused[OTA_REFUSED_WILL], 1);
    ota_traffic_turn(&desk->traffic);
    assert_true(may(desk, OTA_ACCESS_PUBLISH, REPORT, &report));
}

/* One that is delayed goes from the question straight to its receivers: no message comes. */
static void test_a_delayed_will(void **state)
{
    struct desk *desk = *state;
    const struct ota_message report = message_of(&desk->fix.client, version);
    const struct ota_message received = message_of(&desk->admin, version);
    assert_true(may(desk, OTA_ACCESS_RECEIVE, "$CONTROL/ota/v1/response", &received));
    assert_true(may(desk, OTA_ACCESS_PUBLISH, REPORT, &report));
    assert_false(may(desk, OTA_ACCESS_RECEIVE, "$CONTROL/ota/v1", &received));
    assert_int_equal(desk->intake.refused[OTA_REFUSED_WILL], 1);
}

static void test_messages_that_nobody_asked_about(void **state)
{
    struct desk *desk = *state;
    const struct ota_message report = message_of(&desk->fix.client, version);
    assert_int_equal(take(desk, REPORT, &report), OTA_INTAKE_TAKEN);
    assert_int_equal(desk->around.shadowed, 1);
    assert_true(fake_broker_logged("another plugin decides about our topics before us"));
    fake_broker_clear_log();
    assert_int_equal(take(desk, REPORT, &report), OTA_INTAKE_TAKEN);
    assert_int_equal(fake_broker_log_count(), 0); /* told once a minute */
    fake_broker_advance(60000);
    assert_int_equal(take(desk, REPORT, &report), OTA_INTAKE_TAKEN);
    assert_int_equal(fake_broker_log_count(), 1);
    assert_int_equal(desk->around.shadowed, 3);
    desk->fix.client.bridge = true; /* whose messages nobody is asked about */
    (void)take(desk, REPORT, &report);
    assert_int_equal(desk->around.shadowed, 3);
}

static void test_whose_commands_are_queued(void **state)
{
    struct desk *desk = *state;
    struct ota_message command =
        message_of(&desk->admin, "{\"commands\":[{\"command\":\"listProducts\"}]}");
    command.retain = true;
    assert_false(ota_traffic_command(&desk->traffic, &command));
    command.retain = false;
    command.client = &desk->fix.client; /* without a role */
    assert_false(ota_traffic_command(&desk->traffic, &command));
    desk->admin.bridge = true;
    command.client = &desk->admin;
    assert_false(ota_traffic_command(&desk->traffic, &command));
    assert_false(ota_control_is_busy(desk->control));
    desk->admin.bridge = false;
    assert_true(ota_traffic_command(&desk->traffic, &command));
    assert_true(ota_control_is_busy(desk->control));
}

/* What we would have sent, and no other bytes; so many in a loop. */
static void test_blocks_that_a_session_still_has(void **state)
{
    struct desk *desk = *state;
    char topic[64];
    const struct ota_task *task = fixture_plain_task(&desk->fix, desk->fix.device);
    (void)snprintf(topic, sizeof topic, "$ota/block/door/d1/%lld/0", (long long)task->id);
    const struct ota_message block = message_of(&desk->fix.client, "abc");
    const struct ota_message other_bytes = message_of(&desk->fix.client, "abx");
    const struct ota_message other_client = message_of(&desk->admin, "abc");
    struct ota_message retained = block;
    retained.retain = true;
    assert_true(may(desk, OTA_ACCESS_RECEIVE, topic, &block));
    assert_false(may(desk, OTA_ACCESS_RECEIVE, topic, &other_bytes));
    assert_false(may(desk, OTA_ACCESS_RECEIVE, topic, &other_client));
    assert_false(may(desk, OTA_ACCESS_RECEIVE, topic, &retained));
    for (int i = 2; i < 80; i++) {
        assert_true(may(desk, OTA_ACCESS_RECEIVE, topic, &block));
    }
    assert_false(may(desk, OTA_ACCESS_RECEIVE, topic, &block));
    ota_traffic_turn(&desk->traffic);
    assert_true(may(desk, OTA_ACCESS_RECEIVE, topic, &block));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, desk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_report_is_asked_about_and_taken),
        TEST(test_bad_ways_to_publish),
        TEST(test_a_will),
        TEST(test_a_delayed_will),
        TEST(test_messages_that_nobody_asked_about),
        TEST(test_whose_commands_are_queued),
        TEST(test_blocks_that_a_session_still_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
