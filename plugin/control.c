/* SPDX-License-Identifier: BSD-3-Clause */
#include "control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker.h"
#include "commands/commands.h"
#include "fields.h"
#include "subject.h"
#include "util/json_text.h"

#define OTA_QUEUE_MESSAGES 1000
#define OTA_QUEUE_BYTES    (INT64_C(64) << 20)
#define OTA_MESSAGE_MAX    (128 << 10) /* 256 KiB held the broker 8-13 ms in the parser alone */

struct message {
    struct message *next;
    const struct mosquitto *client; /* NULL: gone, or another door's */
    void (*answer)(void *data, char *text, size_t len, const struct ota_error *error);
    void *answer_data; /* these two: of another door */
    char *client_id;
    char *user;
    enum ota_role role;
    char *payload;
    size_t len;
    json_t *root; /* once it was parsed */
    json_t *responses;
    size_t at; /* the command that is next */
    struct ota_progress progress;
    int64_t rest_until; /* monotonic ms: its command isn't called again before */
};

static const char no_memory_text[] = "memory is out: try again";

struct ota_control {
    struct ota_surroundings *around;
    struct message *first;
    struct message **last;
    size_t count;
    int64_t bytes;
};

static const ota_handler handlers[OTA_COMMAND_COUNT] = {
#define OTA_X(id, c_name, name, role, writes, words, help) [OTA_CMD_##id] = ota_cmd_##c_name,
    OTA_COMMANDS(OTA_X)
#undef OTA_X
};

struct ota_control *ota_control_new(struct ota_surroundings *around)
{
    struct ota_control *control = calloc(1, sizeof *control);
    if (control != NULL) {
        control->around = around;
        control->last = &control->first;
    }
    return control;
}

static void end_progress(struct message *message)
{
    if (message->progress.state != NULL) {
        message->progress.free_state(message->progress.state);
    }
    message->progress = (struct ota_progress){0};
}

static void free_message(struct message *message)
{
    if (message != NULL) {
        end_progress(message);
        json_decref(message->root);
        json_decref(message->responses);
        free(message->client_id);
        free(message->user);
        free(message->payload);
        free(message);
    }
}

static struct message *take_first(struct ota_control *control)
{
    struct message *message = control->first;
    control->first = message->next;
    if (control->first == NULL) {
        control->last = &control->first;
    }
    control->count--;
    control->bytes -= (int64_t)message->len;
    return message;
}

/* --- answers -------------------------------------------------------------------------------- */

static json_t *error_response(const char *command, const struct ota_error *error)
{
    return json_pack("{s:s*, s:s, s:s, s:s*}", "command", command, "error", error->text, "code",
                     ota_err_name(error->code), "field",
                     error->field[0] != '\0' ? error->field : NULL);
}

/* NULL where memory is out. */
static char *text_of(json_t *responses)
{
    json_t *envelope = json_pack("{s:O}", "responses", responses);
    char *text = ota_json_write(envelope, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(envelope);
    return text;
}

static void send(const char *client_id, json_t *responses)
{
    char *text = text_of(responses);
    if (text == NULL ||
        !ota_broker_publish(client_id, OTA_CONTROL_RESPONSE, text, strlen(text), 1)) {
        ota_log(OTA_LOG_ERROR, "memory is out: an answer is lost");
    }
    free(text);
}

static void send_refusal(const char *client_id, enum ota_err code, const char *text)
{
    struct ota_error error = {0};
    (void)ota_error_set(&error, code, NULL, "%s", text);
    json_t *responses = json_pack("[o]", error_response(NULL, &error));
    if (responses != NULL) {
        send(client_id, responses);
        json_decref(responses);
    }
}

static void hand_over(const struct message *message)
{
    struct ota_error error = {0};
    char *text = message->responses != NULL ? text_of(message->responses) : NULL;
    if (text == NULL) {
        (void)ota_error_no_memory(&error);
    }
    message->answer(message->answer_data, text, text != NULL ? strlen(text) : 0, &error);
}

/* The message as a whole, before any of its commands. */
static void refuse(const struct message *message, const struct ota_error *error)
{
    if (message->answer != NULL) {
        message->answer(message->answer_data, NULL, 0, error);
    } else if (message->client != NULL) {
        send_refusal(message->client_id, error->code, error->text);
    }
}

void ota_control_free(struct ota_control *control)
{
    struct ota_error error = {0};
    (void)ota_error_set(&error, OTA_UNAVAILABLE, NULL, "the broker is being stopped: try again");
    while (control != NULL && control->first != NULL) {
        struct message *message = take_first(control);
        if (message->answer != NULL) {
            refuse(message, &error);
        }
        free_message(message);
    }
    free(control);
}

/* --- once and only once ----------------------------------------------------------------------- */

/* Of the command and its fields, without what may differ. */
static const char *const beside_the_request[] = {"correlationData", "requestId", NULL};

/* OTA_NOT_FOUND: the request is new; OTA_OK: data holds the stored answer. */
static enum ota_err find_stored(struct ota_call *call, const char *request_id,
                                const unsigned char *digest)
{
    unsigned char known[32];
    char *text;
    enum ota_err err =
        ota_request_find(call->core->store, call->user, request_id, known, &text, &call->error);
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
    json_t *kept = call->once != NULL ? json_copy(call->data) : json_incref(call->data);
    if (call->once != NULL) {
        (void)json_object_del(kept, call->once);
    }
    char *text = ota_json_write(kept, JSON_COMPACT);
    json_decref(kept);
    return text;
}

static enum ota_err store_answer(struct ota_call *call, const char *request_id,
                                 const unsigned char *digest)
{
    char *text = text_to_keep(call);
    if (text == NULL) {
        return ota_error_no_memory(&call->error);
    }
    enum ota_err err = ota_request_insert(call->core->store, call->user, request_id, digest, text,
                                          ota_now_unix(), &call->error);
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
    return identified(error_response(name, &call->error), call->fields);
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

/* OTA_AGAIN, or OTA_OK with the response in its place. */
static enum ota_err do_command(struct ota_control *control, struct message *message,
                               const json_t *fields, int64_t end)
{
    struct ota_call call = {.around = control->around,
                            .core = control->around->core,
                            .user = message->user,
                            .client = message->client_id,
                            .fields = fields,
                            .data = json_object(),
                            .progress = &message->progress,
                            .end = end};
    const char *name = NULL;
    json_t *response = NULL;
    enum ota_err err = find_command(fields, &call, &name);
    if (err == OTA_OK) {
        err = begin_response(&call, &response);
    }
    if (err == OTA_OK) {
        err = run(&call, message->role);
    }
    message->rest_until = call.rest_until;
    if (err != OTA_OK) {
        json_decref(response);
        response = NULL;
    }
    if (err != OTA_AGAIN) {
        note_refused(&call, name, err);
        response = err == OTA_OK ? response : refusal(&call, name, err);
        /* without one its place keeps what parse_envelope put there */
        (void)json_array_set_new(message->responses, message->at, response);
        end_progress(message);
        err = OTA_OK;
    }
    json_decref(call.data);
    return err;
}

/* --- messages --------------------------------------------------------------------------------- */

/* A key beside `commands`, or NULL. */
static const char *stray_key(json_t *root)
{
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value)
    {
        if (strcmp(key, "commands") != 0) {
            return key;
        }
    }
    return NULL;
}

/* jansson quotes up to the byte that it stumbled over, which may be half a character: a response
 * with that is no JSON and could not be sent. */
static const char *plain(char *text)
{
    for (char *c = text; *c != '\0'; c++) {
        *c = (unsigned char)*c < 0x80 ? *c : '?';
    }
    return text;
}

/* A place for each command, in which an answer already is: putting another there needs no memory.
 */
static json_t *new_places(size_t count)
{
    json_t *places = json_array();
    json_t *answer =
        json_pack("{s:s, s:s}", "error", no_memory_text, "code", ota_err_name(OTA_UNAVAILABLE));
    for (size_t i = 0; i < count; i++) {
        if (json_array_append(places, answer) != 0) {
            json_decref(places);
            places = NULL;
            break;
        }
    }
    json_decref(answer);
    return places;
}

static enum ota_err check_envelope(struct message *message, struct ota_error *error)
{
    bool no_memory;
    json_error_t where;
    message->root =
        ota_json_read(message->payload, message->len, JSON_REJECT_DUPLICATES, &where, &no_memory);
    if (no_memory) {
        return ota_error_no_memory(error);
    }
    const json_t *commands = json_object_get(message->root, "commands");
    const char *stray = stray_key(message->root);
    if (message->root == NULL) {
        return ota_error_set(error, OTA_INVALID_REQUEST, NULL, "the message isn't JSON: %s",
                             plain(where.text));
    }
    if (stray != NULL) {
        return ota_error_set(error, OTA_INVALID_REQUEST, stray,
                             "the message must be {\"commands\":[…]}: it takes no %.40s", stray);
    }
    if (!json_is_array(commands)) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "commands",
                             "the message must be {\"commands\":[…]} and nothing else");
    }
    if (json_array_size(commands) < 1 || json_array_size(commands) > OTA_COMMANDS_A_MESSAGE) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "commands",
                             "a message has 1 to %d commands", OTA_COMMANDS_A_MESSAGE);
    }
    return OTA_OK;
}

static enum ota_err parse_envelope(struct message *message, struct ota_error *error)
{
    enum ota_err err = check_envelope(message, error);
    if (err == OTA_OK) {
        message->responses =
            new_places(json_array_size(json_object_get(message->root, "commands")));
        err = message->responses != NULL ? OTA_OK : ota_error_no_memory(error);
    }
    return err;
}

static void finish(struct ota_control *control)
{
    struct message *message = take_first(control);
    if (message->answer != NULL) {
        hand_over(message);
    } else if (message->client != NULL && message->responses != NULL) {
        send(message->client_id, message->responses);
    }
    free_message(message);
}

/* Over HTTP the status says it; over MQTT it is a response like others. */
static void finish_unread(struct ota_control *control, const struct ota_error *error)
{
    struct message *message = control->first;
    if (message->answer != NULL) {
        refuse(message, error);
        free_message(take_first(control));
        return;
    }
    message->responses = json_pack("[o]", error_response(NULL, error));
    finish(control);
}

static bool is_resting(const struct message *message)
{
    return message->rest_until > ota_now_mono();
}

/* Who wants to be called again lets the others go first. */
static void put_last(struct ota_control *control)
{
    struct message *message = control->first;
    if (message->next != NULL) {
        control->first = message->next;
        message->next = NULL;
        *control->last = message;
        control->last = &message->next;
    }
}

/* The next command of the first message; false where it wants to be called again. */
static bool step(struct ota_control *control, int64_t end)
{
    struct message *message = control->first;
    if (is_resting(message)) {
        put_last(control);
        return false;
    }
    if (message->root == NULL) {
        struct ota_error error = {0};
        if (parse_envelope(message, &error) != OTA_OK) {
            finish_unread(control, &error);
            return true;
        }
    }
    const json_t *commands = json_object_get(message->root, "commands");
    if (do_command(control, message, json_array_get(commands, message->at), end) == OTA_AGAIN) {
        put_last(control);
        return false;
    }
    if (++message->at == json_array_size(commands)) {
        finish(control);
    }
    return true;
}

/* When there is something to do again. */
static int64_t next_turn(const struct ota_control *control)
{
    int64_t when = INT64_MAX;
    for (const struct message *message = control->first; message != NULL; message = message->next) {
        when = message->rest_until < when ? message->rest_until : when;
    }
    return when;
}

void ota_control_work(struct ota_control *control, int64_t ms)
{
    int64_t end = ota_now_mono() + ms;
    size_t again = 0; /* messages in a row that have done their share of this tick */
    while (control->first != NULL && again < control->count && ota_now_mono() < end) {
        again = step(control, end) ? 0 : again + 1;
    }
    ota_core_wake(control->around->core, next_turn(control));
}

void ota_control_tick(struct ota_control *control)
{
    ota_control_work(control, OTA_TICK_MS);
}

static struct message *new_message(const struct ota_asker *asker, const void *payload, size_t len)
{
    struct message *message = calloc(1, sizeof *message);
    if (message == NULL) {
        return NULL;
    }
    message->answer = asker->answer;
    message->answer_data = asker->data;
    message->client_id = strdup(asker->caller);
    message->user = strdup(asker->user != NULL ? asker->user : "");
    message->payload = malloc(len > 0 ? len : 1);
    message->role = asker->role;
    message->len = len;
    if (message->client_id == NULL || message->user == NULL || message->payload == NULL) {
        free_message(message);
        return NULL;
    }
    memcpy(message->payload, payload != NULL ? payload : "", len);
    return message;
}

static enum ota_err queue(struct ota_control *control, const struct ota_asker *asker,
                          const struct mosquitto *client, const void *payload, size_t len,
                          struct ota_error *error)
{
    if (len > OTA_MESSAGE_MAX) {
        return ota_error_set(error, OTA_TOO_LARGE, NULL,
                             "a message has at most 128 KiB: send it in pieces");
    }
    if (control->count >= OTA_QUEUE_MESSAGES || control->bytes + (int64_t)len > OTA_QUEUE_BYTES) {
        return ota_error_set(error, OTA_UNAVAILABLE, NULL,
                             "too many commands are waiting: try again");
    }
    struct message *message = new_message(asker, payload, len);
    if (message == NULL) {
        return ota_error_no_memory(error);
    }
    message->client = client;
    *control->last = message;
    control->last = &message->next;
    control->count++;
    control->bytes += (int64_t)len;
    ota_core_wake(control->around->core, 0);
    return OTA_OK;
}

void ota_control_submit(struct ota_control *control, const struct ota_asker *asker,
                        const void *payload, size_t len)
{
    struct ota_error error = {0};
    if (queue(control, asker, NULL, payload, len, &error) != OTA_OK) {
        asker->answer(asker->data, NULL, 0, &error);
    }
}

void ota_control_receive(struct ota_control *control, const struct mosquitto *client,
                         enum ota_role role, const void *payload, size_t len)
{
    const struct ota_asker asker = {
        .user = ota_broker_username(client), .caller = ota_broker_client_id(client), .role = role};
    struct ota_error error = {0};
    if (asker.caller != NULL && queue(control, &asker, client, payload, len, &error) != OTA_OK) {
        send_refusal(asker.caller, error.code, error.text);
    }
}

void ota_control_forget(struct ota_control *control, const struct mosquitto *client)
{
    for (struct message *message = control->first; message != NULL; message = message->next) {
        if (message->client == client) {
            message->client = NULL;
        }
    }
}
