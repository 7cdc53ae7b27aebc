/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: a download over the device's MQTT connection, window by window; what it has, and how it
 *       ends, is fetch.c's.
 * Thread: the loop's.
 * Frees: nothing; its state hangs on the device.
 */
#ifndef OTA_SIM_INBAND_H
#define OTA_SIM_INBAND_H

#include "device.h"

/* Asks for what comes behind the device's image; nothing while it isn't connected. */
void ota_inband_ask(struct ota_device *device);

/* Whether the message is a block, which is then taken. */
bool ota_inband_take(struct ota_device *device, const struct ota_link_message *message);

/* The server's no. */
void ota_inband_refused(struct ota_device *device, const struct ota_message *message);

/* The connection is gone, or stands again: its requests went with it. */
void ota_inband_lost(struct ota_device *device);
void ota_inband_resume(struct ota_device *device);

#endif
