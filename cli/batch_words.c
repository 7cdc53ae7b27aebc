/* SPDX-License-Identifier: BSD-3-Clause */
#include "batch_words.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "format.h"

int64_t ota_batch_number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

int64_t ota_batch_count(const json_t *object, enum ota_shown shown)
{
    return ota_batch_number(json_object_get(object, "counts"), ota_shown_name(shown));
}

int64_t ota_batch_done(const json_t *object)
{
    return ota_batch_count(object, OTA_SHOWN_SUCCEEDED) +
           ota_batch_count(object, OTA_SHOWN_FAILED) + ota_batch_count(object, OTA_SHOWN_CANCELLED);
}

int64_t ota_batch_failed(const json_t *object)
{
    return ota_batch_count(object, OTA_SHOWN_FAILED) + ota_batch_number(object, "contradicted");
}

int64_t ota_batch_pending(const json_t *object)
{
    return ota_batch_count(object, OTA_SHOWN_SUCCEEDED) - ota_batch_number(object, "confirmed") -
           ota_batch_number(object, "contradicted");
}

enum ota_batch_state ota_batch_state(const json_t *batch)
{
    return ota_batch_state_parse(text_of(batch, "state"));
}

bool ota_batch_has_reason(const json_t *batch, enum ota_batch_reason reason)
{
    return strcmp(text_of(batch, "stateReason"), ota_batch_reason_name(reason)) == 0;
}

size_t ota_batch_open_stage(const json_t *batch)
{
    const char *waiting = ota_stage_state_name(OTA_STAGE_WAITING);
    size_t open = 0;
    size_t i;
    json_t *stage;
    json_array_foreach(json_object_get(batch, "stages"), i, stage)
    {
        open = strcmp(text_of(stage, "state"), waiting) != 0 ? i + 1 : open;
    }
    return open;
}

void ota_batch_put_title(const json_t *batch, char *out, size_t size)
{
    char product[64];
    char version[64];
    char name[300];
    ota_format_clean(text_of(batch, "product"), product, sizeof product);
    ota_format_clean(text_of(batch, "version"), version, sizeof version);
    ota_format_clean(text_of(batch, "name"), name, sizeof name);
    (void)snprintf(out, size, "%s → %s%s%s%s", product, version, name[0] != '\0' ? " \"" : "", name,
                   name[0] != '\0' ? "\"" : "");
}

void ota_batch_put_state(const json_t *batch, char *out, size_t size)
{
    char reason[64];
    char state[64];
    const char *why = text_of(batch, "stateReason");
    ota_format_value("state", json_object_get(batch, "state"), batch, state, sizeof state);
    ota_format_value("reason", json_object_get(batch, "stateReason"), batch, reason, sizeof reason);
    bool told = why[0] != '\0';
    (void)snprintf(out, size, "%s%s%s%s", state, told ? " (" : "", told ? reason : "",
                   told ? ")" : "");
}

void ota_batch_put_reach(const json_t *stage, char *out, size_t size)
{
    const json_t *percent = json_object_get(stage, "percent");
    if (percent != NULL) {
        (void)snprintf(out, size, "%g %%", json_number_value(percent));
    } else {
        (void)snprintf(out, size, "%" PRId64 " devices", ota_batch_number(stage, "count"));
    }
}

void ota_batch_put_gate(const json_t *stage, char *out, size_t size)
{
    char soak[64] = "";
    int64_t seconds = ota_batch_number(stage, "soakSeconds");
    bool manual = strcmp(text_of(stage, "advance"), "manual") == 0;
    if (seconds > 0) {
        ota_format_duration(seconds, soak, sizeof soak);
    }
    (void)snprintf(out, size, "%" PRId64 " %%%s%s%s%s",
                   ota_batch_number(stage, "minSuccessPercent"), seconds > 0 ? ", " : "", soak,
                   seconds > 0 ? " soak" : "", manual ? ", batch advance" : "");
}

void ota_batch_put_failure(const json_t *failure, char *out, size_t size)
{
    char text[128];
    char from[64];
    char code[32] = "";
    const json_t *number = json_object_get(failure, "resultCode");
    ota_format_clean(text_of(failure, "text"), text, sizeof text);
    ota_format_clean(text_of(failure, "fromVersion"), from, sizeof from);
    if (json_is_integer(number)) {
        (void)snprintf(code, sizeof code, " (%" JSON_INTEGER_FORMAT ")",
                       json_integer_value(number));
    }
    (void)snprintf(out, size, "%" PRId64 " × %s%s%s%s", ota_batch_number(failure, "count"), text,
                   code, from[0] != '\0' ? ", from " : "", from);
}

const char *ota_batch_exclusion_words(enum ota_exclusion exclusion)
{
    static const char *const words[OTA_EXCLUSION_COUNT] = {
        [OTA_EXCLUDED_ON_VERSION] = "run that version already",
        [OTA_EXCLUDED_BUSY] = "have an unfinished task",
        [OTA_EXCLUDED_HELD] = "are on hold",
        [OTA_EXCLUDED_DOWNGRADE] = "run a newer version",
    };
    return words[exclusion];
}

/* --- what to do next -------------------------------------------------------------------------- */

static void advise_paused(const json_t *batch, char *out, size_t size)
{
    int64_t id = ota_batch_number(batch, "batch");
    if (ota_batch_has_reason(batch, OTA_REASON_FAILURE_THRESHOLD)) {
        (void)snprintf(out, size,
                       "too many devices failed: otactl stats --batch %" PRId64
                       " tells how, otactl batch resume %" PRId64
                       " goes on all the same, otactl batch cancel %" PRId64 " ends it",
                       id, id, id);
    } else if (ota_batch_has_reason(batch, OTA_REASON_STAGE_GATE)) {
        (void)snprintf(out, size,
                       "stage %zu can't succeed any more: otactl batch retry %" PRId64
                       " lets its failed devices try again, otactl batch advance %" PRId64
                       " opens the next stage all the same, otactl batch cancel %" PRId64
                       " ends it",
                       ota_batch_open_stage(batch), id, id, id);
    } else {
        (void)snprintf(out, size, "otactl batch resume %" PRId64 " goes on", id);
    }
}

/* A stage that has all it needs, and doesn't open the next one by itself. */
static void advise_running(const json_t *batch, char *out, size_t size)
{
    const json_t *stages = json_object_get(batch, "stages");
    size_t open = ota_batch_open_stage(batch);
    const json_t *stage = open > 0 ? json_array_get(stages, open - 1) : NULL;
    if (open < json_array_size(stages) && strcmp(text_of(stage, "advance"), "manual") == 0 &&
        ota_batch_number(stage, "successes") >= ota_batch_number(stage, "needed")) {
        (void)snprintf(out, size,
                       "stage %zu succeeded and waits for you: otactl batch advance %" PRId64
                       " opens the next one",
                       open, ota_batch_number(batch, "batch"));
    }
}

static void advise_finished(const json_t *batch, char *out, size_t size)
{
    int64_t id = ota_batch_number(batch, "batch");
    if (ota_batch_count(batch, OTA_SHOWN_FAILED) > 0 &&
        !ota_batch_has_reason(batch, OTA_REASON_EXPIRED)) {
        (void)snprintf(out, size,
                       "otactl task list --batch %" PRId64
                       " --status failed lists what failed, otactl batch retry %" PRId64
                       " lets it try again",
                       id, id);
    }
}

static void advise_draft(const json_t *batch, char *out, size_t size)
{
    int64_t id = ota_batch_number(batch, "batch");
    (void)snprintf(out, size,
                   "otactl batch add %" PRId64 " NAME… adds devices, otactl batch start %" PRId64
                   " starts it",
                   id, id);
}

static void advise_scheduled(const json_t *batch, char *out, size_t size)
{
    char at[32];
    ota_format_time(ota_batch_number(batch, "startAt"), at, sizeof at);
    (void)snprintf(out, size, "it starts at %s", at);
}

void ota_batch_put_advice(const json_t *batch, char *out, size_t size)
{
    static void (*const rows[OTA_BATCH_STATE_COUNT])(const json_t *, char *, size_t) = {
        [OTA_BATCH_DRAFT] = advise_draft,       [OTA_BATCH_SCHEDULED] = advise_scheduled,
        [OTA_BATCH_RUNNING] = advise_running,   [OTA_BATCH_PAUSED] = advise_paused,
        [OTA_BATCH_FINISHED] = advise_finished,
    };
    enum ota_batch_state state = ota_batch_state(batch);
    out[0] = '\0';
    if (state != OTA_BATCH_STATE_COUNT && rows[state] != NULL) {
        rows[state](batch, out, size);
    }
}
