/* SPDX-License-Identifier: BSD-3-Clause */
/* Which gateway speaks for which device. */
#include <string.h>

#include "../fleet_gateway.h"
#include "../gateways.h"
#include "commands.h"

struct pair {
    struct ota_device *device;
    struct ota_device *gateway;
    struct ota_bond *bond; /* the device's; NULL: none */
};

static enum ota_err find_gateway(struct ota_call *call, struct ota_device **gateway)
{
    const char *product_name = ota_field_text(call->fields, "gatewayProduct");
    const char *name = ota_field_text(call->fields, "gateway");
    const struct ota_product *product =
        ota_fleet_product(&call->core->fleet, product_name, strlen(product_name));
    if (product == NULL) {
        return ota_error_set(&call->error, OTA_NOT_FOUND, "gatewayProduct",
                             "there is no product %s", product_name);
    }
    *gateway = ota_fleet_device(&call->core->fleet, product, name, strlen(name));
    return *gateway != NULL ? OTA_OK
                            : ota_error_set(&call->error, OTA_NOT_FOUND, "gateway",
                                            "product %s has no device %s", product->name, name);
}

static enum ota_err find_pair(struct ota_call *call, struct pair *pair)
{
    struct ota_product *product;
    enum ota_err err = ota_call_device(call, &product, &pair->device);
    if (err == OTA_OK) {
        err = find_gateway(call, &pair->gateway);
    }
    if (err == OTA_OK) {
        pair->bond = ota_fleet_bond(&call->core->fleet, pair->device);
    }
    return err;
}

static enum ota_err refuse_bound(struct ota_call *call, const struct ota_device *device,
                                 const char *field, const char *what_to_do)
{
    const struct ota_device *gateway = ota_fleet_gateway_of(&call->core->fleet, device);
    return ota_error_set(&call->error, OTA_CONFLICT, field, "%s is bound to the gateway %s/%s: %s",
                         device->name, gateway->product->name, gateway->name, what_to_do);
}

/* No device is its own gateway, and no gateway has one itself: whose turn it is, and who speaks for
 * whom, would have no end. */
static enum ota_err check_pair(struct ota_call *call, const struct pair *pair)
{
    const struct ota_fleet *fleet = &call->core->fleet;
    if (pair->device == pair->gateway) {
        return ota_error_set(&call->error, OTA_INVALID_REQUEST, "gateway",
                             "a device can't be its own gateway");
    }
    if (ota_fleet_gateway_of(fleet, pair->device) != NULL) {
        return refuse_bound(call, pair->device, "device", "unbind it first");
    }
    if (ota_fleet_gateway_of(fleet, pair->gateway) != NULL) {
        return refuse_bound(call, pair->gateway, "gateway", "it can't be a gateway itself");
    }
    if (ota_fleet_gateway(fleet, pair->device) != NULL) {
        return ota_error_set(&call->error, OTA_CONFLICT, "device",
                             "%s is a gateway: devices are bound to it", pair->device->name);
    }
    const struct ota_gateway *gateway = ota_fleet_gateway(fleet, pair->gateway);
    if (gateway != NULL && gateway->count >= OTA_BOUND_MAX) {
        return ota_error_set(&call->error, OTA_LIMIT_EXCEEDED, "gateway",
                             "%d devices are bound to %s already: no gateway has more",
                             OTA_BOUND_MAX, pair->gateway->name);
    }
    return OTA_OK;
}

enum ota_err ota_cmd_bind_device(struct ota_call *call)
{
    struct pair pair;
    enum ota_err err = find_pair(call, &pair);
    if (err != OTA_OK) {
        return err;
    }
    bool already = ota_fleet_gateway_of(&call->core->fleet, pair.device) == pair.gateway;
    err = already ? OTA_OK : check_pair(call, &pair);
    if (err == OTA_OK && pair.bond != NULL && !already) { /* to one that is being deleted */
        ota_fleet_orphan(&call->core->fleet, pair.bond);
    }
    if (err == OTA_OK && !already) {
        err = ota_gateways_bind(call->core, pair.device, pair.gateway, &call->error);
    }
    return err == OTA_OK ? ota_call_answer_device(call, pair.device->id) : err;
}

enum ota_err ota_cmd_unbind_device(struct ota_call *call)
{
    struct pair pair;
    enum ota_err err = find_pair(call, &pair);
    if (err != OTA_OK) {
        return err;
    }
    if (ota_fleet_gateway_of(&call->core->fleet, pair.device) != pair.gateway) {
        return ota_error_set(&call->error, OTA_CONFLICT, "gateway", "%s is not bound to %s",
                             pair.device->name, pair.gateway->name);
    }
    err = ota_gateways_unbind(call->core, pair.device, &call->error);
    return err == OTA_OK ? ota_call_answer_device(call, pair.device->id) : err;
}

/* Gateways are named without their product where devices are listed. */
enum ota_err ota_call_gateway(struct ota_call *call, const struct ota_product *product,
                              const struct ota_device **gateway)
{
    const struct ota_fleet *fleet = &call->core->fleet;
    const char *name = ota_field_text(call->fields, "gateway");
    size_t len = strlen(name);
    *gateway = ota_fleet_device(fleet, product, name, len);
    if (*gateway != NULL && ota_fleet_gateway(fleet, *gateway) != NULL) {
        return OTA_OK;
    }
    const struct ota_product *other;
    const struct ota_device *found = NULL;
    for (size_t at = 0; (other = ota_index_next(&fleet->products, &at)) != NULL;) {
        const struct ota_device *device = ota_fleet_device(fleet, other, name, len);
        if (device == NULL || ota_fleet_gateway(fleet, device) == NULL) {
            continue;
        }
        if (found != NULL) {
            return ota_error_set(&call->error, OTA_CONFLICT, "gateway",
                                 "%s/%s and %s/%s are both gateways: list the devices without it, "
                                 "they tell theirs",
                                 found->product->name, name, other->name, name);
        }
        found = device;
    }
    *gateway = found != NULL ? found : *gateway;
    return *gateway != NULL ? OTA_OK
                            : ota_error_set(&call->error, OTA_NOT_FOUND, "gateway",
                                            "there is no gateway %s", name);
}
