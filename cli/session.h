/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: one run of otactl: its settings and its connection; one command and its answer.
 * Thread: main.
 * Frees: the data of an answer belongs to the caller.
 */
#ifndef OTA_CLI_SESSION_H
#define OTA_CLI_SESSION_H

#include <jansson.h>

#include "connect.h"
#include "verb.h"

struct ota_session {
    const struct ota_settings *settings;
    struct ota_link *link;
    int changes; /* commands with a requestId so far */
};

/* The message for that command: its fields (borrowed), and a requestId where it changes
 * something. New reference, or NULL when memory ran out. */
json_t *ota_session_request(struct ota_session *session, enum ota_command_id id,
                            const json_t *fields) OTA_CHECKED;

/* Turns an answer (stolen) into its data, or into a failure. */
enum ota_exit ota_session_read(json_t *answer, json_t **data,
                               struct ota_failure *failure) OTA_CHECKED;

/* Sends a command, and again when the connection is lost, with the same requestId: the server
 * acts once. */
enum ota_exit ota_session_call(struct ota_session *session, enum ota_command_id id,
                               const json_t *fields, json_t **data,
                               struct ota_failure *failure) OTA_CHECKED;

/* Shows an answer as the user wants it; print is for a table. */
void ota_session_show(const struct ota_session *session, const json_t *data,
                      void (*print)(const json_t *data));

/* A verb that is one command: sends it and shows the answer. */
enum ota_exit ota_session_run(struct ota_session *session, const struct ota_job *job,
                              struct ota_failure *failure);

#endif
