/* SPDX-License-Identifier: BSD-3-Clause */
#include "fake_broker.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct fake_message *messages;
static size_t message_count;
static bool fail_publish;
static bool fail_naming;
static int kicks;
static const struct mosquitto *kicked;

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static struct fake_log_line log_lines[FAKE_LOG_LINES];
static size_t log_count;

static _Atomic int64_t mono_ms = FAKE_MONO_START;
static _Atomic int64_t unix_ms = FAKE_UNIX_START;

void fake_broker_reset(void)
{
    fake_broker_clear_messages();
    fake_broker_clear_log();
    fake_broker_fail_publish(false);
    fake_broker_fail_naming(false);
    kicks = 0;
    kicked = NULL;
    fake_broker_set_mono(FAKE_MONO_START);
    fake_broker_set_unix(FAKE_UNIX_START);
}

size_t fake_broker_message_count(void)
{
    return message_count;
}

const struct fake_message *fake_broker_message(size_t index)
{
    return index < message_count ? &messages[index] : NULL;
}

const struct fake_message *fake_broker_last_on(const char *topic)
{
    for (size_t i = message_count; i > 0; i--) {
        if (strcmp(messages[i - 1].topic, topic) == 0) {
            return &messages[i - 1];
        }
    }
    return NULL;
}

void fake_broker_clear_messages(void)
{
    for (size_t i = 0; i < message_count; i++) {
        free(messages[i].client_id);
        free(messages[i].topic);
        free(messages[i].payload);
    }
    free(messages);
    messages = NULL;
    message_count = 0;
}

void fake_broker_fail_publish(bool fail)
{
    fail_publish = fail;
}

size_t fake_broker_log_count(void)
{
    pthread_mutex_lock(&log_lock);
    size_t count = log_count;
    pthread_mutex_unlock(&log_lock);
    return count;
}

static bool line_at(size_t back, struct fake_log_line *line)
{
    if (back >= log_count || back >= FAKE_LOG_LINES) {
        return false;
    }
    *line = log_lines[(log_count - 1 - back) % FAKE_LOG_LINES];
    return true;
}

bool fake_broker_log_line(size_t back, struct fake_log_line *line)
{
    pthread_mutex_lock(&log_lock);
    bool found = line_at(back, line);
    pthread_mutex_unlock(&log_lock);
    return found;
}

bool fake_broker_logged(const char *text)
{
    struct fake_log_line line;
    for (size_t back = 0; fake_broker_log_line(back, &line); back++) {
        if (strstr(line.text, text) != NULL) {
            return true;
        }
    }
    return false;
}

void fake_broker_clear_log(void)
{
    pthread_mutex_lock(&log_lock);
    log_count = 0;
    pthread_mutex_unlock(&log_lock);
}

void fake_broker_set_mono(int64_t ms)
{
    atomic_store(&mono_ms, ms);
}

void fake_broker_set_unix(int64_t ms)
{
    atomic_store(&unix_ms, ms);
}

void fake_broker_advance(int64_t ms)
{
    atomic_fetch_add(&mono_ms, ms);
    atomic_fetch_add(&unix_ms, ms);
}

void ota_log(enum ota_log_level level, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    pthread_mutex_lock(&log_lock);
    struct fake_log_line *line = &log_lines[log_count++ % FAKE_LOG_LINES];
    line->level = level;
    (void)vsnprintf(line->text, sizeof line->text, format, args);
    pthread_mutex_unlock(&log_lock);
    va_end(args);
}

void ota_log_flush(void)
{
}

/* A copy with a terminator; a test that runs out of memory may die. */
static char *copy(const void *bytes, size_t len)
{
    char *text = malloc(len + 1);
    if (text == NULL) {
        abort();
    }
    if (len > 0) {
        memcpy(text, bytes, len);
    }
    text[len] = '\0';
    return text;
}

bool ota_broker_publish(const char *client_id, const char *topic, const void *payload, size_t len,
                        int qos)
{
    if (fail_publish) {
        return false;
    }
    struct fake_message *grown = realloc(messages, (message_count + 1) * sizeof *messages);
    if (grown == NULL) {
        return false;
    }
    messages = grown;
    messages[message_count++] = (struct fake_message){
        .client_id = client_id != NULL ? copy(client_id, strlen(client_id)) : NULL,
        .topic = copy(topic, strlen(topic)),
        .payload = copy(payload, len),
        .len = len,
        .qos = qos,
    };
    return true;
}

const char *ota_broker_client_id(const struct mosquitto *client)
{
    return client != NULL ? client->id : NULL;
}

const char *ota_broker_username(const struct mosquitto *client)
{
    return client != NULL ? client->username : NULL;
}

const char *ota_broker_address(const struct mosquitto *client)
{
    return client->address;
}

bool ota_broker_set_username(struct mosquitto *client, const char *username)
{
    if (fail_naming) {
        return false;
    }
    (void)snprintf(client->given, sizeof client->given, "%s", username);
    client->username = client->given;
    return true;
}

void ota_broker_kick(const struct mosquitto *client)
{
    kicks++;
    kicked = client;
}

int fake_broker_kicks(const struct mosquitto **last)
{
    *last = kicked;
    return kicks;
}

void fake_broker_fail_naming(bool fail)
{
    fail_naming = fail;
}

bool ota_broker_is_bridge(const struct mosquitto *client)
{
    return client->bridge;
}

int64_t ota_now_mono(void)
{
    return atomic_load(&mono_ms);
}

/* As far behind as the real one may be. */
int64_t ota_now_coarse(void)
{
    return ota_now_mono() / 10 * 10;
}

int64_t ota_now_unix(void)
{
    return atomic_load(&unix_ms);
}

int64_t ota_now_us(void)
{
    return ota_now_mono() * 1000;
}
