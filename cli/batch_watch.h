/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: following a batch live, and what its end means for the exit status.
 * Thread: main.
 * Frees: nothing that outlives a call.
 */
#ifndef OTA_CLI_BATCH_WATCH_H
#define OTA_CLI_BATCH_WATCH_H

#include "session.h"

/* "batch watch BATCH" */
enum ota_exit ota_batch_watch_run(struct ota_session *session, const struct ota_job *job,
                                  struct ota_failure *failure);

/* A verb whose answer is a batch: tells what became of it, or follows it with --watch. */
enum ota_exit ota_batch_watch_run_steered(struct ota_session *session, const struct ota_job *job,
                                          struct ota_failure *failure);

/* The same of an answer (borrowed) that is there. */
enum ota_exit ota_batch_watch_answer(struct ota_session *session, const struct ota_job *job,
                                     const json_t *data, struct ota_failure *failure);

#endif
