/* SPDX-License-Identifier: BSD-3-Clause */
#include "batch_watch.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "batch_show.h"
#include "batch_view.h"
#include "batch_words.h"
#include "clock.h"
#include "render.h"
#include "watch.h"

/* Numbers are asked for; states come as events, and are asked for at once. */
#define POLL_MS 1000

/* Statistics walk all tasks of a batch: not oftener than that. */
#define STATS_MS 5000

struct batch_watch {
    struct ota_session *session;
    int64_t batch;
    json_t *failures; /* of the last getStats, or NULL */
    int64_t failed;   /* how many it told of */
    int64_t stats_ms;
    int64_t leave_ms; /* when what is over is left; 0: it isn't over */
    int64_t grace_ms; /* or OTA_WATCH_FOR_EVER */
    bool listening;
    char topic[64]; /* of the product's events */
    struct ota_batch_view view;
};

static bool is_over(const json_t *batch)
{
    enum ota_batch_state state = ota_batch_state(batch);
    return state >= OTA_BATCH_CANCELLED; /* an unknown one too */
}

/* Nothing more will change: every task is at its end, and every success proved. */
static bool is_settled(const json_t *batch)
{
    return ota_batch_done(batch) >= ota_batch_number(batch, "total") &&
           ota_batch_pending(batch) <= 0;
}

/* Whether there is more to see. */
static bool goes_on(struct batch_watch *watch, const json_t *batch)
{
    if (!is_over(batch)) {
        watch->leave_ms = 0;
        return true;
    }
    if (is_settled(batch)) {
        return false;
    }
    if (watch->leave_ms == 0) {
        watch->leave_ms = ota_clock_ms() + watch->grace_ms;
    }
    return watch->grace_ms == OTA_WATCH_FOR_EVER || ota_clock_ms() < watch->leave_ms;
}

static enum ota_exit judge(const struct batch_watch *watch, const json_t *batch,
                           struct ota_failure *failure)
{
    int64_t total = ota_batch_number(batch, "total");
    int64_t failed = ota_batch_failed(batch);
    int64_t succeeded = ota_batch_count(batch, OTA_SHOWN_SUCCEEDED);
    if (ota_batch_state(batch) != OTA_BATCH_FINISHED ||
        ota_batch_has_reason(batch, OTA_REASON_EXPIRED)) {
        char state[96];
        ota_batch_put_state(batch, state, sizeof state);
        return ota_fail(failure, OTA_EXIT_TASK, NULL, NULL,
                        "batch %" PRId64 ": %s, %" PRId64 " of %" PRId64 " devices were upgraded",
                        watch->batch, state, succeeded, total);
    }
    if (failed == 0) {
        return OTA_EXIT_OK;
    }
    bool lied = ota_batch_number(batch, "contradicted") > 0;
    return ota_fail(failure, OTA_EXIT_TASK, NULL, NULL,
                    "batch %" PRId64 ": %" PRId64 " of %" PRId64 " devices failed%s", watch->batch,
                    failed, total, lied ? ", or came back with another version" : "");
}

/* Asks why devices failed, when more have and the last answer is old enough. */
static enum ota_exit look_at_failures(struct batch_watch *watch, const json_t *batch,
                                      struct ota_failure *failure)
{
    json_t *data = NULL;
    int64_t failed = ota_batch_failed(batch);
    bool due =
        watch->stats_ms == 0 || is_over(batch) || ota_clock_ms() - watch->stats_ms >= STATS_MS;
    if (failed == watch->failed || !due) {
        return OTA_EXIT_OK;
    }
    json_t *fields = json_pack("{s:I}", "batch", (json_int_t)watch->batch);
    enum ota_exit rc = ota_session_call(watch->session, OTA_CMD_GET_STATS, fields, &data, failure);
    if (rc == OTA_EXIT_OK) {
        json_decref(watch->failures);
        watch->failures = json_incref(json_object_get(data, "failures"));
        watch->failed = failed;
        watch->stats_ms = ota_clock_ms();
    }
    json_decref(data);
    json_decref(fields);
    return rc;
}

static void listen(struct batch_watch *watch, const json_t *batch)
{
    const char *product = json_string_value(json_object_get(batch, "product"));
    if (!watch->listening && product != NULL) {
        (void)snprintf(watch->topic, sizeof watch->topic, "$ota/event/%s", product);
        ota_link_listen(watch->session->link, watch->topic);
        watch->listening = true;
    }
}

static enum ota_exit look(struct batch_watch *watch, const json_t *fields, bool *more,
                          struct ota_failure *failure)
{
    json_t *data = NULL;
    bool json = ota_settings_json(watch->session->settings);
    enum ota_exit rc = ota_session_call(watch->session, OTA_CMD_GET_BATCH, fields, &data, failure);
    const json_t *batch = json_object_get(data, "batch");
    if (rc == OTA_EXIT_OK && !json) {
        rc = look_at_failures(watch, batch, failure);
    }
    if (rc != OTA_EXIT_OK) {
        goto out;
    }
    listen(watch, batch);
    *more = goes_on(watch, batch);
    if (!json) {
        ota_batch_view_show(&watch->view, batch, watch->failures);
    } else if (!*more) {
        ota_render_json(data);
    }
    rc = *more ? OTA_EXIT_OK : judge(watch, batch, failure);
out:
    json_decref(data);
    return rc;
}

static enum ota_exit tell_that_it_goes_on(const struct batch_watch *watch,
                                          struct ota_failure *failure)
{
    return ota_fail(failure, OTA_EXIT_INTERRUPTED, NULL, NULL,
                    "interrupted; the batch goes on without us, and otactl batch watch %" PRId64
                    " looks at it again",
                    watch->batch);
}

static enum ota_exit follow(struct ota_session *session, const struct ota_job *job, int64_t batch,
                            struct ota_failure *failure)
{
    struct batch_watch watch = {
        .session = session, .batch = batch, .grace_ms = ota_watch_grace(job)};
    json_t *fields = json_pack("{s:I}", "batch", (json_int_t)batch);
    bool more = true;
    ota_batch_view_begin(&watch.view);
    ota_link_catch_interrupts(session->link);
    enum ota_exit rc = look(&watch, fields, &more, failure);
    while (rc == OTA_EXIT_OK && more && ferror(stdout) == 0) {
        rc = ota_link_wait(session->link, POLL_MS, failure);
        if (rc == OTA_EXIT_OK) {
            rc = look(&watch, fields, &more, failure);
        }
    }
    if (rc == OTA_EXIT_INTERRUPTED) {
        rc = tell_that_it_goes_on(&watch, failure);
    }
    ota_link_listen(session->link, NULL);
    ota_batch_view_free(&watch.view);
    json_decref(watch.failures);
    json_decref(fields);
    return rc;
}

enum ota_exit ota_batch_watch_run(struct ota_session *session, const struct ota_job *job,
                                  struct ota_failure *failure)
{
    return follow(session, job, ota_batch_number(job->fields, "batch"), failure);
}

enum ota_exit ota_batch_watch_answer(struct ota_session *session, const struct ota_job *job,
                                     const json_t *data, struct ota_failure *failure)
{
    const json_t *batch = json_object_get(data, "batch");
    bool wanted = json_is_true(json_object_get(job->local, "watch")) ||
                  json_object_get(job->local, "until") != NULL;
    if (wanted) {
        return follow(session, job, ota_batch_number(batch, "batch"), failure);
    }
    if (ota_settings_json(session->settings)) {
        ota_render_json(data);
    } else {
        ota_batch_show_brief(batch);
    }
    return OTA_EXIT_OK;
}

enum ota_exit ota_batch_watch_run_steered(struct ota_session *session, const struct ota_job *job,
                                          struct ota_failure *failure)
{
    json_t *data = NULL;
    enum ota_exit rc =
        ota_session_call(session, job->verb.command->id, job->fields, &data, failure);
    if (rc == OTA_EXIT_OK) {
        rc = ota_batch_watch_answer(session, job, data, failure);
    }
    json_decref(data);
    return rc;
}
