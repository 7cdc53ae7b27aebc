/* SPDX-License-Identifier: BSD-3-Clause */
/* Migrations that are killed: at each of their statements, and at every third write of theirs. */
#include "store_fixture.h"

#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A migration of the kind that is to come: the next one of our own is killed here by itself. */
static const char next_sql[] =
    "ALTER TABLE product ADD COLUMN colour TEXT NOT NULL DEFAULT 'white';"
    "CREATE TABLE added (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;"
    "INSERT INTO added SELECT id, name FROM device;"
    "CREATE INDEX added_by_name ON added (name);"
    "UPDATE product SET colour = 'green';"
    "DROP INDEX device_tried_again;"
    "CREATE INDEX device_tried_again ON device (id) WHERE last_task IS NOT NULL;"
    "PRAGMA user_version = ";

struct migration_test {
    struct store_fixture *fix;
    struct ota_migration *list; /* the built-in ones and next_sql */
    char next[sizeof next_sql + 16];
    int from;
    int to;
    int64_t products;
    char *old; /* the file of version `from`, with rows; NULL: none */
    size_t old_len;
};

/* --- a process that ends at a statement ------------------------------------------------------- */

static int statements_left = INT_MAX;

static int count_statement(unsigned kind, void *data, void *statement, void *text)
{
    (void)kind;
    (void)data;
    (void)statement;
    (void)text;
    if (statements_left-- == 0) {
        _exit(FIX_KILLED);
    }
    return 0;
}

static int watch(sqlite3 *db, char **message, const struct sqlite3_api_routines *api)
{
    (void)message;
    (void)api;
    return sqlite3_trace_v2(db, SQLITE_TRACE_STMT, count_statement, NULL);
}

static void kill_at_statement(int number)
{
    statements_left = number;
    (void)sqlite3_auto_extension((void (*)(void))watch);
}

static void kill_at_write(int number)
{
    fix_fail_disk(number, FIX_KILLED);
}

/* Whether a process that opens the file, and so migrates it, got so far as to be killed. */
static bool is_killed(struct migration_test *test, void (*kill_at)(int), int number)
{
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        kill_at(number);
        _exit(fix_open_with(test->fix, test->list, test->to) == OTA_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == FIX_KILLED);
    return WEXITSTATUS(status) == FIX_KILLED;
}

/* --- before and after ------------------------------------------------------------------------- */

static void remove_file(const struct store_fixture *fix)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal", ".lock"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        (void)unlink(fix_beside(fix, suffixes[i]));
    }
}

static void migrate_only(const struct migration_test *test)
{
    struct ota_conn conn = {0};
    struct ota_error error = {0};
    fix_put_file(test->fix->path, "", 0);
    assert_int_equal(ota_conn_open(&conn, test->fix->path, SQLITE_OPEN_READWRITE, &error), OTA_OK);
    assert_int_equal(ota_migrate(&conn, test->list, test->from, FIX_NOW, &error), OTA_OK);
    ota_conn_close(&conn);
}

/* The store of an older version is another program's: its file alone can be made here. */
static void make_older(struct migration_test *test)
{
    migrate_only(test);
    test->products = 1;
    fix_sql(test->fix->path, "INSERT INTO product (name, description, created_at) "
                             "VALUES ('p', '', 1)");
    test->old = fix_get_file(test->fix->path, &test->old_len);
}

/* With rows, made once for all kills; none at all for version 0. */
static void make_old(struct migration_test *test)
{
    struct store_fixture *fix = test->fix;
    remove_file(fix);
    free(test->old);
    test->old = NULL;
    test->products = 0;
    if (test->from == 0) {
        return;
    }
    if (test->from < ota_migration_count) {
        make_older(test);
        return;
    }
    assert_int_equal(fix_open_with(fix, test->list, test->from), OTA_OK);
    int64_t last = 0;
    (void)fix_full_product(fix, "door", &last);
    test->products = fix_int(fix, "SELECT count(*) FROM product") + 1;
    fix_close(fix);
    fix_sql(fix->path, "INSERT INTO product (name, description, created_at) VALUES ('p', '', 1)");
    test->old = fix_get_file(fix->path, &test->old_len);
}

static void put_old(const struct migration_test *test)
{
    remove_file(test->fix);
    if (test->old != NULL) {
        fix_put_file(test->fix->path, test->old, test->old_len);
    }
}

static void check_open(struct migration_test *test, int version)
{
    struct store_fixture *fix = test->fix;
    assert_int_equal(fix_open_with(fix, test->list, version), OTA_OK);
    assert_int_equal(fix_int(fix, "PRAGMA user_version"), version);
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM product"), test->products);
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
    assert_int_equal(fix_int(fix, "SELECT integrity_check = 'ok' FROM pragma_integrity_check"), 1);
    if (version > ota_migration_count) {
        assert_int_equal(fix_int(fix, "SELECT count(*) FROM added"),
                         fix_int(fix, "SELECT count(*) FROM device"));
        assert_int_equal(fix_int(fix, "SELECT count(*) FROM product WHERE colour = 'green'"),
                         test->products);
    }
    fix_close(fix);
}

static int version_of(const struct store_fixture *fix)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_open(fix->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int version = sqlite3_column_int(statement, 0);
    assert_int_equal(sqlite3_finalize(statement), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return version;
}

/* Killed at the first, the one after `step` more, … until it isn't any more; gives how often. */
static int kill_everywhere(struct migration_test *test, void (*kill_at)(int), int step)
{
    bool was_old = false;
    bool was_new = false;
    int number = 0;
    for (bool killed = true; killed; number++) {
        put_old(test);
        killed = is_killed(test, kill_at, number * step);
        int version = version_of(test->fix);
        was_old = was_old || version == test->from;
        was_new = was_new || version == test->to;
        assert_true(version >= test->from && version <= test->to);
        if (version >= ota_migration_count && version < test->to) {
            check_open(test, version); /* by the program that wrote it */
        }
        check_open(test, test->to);
    }
    assert_true(was_old && was_new);
    return number - 1;
}

static void kill_each_migration(struct migration_test *test, void (*kill_at)(int), int step)
{
    for (test->from = 0; test->from <= ota_migration_count; test->from++) {
        test->to = test->from < ota_migration_count ? ota_migration_count : test->from + 1;
        make_old(test);
        assert_true(kill_everywhere(test, kill_at, step) > 15);
    }
}

static void test_killed_at_each_statement(void **state)
{
    kill_each_migration(*state, kill_at_statement, 1);
}

static void test_killed_at_a_write(void **state)
{
    kill_each_migration(*state, kill_at_write, 3);
}

static int setup(void **state)
{
    struct migration_test *test = calloc(1, sizeof *test);
    void *fix = NULL;
    size_t count = (size_t)ota_migration_count;
    assert_non_null(test);
    assert_int_equal(store_setup(&fix), 0);
    test->fix = fix;
    fix_close(test->fix);
    test->list = calloc(count + 1, sizeof *test->list);
    assert_non_null(test->list);
    memcpy(test->list, ota_migrations, count * sizeof *test->list);
    (void)snprintf(test->next, sizeof test->next, "%s%d", next_sql, ota_migration_count + 1);
    test->list[count] = (struct ota_migration){ota_migration_count + 1, test->next};
    *state = test;
    return 0;
}

static int teardown(void **state)
{
    struct migration_test *test = *state;
    void *fix = test->fix;
    (void)store_teardown(&fix);
    free(test->old);
    free(test->list);
    free(test);
    return 0;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_killed_at_each_statement),
        TEST(test_killed_at_a_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
