/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: making tasks and moving them: the state machine's word (upgrade.h) written to the store,
 *       then to memory, then told to device and listeners. Plans when a task needs attention.
 * Thread: the broker's.
 * Frees: nothing of the caller's.
 */
#ifndef OTA_TASKS_H
#define OTA_TASKS_H

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

void ota_upgrade_of_row(const struct ota_task_row *row, struct ota_upgrade *up);

/* In an open transaction: stores the task; memory and listeners follow at the commit. */
OTA_CHECKED enum ota_err ota_tasks_create(struct ota_core *core, const struct ota_task_order *order,
                                          int64_t *id, struct ota_error *error);

/* The same for each of the devices, which have no unfinished task and whose ids rise; order->device
 * and order->reinstall are left aside: who runs the version already has it installed again. */
OTA_CHECKED enum ota_err ota_tasks_create_many(struct ota_core *core,
                                               const struct ota_task_order *order,
                                               const uint32_t *devices, size_t count,
                                               struct ota_error *error);

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

/* Decides when the task needs attention next and puts it into the heap. */
void ota_tasks_plan(struct ota_core *core, struct ota_task *task);

/* What the rules for notices say at these moments (device-protocol.md "When it is sent"). */
void ota_tasks_connected(struct ota_core *core, struct ota_task *task);
void ota_tasks_reported_version(struct ota_core *core, struct ota_task *task);
void ota_tasks_disconnected(struct ota_core *core, struct ota_task *task);

/* Sends the notice of the running attempt once more, and plans the next. */
void ota_tasks_repeat_notice(struct ota_core *core, struct ota_task *task);

/* Plans a task again that could not be written; what failed though the database works is left aside
 * for a minute: it must not hold up the others. */
void ota_tasks_set_aside(struct ota_core *core, struct ota_task *task, enum ota_err err);

/* Whether the device's hold keeps the task back: only before the first notice of an attempt. */
bool ota_tasks_is_held(const struct ota_task *task);

/* Why a waiting task of a connected device waits. */
enum ota_wait ota_tasks_wait(const struct ota_core *core, const struct ota_task *task);

#endif
