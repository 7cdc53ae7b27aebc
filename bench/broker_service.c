/* SPDX-License-Identifier: BSD-3-Clause */
#include "broker_service.h"

#include <mosquitto.h>
#include <stdarg.h>
#include <stdio.h>

#include "broker.h"

static struct mosquitto *broker;

void bench_broker_is(struct mosquitto *connection)
{
    broker = connection;
}

void ota_log(enum ota_log_level level, const char *format, ...)
{
    va_list args;
    if (level < OTA_LOG_WARNING) {
        return;
    }
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
}

void ota_log_flush(void)
{
}

/* To the topic alone. No event of ours has a subscriber here: as the broker that ours runs in
 * finds none, so the service may know that it needn't send them. */
bool ota_broker_publish(const char *client_id, const char *topic, const void *payload, size_t len,
                        int qos)
{
    if (client_id == NULL) {
        return true;
    }
    return mosquitto_publish(broker, NULL, topic, (int)len, payload, qos, false) ==
           MOSQ_ERR_SUCCESS;
}

const char *ota_broker_client_id(const struct mosquitto *client)
{
    (void)client;
    return "service";
}

const char *ota_broker_username(const struct mosquitto *client)
{
    (void)client;
    return NULL;
}

const char *ota_broker_address(const struct mosquitto *client)
{
    (void)client;
    return NULL;
}

bool ota_broker_set_username(struct mosquitto *client, const char *username)
{
    (void)client;
    (void)username;
    return false;
}

void ota_broker_kick(const struct mosquitto *client)
{
    (void)client;
}

bool ota_broker_is_bridge(const struct mosquitto *client)
{
    (void)client;
    return false;
}
