/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: following a task live, and what its end means for the exit status.
 * Thread: main.
 * Frees: nothing that outlives a call.
 */
#ifndef OTA_CLI_WATCH_H
#define OTA_CLI_WATCH_H

#include "session.h"

#define OTA_WATCH_FOR_EVER (-1)

/* How long a success may wait for its proof before it is left: what --until says. */
int64_t ota_watch_grace(const struct ota_job *job);

/* "task watch TASK" */
enum ota_exit ota_watch_run(struct ota_session *session, const struct ota_job *job,
                            struct ota_failure *failure);

/* A verb whose answer is a task: shows it, or follows it with --watch. */
enum ota_exit ota_watch_run_started(struct ota_session *session, const struct ota_job *job,
                                    struct ota_failure *failure);

#endif
