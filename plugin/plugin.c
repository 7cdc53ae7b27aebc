/* SPDX-License-Identifier: BSD-3-Clause */
/* The entry points that Mosquitto calls: load, events, unload. Thin: decisions are elsewhere. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "broker.h"
#include "broker_conf.h"
#include "broker_mosquitto.h"
#include "broker_thread.h"
#include "neighbours.h"
#include "service.h"

#define OTA_EXPORT __attribute__((visibility("default")))

/* Kept out of its caller, which all foreign traffic goes through. */
#define OTA_SLOW_PATH __attribute__((noinline))

/* MOSQ_ERR_PLUGIN_IGNORE of 2.1: as if not registered. 2.0 doesn't know it. */
#define OTA_ERR_PLUGIN_IGNORE 32

/* Of 2.1, with a mosquitto_evt_disconnect by another name: where the session stays. */
#define OTA_EVT_CLIENT_OFFLINE 28

/* So long commands may take in a loop of 2.1, beside what the tick is allowed. */
#define OTA_AT_ONCE_US 2000

#define OTA_NO_TICK_MS 5000

/* Three of Mosquitto's events have these by the same names. */
#define OTA_MESSAGE_OF(event)                                                                      \
    {                                                                                              \
        .client = (event)->client, .payload = (event)->payload, .len = (event)->payloadlen,        \
        .qos = (event)->qos, .retain = (event)->retain                                             \
    }

struct plugin {
    mosquitto_plugin_id_t *id;
    struct ota_service service;
    bool is_2_1;
    int foreign;       /* what ACL_CHECK answers for topics of others */
    int deferred;      /* what BASIC_AUTH and PSK_KEY answer for other clients */
    int64_t worked_us; /* on commands in this loop, before its tick */
};

/* --- messages ------------------------------------------------------------------------------- */

static enum ota_access_op op_of(int access)
{
    return access == MOSQ_ACL_WRITE       ? OTA_ACCESS_PUBLISH
           : access == MOSQ_ACL_SUBSCRIBE ? OTA_ACCESS_SUBSCRIBE
                                          : OTA_ACCESS_RECEIVE;
}

OTA_SLOW_PATH static int on_dollar_acl(struct plugin *plugin,
                                       const struct mosquitto_evt_acl_check *event)
{
    const struct ota_message message = OTA_MESSAGE_OF(event);
    const struct ota_topic topic = ota_topic_parse(&plugin->service.access, event->topic);
    if (topic.kind == OTA_TOPIC_FOREIGN) {
        return plugin->foreign;
    }
    if (!ota_broker_thread_is()) {
        return MOSQ_ERR_ACL_DENIED; /* 2.1's http_api asks from a thread of its own */
    }
    if (event->access == MOSQ_ACL_UNSUBSCRIBE) {
        return MOSQ_ERR_SUCCESS;
    }
    return ota_traffic_may(&plugin->service.traffic, op_of(event->access), &topic, &message)
               ? MOSQ_ERR_SUCCESS
               : MOSQ_ERR_ACL_DENIED;
}

static int on_acl_check(int kind, void *data, void *userdata)
{
    const struct mosquitto_evt_acl_check *event = data;
    struct plugin *plugin = userdata;
    (void)kind;
    if (event->topic[0] != '$') {
        plugin->service.around.foreign_asked += event->access == MOSQ_ACL_WRITE;
        return plugin->foreign;
    }
    return on_dollar_acl(plugin, event);
}

OTA_SLOW_PATH static int on_dollar_message(struct plugin *plugin,
                                           const struct mosquitto_evt_message *event)
{
    const struct ota_message message = OTA_MESSAGE_OF(event);
    const struct ota_topic topic = ota_topic_parse(&plugin->service.access, event->topic);
    if (topic.kind == OTA_TOPIC_FOREIGN) {
        return MOSQ_ERR_SUCCESS;
    }
    switch (ota_traffic_take(&plugin->service.traffic, &topic, &message)) {
    case OTA_INTAKE_TAKEN:
        return MOSQ_ERR_SUCCESS;
    case OTA_INTAKE_REFUSED:
        return MOSQ_ERR_ACL_DENIED;
    case OTA_INTAKE_NOT_COMMITTED:
        break;
    }
    return MOSQ_ERR_UNKNOWN; /* no PUBACK: the connection closes and the device sends again */
}

static int on_message(int kind, void *data, void *userdata)
{
    const struct mosquitto_evt_message *event = data;
    struct plugin *plugin = userdata;
    (void)kind;
    if (event->topic[0] != '$') {
        plugin->service.around.foreign_passed = true;
        return MOSQ_ERR_SUCCESS;
    }
    return on_dollar_message(userdata, event);
}

/* With per_listener_settings Mosquitto 2.0 never ticks, and nothing would ever be answered. */
static void check_ticks(const struct plugin *plugin)
{
    if (ota_now_coarse() - plugin->service.ticked_at > OTA_NO_TICK_MS) {
        ota_log(OTA_LOG_ERROR, "the broker gives no ticks, so no command is answered: set "
                               "per_listener_settings false in mosquitto.conf");
    }
}

/* 2.1 ticks before it waits, for up to 100 ms, and sends only after that: so what can be answered
 * is answered before the tick. */
static void answer_at_once(struct plugin *plugin)
{
    if (!plugin->is_2_1 || plugin->worked_us >= OTA_AT_ONCE_US) {
        return;
    }
    int64_t began = ota_now_us();
    ota_control_work(plugin->service.control, OTA_AT_ONCE_US / 1000);
    plugin->worked_us += ota_now_us() - began;
}

/* Never anything but success: another code would disconnect the admin. */
static int on_control(int kind, void *data, void *userdata)
{
    const struct mosquitto_evt_control *event = data;
    const struct ota_message message = OTA_MESSAGE_OF(event);
    struct plugin *plugin = userdata;
    (void)kind;
    if (ota_traffic_command(&plugin->service.traffic, &message)) {
        check_ticks(plugin);
        answer_at_once(plugin);
    }
    return MOSQ_ERR_SUCCESS;
}

/* --- the rest ------------------------------------------------------------------------------- */

static int on_disconnect(int kind, void *data, void *userdata)
{
    const struct mosquitto_evt_disconnect *event = data;
    struct plugin *plugin = userdata;
    (void)kind;
    ota_traffic_gone(&plugin->service.traffic, event->client);
    return MOSQ_ERR_SUCCESS;
}

/* What 2.1's tick publishes goes out after the wait that comes next: that is ended, when the others
 * have had as long as this tick took. */
static void tick_2_1(struct plugin *plugin)
{
    uint64_t published = ota_broker_published();
    int64_t began = ota_now_us();
    ota_service_tick(&plugin->service);
    if (ota_broker_published() != published) {
        ota_waker_go_on(&plugin->service.waker, ota_now_us() - began);
    }
}

static int on_tick(int kind, void *data, void *userdata)
{
    struct mosquitto_evt_tick *event = data;
    struct plugin *plugin = userdata;
    (void)kind;
    plugin->worked_us = 0;
    if (plugin->is_2_1) {
        /* It reckons the next tick from now, by the wall clock: set back by an hour, it would wait
         * for an hour. So the next one is due since 1970. */
        event->next_s = -event->now_s;
        tick_2_1(plugin);
    } else {
        ota_service_tick(&plugin->service);
    }
    return MOSQ_ERR_SUCCESS;
}

static int on_reload(int kind, void *data, void *userdata)
{
    struct plugin *plugin = userdata;
    (void)kind;
    (void)data;
    ota_service_reload(&plugin->service);
    /* 2.0 asks no further plugin after another answer; 2.1 ends the broker after this one */
    return plugin->is_2_1 ? MOSQ_ERR_SUCCESS : MOSQ_ERR_PLUGIN_DEFER;
}

/* --- log-in of devices ------------------------------------------------------------------------ */

static int answer_of(const struct plugin *plugin, enum ota_auth_verdict verdict)
{
    switch (verdict) {
    case OTA_AUTH_PROVED:
        return MOSQ_ERR_SUCCESS;
    case OTA_AUTH_REFUSED:
        return MOSQ_ERR_AUTH;
    case OTA_AUTH_DEFERRED:
        break;
    }
    return plugin->deferred;
}

static int on_basic_auth(int kind, void *data, void *userdata)
{
    const struct mosquitto_evt_basic_auth *event = data;
    const struct plugin *plugin = userdata;
    (void)kind;
    if (!ota_broker_thread_is()) {
        return plugin->deferred; /* 2.1's http_api: no device comes that way */
    }
    return answer_of(plugin,
                     ota_device_auth_login(plugin->service.around.device_auth, event->client,
                                           event->username, event->password));
}

static int on_psk_key(int kind, void *data, void *userdata)
{
    const struct mosquitto_evt_psk_key *event = data;
    const struct plugin *plugin = userdata;
    (void)kind;
    return answer_of(plugin,
                     ota_device_auth_psk(plugin->service.around.device_auth, event->client,
                                         event->identity, event->key, (size_t)event->max_key_len));
}

enum wanted { ALWAYS, SINCE_2_1, WITH_DEVICE_AUTH };

/* One row an event: registers, and walked backwards unregisters. Who may log in changes already
 * when the last two are registered: so they are only where they are wanted. */
static const struct {
    int event;
    MOSQ_FUNC_generic_callback callback;
    const char *data;
    enum wanted wanted;
} events[] = {
    {MOSQ_EVT_ACL_CHECK, on_acl_check, NULL, ALWAYS},
    {MOSQ_EVT_MESSAGE, on_message, NULL, ALWAYS},
    {MOSQ_EVT_CONTROL, on_control, OTA_CONTROL_TOPIC, ALWAYS},
    {MOSQ_EVT_DISCONNECT, on_disconnect, NULL, ALWAYS},
    {OTA_EVT_CLIENT_OFFLINE, on_disconnect, NULL, SINCE_2_1},
    {MOSQ_EVT_TICK, on_tick, NULL, ALWAYS},
    {MOSQ_EVT_RELOAD, on_reload, NULL, ALWAYS},
    {MOSQ_EVT_BASIC_AUTH, on_basic_auth, NULL, WITH_DEVICE_AUTH},
    {MOSQ_EVT_PSK_KEY, on_psk_key, NULL, WITH_DEVICE_AUTH},
};

static bool is_wanted(const struct plugin *plugin, size_t row)
{
    switch (events[row].wanted) {
    case SINCE_2_1:
        return plugin->is_2_1;
    case WITH_DEVICE_AUTH:
        return plugin->service.around.device_auth != NULL;
    case ALWAYS:
        break;
    }
    return true;
}

static void unregister(struct plugin *plugin, size_t count)
{
    while (count > 0) {
        count--;
        if (is_wanted(plugin, count)) {
            (void)mosquitto_callback_unregister(plugin->id, events[count].event,
                                                events[count].callback, events[count].data);
        }
    }
}

static int register_all(struct plugin *plugin)
{
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        if (!is_wanted(plugin, i)) {
            continue;
        }
        int rc = mosquitto_callback_register(plugin->id, events[i].event, events[i].callback,
                                             events[i].data, plugin);
        if (rc != MOSQ_ERR_SUCCESS) {
            ota_log(OTA_LOG_ERROR, "this broker can't register event %d (%d)", events[i].event, rc);
            unregister(plugin, i);
            return rc;
        }
    }
    return MOSQ_ERR_SUCCESS;
}

static enum ota_err read_options(struct mosquitto_opt *options, int count, struct ota_options *read,
                                 struct ota_error *error)
{
    const char **keys = calloc((size_t)count * 2 + 1, sizeof *keys);
    if (keys == NULL) {
        return ota_error_no_memory(error);
    }
    for (int i = 0; i < count; i++) {
        keys[i] = options[i].key;
        keys[count + i] = options[i].value;
    }
    enum ota_err err = ota_options_read(keys, keys + count, count, read, error);
    free(keys);
    return err;
}

/* A subscriber or a will that it lets in leaves us no trace: so it is said before there is one. */
static void look_around(struct plugin *plugin)
{
    struct ota_surroundings *around = &plugin->service.around;
    if (ota_neighbours_before(around->before, sizeof around->before)) {
        ota_log(OTA_LOG_WARNING,
                "%s is loaded before us, and what it decides about our topics counts: put the "
                "plugin line of mosquitto_ota.so first in mosquitto.conf",
                around->before);
    }
}

/* Tells 2.1 who we are, for its log and $SYS; 2.0 has no such function, and one .so is for both. */
static bool introduce(mosquitto_plugin_id_t *identifier)
{
    int (*set_info)(mosquitto_plugin_id_t *, const char *, const char *);
    void *found = dlsym(RTLD_DEFAULT, "mosquitto_plugin_set_info");
    if (found == NULL) {
        return false;
    }
    memcpy(&set_info, &found, sizeof set_info);
    (void)set_info(identifier, "mosquitto-ota", OTA_VERSION);
    return true;
}

OTA_EXPORT int mosquitto_plugin_version(int count, const int *versions)
{
    for (int i = 0; i < count; i++) {
        if (versions[i] == MOSQ_PLUGIN_VERSION) {
            return MOSQ_PLUGIN_VERSION;
        }
    }
    return -1;
}

OTA_EXPORT int mosquitto_plugin_init(mosquitto_plugin_id_t *identifier, void **userdata,
                                     struct mosquitto_opt *options, int option_count)
{
    struct ota_options read = {0};
    struct ota_error error = {0};
    ota_broker_thread_is_this();
    struct plugin *plugin = calloc(1, sizeof *plugin);
    if (plugin == NULL) {
        return MOSQ_ERR_NOMEM;
    }
    plugin->id = identifier;
    plugin->is_2_1 = introduce(identifier);
    enum ota_err err = read_options(options, option_count, &read, &error);
    if (err == OTA_OK && !plugin->is_2_1) {
        err = ota_broker_conf_check(&read, &error);
        if (err != OTA_OK) {
            ota_options_free(&read);
        }
    }
    if (err == OTA_OK) {
        bool allow = read.acl_fallback != NULL && strcmp(read.acl_fallback, "allow") == 0;
        plugin->foreign = plugin->is_2_1 ? OTA_ERR_PLUGIN_IGNORE
                          : allow        ? MOSQ_ERR_SUCCESS
                                         : MOSQ_ERR_PLUGIN_DEFER;
        plugin->deferred = plugin->is_2_1 ? OTA_ERR_PLUGIN_IGNORE : MOSQ_ERR_PLUGIN_DEFER;
        err = ota_service_start(&plugin->service, &read, plugin->is_2_1 ? "2.1" : "2.0", &error);
        if (err == OTA_OK && allow && !plugin->is_2_1) {
            ota_log(OTA_LOG_NOTICE, "acl_fallback is allow: an acl_file, and plugins after this "
                                    "one, are not asked about other topics");
        }
    }
    if (err != OTA_OK) {
        ota_log(OTA_LOG_ERROR, "%s", error.text);
        free(plugin);
        return MOSQ_ERR_INVAL;
    }
    int rc = register_all(plugin);
    if (rc != MOSQ_ERR_SUCCESS) {
        ota_service_stop(&plugin->service);
        free(plugin);
        return rc;
    }
    *userdata = plugin;
    look_around(plugin);
    ota_log(OTA_LOG_NOTICE, "version " OTA_VERSION ", %u devices, %u unfinished tasks, %s",
            plugin->service.core.fleet.device_count, plugin->service.core.fleet.task_count,
            plugin->service.options.db_path);
    return MOSQ_ERR_SUCCESS;
}

OTA_EXPORT int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int count)
{
    struct plugin *plugin = userdata;
    (void)options;
    (void)count;
    if (plugin != NULL) {
        unregister(plugin, sizeof events / sizeof events[0]);
        ota_service_stop(&plugin->service);
        free(plugin);
    }
    return MOSQ_ERR_SUCCESS;
}
