/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "broker.h"
#include "util/hex.h"
#include "visit.h"

#define OTA_FAILED_LOG_MS 1000
#define OTA_BASIC_MAX     ((OTA_USER_MAX + 1 + OTA_LOGIN_PASSWORD_MAX) / 3 * 4 + 8)

/* --- where a request comes from --------------------------------------------------------------- */

/* Without the port. */
static size_t host_len(const char *host)
{
    const char *bracket = host[0] == '[' ? strchr(host, ']') : NULL;
    return bracket != NULL ? (size_t)(bracket - host) + 1 : strcspn(host, ":");
}

static bool is_address(const char *host, size_t len)
{
    char text[INET_ADDRSTRLEN];
    struct in_addr address;

    if (host[0] == '[') {
        return true;
    }
    if (len >= sizeof text) {
        return false;
    }
    memcpy(text, host, len);
    text[len] = '\0';
    return inet_pton(AF_INET, text, &address) == 1;
}

/* Whether the word is one of the list's, which has commas between. */
static bool is_listed(const char *list, const char *word, size_t len)
{
    while (*list != '\0') {
        list += strspn(list, ", \t");
        size_t n = strcspn(list, ", \t");
        if (n == len && strncasecmp(list, word, len) == 0) {
            return true;
        }
        list += n;
    }
    return false;
}

/* A foreign page can have its own name point to our address (DNS rebinding), but it can't make an
 * address its name. */
bool ota_visit_host_is_ours(struct visit *visit)
{
    const char *host = ota_server_header(&visit->visitor, "Host");

    if (host == NULL) {
        return true; /* HTTP/1.0: no browser */
    }
    size_t len = host_len(host);
    return is_address(host, len) || is_listed("localhost", host, len) ||
           is_listed(console_of(visit)->hosts, host, len);
}

enum ota_origin ota_visit_origin(struct visit *visit)
{
    const char *site = ota_server_header(&visit->visitor, "Sec-Fetch-Site");
    const char *origin = ota_server_header(&visit->visitor, "Origin");
    const char *host = ota_server_header(&visit->visitor, "Host");

    if (site != NULL) {
        return strcmp(site, "same-origin") == 0 ? OTA_ORIGIN_SAME
               : strcmp(site, "none") == 0      ? OTA_ORIGIN_UNSAID /* typed by a person */
                                                : OTA_ORIGIN_FOREIGN;
    }
    if (origin == NULL) {
        return OTA_ORIGIN_UNSAID;
    }
    bool plain = strncmp(origin, "http://", 7) == 0 && !console_of(visit)->tls;
    const char *named = plain ? origin + 7 : strncmp(origin, "https://", 8) == 0 ? origin + 8 : "";
    return host != NULL && strcasecmp(named, host) == 0 ? OTA_ORIGIN_SAME : OTA_ORIGIN_FOREIGN;
}

/* --- passwords -------------------------------------------------------------------------------- */

static void log_failure(struct visit *visit, const struct ota_failed_login *failed)
{
    struct ota_console *console = console_of(visit);
    int64_t now = ota_now_mono();
    int64_t last = atomic_load(&console->logged_at);

    atomic_fetch_add(&console->failed_logins, 1);
    if (last != 0 && now - last < OTA_FAILED_LOG_MS) {
        return;
    }
    if (atomic_compare_exchange_strong(&console->logged_at, &last, now)) {
        ota_log(OTA_LOG_WARNING, "console: a login from %s failed: %s%s", visit->caller + 5,
                failed->by_token          ? "there is no such token"
                : failed->user[0] != '\0' ? "wrong password for "
                                          : "there is no such user",
                failed->user);
    }
}

void ota_visit_note_failure(struct visit *visit, struct ota_failed_login *failed)
{
    log_failure(visit, failed);
    memcpy(failed->caller, visit->caller, sizeof failed->caller);
    ota_mailbox_note_failed(console_of(visit)->mailbox, failed);
}

/* A name that is no user's may be a password, typed into the wrong field: it isn't written down. */
static void note_failure(struct visit *visit)
{
    struct ota_failed_login failed = {0};

    if (visit->tried.known) {
        memcpy(failed.user, visit->tried.user, sizeof failed.user);
    }
    ota_visit_note_failure(visit, &failed);
}

bool ota_visit_challenge(struct visit *visit, const char *text)
{
    struct ota_error error = {0};
    (void)ota_error_set(&error, OTA_FORBIDDEN, NULL, "%s", text);
    return ota_visit_refuse(visit, 401, &error);
}

static bool slow_down(struct visit *visit, int64_t wait_ms)
{
    struct ota_error error = {0};
    visit->retry_s = (int)((wait_ms + 999) / 1000);
    (void)ota_error_set(&error, OTA_LIMIT_EXCEEDED, NULL,
                        "too many passwords were tried: wait %d seconds", visit->retry_s);
    return ota_visit_refuse(visit, 429, &error);
}

static void on_checked(struct ota_try *tried)
{
    struct visit *visit = (struct visit *)((char *)tried - offsetof(struct visit, tried));
    ota_server_take_up(&visit->visitor);
}

/* Putting aside comes first: the check may be over before ota_login_check returns. */
static bool begin_check(struct visit *visit)
{
    visit->stage = VISIT_CHECKING;
    visit->tried.checked = on_checked;
    ota_server_put_aside(&visit->visitor);
    if (!ota_login_check(console_of(visit)->login, &visit->tried)) {
        visit->tried.outcome = OTA_LOGIN_STOPPED;
        ota_server_take_up(&visit->visitor);
    }
    return true;
}

static bool end_check(struct visit *visit, bool *result)
{
    switch (visit->tried.outcome) {
    case OTA_LOGIN_RIGHT:
        ota_throttle_right(console_of(visit)->throttle, visit->tried.user, visit->visitor.address,
                           ota_now_mono());
        return true;
    case OTA_LOGIN_WRONG:
        note_failure(visit);
        *result = ota_visit_challenge(visit, "user or password is wrong");
        return false;
    case OTA_LOGIN_OPEN:
    case OTA_LOGIN_STOPPED:
        ota_throttle_unchecked(console_of(visit)->throttle, visit->tried.user,
                               visit->visitor.address);
        break;
    }
    *result = ota_visit_refuse_with(visit, 503, OTA_UNAVAILABLE,
                                    "too many passwords wait to be checked: try again");
    return false;
}

bool ota_visit_check(struct visit *visit, const char *user, const char *password, bool *result)
{
    struct ota_console *console = console_of(visit);

    if (visit->stage == VISIT_CHECKING) {
        return end_check(visit, result);
    }
    int64_t wait =
        ota_throttle_try(console->throttle, user, visit->visitor.address, ota_now_mono());
    if (wait > 0) {
        *result = slow_down(visit, wait);
        return false;
    }
    if (strlen(user) > OTA_USER_MAX || strlen(password) > OTA_LOGIN_PASSWORD_MAX) {
        visit->tried.known = false;
        note_failure(visit);
        *result = ota_visit_challenge(visit, "user or password is wrong");
        return false;
    }
    (void)snprintf(visit->tried.user, sizeof visit->tried.user, "%s", user);
    (void)snprintf(visit->tried.password, sizeof visit->tried.password, "%s", password);
    *result = begin_check(visit);
    return false;
}

/* --- sessions --------------------------------------------------------------------------------- */

/* The value of our cookie; false where there is none that could be one. */
static bool find_cookie(struct visit *visit, char *id)
{
    static const char name[] = OTA_COOKIE "=";
    const char *header = ota_server_header(&visit->visitor, "Cookie");

    while (header != NULL && *header != '\0') {
        header += strspn(header, "; \t");
        size_t len = strcspn(header, "; \t");
        if (len == sizeof name - 1 + OTA_SESSION_ID_HEX &&
            strncmp(header, name, sizeof name - 1) == 0) {
            memcpy(id, header + sizeof name - 1, OTA_SESSION_ID_HEX);
            id[OTA_SESSION_ID_HEX] = '\0';
            return ota_name_is_hex(id, OTA_SESSION_ID_HEX);
        }
        header += len;
    }
    return false;
}

/* The role is what the user has now, not what it had when it logged in. */
static bool become(struct visit *visit, struct ota_sessions *sessions, const unsigned char *digest)
{
    struct ota_console *console = console_of(visit);
    struct ota_session session;

    if (!ota_sessions_use(sessions, digest, ota_now_mono(), &session)) {
        return false;
    }
    enum ota_role role = ota_people_role(console->people, session.user, session.mark);
    if (role == OTA_ROLE_NONE) {
        ota_sessions_end(sessions, digest);
        return false;
    }
    visit->who.role = role;
    memcpy(visit->who.user, session.user, sizeof visit->who.user);
    memcpy(visit->who.mark, session.mark, sizeof visit->who.mark);
    memcpy(visit->who.digest, digest, sizeof visit->who.digest);
    return true;
}

static bool find_session(struct visit *visit)
{
    char id[OTA_SESSION_ID_HEX + 1];
    unsigned char digest[OTA_SESSION_DIGEST];

    visit->who.by_session = find_cookie(visit, id) && ota_session_digest(id, digest) &&
                            become(visit, console_of(visit)->sessions, digest);
    return visit->who.by_session;
}

void ota_visit_end_session(struct visit *visit)
{
    struct ota_console *console = console_of(visit);
    char id[OTA_SESSION_ID_HEX + 1];
    unsigned char digest[OTA_SESSION_DIGEST];

    if (find_cookie(visit, id) && ota_session_digest(id, digest) &&
        ota_sessions_has(console->sessions, digest, ota_now_mono())) {
        ota_sessions_end(console->sessions, digest);
        ota_streams_recheck(console->streams);
    }
}

/* --- HTTP Basic ------------------------------------------------------------------------------- */

struct basic {
    char text[OTA_BASIC_MAX]; /* user, NUL, password */
    size_t len;
    const char *password;
    unsigned char digest[OTA_SESSION_DIGEST]; /* under our secret */
};

static bool parse_basic(struct visit *visit, const char *header, struct basic *basic)
{
    unsigned digest_len = sizeof basic->digest;
    size_t len = 0;

    if (header == NULL || strncasecmp(header, "Basic ", 6) != 0) {
        return false;
    }
    header += 6 + strspn(header + 6, " ");
    len = strcspn(header, " \t");
    if (len > OTA_BASIC_MAX ||
        !ota_base64_decode(header, len, (unsigned char *)basic->text, &len) ||
        len >= sizeof basic->text || memchr(basic->text, '\0', len) != NULL) {
        return false;
    }
    basic->text[len] = '\0';
    char *colon = strchr(basic->text, ':');
    if (colon == NULL) {
        return false;
    }
    *colon = '\0';
    basic->password = colon + 1;
    const struct ota_console *console = console_of(visit);
    return HMAC(EVP_sha256(), console->secret, sizeof console->secret,
                (const unsigned char *)basic->text, len, basic->digest, &digest_len) != NULL;
}

/* What was right a moment ago needn't be computed again: scripts show it with each request. */
static void remember(struct visit *visit, const unsigned char *digest)
{
    struct ota_session session = {0};

    memcpy(session.digest, digest, sizeof session.digest);
    memcpy(session.user, visit->tried.user, sizeof session.user);
    memcpy(session.mark, visit->tried.mark, sizeof session.mark);
    ota_sessions_open(console_of(visit)->verified, &session, ota_now_mono());
}

static bool admit_basic(struct visit *visit, const char *header, bool *result)
{
    struct basic basic;
    bool known = false;

    if (!parse_basic(visit, header, &basic)) {
        *result = ota_visit_challenge(
            visit, "the Authorization header is neither HTTP Basic nor a Bearer token");
        return false;
    }
    if (visit->stage != VISIT_CHECKING &&
        become(visit, console_of(visit)->verified, basic.digest)) {
        known = true;
    } else if (ota_visit_check(visit, basic.text, basic.password, result)) {
        remember(visit, basic.digest);
        known = become(visit, console_of(visit)->verified, basic.digest);
        if (!known) {
            *result = ota_visit_refuse_with(visit, 403, OTA_FORBIDDEN, "this user has no role");
        }
    }
    OPENSSL_cleanse(&basic, sizeof basic);
    return known;
}

bool ota_visit_is_known(struct visit *visit)
{
    struct basic basic;
    const char *authorization = ota_server_header(&visit->visitor, "Authorization");

    if (authorization == NULL) {
        return find_session(visit);
    }
    if (ota_visit_has_bearer(authorization)) {
        return ota_visit_is_bearer(visit, authorization);
    }
    bool known = parse_basic(visit, authorization, &basic) &&
                 become(visit, console_of(visit)->verified, basic.digest);
    OPENSSL_cleanse(&basic, sizeof basic);
    return known;
}

/* --- all together ----------------------------------------------------------------------------- */

static bool find_who(struct visit *visit, bool changes, bool *result)
{
    const char *authorization = ota_server_header(&visit->visitor, "Authorization");

    if (authorization != NULL) {
        return ota_visit_has_bearer(authorization)
                   ? ota_visit_admit_bearer(visit, authorization, result)
                   : admit_basic(visit, authorization, result);
    }
    if (!find_session(visit)) {
        *result = ota_visit_challenge(visit, "log in first");
        return false;
    }
    if (changes && ota_visit_origin(visit) != OTA_ORIGIN_SAME) {
        *result = ota_visit_refuse_with(visit, 403, OTA_FORBIDDEN,
                                        "a session is for our own pages: scripts log in with each "
                                        "request (curl -u USER)");
        return false;
    }
    return true;
}

bool ota_visit_admit(struct visit *visit, enum ota_role least, bool changes, bool *result)
{
    struct ota_error error = {0};

    if (visit->stage == VISIT_POSTED) {
        return true;
    }
    if (!find_who(visit, changes, result)) {
        return false;
    }
    if (visit->who.role < least) {
        (void)ota_error_set(&error, OTA_FORBIDDEN, NULL, "this needs the role %s, you are %s",
                            ota_role_name(least), ota_role_name(visit->who.role));
        *result = ota_visit_refuse(visit, 403, &error);
        return false;
    }
    return true;
}
