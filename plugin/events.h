/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what listeners are told: the messages on $ota/event/… (device-protocol.md "Events").
 * Thread: the broker's.
 * Frees: nothing.
 */
#ifndef OTA_EVENTS_H
#define OTA_EVENTS_H

#include "batch.h"
#include "core.h"

struct ota_task_news {
    int64_t task;
    int64_t batch; /* 0: none */
    const struct ota_upgrade *up;
    const char *version; /* the target */
};

static inline struct ota_task_news ota_events_news_of(const struct ota_task *task,
                                                      const char *version)
{
    return (struct ota_task_news){task->id, task->batch != NULL ? task->batch->row.id : 0,
                                  &task->up, version};
}

void ota_events_task(struct ota_core *core, const struct ota_device *device,
                     const struct ota_task_news *news);
void ota_events_version(struct ota_core *core, const struct ota_device *device);
void ota_events_presence(struct ota_core *core, const struct ota_device *device);
void ota_events_batch(struct ota_core *core, const struct ota_batch *batch);
/* what: "added" or "deleted". */
void ota_events_firmware(struct ota_core *core, const char *product, const char *version,
                         const char *what);

#endif
