/* SPDX-License-Identifier: BSD-3-Clause */
#include "probe.h"

#include <mosquitto.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "clock.h"
#include "connect.h"
#include "random.h"

#define WAIT_MS     5000
#define SLICE_MS    100
#define KEEPALIVE_S 60
#define NOT_YET     (-1)
#define REQUESTS    10

struct probe {
    struct mosquitto *mosq;
    int connack;
    int suback;
    int64_t acked_at;    /* of the last PUBACK */
    int64_t answered_at; /* of the last message; 0: none since it was sent */
};

static void on_connect(struct mosquitto *mosq, void *user, int code)
{
    (void)mosq;
    ((struct probe *)user)->connack = code;
}

static void on_subscribe(struct mosquitto *mosq, void *user, int mid, int count, const int *granted)
{
    (void)mosq;
    (void)mid;
    ((struct probe *)user)->suback = count > 0 ? granted[0] : 0x80;
}

static void on_publish(struct mosquitto *mosq, void *user, int mid)
{
    (void)mosq;
    (void)mid;
    ((struct probe *)user)->acked_at = ota_clock_ms();
}

static void on_message(struct mosquitto *mosq, void *user, const struct mosquitto_message *message)
{
    (void)mosq;
    (void)message;
    ((struct probe *)user)->answered_at = ota_clock_ms();
}

static bool prepare(struct probe *probe, const struct ota_settings *settings)
{
    char random[17];
    char id[32];
    ota_random_hex(random, 8);
    (void)snprintf(id, sizeof id, "otactl-%s", random);
    *probe = (struct probe){.connack = NOT_YET, .suback = NOT_YET};
    probe->mosq = mosquitto_new(id, true, probe);
    if (probe->mosq == NULL) {
        return false;
    }
    mosquitto_connect_callback_set(probe->mosq, on_connect);
    mosquitto_subscribe_callback_set(probe->mosq, on_subscribe);
    mosquitto_publish_callback_set(probe->mosq, on_publish);
    mosquitto_message_callback_set(probe->mosq, on_message);
    (void)mosquitto_int_option(probe->mosq, MOSQ_OPT_TCP_NODELAY, 1);
    return ota_link_prepare_tls(probe->mosq, settings) == MOSQ_ERR_SUCCESS;
}

/* Turns the loop until that is no longer NOT_YET, or the connection ends, or time is up. */
static void turn_until(struct probe *probe, const int *state)
{
    int64_t deadline = ota_clock_ms() + WAIT_MS;
    while (*state == NOT_YET && ota_clock_ms() < deadline &&
           mosquitto_loop(probe->mosq, SLICE_MS, 1) == MOSQ_ERR_SUCCESS) {
    }
}

/* The CONNACK's code, or NOT_YET where there was none: under TLS that is a refusal, too. */
static int log_in(struct probe *probe, const struct ota_settings *settings, const char *user,
                  const char *password)
{
    if (mosquitto_username_pw_set(probe->mosq, user, password) != MOSQ_ERR_SUCCESS ||
        mosquitto_connect(probe->mosq, settings->host, settings->port, KEEPALIVE_S) !=
            MOSQ_ERR_SUCCESS) {
        return NOT_YET;
    }
    turn_until(probe, &probe->connack);
    return probe->connack;
}

static void finish(struct probe *probe)
{
    if (probe->mosq != NULL) {
        (void)mosquitto_disconnect(probe->mosq);
        mosquitto_destroy(probe->mosq);
    }
}

enum ota_probe_result ota_probe_login(const struct ota_settings *settings, const char *user,
                                      const char *password)
{
    struct probe probe;
    struct ota_settings bare = *settings;
    bare.tls = ota_settings_use_tls(settings);
    bare.cert = NULL;
    bare.key = NULL;
    enum ota_probe_result result = OTA_PROBE_UNKNOWN;
    if (prepare(&probe, &bare)) {
        result = log_in(&probe, &bare, user, password) == 0 ? OTA_PROBE_YES : OTA_PROBE_NO;
    }
    finish(&probe);
    return result;
}

static bool log_in_as_self(struct probe *probe, const struct ota_settings *settings)
{
    const char *password = settings->user != NULL ? settings->password : NULL;
    return prepare(probe, settings) && log_in(probe, settings, settings->user, password) == 0;
}

static enum ota_probe_result subscribe(struct probe *probe, const char *topic)
{
    if (mosquitto_subscribe(probe->mosq, NULL, topic, 1) != MOSQ_ERR_SUCCESS) {
        return OTA_PROBE_UNKNOWN;
    }
    turn_until(probe, &probe->suback);
    return probe->suback == NOT_YET ? OTA_PROBE_UNKNOWN
           : probe->suback < 0x80   ? OTA_PROBE_YES
                                    : OTA_PROBE_NO;
}

enum ota_probe_result ota_probe_subscribe(const struct ota_settings *settings, const char *topic)
{
    struct probe probe;
    enum ota_probe_result result = OTA_PROBE_UNKNOWN;
    if (log_in_as_self(&probe, settings)) {
        result = subscribe(&probe, topic);
    }
    finish(&probe);
    return result;
}

/* The kernel forgets the wish, so it is said again each time. */
static void acknowledge_late(struct probe *probe)
{
    int off = 0;
    (void)setsockopt(mosquitto_socket(probe->mosq), IPPROTO_TCP, TCP_QUICKACK, &off, sizeof off);
}

static int64_t exchange(struct probe *probe, const struct ota_settings *settings,
                        const char *request)
{
    int64_t deadline = ota_clock_ms() + WAIT_MS;
    probe->acked_at = 0;
    probe->answered_at = 0;
    int rc = mosquitto_publish(probe->mosq, NULL, settings->topic, (int)strlen(request), request, 1,
                               false);
    while (rc == MOSQ_ERR_SUCCESS && probe->answered_at == 0 && ota_clock_ms() < deadline) {
        acknowledge_late(probe);
        rc = mosquitto_loop(probe->mosq, SLICE_MS, 1);
    }
    bool both = probe->answered_at != 0 && probe->acked_at != 0;
    return both ? probe->answered_at - probe->acked_at : -1;
}

int64_t ota_probe_delay_ms(const struct ota_settings *settings, const char *request, int64_t enough)
{
    struct probe probe;
    char topic[160];
    int64_t least = -1;
    (void)snprintf(topic, sizeof topic, "%s/response", settings->topic);
    if (log_in_as_self(&probe, settings) && subscribe(&probe, topic) == OTA_PROBE_YES) {
        for (int i = 0; i < REQUESTS && (least < 0 || least > enough); i++) {
            int64_t delay = exchange(&probe, settings, request);
            if (delay < 0) {
                break;
            }
            least = least < 0 || delay < least ? delay : least;
        }
    }
    finish(&probe);
    return least;
}
