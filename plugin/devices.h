/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: making products, devices and their versions in store and memory alike.
 * Thread: the broker's; all in an open transaction (ota_core_begin).
 * Frees: nothing of the caller's.
 */
#ifndef OTA_DEVICES_H
#define OTA_DEVICES_H

#include "core.h"

/* Fills row->id. */
OTA_CHECKED enum ota_err ota_devices_add_product(struct ota_core *core, struct ota_product_row *row,
                                                 struct ota_error *error);

/* Fills row->id; version and version_at of row are taken as a first report. */
OTA_CHECKED enum ota_err ota_devices_add(struct ota_core *core, struct ota_device_row *row,
                                         struct ota_device **device, struct ota_error *error);

/* The device says that it runs text now, which is another version than before. */
OTA_CHECKED enum ota_err ota_devices_set_version(struct ota_core *core, struct ota_device *device,
                                                 const char *text, struct ota_error *error);

OTA_CHECKED enum ota_err ota_devices_remove(struct ota_core *core, struct ota_device *device,
                                            struct ota_error *error);

/* A report or a subscription of the device just came in. */
void ota_devices_seen(struct ota_core *core, struct ota_device *device);

#endif
