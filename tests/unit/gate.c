/* SPDX-License-Identifier: BSD-3-Clause */
#include "gate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Can be made to fail, too (fixture_fail_write). */
enum ota_err __real_ota_task_change(struct ota_store *store, struct ota_task_row *row,
                                    const struct ota_event_row *event, struct ota_error *error);
enum ota_err __wrap_ota_task_change(struct ota_store *store, struct ota_task_row *row,
                                    const struct ota_event_row *event, struct ota_error *error);

enum ota_err __wrap_ota_task_change(struct ota_store *store, struct ota_task_row *row,
                                    const struct ota_event_row *event, struct ota_error *error)
{
    return fixture_write_fails() ? ota_error_set(error, OTA_UNAVAILABLE, NULL, "a test's full disk")
                                 : __real_ota_task_change(store, row, event, error);
}

static void find_all(struct gate *gate)
{
    struct fixture *fix = &gate->desk->fix;
    const struct ota_product *product = ota_fleet_product(&fix->core.fleet, "gate", 4);
    assert_non_null(product);
    gate->gateway = ota_fleet_device(&fix->core.fleet, product, "g1", 2);
    for (int i = 0; i < GATE_BOUND; i++) {
        char name[] = {'d', (char)('1' + i), '\0'};
        gate->devices[i] = ota_fleet_device(&fix->core.fleet, fix->product, name, 2);
        assert_non_null(gate->devices[i]);
    }
}

int gate_setup(void **state)
{
    struct gate *gate = calloc(1, sizeof *gate);
    assert_non_null(gate);
    desk_setup((void **)&gate->desk);
    assert_int_equal(ota_access_parse_identity("username:%p/%d", &gate->desk->access, NULL),
                     OTA_OK);
    (void)fixture_device(&gate->desk->fix, "d2", "1.0");
    (void)fixture_device(&gate->desk->fix, "d3", "1.0");
    desk_good(gate->desk, "\"command\":\"createProduct\",\"product\":\"gate\"");
    desk_good(gate->desk, "\"command\":\"createDevice\",\"product\":\"gate\",\"device\":\"g1\"");
    for (int i = 0; i < GATE_BOUND; i++) {
        char command[160];
        (void)snprintf(command, sizeof command,
                       "\"command\":\"bindDevice\",\"product\":\"door\",\"device\":\"d%d\","
                       "\"gatewayProduct\":\"gate\",\"gateway\":\"g1\"",
                       i + 1);
        desk_good(gate->desk, command);
    }
    gate->desk->access.roles = &gate->roles;
    gate->client = (struct mosquitto){.id = "gateg1", .username = "gate/g1"};
    find_all(gate);
    fake_broker_clear_messages();
    *state = gate;
    return 0;
}

int gate_teardown(void **state)
{
    struct gate *gate = *state;
    desk_teardown((void **)&gate->desk);
    free(gate);
    return 0;
}

void gate_restart(struct gate *gate, bool kill)
{
    desk_restart(gate->desk, kill);
    find_all(gate);
}

/* --- what a client does ------------------------------------------------------------------------
 */

bool gate_subscribe(struct gate *gate, const struct mosquitto *client, const char *text)
{
    const struct ota_topic topic = ota_topic_parse(&gate->desk->access, text);
    const struct ota_message message = {.client = client};
    return ota_traffic_may(&gate->desk->traffic, OTA_ACCESS_SUBSCRIBE, &topic, &message);
}

bool gate_publish(struct gate *gate, const struct mosquitto *client, const char *text,
                  const char *payload)
{
    struct ota_traffic *traffic = &gate->desk->traffic;
    const struct ota_topic topic = ota_topic_parse(&gate->desk->access, text);
    const struct ota_message message = {
        .client = client, .payload = payload, .len = strlen(payload)};
    return ota_traffic_may(traffic, OTA_ACCESS_PUBLISH, &topic, &message) &&
           ota_traffic_take(traffic, &topic, &message) == OTA_INTAKE_TAKEN;
}

int gate_announce(struct gate *gate, const char *type, const char *device)
{
    char payload[200];
    (void)snprintf(payload, sizeof payload,
                   "{\"type\":\"%s\",\"payload\":{\"devices\":[{\"product_id\":\"door\","
                   "\"device_name\":\"%s\"}]}}",
                   type, device);
    assert_true(gate_publish(gate, &gate->client, GATE_OPERATION, payload));
    json_t *answer = fixture_last(GATE_RESULT);
    const json_t *devices = json_object_get(json_object_get(answer, "payload"), "devices");
    assert_int_equal(json_array_size(devices), 1);
    int result = (int)json_integer_value(json_object_get(json_array_get(devices, 0), "result"));
    json_decref(answer);
    return result;
}

void gate_bring_up(struct gate *gate, const char *device)
{
    char topic[64];
    assert_int_equal(gate_announce(gate, "online", device), 0);
    (void)snprintf(topic, sizeof topic, "$ota/update/door/%s", device);
    assert_true(gate_subscribe(gate, &gate->client, topic));
    (void)snprintf(topic, sizeof topic, "$ota/report/door/%s", device);
    assert_true(gate_publish(gate, &gate->client, topic,
                             "{\"type\":\"report_version\",\"report\":{\"version\":\"1.0\"}}"));
}

void gate_says(struct gate *gate, const struct mosquitto *client, const char *device,
               const char *state)
{
    char topic[64];
    char payload[200];
    (void)snprintf(topic, sizeof topic, "$ota/report/door/%s", device);
    (void)snprintf(payload, sizeof payload,
                   "{\"type\":\"report_progress\",\"report\":{\"progress\":{\"state\":\"%s\"},"
                   "\"version\":\"2.0\"}}",
                   state);
    assert_true(gate_publish(gate, client, topic, payload));
}

/* --- what comes of it ----------------------------------------------------------------------------
 */

void gate_upgrade_all(struct gate *gate)
{
    for (int i = 0; i < GATE_BOUND; i++) {
        (void)fixture_plain_task(&gate->desk->fix, gate->devices[i]);
    }
}

enum ota_status gate_status(const struct ota_device *device)
{
    assert_non_null(device->task);
    return device->task->up.status;
}

int gate_notices(const char *device)
{
    char topic[64];
    (void)snprintf(topic, sizeof topic, "$ota/update/door/%s", device);
    return fixture_count(topic, "update_firmware");
}

char *gate_wait(struct gate *gate, const char *device)
{
    char command[120];
    (void)snprintf(command, sizeof command,
                   "\"command\":\"getDevice\",\"product\":\"door\",\"device\":\"%s\"", device);
    json_t *data = desk_data(gate->desk, command);
    const json_t *task = json_object_get(json_object_get(data, "device"), "task");
    const char *wait = json_string_value(json_object_get(task, "waitReason"));
    char *copy = strdup(wait != NULL ? wait : "");
    json_decref(data);
    return copy;
}
