/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: moving tasks: the state machine's word (upgrade.h) written to the store, then to memory,
 *       then told to device and listeners.
 * Thread: the broker's.
 * Frees: nothing of the caller's.
 */
#ifndef OTA_TASKS_H
#define OTA_TASKS_H

#include "core.h"

/*
 * Applies an event to an unfinished task; message (may be NULL) is what the device said with it.
 * A change is written in the open transaction, or in one of its own where none is open; after
 * that one's commit the task may be gone. A mere percentage is kept in memory and written later.
 */
OTA_CHECKED enum ota_err ota_tasks_apply(struct ota_core *core, struct ota_task *task,
                                         const struct ota_upgrade_event *event, const char *message,
                                         bool *changed, struct ota_error *error);

/* The same for the device's last, finished task; clears may_settle when nothing can come. */
OTA_CHECKED enum ota_err ota_tasks_settle(struct ota_core *core, struct ota_device *device,
                                          const struct ota_task_row *row,
                                          const struct ota_upgrade_event *event, bool *changed,
                                          struct ota_error *error);

#endif
