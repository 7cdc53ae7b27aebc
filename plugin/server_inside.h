/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the insides of server.h, for the two files that it is made of: server.c starts, watches and
 *       stops; server_request.c is what the library calls for connections and requests.
 * Thread: see server.h.
 * Frees: nothing.
 */
#ifndef OTA_SERVER_INSIDE_H
#define OTA_SERVER_INSIDE_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "server.h"
#include "worker.h"

struct ota_server {
    struct ota_server_calls calls;
    void *data;
    const char *name;
    struct MHD_Daemon *daemon;
    struct MHD_Response *nothing; /* an empty body */
    struct ota_guests *guests;
    struct ota_worker watcher;
    bool tls;
    bool library_is_strict; /* with a request's head */
    int places;
    int64_t max_body;
    int look_ms;
    int64_t looked_at;
    int64_t reported_at;
    struct ota_guest_counts reported;
    atomic_uint_fast64_t requests;
    atomic_uint_fast64_t refused;
    pthread_t starter;
    char library_said[128];
};

/* The library's callbacks; data is the server. */
enum MHD_Result ota_server_accept(void *data, const struct sockaddr *address, socklen_t len);
void ota_server_connection(void *data, struct MHD_Connection *connection, void **context,
                           enum MHD_ConnectionNotificationCode event);
void *ota_server_target(void *data, const char *target, struct MHD_Connection *connection);
enum MHD_Result ota_server_request(void *data, struct MHD_Connection *connection, const char *url,
                                   const char *method, const char *version, const char *upload,
                                   size_t *upload_size, void **context);
void ota_server_completed(void *data, struct MHD_Connection *connection, void **context,
                          enum MHD_RequestTerminationCode reason);

#endif
