/* SPDX-License-Identifier: BSD-3-Clause */
#include "store_internal.h"

enum {
    INSERT,
    UPDATE,
    SET_BUCKET,
    MARK_PRUNED,
    LOAD,
    STAGE_INSERT,
    STAGE_UPDATE,
    STAGES,
    NAME,
    NAMED,
    IS_NAMED,
    COUNT_NAMED,
    UNNAME,
    UNNAME_DEVICE,
    FIRST_OF_PRODUCT,
    STAGES_PURGE,
    DELETE
};

/* What can change, in the order of bind_changes. */
#define CHANGES                                                                                    \
    "name = :name, state = :state, reason = :reason, named = :named, "                             \
    "rate_per_minute = :rate_per_minute, max_in_flight = :max_in_flight, "                         \
    "threshold_percent = :threshold_percent, threshold_min = :threshold_min, flags = :flags, "     \
    "expire_at = :expire_at, started_at = :started_at, finished_at = :finished_at, "               \
    "prepared = :prepared, prepared_to = :prepared_to, retried_to = :retried_to, "                 \
    "excluded_on_version = :excluded_on_version, excluded_busy = :excluded_busy, "                 \
    "excluded_held = :excluded_held, excluded_downgrade = :excluded_downgrade, "                   \
    "open_stages = :open_stages, known_failures = :known_failures, "                               \
    "known_successes = :known_successes, tokens = :tokens, tokens_at = :tokens_at, tallied = "     \
    ":tallied"

#define CHANGE_NAMES                                                                               \
    "name, state, reason, named, rate_per_minute, max_in_flight, threshold_percent, "              \
    "threshold_min, flags, expire_at, started_at, finished_at, prepared, prepared_to, "            \
    "retried_to, excluded_on_version, excluded_busy, excluded_held, excluded_downgrade, "          \
    "open_stages, known_failures, known_successes, tokens, tokens_at, tallied"

#define TALLY_NAMES                                                                                \
    "waiting, message_sent, downloading, downloaded, upgrading, failed, succeeded, cancelled, "    \
    "confirmed, contradicted, overdue"

static const char *const statements[] = {
    [INSERT] =
        "INSERT INTO batch (product_id, firmware_id, version, mode, target, gate, "
        "timeout_ms, retry_max, retry_delay_ms, retry_on, start_at, created_at, " CHANGE_NAMES
        ") VALUES (:product_id, :firmware_id, :version, :mode, :target, :gate, "
        ":timeout_ms, :retry_max, :retry_delay_ms, :retry_on, :start_at, :created_at, "
        ":name, :state, :reason, :named, :rate_per_minute, :max_in_flight, "
        ":threshold_percent, :threshold_min, :flags, :expire_at, :started_at, "
        ":finished_at, :prepared, :prepared_to, :retried_to, :excluded_on_version, "
        ":excluded_busy, :excluded_held, :excluded_downgrade, :open_stages, "
        ":known_failures, :known_successes, :tokens, :tokens_at, :tallied)",
    [UPDATE] = "UPDATE batch SET " CHANGES " WHERE id = :id",
    [SET_BUCKET] = "UPDATE batch SET tokens = :tokens, tokens_at = :tokens_at WHERE id = :id",
    [MARK_PRUNED] = "UPDATE batch SET flags = flags | 32 WHERE id = :id",
    [LOAD] = "SELECT id, product_id, firmware_id, version, mode, target, gate, timeout_ms, "
             "retry_max, retry_delay_ms, retry_on, start_at, created_at, " CHANGE_NAMES
             " FROM batch WHERE product_id NOT IN (SELECT id FROM product WHERE name IS NULL) "
             "ORDER BY id",
    [STAGE_INSERT] = "INSERT INTO batch_stage (batch_id, seq, percent, count, min_success, "
                     "soak_ms, manual, state, end_key, opened_at, passed_ms) "
                     "VALUES (:id, :seq, :percent, :count, :min_success, :soak_ms, :manual, "
                     ":state, :end_key, :opened_at, :passed_ms)",
    [STAGE_UPDATE] = "UPDATE batch_stage SET state = :state, end_key = :end_key, "
                     "opened_at = :opened_at, passed_ms = :passed_ms, waiting = :waiting, "
                     "message_sent = :message_sent, downloading = :downloading, "
                     "downloaded = :downloaded, upgrading = :upgrading, failed = :failed, "
                     "succeeded = :succeeded, cancelled = :cancelled, confirmed = :confirmed, "
                     "contradicted = :contradicted, overdue = :overdue "
                     "WHERE batch_id = :id AND seq = :seq",
    [STAGES] =
        "SELECT batch_id, percent, count, min_success, soak_ms, manual, state, "
        "end_key, opened_at, passed_ms, " TALLY_NAMES " FROM batch_stage ORDER BY batch_id, seq",
    [NAME] = "INSERT INTO batch_device (batch_id, device_id) VALUES (:id, :device_id) "
             "ON CONFLICT DO NOTHING",
    [NAMED] = "SELECT device_id FROM batch_device WHERE batch_id = :id AND device_id > :after "
              "ORDER BY device_id",
    [IS_NAMED] = "SELECT 1 FROM batch_device WHERE batch_id = :id AND device_id = :device_id",
    [COUNT_NAMED] = "SELECT count(*) FROM batch_device WHERE batch_id = :id",
    [UNNAME] = "DELETE FROM batch_device WHERE batch_id = :id AND device_id IN "
               "(SELECT device_id FROM batch_device WHERE batch_id = :id LIMIT :rows)",
    [UNNAME_DEVICE] = "DELETE FROM batch_device WHERE device_id = :id AND batch_id IN "
                      "(SELECT batch_id FROM batch_device INDEXED BY batch_device_by_device "
                      "WHERE device_id = :id LIMIT :rows)",
    [FIRST_OF_PRODUCT] = "SELECT id FROM batch WHERE product_id = :id LIMIT 1",
    [STAGES_PURGE] = "DELETE FROM batch_stage WHERE batch_id = :id",
    [DELETE] = "DELETE FROM batch WHERE id = :id",
};

const struct ota_table ota_table_batch = OTA_TABLE("batch", statements);

static void begin(struct ota_query *query, struct ota_store *store, int which,
                  struct ota_error *error)
{
    ota_query_begin(query, &store->conn, OTA_TABLE_BATCH, which, error);
}

static void bind_changes(struct ota_query *query, const struct ota_batch_row *row)
{
    ota_bind_text(query, ":name", row->name);
    ota_bind_int(query, ":state", row->state);
    ota_bind_int(query, ":reason", row->reason);
    ota_bind_int(query, ":named", row->named);
    ota_bind_id(query, ":rate_per_minute", row->rate_per_minute);
    ota_bind_int(query, ":max_in_flight", row->max_in_flight);
    ota_bind_id(query, ":threshold_percent", row->threshold_percent);
    ota_bind_id(query, ":threshold_min", row->threshold_min);
    ota_bind_int(query, ":flags", row->flags);
    ota_bind_id(query, ":expire_at", row->expire_at);
    ota_bind_id(query, ":started_at", row->started_at);
    ota_bind_id(query, ":finished_at", row->finished_at);
    ota_bind_int(query, ":prepared", row->prepared);
    ota_bind_int(query, ":prepared_to", row->prepared_to);
    if (row->retrying) {
        ota_bind_int(query, ":retried_to", row->retried_to);
    }
    ota_bind_int(query, ":excluded_on_version", row->excluded[OTA_EXCLUDED_ON_VERSION]);
    ota_bind_int(query, ":excluded_busy", row->excluded[OTA_EXCLUDED_BUSY]);
    ota_bind_int(query, ":excluded_held", row->excluded[OTA_EXCLUDED_HELD]);
    ota_bind_int(query, ":excluded_downgrade", row->excluded[OTA_EXCLUDED_DOWNGRADE]);
    ota_bind_int(query, ":open_stages", row->open_stages);
    ota_bind_int(query, ":known_failures", row->known_failures);
    ota_bind_int(query, ":known_successes", row->known_successes);
    ota_bind_double(query, ":tokens", row->bucket.tokens);
    ota_bind_int(query, ":tokens_at", row->bucket.at);
    ota_bind_int(query, ":tallied", row->tallied);
}

static enum ota_err insert_row(struct ota_store *store, struct ota_batch_row *row,
                               const char *target, struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, INSERT, error);
    ota_bind_int(&query, ":product_id", row->product_id);
    ota_bind_int(&query, ":firmware_id", row->firmware_id);
    ota_bind_text(&query, ":version", row->version);
    ota_bind_int(&query, ":mode", row->mode);
    ota_bind_text(&query, ":target", target);
    ota_bind_int(&query, ":gate", row->gate);
    ota_bind_int(&query, ":timeout_ms", row->timeout_ms);
    ota_bind_int(&query, ":retry_max", row->retry_max);
    ota_bind_int(&query, ":retry_delay_ms", row->retry_delay_ms);
    ota_bind_text(&query, ":retry_on", row->retry_on);
    ota_bind_id(&query, ":start_at", row->start_at);
    ota_bind_int(&query, ":created_at", row->created_at);
    bind_changes(&query, row);
    return ota_query_insert(&query, &row->id);
}

static void bind_place(struct ota_query *query, const struct ota_stage *stage)
{
    ota_bind_int(query, ":state", stage->state);
    ota_bind_int(query, ":end_key", (int64_t)stage->end_key);
    ota_bind_id(query, ":opened_at", stage->opened_at);
    ota_bind_id(query, ":passed_ms", stage->passed_ms);
}

static enum ota_err insert_stage(struct ota_store *store, int64_t id, size_t seq,
                                 const struct ota_stage *stage, struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, STAGE_INSERT, error);
    ota_bind_int(&query, ":id", id);
    ota_bind_int(&query, ":seq", (int64_t)seq);
    ota_bind_double(&query, ":percent", stage->percent);
    ota_bind_int(&query, ":count", stage->count);
    ota_bind_int(&query, ":min_success", stage->min_success_percent);
    ota_bind_int(&query, ":soak_ms", stage->soak_ms);
    ota_bind_int(&query, ":manual", stage->manual);
    bind_place(&query, stage);
    return ota_query_write(&query);
}

enum ota_err ota_batch_insert(struct ota_store *store, struct ota_batch_row *row,
                              const char *target, const struct ota_stage *stages,
                              size_t stage_count, struct ota_error *error)
{
    enum ota_err err = insert_row(store, row, target, error);
    for (size_t i = 0; err == OTA_OK && i < stage_count; i++) {
        err = insert_stage(store, row->id, i, &stages[i], error);
    }
    return err;
}

enum ota_err ota_batch_update(struct ota_store *store, const struct ota_batch_row *row,
                              struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, UPDATE, error);
    bind_changes(&query, row);
    ota_bind_int(&query, ":id", row->id);
    return ota_query_write_row(&query);
}

enum ota_err ota_batch_set_bucket(struct ota_store *store, int64_t id,
                                  const struct ota_bucket *bucket, struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, SET_BUCKET, error);
    ota_bind_double(&query, ":tokens", bucket->tokens);
    ota_bind_int(&query, ":tokens_at", bucket->at);
    ota_bind_int(&query, ":id", id);
    return ota_query_write_row(&query);
}

enum ota_err ota_batch_mark_pruned(struct ota_store *store, int64_t id, struct ota_error *error)
{
    return ota_write_id(store, OTA_TABLE_BATCH, MARK_PRUNED, id, error);
}

enum ota_err ota_batch_update_stage(struct ota_store *store, int64_t id, size_t seq,
                                    const struct ota_stage *stage, struct ota_error *error)
{
    const struct ota_tally *tally = &stage->tally;
    struct ota_query query;
    begin(&query, store, STAGE_UPDATE, error);
    bind_place(&query, stage);
    ota_bind_int(&query, ":waiting", tally->by_status[OTA_WAITING]);
    ota_bind_int(&query, ":message_sent", tally->by_status[OTA_MESSAGE_SENT]);
    ota_bind_int(&query, ":downloading", tally->by_status[OTA_DOWNLOADING]);
    ota_bind_int(&query, ":downloaded", tally->by_status[OTA_DOWNLOADED]);
    ota_bind_int(&query, ":upgrading", tally->by_status[OTA_UPGRADING]);
    ota_bind_int(&query, ":failed", tally->by_status[OTA_FAILED]);
    ota_bind_int(&query, ":succeeded", tally->by_status[OTA_SUCCEEDED]);
    ota_bind_int(&query, ":cancelled", tally->by_status[OTA_CANCELLED]);
    ota_bind_int(&query, ":confirmed", tally->confirmed);
    ota_bind_int(&query, ":contradicted", tally->contradicted);
    ota_bind_int(&query, ":overdue", tally->overdue);
    ota_bind_int(&query, ":id", id);
    ota_bind_int(&query, ":seq", (int64_t)seq);
    return ota_query_write_row(&query);
}

/* --- reading -------------------------------------------------------------------------------- */

#define TARGET_MAX 8192 /* versions and tags of a target, as JSON */

static void read_row(struct ota_query *query, struct ota_batch_row *row, char *target)
{
    row->id = ota_next_int(query);
    row->product_id = ota_next_int(query);
    row->firmware_id = ota_next_int(query);
    ota_next_text(query, row->version, sizeof row->version);
    row->mode = (enum ota_batch_mode)ota_next_choice(query, OTA_MODE_COUNT);
    ota_next_text(query, target, TARGET_MAX);
    row->gate = (enum ota_gate)ota_next_choice(query, OTA_GATE_COUNT);
    row->timeout_ms = ota_next_int(query);
    row->retry_max = (int)ota_next_int(query);
    row->retry_delay_ms = ota_next_int(query);
    ota_next_text(query, row->retry_on, sizeof row->retry_on);
    row->start_at = ota_next_int(query);
    row->created_at = ota_next_int(query);
    ota_next_text(query, row->name, sizeof row->name);
    row->state = (enum ota_batch_state)ota_next_choice(query, OTA_BATCH_STATE_COUNT);
    row->reason = (enum ota_batch_reason)ota_next_choice(query, OTA_REASON_COUNT);
    row->named = ota_next_int(query) != 0;
    row->rate_per_minute = ota_next_int(query);
    row->max_in_flight = ota_next_int(query);
    row->threshold_percent = (int)ota_next_int(query);
    row->threshold_min = ota_next_int(query);
    row->flags = (unsigned)ota_next_int(query);
    row->expire_at = ota_next_int(query);
    row->started_at = ota_next_int(query);
    row->finished_at = ota_next_int(query);
    row->prepared = (enum ota_prepared)ota_next_choice(query, OTA_PREPARED_FULLY + 1);
    row->prepared_to = ota_next_int(query);
    row->retrying = !ota_next_is_null(query);
    row->retried_to = ota_next_int(query);
    for (int i = 0; i < OTA_EXCLUSION_COUNT; i++) {
        row->excluded[i] = (uint32_t)ota_next_int(query);
    }
    row->open_stages = ota_next_int(query);
    row->known_failures = ota_next_int(query);
    row->known_successes = ota_next_int(query);
    row->bucket.tokens = ota_next_double(query);
    row->bucket.at = ota_next_int(query);
    row->tallied = ota_next_int(query) != 0;
}

enum ota_err ota_batch_load(struct ota_store *store, ota_batch_fn fn, void *data,
                            struct ota_error *error)
{
    struct ota_batch_row row = {0};
    char target[TARGET_MAX];
    struct ota_query query;
    begin(&query, store, LOAD, error);
    while (ota_query_row(&query)) {
        read_row(&query, &row, target);
        if (!fn(data, &row, target)) {
            break;
        }
    }
    return ota_query_end(&query);
}

static void read_stage(struct ota_query *query, struct ota_stage *stage)
{
    stage->percent = ota_next_double(query);
    stage->count = ota_next_int(query);
    stage->min_success_percent = (int)ota_next_int(query);
    stage->soak_ms = ota_next_int(query);
    stage->manual = ota_next_int(query) != 0;
    stage->state = (enum ota_stage_state)ota_next_choice(query, OTA_STAGE_STATE_COUNT);
    stage->end_key = (uint64_t)ota_next_int(query);
    stage->opened_at = ota_next_int(query);
    stage->passed_ms = ota_next_int(query);
    for (int i = 0; i < OTA_STATUS_COUNT; i++) {
        stage->tally.by_status[i] = (uint32_t)ota_next_int(query);
    }
    stage->tally.confirmed = (uint32_t)ota_next_int(query);
    stage->tally.contradicted = (uint32_t)ota_next_int(query);
    stage->tally.overdue = (uint32_t)ota_next_int(query);
}

enum ota_err ota_batch_load_stages(struct ota_store *store, ota_stage_fn fn, void *data,
                                   struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, STAGES, error);
    while (ota_query_row(&query)) {
        struct ota_stage stage = {0};
        int64_t id = ota_next_int(&query);
        read_stage(&query, &stage);
        if (!fn(data, id, &stage)) {
            break;
        }
    }
    return ota_query_end(&query);
}

/* --- the list of named devices ---------------------------------------------------------------- */

enum ota_err ota_batch_name_device(struct ota_store *store, int64_t id, int64_t device_id,
                                   struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, NAME, error);
    ota_bind_int(&query, ":id", id);
    ota_bind_int(&query, ":device_id", device_id);
    return ota_query_write(&query);
}

enum ota_err ota_batch_named(struct ota_store *store, int64_t id, int64_t after, ota_id_fn fn,
                             void *data, struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, NAMED, error);
    ota_bind_int(&query, ":id", id);
    ota_bind_int(&query, ":after", after);
    while (ota_query_row(&query) && fn(data, ota_next_int(&query))) {
    }
    return ota_query_end(&query);
}

enum ota_err ota_batch_is_named(struct ota_store *store, int64_t id, int64_t device_id, bool *named,
                                struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, IS_NAMED, error);
    ota_bind_int(&query, ":id", id);
    ota_bind_int(&query, ":device_id", device_id);
    *named = ota_query_row(&query);
    return ota_query_end(&query);
}

enum ota_err ota_batch_count_named(struct ota_store *store, int64_t id, int64_t *count,
                                   struct ota_error *error)
{
    return ota_read_id(store, OTA_TABLE_BATCH, COUNT_NAMED, id, count, error);
}

/* --- going ------------------------------------------------------------------------------------ */

enum ota_err ota_batch_unname(struct ota_store *store, int64_t id, int rows, bool *left,
                              struct ota_error *error)
{
    enum ota_err err = ota_purge_some(store, OTA_TABLE_BATCH, UNNAME, id, &rows, error);
    if (err == OTA_OK) {
        *left = rows == 0;
    }
    return err;
}

enum ota_err ota_batch_unname_device(struct ota_store *store, int64_t device_id, int *budget,
                                     struct ota_error *error)
{
    return ota_purge_some(store, OTA_TABLE_BATCH, UNNAME_DEVICE, device_id, budget, error);
}

/* The row itself goes last, when the budget has outlived all that refers to it. */
static enum ota_err purge_one(struct ota_store *store, int64_t id, int *budget,
                              struct ota_error *error)
{
    enum ota_err err = ota_purge_some(store, OTA_TABLE_BATCH, UNNAME, id, budget, error);
    if (err != OTA_OK || *budget <= 0) {
        return err;
    }
    err = ota_write_id(store, OTA_TABLE_BATCH, STAGES_PURGE, id, error);
    if (err == OTA_OK || err == OTA_NOT_FOUND) {
        err = ota_write_id(store, OTA_TABLE_BATCH, DELETE, id, error);
        (*budget)--;
    }
    return err;
}

enum ota_err ota_batch_purge(struct ota_store *store, int64_t product_id, int *budget,
                             struct ota_error *error)
{
    static const struct ota_purge purge = {OTA_TABLE_BATCH, FIRST_OF_PRODUCT, purge_one};
    return ota_purge_each(store, &purge, product_id, budget, NULL, error);
}
