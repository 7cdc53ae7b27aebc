/* SPDX-License-Identifier: BSD-3-Clause */
#include "server.h"

#include <microhttpd.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "broker.h"
#include "link.h"
#include "shape.h"
#include "worker.h"

/* Of each connection. To a request that doesn't fit the library answers 414 or 431. */
#define OTA_SERVER_MEMORY (8 * 1024)

/* Bytes of a response that wait in the kernel unsent: what a slow reader may hold. */
#define OTA_SERVER_UNSENT (128 * 1024)

/* Bytes of requests that wait in the kernel unread, where none has a body. */
#define OTA_SERVER_UNREAD (16 * 1024)

#define OTA_SERVER_LOOK_MS   1000
#define OTA_SERVER_REPORT_MS 60000

/* TLS 1.2 is what the vendor's SDK speaks. */
static const char tls_priorities[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";

static const char no_body[] = "0";
static const char no_cookie[] = "";

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
static enum MHD_Result on_accept(void *data, const struct sockaddr *address, socklen_t len)
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

static void on_connection(void *data, struct MHD_Connection *connection, void **context,
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

static void *on_target(void *data, const char *target, struct MHD_Connection *connection)
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

static void on_completed(void *data, struct MHD_Connection *connection, void **context,
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
    int status = server->calls.on_head != NULL ? server->calls.on_head(visitor, method, body) : 0;

    if (status == 0) {
        ota_guests_read(server->guests, &visitor->guest, ota_now_mono());
    }
    return status;
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

static enum MHD_Result on_request(void *data, struct MHD_Connection *connection, const char *url,
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
    return MHD_queue_response(visitor->connection, (unsigned)status, response) == MHD_YES;
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

/* --- the watching thread --------------------------------------------------------------------- */

/* Somebody should know when the places don't suffice: a line a minute. */
static void report(struct ota_server *server, int64_t now)
{
    struct ota_guest_counts counts;

    if (server->reported_at != 0 && now - server->reported_at < OTA_SERVER_REPORT_MS) {
        return;
    }
    ota_guests_count(server->guests, &counts);
    uint64_t turned_away = counts.turned_away - server->reported.turned_away;
    uint64_t replaced = counts.replaced - server->reported.replaced;
    if (turned_away + replaced == 0) {
        return;
    }
    ota_log(OTA_LOG_WARNING,
            "%s: the places are scarce (%d of %d taken): %llu connections that did nothing were "
            "closed for newcomers, %llu newcomers were turned away",
            server->name, counts.present, server->places, (unsigned long long)replaced,
            (unsigned long long)turned_away);
    server->reported = counts;
    server->reported_at = now;
}

static int64_t clock_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void watch(void *data)
{
    struct ota_server *server = data;
    int64_t now = clock_ms();

    ota_guests_drop_cut(server->guests);
    if (now - server->looked_at >= server->look_ms) { /* however often it was woken for a cut */
        server->looked_at = now;
        ota_guests_work(server->guests, ota_now_mono());
        report(server, ota_now_mono());
    }
}

/* --- start and stop ------------------------------------------------------------------------ */

/* Keeps the last thing that the library says while it starts; its threads only chat about peers. */
static void on_library_log(void *data, const char *format, va_list args)
{
    struct ota_server *server = data;
    if (pthread_equal(server->starter, pthread_self())) {
        (void)vsnprintf(server->library_said, sizeof server->library_said, format, args);
        server->library_said[strcspn(server->library_said, "\n")] = '\0';
    }
}

static struct MHD_Daemon *start_library(struct ota_server *server, int fd, int threads,
                                        const struct ota_certificate *certificate)
{
    const struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
    const struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, server->tls ? certificate->chain : NULL},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, server->tls ? certificate->key : NULL},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)tls_priorities},
        {MHD_OPTION_END, 0, NULL},
    };
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;

    /* Each thread gets its share of the library's limit, which must never be the one that counts:
     * hence the whole for each, and those that are about to be closed. */
    unsigned limit = (unsigned)(2 * server->places + OTA_GUESTS_LEAVING + 16) * (unsigned)threads;
    server->starter = pthread_self();
    return MHD_start_daemon(
        flags | (server->tls ? MHD_USE_TLS : 0), 0, on_accept, server, on_request, server,
        MHD_OPTION_EXTERNAL_LOGGER, on_library_log, server, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_THREAD_POOL_SIZE, (unsigned)threads, MHD_OPTION_CONNECTION_LIMIT, limit,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)OTA_SERVER_MEMORY, MHD_OPTION_STRICT_FOR_CLIENT,
        server->library_is_strict ? 1 : 0, MHD_OPTION_NOTIFY_CONNECTION, on_connection, server,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, server, MHD_OPTION_URI_LOG_CALLBACK, on_target,
        server, MHD_OPTION_ARRAY, server->tls ? tls : none, MHD_OPTION_END);
}

/* The library's threads inherit the mask: the broker's thread alone handles its signals. */
static struct MHD_Daemon *start_without_signals(struct ota_server *server, int fd, int threads,
                                                const struct ota_certificate *certificate)
{
    sigset_t all;
    sigset_t before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    struct MHD_Daemon *daemon = start_library(server, fd, threads, certificate);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return daemon;
}

static struct ota_server *server_new(const struct ota_server_config *config)
{
    struct ota_server *server = calloc(1, sizeof *server);

    if (server != NULL) {
        server->calls = config->calls;
        server->data = config->data;
        server->name = config->name;
        server->tls = config->certificate != NULL;
        server->places = config->rules.places;
        server->max_body = config->max_body;
        server->look_ms = config->look_ms > 0 ? config->look_ms : OTA_SERVER_LOOK_MS;
        /* From 1.0 on it can refuse by itself what shape.h finds by the size of a head. */
        server->library_is_strict = strncmp(MHD_get_version(), "0.", 2) != 0;
        server->nothing = MHD_create_response_from_buffer(0, "", MHD_RESPMEM_PERSISTENT);
    }
    return server;
}

enum ota_err ota_server_start(const struct ota_server_config *config, int fd,
                              struct ota_server **server, struct ota_error *error)
{
    struct ota_server *started = server_new(config);
    enum ota_err err = OTA_OK;

    if (started == NULL || started->nothing == NULL) {
        err = ota_error_no_memory(error);
        goto out;
    }
    err = ota_guests_open(&config->rules, &started->guests, error);
    if (err != OTA_OK) {
        goto out;
    }
    err = ota_worker_start(&started->watcher, started->look_ms, watch, started, error);
    if (err != OTA_OK) {
        goto out;
    }
    ota_link_bound_unsent(fd, OTA_SERVER_UNSENT);
    if (started->max_body == 0) {
        ota_link_bound_unread(fd, OTA_SERVER_UNREAD);
    }
    started->daemon = start_without_signals(started, fd, config->threads, config->certificate);
    fd = -1; /* the library's, also when it failed */
    if (started->daemon == NULL) {
        err = ota_error_set(
            error, OTA_UNAVAILABLE, started->tls ? config->cert_option : config->listen_option,
            "%s: the server doesn't start: %s", config->name, started->library_said);
        goto out;
    }
    *server = started;
    started = NULL;
out:
    if (fd >= 0) {
        close(fd);
    }
    ota_server_stop(started);
    return err;
}

void ota_server_stop(struct ota_server *server)
{
    if (server == NULL) {
        return;
    }
    ota_worker_free(&server->watcher);
    if (server->daemon != NULL) {
        MHD_stop_daemon(server->daemon);
    }
    if (server->nothing != NULL) {
        MHD_destroy_response(server->nothing);
    }
    ota_guests_close(server->guests);
    free(server);
}

void ota_server_cut(struct ota_server *server, int64_t key)
{
    if (ota_guests_cut(server->guests, key)) {
        ota_worker_wake(&server->watcher);
    }
}

void ota_server_count(struct ota_server *server, struct ota_server_counts *counts)
{
    counts->requests = atomic_load(&server->requests);
    counts->refused = atomic_load(&server->refused);
    ota_guests_count(server->guests, &counts->guests);
}

int ota_server_places(int most)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur / 4 >= (rlim_t)most) {
        return most;
    }
    return (int)(files.rlim_cur / 4);
}
