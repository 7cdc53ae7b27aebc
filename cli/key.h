/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: `key create` and `key show`: what needs no server, since no server may have a private key.
 * Thread: main.
 * Frees: nothing that outlives a call.
 */
#ifndef OTA_CLI_KEY_H
#define OTA_CLI_KEY_H

#include "session.h"

enum ota_exit ota_key_create_run(struct ota_session *session, const struct ota_job *job,
                                 struct ota_failure *failure);
enum ota_exit ota_key_show_run(struct ota_session *session, const struct ota_job *job,
                               struct ota_failure *failure);

#endif
