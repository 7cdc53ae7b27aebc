/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: a device's way from a notice to an upgrade's outcome, and where faults strike.
 * Thread: the loop's.
 * Frees: nothing; what it makes hangs on the device.
 */
#ifndef OTA_SIM_UPGRADE_H
#define OTA_SIM_UPGRADE_H

#include "codes.h"
#include "device.h"

void ota_upgrade_notice(struct ota_device *device, const struct ota_notice *notice);
void ota_upgrade_cancel(struct ota_device *device, const struct ota_notice *notice);

/* The connection is gone, and not because the device closed it. */
void ota_upgrade_cut_off(struct ota_device *device);

/* The version report after a reboot has arrived. */
void ota_upgrade_proved(struct ota_device *device);

bool ota_upgrade_is_busy(const struct ota_device *device);

/* The download's outcomes. */
void ota_upgrade_complete(struct ota_device *device);
void ota_upgrade_fail(struct ota_device *device, int code);
void ota_upgrade_crash(struct ota_device *device);
void ota_upgrade_strike(struct ota_device *device); /* its fault's byte is reached */

#endif
