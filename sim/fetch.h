/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: a device's download: asking, resuming, saying percentages, what an answer's status means.
 * Thread: the loop's. It ends in ota_upgrade_complete(), _fail() or _strike().
 * Frees: nothing; what it makes hangs on the device.
 */
#ifndef OTA_SIM_FETCH_H
#define OTA_SIM_FETCH_H

#include "device.h"

/* Of the notice that the device holds. Goes on where its image ends. */
void ota_fetch_start(struct ota_device *device);
void ota_fetch_stop(struct ota_device *device);

/* Bytes that came another way than by HTTP; false: that is the download's end, well or not. */
bool ota_fetch_add(struct ota_device *device, const void *data, size_t len);
void ota_fetch_end(struct ota_device *device, const struct ota_transfer_end *end);

/* Bytes a second that it is held to; 0: none. */
int64_t ota_fetch_speed(const struct ota_device *device);

unsigned ota_fetch_percent(const struct ota_device *device);
void ota_fetch_say(struct ota_device *device);

/* Says a percentage, when it is time to. For the device's timer. */
void ota_fetch_tick(void *device);

#endif
