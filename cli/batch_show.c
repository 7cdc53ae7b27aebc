/* SPDX-License-Identifier: BSD-3-Clause */
#include "batch_show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "batch_words.h"
#include "format.h"
#include "render.h"

/* --- parts ------------------------------------------------------------------------------------ */

/* A status that no stage has is no column. */
static void put_counts(const json_t *batch, const json_t *stage, json_t *row)
{
    for (unsigned i = 0; i < OTA_SHOWN_COUNT; i++) {
        enum ota_shown shown = (enum ota_shown)i;
        if (ota_batch_count(batch, shown) > 0) {
            (void)json_object_set_new(row, ota_shown_name(shown),
                                      json_integer(ota_batch_count(stage, shown)));
        }
    }
    static const char *const others[] = {"confirmed", "contradicted"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (ota_batch_number(batch, others[i]) > 0) {
            (void)json_object_set(row, others[i], json_object_get(stage, others[i]));
        }
    }
}

/* stages: as they were given or are answered. */
static json_t *stage_row(const json_t *stages, size_t number)
{
    char reach[64];
    const json_t *stage = json_array_get(stages, number);
    ota_batch_put_reach(stage, reach, sizeof reach);
    return json_pack("{s:I, s:s}", "stage", (json_int_t)number + 1, "upTo", reach);
}

static json_t *stage_rows(const json_t *batch)
{
    const json_t *stages = json_object_get(batch, "stages");
    json_t *rows = json_array();
    size_t i;
    json_t *stage;
    json_array_foreach((json_t *)stages, i, stage)
    {
        char gate[96];
        json_t *row = stage_row(stages, i);
        (void)json_object_set(row, "state", json_object_get(stage, "state"));
        (void)json_object_set(row, "total", json_object_get(stage, "total"));
        put_counts(batch, stage, row);
        if (i + 1 < json_array_size(stages)) {
            ota_batch_put_gate(stage, gate, sizeof gate);
            (void)json_object_set_new(row, "gate", json_string(gate));
        }
        (void)json_object_set(row, "openedAt", json_object_get(stage, "openedAt"));
        (void)json_array_append_new(rows, row);
    }
    return rows;
}

static json_t *exclusion_rows(const json_t *excluded)
{
    json_t *rows = json_array();
    for (unsigned i = 0; i < OTA_EXCLUSION_COUNT; i++) {
        enum ota_exclusion exclusion = (enum ota_exclusion)i;
        int64_t count = ota_batch_number(excluded, ota_exclusion_name(exclusion));
        if (count > 0) {
            (void)json_array_append_new(rows,
                                        json_pack("{s:I, s:s}", "devices", (json_int_t)count,
                                                  "reason", ota_batch_exclusion_words(exclusion)));
        }
    }
    return rows;
}

static json_t *progress_row(const json_t *batch)
{
    char state[96];
    char done[48];
    ota_batch_put_state(batch, state, sizeof state);
    (void)snprintf(done, sizeof done, "%" PRId64 "/%" PRId64, ota_batch_done(batch),
                   ota_batch_number(batch, "total"));
    return json_pack("{s:s, s:s, s:I}", "state", state, "done", done, "failed",
                     (json_int_t)ota_batch_failed(batch));
}

/* --- shown ------------------------------------------------------------------------------------ */

json_t *ota_batch_show_rows(const json_t *batches)
{
    json_t *rows = json_array();
    size_t i;
    json_t *batch;
    json_array_foreach((json_t *)batches, i, batch)
    {
        json_t *row = json_copy(batch);
        json_t *progress = progress_row(batch);
        (void)json_object_update(row, progress);
        json_decref(progress);
        (void)json_array_append_new(rows, row);
    }
    return rows;
}

static void print_advice(const json_t *batch)
{
    char advice[512];
    ota_batch_put_advice(batch, advice, sizeof advice);
    if (advice[0] != '\0') {
        (void)puts(advice);
    }
}

static void print_whole(const json_t *data)
{
    const json_t *batch = json_object_get(data, "batch");
    static const char *const first[] = {"batch", "product", "version", "name", "mode"};
    static const char *const elsewhere[] = {
        "failed", /* "failures" are there, as the batch counts them */
        "total",  "counts", "confirmed", "contradicted", "stages", "stateReason", "excluded"};
    json_t *shown = json_object();
    json_t *progress = progress_row(batch);
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++) {
        (void)json_object_set(shown, first[i], json_object_get(batch, first[i]));
    }
    (void)json_object_update(shown, progress);
    (void)json_object_update_missing(shown, (json_t *)batch);
    for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++) {
        (void)json_object_del(shown, elsewhere[i]);
    }
    json_t *excluded = exclusion_rows(json_object_get(batch, "excluded"));
    if (json_array_size(excluded) > 0) {
        (void)json_object_set(shown, "excluded", excluded);
    }
    (void)json_object_set_new(shown, "stages", stage_rows(batch));
    ota_render_block(shown);
    json_decref(excluded);
    json_decref(progress);
    json_decref(shown);
    (void)putchar('\n');
    print_advice(batch);
}

enum ota_exit ota_batch_show_run(struct ota_session *session, const struct ota_job *job,
                                 struct ota_failure *failure)
{
    json_t *data = NULL;
    enum ota_exit rc =
        ota_session_call(session, job->verb.command->id, job->fields, &data, failure);
    if (rc == OTA_EXIT_OK) {
        ota_session_show(session, data, print_whole);
    }
    json_decref(data);
    return rc;
}

void ota_batch_show_brief(const json_t *batch)
{
    char title[OTA_FORMAT_MAX];
    char state[96];
    int64_t total = ota_batch_number(batch, "total");
    ota_batch_put_title(batch, title, sizeof title);
    ota_batch_put_state(batch, state, sizeof state);
    (void)printf("batch %" PRId64 ": %s: %s", ota_batch_number(batch, "batch"), title, state);
    if (total > 0) {
        (void)printf(", %" PRId64 " of %" PRId64 " done, %" PRId64 " failed", ota_batch_done(batch),
                     total, ota_batch_failed(batch));
    }
    (void)putchar('\n');
    print_advice(batch);
}

/* --- dry runs --------------------------------------------------------------------------------- */

static json_t *trial_rows(const json_t *stages, const json_t *sizes)
{
    json_t *rows = json_array();
    size_t i;
    json_t *size;
    json_array_foreach((json_t *)sizes, i, size)
    {
        json_t *row = stage_row(stages, i);
        (void)json_object_set(row, "total", size);
        (void)json_array_append_new(rows, row);
    }
    return rows;
}

void ota_batch_show_trial(const json_t *fields, const json_t *data)
{
    char duration[64];
    char estimate[96];
    const json_t *stages = json_object_get(fields, "stages");
    ota_format_duration(ota_batch_number(data, "estimatedSeconds"), duration, sizeof duration);
    (void)snprintf(estimate, sizeof estimate, "about %s, at least", duration);
    json_t *excluded = exclusion_rows(json_object_get(data, "excluded"));
    json_t *shown = json_pack(
        "{s:O?, s:O?, s:O?, s:s}", "matched", json_object_get(data, "matched"), "wouldBeUpgraded",
        json_object_get(data, "total"), "downloadBytes", json_object_get(data, "bytes"),
        "estimatedTime", ota_batch_number(data, "total") > 0 ? estimate : "—");
    if (json_array_size(excluded) > 0) {
        (void)json_object_set(shown, "excluded", excluded);
    }
    if (stages != NULL) {
        (void)json_object_set_new(shown, "stages",
                                  trial_rows(stages, json_object_get(data, "stages")));
    }
    ota_render_block(shown);
    (void)puts("\nthis was a dry run: nothing was changed");
    json_decref(excluded);
    json_decref(shown);
}
