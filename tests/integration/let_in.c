/* SPDX-License-Identifier: BSD-3-Clause */
/* A plugin that lets everybody log in, for tests in which ours leaves log-ins to others. */
#include "../../plugin/broker_mosquitto.h"

#define EXPORT __attribute__((visibility("default")))

static mosquitto_plugin_id_t *id;

static int on_basic_auth(int kind, void *data, void *userdata)
{
    (void)kind;
    (void)data;
    (void)userdata;
    return MOSQ_ERR_SUCCESS;
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
    (void)userdata;
    (void)options;
    (void)count;
    id = identifier;
    return mosquitto_callback_register(id, MOSQ_EVT_BASIC_AUTH, on_basic_auth, NULL, NULL);
}

EXPORT int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int count)
{
    (void)userdata;
    (void)options;
    (void)count;
    return mosquitto_callback_unregister(id, MOSQ_EVT_BASIC_AUTH, on_basic_auth, NULL);
}
