/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the manners of the vendor's SDK and its sample on a connection: what it doesn't hear, when
 * it says its version, how long it waits.
 * Thread: the loop's.
 * Frees: nothing; what it remembers lies in the device.
 */
#ifndef OTA_SIM_VENDOR_H
#define OTA_SIM_VENDOR_H

#include "device.h"

#define OTA_VENDOR_POLL_MS   1200  /* at most, from a notice to its download */
#define OTA_VENDOR_COOL_MS   3500  /* from a fail to the next report */
#define OTA_VENDOR_COOL_4_MS 13500 /* the same after -4 */

/* How long that takes in this run: --haste makes all that the device itself waits for shorter, and
 * leaves its patience with others as it is. */
int64_t ota_vendor_wait(const struct ota_device *device, int64_t ms);

/* It can't even form its topics otherwise. */
enum ota_err ota_vendor_check_names(const char *product, const char *device,
                                    struct ota_error *error) OTA_CHECKED;

/* Its subscription stands. */
void ota_vendor_greet(struct ota_device *device);

/* Why it doesn't hear a message, or NULL. */
const char *ota_vendor_why_deaf(struct ota_device *device, const struct ota_link_message *message);

/* Why it doesn't take a notice, or NULL. same: as the last one. */
const char *ota_vendor_why_not(const struct ota_device *device, bool same);

#endif
