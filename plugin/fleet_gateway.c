/* SPDX-License-Identifier: BSD-3-Clause */
#include "fleet_gateway.h"

#include <stdlib.h>

#include "fleet_conn.h"

static uint64_t hash_device(const struct ota_fleet *fleet, const struct ota_device *device)
{
    return ota_hash(&fleet->key, device->id, "", 0);
}

static bool bond_equal(const void *item, const void *key)
{
    return ((const struct ota_bond *)item)->device == key;
}

static bool gateway_equal(const void *item, const void *key)
{
    return ((const struct ota_gateway *)item)->device == key;
}

struct ota_bond *ota_fleet_find_bond(const struct ota_fleet *fleet, const struct ota_device *device)
{
    return ota_index_find(&fleet->bonds, hash_device(fleet, device), bond_equal, device);
}

struct ota_gateway *ota_fleet_gateway(const struct ota_fleet *fleet,
                                      const struct ota_device *device)
{
    return ota_index_find(&fleet->gateways, hash_device(fleet, device), gateway_equal, device);
}

const struct ota_device *ota_fleet_gateway_of(const struct ota_fleet *fleet,
                                              const struct ota_device *device)
{
    const struct ota_bond *bond = ota_fleet_bond(fleet, device);
    return bond != NULL && !ota_device_is_doomed(bond->gateway->device) ? bond->gateway->device
                                                                        : NULL;
}

/* --- binding -------------------------------------------------------------------------------- */

static struct ota_gateway *make_gateway(struct ota_fleet *fleet, struct ota_device *device)
{
    struct ota_gateway *gateway = ota_fleet_gateway(fleet, device);
    if (gateway != NULL) {
        return gateway;
    }
    gateway = calloc(1, sizeof *gateway);
    if (gateway == NULL) {
        return NULL;
    }
    gateway->device = device;
    if (!ota_index_add(&fleet->gateways, hash_device(fleet, device), gateway)) {
        free(gateway);
        return NULL;
    }
    return gateway;
}

static void drop_if_alone(struct ota_fleet *fleet, struct ota_gateway *gateway)
{
    if (gateway != NULL && gateway->bonds == NULL) {
        ota_index_remove(&fleet->gateways, hash_device(fleet, gateway->device), gateway);
        free(gateway);
    }
}

static void join(struct ota_bond *bond, struct ota_gateway *gateway)
{
    bond->gateway = gateway;
    bond->next = gateway->bonds;
    if (bond->next != NULL) {
        bond->next->prev = bond;
    }
    gateway->bonds = bond;
    gateway->count++;
}

static void leave(struct ota_bond *bond)
{
    *(bond->prev != NULL ? &bond->prev->next : &bond->gateway->bonds) = bond->next;
    if (bond->next != NULL) {
        bond->next->prev = bond->prev;
    }
    bond->gateway->count--;
    bond->gateway->busy -= bond->counted;
}

struct ota_bond *ota_fleet_bind(struct ota_fleet *fleet, struct ota_device *device,
                                struct ota_device *gateway)
{
    struct ota_gateway *maker = make_gateway(fleet, gateway);
    struct ota_bond *bond = maker != NULL ? calloc(1, sizeof *bond) : NULL;
    if (bond == NULL || !ota_index_add(&fleet->bonds, hash_device(fleet, device), bond)) {
        free(bond);
        drop_if_alone(fleet, maker);
        return NULL;
    }
    bond->device = device;
    bond->by_gateway = device->conn == NULL; /* else it has a connection of its own */
    bond->listens = device->conn != NULL;
    device->bound = true;
    join(bond, maker);
    return bond;
}

void ota_fleet_unbind(struct ota_fleet *fleet, struct ota_bond *bond)
{
    ota_index_remove(&fleet->bonds, hash_device(fleet, bond->device), bond);
    bond->device->bound = false;
    leave(bond);
    drop_if_alone(fleet, bond->gateway);
    free(bond);
}

void ota_fleet_orphan(struct ota_fleet *fleet, struct ota_bond *bond)
{
    struct ota_device *device = bond->device;
    bool connected = bond->by_gateway && device->conn != NULL;
    ota_fleet_unbind(fleet, bond);
    if (fleet->orphaned != NULL) {
        fleet->orphaned(fleet->orphaned_data, device, connected);
    } else if (connected) {
        ota_fleet_set_conn(fleet, device, NULL);
    }
}

void ota_fleet_drop_bonds(struct ota_fleet *fleet, struct ota_device *device)
{
    struct ota_bond *bond = ota_fleet_bond(fleet, device);
    if (bond != NULL) {
        ota_fleet_unbind(fleet, bond);
    }
    const struct ota_gateway *gateway =
        fleet->gateways.count > 0 ? ota_fleet_gateway(fleet, device) : NULL;
    struct ota_bond *next;
    for (bond = gateway != NULL ? gateway->bonds : NULL; bond != NULL; bond = next) {
        next = bond->next;
        ota_fleet_orphan(fleet, bond); /* the last one takes the gateway along */
    }
}

void ota_fleet_free_bonds(struct ota_fleet *fleet)
{
    void *item;
    for (size_t at = 0; (item = ota_index_next(&fleet->bonds, &at)) != NULL;) {
        free(item);
    }
    for (size_t at = 0; (item = ota_index_next(&fleet->gateways, &at)) != NULL;) {
        free(item);
    }
    ota_index_free(&fleet->bonds);
    ota_index_free(&fleet->gateways);
}

/* --- whose turn it is --------------------------------------------------------------------------
 */

static bool is_busy(const struct ota_bond *bond)
{
    const struct ota_task *task = bond->device->task;
    bool told = bond->claimed || (task != NULL && ota_status_is_timed(task->up.status));
    return told && bond->by_gateway;
}

bool ota_bond_recount(struct ota_bond *bond)
{
    bool was = bond->counted;
    bond->counted = is_busy(bond);
    bond->gateway->busy += (uint32_t)bond->counted - (uint32_t)was;
    return was && bond->gateway->busy == 0;
}

bool ota_fleet_waits_for_gateway(const struct ota_fleet *fleet, const struct ota_task *task)
{
    const struct ota_bond *bond =
        task->up.status == OTA_WAITING ? ota_fleet_bond(fleet, task->device) : NULL;
    return bond != NULL && bond->by_gateway && (bond->gateway->busy > 0 || !bond->listens);
}
