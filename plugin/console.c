/* SPDX-License-Identifier: BSD-3-Clause */
#include "console.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker.h"
#include "certificate.h"
#include "listen.h"
#include "visit.h"

#define OTA_CONSOLE_THREADS 2
#define OTA_CONSOLE_PLACES  256
#define OTA_CONSOLE_EVENTS  4096

#define OTA_HOUR INT64_C(3600000)

static const struct ota_session_rules session_rules = {
    .most = 1000, .most_a_user = 20, .idle_ms = 12 * OTA_HOUR, .whole_ms = 7 * 24 * OTA_HOUR};
static const struct ota_session_rules verified_rules = {
    .most = 256, .most_a_user = 8, .idle_ms = OTA_HOUR / 12, .whole_ms = OTA_HOUR / 12};

/* --- start and stop --------------------------------------------------------------------------- */

/* A stream's reader: still logged in, still with a role, or with a token that counts. */
static bool may_read(void *data, const void *reader)
{
    struct ota_console *console = data;
    const struct who *who = reader;

    if (who->token != 0) {
        return ota_tokens_role(console->tokens, who->token, ota_now_unix()) != OTA_ROLE_NONE;
    }
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
                  .on_target = ota_visit_on_target,
                  .on_head = ota_visit_on_head,
                  .on_body = ota_visit_on_body,
                  .on_request = ota_visit_on_request,
                  .on_done = ota_visit_on_done},
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
        free(config->openapi);
        return ota_error_no_memory(error);
    }
    started->openapi = config->openapi;
    started->waker = config->waker;
    started->tokens = config->tokens;
    started->metrics_public = config->metrics_public;
    started->tls = config->certfile != NULL;
    ota_numbers_init(&started->numbers);
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
    free(console->openapi);
    ota_numbers_free(&console->numbers);
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

void ota_console_recheck(struct ota_console *console)
{
    if (console != NULL && console->streams != NULL) {
        ota_streams_recheck(console->streams);
    }
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
