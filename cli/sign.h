/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the signature of an announcement: over which order, with which key.
 * Thread: main.
 * Frees: nothing that outlives a call.
 */
#ifndef OTA_CLI_SIGN_H
#define OTA_CLI_SIGN_H

#include "session.h"

/* Adds order and signature to addFirmware's fields, where the job asks for it. The order is the one
 * that was given, else one more than the highest that the server has. */
enum ota_exit ota_sign_announcement(struct ota_session *session, const struct ota_job *job,
                                    json_t *announcement, struct ota_failure *failure) OTA_CHECKED;

#endif
