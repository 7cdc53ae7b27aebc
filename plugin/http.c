/* SPDX-License-Identifier: BSD-3-Clause */
#include "http.h"

#include <microhttpd.h>
#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker.h"
#include "certificate.h"
#include "download.h"
#include "grant.h"
#include "image_cache.h"
#include "listen.h"
#include "server.h"
#include "worker.h"

#define OTA_HTTP_THREADS      2
#define OTA_HTTP_TRIM_MS      1000
#define OTA_HTTP_COMPLAINT_MS 1000
#define OTA_HTTP_RANGE_MAX    64 /* of a Range header that can be a single range */

struct ota_http {
    struct ota_server *server;
    struct ota_reader *reader;
    struct ota_images *images;
    struct ota_worker loader; /* loads and forgets images */
    unsigned char url_key[OTA_KEY_SIZE];
    int port;
    _Atomic int64_t complained_at;
    atomic_uint_fast64_t bytes;
};

/* A connection, and the request that is on it. */
struct peer {
    struct ota_visitor visitor; /* first */
    struct ota_claim claim;
    bool claimed; /* the URL has the shape of ours */
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

/* --- requests ------------------------------------------------------------------------------ */

static struct ota_http *http_of(struct peer *peer)
{
    return peer->visitor.data;
}

static void on_target(struct ota_visitor *visitor, const char *target)
{
    struct peer *peer = (struct peer *)visitor;

    peer->wait.err = OTA_OK;
    peer->claimed = target != NULL && ota_download_parse(target, &peer->claim);
    visitor->key = peer->claimed ? peer->claim.task_id : 0;
}

static void on_done(struct ota_visitor *visitor, bool whole)
{
    struct peer *peer = (struct peer *)visitor;
    struct ota_http *http = http_of(peer);

    if (peer->image == NULL) {
        return;
    }
    ota_images_drop(http->images, peer->image, ota_now_mono());
    peer->image = NULL;
    if (whole) {
        atomic_fetch_add(&http->bytes, (uint64_t)peer->length);
    }
}

/* The Range header without blanks behind it, which the library leaves; false where there is none.
 * What is too long for a single range is cut, and then isn't one. */
static bool range_text(struct peer *peer, char *text)
{
    const char *header = ota_server_header(&peer->visitor, MHD_HTTP_HEADER_RANGE);

    if (header == NULL) {
        return false;
    }
    size_t len = strnlen(header, OTA_HTTP_RANGE_MAX - 1);
    memcpy(text, header, len);
    while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t')) {
        len--;
    }
    text[len] = '\0';
    return true;
}

/* Whether If-Range, where it is there, names the file that we have. */
static bool is_current(struct peer *peer, const struct ota_grant *grant)
{
    char etag[OTA_SHA256_HEX + 3];
    const char *condition = ota_server_header(&peer->visitor, MHD_HTTP_HEADER_IF_RANGE);

    if (condition == NULL) {
        return true;
    }
    (void)snprintf(etag, sizeof etag, "\"%s\"", grant->sha256);
    return strcmp(condition, etag) == 0;
}

/* False: what is wanted is no single range, and nothing else either. */
static bool wanted(struct peer *peer, const struct ota_grant *grant, struct ota_range *range)
{
    char text[OTA_HTTP_RANGE_MAX];
    const char *header = range_text(peer, text) ? text : NULL;
    struct ota_range found = ota_range_parse(header, grant->size);

    if (found.kind == OTA_RANGE_ALL) { /* of a range, that says only that it isn't one */
        switch (ota_range_form(header)) {
        case OTA_RANGE_FAULTY:
            return false;
        case OTA_RANGE_REVERSED:
            found = (struct ota_range){.kind = OTA_RANGE_OUTSIDE};
            break;
        case OTA_RANGE_NONE:
        case OTA_RANGE_SINGLE:
            break;
        }
    }
    *range = is_current(peer, grant) ? found : ota_range_parse(NULL, grant->size);
    return true;
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
static bool reply(struct peer *peer, struct MHD_Response *response, const struct ota_grant *grant,
                  const struct ota_range *range)
{
    static const int status[] = {
        [OTA_RANGE_ALL] = MHD_HTTP_OK,
        [OTA_RANGE_PART] = MHD_HTTP_PARTIAL_CONTENT,
        [OTA_RANGE_OUTSIDE] = MHD_HTTP_RANGE_NOT_SATISFIABLE,
    };
    bool sent = false;

    if (response != NULL && describe(response, grant, range)) {
        sent = ota_server_answer(&peer->visitor, status[range->kind], response);
    }
    if (response != NULL) {
        MHD_destroy_response(response);
    }
    return sent;
}

/* What a HEAD's response is said to hold; never called. */
static ssize_t no_bytes(void *data, uint64_t position, char *buffer, size_t max)
{
    (void)data, (void)position, (void)buffer, (void)max;
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

/* Range is for GET alone (RFC 9110, 14.2). */
static bool reply_to_head(struct peer *peer, const struct ota_grant *grant)
{
    const struct ota_range all = ota_range_parse(NULL, grant->size);
    return reply(peer,
                 MHD_create_response_from_callback((uint64_t)grant->size, 1, no_bytes, NULL, NULL),
                 grant, &all);
}

static void on_image(struct ota_image_wait *wait)
{
    struct peer *peer = (struct peer *)((char *)wait - offsetof(struct peer, wait));
    ota_server_take_up(&peer->visitor);
}

/* Puts the request aside until the image is in memory; then the server calls on_request again.
 * Putting aside comes first: the image may be there before ota_images_await returns. */
static void wait_for(struct peer *peer, const struct ota_grant *grant)
{
    struct ota_http *http = http_of(peer);

    ota_server_put_aside(&peer->visitor);
    ota_images_await(http->images, grant->image, grant->size, on_image, &peer->wait);
    ota_worker_wake(&http->loader);
}

static bool reply_to_get(struct peer *peer, const struct ota_grant *grant)
{
    struct ota_http *http = http_of(peer);
    struct ota_range range;

    if (!wanted(peer, grant, &range)) {
        return ota_server_refuse(&peer->visitor, MHD_HTTP_BAD_REQUEST);
    }
    if (range.kind == OTA_RANGE_OUTSIDE) {
        return reply(peer, MHD_create_response_from_buffer(0, "", MHD_RESPMEM_PERSISTENT), grant,
                     &range);
    }
    peer->image = ota_images_take(http->images, grant->image, ota_now_mono());
    if (peer->image == NULL) {
        wait_for(peer, grant);
        return true;
    }
    peer->length = range.length;
    return reply(peer,
                 MHD_create_response_from_buffer((size_t)range.length,
                                                 (void *)(peer->image->bytes + range.first),
                                                 MHD_RESPMEM_PERSISTENT),
                 grant, &range);
}

/* False closes without an answer, which is all that a device understands beside 403 and 404
 * (tencent-sdk.md 6). */
static bool on_request(struct ota_visitor *visitor, const char *method)
{
    struct peer *peer = (struct peer *)visitor;
    struct ota_http *http = http_of(peer);
    struct ota_error error = {0};
    struct ota_grant grant;
    bool head = strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;

    if (!peer->claimed || (!head && strcmp(method, MHD_HTTP_METHOD_GET) != 0)) {
        return ota_server_refuse(visitor, MHD_HTTP_NOT_FOUND);
    }
    enum ota_err err = ota_grant_check(http->reader, http->url_key, &peer->claim, &grant, &error);
    if (err == OTA_FORBIDDEN) {
        return ota_server_refuse(visitor, MHD_HTTP_FORBIDDEN);
    }
    if (err != OTA_OK) {
        complain(http, &error);
        return false;
    }
    if (peer->wait.err != OTA_OK) {
        return false;
    }
    return head ? reply_to_head(peer, &grant) : reply_to_get(peer, &grant);
}

/* --- the loading thread ---------------------------------------------------------------------- */

static void load(void *data)
{
    struct ota_http *http = data;
    struct ota_error error = {0};

    while (!ota_worker_stopping(&http->loader) &&
           ota_images_load(http->images, ota_now_mono(), &error)) {
        complain(http, &error);
        error = (struct ota_error){0};
    }
    ota_images_trim(http->images, ota_now_mono());
}

/* --- start and stop ------------------------------------------------------------------------ */

static int places_for(const struct ota_http_config *config)
{
    int wanted_places = config->places > 0 ? config->places : OTA_HTTP_PLACES;
    int places = ota_server_places(wanted_places);

    if (config->places == 0 && places < OTA_HTTP_PLACES) {
        ota_log(OTA_LOG_NOTICE,
                "downloads: at most %d connections, a quarter of the files that the broker may "
                "open; raise that limit (ulimit -n, LimitNOFILE=) for up to %d",
                places, OTA_HTTP_PLACES);
    }
    return places;
}

static enum ota_err start_server(struct ota_http *http, const struct ota_http_config *config,
                                 struct ota_error *error)
{
    struct ota_certificate certificate = {0};
    bool tls = config->certfile != NULL || config->keyfile != NULL;
    int fd = -1;
    enum ota_err err = OTA_OK;
    struct ota_server_config server = {
        .name = "downloads",
        .listen_option = "download_listen",
        .cert_option = "http_certfile",
        .certificate = tls ? &certificate : NULL,
        .threads = OTA_HTTP_THREADS,
        .rules = {.places = places_for(config),
                  .head_ms = OTA_GUEST_HEAD_MS,
                  .idle_ms = OTA_GUEST_IDLE_MS,
                  .pace = OTA_PACE_RULES_USUAL,
                  .per_key = OTA_HTTP_PER_TASK},
        .look_ms = config->look_ms,
        .calls = {.visitor_size = sizeof(struct peer),
                  .on_target = on_target,
                  .on_request = on_request,
                  .on_done = on_done},
        .data = http,
    };

    if (tls) {
        err = ota_certificate_load(config->certfile, config->keyfile, &certificate, error);
        if (err != OTA_OK) {
            goto out;
        }
    }
    err = ota_listen(config->listen, "download_listen", &fd, &http->port, error);
    if (err != OTA_OK) {
        goto out;
    }
    err = ota_server_start(&server, fd, &http->server, error);
out:
    ota_certificate_free(&certificate);
    return err;
}

static enum ota_err build(struct ota_http *http, const struct ota_http_config *config,
                          struct ota_error *error)
{
    enum ota_err err = ota_reader_open(config->db_path, &http->reader, error);
    if (err == OTA_OK) {
        err = ota_images_open(http->reader, &http->images, error);
    }
    if (err == OTA_OK) {
        err = ota_worker_start(&http->loader, OTA_HTTP_TRIM_MS, load, http, error);
    }
    return err == OTA_OK && config->listen != NULL ? start_server(http, config, error) : err;
}

enum ota_err ota_http_start(const struct ota_http_config *config, struct ota_http **http,
                            struct ota_error *error)
{
    struct ota_http *started = calloc(1, sizeof *started);

    if (started == NULL) {
        return ota_error_no_memory(error);
    }
    memcpy(started->url_key, config->url_key, sizeof started->url_key);
    enum ota_err err = build(started, config, error);
    if (err != OTA_OK) {
        ota_http_stop(started);
        return err;
    }
    *http = started;
    return OTA_OK;
}

void ota_http_stop(struct ota_http *http)
{
    if (http == NULL) {
        return;
    }
    ota_worker_stop(&http->loader);
    if (http->images != NULL) { /* nothing may be put aside when the server stops */
        ota_images_stop(http->images);
    }
    ota_server_stop(http->server);
    ota_worker_free(&http->loader); /* until here requests may have woken it */
    ota_images_close(http->images);
    ota_reader_close(http->reader);
    OPENSSL_cleanse(http->url_key, sizeof http->url_key);
    free(http);
}

int ota_http_port(const struct ota_http *http)
{
    return http->port;
}

struct ota_images *ota_http_images(struct ota_http *http)
{
    return http->images;
}

struct ota_worker *ota_http_loader(struct ota_http *http)
{
    return &http->loader;
}

void ota_http_cut(struct ota_http *http, int64_t task_id)
{
    if (http != NULL) {
        ota_server_cut(http->server, task_id);
    }
}

void ota_http_stats(struct ota_http *http, struct ota_http_stats *stats)
{
    struct ota_server_counts counts;

    ota_server_count(http->server, &counts);
    stats->requests = counts.requests;
    stats->refused = counts.refused;
    stats->bytes = atomic_load(&http->bytes);
    stats->connections = counts.guests.present;
    stats->active = counts.guests.busy;
}
