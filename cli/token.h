/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: showing a new token, which nobody can show again.
 * Thread: main.
 * Frees: nothing.
 */
#ifndef OTA_CLI_TOKEN_H
#define OTA_CLI_TOKEN_H

#include "session.h"

/* Runs "token create". */
enum ota_exit ota_token_create_run(struct ota_session *session, const struct ota_job *job,
                                   struct ota_failure *failure);

#endif
