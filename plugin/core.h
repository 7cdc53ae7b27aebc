/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what the domain works on: store, fleet, clocks, settings, the heap of due work, and the
 *       one transaction with what is to happen once it is committed.
 * Thread: the broker's.
 * Frees: ota_core_free; the store is opened and closed by the plugin.
 *
 * A change is made in three steps: ota_core_begin; write to the store and announce with
 * ota_core_after what memory and the wire are to do; ota_core_commit, which runs that in order,
 * or ota_core_rollback, which drops it. Nothing is visible before it is committed.
 */
#ifndef OTA_CORE_H
#define OTA_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "fleet.h"
#include "heap.h"
#include "store/store.h"
#include "util/histogram.h"
#include "util/rate.h"
#include "util/signature.h"

/* What the options say about upgrades and firmware (options.h has all). */
struct ota_settings {
    char topic_prefix[64];
    char download_url[256]; /* "" where nobody downloads over HTTP */
    unsigned char url_key[OTA_KEY_SIZE];
    int64_t upgrade_timeout_ms;
    int64_t notice_interval_ms;
    int64_t max_firmware_size;
    int max_firmware_per_product;
    uint32_t max_devices_per_product;
    struct ota_rate report_rate; /* of one device */
    bool auto_register;
    int64_t keep_history_ms; /* these two: 0 for ever */
    int64_t keep_audit_ms;
    const struct ota_signature_keys *signing_keys; /* NULL: none */
    bool require_signature;
};

struct ota_core;

struct ota_effect {
    void (*run)(struct ota_core *core, struct ota_effect *effect);
    void (*drop)(struct ota_core *core, struct ota_effect *effect); /* may be NULL */
    void *item;
    void *other;
    int64_t number;
    int64_t upload;  /* whose block it is */
    int64_t sent_at; /* Unix ms: the task's, after its step */
    struct ota_upgrade upgrade;
    struct ota_upgrade_outcome outcome;
    char version[OTA_VERSION_MAX + 1];
};

struct ota_counters {
    uint64_t notices;
    uint64_t store_failures;
    uint64_t ended[OTA_STATUS_COUNT]; /* tasks, by how */
    struct ota_histogram commits;
    struct ota_histogram ticks; /* these two: for how long the broker's loop was held */
    struct ota_histogram reports;
};

struct ota_core {
    struct ota_store *store;
    struct ota_fleet fleet;
    struct ota_settings settings;
    struct ota_heap due; /* by when, monotonic ms */
    struct ota_counters counters;
    /* The task's attempt is over: its downloads are to be dropped. May be NULL. */
    void (*cut)(void *data, int64_t task_id);
    void *cut_data;
    /* Something happened that people may watch: an object's text. device may be NULL. May be NULL.
     */
    void (*tell)(void *data, const char *type, const char *product, const char *device,
                 const char *json, size_t len);
    void *tell_data;

    struct ota_effect *effects;
    size_t effect_count;
    size_t effect_capacity;
    size_t new_tasks; /* that the transaction has made */
    bool in_transaction;

    int64_t wake_at;    /* monotonic ms: no tick has anything to do before */
    bool hurries;       /* there are ticks for what goes out few at a time, in each loop */
    int64_t mono_now;   /* monotonic ms of the last ota_core_tick_clock */
    int64_t service_ms; /* service time (docs/architecture.md, "Two clocks") */
    int64_t service_written;
    int64_t store_retry_at; /* monotonic ms: no background writes before; after a failure */
};

void ota_core_init(struct ota_core *core);
void ota_core_free(struct ota_core *core);

OTA_CHECKED enum ota_err ota_core_begin(struct ota_core *core, struct ota_error *error);
/* The returned effect, zeroed but for run and drop, is to be filled at once. NULL: no memory. */
struct ota_effect *ota_core_after(struct ota_core *core,
                                  void (*run)(struct ota_core *, struct ota_effect *),
                                  void (*drop)(struct ota_core *, struct ota_effect *));
/* On failure everything is rolled back. */
OTA_CHECKED enum ota_err ota_core_commit(struct ota_core *core, struct ota_error *error);
void ota_core_rollback(struct ota_core *core);

/* Background work met a database that refuses: it waits (store_retry_at) and is tried again. */
void ota_core_put_off(struct ota_core *core, const struct ota_error *error);

/* Takes the time: service time moves on by what passed, but never by more than a second, so
 * that time in which the process didn't run counts for nobody. */
void ota_core_tick_clock(struct ota_core *core);

/* There is something to do at `when` (monotonic ms; 0: at the next tick). */
static inline void ota_core_wake(struct ota_core *core, int64_t when)
{
    if (when < core->wake_at) {
        core->wake_at = when;
    }
}

/* What waits goes out few at a time, in each loop: so nobody's message waits for many. */
static inline void ota_core_hurry(struct ota_core *core)
{
    core->hurries = true;
    ota_core_wake(core, 0);
}

/* Something changed that may bring the device into a continuous batch. Cheap enough for each
 * report; the look itself comes at a tick, once, however often it is asked for. */
static inline void ota_core_look_again(struct ota_core *core, const struct ota_device *device)
{
    if (device->product->continuous > 0) {
        ota_fleet_mark(&core->fleet.looks, device);
        ota_core_wake(core, core->mono_now);
    }
}

/* --- the heap of due work ------------------------------------------------------------------- */

/* The transaction makes so many tasks: room for all of them in the heap, so that none is forgotten
 * once they are committed. False: no memory. */
OTA_CHECKED bool ota_due_reserve(struct ota_core *core, size_t count);
/* Puts, moves or (when 0) takes out the task, also out of its batch's queue; `when` is monotonic
 * ms. False: no memory. */
bool ota_due_set(struct ota_core *core, struct ota_task *task, int64_t when);
/* Moves the task of a batch into the batch's queue. False: no memory. */
bool ota_due_queue(struct ota_core *core, struct ota_task *task);
/* The first task that is due by `now`, or NULL; it stays in the heap. */
struct ota_task *ota_due_first(const struct ota_core *core, int64_t now);
/* When the first task is due; INT64_MAX where none is. */
int64_t ota_due_when(const struct ota_core *core);
#endif
