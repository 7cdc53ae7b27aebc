/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: when a task needs attention next, and why a waiting one waits.
 * Thread: the broker's.
 * Frees: nothing.
 */
#ifndef OTA_TASK_PLAN_H
#define OTA_TASK_PLAN_H

#include "core.h"

/* Decides when the task needs attention next and puts it into the heap. */
void ota_tasks_plan(struct ota_core *core, struct ota_task *task);

/* What the rules for notices say at these moments (device-protocol.md "When it is sent"). */
void ota_tasks_connected(struct ota_core *core, struct ota_task *task);
void ota_tasks_reported_version(struct ota_core *core, struct ota_task *task);
void ota_tasks_asked_notice(struct ota_core *core, struct ota_task *task);
void ota_tasks_disconnected(struct ota_core *core, struct ota_task *task);
/* A gateway's connection is the device's now, but it hasn't asked for its messages yet. */
void ota_tasks_announced(struct ota_core *core, struct ota_task *task);

/* Sends the notice of the running attempt once more, and plans the next. */
void ota_tasks_repeat_notice(struct ota_core *core, struct ota_task *task);

/* Plans a task again that could not be written; what failed though the database works is left aside
 * for a minute: it must not hold up the others. */
void ota_tasks_set_aside(struct ota_core *core, struct ota_task *task, enum ota_err err);

/* Whether something keeps a task back that could be told else: the device's hold, or that its
 * gateway is at another one. Only before the first notice of an attempt. */
bool ota_tasks_is_kept_back(const struct ota_core *core, const struct ota_task *task);

/* Why a waiting task of a connected device waits. */
enum ota_wait ota_tasks_wait(const struct ota_core *core, const struct ota_task *task);

#endif
