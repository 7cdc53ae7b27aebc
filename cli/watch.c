/* SPDX-License-Identifier: BSD-3-Clause */
#include "watch.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "format.h"
#include "progress.h"
#include "render.h"
#include "util/words.h"

#define POLL_MS 300

#define GRACE_MS 5000

struct watch {
    struct ota_session *session;
    int64_t task;
    json_t *last;     /* the newest history entry printed */
    int64_t leave_ms; /* since when a success waits for confirmation, plus the grace; 0: not yet */
    int64_t grace_ms; /* or OTA_WATCH_FOR_EVER */
    bool introduced;
};

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static enum ota_shown status_of(const json_t *task)
{
    const char *status = text_of(task, "status");
    return status != NULL ? ota_shown_parse(status) : OTA_SHOWN_COUNT;
}

static bool is_confirmation(const json_t *task, enum ota_confirmation confirmation)
{
    const char *name = text_of(task, "confirmation");
    return name != NULL && strcmp(name, ota_confirmation_name(confirmation)) == 0;
}

static void introduce(struct watch *watch, const json_t *task)
{
    char device[64];
    char from[64];
    char to[64];
    if (watch->introduced) {
        return;
    }
    watch->introduced = true;
    ota_format_value("device", json_object_get(task, "device"), task, device, sizeof device);
    ota_format_value("fromVersion", json_object_get(task, "fromVersion"), task, from, sizeof from);
    ota_format_value("version", json_object_get(task, "version"), task, to, sizeof to);
    (void)printf("task %" PRId64 ": %s %s → %s\n", watch->task, device, from, to);
}

static void print_event(const json_t *event)
{
    char at[32];
    char status[128];
    char detail[OTA_FORMAT_MAX];
    const json_t *value = json_object_get(event, "status");
    enum ota_colour colour = ota_format_colour("status", value, event);
    const char *text = text_of(event, "detail");
    ota_format_value("at", json_object_get(event, "at"), event, at, sizeof at);
    ota_format_value("status", value, event, status, sizeof status);
    ota_format_clean(text != NULL ? text : "", detail, sizeof detail);
    (void)printf("%s  %s%s%s%s%s\n", at, ota_format_on(colour), status, ota_format_off(colour),
                 detail[0] != '\0' ? ": " : "", detail);
}

/* Where what wasn't printed yet begins: of a long history only the end is answered, so entries
 * can't be counted. */
static size_t first_new(const struct watch *watch, const json_t *events)
{
    size_t i = json_array_size(events);
    while (i > 0 && !json_equal(json_array_get(events, i - 1), watch->last)) {
        i--;
    }
    return i;
}

static void print_events(struct watch *watch, const json_t *events)
{
    size_t count = json_array_size(events);
    size_t i = first_new(watch, events);
    if (i == count) {
        return;
    }
    ota_progress_clear();
    for (; i < count; i++) {
        print_event(json_array_get(events, i));
    }
    json_decref(watch->last);
    watch->last = json_incref(json_array_get(events, count - 1));
    (void)fflush(stdout);
}

static void print_now(const json_t *task)
{
    char status[160];
    bool downloading = status_of(task) == OTA_SHOWN_DOWNLOADING;
    int percent = downloading ? (int)json_integer_value(json_object_get(task, "percent")) : -1;
    ota_format_value("status", json_object_get(task, "status"), task, status, sizeof status);
    ota_progress_show(percent, status);
}

/* Whether there is more to see. */
static bool goes_on(struct watch *watch, const json_t *task)
{
    enum ota_shown status = status_of(task);
    if (status == OTA_SHOWN_FAILED || status == OTA_SHOWN_CANCELLED || status == OTA_SHOWN_COUNT) {
        return false;
    }
    if (status != OTA_SHOWN_SUCCEEDED) {
        watch->leave_ms = 0;
        return true;
    }
    if (!is_confirmation(task, OTA_PENDING)) {
        return false;
    }
    if (watch->leave_ms == 0) {
        watch->leave_ms = ota_clock_ms() + watch->grace_ms;
    }
    return watch->grace_ms == OTA_WATCH_FOR_EVER || ota_clock_ms() < watch->leave_ms;
}

static enum ota_exit judge(const struct watch *watch, const json_t *task,
                           struct ota_failure *failure)
{
    char status[160];
    const char *why = text_of(task, "resultMessage");
    bool told = why != NULL && why[0] != '\0';
    if (status_of(task) == OTA_SHOWN_SUCCEEDED && !is_confirmation(task, OTA_CONTRADICTED)) {
        return OTA_EXIT_OK;
    }
    ota_format_value("status", json_object_get(task, "status"), task, status, sizeof status);
    return ota_fail(failure, OTA_EXIT_TASK, NULL, NULL, "task %" PRId64 ": %s%s%s", watch->task,
                    status, told ? ": " : "", told ? why : "");
}

static void print_end(const struct watch *watch, const json_t *data, const json_t *task)
{
    char status[160];
    ota_progress_clear();
    if (ota_settings_json(watch->session->settings)) {
        ota_render_json(data);
        return;
    }
    ota_format_value("status", json_object_get(task, "status"), task, status, sizeof status);
    if (status_of(task) == OTA_SHOWN_SUCCEEDED) {
        (void)printf("%s\n", status);
    }
}

/* {"task": {…}, "events": […]}, or the task's fields beside the events. */
static const json_t *task_in(const json_t *data)
{
    const json_t *task = json_object_get(data, "task");
    return json_is_object(task) ? task : data;
}

static enum ota_exit look(struct watch *watch, const json_t *fields, bool *more,
                          struct ota_failure *failure)
{
    json_t *data = NULL;
    enum ota_exit rc = ota_session_call(watch->session, OTA_CMD_GET_TASK, fields, &data, failure);
    if (rc != OTA_EXIT_OK) {
        ota_progress_clear();
        return rc;
    }
    const json_t *task = task_in(data);
    if (!ota_settings_json(watch->session->settings)) {
        introduce(watch, task);
        print_events(watch, json_object_get(data, "events"));
        print_now(task);
    }
    *more = goes_on(watch, task);
    if (!*more) {
        print_end(watch, data, task);
        rc = judge(watch, task, failure);
    }
    json_decref(data);
    return rc;
}

int64_t ota_watch_grace(const struct ota_job *job)
{
    const char *until = text_of(job->local, "until");
    if (until == NULL) {
        return GRACE_MS;
    }
    return strcmp(until, "confirmed") == 0 ? OTA_WATCH_FOR_EVER : 0;
}

static enum ota_exit follow(struct watch *watch, struct ota_failure *failure)
{
    json_t *fields = json_pack("{s:I}", "task", (json_int_t)watch->task);
    bool more = true;
    enum ota_exit rc = look(watch, fields, &more, failure);
    while (rc == OTA_EXIT_OK && more) {
        ota_clock_sleep(POLL_MS);
        rc = look(watch, fields, &more, failure);
    }
    json_decref(watch->last);
    json_decref(fields);
    return rc;
}

enum ota_exit ota_watch_run(struct ota_session *session, const struct ota_job *job,
                            struct ota_failure *failure)
{
    struct watch watch = {.session = session, .grace_ms = ota_watch_grace(job)};
    watch.task = json_integer_value(json_object_get(job->fields, "task"));
    return follow(&watch, failure);
}

static void show(const struct ota_session *session, const json_t *data)
{
    if (ota_settings_json(session->settings)) {
        ota_render_json(data);
    } else {
        ota_render_data(data);
    }
}

enum ota_exit ota_watch_run_started(struct ota_session *session, const struct ota_job *job,
                                    struct ota_failure *failure)
{
    json_t *data = NULL;
    struct watch watch = {.session = session, .grace_ms = ota_watch_grace(job)};
    bool wanted = json_is_true(json_object_get(job->local, "watch")) ||
                  json_object_get(job->local, "until") != NULL;
    enum ota_exit rc =
        ota_session_call(session, job->verb.command->id, job->fields, &data, failure);
    if (rc == OTA_EXIT_OK && wanted) {
        watch.task = json_integer_value(json_object_get(task_in(data), "task"));
        rc = follow(&watch, failure);
    } else if (rc == OTA_EXIT_OK) {
        show(session, data);
    }
    json_decref(data);
    return rc;
}
