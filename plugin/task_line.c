/* SPDX-License-Identifier: BSD-3-Clause */
#include "task_line.h"

#include "fleet_gateway.h"
#include "task_plan.h"

/* Who comes first is due first, or is first in the line of its batch; the others leave when their
 * turn comes and the gateway is busy again. */
static void move_up(struct ota_core *core, const struct ota_gateway *gateway)
{
    for (const struct ota_bond *bond = gateway->bonds; bond != NULL; bond = bond->next) {
        struct ota_task *task = bond->device->task;
        if (task != NULL && task->up.status == OTA_WAITING) {
            ota_tasks_plan(core, task);
        }
    }
}

void ota_line_note_bound(struct ota_core *core, struct ota_device *device, bool claimed)
{
    struct ota_bond *bond = ota_fleet_bond(&core->fleet, device);
    if (bond == NULL) {
        return;
    }
    bond->claimed = claimed;
    if (ota_bond_recount(bond)) {
        move_up(core, bond->gateway);
    }
}
