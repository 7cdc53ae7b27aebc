/* SPDX-License-Identifier: BSD-3-Clause */
#include "trail.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker.h"

#define OTA_TRAIL_MINUTE_MS 60000
#define OTA_TRAIL_WRITE_MS  1000 /* so often a count that grows is written */

/* An entry that still counts, or has still to be written. */
struct entry {
    struct ota_audit_row row; /* id 0: not written yet */
    int64_t new_id;           /* of the transaction that is under way */
    int64_t until;            /* monotonic ms: what comes then is a new entry */
    int64_t written_at;       /* monotonic ms */
    bool used;
    bool changed;
};

/* The last one is for what found no place. */
struct part {
    struct entry entries[OTA_TRAIL_ENTRIES + 1];
};

struct ota_trail {
    struct ota_core *core;
    struct part commands;
    struct part topics; /* apart: strangers must not crowd out what admins do */
};

struct ota_trail *ota_trail_new(struct ota_core *core)
{
    struct ota_trail *trail = calloc(1, sizeof *trail);
    if (trail != NULL) {
        trail->core = core;
    }
    return trail;
}

void ota_trail_free(struct ota_trail *trail)
{
    free(trail);
}

static void fill_row(const struct ota_trail_note *note, struct ota_audit_row *row)
{
    *row = (struct ota_audit_row){.at = ota_now_unix(), .count = 1};
    ota_text_cut(note->user != NULL ? note->user : "", row->user, sizeof row->user);
    ota_text_cut(note->client != NULL ? note->client : "", row->client, sizeof row->client);
    ota_text_cut(note->command, row->command, sizeof row->command);
    ota_text_cut(note->target, row->target, sizeof row->target);
    (void)snprintf(row->code, sizeof row->code, "%s", ota_err_name(note->code));
}

enum ota_err ota_trail_accept(struct ota_core *core, const struct ota_trail_note *note,
                              struct ota_error *error)
{
    struct ota_audit_row row;
    fill_row(note, &row);
    return ota_audit_insert(core->store, &row, error);
}

/* --- counting --------------------------------------------------------------------------------- */

static bool is_same(const struct ota_audit_row *a, const struct ota_audit_row *b)
{
    return strcmp(a->command, b->command) == 0 && strcmp(a->code, b->code) == 0 &&
           strcmp(a->user, b->user) == 0;
}

static bool is_free(const struct entry *entry, int64_t now)
{
    return !entry->used || (now >= entry->until && !entry->changed);
}

/* The entry that goes on counting, else a free one, else the last. */
static struct entry *find(struct part *part, const struct ota_audit_row *row, int64_t now)
{
    struct entry *last = &part->entries[OTA_TRAIL_ENTRIES];
    struct entry *place = last;
    for (struct entry *entry = part->entries; entry < last; entry++) {
        if (entry->used && now < entry->until && is_same(&entry->row, row)) {
            return entry;
        }
        if (place == last && is_free(entry, now)) {
            place = entry;
        }
    }
    return place;
}

static void begin_entry(struct entry *entry, const struct ota_audit_row *row, int64_t now)
{
    *entry = (struct entry){
        .row = *row, .until = now + OTA_TRAIL_MINUTE_MS, .used = true, .changed = true};
}

static void count(struct ota_trail *trail, struct part *part, const struct ota_trail_note *note)
{
    struct ota_audit_row row;
    int64_t now = trail->core->mono_now;
    fill_row(note, &row);
    struct entry *entry = find(part, &row, now);
    bool is_last = entry == &part->entries[OTA_TRAIL_ENTRIES];
    if (is_free(entry, now)) {
        if (is_last) {
            fill_row(&(struct ota_trail_note){.command = OTA_TRAIL_OTHER,
                                              .target = "",
                                              .code = OTA_LIMIT_EXCEEDED},
                     &row);
        }
        begin_entry(entry, &row, now);
    } else {
        entry->row.count++;
        entry->changed = true;
    }
    ota_core_wake(trail->core, entry->row.id == 0 ? 0 : entry->written_at + OTA_TRAIL_WRITE_MS);
}

void ota_trail_refuse(struct ota_trail *trail, const struct ota_trail_note *note)
{
    if (trail != NULL) {
        count(trail, &trail->commands, note);
    }
}

void ota_trail_topic(struct ota_trail *trail, const struct ota_trail_note *note)
{
    if (trail != NULL) {
        count(trail, &trail->topics, note);
    }
}

/* --- writing ---------------------------------------------------------------------------------- */

typedef bool (*choice)(const struct entry *entry, int64_t now);

static bool is_changed(const struct entry *entry, int64_t now)
{
    (void)now;
    return entry->changed;
}

static bool is_due(const struct entry *entry, int64_t now)
{
    return entry->changed && (entry->row.id == 0 || now >= entry->until ||
                              now - entry->written_at >= OTA_TRAIL_WRITE_MS);
}

static bool any(const struct part *part, choice chosen, int64_t now)
{
    for (size_t i = 0; i <= OTA_TRAIL_ENTRIES; i++) {
        if (chosen(&part->entries[i], now)) {
            return true;
        }
    }
    return false;
}

static enum ota_err write_entry(struct ota_core *core, struct entry *entry, struct ota_error *error)
{
    if (entry->row.id == 0) {
        struct ota_audit_row row = entry->row;
        enum ota_err err = ota_audit_insert(core->store, &row, error);
        entry->new_id = row.id;
        return err;
    }
    entry->new_id = entry->row.id;
    enum ota_err err = ota_audit_set_count(core->store, entry->row.id, entry->row.count, error);
    return err == OTA_NOT_FOUND ? OTA_OK : err; /* the clock was set, and it was old at once */
}

static enum ota_err write_part(struct ota_core *core, struct part *part, choice chosen,
                               struct ota_error *error)
{
    enum ota_err err = OTA_OK;
    for (size_t i = 0; err == OTA_OK && i <= OTA_TRAIL_ENTRIES; i++) {
        if (chosen(&part->entries[i], core->mono_now)) {
            err = write_entry(core, &part->entries[i], error);
        }
    }
    return err;
}

static void note_written(struct part *part, choice chosen, int64_t now)
{
    for (size_t i = 0; i <= OTA_TRAIL_ENTRIES; i++) {
        struct entry *entry = &part->entries[i];
        if (chosen(entry, now)) {
            entry->row.id = entry->new_id;
            entry->written_at = now;
            entry->changed = false;
        }
    }
}

static void write_all(struct ota_trail *trail, choice chosen)
{
    struct ota_core *core = trail->core;
    struct ota_error error = {0};
    int64_t now = core->mono_now;
    enum ota_err err = ota_core_begin(core, &error);
    if (err == OTA_OK) {
        err = write_part(core, &trail->commands, chosen, &error);
    }
    if (err == OTA_OK) {
        err = write_part(core, &trail->topics, chosen, &error);
    }
    if (err == OTA_OK) {
        err = ota_core_commit(core, &error);
    }
    if (err != OTA_OK) {
        ota_core_rollback(core);
        ota_core_put_off(core, &error);
        return;
    }
    note_written(&trail->commands, chosen, now);
    note_written(&trail->topics, chosen, now);
}

void ota_trail_tick(struct ota_trail *trail)
{
    int64_t now = trail->core->mono_now;
    if (now >= trail->core->store_retry_at &&
        (any(&trail->commands, is_due, now) || any(&trail->topics, is_due, now))) {
        write_all(trail, is_due);
    }
}

void ota_trail_finish(struct ota_trail *trail)
{
    if (trail != NULL &&
        (any(&trail->commands, is_changed, 0) || any(&trail->topics, is_changed, 0))) {
        write_all(trail, is_changed);
    }
}
