/* SPDX-License-Identifier: BSD-3-Clause */
#include "server.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "broker.h"
#include "link.h"
#include "server_inside.h"

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
        flags | (server->tls ? MHD_USE_TLS : 0), 0, ota_server_accept, server, ota_server_request,
        server, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, server, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_THREAD_POOL_SIZE, (unsigned)threads, MHD_OPTION_CONNECTION_LIMIT, limit,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)OTA_SERVER_MEMORY, MHD_OPTION_STRICT_FOR_CLIENT,
        server->library_is_strict ? 1 : 0, MHD_OPTION_NOTIFY_CONNECTION, ota_server_connection,
        server, MHD_OPTION_NOTIFY_COMPLETED, ota_server_completed, server,
        MHD_OPTION_URI_LOG_CALLBACK, ota_server_target, server, MHD_OPTION_ARRAY,
        server->tls ? tls : none, MHD_OPTION_END);
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
