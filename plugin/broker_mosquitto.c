/* SPDX-License-Identifier: BSD-3-Clause */
/* The real seam: Mosquitto's functions, the log line queue for other threads. */
#include "broker_mosquitto.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "broker.h"
#include "broker_thread.h"

#define OTA_LINE_MAX  400
#define OTA_LINES_MAX 64

static const int levels[] = {
    [OTA_LOG_DEBUG] = MOSQ_LOG_DEBUG,   [OTA_LOG_INFO] = MOSQ_LOG_INFO,
    [OTA_LOG_NOTICE] = MOSQ_LOG_NOTICE, [OTA_LOG_WARNING] = MOSQ_LOG_WARNING,
    [OTA_LOG_ERROR] = MOSQ_LOG_ERR,
};

/* Mosquitto's log may be used on its own thread alone; other threads leave their lines here. */
static struct {
    pthread_mutex_t lock;
    pthread_t broker;
    bool known;
    int count;
    int lost;
    struct {
        enum ota_log_level level;
        char text[OTA_LINE_MAX];
    } lines[OTA_LINES_MAX];
} waiting = {.lock = PTHREAD_MUTEX_INITIALIZER};

void ota_broker_thread_is_this(void)
{
    waiting.broker = pthread_self();
    waiting.known = true;
}

bool ota_broker_thread_is(void)
{
    return !waiting.known || pthread_equal(pthread_self(), waiting.broker) != 0;
}

static void keep(enum ota_log_level level, const char *text)
{
    (void)pthread_mutex_lock(&waiting.lock);
    if (waiting.count < OTA_LINES_MAX) {
        waiting.lines[waiting.count].level = level;
        (void)snprintf(waiting.lines[waiting.count].text, OTA_LINE_MAX, "%s", text);
        waiting.count++;
    } else {
        waiting.lost++;
    }
    (void)pthread_mutex_unlock(&waiting.lock);
}

void ota_log(enum ota_log_level level, const char *format, ...)
{
    char text[OTA_LINE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (ota_broker_thread_is()) {
        mosquitto_log_printf(levels[level], "mosquitto-ota: %s", text);
    } else {
        keep(level, text);
    }
}

void ota_log_flush(void)
{
    (void)pthread_mutex_lock(&waiting.lock);
    for (int i = 0; i < waiting.count; i++) {
        mosquitto_log_printf(levels[waiting.lines[i].level], "mosquitto-ota: %s",
                             waiting.lines[i].text);
    }
    if (waiting.lost > 0) {
        mosquitto_log_printf(MOSQ_LOG_WARNING, "mosquitto-ota: %d lines were lost", waiting.lost);
    }
    waiting.count = 0;
    waiting.lost = 0;
    (void)pthread_mutex_unlock(&waiting.lock);
}

static uint64_t published;

uint64_t ota_broker_published(void)
{
    return published;
}

bool ota_broker_publish(const char *client_id, const char *topic, const void *payload, size_t len,
                        int qos)
{
    published++;
    return mosquitto_broker_publish_copy(client_id, topic, (int)len, payload, qos, false, NULL) ==
           MOSQ_ERR_SUCCESS;
}

const char *ota_broker_client_id(const struct mosquitto *client)
{
    return mosquitto_client_id(client);
}

const char *ota_broker_username(const struct mosquitto *client)
{
    return mosquitto_client_username(client);
}

const char *ota_broker_address(const struct mosquitto *client)
{
    return mosquitto_client_address(client);
}

bool ota_broker_set_username(struct mosquitto *client, const char *username)
{
    return mosquitto_set_username(client, username) == MOSQ_ERR_SUCCESS;
}

/* One that hasn't said CONNECT yet has no id, and nothing to lose. */
void ota_broker_kick(const struct mosquitto *client)
{
    const char *id = mosquitto_client_id(client);
    if (id != NULL) {
        (void)mosquitto_kick_client_by_clientid(id, true);
    }
}

bool ota_broker_is_bridge(const struct mosquitto *client)
{
    return mosquitto_client_address(client) == NULL;
}
