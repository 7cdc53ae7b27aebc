/* SPDX-License-Identifier: BSD-3-Clause */
#include "connect.h"

#include <errno.h>
#include <mosquitto.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "clock.h"
#include "explain.h"
#include "random.h"

#define KEEPALIVE_S  60
#define SLICE_MS     200
#define REOPEN_MS    250
#define NOT_YET      (-1)
#define SUBACK_NO    0x80
#define CLIENT_BYTES 8

struct ota_link {
    const struct ota_settings *settings;
    struct mosquitto *mosq; /* NULL while there is no connection */
    char id[32];            /* a random one, where none was given */
    char run[9];            /* tells this process's answers from any other's */
    char topic[160];        /* of the answers */
    int connack;
    int suback;
    bool was_open;
    bool was_answered;
    bool lost;
    uint64_t serial;
    const char *listened; /* NULL: nothing but answers */
    bool news;            /* something was said there */
    json_t *answers;      /* by correlationData */
    json_t *orphan;       /* a refusal that names no command: the envelope was not understood */
    char log[200];        /* libmosquitto's last complaint: why TLS failed */
};

static volatile sig_atomic_t interrupted;

static void note_signal(int number)
{
    interrupted = number;
}

static void ignore_signal(int number)
{
    (void)number;
}

void ota_link_catch_interrupts(struct ota_link *link)
{
    (void)link;
    struct sigaction action = {.sa_handler = note_signal};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

static void on_connect(struct mosquitto *mosq, void *user, int code)
{
    (void)mosq;
    struct ota_link *link = user;
    link->connack = code;
}

static void on_subscribe(struct mosquitto *mosq, void *user, int mid, int count, const int *granted)
{
    (void)mosq;
    (void)mid;
    struct ota_link *link = user;
    link->suback = count > 0 ? granted[0] : SUBACK_NO;
}

static void on_log(struct mosquitto *mosq, void *user, int level, const char *text)
{
    (void)mosq;
    struct ota_link *link = user;
    if (level == MOSQ_LOG_ERR) {
        (void)snprintf(link->log, sizeof link->log, "%s", text);
    }
}

static void keep_answer(struct ota_link *link, json_t *answer)
{
    const char *correlation = json_string_value(json_object_get(answer, "correlationData"));
    if (correlation != NULL) {
        (void)json_object_set(link->answers, correlation, answer);
    } else if (link->orphan == NULL && json_is_string(json_object_get(answer, "error"))) {
        link->orphan = json_incref(answer);
    }
}

static void on_message(struct mosquitto *mosq, void *user, const struct mosquitto_message *message)
{
    (void)mosq;
    struct ota_link *link = user;
    if (strcmp(message->topic, link->topic) != 0) {
        link->news = true;
        return;
    }
    json_t *all = json_loadb(message->payload, (size_t)message->payloadlen, 0, NULL);
    size_t i;
    json_t *answer;
    json_array_foreach(json_object_get(all, "responses"), i, answer)
    {
        keep_answer(link, answer);
    }
    json_decref(all);
}

enum ota_exit ota_link_new(const struct ota_settings *settings, struct ota_link **link,
                           struct ota_failure *failure)
{
    struct ota_link *made = calloc(1, sizeof *made);
    json_t *answers = json_object();
    if (made == NULL || answers == NULL || mosquitto_lib_init() != MOSQ_ERR_SUCCESS) {
        json_decref(answers);
        free(made);
        return ota_fail(failure, OTA_EXIT_CONNECTION, "internal", NULL, "out of memory");
    }
    made->settings = settings;
    made->answers = answers;
    (void)snprintf(made->topic, sizeof made->topic, "%s/response", settings->topic);
    made->connack = NOT_YET;
    made->suback = NOT_YET;
    char random[2 * CLIENT_BYTES + 1];
    ota_random_hex(random, CLIENT_BYTES);
    (void)snprintf(made->id, sizeof made->id, "otactl-%s", random);
    ota_random_hex(made->run, (sizeof made->run - 1) / 2);
    *link = made;
    return OTA_EXIT_OK;
}

static void drop(struct ota_link *link)
{
    if (link->mosq != NULL) {
        mosquitto_destroy(link->mosq);
        link->mosq = NULL;
    }
    (void)json_object_clear(link->answers);
    json_decref(link->orphan);
    link->orphan = NULL;
    link->connack = NOT_YET;
    link->suback = NOT_YET;
}

void ota_link_free(struct ota_link *link)
{
    if (link == NULL) {
        return;
    }
    if (link->mosq != NULL) {
        (void)mosquitto_disconnect(link->mosq);
    }
    drop(link);
    json_decref(link->answers);
    free(link);
    (void)mosquitto_lib_cleanup();
}

bool ota_link_is_lost(const struct ota_link *link)
{
    return link->lost;
}

static enum ota_exit fail_interrupted(struct ota_failure *failure)
{
    return ota_fail(failure, OTA_EXIT_INTERRUPTED, NULL, NULL, "interrupted");
}

/* The broker holds a small packet back until the one before is acknowledged; Linux would delay
 * that by 40 ms a command. The kernel forgets the wish, so it is said again each time. */
static void acknowledge_at_once(struct ota_link *link)
{
    int on = 1;
    int fd = mosquitto_socket(link->mosq);
    if (fd >= 0) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
    }
}

static int turn(struct ota_link *link, int64_t deadline)
{
    int64_t left = deadline - ota_clock_ms();
    int wait = left > SLICE_MS ? SLICE_MS : left > 0 ? (int)left : 0;
    acknowledge_at_once(link);
    return mosquitto_loop(link->mosq, wait, 1);
}

static int64_t deadline_of(const struct ota_link *link)
{
    return ota_clock_ms() + (int64_t)link->settings->timeout_s * 1000;
}

static enum ota_exit await_login(struct ota_link *link, struct ota_failure *failure)
{
    int64_t deadline = deadline_of(link);
    while (link->connack == NOT_YET) {
        int rc = turn(link, deadline);
        if (interrupted != 0) {
            return fail_interrupted(failure);
        }
        if (link->connack != NOT_YET) {
            break;
        }
        if (rc != MOSQ_ERR_SUCCESS) {
            link->lost = true;
            return ota_explain_closed(link->settings, rc, link->log, failure);
        }
        if (ota_clock_ms() >= deadline) {
            return ota_fail(failure, OTA_EXIT_CONNECTION, NULL, NULL,
                            "%s:%d is connected, but did not answer within %d s",
                            link->settings->host, link->settings->port, link->settings->timeout_s);
        }
    }
    return link->connack == 0 ? OTA_EXIT_OK
                              : ota_explain_login(link->settings, link->connack, failure);
}

static enum ota_exit fail_lost(struct ota_link *link, int rc, struct ota_failure *failure)
{
    link->lost = true;
    return ota_explain_lost(link->settings, rc, errno, failure);
}

static enum ota_exit subscribe(struct ota_link *link, struct ota_failure *failure)
{
    int64_t deadline = deadline_of(link);
    int rc = mosquitto_subscribe(link->mosq, NULL, link->topic, 1);
    while (rc == MOSQ_ERR_SUCCESS && link->suback == NOT_YET && ota_clock_ms() < deadline) {
        rc = turn(link, deadline);
        if (interrupted != 0) {
            return fail_interrupted(failure);
        }
    }
    if (link->suback == NOT_YET && rc != MOSQ_ERR_SUCCESS) {
        return fail_lost(link, rc, failure);
    }
    if (link->suback == NOT_YET) {
        return ota_explain_role(link->settings, "the broker did not answer the subscription",
                                failure);
    }
    return link->suback < SUBACK_NO
               ? OTA_EXIT_OK
               : ota_explain_role(link->settings,
                                  "the broker refused the subscription to the answers", failure);
}

int ota_link_prepare_tls(struct mosquitto *mosq, const struct ota_settings *settings)
{
    const struct ota_settings *s = settings;
    if (!ota_settings_use_tls(s)) {
        return MOSQ_ERR_SUCCESS;
    }
    int rc = MOSQ_ERR_SUCCESS;
    if (s->cafile == NULL && s->capath == NULL) {
        rc = mosquitto_int_option(mosq, MOSQ_OPT_TLS_USE_OS_CERTS, 1);
    }
    if (rc == MOSQ_ERR_SUCCESS) {
        rc = mosquitto_tls_set(mosq, s->cafile, s->capath, s->cert, s->key, NULL);
    }
    if (rc == MOSQ_ERR_SUCCESS && s->insecure) {
        rc = mosquitto_tls_insecure_set(mosq, true);
    }
    return rc;
}

static enum ota_exit prepare(struct ota_link *link, struct ota_failure *failure)
{
    const struct ota_settings *s = link->settings;
    link->mosq = mosquitto_new(s->id != NULL ? s->id : link->id, true, link);
    if (link->mosq == NULL) {
        return ota_fail(failure, OTA_EXIT_CONNECTION, "internal", NULL, "out of memory");
    }
    mosquitto_connect_callback_set(link->mosq, on_connect);
    mosquitto_subscribe_callback_set(link->mosq, on_subscribe);
    mosquitto_message_callback_set(link->mosq, on_message);
    mosquitto_log_callback_set(link->mosq, on_log);
    (void)mosquitto_int_option(link->mosq, MOSQ_OPT_TCP_NODELAY, 1);
    const char *password = s->user != NULL ? s->password : NULL;
    if (mosquitto_username_pw_set(link->mosq, s->user, password) != MOSQ_ERR_SUCCESS) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, "username",
                        "the user name is not valid UTF-8");
    }
    if (ota_link_prepare_tls(link->mosq, s) != MOSQ_ERR_SUCCESS) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, "cafile",
                        "cannot read the files of --cafile, --capath, --cert or --key");
    }
    return OTA_EXIT_OK;
}

/* mosquitto_connect() blocks for minutes where nobody answers: signals cut it short, one for
 * each of the host's addresses. */
static void set_alarm(int seconds)
{
    struct sigaction action = {.sa_handler = ignore_signal};
    (void)sigaction(SIGALRM, &action, NULL);
    struct itimerval timer = {.it_value = {.tv_sec = seconds}};
    timer.it_interval.tv_usec = seconds > 0 ? 100000 : 0;
    (void)setitimer(ITIMER_REAL, &timer, NULL);
}

static enum ota_exit open_once(struct ota_link *link, struct ota_failure *failure)
{
    const struct ota_settings *s = link->settings;
    drop(link);
    link->lost = false;
    link->log[0] = '\0';
    enum ota_exit rc = prepare(link, failure);
    if (rc != OTA_EXIT_OK) {
        return rc;
    }
    set_alarm(s->timeout_s);
    int connected = mosquitto_connect(link->mosq, s->host, s->port, KEEPALIVE_S);
    int saved_errno = errno;
    set_alarm(0);
    if (interrupted != 0) {
        return fail_interrupted(failure);
    }
    if (connected != MOSQ_ERR_SUCCESS) {
        link->lost = connected == MOSQ_ERR_ERRNO;
        return ota_explain_connect(s, connected, saved_errno, link->log, failure);
    }
    rc = await_login(link, failure);
    if (rc == OTA_EXIT_OK) {
        rc = subscribe(link, failure);
    }
    if (rc == OTA_EXIT_OK && link->listened != NULL) {
        (void)mosquitto_subscribe(link->mosq, NULL, link->listened, 0);
    }
    return rc;
}

void ota_link_listen(struct ota_link *link, const char *topic)
{
    link->listened = topic;
    if (link->mosq != NULL && topic != NULL) {
        (void)mosquitto_subscribe(link->mosq, NULL, topic, 0);
    }
}

enum ota_exit ota_link_wait(struct ota_link *link, int64_t ms, struct ota_failure *failure)
{
    int64_t deadline = ota_clock_ms() + ms;
    while (!link->news && interrupted == 0 && ota_clock_ms() < deadline) {
        if (link->mosq == NULL || link->lost) {
            ota_clock_sleep(deadline - ota_clock_ms());
        } else if (turn(link, deadline) != MOSQ_ERR_SUCCESS) {
            link->lost = true;
        }
    }
    link->news = false;
    return interrupted == 0 ? OTA_EXIT_OK : fail_interrupted(failure);
}

enum ota_exit ota_link_open(struct ota_link *link, struct ota_failure *failure)
{
    if (link->mosq != NULL && !link->lost) {
        return OTA_EXIT_OK;
    }
    int64_t deadline = deadline_of(link);
    enum ota_exit rc = open_once(link, failure);
    while (rc != OTA_EXIT_OK && link->was_open && link->lost && ota_clock_ms() < deadline &&
           interrupted == 0) {
        ota_clock_sleep(REOPEN_MS);
        rc = open_once(link, failure);
    }
    if (rc == OTA_EXIT_OK) {
        link->was_open = true;
    } else {
        /* It was tried for long enough: nobody need try again. */
        drop(link);
        link->lost = false;
    }
    return rc;
}

static void name_ticket(const struct ota_link *link, uint64_t ticket, char *out, size_t size)
{
    (void)snprintf(out, size, "%s-%llu", link->run, (unsigned long long)ticket);
}

static char *make_message(const struct ota_link *link, const json_t *command, uint64_t ticket)
{
    char correlation[32];
    name_ticket(link, ticket, correlation, sizeof correlation);
    json_t *copy = json_copy((json_t *)command);
    json_t *all = NULL;
    char *text = NULL;
    if (json_object_set_new(copy, "correlationData", json_string(correlation)) == 0) {
        all = json_pack("{s:[O]}", "commands", copy);
        text = json_dumps(all, JSON_COMPACT);
    }
    json_decref(all);
    json_decref(copy);
    return text;
}

enum ota_exit ota_link_send(struct ota_link *link, const json_t *command, uint64_t *ticket,
                            struct ota_failure *failure)
{
    uint64_t mine = link->serial + 1;
    char *text = make_message(link, command, mine);
    if (text == NULL) {
        return ota_fail(failure, OTA_EXIT_CONNECTION, "internal", NULL, "out of memory");
    }
    int rc = mosquitto_publish(link->mosq, NULL, link->settings->topic, (int)strlen(text), text, 1,
                               false);
    free(text);
    if (rc != MOSQ_ERR_SUCCESS) {
        return fail_lost(link, rc, failure);
    }
    link->serial = mine;
    *ticket = mine;
    return OTA_EXIT_OK;
}

static json_t *take_answer(struct ota_link *link, uint64_t ticket)
{
    char correlation[32];
    name_ticket(link, ticket, correlation, sizeof correlation);
    json_t *answer = json_incref(json_object_get(link->answers, correlation));
    if (answer != NULL) {
        (void)json_object_del(link->answers, correlation);
        return answer;
    }
    answer = link->orphan;
    link->orphan = NULL;
    return answer;
}

static enum ota_exit fail_silent(const struct ota_link *link, struct ota_failure *failure)
{
    char what[64];
    (void)snprintf(what, sizeof what, "no answer within %d s", link->settings->timeout_s);
    if (!link->was_answered) {
        return ota_explain_role(link->settings, what, failure);
    }
    return ota_fail(failure, OTA_EXIT_CONNECTION, NULL, NULL, "%s: the broker is busy (--timeout)",
                    what);
}

enum ota_exit ota_link_receive(struct ota_link *link, uint64_t ticket, json_t **answer,
                               struct ota_failure *failure)
{
    int64_t deadline = deadline_of(link);
    int rc = MOSQ_ERR_SUCCESS;
    for (;;) {
        json_t *found = take_answer(link, ticket);
        if (found != NULL) {
            link->was_answered = true;
            *answer = found;
            return OTA_EXIT_OK;
        }
        if (interrupted != 0) {
            return fail_interrupted(failure);
        }
        if (rc != MOSQ_ERR_SUCCESS) {
            return fail_lost(link, rc, failure);
        }
        if (ota_clock_ms() >= deadline) {
            return fail_silent(link, failure);
        }
        rc = turn(link, deadline);
    }
}
