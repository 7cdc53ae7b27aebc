/* SPDX-License-Identifier: BSD-3-Clause */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker.h"
#include "util/json_text.h"
#include "visit.h"

#define OTA_JSON "application/json"

/* --- answers ---------------------------------------------------------------------------------- */

bool ota_visit_answer(struct visit *visit, struct ota_reply *reply)
{
    if (!visit->vouched && !ota_visit_is_known(visit)) {
        ota_server_doubt(&visit->visitor);
    }
    return ota_reply_send(&visit->visitor, reply);
}

static bool answer_json(struct visit *visit, int status, json_t *json, const char *header,
                        const char *value)
{
    struct ota_reply reply = {.status = status, .type = OTA_JSON};

    reply.own = ota_json_write(json, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(json);
    if (reply.own == NULL) {
        return false;
    }
    reply.len = strlen(reply.own);
    if (header != NULL) {
        ota_reply_add(&reply, header, value);
    }
    return ota_visit_answer(visit, &reply);
}

static json_t *json_of(const struct ota_error *error)
{
    return json_pack("{s:{s:s, s:s, s:s*}}", "error", "code", ota_err_name(error->code), "message",
                     error->text, "field", error->field[0] != '\0' ? error->field : NULL);
}

/* Over plain HTTP to another machine a browser says nothing of Sec-Fetch; scripts speak no
 * language.
 */
static bool is_browser(struct visit *visit)
{
    return ota_server_header(&visit->visitor, "Sec-Fetch-Site") != NULL ||
           ota_server_header(&visit->visitor, "Origin") != NULL ||
           ota_server_header(&visit->visitor, "Accept-Language") != NULL;
}

bool ota_visit_refuse(struct visit *visit, int status, const struct ota_error *error)
{
    char seconds[16];

    switch (status) {
    case 401:
        return answer_json(visit, status, json_of(error),
                           is_browser(visit) ? NULL : "WWW-Authenticate",
                           "Basic realm=\"mosquitto-ota\", charset=\"UTF-8\"");
    case 429:
    case 503:
        (void)snprintf(seconds, sizeof seconds, "%d", visit->retry_s > 0 ? visit->retry_s : 1);
        return answer_json(visit, status, json_of(error), "Retry-After", seconds);
    default:
        return answer_json(visit, status, json_of(error), NULL, NULL);
    }
}

bool ota_visit_refuse_with(struct visit *visit, int status, enum ota_err code, const char *text)
{
    struct ota_error error = {0};
    (void)ota_error_set(&error, code, NULL, "%s", text);
    return ota_visit_refuse(visit, status, &error);
}

static int status_of(enum ota_err code)
{
    switch (code) {
    case OTA_OK:
        return 200;
    case OTA_NOT_FOUND:
        return 404;
    case OTA_ALREADY_EXISTS:
    case OTA_CONFLICT:
        return 409;
    case OTA_LIMIT_EXCEEDED:
        return 429;
    case OTA_FORBIDDEN:
        return 403;
    case OTA_TOO_LARGE:
        return 413;
    case OTA_UNAVAILABLE:
    case OTA_AGAIN:
        return 503;
    case OTA_INVALID_REQUEST:
    case OTA_CHECKSUM_MISMATCH:
    case OTA_BAD_SIGNATURE:
        return 400;
    case OTA_INTERNAL:
    case OTA_ERR_COUNT:
        break;
    }
    return 500;
}

static bool answer_who(struct visit *visit, const char *user, enum ota_role role,
                       const char *cookie)
{
    return answer_json(visit, 200,
                       json_pack("{s:s, s:s}", "user", user, "role", ota_role_name(role)),
                       cookie != NULL ? "Set-Cookie" : NULL, cookie);
}

/* --- sessions --------------------------------------------------------------------------------- */

/* A proxy may have the TLS: then it says so, and whoever else says so binds but himself. */
static bool came_by_tls(struct visit *visit)
{
    const char *proto = ota_server_header(&visit->visitor, "X-Forwarded-Proto");

    return console_of(visit)->tls || (proto != NULL && strcmp(proto, "https") == 0);
}

static void write_cookie(struct visit *visit, const char *id, const char *more, char *text,
                         size_t size)
{
    (void)snprintf(text, size, OTA_COOKIE "=%s; Path=/; HttpOnly; SameSite=Strict%s%s", id, more,
                   came_by_tls(visit) ? "; Secure" : "");
}

static bool open_session(struct visit *visit)
{
    struct ota_console *console = console_of(visit);
    struct ota_session session = {0};
    char id[OTA_SESSION_ID_HEX + 1];
    char cookie[192];

    if (visit->tried.role == OTA_ROLE_NONE) {
        return ota_visit_refuse_with(visit, 403, OTA_FORBIDDEN, "this user has no role");
    }
    if (!ota_session_draw(id, session.digest)) {
        return ota_visit_refuse_with(visit, 500, OTA_INTERNAL, "no random numbers");
    }
    memcpy(session.user, visit->tried.user, sizeof session.user);
    memcpy(session.mark, visit->tried.mark, sizeof session.mark);
    ota_visit_end_session(visit); /* whoever used this browser before is out */
    ota_sessions_open(console->sessions, &session, ota_now_mono());
    visit->vouched = true;
    write_cookie(visit, id, "", cookie, sizeof cookie);
    return answer_who(visit, visit->tried.user, visit->tried.role, cookie);
}

bool ota_visit_login(struct visit *visit)
{
    const char *user = NULL;
    const char *password = NULL;
    bool result = false;
    bool no_memory;
    json_t *body =
        ota_json_read(visit->body, visit->body_len, JSON_REJECT_DUPLICATES, NULL, &no_memory);

    if (no_memory) {
        result = ota_visit_refuse_with(visit, 503, OTA_UNAVAILABLE, "memory is out: try again");
    } else if (json_unpack_ex(body, NULL, JSON_STRICT, "{s:s, s:s}", "user", &user, "password",
                              &password) != 0) {
        result = ota_visit_refuse_with(visit, 400, OTA_INVALID_REQUEST,
                                       "the body must be {\"user\":\"…\",\"password\":\"…\"}");
    } else if (ota_visit_check(visit, user, password, &result)) {
        result = open_session(visit);
    }
    json_decref(body);
    return result;
}

bool ota_visit_logout(struct visit *visit)
{
    struct ota_reply reply = {.status = 204};
    char cookie[192];
    bool result;

    if (!ota_visit_admit(visit, OTA_ROLE_VIEWER, true, &result)) {
        return result;
    }
    if (visit->who.by_session) {
        ota_visit_end_session(visit);
    }
    write_cookie(visit, "", "; Max-Age=0", cookie, sizeof cookie);
    ota_reply_add(&reply, "Set-Cookie", cookie);
    return ota_visit_answer(visit, &reply);
}

bool ota_visit_session(struct visit *visit)
{
    bool result;

    if (!ota_visit_admit(visit, OTA_ROLE_VIEWER, false, &result)) {
        return result;
    }
    return answer_who(visit, visit->who.user, visit->who.role, NULL);
}

/* --- what the broker's thread answers --------------------------------------------------------- */

static void on_answered(struct ota_letter *letter)
{
    struct visit *visit = (struct visit *)((char *)letter - offsetof(struct visit, letter));
    ota_server_take_up(&visit->visitor);
}

/* Putting aside comes first: the answer may be there before ota_mailbox_post returns. */
static bool post(struct visit *visit, enum ota_letter_kind kind)
{
    struct ota_letter *letter = &visit->letter;
    struct ota_console *console = console_of(visit);

    visit->stage = VISIT_POSTED;
    letter->kind = kind;
    letter->user = visit->who.user;
    letter->caller = visit->caller;
    letter->role = visit->who.role;
    letter->token = visit->who.token;
    letter->body = visit->body != NULL ? visit->body : "";
    letter->len = visit->body_len;
    letter->next = -1;
    letter->answered = on_answered;
    ota_server_put_aside(&visit->visitor);
    if (ota_mailbox_post(console->mailbox, letter)) {
        ota_waker_call(console->waker);
    } else {
        ota_server_take_up(&visit->visitor);
    }
    return true;
}

/* Gives the letter's text away, or says what is wrong. */
static bool forward(struct visit *visit, const char *type)
{
    struct ota_letter *letter = &visit->letter;
    struct ota_reply reply = {
        .status = 200, .type = type, .own = letter->text, .len = letter->text_len};

    if (letter->error.code != OTA_OK) {
        return ota_visit_refuse(visit, status_of(letter->error.code), &letter->error);
    }
    letter->text = NULL;
    return reply.own != NULL && ota_visit_answer(visit, &reply);
}

bool ota_visit_control(struct visit *visit)
{
    bool result;

    if (!ota_visit_admit(visit, OTA_ROLE_VIEWER, true, &result)) {
        return result;
    }
    return visit->stage == VISIT_POSTED ? forward(visit, OTA_JSON)
                                        : post(visit, OTA_LETTER_CONTROL);
}

/* --- uploads ---------------------------------------------------------------------------------- */

static bool take_number(const char **text, int64_t *number)
{
    size_t digits = strspn(*text, "0123456789");

    if (digits == 0 || digits > 18) {
        return false;
    }
    *number = strtoll(*text, NULL, 10);
    *text += digits;
    return true;
}

/* "/api/v1/uploads/7" and "offset=N" */
static bool parse_upload(struct visit *visit)
{
    const char *path = visit->target + strlen(visit->route->path);
    const char *query = visit->query;

    return take_number(&path, &visit->letter.upload) && *path == '\0' && query != NULL &&
           strncmp(query, "offset=", 7) == 0 && (query += 7, true) &&
           take_number(&query, &visit->letter.offset) && *query == '\0';
}

static bool answer_upload(struct visit *visit)
{
    const struct ota_letter *letter = &visit->letter;

    if (letter->error.code == OTA_OK) {
        return answer_json(visit, 200, json_pack("{s:I}", "offset", (json_int_t)letter->next), NULL,
                           NULL);
    }
    if (letter->error.code != OTA_CONFLICT || letter->next < 0) {
        return ota_visit_refuse(visit, status_of(letter->error.code), &letter->error);
    }
    json_t *json = json_of(&letter->error);
    if (json != NULL) {
        (void)json_object_set_new(json, "offset", json_integer((json_int_t)letter->next));
    }
    return answer_json(visit, 409, json, NULL, NULL);
}

bool ota_visit_upload(struct visit *visit)
{
    bool result;

    if (!ota_visit_admit(visit, OTA_ROLE_ADMIN, true, &result)) {
        return result;
    }
    if (visit->stage == VISIT_POSTED) {
        return answer_upload(visit);
    }
    if (!parse_upload(visit) || visit->body_len == 0) {
        return ota_visit_refuse_with(visit, 400, OTA_INVALID_REQUEST,
                                     "PUT the bytes to /api/v1/uploads/UPLOAD?offset=N, both whole "
                                     "numbers");
    }
    return post(visit, OTA_LETTER_UPLOAD);
}

/* --- events ----------------------------------------------------------------------------------- */

/* "product=P", or nothing: *product is then "". */
static bool parse_product(const char *query, char *product)
{
    product[0] = '\0';
    if (query == NULL || query[0] == '\0') {
        return true;
    }
    if (strncmp(query, "product=", 8) != 0 || !ota_name_is_product(query + 8, strlen(query + 8))) {
        return false;
    }
    (void)snprintf(product, OTA_PRODUCT_MAX + 1, "%s", query + 8);
    return true;
}

bool ota_visit_events(struct visit *visit)
{
    struct ota_console *console = console_of(visit);
    char product[OTA_PRODUCT_MAX + 1];
    bool result;

    if (!ota_visit_admit(visit, OTA_ROLE_VIEWER, false, &result)) {
        return result;
    }
    if (!parse_product(visit->query, product)) {
        return ota_visit_refuse_with(visit, 400, OTA_INVALID_REQUEST,
                                     "the query may be ?product=NAME");
    }
    if (!ota_streams_has_room(console->streams)) {
        visit->retry_s = 10;
        return ota_visit_refuse_with(visit, 503, OTA_LIMIT_EXCEEDED,
                                     "too many read the events: try again later");
    }
    return ota_streams_open(console->streams, &visit->visitor, visit->who.user, product,
                            &visit->who, sizeof visit->who);
}

/* --- for machines ----------------------------------------------------------------------------- */

#define OTA_METRICS "text/plain; version=0.0.4; charset=utf-8"

static bool answer_kept(struct visit *visit, char *text)
{
    struct ota_reply reply = {.status = 200, .type = OTA_METRICS, .own = text, .len = strlen(text)};
    return ota_visit_answer(visit, &reply);
}

/* What anybody may ask as often as he likes isn't asked of the broker each time. */
bool ota_visit_metrics(struct visit *visit)
{
    struct ota_console *console = console_of(visit);
    bool result;

    if (visit->stage == VISIT_POSTED) {
        if (console->metrics_public) {
            ota_numbers_keep(&console->numbers, visit->letter.text, ota_now_mono());
        }
        return forward(visit, OTA_METRICS);
    }
    if (!console->metrics_public && !ota_visit_admit(visit, OTA_ROLE_VIEWER, false, &result)) {
        return result;
    }
    char *kept =
        console->metrics_public ? ota_numbers_copy(&console->numbers, ota_now_mono()) : NULL;
    return kept != NULL ? answer_kept(visit, kept) : post(visit, OTA_LETTER_METRICS);
}

bool ota_visit_health(struct visit *visit)
{
    char text[200];
    struct ota_reply reply = {.type = "text/plain; charset=utf-8"};
    bool well = ota_pulse_ask(&console_of(visit)->pulse, ota_now_mono(), text, sizeof text);

    reply.status = well ? 200 : 503;
    reply.own = strdup(text);
    reply.len = strlen(text);
    return reply.own != NULL && ota_visit_answer(visit, &reply);
}

bool ota_visit_openapi(struct visit *visit)
{
    struct ota_reply reply = {.status = 200, .type = OTA_JSON};

    reply.bytes = console_of(visit)->openapi;
    if (reply.bytes == NULL) {
        return ota_visit_refuse_with(visit, 404, OTA_NOT_FOUND, "there is nothing here");
    }
    reply.len = strlen(reply.bytes);
    ota_reply_add(&reply, "Cache-Control", "no-cache");
    return ota_visit_answer(visit, &reply);
}
