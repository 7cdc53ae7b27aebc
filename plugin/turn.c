/* SPDX-License-Identifier: BSD-3-Clause */
#include "turn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answers.h"
#include "broker.h"
#include "commands/commands.h"
#include "fields.h"
#include "subject.h"
#include "util/json_text.h"

#define OTA_OWNER_SIZE 40 /* for a token's number */

static const ota_handler handlers[OTA_COMMAND_COUNT] = {
#define OTA_X(id, c_name, name, role, writes, words, help) [OTA_CMD_##id] = ota_cmd_##c_name,
    OTA_COMMANDS(OTA_X)
#undef OTA_X
};

/* --- once and only once ----------------------------------------------------------------------- */

/* Of the command and its fields, without what may differ. */
static const char *const beside_the_request[] = {"correlationData", "requestId", NULL};

/* Whose requests they are. A token has its own, as its name may have been another's before: by its
 * number, which is never used again, and which is no token's name. */
static const char *owner_of(const struct ota_call *call, char *text, size_t size)
{
    if (call->token == 0) {
        return call->user;
    }
    (void)snprintf(text, size, OTA_TOKEN_USER "#%lld", (long long)call->token);
    return text;
}

/* OTA_NOT_FOUND: the request is new; OTA_OK: data holds the stored answer. */
static enum ota_err find_stored(struct ota_call *call, const char *request_id,
                                const unsigned char *digest)
{
    unsigned char known[32];
    char owner[OTA_OWNER_SIZE];
    char *text;
    enum ota_err err = ota_request_find(call->core->store, owner_of(call, owner, sizeof owner),
                                        request_id, known, &text, &call->error);
    if (err != OTA_OK) {
        return err;
    }
    if (memcmp(known, digest, sizeof known) != 0) {
        free(text);
        return ota_error_set(&call->error, OTA_CONFLICT, "requestId",
                             "this requestId was used for something else: draw a new one");
    }
    bool no_memory;
    json_t *data = ota_json_read(text, strlen(text), 0, NULL, &no_memory);
    free(text);
    if (data == NULL && !no_memory) {
        return ota_error_set(&call->error, OTA_INTERNAL, NULL, "a stored answer is unreadable");
    }
    bool taken = data != NULL && json_object_update(call->data, data) == 0;
    json_decref(data);
    return taken ? OTA_OK : ota_error_no_memory(&call->error);
}

/* What is shown once is in no file: who asks again with the same requestId gets the rest. */
static char *text_to_keep(const struct ota_call *call)
{
    const char *const without[] = {call->once, NULL};
    return ota_json_write_without(call->data, without, JSON_COMPACT);
}

static enum ota_err store_answer(struct ota_call *call, const char *request_id,
                                 const unsigned char *digest)
{
    char *text = text_to_keep(call);
    if (text == NULL) {
        return ota_error_no_memory(&call->error);
    }
    char owner[OTA_OWNER_SIZE];
    enum ota_err err = ota_request_insert(call->core->store, owner_of(call, owner, sizeof owner),
                                          request_id, digest, text, ota_now_unix(), &call->error);
    free(text);
    return err;
}

/* --- the audit -------------------------------------------------------------------------------- */

/* Blocks of uploads are many and say nothing; a dry run changes nothing. */
static bool has_entry(const struct ota_call *call)
{
    return call->command->id != OTA_CMD_UPLOAD_FIRMWARE_BLOCK &&
           !ota_field_bool(call->fields, "dryRun");
}

static enum ota_err note_accepted(struct ota_call *call)
{
    char target[OTA_SUBJECT_MAX + 1];
    if (!has_entry(call)) {
        return OTA_OK;
    }
    ota_subject_of(call->fields, call->data, target, sizeof target);
    struct ota_trail_note note = {.user = call->user,
                                  .client = call->client,
                                  .command = call->command->name,
                                  .target = target};
    return ota_trail_accept(call->core, &note, &call->error);
}

/* What would have changed something, or needed a higher role. Of names that no command has only
 * those that could be one's. */
static bool has_refusal_entry(const char *name, enum ota_err err)
{
    const struct ota_command *command = ota_command_find(name);
    return command != NULL ? command->writes || err == OTA_FORBIDDEN
                           : ota_name_is_product(name, strlen(name));
}

static void note_refused(const struct ota_call *call, const char *name, enum ota_err err)
{
    char target[OTA_SUBJECT_MAX + 1];
    if (err == OTA_OK || name == NULL || !has_refusal_entry(name, err)) {
        return;
    }
    ota_subject_of(call->fields, NULL, target, sizeof target);
    struct ota_trail_note note = {
        .user = call->user, .client = call->client, .command = name, .target = target, .code = err};
    ota_trail_refuse(call->around->trail, &note);
}

/* --- one command ------------------------------------------------------------------------------ */

static enum ota_err write_once(struct ota_call *call, const char *request_id)
{
    unsigned char digest[32];
    if (request_id != NULL) {
        if (!ota_json_digest(call->fields, beside_the_request, digest)) {
            return ota_error_no_memory(&call->error);
        }
        enum ota_err known = find_stored(call, request_id, digest);
        if (known != OTA_NOT_FOUND) {
            return known;
        }
    }
    enum ota_err err = handlers[call->command->id](call);
    if (err == OTA_OK) {
        err = note_accepted(call);
    }
    if (err == OTA_OK && request_id != NULL) {
        err = store_answer(call, request_id, digest);
    }
    return err;
}

static enum ota_err run_write(struct ota_call *call)
{
    enum ota_err err = ota_core_begin(call->core, &call->error);
    if (err != OTA_OK) {
        return err;
    }
    err = write_once(call, ota_field_text_or_null(call->fields, "requestId"));
    if (err != OTA_OK) {
        ota_core_rollback(call->core);
        return err;
    }
    return ota_core_commit(call->core, &call->error);
}

static enum ota_err run(struct ota_call *call, enum ota_role role)
{
    if (role < call->command->role) {
        return ota_error_set(&call->error, OTA_FORBIDDEN, NULL, "%s needs the role %s, you are %s",
                             call->command->name, ota_role_name(call->command->role),
                             ota_role_name(role));
    }
    enum ota_err err = ota_fields_check(call->command, call->fields, &call->error);
    if (err != OTA_OK) {
        return err;
    }
    return call->command->writes ? run_write(call) : handlers[call->command->id](call);
}

/* With what identifies it for its asker; NULL where memory is out. */
static json_t *identified(json_t *response, const json_t *fields)
{
    json_t *correlation = json_object_get(fields, "correlationData");
    if (json_is_string(correlation) &&
        json_object_set(response, "correlationData", correlation) != 0) {
        json_decref(response);
        return NULL;
    }
    return response;
}

/* Made before the command runs, which fills its data: what was committed can't go unanswered for
 * want of memory for the answer. */
static enum ota_err begin_response(struct ota_call *call, json_t **response)
{
    json_t *begun = json_pack("{s:s, s:O}", "command", call->command->name, "data", call->data);
    *response = identified(begun, call->fields);
    return *response != NULL ? OTA_OK : ota_error_no_memory(&call->error);
}

static json_t *refusal(struct ota_call *call, const char *name, enum ota_err err)
{
    (void)ota_error_set(&call->error, err, NULL, "the command failed");
    if (err == OTA_INTERNAL || err == OTA_UNAVAILABLE) {
        ota_log(OTA_LOG_ERROR, "%s failed: %s", name != NULL ? name : "a command",
                call->error.text);
    }
    return identified(ota_answer_error(name, &call->error), call->fields);
}

static enum ota_err find_command(const json_t *fields, struct ota_call *call, const char **name)
{
    const json_t *correlation = json_object_get(fields, "correlationData");
    *name = json_string_value(json_object_get(fields, "command"));
    if (*name == NULL) {
        return ota_error_set(&call->error, OTA_INVALID_REQUEST, "command",
                             "each command is an object with its name in `command`");
    }
    if (correlation != NULL && !json_is_string(correlation)) {
        return ota_error_set(&call->error, OTA_INVALID_REQUEST, "correlationData",
                             "correlationData must be a text");
    }
    call->command = ota_command_find(*name);
    if (call->command == NULL) {
        return ota_error_set(&call->error, OTA_INVALID_REQUEST, "command",
                             "there is no command %.60s", *name);
    }
    return OTA_OK;
}

/* A token may have been revoked since the message came in. */
static enum ota_role role_now(const struct ota_turn *turn)
{
    return turn->token != 0 ? ota_tokens_role(turn->around->tokens, turn->token, ota_now_unix())
                            : turn->role;
}

static enum ota_err answer(struct ota_call *call, const struct ota_turn *turn, const char **name,
                           json_t **response)
{
    enum ota_err err = find_command(turn->fields, call, name);
    if (err == OTA_OK) {
        err = begin_response(call, response);
    }
    if (err == OTA_OK) {
        err = run(call, role_now(turn));
    }
    if (err != OTA_OK) {
        json_decref(*response);
        *response = NULL;
    }
    return err;
}

enum ota_err ota_turn_take(struct ota_turn *turn, json_t **response)
{
    struct ota_call call = {.around = turn->around,
                            .core = turn->around->core,
                            .user = turn->user,
                            .client = turn->client,
                            .token = turn->token,
                            .fields = turn->fields,
                            .data = json_object(),
                            .progress = &turn->progress,
                            .end = turn->end};
    const char *name = NULL;
    json_t *made = NULL;
    enum ota_err err = answer(&call, turn, &name, &made);
    turn->rest_until = call.rest_until;
    if (err != OTA_AGAIN) {
        note_refused(&call, name, err);
        *response = err == OTA_OK ? made : refusal(&call, name, err);
        ota_turn_end(turn);
        err = OTA_OK;
    }
    json_decref(call.data);
    return err;
}

void ota_turn_end(struct ota_turn *turn)
{
    if (turn->progress.state != NULL) {
        turn->progress.free_state(turn->progress.state);
    }
    turn->progress = (struct ota_progress){0};
}
