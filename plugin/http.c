/* SPDX-License-Identifier: BSD-3-Clause */
#include "http.h"

#include <microhttpd.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "broker.h"
#include "certificate.h"
#include "download.h"
#include "grant.h"
#include "image_cache.h"
#include "listen.h"
#include "transfers.h"

#define OTA_HTTP_THREADS      2
/* Of each connection. To a request that doesn't fit the library answers 414 or 431. */
#define OTA_HTTP_MEMORY       (8 * 1024)
#define OTA_HTTP_COMPLAINT_MS 1000

/* TLS 1.2 is what the vendor's SDK speaks. */
static const char tls_priorities[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";

struct ota_http {
    struct MHD_Daemon *daemon;
    struct MHD_Response *nothing; /* an empty body */
    struct ota_reader *reader;
    struct ota_images *images;
    struct ota_transfers transfers;
    unsigned char url_key[OTA_KEY_SIZE];
    bool tls;
    int port;
    int max_connections;
    bool helper_runs;
    pthread_t helper;
    sem_t work; /* for the helper: an image is waited for, or the end has come */
    atomic_bool stopping;
    _Atomic int64_t complained_at;
    atomic_uint_fast64_t requests;
    atomic_uint_fast64_t refused;
    atomic_uint_fast64_t bytes;
    pthread_t starter;
    char library_said[128];
};

/* A connection, and the request that is on it. */
struct peer {
    struct ota_http *http;
    struct MHD_Connection *connection;
    struct ota_transfer transfer;
    struct ota_claim claim;
    bool claimed;      /* the URL has the shape of ours */
    bool headers_seen; /* the library's first call for this request is over */
    struct ota_image_wait wait;
    struct ota_image *image; /* held for the response */
    int64_t length;
};

/* Database trouble comes in herds: one line a second says it all. */
static void complain(struct ota_http *http, const struct ota_error *error)
{
    if (error->code == OTA_OK) {
        return;
    }
    int64_t now = ota_now_mono();
    int64_t last = atomic_load(&http->complained_at);
    if (last != 0 && now - last < OTA_HTTP_COMPLAINT_MS) {
        return;
    }
    if (atomic_compare_exchange_strong(&http->complained_at, &last, now)) {
        ota_log(OTA_LOG_WARNING, "a download was dropped: %s", error->text);
    }
}

/* --- connections --------------------------------------------------------------------------- */

static struct peer *peer_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static int descriptor_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

static void on_connection(void *data, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode event)
{
    struct ota_http *http = data;
    struct peer *peer = *context;

    switch (event) {
    case MHD_CONNECTION_NOTIFY_STARTED:
        peer = calloc(1, sizeof *peer);
        if (peer != NULL) {
            peer->http = http;
            peer->connection = connection;
            ota_transfers_add(&http->transfers, &peer->transfer, descriptor_of(connection),
                              ota_now_mono());
        }
        *context = peer;
        break;
    case MHD_CONNECTION_NOTIFY_CLOSED:
        if (peer != NULL) {
            ota_transfers_remove(&http->transfers, &peer->transfer);
        }
        free(peer);
        *context = NULL;
        break;
    }
}

/* The library's own limit would leave further devices waiting in the backlog: close instead. */
static enum MHD_Result on_accept(void *data, const struct sockaddr *address, socklen_t len)
{
    struct ota_http *http = data;
    int connections;
    int running;
    (void)address, (void)len;

    ota_transfers_count(&http->transfers, &connections, &running);
    return connections < http->max_connections ? MHD_YES : MHD_NO;
}

/* --- requests ------------------------------------------------------------------------------ */

/* Called with the URL as it came, before the library decodes and cuts it. */
static void *on_url(void *data, const char *url, struct MHD_Connection *connection)
{
    struct ota_http *http = data;
    struct peer *peer = peer_of(connection);

    atomic_fetch_add(&http->requests, 1);
    if (peer != NULL) {
        peer->headers_seen = false;
        peer->wait.err = OTA_OK;
        peer->claimed = url != NULL && ota_download_parse(url, &peer->claim);
    }
    return peer;
}

static void on_completed(void *data, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode reason)
{
    struct ota_http *http = data;
    struct peer *peer = *context;
    (void)connection;

    if (peer == NULL) {
        return;
    }
    if (peer->image != NULL) {
        ota_images_drop(http->images, peer->image, ota_now_mono());
        if (reason == MHD_REQUEST_TERMINATED_COMPLETED_OK) {
            atomic_fetch_add(&http->bytes, (uint64_t)peer->length);
        }
    }
    peer->image = NULL;
    ota_transfers_end(&http->transfers, &peer->transfer, ota_now_mono());
}

static const char *header(struct peer *peer, const char *name)
{
    return MHD_lookup_connection_value(peer->connection, MHD_HEADER_KIND, name);
}

static bool has_body(struct peer *peer)
{
    const char *length = header(peer, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return header(peer, MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL ||
           (length != NULL && strcmp(length, "0") != 0);
}

static enum MHD_Result refuse(struct peer *peer, unsigned status)
{
    atomic_fetch_add(&peer->http->refused, 1);
    return MHD_queue_response(peer->connection, status, peer->http->nothing);
}

static struct ota_range wanted(struct peer *peer, const struct ota_grant *grant)
{
    char etag[OTA_SHA256_HEX + 3];
    const char *condition = header(peer, MHD_HTTP_HEADER_IF_RANGE);
    const char *range = header(peer, MHD_HTTP_HEADER_RANGE);

    (void)snprintf(etag, sizeof etag, "\"%s\"", grant->sha256);
    if (condition != NULL && strcmp(condition, etag) != 0) {
        range = NULL;
    }
    return ota_range_parse(range, grant->size);
}

static bool add(struct MHD_Response *response, const char *name, const char *value)
{
    return MHD_add_response_header(response, name, value) == MHD_YES;
}

static bool describe(struct MHD_Response *response, const struct ota_grant *grant,
                     const struct ota_range *range)
{
    char text[128];

    (void)snprintf(text, sizeof text, "\"%s\"", grant->sha256);
    if (!add(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/octet-stream") ||
        !add(response, MHD_HTTP_HEADER_ETAG, text) ||
        !add(response, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes") ||
        !add(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store")) {
        return false;
    }
    if (range->kind == OTA_RANGE_ALL) {
        return true;
    }
    if (range->kind == OTA_RANGE_OUTSIDE) {
        (void)snprintf(text, sizeof text, "bytes */%lld", (long long)grant->size);
    } else {
        (void)snprintf(text, sizeof text, "bytes %lld-%lld/%lld", (long long)range->first,
                       (long long)(range->first + range->length - 1), (long long)grant->size);
    }
    return add(response, MHD_HTTP_HEADER_CONTENT_RANGE, text);
}

/* Sends the response and gives it away; NULL closes the connection. */
static enum MHD_Result reply(struct peer *peer, struct MHD_Response *response,
                             const struct ota_grant *grant, const struct ota_range *range)
{
    static const unsigned status[] = {
        [OTA_RANGE_ALL] = MHD_HTTP_OK,
        [OTA_RANGE_PART] = MHD_HTTP_PARTIAL_CONTENT,
        [OTA_RANGE_OUTSIDE] = MHD_HTTP_RANGE_NOT_SATISFIABLE,
    };
    enum MHD_Result result = MHD_NO;

    if (response != NULL && describe(response, grant, range)) {
        result = MHD_queue_response(peer->connection, status[range->kind], response);
    }
    if (response != NULL) {
        MHD_destroy_response(response);
    }
    return result;
}

/* What a HEAD's response is said to hold; never called. */
static ssize_t no_bytes(void *data, uint64_t position, char *buffer, size_t max)
{
    (void)data, (void)position, (void)buffer, (void)max;
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

/* Puts the request aside until the image is in memory; then the library calls on_request again.
 * Suspending comes first: the image may be there before ota_images_await returns. */
static enum MHD_Result wait_for(struct peer *peer, const struct ota_grant *grant)
{
    MHD_suspend_connection(peer->connection);
    ota_images_await(peer->http->images, grant->image, grant->size, &peer->wait);
    sem_post(&peer->http->work);
    return MHD_YES;
}

static void on_image(struct ota_image_wait *wait)
{
    struct peer *peer = (struct peer *)((char *)wait - offsetof(struct peer, wait));
    MHD_resume_connection(peer->connection);
}

static enum MHD_Result serve(struct peer *peer, bool head)
{
    struct ota_http *http = peer->http;
    struct ota_error error = {0};
    struct ota_grant grant;

    ota_transfers_begin(&http->transfers, &peer->transfer, peer->claim.task_id, ota_now_mono());
    enum ota_err err = ota_grant_check(http->reader, http->url_key, &peer->claim, &grant, &error);
    if (err == OTA_FORBIDDEN) {
        return refuse(peer, MHD_HTTP_FORBIDDEN);
    }
    if (err != OTA_OK) {
        complain(http, &error);
        return MHD_NO;
    }
    if (peer->wait.err != OTA_OK) {
        return MHD_NO;
    }
    if (head) { /* Range is for GET alone (RFC 9110, 14.2) */
        const struct ota_range all = ota_range_parse(NULL, grant.size);
        return reply(
            peer, MHD_create_response_from_callback((uint64_t)grant.size, 1, no_bytes, NULL, NULL),
            &grant, &all);
    }
    struct ota_range range = wanted(peer, &grant);
    if (range.kind == OTA_RANGE_OUTSIDE) {
        return reply(peer, MHD_create_response_from_buffer(0, "", MHD_RESPMEM_PERSISTENT), &grant,
                     &range);
    }
    peer->image = ota_images_take(http->images, grant.image, ota_now_mono());
    if (peer->image == NULL) {
        return wait_for(peer, &grant);
    }
    peer->length = range.length;
    return reply(peer,
                 MHD_create_response_from_buffer((size_t)range.length,
                                                 (void *)(peer->image->bytes + range.first),
                                                 MHD_RESPMEM_PERSISTENT),
                 &grant, &range);
}

/*
 * Called twice: when the headers are there, and when the body is, which must be empty. Only an
 * answer to the second call keeps the connection. MHD_NO closes it without an answer, which is
 * all that a device understands beside 403 and 404 (tencent-sdk.md 6).
 */
static enum MHD_Result on_request(void *data, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **context)
{
    struct peer *peer = *context;
    (void)data, (void)connection, (void)url, (void)version, (void)upload;

    if (peer == NULL || *upload_size != 0) {
        return MHD_NO;
    }
    if (!peer->headers_seen) {
        peer->headers_seen = true;
        return has_body(peer) ? MHD_NO : MHD_YES;
    }
    bool head = strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
    if (!peer->claimed || (!head && strcmp(method, MHD_HTTP_METHOD_GET) != 0)) {
        ota_transfers_begin(&peer->http->transfers, &peer->transfer, 0, ota_now_mono());
        return refuse(peer, MHD_HTTP_NOT_FOUND);
    }
    return serve(peer, head);
}

/* --- the helper thread --------------------------------------------------------------------- */

static void *help(void *data)
{
    struct ota_http *http = data;

    while (!atomic_load(&http->stopping)) {
        struct timespec until;
        struct ota_error error = {0};

        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec++;
        (void)sem_clockwait(&http->work, CLOCK_MONOTONIC, &until);
        while (!atomic_load(&http->stopping) &&
               ota_images_load(http->images, ota_now_mono(), &error)) {
            complain(http, &error);
            error = (struct ota_error){0};
        }
        ota_images_trim(http->images, ota_now_mono());
        ota_transfers_sweep(&http->transfers, ota_now_mono());
    }
    return NULL;
}

/* --- start and stop ------------------------------------------------------------------------ */

/* Keeps the last thing that the library says while it starts; its threads only chat about peers. */
static void on_library_log(void *data, const char *format, va_list args)
{
    struct ota_http *http = data;
    if (pthread_equal(http->starter, pthread_self())) {
        (void)vsnprintf(http->library_said, sizeof http->library_said, format, args);
        http->library_said[strcspn(http->library_said, "\n")] = '\0';
    }
}

/* Takes over fd. */
static enum ota_err start_daemon(struct ota_http *http, int fd,
                                 const struct ota_certificate *certificate, struct ota_error *error)
{
    const struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, certificate->chain},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, certificate->key},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)tls_priorities},
        {MHD_OPTION_END, 0, NULL},
    };
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;

    /* Each thread gets its share of the library's limit, which must never be the one that counts:
     * hence the whole for each. */
    unsigned limit = (unsigned)http->max_connections * OTA_HTTP_THREADS;
    http->starter = pthread_self();
    http->daemon = MHD_start_daemon(
        flags | (http->tls ? MHD_USE_TLS : 0), 0, on_accept, http, on_request, http,
        MHD_OPTION_EXTERNAL_LOGGER, on_library_log, http, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_THREAD_POOL_SIZE, OTA_HTTP_THREADS, MHD_OPTION_CONNECTION_LIMIT, limit,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)OTA_HTTP_MEMORY, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, http, MHD_OPTION_NOTIFY_COMPLETED, on_completed, http,
        MHD_OPTION_URI_LOG_CALLBACK, on_url, http, MHD_OPTION_ARRAY, http->tls ? tls : tls + 3,
        MHD_OPTION_END);
    if (http->daemon == NULL) {
        return ota_error_set(error, OTA_UNAVAILABLE,
                             http->tls ? "http_certfile" : "download_listen",
                             "the download server doesn't start: %s", http->library_said);
    }
    return OTA_OK;
}

static enum ota_err start_threads(struct ota_http *http, int fd,
                                  const struct ota_certificate *certificate,
                                  struct ota_error *error)
{
    enum ota_err err = OTA_OK;
    sigset_t all;
    sigset_t before;

    /* Threads inherit the mask: the broker's thread alone handles its signals. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&http->helper, NULL, help, http) != 0) {
        close(fd);
        err = ota_error_set(error, OTA_UNAVAILABLE, NULL, "can't start a thread");
    } else {
        http->helper_runs = true;
        err = start_daemon(http, fd, certificate, error);
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

static enum ota_err open_parts(struct ota_http *http, const struct ota_http_config *config,
                               struct ota_error *error)
{
    http->nothing = MHD_create_response_from_buffer(0, "", MHD_RESPMEM_PERSISTENT);
    if (http->nothing == NULL) {
        return ota_error_no_memory(error);
    }
    enum ota_err err = ota_reader_open(config->db_path, &http->reader, error);
    if (err != OTA_OK) {
        return err;
    }
    return ota_images_open(http->reader, on_image, &http->images, error);
}

static int connection_limit(const struct ota_http_config *config)
{
    int limit = ota_transfers_limit(config->max_connections);
    if (config->max_connections == 0 && limit < OTA_TRANSFER_LIMIT) {
        ota_log(OTA_LOG_NOTICE,
                "downloads: at most %d connections, a quarter of the files that the broker may "
                "open; raise that limit (ulimit -n, LimitNOFILE=) for up to %d",
                limit, OTA_TRANSFER_LIMIT);
    }
    return limit;
}

static struct ota_http *http_new(const struct ota_http_config *config)
{
    struct ota_http *http = calloc(1, sizeof *http);
    if (http != NULL) {
        memcpy(http->url_key, config->url_key, sizeof http->url_key);
        http->tls = config->certfile != NULL || config->keyfile != NULL;
        http->max_connections = connection_limit(config);
        ota_transfers_init(&http->transfers);
        (void)sem_init(&http->work, 0, 0);
    }
    return http;
}

enum ota_err ota_http_start(const struct ota_http_config *config, struct ota_http **http,
                            struct ota_error *error)
{
    struct ota_certificate certificate = {0};
    int fd = -1;
    struct ota_http *started = http_new(config);
    enum ota_err err = OTA_OK;

    if (started == NULL) {
        return ota_error_no_memory(error);
    }
    if (started->tls) {
        err = ota_certificate_load(config->certfile, config->keyfile, &certificate, error);
        if (err != OTA_OK) {
            goto out;
        }
    }
    err = open_parts(started, config, error);
    if (err != OTA_OK) {
        goto out;
    }
    err = ota_listen(config->listen, "download_listen", &fd, &started->port, error);
    if (err != OTA_OK) {
        goto out;
    }
    ota_transfers_prepare(fd);
    err = start_threads(started, fd, &certificate, error);
    if (err != OTA_OK) {
        goto out;
    }
    *http = started;
    started = NULL;
out:
    ota_certificate_free(&certificate);
    ota_http_stop(started);
    return err;
}

void ota_http_stop(struct ota_http *http)
{
    if (http == NULL) {
        return;
    }
    if (http->helper_runs) {
        atomic_store(&http->stopping, true);
        sem_post(&http->work);
        (void)pthread_join(http->helper, NULL);
    }
    /* The library aborts the process if it is stopped while a request is put aside. */
    if (http->images != NULL) {
        ota_images_stop(http->images);
    }
    if (http->daemon != NULL) {
        MHD_stop_daemon(http->daemon);
    }
    if (http->nothing != NULL) {
        MHD_destroy_response(http->nothing);
    }
    ota_images_close(http->images);
    ota_reader_close(http->reader);
    ota_transfers_destroy(&http->transfers);
    (void)sem_destroy(&http->work);
    OPENSSL_cleanse(http->url_key, sizeof http->url_key);
    free(http);
}

int ota_http_port(const struct ota_http *http)
{
    return http->port;
}

void ota_http_cut(struct ota_http *http, int64_t task_id)
{
    if (http != NULL) {
        ota_transfers_cut(&http->transfers, task_id);
    }
}

void ota_http_stats(struct ota_http *http, struct ota_http_stats *stats)
{
    int connections;

    stats->requests = atomic_load(&http->requests);
    stats->refused = atomic_load(&http->refused);
    stats->bytes = atomic_load(&http->bytes);
    ota_transfers_count(&http->transfers, &connections, &stats->active);
}
