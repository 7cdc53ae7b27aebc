/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what a device is told: the notice with its signed URL, the courtesy of a cancel, the answer
 *       to its version report.
 * Thread: the broker's.
 * Frees: nothing.
 */
#ifndef OTA_NOTICE_H
#define OTA_NOTICE_H

#include "core.h"
#include "download.h"

/* Queues the notice to the device's connection, at QoS 0 (tencent-sdk.md, 2); nothing where it
 * has none. */
void ota_notice_send(struct ota_core *core, const struct ota_task *task);
void ota_notice_send_cancel(struct ota_core *core, const struct ota_task *task);
/* The answer to a version report: 0 or none (device-protocol.md "Upstream"). */
void ota_notice_send_answer(struct ota_core *core, const struct ota_device *device,
                            const char *version);

/* The URL of the task's present attempt, into url (OTA_URL_MAX + 1); "" where nobody downloads over
 * HTTP. */
OTA_CHECKED enum ota_err ota_notice_url(const struct ota_core *core, const struct ota_task *task,
                                        char *url);

#endif
