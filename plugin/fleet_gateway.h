/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: which devices are bound to which gateway, and with whom a gateway is busy.
 * Thread: the broker's.
 * Frees: ota_fleet_unbind; a device that is removed takes its bonds along; ota_fleet_free frees
 * all.
 *
 * Few devices are bound: so a bond is beside the device, which only says that it has one.
 */
#ifndef OTA_FLEET_GATEWAY_H
#define OTA_FLEET_GATEWAY_H

#include "fleet.h"

/* So many devices are bound to a gateway at most: when it goes, all of them go at once. */
#define OTA_BOUND_MAX 250

/* A device that others are bound to. */
struct ota_gateway {
    struct ota_device *device;
    struct ota_bond *bonds; /* list through next */
    uint32_t count;
    uint32_t busy; /* bonds that are counted */
};

/* That a device is bound. */
struct ota_bond {
    struct ota_device *device;
    struct ota_gateway *gateway;
    struct ota_bond *prev;
    struct ota_bond *next;
    bool by_gateway : 1; /* its connection is the gateway's, or was when it had one */
    bool listens : 1;    /* on that connection it subscribed to its update topic, or it reported */
    bool claimed : 1;    /* its first notice is being written */
    bool counted : 1;    /* among those that the gateway is busy with */
};

/* The device's bond, or NULL. */
struct ota_bond *ota_fleet_find_bond(const struct ota_fleet *fleet,
                                     const struct ota_device *device);
static inline struct ota_bond *ota_fleet_bond(const struct ota_fleet *fleet,
                                              const struct ota_device *device)
{
    return device->bound ? ota_fleet_find_bond(fleet, device) : NULL;
}

/* What the device is as a gateway; NULL: nobody is bound to it. */
struct ota_gateway *ota_fleet_gateway(const struct ota_fleet *fleet,
                                      const struct ota_device *device);

/* The gateway that the device is bound to; NULL, too, where that is being deleted. */
const struct ota_device *ota_fleet_gateway_of(const struct ota_fleet *fleet,
                                              const struct ota_device *device);

/* The device isn't bound yet. NULL: memory is out. */
struct ota_bond *ota_fleet_bind(struct ota_fleet *fleet, struct ota_device *device,
                                struct ota_device *gateway);
void ota_fleet_unbind(struct ota_fleet *fleet, struct ota_bond *bond);
/* The same since the gateway goes: who is connected through it isn't any more (fleet->orphaned). */
void ota_fleet_orphan(struct ota_fleet *fleet, struct ota_bond *bond);
/* All that the device has, as a sub-device and as a gateway. */
void ota_fleet_drop_bonds(struct ota_fleet *fleet, struct ota_device *device);
void ota_fleet_free_bonds(struct ota_fleet *fleet);

/* After something that the gateway's being busy depends on; true: it has just become free. */
bool ota_bond_recount(struct ota_bond *bond);

/* Whether a waiting task has to wait since the gateway that the device is reached through is busy
 * with another, or hasn't subscribed for this one yet. */
bool ota_fleet_waits_for_gateway(const struct ota_fleet *fleet, const struct ota_task *task);

#endif
