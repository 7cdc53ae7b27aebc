/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>

#include "commands.h"

json_t *ota_show_counts(const struct ota_tally *tally)
{
    json_t *counts = json_object();
    uint32_t offline = tally->by_status[OTA_WAITING] - tally->online;
    for (int i = 0; i < OTA_SHOWN_COUNT; i++) {
        enum ota_shown shown = (enum ota_shown)i;
        uint32_t count = shown == OTA_SHOWN_DEVICE_OFFLINE ? offline
                         : shown == OTA_SHOWN_TASK_WAITING
                             ? tally->online
                             : tally->by_status[i - OTA_SHOWN_MESSAGE_SENT + OTA_MESSAGE_SENT];
        ota_json_put(&counts, ota_shown_name(shown), json_integer(count));
    }
    return counts;
}

json_t *ota_show_excluded(const uint32_t *excluded)
{
    json_t *counts = json_object();
    for (int i = 0; i < OTA_EXCLUSION_COUNT; i++) {
        ota_json_put(&counts, ota_exclusion_name((enum ota_exclusion)i), json_integer(excluded[i]));
    }
    return counts;
}

static json_t *show_stage(const struct ota_batch *batch, const struct ota_stage *stage)
{
    const struct ota_tally *tally = &stage->tally;
    json_t *shown = json_pack(
        "{s:s, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:o, s:i, s:I, s:s}", "state",
        ota_stage_state_name(stage->state), "total", (json_int_t)ota_tally_total(tally), "counts",
        ota_show_counts(tally), "confirmed", (json_int_t)tally->confirmed, "contradicted",
        (json_int_t)tally->contradicted, "successes",
        (json_int_t)ota_tally_successes(tally, batch->row.gate), "failures",
        (json_int_t)ota_tally_failures(tally, batch->row.gate), "needed",
        (json_int_t)ota_rollout_needed(stage), "openedAt", ota_json_number(stage->opened_at),
        "minSuccessPercent", stage->min_success_percent, "soakSeconds",
        (json_int_t)(stage->soak_ms / 1000), "advance", stage->manual ? "manual" : "auto");
    if (stage->count > 0) {
        ota_json_put(&shown, "count", json_integer(stage->count));
    } else {
        ota_json_put(&shown, "percent", json_real(stage->percent));
    }
    return shown;
}

static json_t *show_stages(const struct ota_batch *batch)
{
    json_t *stages = json_array();
    for (size_t i = 0; i < batch->stage_count; i++) {
        ota_json_push(&stages, show_stage(batch, &batch->stages[i]));
    }
    return stages;
}

static json_t *show_retry(const struct ota_batch_row *row)
{
    json_t *on = json_array();
    for (const char *item = row->retry_on; *item != '\0';) {
        size_t len = strcspn(item, ",");
        ota_json_push(&on, item[0] == 't' ? json_string("timeout")
                                          : json_integer(strtol(item, NULL, 10)));
        item += len;
        item += *item == ',';
    }
    json_t *retry = json_pack("{s:i, s:I}", "max", row->retry_max, "delaySeconds",
                              (json_int_t)(row->retry_delay_ms / 1000));
    if (row->retry_on[0] == '\0') {
        json_decref(on);
    } else {
        ota_json_put(&retry, "on", on);
    }
    return retry;
}

static json_t *show_threshold(const struct ota_batch_row *row)
{
    return row->threshold_percent > 0 ? json_pack("{s:i, s:I}", "percent", row->threshold_percent,
                                                  "minFinished", (json_int_t)row->threshold_min)
                                      : json_null();
}

/* What it was made with. */
static void show_making(const struct ota_batch *batch, json_t **shown)
{
    const struct ota_batch_row *row = &batch->row;
    json_t *target = batch->target.json != NULL ? json_incref(batch->target.json) : json_null();
    json_t *making = json_pack(
        "{s:o, s:b, s:o, s:I, s:o, s:s, s:o, s:I, s:o, s:o, s:b, s:b, s:b}", "target", target,
        "named", row->named, "ratePerMinute", ota_json_number(row->rate_per_minute), "maxInFlight",
        (json_int_t)row->max_in_flight, "failureThreshold", show_threshold(row), "gate",
        ota_gate_name(row->gate), "retry", show_retry(row), "timeoutSeconds",
        (json_int_t)(row->timeout_ms / 1000), "startAt", ota_json_number(row->start_at), "expireAt",
        ota_json_number(row->expire_at), "override", (row->flags & OTA_BATCH_OVERRIDE) != 0,
        "reinstall", (row->flags & OTA_BATCH_REINSTALL) != 0, "allowDowngrade",
        (row->flags & OTA_BATCH_DOWNGRADE) != 0);
    if (json_object_update(*shown, making) != 0) {
        json_decref(*shown);
        *shown = NULL;
    }
    json_decref(making);
}

json_t *ota_show_batch(const struct ota_batch *batch)
{
    const struct ota_batch_row *row = &batch->row;
    struct ota_tally tally = ota_batch_tally(batch);
    json_t *shown = json_pack(
        "{s:I, s:s, s:s, s:s, s:s, s:s, s:o, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:I, "
        "s:o, s:o}",
        "batch", (json_int_t)row->id, "product", batch->product->name, "version", row->version,
        "name", row->name, "mode", ota_batch_mode_name(row->mode), "state",
        ota_batch_state_name(row->state), "stateReason",
        ota_json_text(ota_batch_reason_name(row->reason)), "total",
        (json_int_t)ota_tally_total(&tally), "counts", ota_show_counts(&tally), "confirmed",
        (json_int_t)tally.confirmed, "contradicted", (json_int_t)tally.contradicted, "successes",
        (json_int_t)ota_tally_successes(&tally, row->gate), "failures",
        (json_int_t)ota_tally_failures(&tally, row->gate), "inFlight",
        (json_int_t)ota_tally_in_flight(&tally, row->gate), "excluded",
        ota_show_excluded(row->excluded), "stages", show_stages(batch), "createdAt",
        (json_int_t)row->created_at, "startedAt", ota_json_number(row->started_at), "finishedAt",
        ota_json_number(row->finished_at));
    if (shown != NULL) {
        show_making(batch, &shown);
    }
    return shown;
}
