/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: a gateway: one connection over which it speaks for all devices, as the vendor's sample
 *       does: announces one after the other, and lets one at a time download.
 * Thread: the loop's.
 * Frees: ota_gateway_free().
 */
#ifndef OTA_SIM_GATEWAY_H
#define OTA_SIM_GATEWAY_H

#include "device.h"

struct ota_gateway;

/* With room for all devices. */
enum ota_err ota_gateway_new(struct ota_world *world, struct ota_gateway **gateway,
                             struct ota_error *error) OTA_CHECKED;
/* NULL is fine. */
void ota_gateway_free(struct ota_gateway *gateway);

/* From now on the device's link is carried by the gateway. */
void ota_gateway_add(struct ota_gateway *gateway, struct ota_device *device);

void ota_gateway_start(struct ota_gateway *gateway);

/* Whether the text is "P/D", as --gateway takes it. */
bool ota_gateway_is_name(const char *text);

#endif
