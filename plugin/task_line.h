/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the line before a gateway: of the devices that it speaks for, one at a time is told of an
 *       upgrade, and the next one when that is over.
 * Thread: the broker's.
 * Frees: nothing.
 */
#ifndef OTA_TASK_LINE_H
#define OTA_TASK_LINE_H

#include "core.h"

/* These are for devices that are bound; for the others they cost one look. */
void ota_line_note_bound(struct ota_core *core, struct ota_device *device, bool claimed);

/* The device's first notice is being written: in the same transaction no other of its gateway may
 * be told. It ends with ota_line_look. */
static inline void ota_line_claim(struct ota_core *core, struct ota_device *device)
{
    if (device->bound) {
        ota_line_note_bound(core, device, true);
    }
}

/* The device's task moved, came or went, or how the device is reached: where its gateway has become
 * free, the others are planned anew. */
static inline void ota_line_look(struct ota_core *core, struct ota_device *device)
{
    if (device->bound) {
        ota_line_note_bound(core, device, false);
    }
}

#endif
