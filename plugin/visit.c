/* SPDX-License-Identifier: BSD-3-Clause */
/* A request on its way in: which path, room for its body, and what can be said before anybody asks
 * who it is. */
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "link.h"
#include "visit.h"

#define OTA_BODY_SMALL     4096
#define OTA_BODY_CONTROL   (128 << 10)
/* Of all requests together that are coming in: strangers must not fill the memory. */
#define OTA_BODIES_MAX     (32 << 20)
#define OTA_BODIES_UNKNOWN (OTA_BODIES_MAX / 2) /* until they have shown who they are */

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
    {.path = "/api/v1/openapi.json", .handle = ota_visit_openapi},
    {.path = "/metrics", .handle = ota_visit_metrics},
    {.path = "/healthz", .handle = ota_visit_health, .any_host = true, .any_site = true},
    {.path = "/", .is_prefix = true, .handle = ota_visit_asset, .any_site = true},
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

void ota_visit_on_target(struct ota_visitor *visitor, const char *target)
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
int ota_visit_on_head(struct ota_visitor *visitor, const char *method, int64_t body)
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

bool ota_visit_on_body(struct ota_visitor *visitor, const char *bytes, size_t len)
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

void ota_visit_on_done(struct ota_visitor *visitor, bool whole)
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

bool ota_visit_on_request(struct ota_visitor *visitor, const char *method)
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
