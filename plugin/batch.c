/* SPDX-License-Identifier: BSD-3-Clause */
#include "batch.h"

#include <stdlib.h>

#include "batch_members.h"

/* --- in the fleet --------------------------------------------------------------------------- */

static uint64_t hash_id(const struct ota_fleet *fleet, int64_t id)
{
    return ota_hash(&fleet->key, (uint64_t)id, "", 0);
}

static bool id_equal(const void *item, const void *key)
{
    return ((const struct ota_batch *)item)->row.id == *(const int64_t *)key;
}

struct ota_batch *ota_fleet_batch(const struct ota_fleet *fleet, int64_t id)
{
    return ota_index_find(&fleet->batches, hash_id(fleet, id), id_equal, &id);
}

bool ota_batch_add_stage(struct ota_batch *batch, const struct ota_stage *stage)
{
    struct ota_stage *grown =
        realloc(batch->stages, (batch->stage_count + 1) * sizeof *batch->stages);
    if (grown == NULL) {
        return false;
    }
    batch->stages = grown;
    batch->stages[batch->stage_count++] = *stage;
    return true;
}

static void free_batch(struct ota_batch *batch)
{
    ota_batch_forget_members(batch);
    ota_batch_forget_unproven(batch);
    ota_index_free(&batch->unproven);
    ota_heap_free(&batch->queue);
    ota_target_free(&batch->target);
    free(batch->stages);
    free(batch);
}

struct ota_batch *ota_fleet_add_batch(struct ota_fleet *fleet, const struct ota_batch_row *row,
                                      struct ota_target *target, const struct ota_stage *stages,
                                      size_t stage_count)
{
    struct ota_batch *batch = calloc(1, sizeof *batch);
    if (batch == NULL) {
        ota_target_free(target);
        return NULL;
    }
    batch->row = *row;
    batch->target = *target;
    batch->product = ota_fleet_product_by_id(fleet, row->product_id);
    bool good = batch->product != NULL;
    for (size_t i = 0; good && i < stage_count; i++) {
        good = ota_batch_add_stage(batch, &stages[i]);
    }
    if (!good || !ota_index_add(&fleet->batches, hash_id(fleet, row->id), batch)) {
        free_batch(batch);
        return NULL;
    }
    ota_fleet_list_batch(fleet, batch);
    fleet->newest_batch = row->id > fleet->newest_batch ? row->id : fleet->newest_batch;
    return batch;
}

static void leave_live(struct ota_fleet *fleet, const struct ota_batch *batch)
{
    for (struct ota_batch **at = &fleet->live; *at != NULL; at = &(*at)->next_live) {
        if (*at == batch) {
            *at = batch->next_live;
            fleet->live_count--;
            batch->product->continuous -= batch->row.mode == OTA_MODE_CONTINUOUS;
            return;
        }
    }
}

void ota_fleet_list_batch(struct ota_fleet *fleet, struct ota_batch *batch)
{
    leave_live(fleet, batch);
    batch->next_live = NULL;
    if (!batch->row.tallied) {
        batch->next_live = fleet->live;
        fleet->live = batch;
        fleet->live_count++;
        batch->product->continuous += batch->row.mode == OTA_MODE_CONTINUOUS;
    }
}

void ota_fleet_turn_batches(struct ota_fleet *fleet)
{
    struct ota_batch *first = fleet->live;
    struct ota_batch *last = first;
    while (last != NULL && last->next_live != NULL) {
        last = last->next_live;
    }
    if (last != first) {
        fleet->live = first->next_live;
        first->next_live = NULL;
        last->next_live = first;
    }
}

void ota_fleet_remove_batch(struct ota_fleet *fleet, struct ota_batch *batch)
{
    leave_live(fleet, batch);
    ota_index_remove(&fleet->batches, hash_id(fleet, batch->row.id), batch);
    free_batch(batch);
}

void ota_fleet_count_batch(struct ota_fleet *fleet, const struct ota_batch *batch, int change)
{
    struct ota_firmware *firmware = ota_fleet_firmware(fleet, batch->row.firmware_id);
    if (firmware != NULL) {
        firmware->batches += (uint32_t)change;
    }
}

void ota_fleet_free_batches(struct ota_fleet *fleet)
{
    struct ota_batch *batch;
    for (size_t at = 0; (batch = ota_index_next(&fleet->batches, &at)) != NULL;) {
        free_batch(batch);
    }
    ota_index_free(&fleet->batches);
}

/* --- order ---------------------------------------------------------------------------------- */

size_t ota_batch_stage_of(const struct ota_batch *batch, uint32_t device_id)
{
    size_t last = batch->stage_count - 1;
    bool placed = batch->row.prepared == OTA_PREPARED_FULLY ||
                  (batch->placing && device_id <= batch->placed_to);
    if (!placed || last == 0) {
        return last;
    }
    uint64_t key = ota_rollout_key(batch->row.id, device_id);
    size_t i = 0;
    while (i < last && key > batch->stages[i].end_key) {
        i++;
    }
    return i;
}

struct ota_task *ota_batch_next(const struct ota_batch *batch)
{
    if (batch->queue.count == 0 || batch->row.open_stages == 0) {
        return NULL;
    }
    uint64_t end = batch->stages[batch->row.open_stages - 1].end_key;
    const struct ota_heap_entry *first = ota_heap_at(&batch->queue, 0);
    return first->rank <= ota_batch_rank(end) ? first->task : NULL;
}

/* --- who is in it --------------------------------------------------------------------------- */

void ota_batch_link(struct ota_task *task)
{
    struct ota_batch *batch = task->batch;
    task->next_of_batch = batch->tasks;
    if (batch->tasks != NULL) {
        batch->tasks->prev_of_batch = task;
    }
    batch->tasks = task;
}

void ota_batch_unlink(struct ota_task *task)
{
    struct ota_batch *batch = task->batch;
    if (batch->sweep_next == task) {
        batch->sweep_next = task->next_of_batch;
    }
    if (task->prev_of_batch != NULL) {
        task->prev_of_batch->next_of_batch = task->next_of_batch;
    } else {
        batch->tasks = task->next_of_batch;
    }
    if (task->next_of_batch != NULL) {
        task->next_of_batch->prev_of_batch = task->prev_of_batch;
    }
    task->prev_of_batch = NULL;
    task->next_of_batch = NULL;
}

/* --- successes that have to be proved --------------------------------------------------------- */

struct ota_unproven {
    int64_t task_id;
    int64_t until; /* service time */
    uint32_t device_id;
    struct ota_unproven *older;
    struct ota_unproven *newer;
};

static uint64_t hash_task(int64_t task_id)
{
    return (uint64_t)task_id * UINT64_C(0x9e3779b97f4a7c15);
}

static bool task_equal(const void *item, const void *key)
{
    return ((const struct ota_unproven *)item)->task_id == *(const int64_t *)key;
}

/* All have the same time to prove it, so a new one belongs to the end; only a start brings them in
 * another order. */
static void insert_unproven(struct ota_batch *batch, struct ota_unproven *entry)
{
    struct ota_unproven *older = batch->newest;
    while (older != NULL && older->until > entry->until) {
        older = older->older;
    }
    entry->older = older;
    entry->newer = older != NULL ? older->newer : batch->oldest;
    *(older != NULL ? &older->newer : &batch->oldest) = entry;
    *(entry->newer != NULL ? &entry->newer->older : &batch->newest) = entry;
}

static void remove_unproven(struct ota_batch *batch, struct ota_unproven *entry)
{
    *(entry->older != NULL ? &entry->older->newer : &batch->oldest) = entry->newer;
    *(entry->newer != NULL ? &entry->newer->older : &batch->newest) = entry->older;
    ota_index_remove(&batch->unproven, hash_task(entry->task_id), entry);
    free(entry);
}

static bool add_unproven(struct ota_batch *batch, const struct ota_counted *counted)
{
    struct ota_unproven *entry = calloc(1, sizeof *entry);
    if (entry == NULL) {
        return false;
    }
    *entry = (struct ota_unproven){.task_id = counted->task_id,
                                   .until = counted->up->settle_until,
                                   .device_id = counted->device_id};
    if (!ota_index_add(&batch->unproven, hash_task(entry->task_id), entry)) {
        free(entry);
        return false;
    }
    insert_unproven(batch, entry);
    return true;
}

static struct ota_unproven *find_unproven(const struct ota_batch *batch, int64_t task_id)
{
    return ota_index_find(&batch->unproven, hash_task(task_id), task_equal, &task_id);
}

void ota_batch_forget_unproven(struct ota_batch *batch)
{
    while (batch->oldest != NULL) {
        remove_unproven(batch, batch->oldest);
    }
}

/* --- tallies -------------------------------------------------------------------------------- */

static bool is_pending(const struct ota_upgrade *up)
{
    return up->status == OTA_SUCCEEDED && up->confirmation == OTA_PENDING;
}

/* Whether the task of a settled batch that runs again is still to be recounted: until then it is
 * never overdue. */
static bool is_unsure(const struct ota_batch *batch, int64_t task_id)
{
    return batch->reviving && task_id > batch->row.retried_to;
}

static bool is_overdue(const struct ota_batch *batch, const struct ota_counted *counted)
{
    return is_pending(counted->up) && batch->row.gate == OTA_GATE_CONFIRMED &&
           !batch->row.tallied && !is_unsure(batch, counted->task_id) &&
           counted->up->settle_until <= batch->overdue_to;
}

static struct ota_standing standing_of(const struct ota_batch *batch,
                                       const struct ota_counted *counted)
{
    return (struct ota_standing){.status = counted->up->status,
                                 .confirmation = counted->up->confirmation,
                                 .online = counted->online,
                                 .overdue = is_overdue(batch, counted)};
}

static void add(const struct ota_batch *batch, struct ota_tally *tally,
                const struct ota_counted *counted, int change)
{
    if (counted != NULL) {
        struct ota_standing standing = standing_of(batch, counted);
        ota_tally_add(tally, &standing, change);
    }
}

/* Of a task that came, moved or went: one of the two is there. */
static const struct ota_counted *either(const struct ota_counted *before,
                                        const struct ota_counted *after)
{
    static const struct ota_counted nobody = {0};
    const struct ota_counted *one = before != NULL ? before : after;
    return one != NULL ? one : &nobody;
}

static size_t stage_of_counted(const struct ota_batch *batch, const struct ota_counted *before,
                               const struct ota_counted *after)
{
    return ota_batch_stage_of(batch, either(before, after)->device_id);
}

struct ota_tally ota_batch_tally_after(const struct ota_batch *batch,
                                       const struct ota_counted *before,
                                       const struct ota_counted *after)
{
    struct ota_tally tally = batch->stages[stage_of_counted(batch, before, after)].tally;
    add(batch, &tally, before, -1);
    add(batch, &tally, after, 1);
    return tally;
}

/* Where memory is out, a success is simply never overdue. */
static void watch_proof(struct ota_batch *batch, const struct ota_counted *before,
                        const struct ota_counted *after)
{
    struct ota_unproven *entry = find_unproven(batch, either(before, after)->task_id);
    if (entry != NULL) {
        remove_unproven(batch, entry);
    }
    if (after != NULL && is_pending(after->up) && batch->row.gate == OTA_GATE_CONFIRMED &&
        !batch->row.tallied && after->up->settle_until > batch->overdue_to) {
        (void)add_unproven(batch, after);
    }
}

void ota_batch_count(struct ota_batch *batch, const struct ota_counted *before,
                     const struct ota_counted *after)
{
    batch->stages[stage_of_counted(batch, before, after)].tally =
        ota_batch_tally_after(batch, before, after);
    watch_proof(batch, before, after);
}

void ota_batch_count_online(struct ota_batch *batch, uint32_t device_id, int change)
{
    batch->stages[ota_batch_stage_of(batch, device_id)].tally.online += (uint32_t)change;
}

void ota_batch_place(struct ota_batch *batch, const struct ota_counted *counted)
{
    batch->stages[batch->stage_count - 1].tally = ota_batch_tally_after(batch, counted, NULL);
    batch->placed_to = counted->device_id;
    size_t stage = ota_batch_stage_of(batch, counted->device_id);
    batch->stages[stage].tally = ota_batch_tally_after(batch, NULL, counted);
}

void ota_batch_let_overdue(struct ota_batch *batch, int64_t service_now)
{
    batch->overdue_to = service_now;
    while (batch->oldest != NULL && batch->oldest->until <= service_now) {
        struct ota_unproven *entry = batch->oldest;
        if (!is_unsure(batch, entry->task_id)) {
            batch->stages[ota_batch_stage_of(batch, entry->device_id)].tally.overdue++;
        }
        remove_unproven(batch, entry);
    }
}

void ota_batch_recount(struct ota_batch *batch, const struct ota_counted *counted)
{
    if (!is_pending(counted->up) || batch->row.gate != OTA_GATE_CONFIRMED ||
        find_unproven(batch, counted->task_id) != NULL) {
        return;
    }
    if (counted->up->settle_until <= batch->overdue_to) {
        batch->stages[ota_batch_stage_of(batch, counted->device_id)].tally.overdue++;
    } else {
        (void)add_unproven(batch, counted);
    }
}

struct ota_tally ota_batch_tally(const struct ota_batch *batch)
{
    struct ota_tally sum = {0};
    for (size_t i = 0; i < batch->stage_count; i++) {
        const struct ota_tally *tally = &batch->stages[i].tally;
        for (size_t j = 0; j < OTA_STATUS_COUNT; j++) {
            sum.by_status[j] += tally->by_status[j];
        }
        sum.online += tally->online;
        sum.confirmed += tally->confirmed;
        sum.contradicted += tally->contradicted;
        sum.overdue += tally->overdue;
    }
    return sum;
}

struct ota_rollout ota_batch_rollout(const struct ota_batch *batch)
{
    const struct ota_batch_row *row = &batch->row;
    return (struct ota_rollout){.gate = row->gate,
                                .continuous = row->mode == OTA_MODE_CONTINUOUS &&
                                              row->reason != OTA_REASON_EXPIRED,
                                .threshold_percent = row->threshold_percent,
                                .threshold_min = (uint32_t)row->threshold_min,
                                .known_failures = (uint32_t)row->known_failures,
                                .known_successes = (uint32_t)row->known_successes,
                                .stages = batch->stages,
                                .stage_count = batch->stage_count,
                                .open = (size_t)row->open_stages,
                                .running = row->state == OTA_BATCH_RUNNING};
}

void ota_batch_fill_bucket(struct ota_batch_row *row, int64_t service_now)
{
    if (row->state == OTA_BATCH_RUNNING) {
        ota_bucket_fill(&row->bucket, row->rate_per_minute, service_now);
    }
}

/* --- rules that a task asks for -------------------------------------------------------------- */

bool ota_batch_ends(const struct ota_task *task, bool *expired)
{
    *expired = false;
    if (task->batch == NULL) {
        return false;
    }
    const struct ota_batch_row *row = &task->batch->row;
    if (row->state == OTA_BATCH_CANCELLED) {
        return task->up.status == OTA_WAITING || (row->flags & OTA_BATCH_CANCEL_ALL) != 0;
    }
    *expired = row->reason == OTA_REASON_EXPIRED && task->up.status == OTA_WAITING &&
               (task->up.flags & OTA_UPGRADE_SENT) == 0;
    return *expired;
}
