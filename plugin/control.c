/* SPDX-License-Identifier: BSD-3-Clause */
#include "control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answers.h"
#include "broker.h"
#include "envelope.h"
#include "turn.h"

#define OTA_QUEUE_MESSAGES 1000
#define OTA_QUEUE_BYTES    (INT64_C(64) << 20)
#define OTA_ANSWERS_A_TICK (256 << 10)
#define OTA_MESSAGE_MAX    (128 << 10) /* 256 KiB held the broker 8-13 ms in the parser alone */

struct message {
    struct message *next;
    const struct mosquitto *client; /* NULL: gone, or another door's */
    void (*answer)(void *data, char *text, size_t len, const struct ota_error *error);
    void *answer_data; /* these two: of another door */
    char *client_id;
    char *user;
    char *payload;
    size_t len;
    json_t *root; /* once it was parsed */
    struct ota_answers answers;
    size_t at; /* the command that is next */
    struct ota_turn turn;
};

struct ota_control {
    struct ota_surroundings *around;
    struct message *first;
    struct message **last;
    size_t count;
    int64_t bytes;
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

static void free_message(struct message *message)
{
    if (message != NULL) {
        ota_turn_end(&message->turn);
        json_decref(message->root);
        ota_answers_free(&message->answers);
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

static void send(const char *client_id, const char *text, size_t len)
{
    if (text == NULL || !ota_broker_publish(client_id, OTA_CONTROL_RESPONSE, text, len, 1)) {
        ota_log(OTA_LOG_ERROR, "memory is out: an answer is lost");
    }
}

static void send_refusal(const char *client_id, const struct ota_error *error)
{
    struct ota_answers answers = {0};
    size_t len = 0;
    char *text = NULL;
    if (ota_answers_begin(&answers, 1)) {
        ota_answers_add(&answers, ota_answer_error(NULL, error));
        text = ota_answers_take(&answers, &len);
    }
    send(client_id, text, len);
    free(text);
}

/* The message as a whole, before any of its commands. */
static void refuse(const struct message *message, const struct ota_error *error)
{
    if (message->answer != NULL) {
        message->answer(message->answer_data, NULL, 0, error);
    } else if (message->client != NULL) {
        send_refusal(message->client_id, error);
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

/* --- messages --------------------------------------------------------------------------------- */

static enum ota_err parse(struct message *message, struct ota_error *error)
{
    enum ota_err err = ota_envelope_read(message->payload, message->len, &message->root, error);
    if (err == OTA_OK && !ota_answers_begin(&message->answers, json_array_size(json_object_get(
                                                                   message->root, "commands")))) {
        err = ota_error_no_memory(error);
    }
    return err;
}

static void finish(struct ota_control *control)
{
    struct message *message = take_first(control);
    struct ota_error error = {0};
    size_t len;
    char *text = ota_answers_take(&message->answers, &len);
    if (message->answer != NULL) {
        (void)ota_error_no_memory(&error);
        message->answer(message->answer_data, text, len, &error);
    } else {
        if (message->client != NULL) {
            send(message->client_id, text, len);
        }
        free(text);
    }
    free_message(message);
}

/* Over HTTP the status says it; over MQTT it is a response like others. */
static void finish_unread(struct ota_control *control, const struct ota_error *error)
{
    struct message *message = take_first(control);
    refuse(message, error);
    free_message(message);
}

static bool is_resting(const struct message *message)
{
    return message->turn.rest_until > ota_now_mono();
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

/* The next command of the first message; false where it wants to be called again. *written counts
 * the bytes of its response. */
static bool step(struct ota_control *control, int64_t end, size_t *written)
{
    struct message *message = control->first;
    json_t *response = NULL;
    if (is_resting(message)) {
        put_last(control);
        return false;
    }
    if (message->root == NULL) {
        struct ota_error error = {0};
        if (parse(message, &error) != OTA_OK) {
            finish_unread(control, &error);
            return true;
        }
    }
    message->turn.fields = json_array_get(json_object_get(message->root, "commands"), message->at);
    message->turn.end = end;
    if (ota_turn_take(&message->turn, &response) == OTA_AGAIN) {
        put_last(control);
        return false;
    }
    size_t before = message->answers.len;
    ota_answers_add(&message->answers, response);
    *written += message->answers.len - before;
    message->at++;
    if (message->answers.left == 0) {
        finish(control);
    }
    return true;
}

/* When there is something to do again. */
static int64_t next_turn(const struct ota_control *control)
{
    int64_t when = INT64_MAX;
    for (const struct message *message = control->first; message != NULL; message = message->next) {
        when = message->turn.rest_until < when ? message->turn.rest_until : when;
    }
    return when;
}

bool ota_control_is_busy(const struct ota_control *control)
{
    return control->first != NULL && next_turn(control) <= ota_now_mono();
}

void ota_control_work(struct ota_control *control, int64_t ms)
{
    int64_t end = ota_now_mono() + ms;
    size_t again = 0; /* messages in a row that have done their share of this tick */
    size_t written = 0;
    while (control->first != NULL && again < control->count && ota_now_mono() < end &&
           written < OTA_ANSWERS_A_TICK) {
        again = step(control, end, &written) ? 0 : again + 1;
    }
    ota_core_wake(control->around->core, next_turn(control));
}

void ota_control_tick(struct ota_control *control)
{
    ota_control_work(control, OTA_TICK_MS);
}

static struct message *new_message(struct ota_control *control, const struct ota_asker *asker,
                                   const void *payload, size_t len)
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
    message->len = len;
    if (message->client_id == NULL || message->user == NULL || message->payload == NULL) {
        free_message(message);
        return NULL;
    }
    memcpy(message->payload, payload != NULL ? payload : "", len);
    message->turn = (struct ota_turn){.around = control->around,
                                      .user = message->user,
                                      .client = message->client_id,
                                      .role = asker->role,
                                      .token = asker->token};
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
    struct message *message = new_message(control, asker, payload, len);
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
        send_refusal(asker.caller, &error);
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
