/* SPDX-License-Identifier: BSD-3-Clause */
/* Of tasks what is counted, and no more: a fleet has many. */
#include "store_internal.h"

enum { OF_BATCH, OF_PRODUCT };

#define COLUMNS "id, device_id, status, confirmation, ending, result_code, from_version"

static const char *const statements[] = {
    [OF_BATCH] = "SELECT " COLUMNS " FROM task INDEXED BY task_by_batch "
                 "WHERE batch_id = :key AND id > :after ORDER BY id",
    [OF_PRODUCT] = "SELECT " COLUMNS " FROM task INDEXED BY task_by_product "
                   "WHERE product_id = :key AND id > :after ORDER BY id",
};

const struct ota_table ota_table_outcome = OTA_TABLE("outcome", statements);

static void read_outcome(struct ota_query *query, struct ota_task_outcome *outcome)
{
    outcome->id = ota_next_int(query);
    outcome->device_id = ota_next_int(query);
    outcome->status = (enum ota_status)ota_next_choice(query, OTA_STATUS_COUNT);
    outcome->confirmation = (enum ota_confirmation)ota_next_choice(query, OTA_CONFIRMATION_COUNT);
    outcome->ending = (enum ota_ending)ota_next_choice(query, OTA_ENDING_COUNT);
    outcome->has_result_code = !ota_next_is_null(query);
    outcome->result_code = (int)ota_next_int(query);
    ota_next_text(query, outcome->from_version, sizeof outcome->from_version);
}

static enum ota_err tell(struct ota_store *store, int which, int64_t key, int64_t after,
                         ota_task_outcome_fn fn, void *data, struct ota_error *error)
{
    struct ota_task_outcome outcome;
    struct ota_query query;
    ota_query_begin(&query, &store->conn, OTA_TABLE_OUTCOME, which, error);
    ota_bind_int(&query, ":key", key);
    ota_bind_int(&query, ":after", after);
    while (ota_query_row(&query)) {
        read_outcome(&query, &outcome);
        if (query.err != OTA_OK || !fn(data, &outcome)) {
            break;
        }
    }
    return ota_query_end(&query);
}

enum ota_err ota_task_outcomes_of_batch(struct ota_store *store, int64_t batch_id, int64_t after,
                                        ota_task_outcome_fn fn, void *data, struct ota_error *error)
{
    return tell(store, OF_BATCH, batch_id, after, fn, data, error);
}

enum ota_err ota_task_outcomes_of_product(struct ota_store *store, int64_t product_id,
                                          int64_t after, ota_task_outcome_fn fn, void *data,
                                          struct ota_error *error)
{
    return tell(store, OF_PRODUCT, product_id, after, fn, data, error);
}
