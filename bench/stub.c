/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A plugin that registers what ours registers and does nothing: what the hooks themselves cost.
 * plugin_opt_thread true also starts a thread that sleeps: from then on glibc's malloc locks.
 */

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "../plugin/broker_mosquitto.h"

#define EXPORT __attribute__((visibility("default")))

static int on_event(int kind, void *data, void *userdata)
{
    (void)kind;
    (void)data;
    (void)userdata;
    return MOSQ_ERR_SUCCESS;
}

static const struct {
    int event;
    const char *data;
} events[] = {
    {MOSQ_EVT_ACL_CHECK, NULL},  {MOSQ_EVT_MESSAGE, NULL}, {MOSQ_EVT_CONTROL, "$CONTROL/ota/v1"},
    {MOSQ_EVT_DISCONNECT, NULL}, {MOSQ_EVT_TICK, NULL},    {MOSQ_EVT_RELOAD, NULL},
};

static mosquitto_plugin_id_t *id;

static void *sleep_on(void *data)
{
    for (;;) {
        (void)pause();
    }
    return data;
}

EXPORT int mosquitto_plugin_version(int count, const int *versions)
{
    (void)count;
    (void)versions;
    return MOSQ_PLUGIN_VERSION;
}

EXPORT int mosquitto_plugin_init(mosquitto_plugin_id_t *identifier, void **userdata,
                                 struct mosquitto_opt *options, int count)
{
    pthread_t thread;
    (void)userdata;
    id = identifier;
    for (int i = 0; i < count; i++) {
        if (strcmp(options[i].key, "thread") == 0 &&
            pthread_create(&thread, NULL, sleep_on, NULL) == 0) {
            (void)pthread_detach(thread);
        }
    }
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        int rc = mosquitto_callback_register(id, events[i].event, on_event, events[i].data, NULL);
        if (rc != MOSQ_ERR_SUCCESS) {
            return rc;
        }
    }
    return MOSQ_ERR_SUCCESS;
}

EXPORT int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int count)
{
    (void)userdata;
    (void)options;
    (void)count;
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        (void)mosquitto_callback_unregister(id, events[i].event, on_event, events[i].data);
    }
    return MOSQ_ERR_SUCCESS;
}
