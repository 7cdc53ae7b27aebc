/* SPDX-License-Identifier: BSD-3-Clause */
#include "session.h"

#include <stdio.h>

#include "csv.h"
#include "random.h"
#include "render.h"

#define REQUEST_ID_BYTES 16
#define LOSSES_MAX       5

/* Where a verb is several commands, each has an id of its own, the same in the next run. */
static int add_request_id(struct ota_session *session, json_t *request)
{
    char random[2 * REQUEST_ID_BYTES + 1];
    const char *given = session->settings->request_id;
    session->changes++;
    if (given != NULL && session->changes > 1) {
        return json_object_set_new(request, "requestId",
                                   json_sprintf("%s-%d", given, session->changes));
    }
    ota_random_hex(random, REQUEST_ID_BYTES);
    return json_object_set_new(request, "requestId", json_string(given != NULL ? given : random));
}

/* A block's offset says it all: sent twice, it is stored once. A dry run changes nothing, and the
 * real one after it may have the same id. */
static bool needs_id(const struct ota_command *command, const json_t *fields)
{
    return command->writes && command->id != OTA_CMD_UPLOAD_FIRMWARE_BLOCK &&
           !json_is_true(json_object_get(fields, "dryRun"));
}

json_t *ota_session_request(struct ota_session *session, enum ota_command_id id,
                            const json_t *fields)
{
    const struct ota_command *command = ota_command(id);
    json_t *request = json_pack("{s:s}", "command", command->name);
    int rc = json_object_update(request, (json_t *)fields);
    if (rc == 0 && needs_id(command, fields)) {
        rc = add_request_id(session, request);
    }
    if (rc != 0) {
        json_decref(request);
        request = NULL;
    }
    return request;
}

enum ota_exit ota_session_read(json_t *answer, json_t **data, struct ota_failure *failure)
{
    enum ota_exit rc = OTA_EXIT_OK;
    const char *error = json_string_value(json_object_get(answer, "error"));
    if (error != NULL) {
        const char *code = json_string_value(json_object_get(answer, "code"));
        const char *field = json_string_value(json_object_get(answer, "field"));
        rc = ota_fail(failure, OTA_EXIT_REFUSED, code, field, "%s", error);
        goto out;
    }
    json_t *found = json_object_get(answer, "data");
    *data = json_is_object(found) ? json_incref(found) : json_object();
    if (*data == NULL) {
        rc = ota_fail(failure, OTA_EXIT_CONNECTION, "internal", NULL, "out of memory");
    }
out:
    json_decref(answer);
    return rc;
}

static enum ota_exit exchange(struct ota_session *session, const json_t *request, json_t **data,
                              struct ota_failure *failure)
{
    uint64_t ticket;
    json_t *answer = NULL;
    enum ota_exit rc = ota_link_open(session->link, failure);
    if (rc == OTA_EXIT_OK) {
        rc = ota_link_send(session->link, request, &ticket, failure);
    }
    if (rc == OTA_EXIT_OK) {
        rc = ota_link_receive(session->link, ticket, &answer, failure);
    }
    return rc == OTA_EXIT_OK ? ota_session_read(answer, data, failure) : rc;
}

enum ota_exit ota_session_call(struct ota_session *session, enum ota_command_id id,
                               const json_t *fields, json_t **data, struct ota_failure *failure)
{
    json_t *request = ota_session_request(session, id, fields);
    if (request == NULL) {
        return ota_fail(failure, OTA_EXIT_CONNECTION, "internal", NULL, "out of memory");
    }
    enum ota_exit rc = exchange(session, request, data, failure);
    for (int lost = 1; rc == OTA_EXIT_CONNECTION && ota_link_is_lost(session->link); lost++) {
        if (lost > LOSSES_MAX) {
            break;
        }
        (void)fprintf(stderr, "otactl: the connection was lost, trying again\n");
        rc = exchange(session, request, data, failure);
    }
    json_decref(request);
    return rc;
}

void ota_session_show(const struct ota_session *session, const json_t *data,
                      void (*print)(const json_t *data))
{
    switch (session->settings->output) {
    case OTA_OUTPUT_TABLE:
        print(data);
        return;
    case OTA_OUTPUT_JSON:
        ota_render_json(data);
        return;
    case OTA_OUTPUT_CSV:
        ota_csv_data(data);
        return;
    }
}

enum ota_exit ota_session_run(struct ota_session *session, const struct ota_job *job,
                              struct ota_failure *failure)
{
    json_t *data = NULL;
    enum ota_exit rc =
        ota_session_call(session, job->verb.command->id, job->fields, &data, failure);
    if (rc == OTA_EXIT_OK) {
        ota_session_show(session, data, ota_render_data);
    }
    json_decref(data);
    return rc;
}
