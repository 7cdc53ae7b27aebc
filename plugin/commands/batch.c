/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../batch_change.h"
#include "../batches.h"
#include "../broker.h"
#include "../prepare.h"
#include "commands.h"

#define OTA_IN_FLIGHT_PRESET 500
#define OTA_MIN_SUCCESS      90
#define OTA_BATCHES_A_PAGE   50
/* What a device takes from notice to outcome, where a dry run has to guess. */
#define OTA_GUESSED_SECONDS  60

/* --- createBatch: reading the fields ---------------------------------------------------------- */

static void read_limits(const json_t *fields, struct ota_batch_row *row)
{
    const char *name = ota_field_text_or_null(fields, "name");
    const json_t *threshold = json_object_get(fields, "failureThreshold");
    if (name != NULL) {
        (void)snprintf(row->name, sizeof row->name, "%s", name);
    }
    row->rate_per_minute = ota_field_int(fields, "ratePerMinute", row->rate_per_minute);
    row->max_in_flight = ota_field_int(fields, "maxInFlight", row->max_in_flight);
    row->expire_at = ota_field_int(fields, "expireAt", row->expire_at);
    if (threshold != NULL) {
        row->threshold_percent = (int)ota_field_int(threshold, "percent", 0);
        row->threshold_min = ota_field_int(threshold, "minFinished", 0);
    }
}

static void read_row(const struct ota_call *call, struct ota_batch_row *row)
{
    const json_t *fields = call->fields;
    const json_t *retry = json_object_get(fields, "retry");
    const char *mode = ota_field_text_or_null(fields, "mode");
    const char *gate = ota_field_text_or_null(fields, "gate");
    int64_t preset = call->core->settings.upgrade_timeout_ms / 1000;
    row->max_in_flight = OTA_IN_FLIGHT_PRESET;
    read_limits(fields, row);
    row->mode = mode != NULL ? ota_batch_mode_parse(mode) : OTA_MODE_SNAPSHOT;
    row->gate = gate != NULL ? ota_gate_parse(gate) : OTA_GATE_CONFIRMED;
    row->timeout_ms = ota_field_int(fields, "timeoutSeconds", preset) * 1000;
    row->retry_max = (int)ota_field_int(retry, "max", 0);
    row->retry_delay_ms = ota_field_int(retry, "delaySeconds", 30) * 1000;
    ota_call_retry_on(retry, row->retry_on, sizeof row->retry_on);
    row->flags = (ota_field_bool(fields, "override") ? OTA_BATCH_OVERRIDE : 0) |
                 (ota_field_bool(fields, "reinstall") ? OTA_BATCH_REINSTALL : 0) |
                 (ota_field_bool(fields, "allowDowngrade") ? OTA_BATCH_DOWNGRADE : 0);
    row->start_at = ota_field_int(fields, "startAt", 0);
    row->created_at = ota_now_unix();
}

static size_t read_stages(const json_t *fields, struct ota_stage *stages)
{
    const json_t *given = json_object_get(fields, "stages");
    if (given == NULL) {
        stages[0] = (struct ota_stage){
            .percent = 100.0, .min_success_percent = OTA_MIN_SUCCESS, .end_key = OTA_KEY_LAST};
        return 1;
    }
    for (size_t i = 0; i < json_array_size(given); i++) {
        const json_t *stage = json_array_get(given, i);
        stages[i] = (struct ota_stage){
            .percent = json_number_value(json_object_get(stage, "percent")),
            .count = ota_field_int(stage, "count", 0),
            .min_success_percent = (int)ota_field_int(stage, "minSuccessPercent", OTA_MIN_SUCCESS),
            .soak_ms = ota_field_int(stage, "soakSeconds", 0) * 1000,
            .manual = strcmp(ota_field_text(stage, "advance"), "manual") == 0};
    }
    return json_array_size(given);
}

static enum ota_err check_together(struct ota_call *call, const struct ota_batch_row *row)
{
    const json_t *fields = call->fields;
    bool draft = ota_field_bool(fields, "draft") && !ota_field_bool(fields, "dryRun");
    if (json_object_get(fields, "target") == NULL && !draft) {
        return ota_error_set(&call->error, OTA_INVALID_REQUEST, "target",
                             "createBatch needs a target, unless it makes a draft");
    }
    if (row->mode == OTA_MODE_CONTINUOUS && json_object_get(fields, "stages") != NULL) {
        return ota_error_set(&call->error, OTA_INVALID_REQUEST, "stages",
                             "a continuous batch takes no stages: its devices come one by one");
    }
    if (row->mode == OTA_MODE_CONTINUOUS && (row->flags & OTA_BATCH_REINSTALL) != 0) {
        return ota_error_set(&call->error, OTA_INVALID_REQUEST, "reinstall",
                             "a continuous batch takes no reinstall: it would never end");
    }
    if (row->expire_at != 0 && row->expire_at <= row->created_at) {
        return ota_error_set(&call->error, OTA_INVALID_REQUEST, "expireAt",
                             "expireAt must be in the future");
    }
    if (row->expire_at != 0 && row->expire_at <= row->start_at) {
        return ota_error_set(&call->error, OTA_INVALID_REQUEST, "expireAt",
                             "expireAt must be later than startAt");
    }
    return OTA_OK;
}

/* --- names ------------------------------------------------------------------------------------ */

static enum ota_err find_named(struct ota_call *call, const struct ota_product *product,
                               const json_t *name, struct ota_device **device)
{
    *device = ota_fleet_device(&call->core->fleet, product, json_string_value(name),
                               json_string_length(name));
    return *device != NULL ? OTA_OK
                           : ota_error_set(&call->error, OTA_NOT_FOUND, "devices",
                                           "product %s has no device %s", product->name,
                                           json_string_value(name));
}

static enum ota_err check_names(struct ota_call *call, const struct ota_product *product,
                                const json_t *names)
{
    enum ota_err err = OTA_OK;
    for (size_t i = 0; err == OTA_OK && i < json_array_size(names); i++) {
        struct ota_device *device;
        err = find_named(call, product, json_array_get(names, i), &device);
    }
    return err;
}

static enum ota_err store_names(struct ota_call *call, int64_t batch_id,
                                const struct ota_product *product, const json_t *names)
{
    enum ota_err err = OTA_OK;
    for (size_t i = 0; err == OTA_OK && i < json_array_size(names); i++) {
        struct ota_device *device;
        err = find_named(call, product, json_array_get(names, i), &device);
        if (err == OTA_OK) {
            err = ota_batch_name_device(call->core->store, batch_id, device->id, &call->error);
        }
    }
    return err;
}

/* --- dry runs --------------------------------------------------------------------------------- */

/* A batch that is never stored. */
struct trial {
    struct ota_batch batch;
    struct ota_stage stages[OTA_STAGES_MAX];
    struct ota_dry_run run;
};

static void free_trial(void *state)
{
    struct trial *trial = state;
    ota_target_free(&trial->batch.target);
    free(trial);
}

static enum ota_err begin_trial(struct ota_call *call, const struct ota_batch_row *row,
                                struct ota_product *product)
{
    struct trial *trial = calloc(1, sizeof *trial);
    if (trial == NULL) {
        return ota_error_no_memory(&call->error);
    }
    trial->batch.row = *row;
    trial->batch.product = product;
    trial->batch.stages = trial->stages;
    trial->batch.stage_count = read_stages(call->fields, trial->stages);
    *call->progress = (struct ota_progress){trial, free_trial};
    return ota_target_read(json_object_get(call->fields, "target"), &trial->batch.target,
                           &call->error);
}

/* Each device once, however often it is named. */
static enum ota_err look_at_named(struct ota_call *call, struct trial *trial)
{
    const json_t *names = json_object_get(json_object_get(call->fields, "target"), "devices");
    json_t *seen = json_object();
    enum ota_err err = seen != NULL ? OTA_OK : ota_error_no_memory(&call->error);
    for (size_t i = 0; err == OTA_OK && i < json_array_size(names); i++) {
        struct ota_device *device;
        const json_t *name = json_array_get(names, i);
        bool again = json_object_get(seen, json_string_value(name)) != NULL;
        ota_json_put(&seen, json_string_value(name), json_true());
        if (seen == NULL) {
            return ota_error_no_memory(&call->error);
        }
        err = find_named(call, trial->batch.product, name, &device);
        if (err == OTA_OK && !again) {
            err =
                ota_prepare_dry_look(call->core, &trial->batch, device, &trial->run, &call->error);
        }
    }
    json_decref(seen);
    trial->run.done = true;
    return err;
}

/* By pace, places in flight and soak times; what devices do besides is guessed. */
static int64_t estimate(const struct trial *trial)
{
    const struct ota_batch_row *row = &trial->batch.row;
    int64_t total = trial->run.taken;
    if (total == 0) {
        return 0;
    }
    int64_t rounds = (total + row->max_in_flight - 1) / row->max_in_flight;
    int64_t seconds = rounds * OTA_GUESSED_SECONDS;
    int64_t paced = row->rate_per_minute > 0 ? total * 60 / row->rate_per_minute : 0;
    seconds = paced > seconds ? paced : seconds;
    for (size_t i = 0; i + 1 < trial->batch.stage_count; i++) {
        seconds += trial->stages[i].soak_ms / 1000 + OTA_GUESSED_SECONDS;
    }
    return seconds;
}

static json_t *stage_sizes(const struct trial *trial)
{
    uint32_t ends[OTA_STAGES_MAX];
    json_t *sizes = json_array();
    ota_stage_ends(trial->stages, trial->batch.stage_count, trial->run.taken, ends);
    for (size_t i = 0; i < trial->batch.stage_count; i++) {
        ota_json_push(&sizes, json_integer(ends[i] - (i > 0 ? ends[i - 1] : 0)));
    }
    return sizes;
}

static enum ota_err answer_trial(struct ota_call *call, const struct trial *trial,
                                 const struct ota_firmware *firmware)
{
    json_t *told = json_pack(
        "{s:I, s:I, s:o, s:o, s:I, s:I}", "matched", (json_int_t)trial->run.matched, "total",
        (json_int_t)trial->run.taken, "excluded", ota_show_excluded(trial->run.excluded), "stages",
        stage_sizes(trial), "bytes", (json_int_t)trial->run.taken * firmware->row.size,
        "estimatedSeconds", (json_int_t)estimate(trial));
    if (told == NULL || json_object_update(call->data, told) != 0) {
        json_decref(told);
        return ota_error_no_memory(&call->error);
    }
    json_decref(told);
    return OTA_OK;
}

static enum ota_err try_out(struct ota_call *call, const struct ota_batch_row *row,
                            struct ota_product *product, const struct ota_firmware *firmware)
{
    enum ota_err err = OTA_OK;
    if (call->progress->state == NULL) {
        err = begin_trial(call, row, product);
    }
    if (err != OTA_OK) {
        return err;
    }
    struct trial *trial = call->progress->state;
    trial->batch.product = product;
    err = trial->batch.target.named ? look_at_named(call, trial)
                                    : ota_prepare_dry_run(call->core, &trial->batch, &trial->run,
                                                          call->end, &call->error);
    if (err != OTA_OK) {
        return err;
    }
    return trial->run.done ? answer_trial(call, trial, firmware) : OTA_AGAIN;
}

/* --- createBatch ------------------------------------------------------------------------------ */

static void set_start(const struct ota_call *call, struct ota_batch_row *row)
{
    if (ota_field_bool(call->fields, "draft")) {
        row->state = OTA_BATCH_DRAFT;
    } else {
        ota_batches_set_off(row);
    }
}

static enum ota_err create(struct ota_call *call, struct ota_batch_row *row,
                           const struct ota_product *product)
{
    struct ota_stage stages[OTA_STAGES_MAX];
    struct ota_target target;
    const json_t *given = json_object_get(call->fields, "target");
    size_t stage_count = read_stages(call->fields, stages);
    enum ota_err err = ota_target_read(given, &target, &call->error);
    if (err != OTA_OK) {
        return err;
    }
    row->named = target.named;
    set_start(call, row);
    err = ota_batches_create(call->core, row, &target, stages, stage_count, &call->error);
    if (err == OTA_OK) {
        err = store_names(call, row->id, product, json_object_get(given, "devices"));
    }
    return err == OTA_OK
               ? ota_call_answer(call, "batch",
                                 ota_show_batch(ota_fleet_batch(&call->core->fleet, row->id)))
               : err;
}

enum ota_err ota_cmd_create_batch(struct ota_call *call)
{
    struct ota_batch_row row = {0};
    struct ota_product *product;
    struct ota_firmware *firmware;
    read_row(call, &row);
    enum ota_err err = check_together(call, &row);
    if (err == OTA_OK) {
        err = ota_call_product(call, &product);
    }
    if (err == OTA_OK) {
        err = ota_call_target(call, product, &firmware);
    }
    if (err != OTA_OK) {
        return err;
    }
    row.product_id = product->id;
    row.firmware_id = firmware->row.id;
    memcpy(row.version, firmware->row.version, sizeof row.version);
    return ota_field_bool(call->fields, "dryRun") ? try_out(call, &row, product, firmware)
                                                  : create(call, &row, product);
}

/* --- steering --------------------------------------------------------------------------------- */

/* What the change in the open transaction will leave; memory follows only at the commit. */
static enum ota_err answer_changed(struct ota_call *call, struct ota_batch *batch)
{
    const struct ota_core *core = call->core;
    for (size_t i = core->effect_count; i > 0; i--) {
        struct ota_batch_change *change = ota_batch_change_of(&core->effects[i - 1]);
        if (change != NULL && change->batch == batch) {
            struct ota_batch later = *batch;
            later.row = change->row;
            later.stages = change->stages;
            return ota_call_answer(call, "batch", ota_show_batch(&later));
        }
    }
    return ota_call_answer(call, "batch", ota_show_batch(batch));
}

static enum ota_err expect_draft(struct ota_call *call, const struct ota_batch *batch)
{
    return batch->row.state == OTA_BATCH_DRAFT
               ? OTA_OK
               : ota_error_set(&call->error, OTA_CONFLICT, "batch",
                               "batch %lld is %s: devices can be added to a draft only",
                               (long long)batch->row.id, ota_batch_state_name(batch->row.state));
}

enum ota_err ota_cmd_add_batch_devices(struct ota_call *call)
{
    struct ota_batch *batch;
    const json_t *names = json_object_get(call->fields, "devices");
    enum ota_err err = ota_call_batch(call, &batch);
    if (err == OTA_OK) { /* what exists comes before what state it is in */
        err = check_names(call, batch->product, names);
    }
    if (err == OTA_OK) {
        err = expect_draft(call, batch);
    }
    if (err == OTA_OK) {
        err = store_names(call, batch->row.id, batch->product, names);
    }
    if (err != OTA_OK) {
        return err;
    }
    struct ota_batch_change *change = ota_batch_change_new(batch);
    if (change != NULL) {
        change->row.named = true;
    }
    err = ota_batch_change_store(call->core, change, &call->error);
    return err == OTA_OK ? answer_changed(call, batch) : err;
}

/* What a steering command does with its batch. */
typedef enum ota_err (*steer)(struct ota_core *core, struct ota_batch *batch,
                              struct ota_error *error);

static enum ota_err run_steer(struct ota_call *call, steer act)
{
    struct ota_batch *batch;
    enum ota_err err = ota_call_batch(call, &batch);
    if (err == OTA_OK) {
        err = act(call->core, batch, &call->error);
    }
    return err == OTA_OK ? answer_changed(call, batch) : err;
}

enum ota_err ota_cmd_start_batch(struct ota_call *call)
{
    return run_steer(call, ota_batches_start);
}

enum ota_err ota_cmd_pause_batch(struct ota_call *call)
{
    return run_steer(call, ota_batches_pause);
}

enum ota_err ota_cmd_resume_batch(struct ota_call *call)
{
    return run_steer(call, ota_batches_resume);
}

enum ota_err ota_cmd_advance_batch(struct ota_call *call)
{
    return run_steer(call, ota_batches_advance);
}

enum ota_err ota_cmd_retry_batch(struct ota_call *call)
{
    return run_steer(call, ota_batches_retry);
}

static enum ota_err cancel_waiting(struct ota_core *core, struct ota_batch *batch,
                                   struct ota_error *error)
{
    return ota_batches_cancel(core, batch, false, error);
}

static enum ota_err cancel_all(struct ota_core *core, struct ota_batch *batch,
                               struct ota_error *error)
{
    return ota_batches_cancel(core, batch, true, error);
}

enum ota_err ota_cmd_cancel_batch(struct ota_call *call)
{
    bool all = strcmp(ota_field_text(call->fields, "running"), "cancel") == 0;
    return run_steer(call, all ? cancel_all : cancel_waiting);
}

enum ota_err ota_cmd_update_batch(struct ota_call *call)
{
    struct ota_batch *batch;
    enum ota_err err = ota_call_batch(call, &batch);
    if (err != OTA_OK) {
        return err;
    }
    struct ota_batch_row row = batch->row;
    read_limits(call->fields, &row);
    err = ota_batches_update(call->core, batch, &row, &call->error);
    return err == OTA_OK ? answer_changed(call, batch) : err;
}

/* --- reading ---------------------------------------------------------------------------------- */

enum ota_err ota_cmd_get_batch(struct ota_call *call)
{
    struct ota_batch *batch;
    enum ota_err err = ota_call_batch(call, &batch);
    return err == OTA_OK ? ota_call_answer(call, "batch", ota_show_batch(batch)) : err;
}

struct filter {
    const struct ota_product *product; /* NULL: any */
    enum ota_batch_state state;        /* OTA_BATCH_STATE_COUNT: any */
};

static bool passes(const struct filter *filter, const struct ota_batch *batch)
{
    return (filter->product == NULL || filter->product == batch->product) &&
           (filter->state == OTA_BATCH_STATE_COUNT || filter->state == batch->row.state);
}

static enum ota_err list(struct ota_call *call, const struct filter *filter, struct ota_page *page)
{
    page->limit = page->limit < OTA_BATCHES_A_PAGE ? page->limit : OTA_BATCHES_A_PAGE;
    int64_t id = page->number != 0 ? page->number : call->core->fleet.newest_batch + 1;
    int examined = 0;
    while (id > 1 && !ota_page_is_full(page) && examined++ < OTA_LIST_EXAMINED) {
        const struct ota_batch *batch = ota_fleet_batch(&call->core->fleet, --id);
        if (batch != NULL && passes(filter, batch)) {
            (void)ota_page_add(page, ota_show_batch(batch));
        }
    }
    return ota_page_close_at(call, page, "batches", id > 1, id);
}

enum ota_err ota_cmd_list_batches(struct ota_call *call)
{
    struct ota_page page;
    struct ota_product *product = NULL;
    const char *state = ota_field_text_or_null(call->fields, "state");
    enum ota_err err = OTA_OK;
    if (ota_field_text_or_null(call->fields, "product") != NULL) {
        err = ota_call_product(call, &product);
    }
    if (err == OTA_OK) {
        err = ota_page_open(call, &page);
    }
    if (err != OTA_OK) {
        return err;
    }
    struct filter filter = {product,
                            state != NULL ? ota_batch_state_parse(state) : OTA_BATCH_STATE_COUNT};
    err = list(call, &filter, &page);
    json_decref(page.rows);
    return err;
}
