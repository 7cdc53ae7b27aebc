/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: binding devices to gateways, in store and memory alike, and what becomes of a device whose
 *       gateway goes.
 * Thread: the broker's.
 * Frees: nothing of the caller's.
 */
#ifndef OTA_GATEWAYS_H
#define OTA_GATEWAYS_H

#include "core.h"

/* Both in an open transaction (ota_core_begin), and fail where it can't be stored or memory is out;
 * a rollback takes them back. Who may be bound to whom is checked before (commands/gateway.c). The
 * first: the device isn't bound. */
OTA_CHECKED enum ota_err ota_gateways_bind(struct ota_core *core, struct ota_device *device,
                                           struct ota_device *gateway, struct ota_error *error);
/* The second: it is bound. Who was connected through the gateway isn't any more. */
OTA_CHECKED enum ota_err ota_gateways_unbind(struct ota_core *core, struct ota_device *device,
                                             struct ota_error *error);

/* As fleet.orphaned; data is the core. */
void ota_gateways_orphaned(void *data, struct ota_device *device, bool connected);

#endif
