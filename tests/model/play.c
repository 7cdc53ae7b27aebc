/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The whole service behind a fake broker and clocks that stand still, played by a script: one JSON
 * object a line on stdin, one answer a line on stdout (test_model.py plays).
 *
 *   play DATABASE MONO_MS UNIX_MS
 *
 *   {"op":"control","user":…,"payload":{…}}           an admin's message, and a tick
 *   {"op":"connect","product":…,"device":…}           the device subscribes to its update topic
 *   {"op":"report","product":…,"device":…,"payload":…}  an object, or a text as it is
 *   {"op":"disconnect","product":…,"device":…}
 *   {"op":"advance","ms":N,"step":50}                 both clocks move on; a tick each step
 *   {"op":"wall","ms":N}                              only the wall clock jumps
 *   {"op":"tick"}
 *   {"op":"stop"}                                     an orderly end; a kill is a kill
 *
 * Answer: {"mono","unix","service","messages":[{"at" (mono),"to","topic","payload"}],
 * "errors":[log lines], "id" (of the device that the op named), "task" (its newest one)}.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/service.h"
#include "../unit/fake_broker.h"

#define STEP_MS 50

/* A device's client, or an admin's; kept until the end. */
struct client {
    struct client *next;
    struct mosquitto as_broker;
    char id[128];
    char user[128];
};

struct play {
    struct ota_service service;
    struct client *clients;
    json_t *messages;
    size_t told;
    size_t logged;
};

static void die(const char *what)
{
    (void)fprintf(stderr, "play: %s\n", what);
    exit(2);
}

static const char *text_of(const json_t *op, const char *key)
{
    const char *text = json_string_value(json_object_get(op, key));
    return text != NULL ? text : "";
}

static struct client *client_of(struct play *play, const char *user)
{
    for (struct client *client = play->clients; client != NULL; client = client->next) {
        if (strcmp(client->user, user) == 0) {
            return client;
        }
    }
    struct client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        die("out of memory");
    }
    (void)snprintf(client->user, sizeof client->user, "%s", user);
    (void)snprintf(client->id, sizeof client->id, "client of %s", user);
    client->as_broker = (struct mosquitto){.id = client->id, .username = client->user};
    client->next = play->clients;
    play->clients = client;
    return client;
}

/* --- what came out ---------------------------------------------------------------------------- */

/* Takes note of what was published since the last call, with the time. */
static void collect(struct play *play)
{
    for (; play->told < fake_broker_message_count(); play->told++) {
        const struct fake_message *message = fake_broker_message(play->told);
        json_t *payload = json_loadb(message->payload, message->len, 0, NULL);
        if (payload == NULL) {
            die("a message that is not JSON");
        }
        (void)json_array_append_new(play->messages,
                                    json_pack("{s:I, s:s?, s:s, s:o}", "at",
                                              (json_int_t)ota_now_mono(), "to", message->client_id,
                                              "topic", message->topic, "payload", payload));
    }
    fake_broker_clear_messages();
    play->told = 0;
}

static json_t *take_errors(struct play *play)
{
    struct fake_log_line line;
    json_t *errors = json_array();
    size_t count = fake_broker_log_count();
    for (size_t back = 0; back < count - play->logged && fake_broker_log_line(back, &line);
         back++) {
        if (line.level == OTA_LOG_ERROR) {
            (void)json_array_insert_new(errors, 0, json_string(line.text));
        }
    }
    play->logged = count;
    return errors;
}

static void answer(struct play *play, const struct ota_device *device)
{
    collect(play);
    json_t *line =
        json_pack("{s:I, s:I, s:I, s:o, s:o}", "mono", (json_int_t)ota_now_mono(), "unix",
                  (json_int_t)ota_now_unix(), "service", (json_int_t)play->service.core.service_ms,
                  "messages", play->messages, "errors", take_errors(play));
    play->messages = json_array();
    if (device != NULL) {
        (void)json_object_set_new(line, "id", json_integer(device->id));
        (void)json_object_set_new(line, "task", json_integer(device->last_task));
    }
    if (json_dumpf(line, stdout, JSON_COMPACT) != 0 || putchar('\n') == EOF ||
        fflush(stdout) != 0) {
        die("nobody listens");
    }
    json_decref(line);
}

/* --- what goes in ----------------------------------------------------------------------------- */

static void tick(struct play *play)
{
    ota_traffic_turn(&play->service.traffic);
    ota_service_work(&play->service);
    collect(play);
}

static void advance(struct play *play, const json_t *op)
{
    json_int_t left = json_integer_value(json_object_get(op, "ms"));
    json_int_t step = json_integer_value(json_object_get(op, "step"));
    step = step > 0 ? step : STEP_MS;
    for (; left > 0; left -= step) {
        fake_broker_advance(left < step ? left : step);
        tick(play);
    }
}

static bool is_answered(const struct play *play)
{
    size_t i;
    json_t *message;
    json_array_foreach(play->messages, i, message)
    {
        if (strcmp(text_of(message, "topic"), OTA_CONTROL_RESPONSE) == 0) {
            return true;
        }
    }
    return false;
}

static void control(struct play *play, const json_t *op)
{
    char *text = json_dumps(json_object_get(op, "payload"), JSON_COMPACT);
    if (text == NULL) {
        die("control without a payload");
    }
    static const struct ota_topic commands = {.kind = OTA_TOPIC_CONTROL, .rest = "/v1"};
    const struct ota_message message = {.client = &client_of(play, text_of(op, "user"))->as_broker,
                                        .payload = text,
                                        .len = strlen(text)};
    (void)ota_traffic_may(&play->service.traffic, OTA_ACCESS_PUBLISH, &commands, &message);
    (void)ota_traffic_command(&play->service.traffic, &message);
    free(text);
    collect(play);
    for (int i = 0; i < 1000 && !is_answered(play); i++) {
        tick(play);
    }
}

/* As the broker asks before it, and then brings it; NULL: refused, or not known. */
static const struct ota_device *act(struct play *play, const json_t *op, const char *kind,
                                    enum ota_access_op access)
{
    char user[96];
    char text[128];
    struct ota_traffic *traffic = &play->service.traffic;
    (void)snprintf(user, sizeof user, "%s/%s", text_of(op, "product"), text_of(op, "device"));
    (void)snprintf(text, sizeof text, "$ota/%s/%s", kind, user);
    const struct ota_topic topic = ota_topic_parse(&play->service.access, text);
    const json_t *payload = json_object_get(op, "payload");
    char *report = json_is_string(payload) ? strdup(json_string_value(payload))
                                           : json_dumps(payload, JSON_COMPACT);
    if (access == OTA_ACCESS_PUBLISH && report == NULL) {
        die("a report without a payload");
    }
    const struct ota_message message = {.client = &client_of(play, user)->as_broker,
                                        .payload = report,
                                        .len = report != NULL ? strlen(report) : 0,
                                        .qos = 1};
    bool may = ota_traffic_may(traffic, access, &topic, &message);
    if (may && access == OTA_ACCESS_PUBLISH) {
        (void)ota_traffic_take(traffic, &topic, &message);
    }
    free(report);
    return may ? ota_topic_device(&topic, &play->service.core.fleet) : NULL;
}

static const struct ota_device *do_op(struct play *play, const json_t *op, const char *name)
{
    if (strcmp(name, "advance") == 0) {
        advance(play, op);
    } else if (strcmp(name, "control") == 0) {
        control(play, op);
    } else if (strcmp(name, "connect") == 0) {
        return act(play, op, "update", OTA_ACCESS_SUBSCRIBE);
    } else if (strcmp(name, "report") == 0) {
        return act(play, op, "report", OTA_ACCESS_PUBLISH);
    } else if (strcmp(name, "disconnect") == 0) {
        char user[96];
        (void)snprintf(user, sizeof user, "%s/%s", text_of(op, "product"), text_of(op, "device"));
        ota_traffic_gone(&play->service.traffic, &client_of(play, user)->as_broker);
        ota_traffic_turn(&play->service.traffic); /* what follows is no will */
    } else if (strcmp(name, "wall") == 0) {
        fake_broker_set_unix(ota_now_unix() + json_integer_value(json_object_get(op, "ms")));
    } else if (strcmp(name, "tick") == 0) {
        tick(play);
    } else if (strcmp(name, "stop") != 0) {
        die("an op that is unknown");
    }
    return NULL;
}

/* --- beginning and end ------------------------------------------------------------------------ */

/* Without a download server: URLs need only look as if there were one. */
static void start(struct play *play, const char *path)
{
    static const char *const keys[] = {"db_path",   "download_listen", "admins",
                                       "operators", "viewers",         "upgrade_timeout"};
    const char *values[] = {path, "off", "admin", "operator", "viewer", "60"};
    struct ota_options options;
    struct ota_error error = {0};
    if (ota_options_read(keys, values, sizeof keys / sizeof keys[0], &options, &error) != OTA_OK ||
        ota_service_start(&play->service, &options, "2.1", &error) != OTA_OK) {
        die(error.text);
    }
    struct ota_settings *settings = &play->service.core.settings;
    (void)snprintf(settings->download_url, sizeof settings->download_url, "http://fw.example.com");
}

static void stop(struct play *play, bool asked)
{
    ota_service_stop(&play->service);
    if (asked) {
        answer(play, NULL);
    }
    json_decref(play->messages);
    while (play->clients != NULL) {
        struct client *client = play->clients;
        play->clients = client->next;
        free(client);
    }
    fake_broker_reset();
}

int main(int argc, char **argv)
{
    struct play play = {.messages = json_array()};
    char *line = NULL;
    size_t size = 0;
    bool stopped = false;
    if (argc != 4) {
        die("usage: play DATABASE MONO_MS UNIX_MS");
    }
    fake_broker_set_mono(strtoll(argv[2], NULL, 10));
    fake_broker_set_unix(strtoll(argv[3], NULL, 10));
    start(&play, argv[1]);
    answer(&play, NULL);
    for (ssize_t len; !stopped && (len = getline(&line, &size, stdin)) > 0;) {
        json_t *op = json_loadb(line, (size_t)len, 0, NULL);
        const char *name = text_of(op, "op");
        const struct ota_device *device = do_op(&play, op, name);
        stopped = strcmp(name, "stop") == 0;
        if (!stopped) {
            answer(&play, device);
        }
        json_decref(op);
    }
    stop(&play, stopped);
    free(line);
    return 0;
}
