/* SPDX-License-Identifier: BSD-3-Clause */
/* What a gateway says: what is taken gets one answer with as many devices, and nothing else does;
 * only bound devices come and go. */
#include <jansson.h>

#include "../../plugin/fleet_gateway.h"
#include "../../plugin/operation.h"
#include "../../plugin/presence.h"
#include "../unit/fake_broker.h"
#include "fuzz.h"

static struct ota_core core;
static struct ota_intake intake = {.core = &core};
static const struct mosquitto client = {.id = "gateg1", .username = "gate/g1"};
static const struct ota_topic topic = {.kind = OTA_TOPIC_GATEWAY,
                                       .product = "gate",
                                       .product_len = 4,
                                       .device = "g1",
                                       .device_len = 2,
                                       .rest = ""};

static struct ota_device *add_device(int64_t id, int64_t product, const char *name)
{
    struct ota_device_row row = {.id = id, .product_id = product};
    (void)snprintf(row.name, sizeof row.name, "%s", name);
    struct ota_device *device = ota_fleet_add_device(&core.fleet, &row);
    FUZZ_CHECK(device != NULL);
    return device;
}

static struct ota_device *free_device; /* bound to nobody */

static void build_world(void)
{
    ota_core_init(&core);
    FUZZ_CHECK(ota_fleet_add_product(&core.fleet, 1, "gate") != NULL);
    FUZZ_CHECK(ota_fleet_add_product(&core.fleet, 2, "door") != NULL);
    struct ota_device *gateway = add_device(1, 1, "g1");
    FUZZ_CHECK(ota_fleet_bind(&core.fleet, add_device(2, 2, "d1"), gateway) != NULL);
    FUZZ_CHECK(ota_fleet_bind(&core.fleet, add_device(3, 2, "d2"), gateway) != NULL);
    free_device = add_device(4, 2, "d3");
}

static void check_answer(const uint8_t *data, size_t size)
{
    const struct fake_message *message = fake_broker_last_on("$gateway/operation/result/gate/g1");
    FUZZ_CHECK(message != NULL && strcmp(message->client_id, "gateg1") == 0);
    json_t *asked = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    json_t *answer = json_loadb(message->payload, message->len, JSON_REJECT_DUPLICATES, NULL);
    FUZZ_CHECK(asked != NULL && answer != NULL);
    const json_t *type = json_object_get(asked, "type");
    FUZZ_CHECK(json_equal(type, json_object_get(answer, "type")));
    const json_t *devices = json_object_get(json_object_get(answer, "payload"), "devices");
    bool describes = strcmp(json_string_value(type), "describe_sub_devices") == 0;
    size_t want =
        describes ? 2
                  : json_array_size(json_object_get(json_object_get(asked, "payload"), "devices"));
    FUZZ_CHECK(json_array_size(devices) == want);
    json_decref(asked);
    json_decref(answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (core.fleet.products.count == 0) {
        build_world();
    }
    fake_broker_clear_messages();
    uint32_t online = core.fleet.online_count;
    if (ota_operation_take(&intake, &client, &topic, data, size) == OTA_INTAKE_TAKEN) {
        check_answer(data, size);
    } else {
        FUZZ_CHECK(fake_broker_message_count() == 0 && core.fleet.online_count == online);
    }
    FUZZ_CHECK(free_device->conn == NULL && core.fleet.online_count <= 2);
    ota_presence_gone(&core, &client);
    return 0;
}
