/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: a connection as raw bytes, over TCP or TLS, tried at each of the host's addresses in turn.
 * Thread: the loop's. Calls back from there, never from within open(); closing there is fine.
 * Frees: ota_stream_close(); it may be called at any time, and again.
 */
#ifndef OTA_SIM_STREAM_H
#define OTA_SIM_STREAM_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

#include "loop.h"
#include "resolve.h"
#include "tls.h"

/* What all streams share. */
struct ota_streams {
    struct ota_loop *loop;
    struct ota_tls *tls;            /* NULL: plain TCP alone */
    char host[OTA_HOST_MAX + 1];    /* the one that was resolved last: mostly it is the only one */
    struct ota_addresses addresses; /* its */
};

struct ota_stream_events {
    void (*up)(void *arg);
    void (*ready)(void *arg); /* there may be something to read, an end as well */
    void (*failed)(void *arg);
};

struct ota_stream {
    struct ota_streams *owner;
    const struct ota_stream_events *events;
    void *arg;
    struct ota_place place;
    const char *name; /* that a certificate must have; NULL: no TLS */
    struct ota_addresses addresses;
    size_t address; /* that is tried */
    int fd;         /* -1: closed */
    SSL *ssl;
    bool tcp_up, up;
};

/* stream has owner, events, arg, and fd -1. name: the server's for TLS, outlives it, or NULL. */
enum ota_err ota_stream_open(struct ota_stream *stream, const struct ota_place *place,
                             const char *name, struct ota_error *error) OTA_CHECKED;
void ota_stream_close(struct ota_stream *stream);

/* All of it, or false. For what fits into a fresh socket's buffer. */
bool ota_stream_send(struct ota_stream *stream, const char *text, size_t len);

/* How many bytes; 0: none now, ready() is called when there are; negative: it is over. */
int ota_stream_read(struct ota_stream *stream, char *bytes, size_t size);

/* Leaves what comes in the socket's buffer, until something is read again. */
void ota_stream_pause(struct ota_stream *stream);

#endif
