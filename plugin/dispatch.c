/* SPDX-License-Identifier: BSD-3-Clause */
#include "dispatch.h"

#include "batch.h"
#include "batch_send.h"
#include "batch_tick.h"
#include "broker.h"
#include "gateways.h"
#include "task_plan.h"
#include "tasks.h"

/* design.md, contract 2: 2.5 notices for each millisecond since the last tick, never over 250. */
#define OTA_NOTICES_A_MS   2.5
#define OTA_NOTICES_A_TICK 250.0
/* Of what a tick had no time for: the next loop pays for those that it did send. */
#define OTA_NOTICES_KEPT   25.0

#define OTA_SLICE_MS        2
#define OTA_TICK_MS         4 /* commands and slices together */
#define OTA_SLICE_EVERY_MS  10
#define OTA_SLICE_TASKS     250
#define OTA_SWEEP_EVERY_MS  10000
#define OTA_SWEEP_ROWS      50
#define OTA_PURGE_EVERY_MS  60000
#define OTA_PURGE_ROWS      50
#define OTA_PURGE_MS        2
#define OTA_PURGE_IDS       2000
#define OTA_CLOCK_EVERY_MS  1000
#define OTA_CLOCK_IDLE_MS   60000
#define OTA_REQUEST_KEPT_MS INT64_C(86400000)
#define OTA_UPLOAD_IDLE_MS  INT64_C(3600000)

void ota_dispatch_init(struct ota_dispatch *dispatch, struct ota_core *core)
{
    *dispatch = (struct ota_dispatch){.core = core, .last_tick = core->mono_now};
    dispatch->next_sweep = core->mono_now + OTA_SWEEP_EVERY_MS;
    dispatch->next_purge = core->mono_now;
    core->fleet.orphaned = ota_gateways_orphaned;
    core->fleet.orphaned_data = core;
}

void ota_dispatch_purge_soon(struct ota_dispatch *dispatch)
{
    dispatch->next_purge = 0;
}

/* --- notices and deadlines -------------------------------------------------------------------- */

static bool wants_notice(const struct ota_core *core, const struct ota_task *task)
{
    return task->next_notice != 0 && task->next_notice <= core->mono_now &&
           task->device->conn != NULL && !ota_tasks_is_kept_back(core, task) &&
           (task->up.status != OTA_WAITING || task->up.deadline <= core->service_ms);
}

/* Its batch was cancelled, or has expired. */
static enum ota_err end_with_batch(struct ota_core *core, struct ota_task *task, bool expired,
                                   struct ota_error *error)
{
    struct ota_upgrade_event event = {.kind = expired ? OTA_EV_EXPIRE : OTA_EV_CANCEL,
                                      .service_now = core->service_ms};
    bool changed;
    return ota_tasks_apply(core, task, &event, NULL, &changed, error);
}

static enum ota_err time_out(struct ota_core *core, struct ota_task *task, struct ota_error *error)
{
    struct ota_upgrade_event event = {.kind = OTA_EV_TIMEOUT, .service_now = core->service_ms};
    bool changed;
    return ota_tasks_apply(core, task, &event, NULL, &changed, error);
}

/* The first notice of an attempt is a change of status, and goes out once that is committed; a
 * repeated one is a message and nothing else. */
static enum ota_err send_notice(struct ota_core *core, struct ota_task *task,
                                struct ota_error *error)
{
    if (task->up.status == OTA_WAITING) {
        struct ota_upgrade_event event = {.kind = OTA_EV_NOTICED, .service_now = core->service_ms};
        bool changed;
        return ota_tasks_apply(core, task, &event, NULL, &changed, error);
    }
    ota_tasks_repeat_notice(core, task);
    return OTA_OK;
}

static enum ota_err do_task(struct ota_dispatch *dispatch, struct ota_task *task,
                            struct ota_error *error)
{
    struct ota_core *core = dispatch->core;
    bool expired;
    if (ota_batch_ends(task, &expired)) {
        return end_with_batch(core, task, expired, error);
    }
    if (ota_status_is_timed(task->up.status) && task->up.deadline <= core->service_ms) {
        return time_out(core, task, error);
    }
    bool in_line = task->batch != NULL && task->up.status == OTA_WAITING;
    if (in_line || !wants_notice(core, task)) {
        ota_tasks_plan(core, task);
        return OTA_OK;
    }
    dispatch->notice_tokens -= 1.0;
    return send_notice(core, task, error);
}

/* What is written changes memory only when the slice is committed: until then a task must not be
 * taken up twice, so it leaves the heap first and its effect plans it anew. */
static enum ota_err do_slice(struct ota_dispatch *dispatch, int64_t end, struct ota_error *error)
{
    struct ota_core *core = dispatch->core;
    struct ota_task *task;
    for (int i = 0; i < OTA_SLICE_TASKS && dispatch->notice_tokens >= 1.0; i++) {
        task = ota_due_first(core, core->mono_now);
        if (task == NULL || ota_now_mono() >= end) {
            break;
        }
        (void)ota_due_set(core, task, 0);
        enum ota_err err = do_task(dispatch, task, error);
        if (err != OTA_OK) {
            ota_tasks_set_aside(core, task, err);
            return err;
        }
    }
    return ota_batch_send(core, &dispatch->notice_tokens, end, error);
}

static bool has_due(struct ota_core *core)
{
    return ota_due_first(core, core->mono_now) != NULL || ota_batch_can_send(core);
}

/* Few at a time, in each loop, so that nobody's message waits for many: also at a pace at which the
 * next one is due sooner than slices are. */
static void plan_next(struct ota_core *core)
{
    if (has_due(core)) {
        ota_core_hurry(core);
        return;
    }
    int64_t in = ota_batch_sends_in(core);
    if (in <= OTA_SLICE_EVERY_MS) {
        ota_core_hurry(core);
    } else if (in != INT64_MAX) {
        ota_core_wake(core, core->mono_now + in);
    }
}

static void do_due(struct ota_dispatch *dispatch, int64_t end)
{
    struct ota_core *core = dispatch->core;
    if (core->mono_now < core->store_retry_at) {
        return;
    }
    if (!has_due(core)) {
        plan_next(core);
        return;
    }
    if (dispatch->notice_tokens < 1.0) {
        ota_core_hurry(core);
        return;
    }
    struct ota_error error = {0};
    enum ota_err err = ota_core_begin(core, &error);
    if (err == OTA_OK) {
        err = do_slice(dispatch, end, &error);
        if (err == OTA_OK) {
            err = ota_core_commit(core, &error);
        }
    }
    if (err != OTA_OK) {
        ota_core_rollback(core);
        ota_core_put_off(core, &error);
    } else {
        plan_next(core);
    }
}

static void do_batches(struct ota_core *core, int64_t end)
{
    struct ota_error error = {0};
    if (core->mono_now >= core->store_retry_at && ota_batch_tick(core, end, &error) != OTA_OK) {
        ota_core_put_off(core, &error);
    }
}

static void earn_notices(struct ota_dispatch *dispatch)
{
    int64_t passed = dispatch->core->mono_now - dispatch->last_tick;
    dispatch->last_tick = dispatch->core->mono_now;
    if (dispatch->notice_tokens > OTA_NOTICES_KEPT) {
        dispatch->notice_tokens = OTA_NOTICES_KEPT;
    }
    dispatch->notice_tokens += (double)passed * OTA_NOTICES_A_MS;
    if (dispatch->notice_tokens > OTA_NOTICES_A_TICK) {
        dispatch->notice_tokens = OTA_NOTICES_A_TICK;
    }
}

/* --- what may be written later ---------------------------------------------------------------- */

static void run_written(struct ota_core *core, struct ota_effect *effect)
{
    struct ota_device *device = effect->item;
    (void)core;
    if (device->task != NULL) {
        device->task->percent_dirty = false;
    }
    device->seen_hour = ota_hour_of(device->last_seen);
}

static void drop_written(struct ota_core *core, struct ota_effect *effect)
{
    ota_fleet_mark(&core->fleet.dirty, effect->item);
}

static enum ota_err write_late(struct ota_core *core, struct ota_device *device,
                               struct ota_error *error)
{
    struct ota_effect *effect = ota_core_after(core, run_written, drop_written);
    if (effect == NULL) {
        ota_fleet_mark(&core->fleet.dirty, device);
        return ota_error_no_memory(error);
    }
    effect->item = device;
    enum ota_err err = OTA_OK;
    if (device->task != NULL && device->task->percent_dirty) {
        err = ota_task_set_percent(core->store, device->task->id, device->task->up.percent, error);
    }
    if (err == OTA_OK &&
        (device->conn == NULL || ota_hour_of(device->last_seen) != device->seen_hour)) {
        err = ota_device_set_last_seen(core->store, device->id, device->last_seen, error);
    }
    return err;
}

/* Up to `rows` devices; false at the end of the sweep. */
static bool sweep(struct ota_dispatch *dispatch, int rows, int64_t end)
{
    struct ota_core *core = dispatch->core;
    struct ota_error error = {0};
    struct ota_device *device =
        ota_fleet_take_marked(&core->fleet, &core->fleet.dirty, &dispatch->sweep_at);
    if (device == NULL) {
        return false;
    }
    enum ota_err err = ota_core_begin(core, &error);
    if (err != OTA_OK) {
        ota_fleet_mark(&core->fleet.dirty, device);
    }
    for (; err == OTA_OK && device != NULL; rows--) {
        err = write_late(core, device, &error);
        bool go_on = err == OTA_OK && rows > 1 && ota_now_mono() < end;
        device = go_on
                     ? ota_fleet_take_marked(&core->fleet, &core->fleet.dirty, &dispatch->sweep_at)
                     : NULL;
    }
    if (err == OTA_OK) {
        err = ota_core_commit(core, &error);
    }
    if (err != OTA_OK) {
        ota_core_rollback(core);
        ota_core_put_off(core, &error);
    }
    return true;
}

static void do_sweep(struct ota_dispatch *dispatch)
{
    struct ota_core *core = dispatch->core;
    if (!dispatch->sweeping && core->mono_now >= dispatch->next_sweep) {
        dispatch->sweeping = true;
        dispatch->sweep_at = 0;
        dispatch->next_sweep = core->mono_now + OTA_SWEEP_EVERY_MS;
    }
    if (dispatch->sweeping && core->mono_now >= core->store_retry_at) {
        dispatch->sweeping = sweep(dispatch, OTA_SWEEP_ROWS, ota_now_mono() + 1);
    }
}

/* --- rubbish ---------------------------------------------------------------------------------- */

struct idle_upload {
    int64_t before;
    int64_t id; /* 0: none */
};

static bool is_idle(void *data, const struct ota_upload_row *row)
{
    struct idle_upload *idle = data;
    if (row->touched_at < idle->before) {
        idle->id = row->id;
    }
    return idle->id == 0;
}

static enum ota_err expire_upload(struct ota_core *core, bool *left, struct ota_error *error)
{
    struct idle_upload idle = {.before = ota_now_unix() - OTA_UPLOAD_IDLE_MS};
    enum ota_err err = ota_upload_each(core->store, is_idle, &idle, error);
    if (err == OTA_OK && idle.id != 0) {
        *left = true;
        ota_log(OTA_LOG_NOTICE, "upload %lld was given up: an hour without a block",
                (long long)idle.id);
        err = ota_upload_delete(core->store, idle.id, false, error);
    }
    return err;
}

/* Rows of deleted products go last: until memory has forgotten their devices, no id may be free
 * to be drawn again. */
static enum ota_err purge(struct ota_core *core, bool *left, struct ota_error *error)
{
    bool more = false;
    *left = ota_fleet_purge(&core->fleet, OTA_PURGE_IDS);
    if (*left) {
        return OTA_OK;
    }
    enum ota_err err = expire_upload(core, left, error);
    if (err == OTA_OK) {
        err = ota_product_purge(core->store, OTA_PURGE_ROWS, &more, error);
        *left = *left || more;
    }
    if (err == OTA_OK) { /* behind the products, whose firmware leaves dead images */
        err = ota_image_purge(core->store, 4, &more, error);
        *left = *left || more;
    }
    if (err == OTA_OK) {
        err = ota_request_purge(core->store, ota_now_unix() - OTA_REQUEST_KEPT_MS, OTA_PURGE_ROWS,
                                &more, error);
        *left = *left || more;
    }
    if (err == OTA_OK && core->settings.keep_audit_ms > 0) {
        err = ota_audit_purge(core->store, ota_now_unix() - core->settings.keep_audit_ms,
                              OTA_PURGE_ROWS, &more, error);
        *left = *left || more;
    }
    return err;
}

static void do_purge(struct ota_dispatch *dispatch)
{
    struct ota_core *core = dispatch->core;
    if (core->mono_now < core->store_retry_at ||
        (!dispatch->purging && core->mono_now < dispatch->next_purge)) {
        return;
    }
    dispatch->next_purge = core->mono_now + OTA_PURGE_EVERY_MS;
    struct ota_error error = {0};
    bool left = false;
    enum ota_err err = ota_core_begin(core, &error);
    int64_t end = ota_now_mono() + OTA_PURGE_MS;
    do {
        left = false;
        err = err == OTA_OK ? purge(core, &left, &error) : err;
    } while (err == OTA_OK && left && ota_now_mono() < end);
    if (err == OTA_OK) {
        err = ota_core_commit(core, &error);
    }
    if (err != OTA_OK) {
        ota_core_rollback(core);
        ota_core_put_off(core, &error);
    }
    dispatch->purging = left;
}

/* --- the clock -------------------------------------------------------------------------------- */

static void write_clock(struct ota_core *core)
{
    struct ota_error error = {0};
    enum ota_err err = ota_core_begin(core, &error);
    if (err == OTA_OK) {
        err = ota_store_set_service_ms(core->store, core->service_ms, &error);
    }
    if (err == OTA_OK) {
        err = ota_core_commit(core, &error);
    }
    if (err != OTA_OK) {
        ota_core_rollback(core);
        ota_core_put_off(core, &error);
        return;
    }
    core->service_written = core->service_ms;
}

static void do_clock(struct ota_core *core)
{
    /* without a task only confirmation windows run, which are minutes long */
    int64_t every = core->fleet.task_count > 0 ? OTA_CLOCK_EVERY_MS : OTA_CLOCK_IDLE_MS;
    if (core->mono_now >= core->store_retry_at &&
        core->service_ms - core->service_written >= every) {
        write_clock(core);
    }
}

/* Commands had their share of this tick, and leave the rest; background work is never without. */
static int64_t slice_end(const struct ota_core *core)
{
    int64_t end = core->mono_now + OTA_TICK_MS;
    int64_t least = ota_now_mono() + OTA_SLICE_MS;
    return end > least ? end : least;
}

static void do_slices(struct ota_dispatch *dispatch)
{
    struct ota_core *core = dispatch->core;
    do_sweep(dispatch);
    do_purge(dispatch);
    dispatch->forgetting = !dispatch->purging && ota_retention_tick(&dispatch->retention, core);
    do_clock(core);
}

/* While somebody hurries there is a tick in each loop, many of them in one millisecond: what comes
 * in slices keeps its distance all the same. */
void ota_dispatch_tick(struct ota_dispatch *dispatch)
{
    struct ota_core *core = dispatch->core;
    bool slices = !core->hurries || core->mono_now >= dispatch->next_slices;
    core->hurries = false;
    earn_notices(dispatch);
    do_batches(core, slices ? slice_end(core) : core->mono_now);
    do_due(dispatch, slice_end(core)); /* also while a fleet's tasks are made */
    if (slices) {
        dispatch->next_slices = core->mono_now + OTA_SLICE_EVERY_MS;
        do_slices(dispatch);
    }
    if (dispatch->sweeping || dispatch->purging || dispatch->forgetting) {
        ota_core_wake(core, dispatch->next_slices);
    }
}

/* Nobody says goodbye to a broker that stops: what is known of the connected is written now. */
static void mark_connected(struct ota_fleet *fleet)
{
    const struct ota_conn *conn;
    for (size_t at = 0; (conn = ota_index_next(&fleet->conns, &at)) != NULL;) {
        for (struct ota_device *device = conn->devices; device != NULL;
             device = device->next_of_conn) {
            device->seen_hour = 0;
            ota_fleet_mark(&fleet->dirty, device);
        }
    }
}

void ota_dispatch_finish(struct ota_dispatch *dispatch)
{
    mark_connected(&dispatch->core->fleet);
    dispatch->sweep_at = 0;
    dispatch->core->store_retry_at = 0;
    while (sweep(dispatch, 1000, INT64_MAX) && dispatch->core->store_retry_at == 0) {
    }
    write_clock(dispatch->core);
}
