/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateways.h"

#include "devices.h"
#include "fleet_conn.h"
#include "fleet_gateway.h"
#include "task_line.h"
#include "task_plan.h"

static void run_bound(struct ota_core *core, struct ota_effect *effect)
{
    ota_line_look(core, effect->item);
}

static void drop_bound(struct ota_core *core, struct ota_effect *effect)
{
    struct ota_bond *bond = ota_fleet_bond(&core->fleet, effect->item);
    if (bond != NULL) {
        ota_fleet_unbind(&core->fleet, bond);
    }
}

enum ota_err ota_gateways_bind(struct ota_core *core, struct ota_device *device,
                               struct ota_device *gateway, struct ota_error *error)
{
    enum ota_err err = ota_device_set_gateway(core->store, device->id, gateway->id, error);
    if (err != OTA_OK) {
        return err;
    }
    struct ota_effect *effect = ota_core_after(core, run_bound, NULL);
    if (effect == NULL || ota_fleet_bind(&core->fleet, device, gateway) == NULL) {
        return ota_error_no_memory(error);
    }
    effect->item = device;
    effect->drop = drop_bound;
    return OTA_OK;
}

void ota_gateways_orphaned(void *data, struct ota_device *device, bool connected)
{
    struct ota_core *core = data;
    if (connected) {
        struct ota_conn *conn = device->conn;
        ota_devices_offline(core, device);
        ota_fleet_drop_idle_conn(&core->fleet, conn);
    } else if (device->task != NULL) {
        ota_tasks_plan(core, device->task); /* it waits for nobody any more */
    }
}

static void run_unbound(struct ota_core *core, struct ota_effect *effect)
{
    struct ota_device *device = effect->item;
    struct ota_bond *bond = ota_fleet_bond(&core->fleet, device);
    if (bond == NULL) {
        return;
    }
    bool connected = bond->by_gateway && device->conn != NULL;
    bond->by_gateway = false; /* the gateway isn't busy with it any more */
    ota_line_look(core, device);
    ota_fleet_unbind(&core->fleet, bond);
    ota_gateways_orphaned(core, device, connected);
}

enum ota_err ota_gateways_unbind(struct ota_core *core, struct ota_device *device,
                                 struct ota_error *error)
{
    enum ota_err err = ota_device_set_gateway(core->store, device->id, 0, error);
    if (err != OTA_OK) {
        return err;
    }
    struct ota_effect *effect = ota_core_after(core, run_unbound, NULL);
    if (effect == NULL) {
        return ota_error_no_memory(error);
    }
    effect->item = device;
    return OTA_OK;
}
