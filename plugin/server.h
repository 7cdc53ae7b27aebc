/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: an HTTP server behind its guards: libmicrohttpd's daemon, the guests that it has
 *       (guests.h), the shape that their requests must have (shape.h), and the thread that watches
 *       over them. What is asked and answered is its user's; each listener is one such server.
 * Thread: start, stop, cut and count are called on the broker's thread; the user's calls come on
 *         threads of the server's own, those of one visitor never two at a time.
 * Frees: ota_server_stop. A visitor lives from accept to close; its memory is the server's.
 */
#ifndef OTA_SERVER_H
#define OTA_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "certificate.h"
#include "guests.h"
#include "util/error.h"

struct MHD_Connection;
struct MHD_Response;
struct ota_server;

/* A connection, and the request that is on it. A user's own struct begins with it. */
struct ota_visitor {
    struct ota_server *server;
    void *data; /* the user's */
    struct MHD_Connection *connection;
    uint64_t address; /* where it comes from: ota_address_number */
    struct ota_guest guest;
    int64_t key;       /* what an ota_server_cut that hits this request names; 0: none */
    size_t target_len; /* of the request line's target, as it came */
    size_t size;       /* of the request, where the server sees it as it comes (no TLS) */
    bool headers_seen; /* the library's first call for this request is over */
    bool asked;        /* the request is whole */
};

struct ota_server_calls {
    size_t visitor_size; /* of the user's struct, all zero at first */
    /* A request begins: its target as it came, before the library decodes and cuts it, or NULL;
     * a query is told here alone. Key is 0, and to be set here. */
    void (*on_target)(struct ota_visitor *visitor, const char *target);
    /* The head of a request that has a body is whole: 0, or the status to refuse it with before
     * any of the `body` bytes is read. The connection is closed then. NULL: all are welcome. */
    int (*on_head)(struct ota_visitor *visitor, const char *method, int64_t body);
    /* A piece of the body, where max_body allows one. False: close without an answer. */
    bool (*on_body)(struct ota_visitor *visitor, const char *bytes, size_t len);
    /* To be answered with ota_server_answer or _refuse, or put aside; comes again when it is taken
     * up. False: close without an answer. */
    bool (*on_request)(struct ota_visitor *visitor, const char *method);
    /* Over; `whole`: the answer was sent to its end. */
    void (*on_done)(struct ota_visitor *visitor, bool whole);
};

struct ota_server_config {
    const char *name;          /* for the log: "downloads" */
    const char *listen_option; /* which errors are about */
    const char *cert_option;
    const struct ota_certificate *certificate; /* NULL: plain HTTP */
    int threads;
    int64_t max_body; /* of a request, below OTA_SHAPE_BODY_MAX; 0: none may have one */
    struct ota_guest_rules rules;
    int look_ms; /* how often the guests are looked at; 0: every second */
    struct ota_server_calls calls;
    void *data;
};

/* Serves on the listening socket, and takes it over, also on failure. */
OTA_CHECKED enum ota_err ota_server_start(const struct ota_server_config *config, int fd,
                                          struct ota_server **server, struct ota_error *error);

/* Closes all connections, joins the threads. No request may be put aside any more: the library
 * would abort the process. NULL is fine. */
void ota_server_stop(struct ota_server *server);

/* Drops all whose request has this key, with what is on its way to them, as soon as the watching
 * thread runs: a few microseconds for the caller, whatever their number. */
void ota_server_cut(struct ota_server *server, int64_t key);

struct ota_server_counts {
    uint64_t requests;
    uint64_t refused; /* ota_server_refuse, and those out of shape */
    struct ota_guest_counts guests;
};

void ota_server_count(struct ota_server *server, struct ota_server_counts *counts);

/* How many places there may be: `most`, and never more than a quarter of the files that may be
 * open, most of which belong to MQTT. */
int ota_server_places(int most);

/* Inside on_request. The response stays the caller's. False: it can't be sent, so close. */
bool ota_server_answer(struct ota_visitor *visitor, int status, struct MHD_Response *response);
/* Without a body, and doubted. */
bool ota_server_refuse(struct ota_visitor *visitor, int status);

/* Inside on_request: nobody vouches for this request (a login page, a file for everybody). Until
 * its next one the visitor is the first to go when places are scarce, however it takes its answer.
 * Inside on_head: the same until its body is there, however fast that comes. */
void ota_server_doubt(struct ota_visitor *visitor);

/* Inside on_head and on_request, as the client wrote it; NULL where there is no such header.
 * Cookies are found by this alone: the library doesn't parse them. */
const char *ota_server_header(struct ota_visitor *visitor, const char *name);

/* Inside on_request: puts the request aside. Then, from any thread: takes it up again. */
void ota_server_put_aside(struct ota_visitor *visitor);
void ota_server_take_up(struct ota_visitor *visitor);

#endif
