/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the doors' common way in for admin commands: envelope, role, fields, requestId, the queue
 *       that the tick works off, the answer (control-api.md). commands/ has what each one does.
 * Thread: the broker's.
 * Frees: ota_control_free.
 */
#ifndef OTA_CONTROL_H
#define OTA_CONTROL_H

#include <jansson.h>

#include "access.h"
#include "command_table.h"
#include "console.h"
#include "core.h"
#include "device_auth.h"
#include "dispatch.h"
#include "http.h"
#include "intake.h"
#include "tokens.h"
#include "trail.h"
#include "uploads.h"

/* What the commands may look at beyond the domain. */
struct ota_surroundings {
    struct ota_core *core;
    const struct ota_access *access;
    struct ota_intake *intake;
    struct ota_dispatch *dispatch;
    struct ota_uploads *uploads;
    struct ota_trail *trail;             /* NULL: refusals have no entries */
    struct ota_http *http;               /* NULL: nobody downloads over it */
    struct ota_console *console;         /* NULL: it is off */
    struct ota_device_auth *device_auth; /* NULL: it is off */
    struct ota_tokens *tokens;
    int64_t started_at; /* Unix ms */
    const char *broker_version;
    const char *backup_dir; /* NULL or "": no backups */
    const void *backup;     /* the one that runs, or NULL */
    uint64_t shadowed;      /* messages on our topics that another plugin let in before us */
    char before[64];        /* the plugin that is loaded before ours, or "" */
    bool identity_none;
    const char *db_path;
    json_t *file_warnings;  /* of ota_machine_warnings, at load and after SIGHUP; or NULL */
    uint64_t foreign_asked; /* publishes to topics that aren't ours, before anybody decided */
    bool foreign_passed;    /* one of them was let in, by whomever */
};

/* What a handler keeps between its calls for one command. */
struct ota_progress {
    void *state; /* NULL at the first call */
    void (*free_state)(void *state);
};

/* One command under way, as its handler sees it. */
struct ota_call {
    struct ota_surroundings *around;
    struct ota_core *core;
    const struct ota_command *command;
    const char *user;
    const char *client;   /* its id */
    int64_t token;        /* by which the user acts; 0: by a password */
    const json_t *fields; /* validated; missing ones are missing */
    json_t *data;         /* the answer's data: an empty object, to be filled */
    const char *once;     /* a handler may set it: a key of data that isn't kept for requestId */
    struct ota_progress *progress;
    int64_t end;        /* monotonic ms: what takes longer is done in several calls */
    int64_t rest_until; /* monotonic ms; a handler may set it: not called again before */
    struct ota_error error;
};

/*
 * Handlers. Those that write run in an open transaction, which is committed for them; OTA_AGAIN
 * (nothing written) has them called again at the next tick. Other messages go on meanwhile.
 */
typedef enum ota_err (*ota_handler)(struct ota_call *call);

struct ota_control;

struct ota_control *ota_control_new(struct ota_surroundings *around);
/* Answers what still waits: the broker is being stopped. */
void ota_control_free(struct ota_control *control);

/* Who asks by another door than MQTT. */
struct ota_asker {
    const char *user;
    const char *caller; /* where MQTT has the client id */
    enum ota_role role;
    int64_t token; /* 0: none; else what it may is looked at again before each command */
    /* Called once: the response's text (len bytes, malloc, the asker's from then on), or NULL and
     * why the message as a whole is refused. */
    void (*answer)(void *data, char *text, size_t len, const struct ota_error *error);
    void *data;
};

/* Queues the message, or answers at once. */
void ota_control_submit(struct ota_control *control, const struct ota_asker *asker,
                        const void *payload, size_t len);

/* Queues a message from the control topic. */
void ota_control_receive(struct ota_control *control, const struct mosquitto *client,
                         enum ota_role role, const void *payload, size_t len);

/* The client is gone: its answers go nowhere, since its client id may be another's by then. */
void ota_control_forget(struct ota_control *control, const struct mosquitto *client);

/* Whether somebody waits for what could be done now. */
bool ota_control_is_busy(const struct ota_control *control);

/* Works the queue off for so many milliseconds; the tick does it for OTA_TICK_MS. */
void ota_control_work(struct ota_control *control, int64_t ms);
void ota_control_tick(struct ota_control *control);

/* Of each tick for what was asked: commands, and blocks of firmware. */
#define OTA_TICK_MS 5

#define OTA_CONTROL_TOPIC    "$CONTROL/ota/v1"
#define OTA_CONTROL_RESPONSE "$CONTROL/ota/v1/response"

#endif
