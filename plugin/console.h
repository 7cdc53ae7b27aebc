/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the door for people and scripts (control-api.md, "Over HTTP"): its listener, who has logged
 *       in, what is answered under which path. What needs the fleet or writes is asked of the
 *       broker's thread through the mailbox.
 * Thread: all below is called on the broker's thread; requests run on the server's threads.
 * Frees: ota_console_stop, after ota_console_quiet.
 */
#ifndef OTA_CONSOLE_H
#define OTA_CONSOLE_H

#include "mailbox.h"
#include "pulse.h"
#include "roles.h"
#include "tokens.h"
#include "util/error.h"
#include "waker.h"

struct ota_console;

struct ota_console_config {
    const char *listen;
    const char *dir;      /* NULL or "": the compiled-in files */
    const char *hosts;    /* names beside addresses and localhost, with commas */
    const char *certfile; /* PEM, or NULL for plain HTTP */
    const char *keyfile;
    const char *password_file; /* "": nobody can log in */
    bool metrics_public;
    const struct ota_roles *roles;
    struct ota_tokens *tokens; /* NULL: none */
    struct ota_waker *waker;   /* called for what the broker's thread is asked; or NULL */
    char *openapi;             /* taken over, also on failure; NULL: none */
};

/* An error names the option at fault. */
OTA_CHECKED enum ota_err ota_console_start(const struct ota_console_config *config,
                                           struct ota_console **console, struct ota_error *error);

/* No request reaches the mailbox any more, and no password is checked. NULL is fine, here and
 * below. Whoever holds letters must answer them before ota_console_stop. */
void ota_console_quiet(struct ota_console *console);
void ota_console_stop(struct ota_console *console);

/* Reads password_file again, with these roles; on an error all stays as it was. */
OTA_CHECKED enum ota_err ota_console_reload(struct ota_console *console,
                                            const struct ota_roles *roles, struct ota_error *error);

/* Somebody may have lost what he may: those who read the events are asked again. */
void ota_console_recheck(struct ota_console *console);

struct ota_mailbox *ota_console_mailbox(struct ota_console *console);
struct ota_pulse *ota_console_pulse(struct ota_console *console);

/* Tells all who read the events. device may be NULL; json is an object's text. */
void ota_console_tell(struct ota_console *console, const char *type, const char *product,
                      const char *device, const char *json, size_t len);

struct ota_console_stats {
    uint64_t requests;
    uint64_t failed_logins;
    uint64_t dropped_streams;
    int connections;
    int sessions;
    int streams;
    int users;
};

void ota_console_count(struct ota_console *console, struct ota_console_stats *stats);

/* The port that it listens on, for tests. */
int ota_console_port(const struct ota_console *console);

#endif
