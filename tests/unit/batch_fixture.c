/* SPDX-License-Identifier: BSD-3-Clause */
#include "batch_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/broker.h"
#include "../../plugin/devices.h"
#include "../../plugin/presence.h"

/* --- writes that fail --------------------------------------------------------------------------
 */

#define WRAP(function, parameters, arguments)                                                      \
    enum ota_err __real_##function parameters;                                                     \
    enum ota_err __wrap_##function parameters;                                                     \
    enum ota_err __wrap_##function parameters                                                      \
    {                                                                                              \
        return fixture_write_fails()                                                               \
                   ? ota_error_set(error, OTA_UNAVAILABLE, NULL, "a test's full disk")             \
                   : __real_##function arguments;                                                  \
    }

WRAP(ota_task_change,
     (struct ota_store * store, struct ota_task_row *row, const struct ota_event_row *event,
      struct ota_error *error),
     (store, row, event, error))
WRAP(ota_task_insert, (struct ota_store * store, struct ota_task_row *row, struct ota_error *error),
     (store, row, error))
WRAP(ota_task_insert_many,
     (struct ota_store * store, const struct ota_task_row *common, unsigned reinstall,
      const uint32_t *devices, size_t count, int64_t *first_id, struct ota_error *error),
     (store, common, reinstall, devices, count, first_id, error))
WRAP(ota_batch_update,
     (struct ota_store * store, const struct ota_batch_row *row, struct ota_error *error),
     (store, row, error))
WRAP(ota_batch_update_stage,
     (struct ota_store * store, int64_t id, size_t seq, const struct ota_stage *stage,
      struct ota_error *error),
     (store, id, seq, stage, error))
WRAP(ota_batch_set_bucket,
     (struct ota_store * store, int64_t id, const struct ota_bucket *bucket,
      struct ota_error *error),
     (store, id, bucket, error))

static int64_t broken_device;

enum ota_err __real_ota_device_get(struct ota_store *store, int64_t id, struct ota_device_row *row,
                                   struct ota_error *error);
enum ota_err __wrap_ota_device_get(struct ota_store *store, int64_t id, struct ota_device_row *row,
                                   struct ota_error *error);
enum ota_err __wrap_ota_device_get(struct ota_store *store, int64_t id, struct ota_device_row *row,
                                   struct ota_error *error)
{
    return id == broken_device ? ota_error_set(error, OTA_INTERNAL, NULL, "a test's broken row")
                               : __real_ota_device_get(store, id, row, error);
}

void crowd_break(const struct crowd *crowd, int i)
{
    broken_device = i >= 0 ? crowd_device(crowd, i)->id : 0;
}

/* --- opening ------------------------------------------------------------------------------------
 */

static void begin(struct crowd *crowd)
{
    assert_int_equal(ota_core_begin(&crowd->fix.core, NULL), OTA_OK);
}

static void commit(struct crowd *crowd)
{
    assert_int_equal(ota_core_commit(&crowd->fix.core, NULL), OTA_OK);
}

static void take_seat(struct crowd *crowd)
{
    crowd->fix.core.settings.report_rate = (struct ota_rate){.step = 1, .burst = 100000};
    crowd->intake = (struct ota_intake){.core = &crowd->fix.core};
    crowd->access =
        (struct ota_access){.fleet = &crowd->fix.core.fleet, .prefix = "$ota", .prefix_len = 4};
}

static enum ota_err delete_device(struct crowd *crowd, struct ota_device *device)
{
    struct ota_core *core = &crowd->fix.core;
    begin(crowd);
    enum ota_err err = ota_devices_remove(core, device, NULL);
    err = err == OTA_OK ? ota_core_commit(core, NULL) : err;
    if (err != OTA_OK) {
        ota_core_rollback(core);
    }
    return err;
}

int crowd_setup(void **state)
{
    struct crowd *crowd = calloc(1, sizeof *crowd);
    assert_non_null(crowd);
    broken_device = 0;
    fixture_open(&crowd->fix);
    take_seat(crowd);
    begin(crowd);
    assert_int_equal(ota_devices_remove(&crowd->fix.core, crowd->fix.device, NULL), OTA_OK);
    commit(crowd);
    crowd->fix.device = NULL;
    fixture_tick(&crowd->fix, 1000);
    *state = crowd;
    return 0;
}

int crowd_teardown(void **state)
{
    struct crowd *crowd = *state;
    fixture_close(&crowd->fix);
    free(crowd);
    return 0;
}

void crowd_restart(struct crowd *crowd, bool kill)
{
    fixture_restart(&crowd->fix, kill);
    take_seat(crowd);
}

/* --- devices ------------------------------------------------------------------------------------
 */

void crowd_add(struct crowd *crowd, int count, const char *version)
{
    assert_true(crowd->count + count <= CROWD_MAX);
    begin(crowd);
    for (; count > 0; count--, crowd->count++) {
        struct ota_device *device = NULL;
        struct ota_device_row row = {.product_id = crowd->fix.product->id,
                                     .created_at = ota_now_unix()};
        char *name = crowd->names[crowd->count];
        (void)snprintf(name, sizeof crowd->names[0], "m%d", crowd->count);
        crowd->clients[crowd->count] = (struct mosquitto){.id = name};
        (void)snprintf(row.name, sizeof row.name, "%s", name);
        (void)snprintf(row.version, sizeof row.version, "%s", version != NULL ? version : "");
        assert_int_equal(ota_devices_add(&crowd->fix.core, &row, &device, NULL), OTA_OK);
    }
    commit(crowd);
}

struct ota_device *crowd_device(const struct crowd *crowd, int i)
{
    const char *name = crowd->names[i];
    return ota_fleet_device(&crowd->fix.core.fleet, crowd->fix.product, name, strlen(name));
}

struct ota_task *crowd_task(const struct crowd *crowd, int i)
{
    return crowd_device(crowd, i)->task;
}

void crowd_connect(struct crowd *crowd, int first, int last)
{
    for (int i = first; i <= last; i++) {
        struct ota_device *device = crowd_device(crowd, i);
        ota_presence_sign(&crowd->fix.core, &crowd->clients[i], device, OTA_SIGN_REPORTED);
        if (device->task != NULL) {
            ota_tasks_reported_version(&crowd->fix.core, device->task);
        }
    }
}

void crowd_disconnect(struct crowd *crowd, int first, int last)
{
    for (int i = first; i <= last; i++) {
        ota_presence_gone(&crowd->fix.core, &crowd->clients[i]);
    }
}

static void say(struct crowd *crowd, int i, const char *payload)
{
    char text[64];
    (void)snprintf(text, sizeof text, "$ota/report/door/%s", crowd->names[i]);
    struct ota_topic topic = ota_topic_parse(&crowd->access, text);
    (void)ota_intake_report(&crowd->intake, &crowd->clients[i], &topic, payload, strlen(payload),
                            1);
}

static void say_progress(struct crowd *crowd, int i, const char *state, int code)
{
    char payload[200];
    (void)snprintf(payload, sizeof payload,
                   "{\"type\":\"report_progress\",\"report\":{\"progress\":{\"state\":\"%s\","
                   "\"percent\":5,\"result_code\":%d},\"version\":\"2.0\"}}",
                   state, code);
    say(crowd, i, payload);
}

void crowd_says(struct crowd *crowd, int i, const char *state)
{
    say_progress(crowd, i, state, 0);
}

void crowd_fails(struct crowd *crowd, int i, int code)
{
    say_progress(crowd, i, "fail", code);
}

void crowd_reports(struct crowd *crowd, int i, const char *version)
{
    char payload[120];
    (void)snprintf(payload, sizeof payload,
                   "{\"type\":\"report_version\",\"report\":{\"version\":\"%s\"}}", version);
    say(crowd, i, payload);
}

void crowd_succeeds(struct crowd *crowd, int i)
{
    crowd_says(crowd, i, "done");
    crowd_reports(crowd, i, "2.0");
}

void crowd_hold(struct crowd *crowd, int i, bool hold)
{
    struct ota_device_row row;
    struct ota_device *device = crowd_device(crowd, i);
    assert_int_equal(ota_device_get(crowd->fix.core.store, device->id, &row, NULL), OTA_OK);
    row.hold = hold;
    begin(crowd);
    assert_int_equal(ota_device_update(crowd->fix.core.store, &row, NULL), OTA_OK);
    commit(crowd);
    device->hold = hold; /* the rest is what updateDevice does at its commit */
    ota_core_look_again(&crowd->fix.core, device);
    if (device->task != NULL) {
        ota_tasks_plan(&crowd->fix.core, device->task);
    }
}

enum ota_err crowd_delete(struct crowd *crowd, int i)
{
    return delete_device(crowd, crowd_device(crowd, i));
}

static const char *status_name(enum ota_status status)
{
    return status == OTA_WAITING ? "waiting" : ota_shown_name(ota_shown_of(status, true));
}

const char *crowd_stands(const struct crowd *crowd, int i)
{
    static char text[64];
    struct ota_task_row row;
    const struct ota_device *device = crowd_device(crowd, i);
    if (device == NULL || ota_task_get(crowd->fix.core.store, device->last_task, &row, NULL) != 0) {
        return "none";
    }
    const char *confirmation = ota_confirmation_name(row.confirmation);
    (void)snprintf(text, sizeof text, "%s%s%s", status_name(row.status),
                   confirmation != NULL ? " " : "", confirmation != NULL ? confirmation : "");
    return text;
}

int crowd_count(const struct crowd *crowd, const char *stands)
{
    int count = 0;
    for (int i = 0; i < crowd->count; i++) {
        count += strcmp(crowd_stands(crowd, i), stands) == 0;
    }
    return count;
}

static bool is_notice(const struct fake_message *message)
{
    return strncmp(message->topic, "$ota/update/", 12) == 0 &&
           strstr(message->payload, "\"update_firmware\"") != NULL;
}

int crowd_noticed(const struct crowd *crowd, int n)
{
    for (size_t i = 0; i < fake_broker_message_count(); i++) {
        const struct fake_message *message = fake_broker_message(i);
        if (is_notice(message) && n-- == 0) {
            int device = -1;
            assert_int_equal(sscanf(message->topic, "$ota/update/door/m%d", &device), 1);
            return device < crowd->count ? device : -1;
        }
    }
    return -1;
}

int crowd_notices(void)
{
    return fixture_count(NULL, "update_firmware");
}

/* --- batches ------------------------------------------------------------------------------------
 */

struct ota_batch_row batch_row(const struct crowd *crowd)
{
    struct ota_batch_row row = {.product_id = crowd->fix.product->id,
                                .firmware_id = crowd->fix.firmware->row.id,
                                .gate = OTA_GATE_CONFIRMED,
                                .max_in_flight = 100000,
                                .timeout_ms = FIX_TIMEOUT,
                                .retry_delay_ms = 30000,
                                .created_at = ota_now_unix()};
    (void)snprintf(row.version, sizeof row.version, "%s", crowd->fix.firmware->row.version);
    return row;
}

static const struct ota_stage whole[] = {
    {.percent = 100.0, .min_success_percent = 90, .end_key = OTA_KEY_LAST}};

static void name_devices(struct crowd *crowd, int64_t id, const json_t *names)
{
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        const struct ota_device *device =
            ota_fleet_device(&crowd->fix.core.fleet, crowd->fix.product, name, strlen(name));
        assert_non_null(device);
        assert_int_equal(ota_batch_name_device(crowd->fix.core.store, id, device->id, NULL),
                         OTA_OK);
    }
}

static struct ota_batch *make(struct crowd *crowd, struct ota_batch_row *row, const char *target,
                              const struct ota_stage *stages, size_t count)
{
    struct ota_target read;
    struct ota_error error = {0};
    json_t *json = json_loads(target != NULL ? target : "{\"all\":true}", 0, NULL);
    assert_true(json != NULL ? ota_target_rule(json) == NULL : target[0] == '\0');
    assert_int_equal(ota_target_read(json, &read, NULL), OTA_OK);
    row->named = row->named || read.named;
    begin(crowd);
    if (ota_batches_create(&crowd->fix.core, row, &read, stages != NULL ? stages : whole,
                           stages != NULL ? count : 1, &error) != OTA_OK) {
        fail_msg("no batch: %s", error.text);
    }
    name_devices(crowd, row->id, json_object_get(json, "devices"));
    commit(crowd);
    json_decref(json);
    return batch_again(crowd, row->id);
}

struct ota_batch *batch_start(struct crowd *crowd, const struct ota_batch_row *row,
                              const char *target, const struct ota_stage *stages, size_t count)
{
    struct ota_batch_row copy = *row;
    ota_batches_set_off(&copy);
    return make(crowd, &copy, target, stages, count);
}

struct ota_batch *batch_draft(struct crowd *crowd, const struct ota_batch_row *row,
                              const char *target)
{
    struct ota_batch_row copy = *row;
    copy.state = OTA_BATCH_DRAFT;
    return make(crowd, &copy, target, NULL, 0);
}

struct ota_batch *batch_again(const struct crowd *crowd, int64_t id)
{
    struct ota_batch *batch = ota_fleet_batch(&crowd->fix.core.fleet, id);
    assert_non_null(batch);
    return batch;
}

enum ota_err batch_do(struct crowd *crowd, batch_act act, struct ota_batch *batch)
{
    struct ota_core *core = &crowd->fix.core;
    struct ota_error error = {0};
    begin(crowd);
    enum ota_err err = act(core, batch, &error);
    err = err == OTA_OK ? ota_core_commit(core, &error) : err;
    if (err != OTA_OK) {
        ota_core_rollback(core);
        assert_int_not_equal(strlen(error.text), 0);
    }
    return err;
}

enum ota_err batch_cancel(struct ota_core *core, struct ota_batch *batch, struct ota_error *error)
{
    return ota_batches_cancel(core, batch, false, error);
}

enum ota_err batch_cancel_all(struct ota_core *core, struct ota_batch *batch,
                              struct ota_error *error)
{
    return ota_batches_cancel(core, batch, true, error);
}

enum ota_err batch_retry_task(struct crowd *crowd, int64_t task)
{
    struct ota_core *core = &crowd->fix.core;
    struct ota_task_row row = fixture_row(&crowd->fix, task);
    struct ota_upgrade_event event = {.kind = OTA_EV_RETRY, .service_now = core->service_ms};
    struct ota_batch *batch =
        row.batch_id != 0 ? ota_fleet_batch(&core->fleet, row.batch_id) : NULL;
    bool changed;
    struct ota_device *device = ota_fleet_device_by_id(&core->fleet, row.device_id);
    begin(crowd);
    enum ota_err err = batch != NULL ? ota_batches_revive(core, batch, NULL) : OTA_OK;
    if (err == OTA_OK) {
        err = ota_tasks_settle(core, device, &row, &event, &changed, NULL);
    }
    err = err == OTA_OK ? ota_core_commit(core, NULL) : err;
    if (err != OTA_OK) {
        ota_core_rollback(core);
    }
    return err;
}

void batch_cancel_task(struct crowd *crowd, int i)
{
    struct ota_upgrade_event event = {.kind = OTA_EV_CANCEL,
                                      .service_now = crowd->fix.core.service_ms};
    bool changed;
    assert_int_equal(
        ota_tasks_apply(&crowd->fix.core, crowd_task(crowd, i), &event, NULL, &changed, NULL),
        OTA_OK);
    assert_true(changed);
}

const char *batch_stands(const struct ota_batch *batch)
{
    static char text[64];
    const char *reason = ota_batch_reason_name(batch->row.reason);
    (void)snprintf(text, sizeof text, "%s%s%s", ota_batch_state_name(batch->row.state),
                   reason != NULL ? " " : "", reason != NULL ? reason : "");
    return text;
}

static const char *counts_of(const struct ota_tally *tally)
{
    static char text[200];
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < OTA_STATUS_COUNT; i++) {
        if (tally->by_status[i] > 0) {
            used +=
                (size_t)snprintf(text + used, sizeof text - used, "%s%s %u", used > 0 ? ", " : "",
                                 status_name((enum ota_status)i), tally->by_status[i]);
        }
    }
    return text;
}

const char *batch_counts(const struct ota_batch *batch)
{
    struct ota_tally tally = ota_batch_tally(batch);
    return counts_of(&tally);
}

const char *batch_stage_counts(const struct ota_batch *batch, size_t stage)
{
    return counts_of(&batch->stages[stage].tally);
}

/* --- the check ----------------------------------------------------------------------------------
 */

struct recount {
    struct crowd *crowd;
    const struct ota_batch *batch;
    struct ota_tally tallies[OTA_STAGES_MAX];
    struct ota_tally stored[OTA_STAGES_MAX];
    size_t stored_count;
    int unfinished;
};

static void check_place(const struct ota_core *core, const struct ota_task *task)
{
    if (task->heap_at != 0) {
        const struct ota_heap *heap = task->queued ? &task->batch->queue : &core->due;
        assert_ptr_equal(ota_heap_at(heap, task->heap_at - 1)->task, task);
    }
    bool could_be_told = task->up.status == OTA_WAITING && task->device->conn != NULL &&
                         !task->device->hold && task->next_notice != 0;
    assert_true(task->heap_at != 0 || !could_be_told);
    assert_true(task->heap_at != 0 || !ota_status_is_timed(task->up.status));
}

/* Its task of memory says what its row says. */
static void check_unfinished(struct recount *recount, const struct ota_task_row *row,
                             const struct ota_device *device)
{
    const struct ota_task *task = device->task;
    assert_non_null(task);
    assert_int_equal(task->id, row->id);
    assert_ptr_equal(task->batch, recount->batch);
    assert_int_equal(task->up.status, row->status);
    assert_int_equal(task->up.attempt, row->attempt);
    assert_int_equal(task->up.deadline, row->deadline);
    assert_int_equal(task->up.flags, row->flags);
    check_place(&recount->crowd->fix.core, task);
    recount->unfinished++;
}

static bool count_row(void *data, const struct ota_task_row *row)
{
    struct recount *recount = data;
    const struct ota_batch *batch = recount->batch;
    const struct ota_device *device =
        ota_fleet_device_by_id(&recount->crowd->fix.core.fleet, row->device_id);
    if (device == NULL) {
        return true; /* it was deleted: its rows go in slices */
    }
    struct ota_standing standing = {
        .status = row->status, .confirmation = row->confirmation, .online = device->conn != NULL};
    standing.overdue = row->confirmation == OTA_PENDING && !batch->row.tallied &&
                       batch->row.gate == OTA_GATE_CONFIRMED &&
                       row->settle_until <= batch->overdue_to;
    size_t stage = ota_batch_stage_of(batch, (uint32_t)row->device_id);
    ota_tally_add(&recount->tallies[stage], &standing, 1);
    if (!ota_status_is_finished(row->status)) {
        check_unfinished(recount, row, device);
    }
    return true;
}

static bool note_stored(void *data, int64_t batch_id, const struct ota_stage *stage)
{
    struct recount *recount = data;
    if (batch_id == recount->batch->row.id) {
        recount->stored[recount->stored_count++] = stage->tally;
    }
    return true;
}

static void assert_same_tally(const struct ota_tally *have, const struct ota_tally *want,
                              bool online)
{
    for (int i = 0; i < OTA_STATUS_COUNT; i++) {
        assert_int_equal(have->by_status[i], want->by_status[i]);
    }
    assert_int_equal(have->confirmed, want->confirmed);
    assert_int_equal(have->contradicted, want->contradicted);
    assert_int_equal(have->overdue, want->overdue);
    if (online) {
        assert_int_equal(have->online, want->online);
    }
}

static void check_batch(struct crowd *crowd, const struct ota_batch *batch)
{
    struct recount recount = {.crowd = crowd, .batch = batch};
    struct ota_store *store = crowd->fix.core.store;
    int linked = 0;
    if (batch->reviving) {
        return; /* what is overdue isn't known yet */
    }
    assert_int_equal(ota_task_of_batch(store, batch->row.id, 0, count_row, &recount, NULL), OTA_OK);
    if (batch->row.tallied) {
        assert_int_equal(ota_batch_load_stages(store, note_stored, &recount, NULL), OTA_OK);
        assert_int_equal(recount.stored_count, batch->stage_count);
    }
    for (size_t i = 0; i < batch->stage_count; i++) {
        assert_same_tally(&batch->stages[i].tally, &recount.tallies[i], true);
        if (batch->row.tallied) {
            assert_same_tally(&recount.stored[i], &recount.tallies[i], false);
        }
    }
    for (const struct ota_task *task = batch->tasks; task != NULL; task = task->next_of_batch) {
        linked++;
    }
    assert_int_equal(linked, recount.unfinished);
}

void batch_check(struct crowd *crowd)
{
    const struct ota_batch *batch;
    for (size_t at = 0; (batch = ota_index_next(&crowd->fix.core.fleet.batches, &at)) != NULL;) {
        check_batch(crowd, batch);
    }
}

void batch_check_live(struct crowd *crowd)
{
    for (const struct ota_batch *batch = crowd->fix.core.fleet.live; batch != NULL;
         batch = batch->next_live) {
        check_batch(crowd, batch);
    }
}

void crowd_run(struct crowd *crowd, int64_t ms)
{
    fixture_run(&crowd->fix, ms, 100);
}

struct ota_batch *batch_begin(struct crowd *crowd, int count, const struct ota_batch_row *row,
                              const struct ota_stage *stages, size_t stage_count)
{
    crowd_add(crowd, count, "1.0");
    crowd_connect(crowd, 0, crowd->count - 1);
    crowd_run(crowd, 100);
    fake_broker_clear_messages();
    struct ota_batch *batch = batch_start(crowd, row, NULL, stages, stage_count);
    crowd_run(crowd, 100);
    batch_check(crowd);
    return batch;
}
