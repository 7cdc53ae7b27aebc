/* SPDX-License-Identifier: BSD-3-Clause */
#include "presence.h"

#include "broker.h"
#include "devices.h"
#include "events.h"
#include "fleet_conn.h"
#include "fleet_gateway.h"
#include "task_line.h"
#include "task_plan.h"

/* False: memory is out. One without a client id is nobody's connection: then *conn is NULL. */
static bool find_conn(struct ota_core *core, const struct mosquitto *client, struct ota_conn **conn)
{
    *conn = ota_fleet_conn(&core->fleet, client);
    const char *client_id = *conn == NULL ? ota_broker_client_id(client) : NULL;
    if (client_id != NULL) {
        *conn = ota_fleet_add_conn(&core->fleet, client, client_id);
    }
    return *conn != NULL || client_id == NULL;
}

static void take_over(struct ota_core *core, struct ota_device *device, struct ota_conn *conn)
{
    struct ota_conn *old = device->conn;
    ota_fleet_set_conn(&core->fleet, device, conn);
    ota_fleet_drop_idle_conn(&core->fleet, old);
    if (old == NULL) {
        ota_events_presence(core, device);
    }
}

bool ota_presence_prepare(struct ota_core *core, const struct mosquitto *client)
{
    struct ota_conn *conn;
    return find_conn(core, client, &conn);
}

void ota_presence_unprepare(struct ota_core *core, const struct mosquitto *client)
{
    ota_fleet_drop_idle_conn(&core->fleet, ota_fleet_conn(&core->fleet, client));
}

/* Of a bound device: how it is reached. True: from now on it hears what is sent there. */
static bool note_way(struct ota_core *core, struct ota_device *device, bool same_conn,
                     bool by_gateway)
{
    struct ota_bond *bond = ota_fleet_bond(&core->fleet, device);
    if (bond == NULL) {
        return false;
    }
    bool heard = same_conn && !bond->listens;
    bond->listens = true;
    bond->by_gateway = by_gateway || (same_conn && bond->by_gateway);
    ota_line_look(core, device);
    return heard;
}

static bool is_forgotten(const struct ota_task *task)
{
    return task->next_notice == 0 && !task->progress_seen;
}

static bool note_sign(struct ota_core *core, const struct mosquitto *client,
                      struct ota_device *device, enum ota_sign sign, bool by_gateway)
{
    struct ota_conn *conn;
    bool known = find_conn(core, client, &conn);
    if (conn == NULL) {
        return known;
    }
    bool same = device->conn == conn;
    bool heard = note_way(core, device, same, by_gateway);
    if (!same) {
        take_over(core, device, conn);
    }
    if (device->task != NULL &&
        (!same || heard || (sign == OTA_SIGN_SUBSCRIBED && is_forgotten(device->task)))) {
        ota_tasks_connected(core, device->task);
    }
    ota_devices_seen(core, device);
    return true;
}

bool ota_presence_sign(struct ota_core *core, const struct mosquitto *client,
                       struct ota_device *device, enum ota_sign sign)
{
    return note_sign(core, client, device, sign, false);
}

bool ota_presence_sign_by_gateway(struct ota_core *core, const struct mosquitto *client,
                                  struct ota_device *device, enum ota_sign sign)
{
    return note_sign(core, client, device, sign, true);
}

/* Nothing is sent there before it asks for it: it may not have subscribed yet. */
static void change_to_announced(struct ota_core *core, struct ota_device *device,
                                struct ota_conn *conn, struct ota_bond *bond)
{
    bond->by_gateway = true;
    bond->listens = false;
    take_over(core, device, conn);
    ota_line_look(core, device);
    if (device->task != NULL) {
        ota_tasks_announced(core, device->task);
    }
}

bool ota_presence_announce(struct ota_core *core, const struct mosquitto *client,
                           struct ota_device *device)
{
    struct ota_bond *bond = ota_fleet_bond(&core->fleet, device);
    struct ota_conn *conn = ota_fleet_conn(&core->fleet, client);
    bool has_its_own = device->conn != NULL && device->conn != conn && !bond->by_gateway;
    if (has_its_own) {
        return true;
    }
    if (!find_conn(core, client, &conn)) {
        return false;
    }
    if (conn != NULL && device->conn != conn) {
        change_to_announced(core, device, conn, bond);
    } else if (conn != NULL) {
        bond->by_gateway = true; /* it also spoke as the device: device_identity none */
        ota_line_look(core, device);
    }
    ota_devices_seen(core, device);
    return true;
}

void ota_presence_leave(struct ota_core *core, const struct mosquitto *client,
                        struct ota_device *device)
{
    struct ota_conn *conn = ota_fleet_conn(&core->fleet, client);
    if (conn != NULL && device->conn == conn) {
        ota_devices_offline(core, device);
        ota_fleet_drop_idle_conn(&core->fleet, conn);
    }
}

void ota_presence_gone(struct ota_core *core, const struct mosquitto *client)
{
    struct ota_conn *conn = ota_fleet_conn(&core->fleet, client);
    if (conn == NULL) {
        return;
    }
    struct ota_device *device;
    while ((device = conn->devices) != NULL) {
        ota_devices_offline(core, device);
    }
    ota_fleet_remove_conn(&core->fleet, conn);
}
