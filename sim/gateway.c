/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pattern.h"
#include "upgrade.h"

#define OTA_PATIENCE_MS 20000 /* for the answer to an announcement: the vendor's */
#define OTA_AGAIN_MS    10000
#define OTA_HELD_MS     50 /* how often to look whether a notice that waits may go on */

static const struct ota_link_backoff backoff = {.low = 1000, .high = 1000, .most = 8000};

enum state { AWAY, QUEUED, ANNOUNCED, SUBSCRIBING, UP };

/* A device behind the gateway. */
struct sub {
    struct ota_device *device;
    enum state state;
    bool closing;
    bool cut;       /* it left without a word, and the gateway doesn't know it */
    int mid;        /* of its subscription */
    unsigned order; /* in which they were announced */
    char *held;     /* a notice that waits until the gateway is done with another; or NULL */
    size_t held_len;
};

struct ota_gateway {
    struct ota_world *world;
    char *product, *name;
    char *client_id, *username, *cert, *key, *operation, *result;
    struct ota_link_identity identity;
    struct ota_link link;
    struct ota_link_carrier carrier;
    uint64_t random;
    bool ready; /* it hears answers */
    unsigned announcements;
    struct ota_timer work;
    struct ota_timer patience; /* with the one that is announced */
    struct ota_timer again;    /* then those that were refused are announced again */
    size_t count;
    struct sub subs[];
};

static void tell(struct ota_gateway *gateway, enum ota_event event, const char *key,
                 const char *text)
{
    struct ota_output *output = &gateway->world->output;
    json_t *details = ota_output_wants(output, event) ? json_pack("{s:s}", key, text) : NULL;
    ota_output_say(output, event, gateway->name, details);
}

static void work_after(struct ota_gateway *gateway, int64_t ms)
{
    ota_loop_after(&gateway->world->loop, &gateway->work, ms);
}

static struct sub *find_state(struct ota_gateway *gateway, enum state state)
{
    for (size_t i = 0; i < gateway->count; i++) {
        if (gateway->subs[i].state == state) {
            return &gateway->subs[i];
        }
    }
    return NULL;
}

static struct sub *find_link(struct ota_gateway *gateway, const struct ota_link *link)
{
    for (size_t i = 0; i < gateway->count; i++) {
        if (&gateway->subs[i].device->link == link) {
            return &gateway->subs[i];
        }
    }
    return NULL;
}

/* --- one after the other ---------------------------------------------------------------------- */

static void operate(struct ota_gateway *gateway, const struct sub *sub, const char *type)
{
    char text[200];
    int len = snprintf(text, sizeof text,
                       "{\"type\":\"%s\",\"payload\":{\"devices\":[{\"product_id\":\"%s\","
                       "\"device_name\":\"%s\"}]}}",
                       type, gateway->world->options->product, sub->device->name);
    (void)ota_link_publish(&gateway->link, gateway->operation, text, (size_t)len, 0);
}

static void drop_held(struct sub *sub)
{
    free(sub->held);
    sub->held = NULL;
}

/* The device isn't reached any more, or was never. */
static void leave(struct sub *sub, const char *why, bool at_will)
{
    struct ota_link *link = &sub->device->link;
    bool was_up = sub->state == UP;
    drop_held(sub);
    sub->state = AWAY;
    link->state = OTA_LINK_AWAY;
    link->events->down(link->arg, why, was_up, at_will);
}

static void stay_out(struct ota_gateway *gateway, struct sub *sub, const char *why)
{
    ota_loop_cancel(&gateway->world->loop, &gateway->patience);
    leave(sub, why, false);
    work_after(gateway, 0);
    if (!sub->device->vendor) { /* whose sample leaves it out */
        ota_loop_after(&gateway->world->loop, &gateway->again, OTA_AGAIN_MS);
    }
}

static void queue_wanted(struct ota_gateway *gateway)
{
    for (size_t i = 0; i < gateway->count; i++) {
        struct sub *sub = &gateway->subs[i];
        if (sub->state == AWAY && sub->device->link.wanted) {
            sub->state = QUEUED;
        }
    }
}

static void fire_again(void *arg)
{
    struct ota_gateway *gateway = arg;
    queue_wanted(gateway);
    work_after(gateway, 0);
}

static void close_some(struct ota_gateway *gateway)
{
    for (size_t i = 0; i < gateway->count; i++) {
        struct sub *sub = &gateway->subs[i];
        if (!sub->closing) {
            continue;
        }
        sub->closing = false;
        if (sub->state == UP && !sub->cut) {
            operate(gateway, sub, "offline");
        }
        leave(sub, "at will", true);
        if (sub->device->link.wanted) { /* it was opened again meanwhile */
            sub->state = QUEUED;
        }
    }
}

static void announce_next(struct ota_gateway *gateway)
{
    bool waits = find_state(gateway, ANNOUNCED) != NULL || find_state(gateway, SUBSCRIBING) != NULL;
    struct sub *sub = waits || !gateway->ready ? NULL : find_state(gateway, QUEUED);
    if (sub != NULL) {
        sub->state = ANNOUNCED;
        sub->order = ++gateway->announcements;
        operate(gateway, sub, "online");
        ota_loop_after(&gateway->world->loop, &gateway->patience, OTA_PATIENCE_MS);
    }
}

static void fire_patience(void *arg)
{
    struct ota_gateway *gateway = arg;
    struct sub *sub = find_state(gateway, ANNOUNCED);
    if (sub != NULL) {
        stay_out(gateway, sub, "no answer to its announcement");
    }
}

/* --- one at a time ------------------------------------------------------------------------------
 */

/* Who downloads or burns, but for this one; NULL: nobody. */
static const struct ota_device *busy_with(const struct ota_gateway *gateway, const struct sub *but)
{
    for (size_t i = 0; i < gateway->count; i++) {
        if (&gateway->subs[i] != but && ota_upgrade_is_busy(gateway->subs[i].device)) {
            return gateway->subs[i].device;
        }
    }
    return NULL;
}

static void deliver(const struct sub *sub, const struct ota_link_message *message)
{
    const struct ota_link *link = &sub->device->link;
    link->events->message(link->arg, message);
}

/* The last one that was announced is the first. */
static void let_go_on(struct ota_gateway *gateway)
{
    struct sub *next = NULL;
    for (size_t i = 0; i < gateway->count; i++) {
        struct sub *sub = &gateway->subs[i];
        if (sub->held != NULL && (next == NULL || sub->order > next->order)) {
            next = sub;
        }
    }
    if (next == NULL) {
        return;
    }
    work_after(gateway, OTA_HELD_MS);
    if (busy_with(gateway, next) == NULL) {
        char *held = next->held;
        next->held = NULL;
        deliver(next, &(struct ota_link_message){.topic = next->device->update_topic,
                                                 .payload = held,
                                                 .len = next->held_len});
        free(held);
    }
}

static void hold(struct ota_gateway *gateway, struct sub *sub,
                 const struct ota_link_message *message, const struct ota_device *busy)
{
    drop_held(sub);
    sub->held = malloc(message->len + 1);
    if (sub->held == NULL) {
        return;
    }
    memcpy(sub->held, message->payload, message->len);
    sub->held_len = message->len;
    ota_device_tell(sub->device, OTA_EVENT_IGNORED, "{s:s, s:s+}", "what", "the notice for now",
                    "reason", "its gateway is busy with ", busy->name);
    work_after(gateway, OTA_HELD_MS);
}

static void hear(struct ota_gateway *gateway, struct sub *sub,
                 const struct ota_link_message *message)
{
    struct ota_message parsed;
    const struct ota_device *busy = busy_with(gateway, sub);
    if (busy != NULL && ota_message_parse(message->payload, message->len, &parsed) &&
        parsed.type == OTA_MESSAGE_NOTICE) {
        hold(gateway, sub, message, busy);
        return;
    }
    deliver(sub, message);
}

static void fire_work(void *arg)
{
    struct ota_gateway *gateway = arg;
    close_some(gateway);
    announce_next(gateway);
    let_go_on(gateway);
}

/* --- answers -------------------------------------------------------------------------------------
 */

static bool is_about(const struct ota_gateway *gateway, const struct sub *sub, const json_t *entry)
{
    const char *product = json_string_value(json_object_get(entry, "product_id"));
    const char *name = json_string_value(json_object_get(entry, "device_name"));
    return product != NULL && name != NULL &&
           strcmp(product, gateway->world->options->product) == 0 &&
           strcmp(name, sub->device->name) == 0;
}

static void take_result(struct ota_gateway *gateway, struct sub *sub, int result)
{
    char why[64];
    if (result != 0) {
        (void)snprintf(why, sizeof why, "the gateway may not speak for it (result %d)", result);
        stay_out(gateway, sub, why);
        return;
    }
    ota_loop_cancel(&gateway->world->loop, &gateway->patience);
    sub->mid = ota_link_subscribe(&gateway->link, sub->device->update_topic);
    sub->state = SUBSCRIBING;
}

static void on_result(struct ota_gateway *gateway, const struct ota_link_message *message)
{
    json_t *root = json_loadb(message->payload, message->len, 0, NULL);
    const char *type = json_string_value(json_object_get(root, "type"));
    const json_t *entries = json_object_get(json_object_get(root, "payload"), "devices");
    struct sub *sub = find_state(gateway, ANNOUNCED);
    if (type != NULL && strcmp(type, "online") == 0 && sub != NULL) {
        for (size_t i = 0; i < json_array_size(entries) && sub->state == ANNOUNCED; i++) {
            const json_t *entry = json_array_get(entries, i);
            const json_t *result = json_object_get(entry, "result");
            if (is_about(gateway, sub, entry) && json_is_integer(result)) {
                take_result(gateway, sub, (int)json_integer_value(result));
            }
        }
    }
    json_decref(root);
}

/* --- the one connection
 * ---------------------------------------------------------------------------- */

static void on_up(void *arg)
{
    struct ota_gateway *gateway = arg;
    tell(gateway, OTA_EVENT_CONNECTED, "client_id", gateway->client_id);
}

static void on_subscribed(void *arg)
{
    struct ota_gateway *gateway = arg;
    tell(gateway, OTA_EVENT_SUBSCRIBED, "topic", gateway->result);
    gateway->ready = true;
    work_after(gateway, 0);
}

static void on_also_subscribed(void *arg, int mid, bool granted)
{
    struct ota_gateway *gateway = arg;
    struct sub *sub = find_state(gateway, SUBSCRIBING);
    if (sub == NULL || sub->mid != mid) {
        return;
    }
    if (!granted) {
        stay_out(gateway, sub, "subscription refused");
        return;
    }
    struct ota_link *link = &sub->device->link;
    sub->state = UP;
    link->state = OTA_LINK_UP;
    link->events->up(link->arg);
    link->events->subscribed(link->arg);
    work_after(gateway, 0);
}

static void on_message(void *arg, const struct ota_link_message *message)
{
    struct ota_gateway *gateway = arg;
    if (strcmp(message->topic, gateway->result) == 0) {
        on_result(gateway, message);
        return;
    }
    for (size_t i = 0; i < gateway->count; i++) {
        struct sub *sub = &gateway->subs[i];
        if (sub->state == UP && strcmp(sub->device->update_topic, message->topic) == 0) {
            hear(gateway, sub, message);
            return;
        }
    }
}

/* Each knows its own. */
static void on_acked(void *arg, int mid)
{
    struct ota_gateway *gateway = arg;
    for (size_t i = 0; i < gateway->count; i++) {
        const struct ota_link *link = &gateway->subs[i].device->link;
        if (gateway->subs[i].state == UP) {
            link->events->acked(link->arg, mid);
        }
    }
}

static void on_down(void *arg, const char *why, bool was_up, bool at_will)
{
    struct ota_gateway *gateway = arg;
    gateway->ready = false;
    ota_loop_cancel(&gateway->world->loop, &gateway->patience);
    tell(gateway, was_up ? OTA_EVENT_DISCONNECTED : OTA_EVENT_REFUSED, "reason", why);
    for (size_t i = 0; i < gateway->count; i++) {
        struct sub *sub = &gateway->subs[i];
        if (sub->state == UP) {
            leave(sub, why, at_will);
        }
        sub->state = AWAY;
    }
    queue_wanted(gateway);
}

static void on_gave_up(void *arg, bool unsubscribed)
{
    (void)unsubscribed;
    tell(arg, OTA_EVENT_GAVE_UP, "reason", "");
}

static const struct ota_link_events events = {
    .up = on_up,
    .subscribed = on_subscribed,
    .also_subscribed = on_also_subscribed,
    .message = on_message,
    .acked = on_acked,
    .down = on_down,
    .gave_up = on_gave_up,
};

/* --- what the devices' links ask for
 * ----------------------------------------------------------------- */

static void carry_open(void *data, struct ota_link *link)
{
    struct ota_gateway *gateway = data;
    struct sub *sub = find_link(gateway, link);
    if (sub->state == AWAY) {
        sub->state = QUEUED;
        work_after(gateway, 0);
    }
}

static void carry_close(void *data, struct ota_link *link, bool cut)
{
    struct ota_gateway *gateway = data;
    struct sub *sub = find_link(gateway, link);
    if (sub->state == QUEUED) {
        sub->state = AWAY;
    } else if (sub->state != AWAY) {
        sub->closing = true;
        sub->cut = cut;
        work_after(gateway, 0);
    }
}

static int carry_publish(void *data, const char *topic, const char *text, size_t len, int qos)
{
    struct ota_gateway *gateway = data;
    return ota_link_publish(&gateway->link, topic, text, len, qos);
}

/* --- making
 * ------------------------------------------------------------------------------------------ */

bool ota_gateway_is_name(const char *text)
{
    size_t len = strcspn(text, "/");
    return text[len] == '/' && ota_name_is_product(text, len) &&
           ota_name_is_device(text + len + 1, strlen(text + len + 1));
}

static enum ota_err make_texts(struct ota_gateway *gateway, struct ota_error *error)
{
    const struct ota_options *options = gateway->world->options;
    size_t len = strcspn(options->gateway, "/");
    gateway->product = strndup(options->gateway, len);
    gateway->name = strdup(options->gateway + len + 1);
    const struct {
        const char *pattern;
        char **text;
    } rows[] = {
        {"$gateway/operation/%p/%d", &gateway->operation},
        {"$gateway/operation/result/%p/%d", &gateway->result},
        {options->client_id, &gateway->client_id},
        {options->username, &gateway->username},
        {options->cert, &gateway->cert},
        {options->key, &gateway->key},
    };
    enum ota_err err =
        gateway->product != NULL && gateway->name != NULL ? OTA_OK : ota_error_no_memory(error);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && err == OTA_OK; i++) {
        if (rows[i].pattern != NULL) {
            err = ota_pattern_names(rows[i].pattern, gateway->product, gateway->name, rows[i].text,
                                    error);
        }
    }
    gateway->identity = (struct ota_link_identity){
        .client_id = gateway->client_id,
        .username = gateway->username,
        .password = options->password,
        .cert = gateway->cert,
        .key = gateway->key,
        .topic = gateway->result,
    };
    return err;
}

static enum ota_err make_timers(struct ota_gateway *gateway, struct ota_error *error)
{
    struct ota_loop *loop = &gateway->world->loop;
    enum ota_err err = ota_link_init(&gateway->link, error);
    if (err == OTA_OK) {
        err = ota_loop_timer(loop, &gateway->work, fire_work, gateway, error);
    }
    if (err == OTA_OK) {
        err = ota_loop_timer(loop, &gateway->patience, fire_patience, gateway, error);
    }
    if (err == OTA_OK) {
        err = ota_loop_timer(loop, &gateway->again, fire_again, gateway, error);
    }
    return err;
}

enum ota_err ota_gateway_new(struct ota_world *world, struct ota_gateway **gateway,
                             struct ota_error *error)
{
    size_t count = (size_t)world->options->count;
    struct ota_gateway *made = calloc(1, sizeof *made + count * sizeof made->subs[0]);
    if (made == NULL) {
        return ota_error_no_memory(error);
    }
    made->world = world;
    made->random = (uint64_t)world->options->seed;
    made->carrier = (struct ota_link_carrier){
        .open = carry_open, .close = carry_close, .publish = carry_publish, .data = made};
    made->link = (struct ota_link){.net = &world->net,
                                   .identity = &made->identity,
                                   .backoff = &backoff,
                                   .events = &events,
                                   .arg = made,
                                   .random = &made->random};
    *gateway = made; /* also on failure: to be freed */
    enum ota_err err = make_texts(made, error);
    return err == OTA_OK ? make_timers(made, error) : err;
}

void ota_gateway_free(struct ota_gateway *gateway)
{
    if (gateway == NULL) {
        return;
    }
    ota_link_free(&gateway->link);
    for (size_t i = 0; i < gateway->count; i++) {
        drop_held(&gateway->subs[i]);
    }
    char *const texts[] = {gateway->product, gateway->name, gateway->client_id, gateway->username,
                           gateway->cert,    gateway->key,  gateway->operation, gateway->result};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        free(texts[i]);
    }
    free(gateway);
}

void ota_gateway_add(struct ota_gateway *gateway, struct ota_device *device)
{
    gateway->subs[gateway->count++].device = device;
    device->link.carrier = &gateway->carrier;
}

void ota_gateway_start(struct ota_gateway *gateway)
{
    ota_link_open(&gateway->link);
}
