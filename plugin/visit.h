/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the console's inside: a request on its way through visit.c (which path), who.c and bearer.c
 *       (who asks, and may it), api.c and page.c (what is answered). Included by these and
 * console.c. Thread: the server's. Frees: a visit's body is freed when its request is over.
 */
#ifndef OTA_VISIT_H
#define OTA_VISIT_H

#include <stdatomic.h>

#include "console.h"
#include "login.h"
#include "numbers.h"
#include "reply.h"
#include "sessions.h"
#include "streams.h"
#include "throttle.h"

#define OTA_TARGET_MAX 512
#define OTA_COOKIE     "ota_session"
#define OTA_BODY_MAX   (1 << 20)

struct ota_console {
    struct ota_server *server;
    struct ota_people *people;
    struct ota_sessions *sessions;
    struct ota_sessions *verified; /* names and passwords of scripts that were right a moment ago */
    struct ota_throttle *throttle;
    struct ota_login *login;
    struct ota_streams *streams;
    struct ota_mailbox *mailbox;
    struct ota_waker *waker;    /* the service's, or NULL */
    struct ota_tokens *tokens;  /* the service's; NULL: none */
    struct ota_numbers numbers; /* of metrics_public */
    struct ota_pulse pulse;
    char *dir; /* NULL: the compiled-in files */
    char *hosts;
    char *password_file;
    char *openapi; /* or NULL */
    bool metrics_public;
    bool tls;
    int port;
    unsigned char secret[32];  /* of this process: what `verified` is kept under */
    atomic_size_t body_bytes;  /* of all requests that are coming in */
    _Atomic int64_t logged_at; /* monotonic ms: of a failed login */
    atomic_uint_fast64_t failed_logins;
};

struct visit;

typedef bool (*visit_handler)(struct visit *visit);

struct route {
    const char *path;
    bool is_prefix;
    const char *method; /* NULL: GET, and so HEAD */
    size_t max_body;
    const char *type; /* of the body */
    visit_handler handle;
    bool any_host;
    bool any_site;
};

/* Who asks. */
struct who {
    char user[OTA_USER_MAX + 1];
    enum ota_role role;
    unsigned char mark[OTA_MARK_SIZE];
    int64_t token; /* by which he asks; 0: by session or password */
    bool by_session;
    unsigned char digest[OTA_SESSION_DIGEST]; /* of the session */
};

/* What becomes of a body: NOBODY's needs a user, and none was named. */
enum body_fate { BODY_KEPT, BODY_TOO_LARGE, BODY_NO_ROOM, BODY_OF_NOBODY };

/* A connection, and the request that is on it. */
struct visit {
    struct ota_visitor visitor; /* first */
    char target[OTA_TARGET_MAX + 1];
    const char *query; /* into target; NULL: none */
    const struct route *route;
    bool known_target; /* it is short and plain */
    char *body;
    size_t body_len;
    size_t body_room;
    size_t body_counted; /* of what all may hold together */
    enum body_fate body_fate;
    char caller[OTA_CALLER_MAX + 1];
    struct who who;
    bool vouched;                                             /* it has just logged in */
    enum { VISIT_FRESH, VISIT_CHECKING, VISIT_POSTED } stage; /* what it was put aside for */
    int retry_s; /* of the refusal that is about to be sent; 0: a second */
    struct ota_try tried;
    struct ota_letter letter;
};

static inline struct ota_console *console_of(const struct visit *visit)
{
    return visit->visitor.data;
}

/* --- answers (api.c) ------------------------------------------------------------------------ */

/* Whoever isn't known gets an answer, but no place that another needs. */
bool ota_visit_answer(struct visit *visit, struct ota_reply *reply);

/* {"error":{"code","message"}} */
bool ota_visit_refuse(struct visit *visit, int status, const struct ota_error *error);
bool ota_visit_refuse_with(struct visit *visit, int status, enum ota_err code, const char *text);

/* --- who asks (who.c) ------------------------------------------------------------------------ */

/* Whether the Host is one under which we may be reached. */
bool ota_visit_host_is_ours(struct visit *visit);

enum ota_origin { OTA_ORIGIN_UNSAID, OTA_ORIGIN_SAME, OTA_ORIGIN_FOREIGN };

/* Where a browser says that the request comes from. */
enum ota_origin ota_visit_origin(struct visit *visit);

/*
 * True: visit->who may ask, by session, HTTP Basic or token. False: *result is what the handler
 * returns; either that was answered, or the visit was put aside and the handler is called again.
 * `changes`: a session's call must say that it comes from our own pages.
 */
bool ota_visit_admit(struct visit *visit, enum ota_role least, bool changes, bool *result);

/*
 * Has name and password checked, unless that is being done or was done. True: visit->tried has a
 * right one, with its role, which may be none. False: as above.
 */
bool ota_visit_check(struct visit *visit, const char *user, const char *password, bool *result);

/* Ends the session whose cookie came along, if it is one. */
void ota_visit_end_session(struct visit *visit);

/* --- tokens (bearer.c) ----------------------------------------------------------------------- */

/* Whether the Authorization header is of this kind. */
bool ota_visit_has_bearer(const char *authorization);
/* Who shows a token that counts is visit->who from then on. */
bool ota_visit_is_bearer(struct visit *visit, const char *authorization);
/* As ota_visit_admit: the refusal is written into the log and the audit. */
bool ota_visit_admit_bearer(struct visit *visit, const char *authorization, bool *result);

/* A challenge makes a browser ask for a password itself, and remember it: for scripts alone. */
bool ota_visit_challenge(struct visit *visit, const char *text);
/* A failed login, or a token that is none: what->caller is filled in here. */
void ota_visit_note_failure(struct visit *visit, struct ota_failed_login *failed);

/* Whether who asks is known without checking a password. */
bool ota_visit_is_known(struct visit *visit);

/* --- the server's calls (visit.c) ------------------------------------------------------------ */

void ota_visit_on_target(struct ota_visitor *visitor, const char *target);
int ota_visit_on_head(struct ota_visitor *visitor, const char *method, int64_t body);
bool ota_visit_on_body(struct ota_visitor *visitor, const char *bytes, size_t len);
void ota_visit_on_done(struct ota_visitor *visitor, bool whole);
bool ota_visit_on_request(struct ota_visitor *visitor, const char *method);

/* --- handlers (api.c, page.c)
 * ------------------------------------------------------------------------- */

bool ota_visit_login(struct visit *visit);
bool ota_visit_logout(struct visit *visit);
bool ota_visit_session(struct visit *visit);
bool ota_visit_control(struct visit *visit);
bool ota_visit_upload(struct visit *visit);
bool ota_visit_events(struct visit *visit);
bool ota_visit_metrics(struct visit *visit);
bool ota_visit_health(struct visit *visit);
bool ota_visit_openapi(struct visit *visit);
bool ota_visit_asset(struct visit *visit);

#endif
