/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: lists: page after page until the end, whatever a page holds.
 * Thread: main.
 * Frees: nothing that outlives a call.
 */
#ifndef OTA_CLI_LIST_H
#define OTA_CLI_LIST_H

#include "session.h"

enum ota_exit ota_list_run(struct ota_session *session, const struct ota_job *job,
                           struct ota_failure *failure);

#endif
