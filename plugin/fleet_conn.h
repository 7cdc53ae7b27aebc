/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: who is connected, as which devices.
 * Thread: the broker's.
 * Frees: ota_fleet_remove_conn; ota_fleet_free frees all.
 */
#ifndef OTA_FLEET_CONN_H
#define OTA_FLEET_CONN_H

#include "fleet.h"

struct ota_conn *ota_fleet_conn(const struct ota_fleet *fleet, const struct mosquitto *client);
struct ota_conn *ota_fleet_add_conn(struct ota_fleet *fleet, const struct mosquitto *client,
                                    const char *client_id);
/* The connection must speak for no device any more. */
void ota_fleet_remove_conn(struct ota_fleet *fleet, struct ota_conn *conn);
/* The same where it speaks for nobody; conn may be NULL. */
void ota_fleet_drop_idle_conn(struct ota_fleet *fleet, struct ota_conn *conn);
/* conn NULL: offline. */
void ota_fleet_set_conn(struct ota_fleet *fleet, struct ota_device *device, struct ota_conn *conn);
void ota_fleet_free_conns(struct ota_fleet *fleet);

#endif
