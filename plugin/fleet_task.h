/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: unfinished tasks in memory, and their places in device, firmware and batch.
 * Thread: the broker's.
 * Frees: ota_task_free; ota_fleet_free frees all that are linked.
 */
#ifndef OTA_FLEET_TASK_H
#define OTA_FLEET_TASK_H

#include "fleet.h"

/* What the state machine reads of a row; retry_on stays the row's. */
void ota_upgrade_of_row(const struct ota_task_row *row, struct ota_upgrade *up);
/* Makes a task from a row without linking it: no step that can fail is left after this. */
struct ota_task *ota_task_new(struct ota_fleet *fleet, const struct ota_task_row *row);
void ota_task_free(struct ota_fleet *fleet, struct ota_task *task);
/* Which failures have it tried again; NULL: the default. */
const char *ota_task_retry_on(const struct ota_task *task);
void ota_fleet_link_task(struct ota_fleet *fleet, struct ota_task *task);
void ota_fleet_unlink_task(struct ota_fleet *fleet, struct ota_task *task);

#endif
