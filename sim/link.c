/* SPDX-License-Identifier: BSD-3-Clause */
#include "link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "pattern.h"

#define OTA_CONNECT_MS 20000 /* until TCP is up, and from then until CONNACK */
#define OTA_ADDRESS_MS 3000  /* until TCP is up, where another address is left to try */

/* More at a time, and what TLS costs both sides makes all of them late, and then all begin anew. */
#define OTA_CONNECTING_MAX 500

static void because(struct ota_link *link, const char *why)
{
    /* The first reason is the cause, what follows from it isn't news. */
    if (link->why[0] == '\0') {
        snprintf(link->why, sizeof link->why, "%s", why);
    }
}

/* What one address after the other had to say. */
static void note_address(struct ota_link *link, const char *why)
{
    size_t used = strlen(link->why);
    snprintf(link->why + used, sizeof link->why - used, "%s%s: %s", used == 0 ? "" : ", ",
             link->net->addresses.text[link->address], why);
}

static void after(struct ota_link *link, int64_t ms)
{
    ota_loop_after(link->net->loop, &link->timer, ms);
}

static void enter(struct ota_link *link, enum ota_link_state state)
{
    link->net->connecting -= link->state == OTA_LINK_CONNECTING;
    link->net->connecting += state == OTA_LINK_CONNECTING;
    link->state = state;
}

/* Negative: the backoff gives up. */
static int64_t next_wait(struct ota_link *link)
{
    const struct ota_link_backoff *backoff = link->backoff;
    link->wait = link->wait == 0 ? ota_random_between(link->random, backoff->low, backoff->high)
                                 : 2 * link->wait;
    if (link->wait > backoff->most) {
        if (backoff->gives_up) {
            return -1;
        }
        link->wait = backoff->most;
    }
    return link->wait / link->net->haste;
}

static void give_up(struct ota_link *link, bool unsubscribed)
{
    link->wanted = false;
    link->wait = 0;
    link->events->gave_up(link->arg, unsubscribed);
}

static void wait_for_turn(struct ota_link *link, int64_t ms)
{
    enter(link, OTA_LINK_WAITING);
    link->slotted = false;
    after(link, ms);
}

static void retry(struct ota_link *link)
{
    int64_t wait = link->hurry ? 0 : next_wait(link);
    link->hurry = false;
    if (wait >= 0) {
        wait_for_turn(link, wait);
        return;
    }
    give_up(link, false);
}

static void forget(struct ota_link *link)
{
    ota_loop_unwatch(link->net->loop, link->fd, link);
    mosquitto_destroy(link->mosq);
    link->mosq = NULL;
    link->fd = -1;
}

static void lost(struct ota_link *link)
{
    bool was_up = link->state == OTA_LINK_UP;
    bool at_will = link->leave != OTA_LINK_STAY && link->why[0] == '\0';
    char why[sizeof link->why];
    because(link, at_will ? "at will" : "connection lost");
    memcpy(why, link->why, sizeof why);
    forget(link);
    link->why[0] = '\0';
    link->leave = OTA_LINK_STAY;
    enter(link, OTA_LINK_AWAY);
    ota_loop_cancel(link->net->loop, &link->timer);
    link->events->down(link->arg, why, was_up, at_will);
    if (link->wanted && link->state == OTA_LINK_AWAY) {
        retry(link);
    }
}

/* After everything that libmosquitto did: is the socket still there, and what does it wait for? */
static void settle(struct ota_link *link)
{
    if (mosquitto_want_write(link->mosq) && mosquitto_socket(link->mosq) >= 0) {
        (void)mosquitto_loop_write(link->mosq, 1);
    }
    if (mosquitto_socket(link->mosq) < 0) {
        lost(link);
    }
}

static void ready(void *arg, uint32_t events);
static void next_address(struct ota_link *link);

static void watch(struct ota_link *link)
{
    /* In a TLS handshake libmosquitto wants to write all the time, and would turn us in circles. */
    bool out = !link->tcp_up || (link->state == OTA_LINK_UP && mosquitto_want_write(link->mosq));
    struct ota_error error = {0};
    if (ota_loop_watch(link->net->loop, link->fd, EPOLLIN | (out ? EPOLLOUT : 0U), ready, link,
                       &error) != OTA_OK) {
        because(link, error.text);
        link->leave = OTA_LINK_CUT;
        after(link, 0);
    }
}

static void settle_and_watch(struct ota_link *link)
{
    settle(link);
    if (link->mosq != NULL) {
        watch(link);
    }
}

/* SO_ERROR alone won't do: libmosquitto and OpenSSL have written by now, which takes it away. */
static bool check_tcp(struct ota_link *link)
{
    struct sockaddr_storage peer;
    socklen_t size = sizeof peer;
    if (getpeername(link->fd, (struct sockaddr *)&peer, &size) == 0) {
        link->tcp_up = true;
        link->why[0] = '\0'; /* that other addresses refused isn't why this connection ends */
        after(link, OTA_CONNECT_MS);
        return true;
    }
    int code = 0;
    size = sizeof code;
    (void)getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &code, &size);
    note_address(link, code == 0 ? "no connection" : strerror(code));
    return false;
}

static void ready(void *arg, uint32_t events)
{
    struct ota_link *link = arg;
    bool over = (events & (EPOLLERR | EPOLLHUP)) != 0;
    if (!link->tcp_up && !check_tcp(link)) {
        next_address(link);
        return;
    }
    /* One read takes one packet; a connection that is over is read to its end at once. */
    int rc = MOSQ_ERR_SUCCESS;
    for (int left = over ? 64 : 1; left > 0 && rc == MOSQ_ERR_SUCCESS; left--) {
        rc = mosquitto_loop_read(link->mosq, 1);
    }
    if (rc != MOSQ_ERR_SUCCESS) {
        because(link, mosquitto_strerror(rc));
    }
    if (over && mosquitto_socket(link->mosq) >= 0) {
        lost(link);
        return;
    }
    settle_and_watch(link);
}

static void on_connect(struct mosquitto *mosq, void *arg, int rc)
{
    struct ota_link *link = arg;
    if (rc != 0) {
        because(link, mosquitto_connack_string(rc));
        return;
    }
    enter(link, OTA_LINK_UP);
    link->subscribed = false;
    if (link->backoff->suback_ms != 0) {
        after(link, link->backoff->suback_ms);
    }
    link->events->up(link->arg);
    (void)mosquitto_subscribe(mosq, &link->first_mid, link->identity->topic, 1);
}

static void fail_subscription(struct ota_link *link, const char *why)
{
    because(link, why);
    link->leave = OTA_LINK_POLITE;
    after(link, 0);
    if (link->backoff->suback_ms != 0) {
        give_up(link, true);
    }
}

static void on_subscribe(struct mosquitto *mosq, void *arg, int mid, int count, const int *granted)
{
    struct ota_link *link = arg;
    (void)mosq;
    if (mid != link->first_mid) {
        link->events->also_subscribed(link->arg, mid, count > 0 && granted[0] <= 2);
        return;
    }
    if (count < 1 || granted[0] > 2) {
        fail_subscription(link, "subscription refused");
        return;
    }
    link->wait = 0;
    link->subscribed = true;
    /* Spread out: ten thousand keepalives in one moment would be a wave of their own. */
    int64_t beat = link->net->keepalive * 250;
    after(link, ota_random_between(link->random, 1, beat));
    link->events->subscribed(link->arg);
}

static size_t packet_size(const struct mosquitto_message *message)
{
    size_t rest = 2 + strlen(message->topic) + (message->qos > 0 ? 2 : 0);
    rest += (size_t)message->payloadlen;
    size_t size = 2 + rest;
    for (size_t more = rest >> 7; more > 0; more >>= 7) {
        size++;
    }
    return size;
}

static void on_message(struct mosquitto *mosq, void *arg, const struct mosquitto_message *message)
{
    struct ota_link *link = arg;
    (void)mosq;
    link->events->message(link->arg, &(struct ota_link_message){
                                         .topic = message->topic,
                                         .payload = message->payload,
                                         .len = (size_t)message->payloadlen,
                                         .packet = packet_size(message),
                                         .qos = message->qos,
                                         .mid = message->mid,
                                     });
}

static void on_publish(struct mosquitto *mosq, void *arg, int mid)
{
    struct ota_link *link = arg;
    (void)mosq;
    link->events->acked(link->arg, mid);
}

/* Of what goes wrong in TLS, libmosquitto tells only its log. */
static void on_log(struct mosquitto *mosq, void *arg, int level, const char *text)
{
    (void)mosq;
    if (level == MOSQ_LOG_ERR) {
        because(arg, text);
    }
}

/*
 * mosquitto_new() opens a pair of sockets for waking a thread, which we have no use for: with ten
 * thousand clients they would be two thirds of all descriptors. It does without where it can't.
 */
static struct mosquitto *new_client(const char *client_id, void *arg)
{
    struct rlimit limit, none;
    bool limited = getrlimit(RLIMIT_NOFILE, &limit) == 0;
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = limited ? limit.rlim_max : 0};
    limited = limited && setrlimit(RLIMIT_NOFILE, &none) == 0;
    struct mosquitto *mosq = mosquitto_new(client_id, true, arg);
    if (limited) {
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    return mosq;
}

static enum ota_err set_tls(struct ota_link *link, struct ota_error *error)
{
    SSL_CTX *context = NULL;
    enum ota_err err =
        ota_tls_context(link->net->tls, link->identity->cert, link->identity->key, &context, error);
    if (err != OTA_OK) {
        return err;
    }
    if (mosquitto_int_option(link->mosq, MOSQ_OPT_SSL_CTX_WITH_DEFAULTS, 0) != MOSQ_ERR_SUCCESS ||
        mosquitto_void_option(link->mosq, MOSQ_OPT_SSL_CTX, context) != MOSQ_ERR_SUCCESS) {
        err = ota_error_set(error, OTA_INTERNAL, NULL, "libmosquitto takes no SSL_CTX");
    }
    SSL_CTX_free(context);
    mosquitto_log_callback_set(link->mosq, on_log);
    return err;
}

/* With a secret the user name is what the vendor's SDK makes its own of. */
static enum ota_err set_login(struct ota_link *link, struct ota_error *error)
{
    const struct ota_link_identity *identity = link->identity;
    if (link->net->auth != NULL) {
        return ota_vendor_auth_apply(link->net->auth, link->mosq, identity->username, link->random,
                                     error);
    }
    return mosquitto_username_pw_set(link->mosq, identity->username, identity->password) ==
                   MOSQ_ERR_SUCCESS
               ? OTA_OK
               : ota_error_set(error, OTA_INTERNAL, NULL, "out of memory for a client");
}

static enum ota_err make_client(struct ota_link *link, struct ota_error *error)
{
    link->mosq = new_client(link->identity->client_id, link);
    if (link->mosq == NULL) {
        return ota_error_set(error, OTA_INTERNAL, NULL, "out of memory for a client");
    }
    enum ota_err err = set_login(link, error);
    if (err != OTA_OK) {
        return err;
    }
    mosquitto_int_option(link->mosq, MOSQ_OPT_TCP_NODELAY, 1);
    mosquitto_connect_callback_set(link->mosq, on_connect);
    mosquitto_subscribe_callback_set(link->mosq, on_subscribe);
    mosquitto_message_callback_set(link->mosq, on_message);
    mosquitto_publish_callback_set(link->mosq, on_publish);
    return link->net->tls == NULL ? OTA_OK : set_tls(link, error);
}

static bool is_last_address(const struct ota_link *link)
{
    return link->address + 1 >= link->net->addresses.count;
}

/* False where it is refused at once; where it is later, ready() hears of it. */
static bool open_address(struct ota_link *link)
{
    struct ota_net *net = link->net;
    struct ota_error error = {0};
    link->tcp_up = false;
    if (make_client(link, &error) != OTA_OK) {
        because(link, error.text);
        link->leave = OTA_LINK_CUT; /* no other address would do better */
        return false;
    }
    int rc = mosquitto_connect_async(link->mosq, net->addresses.text[link->address], net->port,
                                     net->keepalive);
    link->fd = mosquitto_socket(link->mosq);
    if (link->fd < 0) {
        note_address(link, rc == MOSQ_ERR_ERRNO ? strerror(errno) : mosquitto_strerror(rc));
        return false;
    }
    after(link, is_last_address(link) ? OTA_CONNECT_MS : OTA_ADDRESS_MS);
    watch(link);
    return true;
}

/* "localhost" is ::1 first, and libmosquitto would have tried that alone. */
static void next_address(struct ota_link *link)
{
    do {
        if (is_last_address(link) || link->leave != OTA_LINK_STAY) {
            lost(link);
            return;
        }
        forget(link);
        link->address++;
    } while (!open_address(link));
}

static void start(struct ota_link *link)
{
    enter(link, OTA_LINK_CONNECTING);
    link->is_first = false;
    link->address = 0;
    if (!open_address(link)) {
        next_address(link);
    }
}

/* Milliseconds until the next free place in the queue. */
static int64_t take_slot(struct ota_link *link)
{
    struct ota_net *net = link->net;
    int64_t now_us = net->loop->now * 1000;
    int64_t *next = &net->next_slot_us[link->is_first];
    int64_t slot = *next > now_us ? *next : now_us;
    *next = slot + net->gap_us;
    link->slotted = true;
    return (slot - now_us + 999) / 1000;
}

static void take_turn(struct ota_link *link)
{
    bool full = link->net->connecting >= OTA_CONNECTING_MAX;
    int64_t ms = link->slotted && !full ? 0 : take_slot(link);
    if (ms > 0 || full) {
        after(link, ms > 0 ? ms : 1);
    } else {
        start(link);
    }
}

static void beat(struct ota_link *link)
{
    int rc = mosquitto_loop_misc(link->mosq);
    if (rc != MOSQ_ERR_SUCCESS) {
        because(link, mosquitto_strerror(rc));
    }
    after(link, link->net->keepalive * 250);
    settle_and_watch(link);
}

static void time_out(struct ota_link *link)
{
    static const char why[] = "no answer in time";
    if (link->tcp_up) {
        because(link, why);
        lost(link);
    } else {
        note_address(link, why);
        next_address(link);
    }
}

static void fire(void *arg)
{
    struct ota_link *link = arg;
    if (link->state == OTA_LINK_WAITING) {
        take_turn(link);
    } else if (link->leave == OTA_LINK_POLITE && link->state == OTA_LINK_UP) {
        link->leave = OTA_LINK_CUT; /* should the socket be stuck, then the next time */
        after(link, 1000);
        (void)mosquitto_disconnect(link->mosq);
        settle_and_watch(link);
    } else if (link->leave != OTA_LINK_STAY) {
        lost(link);
    } else if (link->state == OTA_LINK_CONNECTING) {
        time_out(link);
    } else if (link->state == OTA_LINK_UP && !link->subscribed && link->backoff->suback_ms != 0) {
        fail_subscription(link, "no SUBACK in time");
    } else if (link->state == OTA_LINK_UP) {
        beat(link);
    }
}

enum ota_err ota_link_init(struct ota_link *link, struct ota_error *error)
{
    link->fd = -1;
    link->state = OTA_LINK_AWAY;
    link->is_first = true;
    return ota_loop_timer(link->net->loop, &link->timer, fire, link, error);
}

void ota_link_free(struct ota_link *link)
{
    if (link->mosq != NULL) {
        if (link->state == OTA_LINK_UP) {
            (void)mosquitto_disconnect(link->mosq);
        }
        forget(link);
    }
}

void ota_link_open(struct ota_link *link)
{
    link->wanted = true;
    if (link->carrier != NULL) {
        link->carrier->open(link->carrier->data, link);
        return;
    }
    link->hurry = link->leave != OTA_LINK_STAY;
    if (link->state == OTA_LINK_AWAY) {
        wait_for_turn(link, 0);
    }
}

void ota_link_close(struct ota_link *link, bool cut)
{
    link->wanted = false;
    if (link->carrier != NULL) {
        link->carrier->close(link->carrier->data, link, cut);
    } else if (link->state == OTA_LINK_WAITING) {
        enter(link, OTA_LINK_AWAY);
        ota_loop_cancel(link->net->loop, &link->timer);
    } else if (link->state != OTA_LINK_AWAY) {
        link->leave = cut ? OTA_LINK_CUT : OTA_LINK_POLITE;
        link->why[0] = '\0'; /* we end it, not what an address has said so far */
        after(link, 0);
    }
}

int ota_link_publish(struct ota_link *link, const char *topic, const char *text, size_t len,
                     int qos)
{
    int mid = -1;
    if (link->carrier != NULL) {
        return link->state == OTA_LINK_UP
                   ? link->carrier->publish(link->carrier->data, topic, text, len, qos)
                   : -1;
    }
    if (link->state != OTA_LINK_UP || link->leave != OTA_LINK_STAY ||
        mosquitto_publish(link->mosq, &mid, topic, (int)len, text, qos, false) !=
            MOSQ_ERR_SUCCESS) {
        return -1;
    }
    watch(link);
    return mid;
}

int ota_link_subscribe(struct ota_link *link, const char *topic)
{
    int mid = -1;
    if (link->state != OTA_LINK_UP || link->leave != OTA_LINK_STAY ||
        mosquitto_subscribe(link->mosq, &mid, topic, 1) != MOSQ_ERR_SUCCESS) {
        return -1;
    }
    watch(link);
    return mid;
}
