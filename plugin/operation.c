/* SPDX-License-Identifier: BSD-3-Clause */
#include "operation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker.h"
#include "devices.h"
#include "fleet_gateway.h"
#include "presence.h"
#include "util/json_text.h"

/* A bind has seven keys a device; more than OTA_OPERATION_DEVICES have no room in 4 KiB. */
#define OTA_OPERATION_KEYS 512

/* The vendor's SDK takes no larger answer (its buffer). */
#define OTA_DESCRIBED_MAX 1000

/* The vendor's codes: what its SDKs know. */
enum result {
    RESULT_DONE = 0,
    RESULT_NOT_BOUND = -1,
    RESULT_FAILED = -2,
    RESULT_FORBIDDEN = 808,
};

/* A message under way. */
struct operation {
    struct ota_core *core;
    const struct mosquitto *client;
    struct ota_device *gateway;
};

/* --- what is done for one device ----------------------------------------------------------------
 */

static enum result go_online(const struct operation *operation, struct ota_device *device)
{
    return device == NULL                                                      ? RESULT_NOT_BOUND
           : ota_presence_announce(operation->core, operation->client, device) ? RESULT_DONE
                                                                               : RESULT_FAILED;
}

static enum result go_offline(const struct operation *operation, struct ota_device *device)
{
    if (device == NULL) {
        return RESULT_NOT_BOUND;
    }
    ota_presence_leave(operation->core, operation->client, device);
    return RESULT_DONE;
}

/* Binding is an admin's (bindDevice): who asks for what an admin has done already is told so. */
static enum result bind_it(const struct operation *operation, struct ota_device *device)
{
    (void)operation;
    return device != NULL ? RESULT_DONE : RESULT_FORBIDDEN;
}

static enum result unbind_it(const struct operation *operation, struct ota_device *device)
{
    (void)operation;
    return device != NULL ? RESULT_FORBIDDEN : RESULT_NOT_BOUND;
}

/* device: one that is bound to the gateway; else NULL. */
typedef enum result (*work_fn)(const struct operation *operation, struct ota_device *device);

static work_fn work_of(const char *type)
{
    static const struct {
        const char *type;
        work_fn work;
    } rows[] = {
        {"online", go_online}, {"offline", go_offline}, {"bind", bind_it}, {"unbind", unbind_it}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].type, type) == 0) {
            return rows[i].work;
        }
    }
    return NULL;
}

/* --- reading ------------------------------------------------------------------------------------
 */

/* A name of the entry; NULL: there is none, or it is no name. */
static const char *name_of(const json_t *entry, const char *key,
                           bool (*rule)(const char *text, size_t len))
{
    const json_t *value = json_object_get(entry, key);
    const char *text = json_string_value(value);
    return text != NULL && rule(text, json_string_length(value)) ? text : NULL;
}

static const char *product_of(const json_t *entry)
{
    return name_of(entry, "product_id", ota_name_is_product);
}

static const char *device_of(const json_t *entry)
{
    return name_of(entry, "device_name", ota_name_is_device);
}

static enum ota_refusal check_entries(const json_t *entries)
{
    size_t count = json_array_size(entries);
    if (count == 0) {
        return OTA_REFUSED_SHAPE;
    }
    if (count > OTA_OPERATION_DEVICES) {
        return OTA_REFUSED_NESTED;
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *entry = json_array_get(entries, i);
        if (product_of(entry) == NULL || device_of(entry) == NULL) {
            return OTA_REFUSED_SHAPE;
        }
    }
    return OTA_REFUSAL_COUNT;
}

/* The device that the entry names, where it is bound to the gateway. */
static struct ota_device *find_bound(const struct operation *operation, const json_t *entry)
{
    const struct ota_fleet *fleet = &operation->core->fleet;
    const char *product_name = product_of(entry);
    const char *name = device_of(entry);
    const struct ota_product *product =
        ota_fleet_product(fleet, product_name, strlen(product_name));
    struct ota_device *device =
        product != NULL ? ota_fleet_device(fleet, product, name, strlen(name)) : NULL;
    return device != NULL && ota_fleet_gateway_of(fleet, device) == operation->gateway ? device
                                                                                       : NULL;
}

/* --- answering ----------------------------------------------------------------------------------
 */

/* At QoS 0, to the client that asked (tencent-sdk.md, 2). What memory is too short for is lost, and
 * asked for again. */
static void answer(const struct operation *operation, const char *type, json_t *devices)
{
    json_t *root = json_pack("{s:s, s:{s:O}}", "type", type, "payload", "devices", devices);
    char *text = ota_json_write(root, JSON_COMPACT);
    const char *client_id = ota_broker_client_id(operation->client);
    if (text != NULL && client_id != NULL) {
        char topic[OTA_PRODUCT_MAX + OTA_DEVICE_MAX + 32];
        (void)snprintf(topic, sizeof topic, "$gateway/operation/result/%s/%s",
                       operation->gateway->product->name, operation->gateway->name);
        (void)ota_broker_publish(client_id, topic, text, strlen(text), 0);
    }
    free(text);
    json_decref(root);
}

static enum ota_refusal do_all(const struct operation *operation, const char *type,
                               const json_t *entries)
{
    work_fn work = work_of(type);
    enum ota_refusal refusal = work != NULL ? check_entries(entries) : OTA_REFUSED_TYPE;
    if (refusal != OTA_REFUSAL_COUNT) {
        return refusal;
    }
    json_t *answers = json_array();
    bool whole = true;
    for (size_t i = 0; i < json_array_size(entries); i++) {
        const json_t *entry = json_array_get(entries, i);
        enum result result = work(operation, find_bound(operation, entry));
        json_t *said = json_pack("{s:s, s:s, s:i}", "product_id", product_of(entry), "device_name",
                                 device_of(entry), "result", result);
        whole = json_array_append_new(answers, said) == 0 && whole;
    }
    if (whole) {
        answer(operation, type, answers);
    }
    json_decref(answers);
    return OTA_REFUSAL_COUNT;
}

/* Who is bound to the gateway: as many as fit. */
static void describe(const struct operation *operation, const char *type)
{
    const struct ota_gateway *gateway =
        ota_fleet_gateway(&operation->core->fleet, operation->gateway);
    json_t *devices = json_array();
    size_t used = 0;
    for (const struct ota_bond *bond = gateway != NULL ? gateway->bonds : NULL; bond != NULL;
         bond = bond->next) {
        const char *product = bond->device->product->name;
        used += strlen(product) + strlen(bond->device->name) +
                sizeof "{'product_id':'','device_name':''},";
        if (used > OTA_DESCRIBED_MAX) {
            break;
        }
        (void)json_array_append_new(devices, json_pack("{s:s, s:s}", "product_id", product,
                                                       "device_name", bond->device->name));
    }
    answer(operation, type, devices);
    json_decref(devices);
}

/* Whatever else the vendor's SDK sends there (change, search_devices, unbind_all) is an answer to
 * what we never ask. */
static enum ota_refusal act(const struct operation *operation, const json_t *root)
{
    const char *type = json_string_value(json_object_get(root, "type"));
    if (type == NULL) {
        return OTA_REFUSED_SHAPE;
    }
    if (strcmp(type, "describe_sub_devices") == 0) {
        describe(operation, type);
        return OTA_REFUSAL_COUNT;
    }
    return do_all(operation, type, json_object_get(json_object_get(root, "payload"), "devices"));
}

/* --- the door -----------------------------------------------------------------------------------
 */

static enum ota_refusal find_gateway(struct ota_core *core, const struct ota_topic *topic,
                                     struct ota_device **gateway)
{
    *gateway = ota_topic_device(topic, &core->fleet);
    if (*gateway == NULL) {
        return OTA_REFUSED_GATEWAY;
    }
    return ota_rate_take(&core->settings.report_rate, &(*gateway)->report_tat, core->mono_now)
               ? OTA_REFUSAL_COUNT
               : OTA_REFUSED_RATE;
}

static enum ota_refusal take(struct ota_core *core, const struct mosquitto *client,
                             const struct ota_topic *topic, const void *payload, size_t len)
{
    json_t *root = NULL;
    struct operation operation = {.core = core, .client = client};
    enum ota_refusal refusal = find_gateway(core, topic, &operation.gateway);
    if (refusal == OTA_REFUSAL_COUNT) {
        refusal = ota_report_read(payload, len, OTA_OPERATION_KEYS, &root);
    }
    if (refusal == OTA_REFUSAL_COUNT) {
        refusal = act(&operation, root);
    }
    if (refusal == OTA_REFUSAL_COUNT) {
        ota_devices_seen(core, operation.gateway);
    }
    json_decref(root);
    return refusal;
}

enum ota_intake_verdict ota_operation_take(struct ota_intake *intake,
                                           const struct mosquitto *client,
                                           const struct ota_topic *topic, const void *payload,
                                           size_t len)
{
    enum ota_refusal refusal = take(intake->core, client, topic, payload, len);
    if (refusal == OTA_REFUSAL_COUNT) {
        return OTA_INTAKE_TAKEN;
    }
    ota_intake_refuse(intake, client, refusal);
    return OTA_INTAKE_REFUSED;
}
