/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: batches on stdout: whole, in a sentence, as rows of a list, as a dry run foresees them.
 * Thread: main.
 * Frees: rows belong to the caller.
 */
#ifndef OTA_CLI_BATCH_SHOW_H
#define OTA_CLI_BATCH_SHOW_H

#include "session.h"

/* "batch show BATCH" */
enum ota_exit ota_batch_show_run(struct ota_session *session, const struct ota_job *job,
                                 struct ota_failure *failure);

/* What became of it, and what can be done next. */
void ota_batch_show_brief(const json_t *batch);

/* fields: what createBatch was sent; data: what a dry run answered. */
void ota_batch_show_trial(const json_t *fields, const json_t *data);

/* listBatches' rows as they are shown. New reference. */
json_t *ota_batch_show_rows(const json_t *batches) OTA_CHECKED;

#endif
