/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what is too old to be kept (option keep_history_days): tasks that ended, with their
 *       history, and versions that were reported. What a device did last stays.
 * Thread: the broker's; a slice a tick.
 * Frees: nothing.
 */
#ifndef OTA_RETENTION_H
#define OTA_RETENTION_H

#include "core.h"

/*
 * Nothing tells which tasks are old but their order: an index on the time of their end would be
 * rewritten by every upgrade. So a round a minute looks at some, in the order in which they were
 * made, from where the last one stopped.
 */
struct ota_retention {
    int64_t next_round; /* monotonic ms */
    int64_t task_at;    /* tasks up to this id were looked at */
    uint32_t device_at; /* and devices */
    int tasks_left;     /* to be looked at in this round */
    int devices_left;
};

/* Looks at some and removes what is old, for two milliseconds; true: there is more to do soon. */
bool ota_retention_tick(struct ota_retention *retention, struct ota_core *core);

#endif
