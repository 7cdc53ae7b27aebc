/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what getStats answers, for people: versions, statuses and failures as tables.
 * Thread: main.
 * Frees: nothing that outlives a call.
 */
#ifndef OTA_CLI_STATS_H
#define OTA_CLI_STATS_H

#include "session.h"

/* "stats" */
enum ota_exit ota_stats_run(struct ota_session *session, const struct ota_job *job,
                            struct ota_failure *failure);

#endif
