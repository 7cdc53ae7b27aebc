/* SPDX-License-Identifier: BSD-3-Clause */
/* A gateway upgrades one device at a time: whose turn it is, and what waiting costs nobody. */
#include "gate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/batch.h"
#include "../../plugin/fleet_gateway.h"
#include "../../plugin/presence.h"

static void run(struct gate *gate, int64_t ms)
{
    for (; ms > 0; ms -= 100) {
        desk_later(gate->desk, 100);
    }
}

static void bring_up_all(struct gate *gate)
{
    gate_bring_up(gate, "d1");
    gate_bring_up(gate, "d2");
    gate_bring_up(gate, "d3");
}

/* All are to be upgraded, and one of them was told. */
static void tell_first(struct gate *gate)
{
    bring_up_all(gate);
    gate_upgrade_all(gate);
    run(gate, 100);
}

/* How many of the gateway's devices were told and aren't done. */
static int told(const struct gate *gate)
{
    int count = 0;
    for (int i = 0; i < GATE_BOUND; i++) {
        const struct ota_task *task = gate->devices[i]->task;
        count += task != NULL && ota_status_is_timed(task->up.status);
    }
    return count;
}

/* The name of the one that was told; fails where it isn't one. */
static const char *at_it(const struct gate *gate)
{
    assert_int_equal(told(gate), 1);
    for (int i = 0; i < GATE_BOUND; i++) {
        const struct ota_task *task = gate->devices[i]->task;
        if (task != NULL && ota_status_is_timed(task->up.status)) {
            return gate->devices[i]->name;
        }
    }
    return "";
}

static void assert_wait(struct gate *gate, const char *device, const char *want)
{
    char *have = gate_wait(gate, device);
    assert_string_equal(have, want);
    free(have);
}

static void assert_explained(struct gate *gate, const char *device, const char *reason,
                             const char *part)
{
    char command[120];
    (void)snprintf(command, sizeof command,
                   "\"command\":\"explainDevice\",\"product\":\"door\",\"device\":\"%s\"", device);
    json_t *data = desk_data(gate->desk, command);
    assert_string_equal(json_string_value(json_object_get(data, "reason")), reason);
    const char *sentence = json_string_value(json_object_get(data, "sentence"));
    if (strstr(sentence, part) == NULL) {
        fail_msg("\"%s\" lacks \"%s\"", sentence, part);
    }
    json_decref(data);
}

/* --- when a device is told
 * ------------------------------------------------------------------------ */

static void test_nothing_is_sent_before_it_is_asked_for(void **state)
{
    struct gate *gate = *state;
    (void)fixture_plain_task(&gate->desk->fix, gate->devices[0]);
    assert_int_equal(gate_announce(gate, "online", "d1"), 0);
    run(gate, 20000);
    assert_int_equal(gate_status(gate->devices[0]), OTA_WAITING);
    assert_wait(gate, "d1", "gateway");
    assert_explained(gate, "d1", "gateway", "has not subscribed");
    assert_true(gate_subscribe(gate, &gate->client, "$ota/update/door/d1"));
    run(gate, 2900);
    assert_int_equal(gate_status(gate->devices[0]), OTA_WAITING); /* it may report yet */
    run(gate, 200);
    assert_int_equal(gate_status(gate->devices[0]), OTA_MESSAGE_SENT);
    assert_int_equal(gate_notices("d1"), 1);
    assert_string_equal(fake_broker_last_on("$ota/update/door/d1")->client_id, "gateg1");
}

static void test_task_made_before_it_is_asked_for(void **state)
{
    struct gate *gate = *state;
    assert_int_equal(gate_announce(gate, "online", "d1"), 0);
    (void)fixture_plain_task(&gate->desk->fix, gate->devices[0]);
    run(gate, 1000);
    assert_int_equal(gate_status(gate->devices[0]), OTA_WAITING);
    assert_true(gate_publish(gate, &gate->client, "$ota/report/door/d1",
                             "{\"type\":\"report_version\",\"report\":{\"version\":\"1.0\"}}"));
    run(gate, 100);
    assert_int_equal(gate_status(gate->devices[0]), OTA_MESSAGE_SENT);
}

static void test_answer_goes_to_the_gateway(void **state)
{
    struct gate *gate = *state;
    gate_bring_up(gate, "d2");
    const struct fake_message *message = fake_broker_last_on("$ota/update/door/d2");
    assert_string_equal(message->client_id, "gateg1");
    assert_int_equal(fixture_count("$ota/update/door/d2", "report_version_rsp"), 1);
}

/* --- one at a time
 * --------------------------------------------------------------------------------- */

static void test_one_after_the_other(void **state)
{
    struct gate *gate = *state;
    gate_upgrade_all(gate);
    bring_up_all(gate);
    for (int left = GATE_BOUND; left > 0; left--) {
        run(gate, 1000);
        char device[8];
        (void)snprintf(device, sizeof device, "%s", at_it(gate));
        assert_int_equal(gate_notices(device), 1);
        gate_says(gate, &gate->client, device, "downloading");
        run(gate, 30000);
        assert_string_equal(at_it(gate), device);
        gate_says(gate, &gate->client, device, "burning");
        run(gate, 1000);
        assert_string_equal(at_it(gate), device);
        fake_broker_clear_messages();
        gate_says(gate, &gate->client, device, "done");
    }
    run(gate, 1000);
    assert_int_equal(gate->desk->fix.core.fleet.task_count, 0);
}

static void test_why_the_others_wait(void **state)
{
    struct gate *gate = *state;
    tell_first(gate);
    const char *first = at_it(gate);
    char part[64];
    (void)snprintf(part, sizeof part, "g1, which upgrades one device at a time: it is at %s",
                   first);
    for (int i = 0; i < GATE_BOUND; i++) {
        bool waits = strcmp(gate->devices[i]->name, first) != 0;
        assert_wait(gate, gate->devices[i]->name, waits ? "gateway" : "");
        if (waits) {
            assert_explained(gate, gate->devices[i]->name, "gateway", part);
        }
    }
}

/* However an attempt ends, the next one goes. */
static void test_every_end_lets_the_next_go(void **state)
{
    struct gate *gate = *state;
    static const char *const ends[] = {"fail", "cancel", "timeout"};
    bring_up_all(gate);
    gate_upgrade_all(gate);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        run(gate, 200);
        char device[8];
        char command[80];
        (void)snprintf(device, sizeof device, "%s", at_it(gate));
        if (strcmp(ends[i], "fail") == 0) {
            gate_says(gate, &gate->client, device, "fail");
        } else if (strcmp(ends[i], "timeout") == 0) {
            run(gate, FIX_TIMEOUT - 1000);
            assert_string_equal(at_it(gate), device);
            run(gate, 1000);
        } else {
            const struct ota_device *d = gate->devices[device[1] - '1'];
            (void)snprintf(command, sizeof command, "\"command\":\"cancelTask\",\"task\":%lld",
                           (long long)d->task->id);
            desk_good(gate->desk, command);
        }
        assert_null(gate->devices[device[1] - '1']->task);
    }
    assert_int_equal(gate->desk->fix.core.fleet.task_count, 0);
}

/* A failed attempt that waits for the next one isn't under way. */
static void test_retry_goes_behind(void **state)
{
    struct gate *gate = *state;
    bring_up_all(gate);
    struct ota_task_order order = fixture_order(&gate->desk->fix, gate->devices[0]);
    order.retry_max = 1;
    order.retry_delay_ms = 30000;
    order.retry_on = "-5";
    (void)fixture_task(&gate->desk->fix, &order);
    run(gate, 100);
    (void)fixture_plain_task(&gate->desk->fix, gate->devices[1]);
    run(gate, 1000);
    assert_string_equal(at_it(gate), "d1");
    gate_says(gate, &gate->client, "d1", "fail");
    run(gate, 1000);
    assert_string_equal(at_it(gate), "d2");
    assert_wait(gate, "d1", "retry");
    run(gate, 31000);
    assert_string_equal(at_it(gate), "d2");
    assert_wait(gate, "d1", "gateway");
    gate_says(gate, &gate->client, "d2", "done");
    run(gate, 1000);
    assert_string_equal(at_it(gate), "d1");
}

/* Nobody's clock runs while it waits: the last of three is told after two whole time-outs. */
static void test_waiting_costs_nothing(void **state)
{
    struct gate *gate = *state;
    bring_up_all(gate);
    gate_upgrade_all(gate);
    run(gate, 2 * FIX_TIMEOUT + 1000);
    const char *last = at_it(gate);
    const struct ota_task *task = gate->devices[last[1] - '1']->task;
    assert_true(task->up.deadline > gate->desk->fix.core.service_ms + FIX_TIMEOUT - 2000);
    assert_int_equal(gate->desk->fix.core.fleet.task_count, 1);
}

static void test_notice_that_is_not_committed(void **state)
{
    struct gate *gate = *state;
    bring_up_all(gate);
    gate_upgrade_all(gate);
    fixture_fail_commits(true);
    run(gate, 3000);
    assert_true(fixture_failed_commits() > 0);
    assert_int_equal(told(gate), 0);
    assert_int_equal(gate_notices("d1") + gate_notices("d2") + gate_notices("d3"), 0);
    fixture_fail_commits(false);
    run(gate, 3000);
    assert_int_equal(told(gate), 1);
    assert_int_equal(gate_notices("d1") + gate_notices("d2") + gate_notices("d3"), 1);
}

static void test_notice_that_is_not_written(void **state)
{
    struct gate *gate = *state;
    bring_up_all(gate);
    gate_upgrade_all(gate);
    fixture_fail_write(1);
    run(gate, 100);
    assert_true(fixture_write_failed());
    assert_int_equal(told(gate), 0);
    run(gate, 3000);
    assert_int_equal(told(gate), 1);
}

/* A device may begin unasked, or was at it before it was bound: nobody is stopped, nobody is added.
 */
static void test_two_at_it_unasked(void **state)
{
    struct gate *gate = *state;
    tell_first(gate);
    const char *first = at_it(gate);
    const char *second = strcmp(first, "d2") == 0 ? "d3" : "d2";
    gate_says(gate, &gate->client, second, "downloading");
    assert_int_equal(told(gate), 2);
    gate_says(gate, &gate->client, first, "done");
    run(gate, 1000);
    assert_string_equal(at_it(gate), second);
    gate_says(gate, &gate->client, second, "done");
    run(gate, 1000);
    assert_int_equal(told(gate), 1);
}

/* --- other ways ----------------------------------------------------------------------------- */

static void test_own_connection_waits_for_nobody(void **state)
{
    struct gate *gate = *state;
    struct mosquitto own = {.id = "d3", .username = "door/d3"};
    gate_bring_up(gate, "d1");
    gate_bring_up(gate, "d2");
    assert_true(gate_subscribe(gate, &own, "$ota/update/door/d3"));
    gate_upgrade_all(gate);
    run(gate, 1000);
    assert_int_equal(told(gate), 2);
    assert_int_equal(gate_status(gate->devices[2]), OTA_MESSAGE_SENT);
    assert_int_equal(gate->devices[0]->task->up.status + gate->devices[1]->task->up.status,
                     OTA_WAITING + OTA_MESSAGE_SENT);
    gate_says(gate, &own, "d3", "downloading");
    ota_presence_gone(&gate->desk->fix.core, &own); /* still not the gateway's */
    const char *first = gate->devices[0]->task->up.status == OTA_WAITING ? "d2" : "d1";
    gate_says(gate, &gate->client, first, "done");
    run(gate, 1000);
    assert_int_equal(told(gate), 2);
}

static void test_unbound_in_the_middle(void **state)
{
    struct gate *gate = *state;
    tell_first(gate);
    char device[8];
    char command[160];
    (void)snprintf(device, sizeof device, "%s", at_it(gate));
    (void)snprintf(command, sizeof command,
                   "\"command\":\"unbindDevice\",\"product\":\"door\",\"device\":\"%s\","
                   "\"gatewayProduct\":\"gate\",\"gateway\":\"g1\"",
                   device);
    desk_good(gate->desk, command);
    run(gate, 100);
    assert_int_equal(told(gate), 2); /* its own attempt goes on, and the gateway has the next one */
    assert_int_equal(ota_fleet_gateway(&gate->desk->fix.core.fleet, gate->gateway)->busy, 1);
}

static void test_bound_while_it_waits(void **state)
{
    struct gate *gate = *state;
    struct fixture *fix = &gate->desk->fix;
    bring_up_all(gate);
    (void)fixture_plain_task(fix, gate->devices[0]);
    run(gate, 100);
    struct ota_device *other = fixture_device(fix, "d4", "1.0");
    (void)fixture_plain_task(fix, other);
    desk_good(gate->desk, "\"command\":\"bindDevice\",\"product\":\"door\",\"device\":\"d4\","
                          "\"gatewayProduct\":\"gate\",\"gateway\":\"g1\"");
    gate_bring_up(gate, "d4");
    run(gate, 5000);
    assert_int_equal(gate_status(other), OTA_WAITING);
    gate_says(gate, &gate->client, "d1", "done");
    run(gate, 200);
    assert_int_equal(gate_status(other), OTA_MESSAGE_SENT);
}

/* With device_identity none the gateway is whoever announces. */
static void test_announced_in_a_laboratory(void **state)
{
    struct gate *gate = *state;
    assert_int_equal(ota_access_parse_identity("none", &gate->desk->access, NULL), OTA_OK);
    bring_up_all(gate);
    gate_upgrade_all(gate);
    run(gate, 5000);
    assert_int_equal(told(gate), 1);
}

/* --- connections and restarts
 * ----------------------------------------------------------------------- */

static void test_the_gateway_comes_back(void **state)
{
    struct gate *gate = *state;
    tell_first(gate);
    char device[8];
    (void)snprintf(device, sizeof device, "%s", at_it(gate));
    gate_says(gate, &gate->client, device, "downloading");
    ota_presence_gone(&gate->desk->fix.core, &gate->client);
    run(gate, 30000);
    assert_string_equal(at_it(gate), device);
    fake_broker_clear_messages();
    bring_up_all(gate);
    run(gate, 1000);
    assert_string_equal(at_it(gate), device);
    assert_int_equal(gate_notices(device), 1); /* afresh, on a new connection */
    assert_int_equal(gate_notices("d1") + gate_notices("d2") + gate_notices("d3"), 1);
}

static void test_line_after_a_restart(void **state)
{
    struct gate *gate = *state;
    tell_first(gate);
    char device[8];
    (void)snprintf(device, sizeof device, "%s", at_it(gate));
    for (int kill = 0; kill < 2; kill++) {
        gate_restart(gate, kill != 0);
        assert_string_equal(at_it(gate), device);
        bring_up_all(gate);
        run(gate, 10000);
        assert_string_equal(at_it(gate), device);
    }
    gate_says(gate, &gate->client, device, "done");
    run(gate, 200);
    assert_int_equal(told(gate), 1);
}

/* Who had a connection of its own isn't known any more: the others wait until it is back. */
static void test_own_connection_after_a_restart(void **state)
{
    struct gate *gate = *state;
    struct mosquitto own = {.id = "d3", .username = "door/d3"};
    assert_true(gate_subscribe(gate, &own, "$ota/update/door/d3"));
    (void)fixture_plain_task(&gate->desk->fix, gate->devices[2]);
    run(gate, 4000);
    assert_int_equal(gate_status(gate->devices[2]), OTA_MESSAGE_SENT);
    gate_restart(gate, true);
    fake_broker_clear_messages();
    gate_bring_up(gate, "d1");
    (void)fixture_plain_task(&gate->desk->fix, gate->devices[0]);
    run(gate, 4000);
    assert_wait(gate, "d1", "gateway");
    assert_explained(gate, "d1", "gateway", "d3");
    assert_true(gate_subscribe(gate, &own, "$ota/update/door/d3"));
    run(gate, 4000);
    assert_int_equal(gate_status(gate->devices[0]), OTA_MESSAGE_SENT);
    assert_int_equal(gate_notices("d1"), 1);
    assert_int_equal(gate_notices("d3"), 1); /* again, on its new connection */
    assert_string_equal(fake_broker_last_on("$ota/update/door/d3")->client_id, "d3");
}

/* One that doesn't come back keeps them no longer than its attempt lives. */
static void test_own_connection_gone_with_a_restart(void **state)
{
    struct gate *gate = *state;
    struct mosquitto own = {.id = "d3", .username = "door/d3"};
    assert_true(gate_subscribe(gate, &own, "$ota/update/door/d3"));
    (void)fixture_plain_task(&gate->desk->fix, gate->devices[2]);
    run(gate, 4000);
    gate_restart(gate, true);
    gate_bring_up(gate, "d1");
    (void)fixture_plain_task(&gate->desk->fix, gate->devices[0]);
    run(gate, FIX_TIMEOUT - 10000);
    assert_int_equal(gate_status(gate->devices[0]), OTA_WAITING);
    run(gate, 10000);
    assert_null(gate->devices[2]->task);
    assert_int_equal(gate_status(gate->devices[0]), OTA_MESSAGE_SENT);
}

/* --- in batches
 * -------------------------------------------------------------------------------------- */

#define BATCH                                                                                      \
    "\"command\":\"createBatch\",\"product\":\"door\",\"version\":\"2.0\","                        \
    "\"target\":{\"all\":true}"

/* Another device, which waits for no gateway, isn't held up by those who do. */
static void test_places_of_a_batch(void **state)
{
    struct gate *gate = *state;
    struct mosquitto own = {.id = "d4", .username = "door/d4"};
    (void)fixture_device(&gate->desk->fix, "d4", "1.0");
    bring_up_all(gate);
    assert_true(gate_subscribe(gate, &own, "$ota/update/door/d4"));
    run(gate, 4000);
    desk_good(gate->desk, BATCH ",\"maxInFlight\":2");
    run(gate, 2000);
    const struct ota_device *other =
        ota_fleet_device(&gate->desk->fix.core.fleet, gate->desk->fix.product, "d4", 2);
    assert_int_equal(gate_status(other), OTA_MESSAGE_SENT);
    assert_int_equal(told(gate), 1);
    for (int left = GATE_BOUND; left > 0; left--) {
        char device[8];
        (void)snprintf(device, sizeof device, "%s", at_it(gate));
        gate_says(gate, &gate->client, device, "done");
        assert_true(gate_publish(gate, &gate->client,
                                 device[1] == '1'   ? "$ota/report/door/d1"
                                 : device[1] == '2' ? "$ota/report/door/d2"
                                                    : "$ota/report/door/d3",
                                 "{\"type\":\"report_version\",\"report\":{\"version\":\"2.0\"}}"));
        run(gate, 1000);
    }
    assert_int_equal(told(gate), 0);
}

static void test_pace_of_a_batch(void **state)
{
    struct gate *gate = *state;
    bring_up_all(gate);
    run(gate, 4000);
    desk_good(gate->desk, BATCH ",\"ratePerMinute\":60");
    run(gate, 1000);
    char device[8];
    (void)snprintf(device, sizeof device, "%s", at_it(gate));
    run(gate, 10000);
    assert_string_equal(at_it(gate), device);
    const struct ota_batch *batch = gate->devices[0]->task->batch;
    assert_true(batch->row.bucket.tokens >= 0.9); /* those who wait took none of it */
    for (int i = 0; i < GATE_BOUND; i++) {
        bool waits = strcmp(gate->devices[i]->name, device) != 0;
        assert_wait(gate, gate->devices[i]->name, waits ? "gateway" : "");
    }
    desk_good(gate->desk, "\"command\":\"pauseBatch\",\"batch\":1");
    for (int i = 0; i < GATE_BOUND; i++) {
        bool waits = strcmp(gate->devices[i]->name, device) != 0;
        assert_wait(gate, gate->devices[i]->name, waits ? "paused" : "");
    }
    gate_says(gate, &gate->client, device, "done");
    run(gate, 5000);
    assert_int_equal(told(gate), 0);
    desk_good(gate->desk, "\"command\":\"resumeBatch\",\"batch\":1");
    run(gate, 2000);
    assert_int_equal(told(gate), 1);
}

/* Two first notices to one gateway don't fit into one transaction either. */
static void test_batch_that_is_not_committed(void **state)
{
    struct gate *gate = *state;
    bring_up_all(gate);
    run(gate, 4000);
    desk_good(gate->desk, BATCH);
    fixture_fail_commits(true);
    run(gate, 3000);
    assert_int_equal(told(gate), 0);
    fixture_fail_commits(false);
    run(gate, 5000);
    assert_int_equal(told(gate), 1);
    desk_good(gate->desk, "\"command\":\"cancelBatch\",\"batch\":1,\"running\":\"cancel\"");
    run(gate, 1000);
    assert_int_equal(gate->desk->fix.core.fleet.task_count, 0);
    assert_int_equal(ota_fleet_gateway(&gate->desk->fix.core.fleet, gate->gateway)->busy, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, gate_setup, gate_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_sent_before_it_is_asked_for),
        TEST(task_made_before_it_is_asked_for),
        TEST(answer_goes_to_the_gateway),
        TEST(one_after_the_other),
        TEST(why_the_others_wait),
        TEST(every_end_lets_the_next_go),
        TEST(retry_goes_behind),
        TEST(waiting_costs_nothing),
        TEST(notice_that_is_not_committed),
        TEST(notice_that_is_not_written),
        TEST(two_at_it_unasked),
        TEST(own_connection_waits_for_nobody),
        TEST(unbound_in_the_middle),
        TEST(bound_while_it_waits),
        TEST(announced_in_a_laboratory),
        TEST(the_gateway_comes_back),
        TEST(line_after_a_restart),
        TEST(own_connection_after_a_restart),
        TEST(own_connection_gone_with_a_restart),
        TEST(places_of_a_batch),
        TEST(pace_of_a_batch),
        TEST(batch_that_is_not_committed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
