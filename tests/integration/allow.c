/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A plugin that says yes, as somebody else's might: what it leads to before ours and after ours.
 * Built twice, since a broker loads both (CMakeLists.txt):
 *
 *   allow.so   everybody may do everything; plugin_opt_only publish, subscribe or receive: decides
 *              about that alone
 *   let_in.so  everybody may log in
 */

#include <string.h>

#include "../../plugin/broker_mosquitto.h"

#define EXPORT __attribute__((visibility("default")))

static mosquitto_plugin_id_t *id;
static int only;

static int on_event(int kind, void *data, void *userdata)
{
    const struct mosquitto_evt_acl_check *event = data;
    (void)userdata;
    return kind != MOSQ_EVT_ACL_CHECK || only == 0 || event->access == only ? MOSQ_ERR_SUCCESS
                                                                            : MOSQ_ERR_PLUGIN_DEFER;
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
    id = identifier;
    for (int i = 0; i < count; i++) {
        if (strcmp(options[i].key, "only") == 0) {
            only = strcmp(options[i].value, "publish") == 0     ? MOSQ_ACL_WRITE
                   : strcmp(options[i].value, "subscribe") == 0 ? MOSQ_ACL_SUBSCRIBE
                                                                : MOSQ_ACL_READ;
        }
    }
    return mosquitto_callback_register(id, OTA_EVENT, on_event, NULL, NULL);
}

EXPORT int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int count)
{
    (void)userdata;
    (void)options;
    (void)count;
    return mosquitto_callback_unregister(id, OTA_EVENT, on_event, NULL);
}
