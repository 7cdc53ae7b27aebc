/* SPDX-License-Identifier: BSD-3-Clause */
/* Connections and requests, as the library tells of them. */
#include "server.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "broker.h"
#include "link.h"
#include "server_inside.h"
#include "shape.h"

static const char no_body[] = "0";
static const char no_cookie[] = "";

/* --- connections --------------------------------------------------------------------------- */

static const union MHD_ConnectionInfo *info_of(struct MHD_Connection *connection,
                                               enum MHD_ConnectionInfoType type)
{
    return MHD_get_connection_info(connection, type);
}

static struct ota_visitor *visitor_of(struct MHD_Connection *connection)
{
    return info_of(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* The library's own limits would leave further devices waiting in the backlog: close instead. */
enum MHD_Result ota_server_accept(void *data, const struct sockaddr *address, socklen_t len)
{
    struct ota_server *server = data;
    (void)len;

    return ota_guests_admit(server->guests, address) ? MHD_YES : MHD_NO;
}

static void *welcome(struct ota_server *server, struct MHD_Connection *connection)
{
    struct ota_visitor *visitor = calloc(1, server->calls.visitor_size);
    const struct sockaddr *from =
        info_of(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;

    if (visitor != NULL) {
        visitor->address = ota_address_number(from);
        visitor->server = server;
        visitor->data = server->data;
        visitor->connection = connection;
        ota_guests_enter(server->guests, &visitor->guest,
                         info_of(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd, from,
                         ota_now_mono());
    }
    return visitor;
}

void ota_server_connection(void *data, struct MHD_Connection *connection, void **context,
                           enum MHD_ConnectionNotificationCode event)
{
    struct ota_server *server = data;
    struct ota_visitor *visitor = *context;

    switch (event) {
    case MHD_CONNECTION_NOTIFY_STARTED:
        *context = welcome(server, connection);
        break;
    case MHD_CONNECTION_NOTIFY_CLOSED:
        if (visitor != NULL) {
            ota_guests_leave(server->guests, &visitor->guest);
        }
        free(visitor);
        *context = NULL;
        break;
    }
}

/* --- requests ------------------------------------------------------------------------------ */

/*
 * Before 1.0 the library refuses a faulty Content-Length and large cookies by itself, with two
 * heads in a row, of which a proxy would take the second for what it likes. It reads the first of
 * these headers: these. What the client wrote is read by check_shape and ota_server_header. Where
 * bodies are allowed, the length must be the client's: there check_shape finds the same faults,
 * and the library closes. False: there is no memory left for them.
 */
static bool foil(struct ota_visitor *visitor)
{
    const struct ota_server *server = visitor->server;

    if (server->library_is_strict) {
        return true;
    }
    return MHD_set_connection_value(visitor->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_COOKIE,
                                    no_cookie) == MHD_YES &&
           (server->max_body > 0 ||
            MHD_set_connection_value(visitor->connection, MHD_HEADER_KIND,
                                     MHD_HTTP_HEADER_CONTENT_LENGTH, no_body) == MHD_YES);
}

static bool is_foil(const char *value)
{
    return value == no_body || value == no_cookie;
}

/*
 * Before 1.0 a library that runs out of memory for the arguments of a query refuses the request and
 * then goes on with it: the connection hangs, or the process crashes, for anybody who asks for
 * "/?a&a&a…". So it must not find any: the query, which lies in the connection's buffer and is
 * parsed right after on_target, is emptied. Who needs it has been told the target as it came.
 */
static void empty_query(char *target)
{
    char *query = target != NULL ? strchr(target, '?') : NULL;

    if (query != NULL) {
        query[1] = '\0';
    }
}

void *ota_server_target(void *data, const char *target, struct MHD_Connection *connection)
{
    struct ota_server *server = data;
    struct ota_visitor *visitor = visitor_of(connection);

    atomic_fetch_add(&server->requests, 1);
    if (visitor != NULL) {
        visitor->headers_seen = false;
        visitor->asked = false;
        visitor->target_len = ota_shape_target(target);
        visitor->key = 0;
        if (!foil(visitor)) {
            ota_link_drop(visitor->guest.fd, false);
        }
        server->calls.on_target(visitor, target);
    }
    empty_query((char *)target); /* the library's own buffer, which it changes itself */
    return visitor;
}

void ota_server_completed(void *data, struct MHD_Connection *connection, void **context,
                          enum MHD_RequestTerminationCode reason)
{
    struct ota_server *server = data;
    struct ota_visitor *visitor = *context;
    (void)connection;

    if (visitor == NULL) {
        return;
    }
    server->calls.on_done(visitor, reason == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    if (visitor->asked) {
        ota_guests_rest(server->guests, &visitor->guest, ota_now_mono());
    }
}

static enum MHD_Result on_header(void *data, enum MHD_ValueKind kind, const char *name,
                                 size_t name_len, const char *value, size_t value_len)
{
    (void)kind;
    if (is_foil(value)) {
        return MHD_YES;
    }
    ota_shape_header(data, name, name_len, value, value_len);
    return MHD_YES;
}

static int expect_body(struct ota_visitor *visitor, const char *method, int64_t body)
{
    struct ota_server *server = visitor->server;

    ota_guests_read(server->guests, &visitor->guest, ota_now_mono()); /* then it may be doubted */
    return server->calls.on_head != NULL ? server->calls.on_head(visitor, method, body) : 0;
}

static int check_shape(struct ota_visitor *visitor, const char *method, const char *version)
{
    struct ota_server *server = visitor->server;
    const union MHD_ConnectionInfo *head =
        info_of(visitor->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    size_t head_size = head != NULL ? head->header_size : 0;
    struct ota_shape shape;

    ota_shape_begin(&shape, server->max_body, method, visitor->target_len, version);
    (void)MHD_get_connection_values_n(visitor->connection, MHD_HEADER_KIND, on_header, &shape);
    int status = ota_shape_verdict(&shape, server->library_is_strict ? 0 : head_size);
    visitor->size = server->tls ? 0 : head_size + (size_t)shape.body;
    return status == 0 && shape.body > 0 ? expect_body(visitor, method, shape.body) : status;
}

static void ask(struct ota_visitor *visitor)
{
    visitor->asked = true;
    ota_guests_ask(visitor->server->guests, &visitor->guest, visitor->key, visitor->size,
                   ota_now_mono());
}

/* An answer to this call closes the connection behind it, so nothing that stands after a head out
 * of shape is ever read as a request. */
static bool see_headers(struct ota_visitor *visitor, const char *method, const char *version)
{
    int status = check_shape(visitor, method, version);

    visitor->headers_seen = true;
    if (status == 0) {
        return true;
    }
    ask(visitor);
    return ota_server_refuse(visitor, status);
}

/* Called when the headers are there, with each piece of the body, and when all of it is there. Only
 * an answer to the last call keeps the connection. */
static bool handle(struct ota_visitor *visitor, const char *method, const char *version,
                   const char *upload, size_t *upload_size)
{
    const struct ota_server_calls *calls = &visitor->server->calls;

    if (!visitor->headers_seen) {
        return see_headers(visitor, method, version);
    }
    if (*upload_size > 0) {
        size_t len = *upload_size;
        *upload_size = 0;
        return calls->on_body != NULL && calls->on_body(visitor, upload, len);
    }
    if (!visitor->asked) {
        ask(visitor);
    }
    return calls->on_request(visitor, method);
}

enum MHD_Result ota_server_request(void *data, struct MHD_Connection *connection, const char *url,
                                   const char *method, const char *version, const char *upload,
                                   size_t *upload_size, void **context)
{
    struct ota_visitor *visitor = *context;
    (void)data, (void)connection, (void)url;

    return visitor != NULL && handle(visitor, method, version, upload, upload_size) ? MHD_YES
                                                                                    : MHD_NO;
}

bool ota_server_answer(struct ota_visitor *visitor, int status, struct MHD_Response *response)
{
    return ota_guests_may_be_answered(visitor->server->guests, &visitor->guest) &&
           MHD_queue_response(visitor->connection, (unsigned)status, response) == MHD_YES;
}

bool ota_server_refuse(struct ota_visitor *visitor, int status)
{
    atomic_fetch_add(&visitor->server->refused, 1);
    ota_server_doubt(visitor);
    return ota_server_answer(visitor, status, visitor->server->nothing);
}

void ota_server_doubt(struct ota_visitor *visitor)
{
    ota_guests_doubt(visitor->server->guests, &visitor->guest);
}

struct wanted {
    const char *name;
    const char *value;
};

static enum MHD_Result find_header(void *data, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    struct wanted *wanted = data;
    (void)kind;

    if (is_foil(value) || strcasecmp(name, wanted->name) != 0) {
        return MHD_YES;
    }
    wanted->value = value;
    return MHD_NO;
}

const char *ota_server_header(struct ota_visitor *visitor, const char *name)
{
    struct wanted wanted = {.name = name};

    (void)MHD_get_connection_values(visitor->connection, MHD_HEADER_KIND, find_header, &wanted);
    return wanted.value;
}

void ota_server_put_aside(struct ota_visitor *visitor)
{
    MHD_suspend_connection(visitor->connection);
}

void ota_server_take_up(struct ota_visitor *visitor)
{
    MHD_resume_connection(visitor->connection);
}
