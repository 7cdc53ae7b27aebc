/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: making tasks: in the store, then in memory, at once or many together.
 * Thread: the broker's.
 * Frees: nothing of the caller's.
 */
#ifndef OTA_TASK_MAKE_H
#define OTA_TASK_MAKE_H

#include "core.h"

/* What an upgrade is made of; texts stay the caller's. */
struct ota_task_order {
    struct ota_device *device;
    struct ota_firmware *firmware;
    int64_t batch_id; /* 0: none */
    int64_t timeout_ms;
    bool reinstall;
    int retry_max;
    int64_t retry_delay_ms;
    const char *retry_on; /* "" for the default */
};

/* In an open transaction: stores the task; memory and listeners follow at the commit. */
OTA_CHECKED enum ota_err ota_tasks_create(struct ota_core *core, const struct ota_task_order *order,
                                          int64_t *id, struct ota_error *error);

/* The same for each of the devices, which have no unfinished task and whose ids rise; order->device
 * and order->reinstall are left aside: who runs the version already has it installed again. */
OTA_CHECKED enum ota_err ota_tasks_create_many(struct ota_core *core,
                                               const struct ota_task_order *order,
                                               const uint32_t *devices, size_t count,
                                               struct ota_error *error);

/* Brings the stored task into memory at the commit; `before` is what an old one was that is tried
 * again, NULL for a new one. From here on nothing can fail but the commit: all memory that is
 * needed is there. */
OTA_CHECKED enum ota_err ota_tasks_announce(struct ota_core *core, const struct ota_task_row *row,
                                            const struct ota_upgrade *before,
                                            struct ota_error *error);

#endif
