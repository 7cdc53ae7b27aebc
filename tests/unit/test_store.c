/* SPDX-License-Identifier: BSD-3-Clause */
/* Transactions, queries and their plans, checkpoints, a disk that fails. */
#include "store_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

/* --- transactions ----------------------------------------------------------------------------- */

static void test_rollback(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_meta meta;
    ota_store_rollback(fix->store);
    fix_begin(fix);
    assert_int_equal(ota_store_set_service_ms(fix->store, 5, &fix->error), OTA_OK);
    ota_store_rollback(fix->store);
    ota_store_rollback(fix->store);
    assert_int_equal(ota_store_meta(fix->store, &meta, &fix->error), OTA_OK);
    assert_int_equal(meta.service_ms, 0);
    fix_begin(fix);
    fix_commit(fix);
}

static void test_transactions_pair(void **state)
{
    struct store_fixture *fix = *state;
    assert_int_equal(ota_store_commit(fix->store, NULL), OTA_INTERNAL);
    fix_begin(fix);
    assert_int_equal(ota_store_begin(fix->store, NULL), OTA_INTERNAL);
    fix_commit(fix);
}

static void test_write_needs_transaction(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_product_row row = {.name = "door"};
    assert_int_equal(ota_product_insert(fix->store, &row, &fix->error), OTA_INTERNAL);
    assert_non_null(strstr(fix->error.text, "outside of a transaction"));
    assert_int_equal(row.id, 0);
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM product"), 0);
}

static void test_open_transaction_is_undone_by_close(void **state)
{
    struct store_fixture *fix = *state;
    fix_begin(fix);
    assert_int_equal(ota_store_set_service_ms(fix->store, 5, &fix->error), OTA_OK);
    fix_close(fix);
    assert_int_equal(fix_open(fix), OTA_OK);
    assert_int_equal(fix_int(fix, "SELECT service_ms FROM meta"), 0);
}

struct again {
    struct store_fixture *fix;
    int rows;
};

static bool iterate_again(void *data, const struct ota_product_row *row)
{
    struct again *again = data;
    struct ota_product_row read;
    assert_int_equal(ota_product_each(again->fix->store, 0, iterate_again, again, NULL),
                     OTA_INTERNAL);
    assert_int_equal(ota_product_get(again->fix->store, row->id, &read, NULL), OTA_OK);
    again->rows++;
    return true;
}

/* A callback that comes back to where it was called from is refused; its caller goes on. */
static void test_same_statement_twice(void **state)
{
    struct store_fixture *fix = *state;
    struct again again = {.fix = fix};
    (void)fix_product(fix, "door");
    (void)fix_product(fix, "lift");
    assert_int_equal(ota_product_each(fix->store, 0, iterate_again, &again, &fix->error), OTA_OK);
    assert_int_equal(again.rows, 2);
}

static void test_wrong_parameter(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_query query;
    ota_query_begin(&query, &fix->store->conn, OTA_TABLE_STORE, 0, &fix->error);
    ota_bind_int(&query, ":nothing", 1);
    assert_false(ota_query_row(&query));
    assert_int_equal(ota_query_end(&query), OTA_INTERNAL);
    assert_non_null(strstr(fix->error.text, ":nothing"));
}

static void test_online_function(void **state)
{
    struct store_fixture *fix = *state;
    fix->online = 42;
    assert_int_equal(fix_int(fix, "SELECT ota_online(42)"), 1);
    assert_int_equal(fix_int(fix, "SELECT ota_online(41)"), 0);
}

static void test_locked_by_other_program(void **state)
{
    struct store_fixture *fix = *state;
    sqlite3 *other = NULL;
    assert_int_equal(sqlite3_open(fix->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(ota_store_begin(fix->store, &fix->error), OTA_UNAVAILABLE);
    assert_non_null(strstr(fix->error.text, "keeps"));
    assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    fix_begin(fix);
    fix_commit(fix);
}

/* --- query plans ------------------------------------------------------------------------------ */

/* Full passes that are meant: at start, over what stays small, over an index that holds only what
 * is sought, and over what a statement has just made itself. */
static bool is_allowed_scan(const char *detail, const char *sql)
{
    static const struct {
        const char *detail;
        const char *sql; /* how the statement begins; NULL: any */
    } allowed[] = {
        {"SCAN device", "SELECT id, product_id, name, hold, version, last_seen_at"},
        {"SCAN device USING INDEX device_tried_again", NULL},
        {"SCAN task USING COVERING INDEX task_by_device", "SELECT device_id, max(id)"},
        {"SCAN batch", "SELECT id, product_id, firmware_id, version, mode"}, /* at start */
        {"SCAN batch_stage", "SELECT batch_id, percent, count"},
        {"SCAN upload", NULL},          /* 4 a user */
        {"SCAN product_version", NULL}, /* at start */
        {"SCAN product USING COVERING INDEX product_doomed", NULL},
        {"SCAN image USING INDEX image_dead", NULL},
        {"SCAN image USING COVERING INDEX image_dead", NULL}, /* in SQLite 3.53 */
        {"SCAN task USING INDEX task_unfinished", "SELECT id, product_id, device_id"},
        {"SCAN chain", NULL},
        {"SCAN c", "WITH RECURSIVE chain"},
        {"SCAN CONSTANT ROW", NULL},
    };
    for (int i = 0; i < COUNT(allowed); i++) {
        if (strcmp(detail, allowed[i].detail) == 0 &&
            (allowed[i].sql == NULL || strncmp(sql, allowed[i].sql, strlen(allowed[i].sql)) == 0)) {
            return true;
        }
    }
    return false;
}

static int bad_scans(sqlite3 *db, const char *sql)
{
    int bad = 0;
    sqlite3_stmt *plan = NULL;
    char *explain = sqlite3_mprintf("EXPLAIN QUERY PLAN %s", sql);
    assert_int_equal(sqlite3_prepare_v2(db, explain, -1, &plan, NULL), SQLITE_OK);
    while (sqlite3_step(plan) == SQLITE_ROW) {
        const char *detail = (const char *)sqlite3_column_text(plan, 3);
        bool sorts = strstr(detail, "TEMP B-TREE") != NULL && strstr(sql, "chain") == NULL;
        if (sorts || (strncmp(detail, "SCAN", 4) == 0 && !is_allowed_scan(detail, sql))) {
            bad++;
        }
    }
    (void)sqlite3_finalize(plan);
    sqlite3_free(explain);
    return bad;
}

static void test_query_plans(void **state)
{
    struct store_fixture *fix = *state;
    int bad = 0;
    int looked_at = 0;
    for (enum ota_table_id id = OTA_TABLE_STORE; id < OTA_TABLE_COUNT; id++) {
        const struct ota_table *table = ota_table_of(id);
        for (int i = 0; i < table->count; i++) {
            assert_non_null(table->sql[i]);
            int found = bad_scans(fix->store->conn.db, table->sql[i]);
            if (found > 0) {
                print_error("a full scan or a sort: %s\n", table->sql[i]);
            }
            bad += found;
            looked_at++;
        }
    }
    assert_true(looked_at > 60);
    assert_int_equal(bad, 0);
    assert_int_equal(bad_scans(fix->store->conn.db, "SELECT * FROM task WHERE status = 3"), 1);
}

/* --- checkpoints ------------------------------------------------------------------------------ */

/* Commits, each of some pages, until the WAL is this long. */
static void fill_wal(struct store_fixture *fix, int64_t bytes)
{
    static char data[30000];
    static int number; /* request ids of one test don't repeat */
    unsigned char digest[32] = {0};
    char name[32];
    memset(data, 'x', sizeof data - 1);
    while (fix_size_of(fix_beside(fix, "-wal")) < bytes) {
        (void)snprintf(name, sizeof name, "r%d", ++number);
        fix_begin(fix);
        assert_int_equal(ota_request_insert(fix->store, "u", name, digest, data, 1, &fix->error),
                         OTA_OK);
        fix_commit(fix);
    }
}

static void test_thread_checkpoints(void **state)
{
    struct store_fixture *fix = *state;
    int64_t before = ota_store_bytes(fix->store);
    fill_wal(fix, (OTA_WAL_SOFT_PAGES - 100) * 4096LL);
    assert_int_equal(ota_store_bytes(fix->store), before);
    fill_wal(fix, (OTA_WAL_SOFT_PAGES + 100) * 4096LL);
    for (int i = 0; i < 1000 && ota_store_bytes(fix->store) < before + 2000000; i++) {
        (void)usleep(10000);
    }
    assert_true(ota_store_bytes(fix->store) >= before + 2000000);
}

static void test_writer_is_held(void **state)
{
    struct store_fixture *fix = *state;
    fill_wal(fix, 1000000);
    assert_true(ota_store_bytes(fix->store) < 500000);
    ota_checkpoint_note(fix->store->checkpoint, OTA_WAL_HARD_PAGES);
    assert_true(ota_store_bytes(fix->store) >= 500000);
}

/* The next commit after a complete checkpoint starts the WAL afresh: it doesn't grow for ever. */
static void test_wal_starts_afresh(void **state)
{
    struct store_fixture *fix = *state;
    fill_wal(fix, 1000000);
    int64_t before = fix_size_of(fix_beside(fix, "-wal"));
    for (int i = 0; i < 10; i++) {
        ota_checkpoint_note(fix->store->checkpoint, OTA_WAL_HARD_PAGES * (i + 1));
        fix_begin(fix);
        assert_int_equal(ota_store_set_service_ms(fix->store, i, &fix->error), OTA_OK);
        fix_commit(fix);
    }
    assert_int_equal(fix_size_of(fix_beside(fix, "-wal")), before);
}

/* A reader that doesn't end keeps the WAL, but not the writer for more than a moment. */
static void test_reader_does_not_block(void **state)
{
    struct store_fixture *fix = *state;
    sqlite3 *other = NULL;
    fill_wal(fix, 200000);
    assert_int_equal(sqlite3_open(fix->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN; SELECT count(*) FROM request", NULL, NULL, NULL),
                     SQLITE_OK);
    fill_wal(fix, 400000);
    ota_checkpoint_note(fix->store->checkpoint, OTA_WAL_HARD_PAGES);
    ota_checkpoint_note(fix->store->checkpoint, OTA_WAL_HARD_PAGES + 1);
    fill_wal(fix, 600000);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
}

/* --- a disk that fails -------------------------------------------------------------------------
 */

static void test_full_database(void **state)
{
    struct store_fixture *fix = *state;
    char sql[64];
    struct ota_product_row row = {.name = "other"};
    int64_t product = fix_product(fix, "door");
    int64_t pages = fix_int(fix, "PRAGMA page_count");
    (void)snprintf(sql, sizeof sql, "PRAGMA max_page_count = %d", (int)pages);
    (void)fix_int(fix, sql);
    fix_begin(fix);
    enum ota_err err = OTA_OK;
    for (int i = 0; i < 1000 && err == OTA_OK; i++) {
        struct ota_device_row device = {.product_id = product};
        (void)snprintf(device.name, sizeof device.name, "d%d", i);
        err = ota_device_insert(fix->store, &device, &fix->error);
    }
    assert_int_equal(err, OTA_UNAVAILABLE);
    assert_non_null(strstr(fix->error.text, "free some space on the disk of"));
    assert_non_null(strstr(fix->error.text, fix->path));
    ota_store_rollback(fix->store);
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM device"), 0);
    (void)fix_int(fix, "PRAGMA max_page_count = 1000000");
    fix_begin(fix);
    assert_int_equal(ota_product_insert(fix->store, &row, &fix->error), OTA_OK);
    fix_commit(fix);
}

/* A status change as the domain makes one; what failed, after its rollback. */
static enum ota_err try_change(struct store_fixture *fix, struct ota_task_row *task)
{
    struct ota_event_row event = {.at = FIX_NOW, .status = OTA_DOWNLOADING};
    fix->error = (struct ota_error){0};
    enum ota_err err = ota_store_begin(fix->store, &fix->error);
    if (err == OTA_OK) {
        err = ota_task_change(fix->store, task, &event, &fix->error);
    }
    if (err == OTA_OK) {
        err = ota_store_commit(fix->store, &fix->error);
    }
    if (err != OTA_OK) {
        ota_store_rollback(fix->store);
    }
    return err;
}

/* Every write of a change fails in turn: each time nothing has changed, and the store lives. */
static void fail_each_write(struct store_fixture *fix, int reason, const char *words)
{
    int64_t product = fix_int(fix, "SELECT max(id) FROM product");
    int64_t device = fix_device(fix, product, words);
    struct ota_task_row task = fix_task(fix, device, 1);
    struct ota_task_row read;
    enum ota_err err = OTA_UNAVAILABLE;
    int writes = 0;
    for (; err != OTA_OK; writes++) {
        struct ota_task_row changed = task;
        changed.status = OTA_DOWNLOADING;
        fix_fail_disk(writes, reason);
        err = try_change(fix, &changed);
        fix_heal_disk();
        assert_int_equal(ota_task_get(fix->store, task.id, &read, NULL), OTA_OK);
        assert_int_equal(read.status, err == OTA_OK ? OTA_DOWNLOADING : OTA_WAITING);
        assert_int_equal(read.last_event != 0, err == OTA_OK);
        if (err != OTA_OK) {
            assert_int_equal(err, OTA_UNAVAILABLE);
            assert_non_null(strstr(fix->error.text, words));
        }
    }
    assert_true(writes > 2);
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM pragma_integrity_check "
                                  "WHERE integrity_check <> 'ok'"),
                     0);
}

static void test_disk_fails(void **state)
{
    struct store_fixture *fix = *state;
    (void)fix_product(fix, "door");
    fail_each_write(fix, ENOSPC, "free some space");
    fail_each_write(fix, EIO, "check the disk");
}

static void test_disk_fails_at_open(void **state)
{
    struct store_fixture *fix = *state;
    fix_close(fix);
    assert_int_equal(unlink(fix->path), 0);
    enum ota_err err = OTA_UNAVAILABLE;
    int writes = 0;
    for (; err != OTA_OK && writes < 1000; writes++) {
        fix_fail_disk(writes, ENOSPC);
        err = fix_open(fix);
        fix_heal_disk();
        assert_true(err == OTA_OK || err == OTA_UNAVAILABLE);
    }
    assert_true(writes > 5);
    assert_int_equal(err, OTA_OK);
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM meta"), 1);
}

static bool count_task(void *data, const struct ota_task_row *row)
{
    (void)row;
    ++*(int *)data;
    return true;
}

/* Reads the task in three ways; one of them may run out of memory, none may lie. */
static enum ota_err try_reads(struct store_fixture *fix, int64_t id)
{
    struct ota_task_filter filter = {.shown = OTA_SHOWN_COUNT};
    struct ota_task_row row;
    int count = 0;
    int64_t last = 0;
    bool more = false;
    fix->error = (struct ota_error){0};
    enum ota_err err = ota_task_get(fix->store, id, &row, &fix->error);
    if (err == OTA_OK) {
        assert_string_equal(row.version, "2.0");
        err = ota_task_load(fix->store, count_task, &count, &fix->error);
    }
    if (err == OTA_OK) {
        err = ota_task_list(fix->store, &filter, 0, count_task, &count, &last, &more, &fix->error);
    }
    assert_true(err != OTA_OK || count == 2);
    return err;
}

/* Every allocation of SQLite fails in turn. */
static void test_memory_is_out(void **state)
{
    struct store_fixture *fix = *state;
    enum ota_err err = OTA_UNAVAILABLE;
    int allocations = 0;
    int64_t product = fix_product(fix, "door");
    struct ota_task_row task = fix_task(fix, fix_device(fix, product, "d1"), 1);
    struct ota_task_row read;
    for (; err != OTA_OK; allocations++) {
        struct ota_task_row changed = task;
        changed.status = OTA_DOWNLOADING;
        (void)sqlite3_db_release_memory(fix->store->conn.db);
        fix_fail_memory(allocations);
        err = try_reads(fix, task.id);
        if (err == OTA_OK) {
            err = try_change(fix, &changed);
        }
        fix_fail_memory(-1);
        assert_true(err == OTA_OK || err == OTA_UNAVAILABLE);
        fix_begin(fix);
        fix_commit(fix);
        assert_int_equal(ota_task_get(fix->store, task.id, &read, NULL), OTA_OK);
        assert_int_equal(read.status, err == OTA_OK ? OTA_DOWNLOADING : OTA_WAITING);
    }
    assert_true(allocations > 10);
}

static void test_memory_is_out_at_open(void **state)
{
    struct store_fixture *fix = *state;
    enum ota_err err = OTA_UNAVAILABLE;
    int allocations = 0;
    fix_close(fix);
    /* Not quite each: opening takes thousands. */
    for (; err != OTA_OK; allocations += 1 + allocations / 30) {
        fix_fail_memory(allocations);
        err = fix_open(fix);
        fix_fail_memory(-1);
        assert_int_equal(fix->store != NULL, err == OTA_OK);
        assert_true(err == OTA_OK || err == OTA_UNAVAILABLE);
    }
    assert_true(allocations > 100);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, store_setup, store_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_rollback),
        TEST(test_transactions_pair),
        TEST(test_write_needs_transaction),
        TEST(test_open_transaction_is_undone_by_close),
        TEST(test_same_statement_twice),
        TEST(test_wrong_parameter),
        TEST(test_online_function),
        TEST(test_locked_by_other_program),
        TEST(test_query_plans),
        TEST(test_thread_checkpoints),
        TEST(test_writer_is_held),
        TEST(test_wal_starts_afresh),
        TEST(test_reader_does_not_block),
        TEST(test_full_database),
        TEST(test_disk_fails),
        TEST(test_disk_fails_at_open),
        TEST(test_memory_is_out),
        TEST(test_memory_is_out_at_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
