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

/* What is to be known of a device before it is removed: its tasks in batches. Zeroed at first. */
struct ota_departure {
    int64_t device_id;
    int64_t looked_to; /* a task's id */
    int64_t *tasks;
    size_t count;
    size_t capacity;
};

/* Looks at the device's tasks until `end` (monotonic ms); OTA_AGAIN: there are more. */
OTA_CHECKED enum ota_err ota_devices_look_back(struct ota_core *core,
                                               const struct ota_device *device,
                                               struct ota_departure *departure, int64_t end,
                                               struct ota_error *error);
void ota_departure_free(struct ota_departure *departure);

/* Nobody sees the device any more, and its tasks leave the tallies of their batches; its rows go
 * in slices. The look back must have come to its end in this tick. */
OTA_CHECKED enum ota_err ota_devices_depart(struct ota_core *core, struct ota_device *device,
                                            const struct ota_departure *departure,
                                            struct ota_error *error);
/* Both at once, however long the look back takes. */
OTA_CHECKED enum ota_err ota_devices_remove(struct ota_core *core, struct ota_device *device,
                                            struct ota_error *error);

/* A report or a subscription of the device just came in. */
void ota_devices_seen(struct ota_core *core, struct ota_device *device);

/* The device is connected no more. Its connection may speak for nobody now. */
void ota_devices_offline(struct ota_core *core, struct ota_device *device);

#endif
