/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "store_internal.h"

enum {
    INSERT,
    INSERT_MANY,
    NONE_TRIED_AGAIN,
    DEVICE,
    SET_LAST_TASK,
    NEWEST,
    LAST,
    TRIED_AGAIN,
    GET,
    CHANGE,
    CHANGE_FINISHED,
    SET_PERCENT,
    LOAD,
    LIST,
    LIST_OF_PRODUCT,
    LIST_OF_DEVICE,
    LIST_OF_BATCH,
    OF_BATCH,
    OF_DEVICE,
    AGES,
    LAST_EVENT,
    IN_BATCH,
    COUNT_IN_BATCH,
    BUSY,
    FIRST_OF_DEVICE,
    FIRST_OF_PRODUCT,
    SET_LAST_EVENT,
    DELETE,
    EVENT_INSERT,
    EVENTS,
    EVENT_PREV,
    EVENT_DELETE
};

#define COLUMNS                                                                                    \
    "id, product_id, device_id, firmware_id, batch_id, version, from_version, status, "            \
    "confirmation, ending, attempt, percent, result_code, device_message, flags, timeout_ms, "     \
    "retry_max, retry_delay_ms, retry_on, retries, created_at, sent_at, updated_at, finished_at, " \
    "deadline_ms, settle_until_ms, last_event"

/* All that can change, but finished_at. */
#define CHANGES                                                                                    \
    "status = :status, confirmation = :confirmation, ending = :ending, attempt = :attempt, "       \
    "percent = :percent, result_code = :result_code, "                                             \
    "device_message = :device_message, flags = :flags, retries = :retries, sent_at = :sent_at, "   \
    "updated_at = :updated_at, deadline_ms = :deadline_ms, settle_until_ms = :settle_until_ms, "   \
    "last_event = :last_event"

#define NEWEST_FIRST "ORDER BY id DESC LIMIT :rows"

static const char *const statements[] = {
    [INSERT] = "INSERT INTO task (product_id, device_id, firmware_id, batch_id, version, "
               "from_version, timeout_ms, retry_max, retry_delay_ms, retry_on, created_at, "
               "finished_at, last_event, status, confirmation, ending, attempt, percent, "
               "result_code, device_message, flags, retries, sent_at, updated_at, deadline_ms, "
               "settle_until_ms) "
               "VALUES (:product_id, :device_id, :firmware_id, :batch_id, :version, "
               ":from_version, :timeout_ms, :retry_max, :retry_delay_ms, :retry_on, "
               ":created_at, :finished_at, :last_event, :status, :confirmation, :ending, "
               ":attempt, :percent, :result_code, :device_message, :flags, :retries, :sent_at, "
               ":updated_at, :deadline_ms, :settle_until_ms)",
    [INSERT_MANY] =
        "INSERT INTO task (product_id, device_id, firmware_id, batch_id, version, from_version, "
        "status, flags, timeout_ms, retry_max, retry_delay_ms, retry_on, created_at, updated_at) "
        "SELECT product_id, id, :firmware_id, :batch_id, :version, version, :status, "
        "CASE WHEN version = :version THEN :reinstall ELSE :flags END, :timeout_ms, :retry_max, "
        ":retry_delay_ms, :retry_on, :created_at, :updated_at "
        "FROM device WHERE id BETWEEN :from AND :to AND ota_listed(id)",
    [NONE_TRIED_AGAIN] = "UPDATE device INDEXED BY device_tried_again SET last_task = NULL "
                         "WHERE last_task IS NOT NULL AND id BETWEEN :from AND :to "
                         "AND ota_listed(id)",
    [DEVICE] = "SELECT product_id, last_task FROM device WHERE id = :id",
    [SET_LAST_TASK] = "UPDATE device SET last_task = :task WHERE id = :id",
    [NEWEST] = "SELECT max(id) FROM task INDEXED BY task_by_device WHERE device_id = :id",
    [LAST] = "SELECT device_id, max(id) FROM task INDEXED BY task_by_device GROUP BY device_id",
    [TRIED_AGAIN] = "SELECT id, last_task FROM device INDEXED BY device_tried_again "
                    "WHERE last_task IS NOT NULL",
    [GET] = "SELECT " COLUMNS " FROM task WHERE id = :id",
    /* Naming finished_at in SET would rewrite its index's entry, a page more, even if it stays. */
    [CHANGE] = "UPDATE task SET " CHANGES " WHERE id = :id AND finished_at IS :finished_at",
    [CHANGE_FINISHED] = "UPDATE task SET " CHANGES ", finished_at = :finished_at WHERE id = :id",
    [SET_PERCENT] = "UPDATE task SET percent = :percent WHERE id = :id",
    /* The index has them by device; the subquery's result is sorted by id, at 8 bytes a task. */
    [LOAD] = "SELECT " COLUMNS " FROM task WHERE id IN "
             "(SELECT id FROM task INDEXED BY task_unfinished WHERE finished_at IS NULL) "
             "ORDER BY id",
    [LIST] = "SELECT " COLUMNS " FROM task WHERE id < :before " NEWEST_FIRST,
    [LIST_OF_PRODUCT] = "SELECT " COLUMNS " FROM task INDEXED BY task_by_product "
                        "WHERE product_id = :key AND id < :before " NEWEST_FIRST,
    [LIST_OF_DEVICE] = "SELECT " COLUMNS " FROM task INDEXED BY task_by_device "
                       "WHERE device_id = :key AND id < :before " NEWEST_FIRST,
    [LIST_OF_BATCH] = "SELECT " COLUMNS " FROM task INDEXED BY task_by_batch "
                      "WHERE batch_id = :key AND id < :before " NEWEST_FIRST,
    [OF_BATCH] = "SELECT " COLUMNS " FROM task INDEXED BY task_by_batch "
                 "WHERE batch_id = :key AND id > :after ORDER BY id",
    [OF_DEVICE] = "SELECT " COLUMNS " FROM task INDEXED BY task_by_device "
                  "WHERE device_id = :key AND id > :after ORDER BY id",
    [AGES] = "SELECT id, device_id, batch_id, created_at, finished_at FROM task "
             "WHERE id > :after ORDER BY id",
    [LAST_EVENT] = "SELECT last_event FROM task WHERE id = :id",
    [IN_BATCH] = "SELECT " COLUMNS " FROM task INDEXED BY task_by_device "
                 "WHERE device_id = :id AND batch_id = :batch ORDER BY id DESC LIMIT 1",
    [COUNT_IN_BATCH] = "SELECT count(*) FROM task INDEXED BY task_by_device "
                       "WHERE device_id = :id AND batch_id = :batch",
    [BUSY] = "SELECT EXISTS (SELECT 1 FROM task INDEXED BY task_unfinished "
             "WHERE device_id = :id AND finished_at IS NULL)",
    [FIRST_OF_DEVICE] = "SELECT id, last_event FROM task WHERE device_id = :id ORDER BY id LIMIT 1",
    [FIRST_OF_PRODUCT] = "SELECT id, last_event FROM task INDEXED BY task_by_product "
                         "WHERE product_id = :id ORDER BY id LIMIT 1",
    [SET_LAST_EVENT] = "UPDATE task SET last_event = :event WHERE id = :id",
    [DELETE] = "DELETE FROM task WHERE id = :id",
    [EVENT_INSERT] = "INSERT INTO event (task_id, prev, at, status, percent, detail) "
                     "VALUES (:task_id, :prev, :at, :status, :percent, :detail)",
    [EVENTS] = "WITH RECURSIVE chain (id, prev, at, status, percent, detail) AS ("
               "SELECT e.id, e.prev, e.at, e.status, e.percent, e.detail "
               "FROM task t CROSS JOIN event e ON e.id = t.last_event WHERE t.id = :id "
               "UNION ALL SELECT e.id, e.prev, e.at, e.status, e.percent, e.detail "
               "FROM chain c CROSS JOIN event e ON e.id = c.prev LIMIT :rows) "
               "SELECT at, status, percent, detail FROM chain ORDER BY id",
    [EVENT_PREV] = "SELECT prev FROM event WHERE id = :id",
    [EVENT_DELETE] = "DELETE FROM event WHERE id = :id",
};

const struct ota_table ota_table_task = OTA_TABLE("task", statements);

static void begin(struct ota_query *query, struct ota_store *store, int which,
                  struct ota_error *error)
{
    ota_query_begin(query, &store->conn, OTA_TABLE_TASK, which, error);
}

static void read_row(struct ota_query *query, void *data)
{
    struct ota_task_row *row = data;
    row->id = ota_next_int(query);
    row->product_id = ota_next_int(query);
    row->device_id = ota_next_int(query);
    row->firmware_id = ota_next_int(query);
    row->batch_id = ota_next_int(query);
    ota_next_text(query, row->version, sizeof row->version);
    ota_next_text(query, row->from_version, sizeof row->from_version);
    row->status = (enum ota_status)ota_next_choice(query, OTA_STATUS_COUNT);
    row->confirmation = (enum ota_confirmation)ota_next_choice(query, OTA_CONFIRMATION_COUNT);
    row->ending = (enum ota_ending)ota_next_choice(query, OTA_ENDING_COUNT);
    row->attempt = (int)ota_next_int(query);
    row->percent = (int)ota_next_int(query);
    row->has_result_code = !ota_next_is_null(query);
    row->result_code = (int)ota_next_int(query);
    ota_next_text(query, row->device_message, sizeof row->device_message);
    row->flags = (unsigned)ota_next_int(query);
    row->timeout_ms = ota_next_int(query);
    row->retry_max = (int)ota_next_int(query);
    row->retry_delay_ms = ota_next_int(query);
    ota_next_text(query, row->retry_on, sizeof row->retry_on);
    row->retries = (int)ota_next_int(query);
    row->created_at = ota_next_int(query);
    row->sent_at = ota_next_int(query);
    row->updated_at = ota_next_int(query);
    row->finished_at = ota_next_int(query);
    row->deadline = ota_next_int(query);
    row->settle_until = ota_next_int(query);
    row->last_event = ota_next_int(query);
}

/* What CHANGES names but last_event, in its order. */
static void bind_changes(struct ota_query *query, const struct ota_task_row *row)
{
    ota_bind_int(query, ":status", row->status);
    ota_bind_int(query, ":confirmation", row->confirmation);
    ota_bind_int(query, ":ending", row->ending);
    ota_bind_int(query, ":attempt", row->attempt);
    ota_bind_int(query, ":percent", row->percent);
    if (row->has_result_code) {
        ota_bind_int(query, ":result_code", row->result_code);
    }
    ota_bind_text(query, ":device_message", row->device_message);
    ota_bind_int(query, ":flags", row->flags);
    ota_bind_int(query, ":retries", row->retries);
    ota_bind_id(query, ":sent_at", row->sent_at);
    ota_bind_int(query, ":updated_at", row->updated_at);
    ota_bind_id(query, ":deadline_ms", row->deadline);
    ota_bind_id(query, ":settle_until_ms", row->settle_until);
}

static enum ota_err insert_row(struct ota_store *store, const struct ota_task_row *row,
                               int64_t product_id, struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, INSERT, error);
    ota_bind_int(&query, ":product_id", product_id);
    ota_bind_int(&query, ":device_id", row->device_id);
    ota_bind_int(&query, ":firmware_id", row->firmware_id);
    ota_bind_id(&query, ":batch_id", row->batch_id);
    ota_bind_text(&query, ":version", row->version);
    ota_bind_word(&query, ":from_version", row->from_version);
    ota_bind_int(&query, ":timeout_ms", row->timeout_ms);
    ota_bind_int(&query, ":retry_max", row->retry_max);
    ota_bind_int(&query, ":retry_delay_ms", row->retry_delay_ms);
    ota_bind_text(&query, ":retry_on", row->retry_on);
    ota_bind_int(&query, ":created_at", row->created_at);
    ota_bind_id(&query, ":finished_at", row->finished_at);
    ota_bind_id(&query, ":last_event", row->last_event);
    bind_changes(&query, row);
    return ota_query_write(&query);
}

static enum ota_err set_last_task(struct ota_store *store, int64_t device_id, int64_t task,
                                  struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, SET_LAST_TASK, error);
    ota_bind_id(&query, ":task", task);
    ota_bind_int(&query, ":id", device_id);
    return ota_query_write_row(&query);
}

/* The task is the device's last one now, though newer ones may be there. */
static enum ota_err make_last(struct ota_store *store, const struct ota_task_row *row,
                              struct ota_error *error)
{
    int64_t newest = 0;
    enum ota_err err = ota_read_id(store, OTA_TABLE_TASK, NEWEST, row->device_id, &newest, error);
    return err == OTA_OK
               ? set_last_task(store, row->device_id, newest != row->id ? row->id : 0, error)
               : err;
}

enum ota_err ota_task_insert(struct ota_store *store, struct ota_task_row *row,
                             struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, DEVICE, error);
    ota_bind_int(&query, ":id", row->device_id);
    bool found = ota_query_row(&query);
    int64_t product_id = found ? ota_next_int(&query) : 0;
    bool older_is_last = found && !ota_next_is_null(&query);
    enum ota_err err = ota_query_end_found(&query, found);
    if (err == OTA_OK) {
        err = insert_row(store, row, product_id, error);
    }
    int64_t id = err == OTA_OK ? sqlite3_last_insert_rowid(store->conn.db) : 0;
    if (err == OTA_OK && older_is_last) {
        err = set_last_task(store, row->device_id, 0, error);
    }
    if (err == OTA_OK) {
        row->id = id;
        row->product_id = product_id;
    }
    return err;
}

/* Runs a statement over the listed devices. */
static enum ota_err write_listed(struct ota_store *store, struct ota_query *query,
                                 const uint32_t *devices, size_t count)
{
    store->listed = devices;
    store->listed_count = count;
    ota_bind_int(query, ":from", devices[0]);
    ota_bind_int(query, ":to", devices[count - 1]);
    enum ota_err err = ota_query_write(query);
    store->listed_count = 0;
    return err;
}

static enum ota_err insert_listed(struct ota_store *store, const struct ota_task_row *common,
                                  unsigned reinstall, const uint32_t *devices, size_t count,
                                  struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, INSERT_MANY, error);
    ota_bind_int(&query, ":firmware_id", common->firmware_id);
    ota_bind_id(&query, ":batch_id", common->batch_id);
    ota_bind_text(&query, ":version", common->version);
    ota_bind_int(&query, ":status", common->status);
    ota_bind_int(&query, ":reinstall", reinstall);
    ota_bind_int(&query, ":flags", common->flags);
    ota_bind_int(&query, ":timeout_ms", common->timeout_ms);
    ota_bind_int(&query, ":retry_max", common->retry_max);
    ota_bind_int(&query, ":retry_delay_ms", common->retry_delay_ms);
    ota_bind_text(&query, ":retry_on", common->retry_on);
    ota_bind_int(&query, ":created_at", common->created_at);
    ota_bind_int(&query, ":updated_at", common->updated_at);
    return write_listed(store, &query, devices, count);
}

enum ota_err ota_task_insert_many(struct ota_store *store, const struct ota_task_row *common,
                                  unsigned reinstall, const uint32_t *devices, size_t count,
                                  int64_t *first_id, struct ota_error *error)
{
    enum ota_err err = insert_listed(store, common, reinstall, devices, count, error);
    if (err != OTA_OK) {
        return err;
    }
    if ((size_t)sqlite3_changes(store->conn.db) != count) {
        return ota_error_set(error, OTA_INTERNAL, NULL, "a device of memory isn't in %s",
                             store->conn.path);
    }
    *first_id = sqlite3_last_insert_rowid(store->conn.db) - (int64_t)count + 1;
    struct ota_query query;
    begin(&query, store, NONE_TRIED_AGAIN, error);
    return write_listed(store, &query, devices, count);
}

enum ota_err ota_task_get(struct ota_store *store, int64_t id, struct ota_task_row *row,
                          struct ota_error *error)
{
    return ota_read_row(store, OTA_TABLE_TASK, GET, id, read_row, row, error);
}

static enum ota_err append_event(struct ota_store *store, const struct ota_task_row *row,
                                 const struct ota_event_row *event, int64_t *id,
                                 struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, EVENT_INSERT, error);
    ota_bind_int(&query, ":task_id", row->id);
    ota_bind_id(&query, ":prev", row->last_event);
    ota_bind_int(&query, ":at", event->at);
    ota_bind_int(&query, ":status", event->status);
    ota_bind_int(&query, ":percent", event->percent);
    ota_bind_text(&query, ":detail", event->detail);
    return ota_query_insert(&query, id);
}

static enum ota_err write_change(struct ota_store *store, int which, const struct ota_task_row *row,
                                 int64_t last_event, struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, which, error);
    bind_changes(&query, row);
    ota_bind_int(&query, ":last_event", last_event);
    ota_bind_int(&query, ":id", row->id);
    ota_bind_id(&query, ":finished_at", row->finished_at);
    return ota_query_write_row(&query);
}

enum ota_err ota_task_change(struct ota_store *store, struct ota_task_row *row,
                             const struct ota_event_row *event, struct ota_error *error)
{
    int64_t last_event = 0;
    enum ota_err err = append_event(store, row, event, &last_event, error);
    if (err == OTA_OK) {
        err = write_change(store, CHANGE, row, last_event, error);
    }
    if (err == OTA_NOT_FOUND) {
        err = write_change(store, CHANGE_FINISHED, row, last_event, error);
        if (err == OTA_OK && row->finished_at == 0) { /* an old task that is tried again */
            err = make_last(store, row, error);
        }
    }
    if (err == OTA_OK) {
        row->last_event = last_event;
    }
    return err;
}

enum ota_err ota_task_set_percent(struct ota_store *store, int64_t id, int percent,
                                  struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, SET_PERCENT, error);
    ota_bind_int(&query, ":percent", percent);
    ota_bind_int(&query, ":id", id);
    return ota_query_write_row(&query);
}

static enum ota_err tell_rows(struct ota_query *query, ota_task_fn fn, void *data)
{
    struct ota_task_row row;
    while (ota_query_row(query)) {
        read_row(query, &row);
        if (!fn(data, &row)) {
            break;
        }
    }
    return ota_query_end(query);
}

enum ota_err ota_task_load(struct ota_store *store, ota_task_fn fn, void *data,
                           struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, LOAD, error);
    return tell_rows(&query, fn, data);
}

static enum ota_err tell_rows_of(struct ota_store *store, int which, int64_t key, int64_t after,
                                 ota_task_fn fn, void *data, struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, which, error);
    ota_bind_int(&query, ":key", key);
    ota_bind_int(&query, ":after", after);
    return tell_rows(&query, fn, data);
}

enum ota_err ota_task_of_batch(struct ota_store *store, int64_t batch_id, int64_t after,
                               ota_task_fn fn, void *data, struct ota_error *error)
{
    return tell_rows_of(store, OF_BATCH, batch_id, after, fn, data, error);
}

enum ota_err ota_task_of_device(struct ota_store *store, int64_t device_id, int64_t after,
                                ota_task_fn fn, void *data, struct ota_error *error)
{
    return tell_rows_of(store, OF_DEVICE, device_id, after, fn, data, error);
}

enum ota_err ota_task_ages(struct ota_store *store, int64_t after, ota_task_age_fn fn, void *data,
                           struct ota_error *error)
{
    struct ota_task_age row;
    struct ota_query query;
    begin(&query, store, AGES, error);
    ota_bind_int(&query, ":after", after);
    while (ota_query_row(&query)) {
        row.id = ota_next_int(&query);
        row.device_id = ota_next_int(&query);
        row.batch_id = ota_next_int(&query);
        row.created_at = ota_next_int(&query);
        row.finished_at = ota_next_int(&query);
        if (!fn(data, &row)) {
            break;
        }
    }
    return ota_query_end(&query);
}

enum ota_err ota_task_in_batch(struct ota_store *store, int64_t device_id, int64_t batch_id,
                               struct ota_task_row *row, struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, IN_BATCH, error);
    ota_bind_int(&query, ":id", device_id);
    ota_bind_int(&query, ":batch", batch_id);
    bool found = ota_query_row(&query);
    if (found) {
        read_row(&query, row);
    }
    return ota_query_end_found(&query, found);
}

enum ota_err ota_task_count_in_batch(struct ota_store *store, int64_t device_id, int64_t batch_id,
                                     int *count, struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, COUNT_IN_BATCH, error);
    ota_bind_int(&query, ":id", device_id);
    ota_bind_int(&query, ":batch", batch_id);
    *count = ota_query_row(&query) ? (int)ota_next_int(&query) : 0;
    return ota_query_end(&query);
}

static enum ota_err tell_last(struct ota_store *store, int which, ota_last_task_fn fn, void *data,
                              struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, which, error);
    while (ota_query_row(&query)) {
        int64_t device_id = ota_next_int(&query);
        if (!fn(data, device_id, ota_next_int(&query))) {
            break;
        }
    }
    return ota_query_end(&query);
}

enum ota_err ota_task_load_last(struct ota_store *store, ota_last_task_fn fn, void *data,
                                struct ota_error *error)
{
    enum ota_err err = tell_last(store, LAST, fn, data, error);
    return err == OTA_OK ? tell_last(store, TRIED_AGAIN, fn, data, error) : err;
}

static bool is_shown_as(const struct ota_store *store, const struct ota_task_row *row,
                        enum ota_shown shown)
{
    bool online = store->online != NULL && row->status == OTA_WAITING &&
                  store->online(store->online_data, row->device_id);
    return ota_shown_of(row->status, online) == shown;
}

static bool matches(const struct ota_store *store, const struct ota_task_filter *filter,
                    const struct ota_task_row *row)
{
    return (filter->product_id == 0 || filter->product_id == row->product_id) &&
           (filter->device_id == 0 || filter->device_id == row->device_id) &&
           (filter->batch_id == 0 || filter->batch_id == row->batch_id) &&
           (filter->version == NULL || strcmp(filter->version, row->version) == 0) &&
           (filter->shown == OTA_SHOWN_COUNT || is_shown_as(store, row, filter->shown));
}

/* By the index that leaves the fewest rows to look at. */
static void begin_list(struct ota_query *query, struct ota_store *store,
                       const struct ota_task_filter *filter, struct ota_error *error)
{
    int which = LIST;
    int64_t key = 0;
    if (filter->device_id != 0) {
        which = LIST_OF_DEVICE;
        key = filter->device_id;
    } else if (filter->batch_id != 0) {
        which = LIST_OF_BATCH;
        key = filter->batch_id;
    } else if (filter->product_id != 0) {
        which = LIST_OF_PRODUCT;
        key = filter->product_id;
    }
    begin(query, store, which, error);
    ota_bind_id(query, ":key", key);
    ota_bind_int(query, ":rows", OTA_LIST_EXAMINED + 1);
}

enum ota_err ota_task_list(struct ota_store *store, const struct ota_task_filter *filter,
                           int64_t before, ota_task_fn fn, void *data, int64_t *last, bool *more,
                           struct ota_error *error)
{
    struct ota_task_row row = {.id = before};
    struct ota_query query;
    begin_list(&query, store, filter, error);
    ota_bind_int(&query, ":before", before != 0 ? before : INT64_MAX);

    int examined = 0;
    bool going = true;
    bool found = false;
    /* One row more is stepped onto, but not looked at: it tells that there are more. */
    while ((found = ota_query_row(&query)) && going && examined < OTA_LIST_EXAMINED) {
        read_row(&query, &row);
        examined++;
        going = !matches(store, filter, &row) || fn(data, &row);
    }
    enum ota_err err = ota_query_end(&query);
    if (err == OTA_OK) {
        *last = row.id;
        *more = found;
    }
    return err;
}

enum ota_err ota_task_events(struct ota_store *store, int64_t id, ota_event_fn fn, void *data,
                             struct ota_error *error)
{
    struct ota_event_row row = {.task_id = id};
    struct ota_query query;
    begin(&query, store, EVENTS, error);
    ota_bind_int(&query, ":id", id);
    ota_bind_int(&query, ":rows", OTA_EVENTS_MAX);
    while (ota_query_row(&query)) {
        row.at = ota_next_int(&query);
        row.status = (enum ota_status)ota_next_choice(&query, OTA_STATUS_COUNT);
        row.percent = (int)ota_next_int(&query);
        ota_next_text(&query, row.detail, sizeof row.detail);
        if (!fn(data, &row)) {
            break;
        }
    }
    return ota_query_end(&query);
}

enum ota_err ota_task_busy(struct ota_store *store, int64_t device_id, bool *busy,
                           struct ota_error *error)
{
    int64_t found = 0;
    enum ota_err err = ota_read_id(store, OTA_TABLE_TASK, BUSY, device_id, &found, error);
    if (err == OTA_OK) {
        *busy = found != 0;
    }
    return err;
}

/* id is 0 where the owner has no task. */
static enum ota_err first_of(struct ota_store *store, int which, int64_t owner, int64_t *id,
                             int64_t *last_event, struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, which, error);
    ota_bind_int(&query, ":id", owner);
    bool found = ota_query_row(&query);
    *id = found ? ota_next_int(&query) : 0;
    *last_event = found ? ota_next_int(&query) : 0;
    return ota_query_end(&query);
}

/* Walks the chain from its head; *event is where it ends, 0 at the chain's end. */
static enum ota_err purge_events(struct ota_store *store, int64_t *event, int *budget,
                                 struct ota_error *error)
{
    enum ota_err err = OTA_OK;
    while (err == OTA_OK && *event != 0 && *budget > 0) {
        int64_t prev = 0;
        err = ota_read_id(store, OTA_TABLE_TASK, EVENT_PREV, *event, &prev, error);
        if (err == OTA_OK) {
            err = ota_write_id(store, OTA_TABLE_TASK, EVENT_DELETE, *event, error);
        }
        if (err == OTA_NOT_FOUND) {
            err = OTA_OK; /* what lies before has been pruned */
        }
        *event = prev;
        (*budget)--;
    }
    return err;
}

static enum ota_err set_last_event(struct ota_store *store, int64_t id, int64_t event,
                                   struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, SET_LAST_EVENT, error);
    ota_bind_int(&query, ":event", event);
    ota_bind_int(&query, ":id", id);
    return ota_query_write_row(&query);
}

static enum ota_err purge_one(struct ota_store *store, int64_t id, int64_t last_event, int *budget,
                              bool *gone, struct ota_error *error)
{
    enum ota_err err = purge_events(store, &last_event, budget, error);
    *gone = err == OTA_OK && *budget > 0;
    if (*gone) {
        (*budget)--;
        return ota_write_id(store, OTA_TABLE_TASK, DELETE, id, error);
    }
    return err == OTA_OK ? set_last_event(store, id, last_event, error) : err;
}

static enum ota_err purge_of(struct ota_store *store, int which, int64_t owner, int *budget,
                             struct ota_error *error)
{
    int64_t id = 0;
    int64_t last_event = 0;
    enum ota_err err = first_of(store, which, owner, &id, &last_event, error);
    while (err == OTA_OK && id != 0 && *budget > 0) {
        bool gone;
        err = purge_one(store, id, last_event, budget, &gone, error);
        if (err == OTA_OK) {
            err = first_of(store, which, owner, &id, &last_event, error);
        }
    }
    return err;
}

enum ota_err ota_task_purge(struct ota_store *store, int64_t device_id, int *budget,
                            struct ota_error *error)
{
    return purge_of(store, FIRST_OF_DEVICE, device_id, budget, error);
}

enum ota_err ota_task_purge_product(struct ota_store *store, int64_t product_id, int *budget,
                                    struct ota_error *error)
{
    return purge_of(store, FIRST_OF_PRODUCT, product_id, budget, error);
}

enum ota_err ota_task_prune(struct ota_store *store, int64_t id, int rows, bool *gone,
                            struct ota_error *error)
{
    int64_t last_event = 0;
    enum ota_err err = ota_read_id(store, OTA_TABLE_TASK, LAST_EVENT, id, &last_event, error);
    if (err == OTA_OK) {
        err = purge_one(store, id, last_event, &rows, gone, error);
    }
    return err;
}
