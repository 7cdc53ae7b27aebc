/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what the console answers: status, body, headers; the security headers are on everything.
 * Thread: the server's, inside on_request.
 * Frees: an answer's bytes, where they are said to be its own.
 */
#ifndef OTA_REPLY_H
#define OTA_REPLY_H

#include "server.h"

#define OTA_REPLY_HEADERS 6

struct ota_reply {
    int status;
    const char *type;  /* of the body */
    const void *bytes; /* constant, but for `own` */
    size_t len;
    char *own; /* malloc: the body instead, and freed */
    struct {
        const char *name;
        const char *value; /* copied when it is sent */
    } headers[OTA_REPLY_HEADERS];
    size_t header_count;
};

void ota_reply_add(struct ota_reply *reply, const char *name, const char *value);

/* False: it can't be sent, so close. */
bool ota_reply_send(struct ota_visitor *visitor, struct ota_reply *reply);

/* Fills buffer with up to max bytes; 0 after the visitor was put aside; -1: the end. */
typedef long (*ota_reply_read)(void *data, char *buffer, size_t max);

/* An answer without a known end. `done` is called once, also when it can't be sent. */
bool ota_reply_stream(struct ota_visitor *visitor, const char *type, ota_reply_read read,
                      void (*done)(void *data), void *data);

#endif
