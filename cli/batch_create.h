/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: making a batch: the target out of options, names out of files, and lists that are longer
 *       than one command takes.
 * Thread: main.
 * Frees: nothing that outlives a call.
 */
#ifndef OTA_CLI_BATCH_CREATE_H
#define OTA_CLI_BATCH_CREATE_H

#include "session.h"

/* "batch create PRODUCT VERSION" */
enum ota_exit ota_batch_create_run(struct ota_session *session, const struct ota_job *job,
                                   struct ota_failure *failure);

/* "batch add BATCH NAME…" */
enum ota_exit ota_batch_add_run(struct ota_session *session, const struct ota_job *job,
                                struct ota_failure *failure);

#endif
