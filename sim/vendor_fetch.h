/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: a download as the vendor's SDK does it, with all that it can't take: in rounds of 4,999
 * bytes, each within a second; one connection an attempt, left open until the next.
 * Thread: the loop's. It ends in ota_upgrade_complete(), _fail() or _strike(), or never.
 * Frees: ota_vendor_fetch_close().
 */
#ifndef OTA_SIM_VENDOR_FETCH_H
#define OTA_SIM_VENDOR_FETCH_H

#include "device.h"

/* Of the notice that the device holds. Goes on where its image ends. */
void ota_vendor_fetch_start(struct ota_device *device);

/* Reads no more; the connection stays. */
void ota_vendor_fetch_stop(struct ota_device *device);

/* The program, or its MQTT connection, is gone, and the download's connection with it. */
void ota_vendor_fetch_close(struct ota_device *device);

/* Looks how long the server takes. For the device's timer. */
void ota_vendor_fetch_tick(struct ota_device *device);

#endif
