/* SPDX-License-Identifier: BSD-3-Clause */
#include "presence.h"

#include "broker.h"
#include "devices.h"
#include "events.h"
#include "fleet_conn.h"
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

static void drop_if_idle(struct ota_core *core, struct ota_conn *conn)
{
    if (conn != NULL && conn->devices == NULL) {
        ota_fleet_remove_conn(&core->fleet, conn);
    }
}

static void take_over(struct ota_core *core, struct ota_device *device, struct ota_conn *conn)
{
    struct ota_conn *old = device->conn;
    ota_fleet_set_conn(&core->fleet, device, conn);
    drop_if_idle(core, old);
    if (old == NULL) {
        ota_events_presence(core, device);
    }
    if (device->task != NULL) {
        ota_tasks_connected(core, device->task);
    }
}

bool ota_presence_prepare(struct ota_core *core, const struct mosquitto *client)
{
    struct ota_conn *conn;
    return find_conn(core, client, &conn);
}

void ota_presence_unprepare(struct ota_core *core, const struct mosquitto *client)
{
    drop_if_idle(core, ota_fleet_conn(&core->fleet, client));
}

bool ota_presence_sign(struct ota_core *core, const struct mosquitto *client,
                       struct ota_device *device, enum ota_sign sign)
{
    struct ota_conn *conn;
    bool known = find_conn(core, client, &conn);
    if (conn == NULL) {
        return known;
    }
    if (device->conn != conn) {
        take_over(core, device, conn);
    } else if (sign == OTA_SIGN_SUBSCRIBED && device->task != NULL &&
               device->task->next_notice == 0 && !device->task->progress_seen) {
        ota_tasks_connected(core, device->task);
    }
    ota_devices_seen(core, device);
    return true;
}

void ota_presence_gone(struct ota_core *core, const struct mosquitto *client)
{
    struct ota_conn *conn = ota_fleet_conn(&core->fleet, client);
    if (conn == NULL) {
        return;
    }
    struct ota_device *device;
    while ((device = conn->devices) != NULL) {
        ota_fleet_set_conn(&core->fleet, device, NULL);
        device->last_seen = ota_now_unix();
        ota_fleet_mark(&core->fleet.dirty, device);
        ota_events_presence(core, device);
        if (device->task != NULL) {
            ota_tasks_disconnected(core, device->task);
        }
    }
    ota_fleet_remove_conn(&core->fleet, conn);
}
