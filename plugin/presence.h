/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: who is connected as which device, as far as Mosquitto 2.0 lets it be known: from what a
 *       client does (mosquitto-facts.md, 17). Keyed by connection, never by client id alone.
 * Thread: the broker's.
 * Frees: nothing.
 */
#ifndef OTA_PRESENCE_H
#define OTA_PRESENCE_H

#include "core.h"

enum ota_sign { OTA_SIGN_SUBSCRIBED, OTA_SIGN_REPORTED };

/* The client just acted as the device: it is the device's connection from now on. False: memory is
 * out, and the device isn't known as connected. */
bool ota_presence_sign(struct ota_core *core, const struct mosquitto *client,
                       struct ota_device *device, enum ota_sign sign);
/* The same where the client is the gateway that the device is bound to. */
bool ota_presence_sign_by_gateway(struct ota_core *core, const struct mosquitto *client,
                                  struct ota_device *device, enum ota_sign sign);

/* The gateway says that the device, which is bound to it, is there, or isn't any more. A device
 * that has a connection of its own keeps it. False: memory is out. */
bool ota_presence_announce(struct ota_core *core, const struct mosquitto *client,
                           struct ota_device *device);
void ota_presence_leave(struct ota_core *core, const struct mosquitto *client,
                        struct ota_device *device);

/* Makes room for what the client is about to be; false: memory is out. What came to nothing is
 * taken back. */
OTA_CHECKED bool ota_presence_prepare(struct ota_core *core, const struct mosquitto *client);
void ota_presence_unprepare(struct ota_core *core, const struct mosquitto *client);

/* The connection is over, and with it the presence of all devices that it spoke for. */
void ota_presence_gone(struct ota_core *core, const struct mosquitto *client);

#endif
