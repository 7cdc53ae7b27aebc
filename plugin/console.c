/* SPDX-License-Identifier: BSD-3-Clause */
#include "console.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "assets.h"
#include "broker.h"
#include "certificate.h"
#include "link.h"
#include "listen.h"
#include "visit.h"

#define OTA_CONSOLE_THREADS 2
#define OTA_CONSOLE_PLACES  256
#define OTA_CONSOLE_EVENTS  4096

#define OTA_BODY_SMALL     4096
#define OTA_BODY_CONTROL   (128 << 10)
#define OTA_BODY_MAX       (1 << 20)
/* Of all requests together that are coming in: strangers must not fill the memory. */
#define OTA_BODIES_MAX     (32 << 20)
#define OTA_BODIES_UNKNOWN (OTA_BODIES_MAX / 2) /* until they have shown who they are */

#define OTA_HOUR INT64_C(3600000)

static const struct ota_session_rules session_rules = {
    .most = 1000, .most_a_user = 20, .idle_ms = 12 * OTA_HOUR, .whole_ms = 7 * 24 * OTA_HOUR};
static const struct ota_session_rules verified_rules = {
    .most = 256, .most_a_user = 8, .idle_ms = OTA_HOUR / 12, .whole_ms = OTA_HOUR / 12};

static bool serve_asset(struct visit *visit);

static const struct route routes[] = {
    {.path = "/api/v1/login",
     .method = "POST",
     .max_body = OTA_BODY_SMALL,
     .type = "application/json",
     .handle = ota_visit_login},
    {.path = "/api/v1/logout",
     .method = "POST",
     .max_body = OTA_BODY_SMALL,
     .type = "application/json",
     .handle = ota_visit_logout},
    {.path = "/api/v1/session", .handle = ota_visit_session},
    {.path = "/api/v1/control",
     .method = "POST",
     .max_body = OTA_BODY_CONTROL,
     .type = "application/json",
     .handle = ota_visit_control},
    {.path = "/api/v1/uploads/",
     .is_prefix = true,
     .method = "PUT",
     .max_body = OTA_BODY_MAX,
     .type = "application/octet-stream",
     .handle = ota_visit_upload},
    {.path = "/api/v1/events", .handle = ota_visit_events},
    {.path = "/metrics", .handle = ota_visit_metrics},
    {.path = "/healthz", .handle = ota_visit_health, .any_host = true, .any_site = true},
    {.path = "/", .is_prefix = true, .handle = serve_asset, .any_site = true},
};

/* --- a request comes in ----------------------------------------------------------------------- */

static void drop_body(struct visit *visit)
{
    if (visit->body != NULL) {
        OPENSSL_cleanse(visit->body, visit->body_len); /* it may hold a password */
        atomic_fetch_sub(&console_of(visit)->body_bytes, visit->body_counted);
    }
    free(visit->body);
    visit->body = NULL;
    visit->body_len = 0;
    visit->body_room = 0;
    visit->body_counted = 0;
    visit->body_fate = BODY_KEPT;
}

static void forget_request(struct visit *visit)
{
    drop_body(visit);
    free(visit->letter.text);
    visit->letter = (struct ota_letter){0};
    OPENSSL_cleanse(&visit->tried, sizeof visit->tried);
    visit->who = (struct who){0};
    visit->vouched = false;
    visit->retry_s = 0;
    visit->stage = VISIT_FRESH;
}

static const struct route *find_route(const char *path)
{
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        size_t len = strlen(routes[i].path);
        if (routes[i].is_prefix ? strncmp(path, routes[i].path, len) == 0
                                : strcmp(path, routes[i].path) == 0) {
            return &routes[i];
        }
    }
    return NULL;
}

static void on_target(struct ota_visitor *visitor, const char *target)
{
    struct visit *visit = (struct visit *)visitor;

    forget_request(visit);
    visit->target[0] = '\0';
    visit->query = NULL;
    visit->known_target = target != NULL && strlen(target) <= OTA_TARGET_MAX;
    if (visit->known_target) {
        (void)snprintf(visit->target, sizeof visit->target, "%s", target);
        char *mark = strchr(visit->target, '?');
        if (mark != NULL) {
            *mark = '\0';
            visit->query = mark + 1;
        }
    }
    visit->route = find_route(visit->target);
}

/* Room for all of the body at once: the pieces are small, and many. Small bodies aren't counted,
 * the places bound them: nobody can keep others from logging in by holding large ones. */
static enum body_fate make_room(struct visit *visit, size_t size, bool known)
{
    struct ota_console *console = console_of(visit);
    size_t counted = size > OTA_BODY_SMALL ? size : 0;

    if (!known && counted > 0 && ota_server_header(&visit->visitor, "Authorization") == NULL) {
        return BODY_OF_NOBODY;
    }
    size_t limit = known ? OTA_BODIES_MAX : OTA_BODIES_UNKNOWN;
    if (atomic_fetch_add(&console->body_bytes, counted) + counted <= limit || counted == 0) {
        visit->body = malloc(size > 0 ? size : 1);
    }
    if (visit->body == NULL) {
        atomic_fetch_sub(&console->body_bytes, counted);
        return BODY_NO_ROOM;
    }
    visit->body_room = size;
    visit->body_counted = counted;
    return BODY_KEPT;
}

/* What isn't kept is read all the same: the answer says why, and a sender that is cut off in the
 * middle wouldn't hear it. */
static int on_head(struct ota_visitor *visitor, const char *method, int64_t body)
{
    struct visit *visit = (struct visit *)visitor;
    size_t most = visit->route != NULL ? visit->route->max_body : 0;
    bool known = ota_visit_is_known(visit);
    (void)method;

    if (!known) {
        ota_server_doubt(visitor);
    }
    visit->body_fate =
        body > (int64_t)most ? BODY_TOO_LARGE : make_room(visit, (size_t)body, known);
    return 0;
}

static bool on_body(struct ota_visitor *visitor, const char *bytes, size_t len)
{
    struct visit *visit = (struct visit *)visitor;

    if (visit->body_fate != BODY_KEPT) {
        return true;
    }
    if (len > visit->body_room - visit->body_len) {
        return false; /* more than its head said */
    }
    memcpy(visit->body + visit->body_len, bytes, len);
    visit->body_len += len;
    return true;
}

static void on_done(struct ota_visitor *visitor, bool whole)
{
    (void)whole;
    forget_request((struct visit *)visitor);
}

/* --- and is answered -------------------------------------------------------------------------- */

static bool is_method(const struct route *route, const char *method)
{
    if (route->method != NULL) {
        return strcmp(method, route->method) == 0;
    }
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

static bool refuse_method(struct visit *visit)
{
    struct ota_reply reply = {.status = 405};
    const char *method = visit->route->method;

    ota_reply_add(&reply, "Allow", method != NULL ? method : "GET, HEAD");
    return ota_visit_answer(visit, &reply);
}

static bool has_type(struct visit *visit)
{
    const char *wanted = visit->route->type;
    const char *type = ota_server_header(&visit->visitor, "Content-Type");

    if (wanted == NULL || visit->body_len == 0) {
        return true;
    }
    return type != NULL && strcspn(type, "; \t") == strlen(wanted) &&
           strncasecmp(type, wanted, strlen(wanted)) == 0;
}

static bool refuse_body(struct visit *visit)
{
    struct ota_error error = {0};

    if (visit->body_fate == BODY_OF_NOBODY) {
        return ota_visit_refuse_with(visit, 401, OTA_FORBIDDEN, "log in first");
    }
    if (visit->body_fate == BODY_NO_ROOM) {
        return ota_visit_refuse_with(visit, 503, OTA_UNAVAILABLE,
                                     "too many requests are coming in: try again");
    }
    (void)ota_error_set(&error, OTA_TOO_LARGE, NULL, "at most %zu bytes may be sent here",
                        visit->route->max_body);
    return ota_visit_refuse(visit, 413, &error);
}

/* Everything that needs no user. */
static bool is_fit(struct visit *visit, const char *method, bool *result)
{
    const struct route *route = visit->route;

    if (!visit->known_target) {
        *result = ota_visit_refuse_with(visit, 414, OTA_TOO_LARGE, "the path is too long");
    } else if (route == NULL) {
        *result = ota_visit_refuse_with(visit, 404, OTA_NOT_FOUND, "there is nothing here");
    } else if (!route->any_host && !ota_visit_host_is_ours(visit)) {
        *result = ota_visit_refuse_with(visit, 421, OTA_FORBIDDEN,
                                        "the console isn't known under this name: add it to "
                                        "plugin_opt_console_hosts");
    } else if (!is_method(route, method)) {
        *result = refuse_method(visit);
    } else if (!route->any_site && ota_visit_origin(visit) == OTA_ORIGIN_FOREIGN) {
        *result = ota_visit_refuse_with(visit, 403, OTA_FORBIDDEN,
                                        "another site's page may not ask this");
    } else if (visit->body_fate != BODY_KEPT) {
        *result = refuse_body(visit);
    } else if (!has_type(visit)) {
        *result = ota_visit_refuse_with(visit, 415, OTA_INVALID_REQUEST,
                                        "the Content-Type must be what the body is");
    } else {
        return true;
    }
    return false;
}

static bool on_request(struct ota_visitor *visitor, const char *method)
{
    struct visit *visit = (struct visit *)visitor;
    bool result;

    if (visit->stage == VISIT_FRESH) {
        char address[OTA_CALLER_MAX - 4];
        if (!is_fit(visit, method, &result)) {
            return result;
        }
        ota_link_peer(visitor->guest.fd, address, sizeof address);
        (void)snprintf(visit->caller, sizeof visit->caller, "http:%s", address);
    }
    return visit->route->handle(visit);
}

/* --- the page --------------------------------------------------------------------------------- */

static bool not_found(struct visit *visit)
{
    static const char text[] = "There is nothing here.\n";
    struct ota_reply reply = {
        .status = 404, .type = "text/plain; charset=utf-8", .bytes = text, .len = sizeof text - 1};
    return ota_visit_answer(visit, &reply);
}

static bool serve_file(struct visit *visit)
{
    struct ota_reply reply = {.status = 200, .type = ota_asset_type(visit->target)};

    if (!ota_asset_read(console_of(visit)->dir, visit->target, &reply.own, &reply.len)) {
        return not_found(visit);
    }
    ota_reply_add(&reply, "Cache-Control", "no-cache");
    return ota_visit_answer(visit, &reply);
}

static bool serve_asset(struct visit *visit)
{
    if (strncmp(visit->target, "/api/", 5) == 0) {
        return ota_visit_refuse_with(visit, 404, OTA_NOT_FOUND, "there is nothing here");
    }
    if (console_of(visit)->dir != NULL) {
        return serve_file(visit);
    }
    const struct ota_asset *asset = ota_asset_find(visit->target);
    const char *type = asset != NULL ? ota_asset_type(asset->path) : NULL;
    if (type == NULL) {
        return not_found(visit);
    }
    bool gzip = ota_asset_takes_gzip(ota_server_header(&visit->visitor, "Accept-Encoding"));
    const char *known = ota_server_header(&visit->visitor, "If-None-Match");
    char etag[64];
    struct ota_reply reply = {.status = 200,
                              .type = type,
                              .bytes = gzip ? asset->gzip : asset->plain,
                              .len = gzip ? asset->gzip_len : asset->plain_len};
    (void)snprintf(etag, sizeof etag, "\"%s%s\"", asset->digest, gzip ? "-gz" : "");
    ota_reply_add(&reply, "ETag", etag);
    ota_reply_add(&reply, "Cache-Control", "no-cache");
    ota_reply_add(&reply, "Vary", "Accept-Encoding");
    if (known != NULL && strstr(known, etag) != NULL) {
        reply.status = 304;
        reply.type = NULL;
        reply.len = 0;
    } else if (gzip) {
        ota_reply_add(&reply, "Content-Encoding", "gzip");
    }
    return ota_visit_answer(visit, &reply);
}

/* --- start and stop --------------------------------------------------------------------------- */

/* A stream's reader: still logged in, still with a role. */
static bool may_read(void *data, const void *reader)
{
    struct ota_console *console = data;
    const struct who *who = reader;

    if (who->by_session && !ota_sessions_has(console->sessions, who->digest, ota_now_mono())) {
        return false;
    }
    return ota_people_role(console->people, who->user, who->mark) != OTA_ROLE_NONE;
}

static enum ota_err start_server(struct ota_console *console,
                                 const struct ota_console_config *config, struct ota_error *error)
{
    struct ota_certificate certificate = {0};
    int fd = -1;
    enum ota_err err = OTA_OK;
    struct ota_server_config server = {
        .name = "console",
        .listen_option = "console_listen",
        .cert_option = "http_certfile",
        .certificate = console->tls ? &certificate : NULL,
        .threads = OTA_CONSOLE_THREADS,
        .max_body = OTA_BODY_MAX,
        .rules = {.places = ota_server_places(OTA_CONSOLE_PLACES),
                  .head_ms = OTA_GUEST_HEAD_MS,
                  .idle_ms = OTA_GUEST_IDLE_MS,
                  .pace = OTA_PACE_RULES_USUAL},
        .calls = {.visitor_size = sizeof(struct visit),
                  .on_target = on_target,
                  .on_head = on_head,
                  .on_body = on_body,
                  .on_request = on_request,
                  .on_done = on_done},
        .data = console,
    };

    if (console->tls) {
        err = ota_certificate_load(config->certfile, config->keyfile, &certificate, error);
        if (err != OTA_OK) {
            goto out;
        }
    }
    err = ota_listen(config->listen, "console_listen", &fd, &console->port, error);
    if (err == OTA_OK) {
        err = ota_server_start(&server, fd, &console->server, error);
    }
out:
    ota_certificate_free(&certificate);
    return err;
}

static enum ota_err make_parts(struct ota_console *console, const struct ota_console_config *config,
                               struct ota_error *error)
{
    console->people = ota_people_new();
    console->sessions = ota_sessions_new(&session_rules);
    console->verified = ota_sessions_new(&verified_rules);
    console->throttle = ota_throttle_new();
    console->mailbox = ota_mailbox_new();
    console->dir = config->dir != NULL && config->dir[0] != '\0' ? strdup(config->dir) : NULL;
    console->hosts = strdup(config->hosts != NULL ? config->hosts : "");
    console->password_file = strdup(config->password_file);
    if (console->people == NULL || console->sessions == NULL || console->verified == NULL ||
        console->throttle == NULL || console->mailbox == NULL || console->hosts == NULL ||
        console->password_file == NULL ||
        RAND_bytes(console->secret, sizeof console->secret) != 1) {
        return ota_error_no_memory(error);
    }
    return OTA_OK;
}

static enum ota_err build(struct ota_console *console, const struct ota_console_config *config,
                          struct ota_error *error)
{
    const struct ota_streams_config streams = {.events = OTA_CONSOLE_EVENTS,
                                               .look_ms = 1000,
                                               .alive_ms = OTA_STREAM_ALIVE_MS,
                                               .may_read = may_read,
                                               .data = console};
    enum ota_err err = make_parts(console, config, error);
    if (err == OTA_OK) {
        err = ota_console_reload(console, config->roles, error);
    }
    if (err == OTA_OK) {
        err = ota_login_start(console->people, &console->login, error);
    }
    if (err == OTA_OK) {
        err = ota_streams_start(&streams, &console->streams, error);
    }
    return err == OTA_OK ? start_server(console, config, error) : err;
}

enum ota_err ota_console_start(const struct ota_console_config *config,
                               struct ota_console **console, struct ota_error *error)
{
    struct ota_console *started = calloc(1, sizeof *started);
    if (started == NULL) {
        return ota_error_no_memory(error);
    }
    started->metrics_public = config->metrics_public;
    started->tls = config->certfile != NULL;
    ota_pulse_beat(&started->pulse, ota_now_mono());
    enum ota_err err = build(started, config, error);
    if (err != OTA_OK) {
        ota_console_stop(started);
        return err;
    }
    *console = started;
    return OTA_OK;
}

void ota_console_quiet(struct ota_console *console)
{
    if (console == NULL) {
        return;
    }
    if (console->mailbox != NULL) {
        ota_mailbox_close(console->mailbox);
    }
    ota_login_stop(console->login);
    ota_streams_stop(console->streams);
}

void ota_console_stop(struct ota_console *console)
{
    if (console == NULL) {
        return;
    }
    ota_console_quiet(console);
    ota_server_stop(console->server); /* nothing may be put aside any more */
    ota_login_free(console->login);
    ota_streams_free(console->streams);
    ota_mailbox_free(console->mailbox);
    ota_throttle_free(console->throttle);
    ota_sessions_free(console->verified);
    ota_sessions_free(console->sessions);
    ota_people_free(console->people);
    free(console->dir);
    free(console->hosts);
    free(console->password_file);
    OPENSSL_cleanse(console->secret, sizeof console->secret);
    free(console);
}

/* --- the broker's thread ---------------------------------------------------------------------- */

enum ota_err ota_console_reload(struct ota_console *console, const struct ota_roles *roles,
                                struct ota_error *error)
{
    enum ota_err err = ota_people_read(console->people, console->password_file, roles, error);
    if (err == OTA_OK && console->streams != NULL) {
        ota_streams_recheck(console->streams);
    }
    return err;
}

struct ota_mailbox *ota_console_mailbox(struct ota_console *console)
{
    return console->mailbox;
}

struct ota_pulse *ota_console_pulse(struct ota_console *console)
{
    return &console->pulse;
}

void ota_console_tell(struct ota_console *console, const char *type, const char *product,
                      const char *device, const char *json, size_t len)
{
    if (console != NULL) {
        ota_streams_tell(console->streams, type, product, device, json, len);
    }
}

void ota_console_count(struct ota_console *console, struct ota_console_stats *stats)
{
    struct ota_server_counts server;
    struct ota_stream_counts streams;

    ota_server_count(console->server, &server);
    ota_streams_count(console->streams, &streams);
    *stats = (struct ota_console_stats){
        .requests = server.requests,
        .failed_logins = atomic_load(&console->failed_logins),
        .dropped_streams = streams.dropped,
        .connections = server.guests.present,
        .sessions = (int)ota_sessions_count(console->sessions),
        .streams = streams.open,
        .users = (int)ota_people_count(console->people),
    };
}

int ota_console_port(const struct ota_console *console)
{
    return console->port;
}
