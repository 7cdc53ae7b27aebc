/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: a device's MQTT connection: opening, at each of the host's addresses in turn, subscribing,
 * keepalive, reconnecting with backoff.
 * Thread: the loop's. Calls back from there; closing inside a callback is fine, it is deferred.
 * Frees: ota_link_free(); the texts it points to outlive it and are its user's.
 */
#ifndef OTA_SIM_LINK_H
#define OTA_SIM_LINK_H

#include <mosquitto.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop.h"
#include "resolve.h"
#include "tls.h"
#include "vendor_auth.h"

/* What all links share. */
struct ota_net {
    struct ota_loop *loop;
    struct ota_addresses addresses;
    int port, keepalive;
    struct ota_tls *tls;                /* NULL: plain TCP, or PSK */
    const struct ota_vendor_auth *auth; /* NULL: user name and password are as they stand */
    size_t connecting;                  /* links in that state */
    int64_t gap_us;                     /* between two connections */
    int64_t haste;                      /* waits before another try are that many times shorter */
    /* When the next one may start: by whether it is a device's first, else they'd queue together.
     */
    int64_t next_slot_us[2];
};

struct ota_link_backoff {
    int64_t low, high; /* the first wait is drawn from these; each later one is twice as long */
    int64_t most;
    bool gives_up;     /* where a wait would pass most; else it stays there */
    int64_t suback_ms; /* without a SUBACK by then, or refused, it gives up; 0: it tries again */
};

struct ota_link_identity {
    const char *client_id, *username, *password, *cert, *key;
    const char *topic; /* to subscribe to */
};

struct ota_link_message {
    const char *topic;
    const void *payload;
    size_t len;
    size_t packet; /* the whole packet's length */
    int qos, mid;
};

struct ota_link_events {
    void (*up)(void *arg);
    void (*subscribed)(void *arg);
    void (*also_subscribed)(void *arg, int mid, bool granted); /* what ota_link_subscribe asked */
    void (*message)(void *arg, const struct ota_link_message *message);
    void (*acked)(void *arg, int mid);
    /* was_up tells a lost connection from one that didn't come about; at_will: we closed it. */
    void (*down)(void *arg, const char *why, bool was_up, bool at_will);
    /* It stays away: the subscription failed, or one wait more would be too long. */
    void (*gave_up)(void *arg, bool unsubscribed);
};

struct ota_link;

/* Who carries a link over a connection of another: a gateway. It calls the link's events, and keeps
 * its state. */
struct ota_link_carrier {
    void (*open)(void *data, struct ota_link *link);
    void (*close)(void *data, struct ota_link *link, bool cut);
    int (*publish)(void *data, const char *topic, const char *text, size_t len, int qos);
    void *data;
};

enum ota_link_state { OTA_LINK_AWAY, OTA_LINK_WAITING, OTA_LINK_CONNECTING, OTA_LINK_UP };
enum ota_link_leave { OTA_LINK_STAY, OTA_LINK_POLITE, OTA_LINK_CUT };

struct ota_link {
    struct ota_net *net;
    const struct ota_link_identity *identity;
    const struct ota_link_backoff *backoff;
    const struct ota_link_events *events;
    const struct ota_link_carrier *carrier; /* NULL: it has a connection of its own */
    void *arg;
    uint64_t *random;
    struct mosquitto *mosq; /* a new one for each connection: a reboot forgets everything */
    int fd;
    int first_mid; /* of the identity's topic */
    enum ota_link_state state;
    enum ota_link_leave leave;
    bool wanted, hurry, slotted, tcp_up, subscribed;
    bool is_first;
    size_t address; /* that this attempt has come to */
    int64_t wait;
    struct ota_timer timer;
    char why[320]; /* of its end, "" so far */
};

enum ota_err ota_link_init(struct ota_link *link, struct ota_error *error) OTA_CHECKED;
void ota_link_free(struct ota_link *link);

/* Connects, and stays connected until it is told otherwise. */
void ota_link_open(struct ota_link *link);

/* Leaves with a DISCONNECT, or (cut) without a word, and stays away. */
void ota_link_close(struct ota_link *link, bool cut);

/* The packet's id, or a negative number where it couldn't be sent. */
int ota_link_publish(struct ota_link *link, const char *topic, const char *text, size_t len,
                     int qos);

/* Asks for one topic more; the packet's id, or a negative number where it couldn't be sent. */
int ota_link_subscribe(struct ota_link *link, const char *topic);

#endif
