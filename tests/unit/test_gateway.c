/* SPDX-License-Identifier: BSD-3-Clause */
/* Binding, the conversation on $gateway/operation, access and presence of bound devices. */
#include "gate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/fleet_gateway.h"
#include "../../plugin/presence.h"

#define BIND(product, device, gateway_product, gateway)                                            \
    "\"command\":\"bindDevice\",\"product\":\"" product "\",\"device\":\"" device                  \
    "\",\"gatewayProduct\":\"" gateway_product "\",\"gateway\":\"" gateway "\""
#define UNBIND(device, gateway)                                                                    \
    "\"command\":\"unbindDevice\",\"product\":\"door\",\"device\":\"" device                       \
    "\",\"gatewayProduct\":\"gate\",\"gateway\":\"" gateway "\""
#define CREATE(product, device)                                                                    \
    "\"command\":\"createDevice\",\"product\":\"" product "\",\"device\":\"" device "\""

#define VERSION_1 "{\"type\":\"report_version\",\"report\":{\"version\":\"1.0\"}}"

static bool is_online(const struct ota_device *device)
{
    return device->conn != NULL;
}

/* --- binding ---------------------------------------------------------------------------------- */

static void test_bound_device_shows_its_gateway(void **state)
{
    struct gate *gate = *state;
    json_t *data = desk_data(gate->desk, "\"command\":\"getDevice\",\"product\":\"door\","
                                         "\"device\":\"d1\"");
    const json_t *device = json_object_get(data, "device");
    assert_string_equal(json_string_value(json_object_get(device, "gateway")), "g1");
    assert_string_equal(json_string_value(json_object_get(device, "gatewayProduct")), "gate");
    json_decref(data);
    data = desk_data(gate->desk, "\"command\":\"getDevice\",\"product\":\"gate\","
                                 "\"device\":\"g1\"");
    device = json_object_get(data, "device");
    assert_true(json_is_null(json_object_get(device, "gateway")));
    assert_true(json_is_null(json_object_get(device, "gatewayProduct")));
    json_decref(data);
}

static void test_answers_of_binding(void **state)
{
    struct gate *gate = *state;
    json_t *data = desk_data(gate->desk, UNBIND("d1", "g1"));
    const json_t *device = json_object_get(data, "device");
    assert_true(json_is_null(json_object_get(device, "gateway")));
    json_decref(data);
    data = desk_data(gate->desk, BIND("door", "d1", "gate", "g1"));
    device = json_object_get(data, "device");
    assert_string_equal(json_string_value(json_object_get(device, "gateway")), "g1");
    json_decref(data);
    desk_good(gate->desk, BIND("door", "d1", "gate", "g1")); /* it is already: fine */
}

static void assert_code(struct gate *gate, const char *command, const char *code, const char *field)
{
    json_t *response = desk_ask(gate->desk, OTA_ROLE_ADMIN, command);
    const char *have = json_string_value(json_object_get(response, "code"));
    if (have == NULL || strcmp(have, code) != 0) {
        fail_msg("%s: wanted %s, it is %s", command, code, have != NULL ? have : "done");
    }
    assert_string_equal(json_string_value(json_object_get(response, "field")), field);
    json_decref(response);
}

static void test_rules_of_binding(void **state)
{
    struct gate *gate = *state;
    desk_good(gate->desk, CREATE("door", "free"));
    desk_good(gate->desk, CREATE("gate", "g2"));
    static const struct {
        const char *command;
        const char *code;
        const char *field;
    } rows[] = {
        {BIND("none", "d1", "gate", "g1"), "not_found", "product"},
        {BIND("door", "none", "gate", "g1"), "not_found", "device"},
        {BIND("door", "free", "none", "g1"), "not_found", "gatewayProduct"},
        {BIND("door", "free", "gate", "none"), "not_found", "gateway"},
        {BIND("door", "free", "door", "free"), "invalid_request", "gateway"},
        {BIND("door", "d1", "gate", "g2"), "conflict", "device"},    /* bound elsewhere */
        {BIND("door", "free", "door", "d1"), "conflict", "gateway"}, /* that one is bound */
        {BIND("gate", "g1", "gate", "g2"), "conflict", "device"},    /* that one is a gateway */
        {UNBIND("free", "g1"), "conflict", "gateway"},
        {UNBIND("d1", "g2"), "conflict", "gateway"},
        {UNBIND("none", "g1"), "not_found", "device"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_code(gate, rows[i].command, rows[i].code, rows[i].field);
    }
    json_t *response = desk_ask(gate->desk, OTA_ROLE_OPERATOR, BIND("door", "free", "gate", "g1"));
    assert_string_equal(json_string_value(json_object_get(response, "code")), "forbidden");
    json_decref(response);
    assert_int_equal(ota_fleet_gateway(&gate->desk->fix.core.fleet, gate->gateway)->count,
                     GATE_BOUND);
}

static void test_so_many_and_no_more(void **state)
{
    struct gate *gate = *state;
    char command[160];
    for (int i = GATE_BOUND; i <= OTA_BOUND_MAX; i++) {
        (void)snprintf(command, sizeof command, CREATE("door", "x%d"), i);
        desk_good(gate->desk, command);
        (void)snprintf(command, sizeof command, BIND("door", "x%d", "gate", "g1"), i);
        if (i < OTA_BOUND_MAX) {
            desk_good(gate->desk, command);
        } else {
            desk_bad(gate->desk, command, "limit_exceeded");
        }
    }
}

static void test_binding_that_is_not_committed(void **state)
{
    struct gate *gate = *state;
    desk_good(gate->desk, CREATE("door", "free"));
    fixture_fail_commits(true);
    desk_bad(gate->desk, BIND("door", "free", "gate", "g1"), "unavailable");
    desk_bad(gate->desk, UNBIND("d1", "g1"), "unavailable");
    fixture_fail_commits(false);
    struct ota_fleet *fleet = &gate->desk->fix.core.fleet;
    struct ota_device *device = ota_fleet_device(fleet, gate->desk->fix.product, "free", 4);
    assert_null(ota_fleet_gateway_of(fleet, device));
    assert_ptr_equal(ota_fleet_gateway_of(fleet, gate->devices[0]), gate->gateway);
    desk_good(gate->desk, BIND("door", "free", "gate", "g1"));
}

static size_t listed(struct gate *gate, const char *product, const char *gateway)
{
    char command[160];
    (void)snprintf(command, sizeof command,
                   "\"command\":\"listDevices\",\"product\":\"%s\",\"gateway\":\"%s\"", product,
                   gateway);
    json_t *data = desk_data(gate->desk, command);
    size_t count = json_array_size(json_object_get(data, "devices"));
    json_decref(data);
    return count;
}

static void test_listed_by_gateway(void **state)
{
    struct gate *gate = *state;
    desk_good(gate->desk, CREATE("door", "free"));
    assert_int_equal(listed(gate, "door", "g1"), GATE_BOUND); /* of another product */
    assert_int_equal(listed(gate, "gate", "g1"), 0);
    assert_int_equal(listed(gate, "door", "free"), 0); /* could be one */
    desk_bad(gate->desk, "\"command\":\"listDevices\",\"product\":\"door\",\"gateway\":\"none\"",
             "not_found");
    /* two gateways of that name: that of the product, or one has to say which */
    desk_good(gate->desk, "\"command\":\"createProduct\",\"product\":\"hall\"");
    desk_good(gate->desk, CREATE("hall", "g1"));
    desk_good(gate->desk, BIND("door", "free", "hall", "g1"));
    desk_bad(gate->desk, "\"command\":\"listDevices\",\"product\":\"door\",\"gateway\":\"g1\"",
             "conflict");
    assert_int_equal(listed(gate, "gate", "g1"), 0);
}

static void test_bindings_survive(void **state)
{
    struct gate *gate = *state;
    desk_good(gate->desk, UNBIND("d3", "g1"));
    gate_bring_up(gate, "d1");
    for (int kill = 0; kill < 2; kill++) {
        gate_restart(gate, kill != 0);
        struct ota_fleet *fleet = &gate->desk->fix.core.fleet;
        assert_ptr_equal(ota_fleet_gateway_of(fleet, gate->devices[0]), gate->gateway);
        assert_ptr_equal(ota_fleet_gateway_of(fleet, gate->devices[1]), gate->gateway);
        assert_null(ota_fleet_gateway_of(fleet, gate->devices[2]));
        assert_false(is_online(gate->devices[0])); /* that was the connection's */
    }
}

/* The gateway has the higher id of the two when it was made later. */
static void test_gateway_younger_than_its_devices(void **state)
{
    struct gate *gate = *state;
    assert_true(gate->gateway->id > gate->devices[0]->id);
    gate_restart(gate, true);
    assert_int_equal(ota_fleet_gateway(&gate->desk->fix.core.fleet, gate->gateway)->count,
                     GATE_BOUND);
}

/* --- a gateway goes -----------------------------------------------------------------------------
 */

static void test_deleted_gateway(void **state)
{
    struct gate *gate = *state;
    gate_bring_up(gate, "d1");
    struct mosquitto own = {.id = "d2", .username = "door/d2"};
    assert_true(gate_subscribe(gate, &own, "$ota/update/door/d2"));
    desk_good(gate->desk, "\"command\":\"deleteDevice\",\"product\":\"gate\",\"device\":\"g1\"");
    assert_null(ota_fleet_gateway_of(&gate->desk->fix.core.fleet, gate->devices[0]));
    assert_false(is_online(gate->devices[0]));
    assert_true(is_online(gate->devices[1]));
    assert_int_equal(fixture_count("$ota/event/door/d1", "presence"), 1);
    assert_false(gate_subscribe(gate, &gate->client, "$ota/update/door/d1"));
    json_t *data = desk_data(gate->desk, "\"command\":\"getDevice\",\"product\":\"door\","
                                         "\"device\":\"d1\"");
    assert_true(json_is_null(json_object_get(json_object_get(data, "device"), "gateway")));
    json_decref(data);
    /* before its rows are gone and after it: d1 is free for another */
    desk_good(gate->desk, CREATE("gate", "g2"));
    desk_good(gate->desk, BIND("door", "d1", "gate", "g2"));
    desk_later(gate->desk, 100);
    desk_restart(gate->desk, true);
    data = desk_data(gate->desk, "\"command\":\"getDevice\",\"product\":\"door\","
                                 "\"device\":\"d1\"");
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(data, "device"), "gateway")), "g2");
    json_decref(data);
}

static void test_deleted_product_of_a_gateway(void **state)
{
    struct gate *gate = *state;
    gate_bring_up(gate, "d1");
    gate_upgrade_all(gate);
    desk_good(gate->desk, "\"command\":\"deleteProduct\",\"product\":\"gate\",\"force\":true");
    assert_false(gate_subscribe(gate, &gate->client, "$ota/update/door/d1"));
    assert_null(ota_fleet_gateway_of(&gate->desk->fix.core.fleet, gate->devices[0]));
    desk_good(gate->desk, CREATE("door", "box"));
    desk_good(gate->desk, BIND("door", "d2", "door", "box")); /* as if it were unbound */
    for (int i = 0; i < 20 && gate->desk->fix.core.fleet.doomed != NULL; i++) {
        desk_later(gate->desk, 100);
    }
    assert_null(gate->desk->fix.core.fleet.doomed);
    assert_false(is_online(gate->devices[0]));
    assert_false(gate->devices[0]->bound);
    assert_true(gate->devices[1]->bound);
}

static void test_deleted_device(void **state)
{
    struct gate *gate = *state;
    gate_bring_up(gate, "d2");
    desk_good(gate->desk, "\"command\":\"deleteDevice\",\"product\":\"door\",\"device\":\"d2\"");
    assert_int_equal(ota_fleet_gateway(&gate->desk->fix.core.fleet, gate->gateway)->count,
                     GATE_BOUND - 1);
    assert_int_equal(gate_announce(gate, "online", "d2"), -1);
    assert_int_equal(gate_announce(gate, "online", "d1"), 0);
}

/* --- the conversation ---------------------------------------------------------------------------
 */

static void assert_answer(const char *want)
{
    const struct fake_message *message = fake_broker_last_on(GATE_RESULT);
    assert_non_null(message);
    assert_string_equal(message->client_id, "gateg1");
    assert_int_equal(message->qos, 0);
    assert_string_equal(message->payload, want);
}

static void test_online_and_offline(void **state)
{
    struct gate *gate = *state;
    assert_true(gate_publish(gate, &gate->client, GATE_OPERATION,
                             "{\"type\": \"online\", \"payload\": {\"devices\": [{\"x\": [1], "
                             "\"device_name\": \"d1\", \"product_id\": \"door\"}]}}"));
    assert_answer("{\"type\":\"online\",\"payload\":{\"devices\":[{\"product_id\":\"door\","
                  "\"device_name\":\"d1\",\"result\":0}]}}");
    assert_true(is_online(gate->devices[0]));
    assert_int_equal(fixture_count("$ota/event/door/d1", "presence"), 1);
    assert_int_equal(gate->desk->fix.product->online, 1);
    assert_int_equal(gate_announce(gate, "online", "d1"), 0); /* again: nothing changes */
    assert_int_equal(fixture_count("$ota/event/door/d1", "presence"), 1);
    assert_int_equal(gate_announce(gate, "offline", "d1"), 0);
    assert_false(is_online(gate->devices[0]));
    assert_int_equal(fixture_count("$ota/event/door/d1", "presence"), 2);
    assert_int_equal(gate_announce(gate, "offline", "d1"), 0);
    assert_int_equal(gate->desk->fix.core.fleet.conns.count, 0);
}

static void test_several_in_one_message(void **state)
{
    struct gate *gate = *state;
    desk_good(gate->desk, UNBIND("d2", "g1"));
    assert_true(gate_publish(gate, &gate->client, GATE_OPERATION,
                             "{\"type\":\"online\",\"payload\":{\"devices\":["
                             "{\"product_id\":\"door\",\"device_name\":\"d1\"},"
                             "{\"product_id\":\"door\",\"device_name\":\"d2\"},"
                             "{\"product_id\":\"none\",\"device_name\":\"d3\"},"
                             "{\"product_id\":\"door\",\"device_name\":\"none\"},"
                             "{\"product_id\":\"door\",\"device_name\":\"d3\"}]}}"));
    assert_answer("{\"type\":\"online\",\"payload\":{\"devices\":["
                  "{\"product_id\":\"door\",\"device_name\":\"d1\",\"result\":0},"
                  "{\"product_id\":\"door\",\"device_name\":\"d2\",\"result\":-1},"
                  "{\"product_id\":\"none\",\"device_name\":\"d3\",\"result\":-1},"
                  "{\"product_id\":\"door\",\"device_name\":\"none\",\"result\":-1},"
                  "{\"product_id\":\"door\",\"device_name\":\"d3\",\"result\":0}]}}");
    assert_true(is_online(gate->devices[0]));
    assert_false(is_online(gate->devices[1]));
    assert_true(is_online(gate->devices[2]));
}

static void test_binding_is_for_admins(void **state)
{
    struct gate *gate = *state;
    desk_good(gate->desk, UNBIND("d2", "g1"));
    assert_int_equal(gate_announce(gate, "bind", "d2"), 808);
    assert_int_equal(gate_announce(gate, "bind", "none"), 808);
    assert_false(gate->devices[1]->bound);
    assert_int_equal(gate_announce(gate, "bind", "d1"), 0); /* an admin has done it */
    assert_int_equal(gate_announce(gate, "unbind", "d1"), 808);
    assert_true(gate->devices[0]->bound);
    assert_int_equal(gate_announce(gate, "unbind", "d2"), -1);
}

static void test_described(void **state)
{
    struct gate *gate = *state;
    desk_good(gate->desk, UNBIND("d2", "g1"));
    static const char ask[] = "{\"type\":\"describe_sub_devices\"}";
    assert_true(gate_publish(gate, &gate->client, GATE_OPERATION, ask));
    assert_answer("{\"type\":\"describe_sub_devices\",\"payload\":{\"devices\":["
                  "{\"product_id\":\"door\",\"device_name\":\"d3\"},"
                  "{\"product_id\":\"door\",\"device_name\":\"d1\"}]}}");
    struct mosquitto other = {.id = "g2", .username = "gate/g2"};
    desk_good(gate->desk, CREATE("gate", "g2"));
    assert_true(gate_publish(gate, &other, "$gateway/operation/gate/g2", ask));
    const struct fake_message *message = fake_broker_last_on("$gateway/operation/result/gate/g2");
    assert_string_equal(message->payload,
                        "{\"type\":\"describe_sub_devices\",\"payload\":{\"devices\":[]}}");
}

static void test_described_as_many_as_fit(void **state)
{
    struct gate *gate = *state;
    char command[160];
    for (int i = 0; i < 40; i++) {
        (void)snprintf(command, sizeof command, CREATE("door", "x%d"), i);
        desk_good(gate->desk, command);
        (void)snprintf(command, sizeof command, BIND("door", "x%d", "gate", "g1"), i);
        desk_good(gate->desk, command);
    }
    assert_true(
        gate_publish(gate, &gate->client, GATE_OPERATION, "{\"type\":\"describe_sub_devices\"}"));
    const struct fake_message *message = fake_broker_last_on(GATE_RESULT);
    assert_in_range(message->len, 900, 1024);
}

#define ONE          "{\"product_id\":\"door\",\"device_name\":\"d1\"}"
#define FOUR         ONE "," ONE "," ONE "," ONE
#define MANY         FOUR "," FOUR "," FOUR "," FOUR
#define BAD(devices) "{\"type\":\"online\",\"payload\":{\"devices\":" devices "}}"

static void test_bad_input(void **state)
{
    struct gate *gate = *state;
    static const struct {
        const char *payload;
        enum ota_refusal reason;
    } rows[] = {
        {"", OTA_REFUSED_NOT_JSON},
        {"x", OTA_REFUSED_NOT_JSON},
        {"[]", OTA_REFUSED_SHAPE},
        {"{}", OTA_REFUSED_SHAPE},
        {"{\"type\":7}", OTA_REFUSED_SHAPE},
        {"{\"type\":\"online\",\"type\":\"online\"}", OTA_REFUSED_NOT_JSON},
        {"{\"type\":\"online\"}", OTA_REFUSED_SHAPE},
        {"{\"type\":\"change\",\"payload\":{\"status\":1,\"devices\":[" ONE "]}}",
         OTA_REFUSED_TYPE},
        {"{\"type\":\"search_devices\",\"payload\":{\"status\":0,\"result\":0}}", OTA_REFUSED_TYPE},
        {"{\"type\":\"unbind_all\",\"payload\":{\"result\":0}}", OTA_REFUSED_TYPE},
        {"{\"type\":\"report_version\",\"report\":{\"version\":\"1.0\"}}", OTA_REFUSED_TYPE},
        {BAD("[]"), OTA_REFUSED_SHAPE},
        {BAD("{}"), OTA_REFUSED_SHAPE},
        {BAD(ONE), OTA_REFUSED_SHAPE},
        {BAD("[7]"), OTA_REFUSED_SHAPE},
        {BAD("[" ONE ",7]"), OTA_REFUSED_SHAPE},
        {BAD("[{\"product_id\":\"door\"}]"), OTA_REFUSED_SHAPE},
        {BAD("[{\"product_id\":\"door\",\"device_name\":7}]"), OTA_REFUSED_SHAPE},
        {BAD("[{\"product_id\":\"do/or\",\"device_name\":\"d1\"}]"), OTA_REFUSED_SHAPE},
        {BAD("[{\"product_id\":\"door\",\"device_name\":\"d\\u0000\"}]"), OTA_REFUSED_NOT_JSON},
        {BAD("[{\"product_id\":\"door\",\"device_name\":\"\"}]"), OTA_REFUSED_SHAPE},
        {BAD("[" MANY "," MANY "," MANY "," MANY "," ONE "]"), OTA_REFUSED_NESTED},
        {BAD("[[[[[[[[[[[[[[[[[[" ONE "]]]]]]]]]]]]]]]]]]"), OTA_REFUSED_NESTED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t before = gate->desk->intake.refused[rows[i].reason];
        assert_false(gate_publish(gate, &gate->client, GATE_OPERATION, rows[i].payload));
        if (gate->desk->intake.refused[rows[i].reason] != before + 1) {
            fail_msg("%s: refused for another reason", rows[i].payload);
        }
    }
    char *large = malloc(OTA_REPORT_MAX + 2);
    assert_non_null(large);
    memset(large, ' ', OTA_REPORT_MAX + 1);
    large[OTA_REPORT_MAX + 1] = '\0';
    assert_false(gate_publish(gate, &gate->client, GATE_OPERATION, large));
    assert_int_equal(gate->desk->intake.refused[OTA_REFUSED_TOO_LARGE], 1);
    free(large);
    assert_null(fake_broker_last_on(GATE_RESULT));
    assert_false(is_online(gate->devices[0]));
}

static void test_as_many_as_a_message_takes(void **state)
{
    struct gate *gate = *state;
    assert_true(gate_publish(gate, &gate->client, GATE_OPERATION,
                             BAD("[" MANY "," MANY "," MANY "," MANY "]")));
    json_t *answer = fixture_last(GATE_RESULT);
    assert_int_equal(
        json_array_size(json_object_get(json_object_get(answer, "payload"), "devices")), 64);
    json_decref(answer);
}

static void test_unknown_gateway(void **state)
{
    struct gate *gate = *state;
    struct mosquitto other = {.id = "new", .username = "gate/new"};
    static const char topic[] = "$gateway/operation/gate/new";
    assert_false(gate_publish(gate, &other, topic, BAD("[" ONE "]")));
    assert_int_equal(gate->desk->intake.refused[OTA_REFUSED_GATEWAY], 0); /* the door is shut */
    gate->desk->access.auto_register = true;
    assert_false(gate_publish(gate, &other, topic, BAD("[" ONE "]")));
    assert_int_equal(gate->desk->intake.refused[OTA_REFUSED_GATEWAY], 1);
    assert_false(is_online(gate->devices[0]));
}

static void test_too_often(void **state)
{
    struct gate *gate = *state;
    gate->desk->fix.core.settings.report_rate =
        (struct ota_rate){.step = OTA_RATE_TICKS_A_SECOND, .burst = 2};
    int taken = 0;
    for (int i = 0; i < 10; i++) {
        taken += gate_publish(gate, &gate->client, GATE_OPERATION, BAD("[" ONE "]"));
    }
    assert_in_range(taken, 1, 3);
    assert_int_equal(gate->desk->intake.refused[OTA_REFUSED_RATE], 10 - taken);
    fixture_tick(&gate->desk->fix, 5000);
    assert_true(gate_publish(gate, &gate->client, GATE_OPERATION, BAD("[" ONE "]")));
}

/* --- who may
 * -------------------------------------------------------------------------------------- */

static void test_access_of_a_gateway(void **state)
{
    struct gate *gate = *state;
    const struct mosquitto *client = &gate->client;
    assert_true(gate_subscribe(gate, client, GATE_RESULT));
    assert_true(gate_subscribe(gate, client, "$ota/update/door/d1"));
    assert_true(gate_subscribe(gate, client, "$ota/block/door/d1/#"));
    assert_true(gate_publish(gate, client, "$ota/report/door/d1", VERSION_1));
    assert_false(gate_subscribe(gate, client, "$ota/update/door/+"));
    assert_false(gate_subscribe(gate, client, "$ota/report/door/d1"));
    assert_false(gate_subscribe(gate, client, "$share/g/$ota/update/door/d1"));
    assert_false(gate_subscribe(gate, client, "$share/g/" GATE_RESULT));
    assert_false(gate_subscribe(gate, client, GATE_OPERATION));
    assert_false(gate_subscribe(gate, client, "$gateway/operation/result/gate/+"));
    assert_false(gate_publish(gate, client, GATE_RESULT, "{}"));
    assert_false(gate_publish(gate, client, "$gateway/operation/door/d1", BAD("[" ONE "]")));
}

static void test_access_ends_with_the_binding(void **state)
{
    struct gate *gate = *state;
    gate_bring_up(gate, "d1");
    gate_bring_up(gate, "d2");
    desk_good(gate->desk, UNBIND("d1", "g1"));
    assert_false(is_online(gate->devices[0]));
    assert_true(is_online(gate->devices[1]));
    assert_int_equal(fixture_count("$ota/event/door/d1", "presence"), 1);
    assert_false(gate_subscribe(gate, &gate->client, "$ota/update/door/d1"));
    assert_false(gate_publish(gate, &gate->client, "$ota/report/door/d1", VERSION_1));
    assert_int_equal(gate_announce(gate, "online", "d1"), -1);
    assert_false(is_online(gate->devices[0]));
    assert_true(gate_publish(gate, &gate->client, "$ota/report/door/d2", VERSION_1));
}

static void test_another_gateway_may_not(void **state)
{
    struct gate *gate = *state;
    struct mosquitto other = {.id = "g2", .username = "gate/g2"};
    desk_good(gate->desk, CREATE("gate", "g2"));
    assert_false(gate_subscribe(gate, &other, "$ota/update/door/d1"));
    assert_false(gate_publish(gate, &other, "$ota/report/door/d1", VERSION_1));
    assert_true(gate_publish(gate, &other, "$gateway/operation/gate/g2", BAD("[" ONE "]")));
    const struct fake_message *message = fake_broker_last_on("$gateway/operation/result/gate/g2");
    assert_string_equal(message->client_id, "g2");
    assert_non_null(strstr(message->payload, "\"result\":-1"));
    assert_false(is_online(gate->devices[0]));
}

static void test_bound_devices_may_not_speak_for_others(void **state)
{
    struct gate *gate = *state;
    struct mosquitto own = {.id = "d1", .username = "door/d1"};
    assert_true(gate_subscribe(gate, &own, "$ota/update/door/d1"));
    assert_false(gate_subscribe(gate, &own, "$ota/update/door/d2"));
    assert_false(gate_subscribe(gate, &own, "$ota/update/gate/g1"));
    assert_false(gate_subscribe(gate, &own, GATE_RESULT));
}

/* --- presence
 * ------------------------------------------------------------------------------------- */

static void test_the_gateway_goes_and_all_with_it(void **state)
{
    struct gate *gate = *state;
    gate_bring_up(gate, "d1");
    gate_bring_up(gate, "d2");
    fake_broker_clear_messages();
    ota_presence_gone(&gate->desk->fix.core, &gate->client);
    assert_false(is_online(gate->devices[0]));
    assert_false(is_online(gate->devices[1]));
    assert_int_equal(fixture_count("$ota/event/door/d1", "presence"), 1);
    assert_int_equal(fixture_count("$ota/event/door/d3", "presence"), 0);
    assert_int_equal(gate->desk->fix.core.fleet.online_count, 0);
}

static void test_own_connection_stays(void **state)
{
    struct gate *gate = *state;
    struct mosquitto own = {.id = "d1", .username = "door/d1"};
    assert_true(gate_subscribe(gate, &own, "$ota/update/door/d1"));
    assert_int_equal(gate_announce(gate, "online", "d1"), 0);
    assert_string_equal(gate->devices[0]->conn->client_id, "d1");
    assert_int_equal(gate_announce(gate, "offline", "d1"), 0);
    assert_true(is_online(gate->devices[0]));
    /* who subscribed or reported last has it */
    assert_true(gate_subscribe(gate, &gate->client, "$ota/update/door/d1"));
    assert_string_equal(gate->devices[0]->conn->client_id, "gateg1");
    assert_true(gate_publish(gate, &own, "$ota/report/door/d1", VERSION_1));
    assert_string_equal(gate->devices[0]->conn->client_id, "d1");
    desk_good(gate->desk, UNBIND("d1", "g1"));
    assert_true(is_online(gate->devices[0]));
}

static void test_second_connection_of_the_gateway(void **state)
{
    struct gate *gate = *state;
    struct mosquitto again = {.id = "gateg1-2", .username = "gate/g1"};
    gate_bring_up(gate, "d1");
    assert_true(gate_publish(gate, &again, GATE_OPERATION, BAD("[" ONE "]")));
    assert_string_equal(gate->devices[0]->conn->client_id, "gateg1-2");
    ota_presence_gone(&gate->desk->fix.core, &gate->client);
    assert_true(is_online(gate->devices[0]));
}

/* Its rows are still there, and so is its connection: that is nobody's of d1 any more. */
static void test_bound_anew_while_its_gateway_goes(void **state)
{
    struct gate *gate = *state;
    struct ota_device *device = gate->devices[0];
    struct mosquitto box = {.id = "box", .username = "door/box"};
    desk_good(gate->desk, CREATE("door", "box"));
    gate_bring_up(gate, "d1");
    desk_good(gate->desk, "\"command\":\"deleteProduct\",\"product\":\"gate\",\"force\":true");
    assert_true(device->bound);
    desk_good(gate->desk, BIND("door", "d1", "door", "box"));
    assert_false(is_online(device));
    assert_true(gate_publish(gate, &box, "$gateway/operation/door/box", BAD("[" ONE "]")));
    assert_true(is_online(device));
    assert_string_equal(device->conn->client_id, "box");
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, gate_setup, gate_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bound_device_shows_its_gateway),
        TEST(answers_of_binding),
        TEST(rules_of_binding),
        TEST(so_many_and_no_more),
        TEST(binding_that_is_not_committed),
        TEST(listed_by_gateway),
        TEST(bindings_survive),
        TEST(gateway_younger_than_its_devices),
        TEST(deleted_gateway),
        TEST(deleted_product_of_a_gateway),
        TEST(deleted_device),
        TEST(online_and_offline),
        TEST(several_in_one_message),
        TEST(binding_is_for_admins),
        TEST(described),
        TEST(described_as_many_as_fit),
        TEST(bad_input),
        TEST(as_many_as_a_message_takes),
        TEST(unknown_gateway),
        TEST(too_often),
        TEST(access_of_a_gateway),
        TEST(access_ends_with_the_binding),
        TEST(another_gateway_may_not),
        TEST(bound_devices_may_not_speak_for_others),
        TEST(the_gateway_goes_and_all_with_it),
        TEST(own_connection_stays),
        TEST(second_connection_of_the_gateway),
        TEST(bound_anew_while_its_gateway_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
