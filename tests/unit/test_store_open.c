/* SPDX-License-Identifier: BSD-3-Clause */
/* The file: opening, refusing, migrating. */
#include "store_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

static void forget_file(struct store_fixture *fix)
{
    fix_close(fix);
    assert_int_equal(unlink(fix->path), 0);
}

/* Opening is refused with this code and a sentence that holds `words`; the file stays as it is. */
static void assert_refused(struct store_fixture *fix, enum ota_err code, const char *words)
{
    size_t before_len = 0;
    size_t after_len = 0;
    char *before = fix_get_file(fix->path, &before_len);
    assert_int_equal(fix_open(fix), code);
    assert_null(fix->store);
    assert_int_equal(fix->error.code, code);
    assert_non_null(strstr(fix->error.text, words));
    assert_non_null(strstr(fix->error.text, fix->path));
    char *after = fix_get_file(fix->path, &after_len);
    assert_int_equal(after_len, before_len);
    assert_memory_equal(after, before, before_len);
    free(before);
    free(after);
}

/* --- opening ---------------------------------------------------------------------------------- */

static void test_new_file(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_meta meta;
    unsigned char zeros[OTA_KEY_SIZE] = {0};
    struct stat file;
    assert_int_equal(ota_store_meta(fix->store, &meta, &fix->error), OTA_OK);
    assert_int_equal(meta.service_ms, 0);
    assert_int_equal(meta.schema_version, ota_migration_count);
    assert_memory_not_equal(meta.url_key, zeros, sizeof zeros);
    assert_true(ota_store_bytes(fix->store) >= 4096);
    assert_int_equal(stat(fix->path, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);
    assert_int_equal(stat(fix_beside(fix, "-wal"), &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);
    assert_int_equal(fix_int(fix, "SELECT created_at FROM meta"), FIX_NOW);
}

static void test_pragmas(void **state)
{
    static const struct {
        const char *sql;
        int64_t value;
    } expected[] = {
        {"PRAGMA application_id", OTA_APPLICATION_ID},
        {"PRAGMA foreign_keys", 1},
        {"PRAGMA trusted_schema", 0},
        {"PRAGMA cell_size_check", 1},
        {"PRAGMA wal_autocheckpoint", 0},
        {"PRAGMA synchronous", 1},
        {"PRAGMA busy_timeout", 10},
        {"SELECT journal_mode = 'wal' FROM pragma_journal_mode", 1},
    };
    struct store_fixture *fix = *state;
    for (int i = 0; i < COUNT(expected); i++) {
        assert_int_equal(fix_int(fix, expected[i].sql), expected[i].value);
    }
}

static void test_synchronous_full(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_store_config config = {.path = fix->path, .synchronous_full = true};
    fix_close(fix);
    assert_int_equal(ota_store_open(&config, &fix->store, &fix->error), OTA_OK);
    assert_int_equal(fix_int(fix, "PRAGMA synchronous"), 2);
}

static void test_reopen_keeps(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_meta before;
    struct ota_meta after;
    struct ota_product_row row;
    int64_t id = fix_product(fix, "door");
    fix_begin(fix);
    assert_int_equal(ota_store_set_service_ms(fix->store, 12345, &fix->error), OTA_OK);
    fix_commit(fix);
    assert_int_equal(ota_store_meta(fix->store, &before, &fix->error), OTA_OK);
    fix_close(fix);
    assert_int_equal(fix_size_of(fix_beside(fix, "-wal")), -1);
    assert_int_equal(fix_open(fix), OTA_OK);
    assert_int_equal(ota_store_meta(fix->store, &after, &fix->error), OTA_OK);
    assert_int_equal(after.service_ms, 12345);
    assert_memory_equal(after.url_key, before.url_key, sizeof before.url_key);
    assert_int_equal(ota_product_get(fix->store, id, &row, &fix->error), OTA_OK);
    assert_string_equal(row.name, "door");
}

/* A reader that outlives the store doesn't keep it from leaving one file. */
static void test_close_beside_reader(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_reader *reader = NULL;
    (void)fix_product(fix, "door");
    assert_int_equal(ota_reader_open(fix->path, &reader, &fix->error), OTA_OK);
    assert_true(fix_size_of(fix_beside(fix, "-wal")) > 0);
    fix_close(fix);
    assert_int_equal(fix_size_of(fix_beside(fix, "-wal")), 0);
    ota_reader_close(reader);
}

static void test_keys_differ(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_meta first;
    struct ota_meta second;
    assert_int_equal(ota_store_meta(fix->store, &first, &fix->error), OTA_OK);
    forget_file(fix);
    assert_int_equal(fix_open(fix), OTA_OK);
    assert_int_equal(ota_store_meta(fix->store, &second, &fix->error), OTA_OK);
    assert_memory_not_equal(first.url_key, second.url_key, sizeof first.url_key);
}

static void test_close_null(void **state)
{
    (void)state;
    ota_store_close(NULL);
    ota_reader_close(NULL);
}

static void test_second_open_refused(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_store *first = fix->store;
    char holder[32];
    (void)snprintf(holder, sizeof holder, "(process %d)", (int)getpid());
    assert_int_equal(fix_open(fix), OTA_UNAVAILABLE);
    assert_null(fix->store);
    assert_non_null(strstr(fix->error.text, holder));
    fix->store = first;
    (void)fix_product(fix, "door"); /* the first one isn't disturbed */
    fix_close(fix);
    assert_int_equal(fix_open(fix), OTA_OK);
}

static void test_second_open_by_link_refused(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_store *second = NULL;
    char name[128];
    (void)snprintf(name, sizeof name, "%s/other.db", fix->dir);
    assert_int_equal(symlink("ota.db", name), 0);
    struct ota_store_config config = {.path = name};
    assert_int_equal(ota_store_open(&config, &second, &fix->error), OTA_UNAVAILABLE);
    assert_null(second);
}

static void hold_until_killed(struct store_fixture *fix, int ready)
{
    if (fix_open(fix) != OTA_OK || ota_store_begin(fix->store, NULL) != OTA_OK ||
        ota_store_set_service_ms(fix->store, 1, NULL) != OTA_OK ||
        ota_store_commit(fix->store, NULL) != OTA_OK ||
        ota_store_begin(fix->store, NULL) != OTA_OK ||
        ota_store_set_service_ms(fix->store, 2, NULL) != OTA_OK) {
        _exit(1);
    }
    (void)!write(ready, "x", 1);
    for (;;) {
        (void)pause();
    }
}

/* What was committed is there, what wasn't isn't, and the lock is free. */
static void test_killed_owner(void **state)
{
    struct store_fixture *fix = *state;
    int ready[2];
    char byte = 0;
    struct ota_meta meta;
    fix_close(fix);
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        hold_until_killed(fix, ready[1]);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(fix_open(fix), OTA_UNAVAILABLE);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    (void)close(ready[0]);
    (void)close(ready[1]);
    assert_int_equal(fix_open(fix), OTA_OK);
    assert_int_equal(ota_store_meta(fix->store, &meta, &fix->error), OTA_OK);
    assert_int_equal(meta.service_ms, 1);
}

/* --- refusing --------------------------------------------------------------------------------- */

static void test_missing_directory(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_store *store = NULL;
    struct ota_store_config config = {.path = "/tmp/ota-no-such-directory/ota.db"};
    assert_int_equal(ota_store_open(&config, &store, &fix->error), OTA_UNAVAILABLE);
    assert_null(store);
    assert_string_equal(fix->error.field, "db_path");
    assert_non_null(strstr(fix->error.text, "create the directory of /tmp/ota-no-such-directory"));
}

static void test_directory_as_file(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_store *store = NULL;
    struct ota_store_config config = {.path = fix->dir};
    char lock[128];
    assert_int_equal(ota_store_open(&config, &store, &fix->error), OTA_CONFLICT);
    assert_null(store);
    assert_non_null(strstr(fix->error.text, "set db_path to a file"));
    (void)snprintf(lock, sizeof lock, "%s.lock", fix->dir);
    assert_int_equal(fix_size_of(lock), -1);
}

static void test_foreign_refused(void **state)
{
    static const char *const makers[] = {
        "CREATE TABLE t (a)",
        "PRAGMA application_id = 7",
        "PRAGMA user_version = 1; CREATE TABLE meta (id)",
        "PRAGMA journal_mode = WAL; CREATE TABLE t (a)",
    };
    struct store_fixture *fix = *state;
    for (int i = 0; i < COUNT(makers); i++) {
        forget_file(fix);
        fix_sql(fix->path, makers[i]);
        assert_refused(fix, OTA_CONFLICT, "belongs to another program");
        assert_int_equal(unlink(fix->path), 0);
        assert_int_equal(fix_open(fix), OTA_OK);
    }
}

static void test_garbage_refused(void **state)
{
    static const size_t sizes[] = {1, 99, 512, 4096, 10000};
    struct store_fixture *fix = *state;
    char bytes[10000];
    forget_file(fix);
    for (int fill = 0; fill < 2; fill++) {
        memset(bytes, fill == 0 ? 0 : 'x', sizeof bytes);
        for (int i = 0; i < COUNT(sizes); i++) {
            fix_put_file(fix->path, bytes, sizes[i]);
            assert_refused(fix, OTA_INTERNAL, "it isn't a SQLite database");
        }
    }
}

/* A good first page, and then another file's. */
static void test_damaged_refused(void **state)
{
    struct store_fixture *fix = *state;
    size_t len = 0;
    fix_close(fix);
    char *bytes = fix_get_file(fix->path, &len);
    assert_true(len > 8192);
    memset(bytes + 100, 'x', len - 100);
    fix_put_file(fix->path, bytes, len);
    free(bytes);
    assert_refused(fix, OTA_INTERNAL, "from a backup: it is damaged");
}

static void test_newer_refused(void **state)
{
    struct store_fixture *fix = *state;
    fix_close(fix);
    fix_sql(fix->path, "PRAGMA user_version = 999");
    assert_refused(fix, OTA_CONFLICT, "install the newer mosquitto-ota");
    assert_non_null(strstr(fix->error.text, "schema 999"));
}

static void test_lost_version_refused(void **state)
{
    struct store_fixture *fix = *state;
    fix_close(fix);
    fix_sql(fix->path, "PRAGMA user_version = 0");
    assert_refused(fix, OTA_INTERNAL, "it has lost its version");
}

static void test_lost_keys_refused(void **state)
{
    struct store_fixture *fix = *state;
    fix_close(fix);
    fix_sql(fix->path, "DELETE FROM meta");
    assert_refused(fix, OTA_INTERNAL, "it has lost its keys");
}

static void test_broken_statement_refused(void **state)
{
    struct store_fixture *fix = *state;
    fix_close(fix);
    fix_sql(fix->path, "ALTER TABLE request DROP COLUMN data");
    assert_refused(fix, OTA_INTERNAL, "statement 0 of request");
}

/* A database that was cut to nothing, beside the WAL that still has its rows. */
static void test_emptied_refused(void **state)
{
    struct store_fixture *fix = *state;
    fix_close(fix);
    fix_put_file(fix->path, "", 0);
    fix_put_file(fix_beside(fix, "-wal"), "rows", 4);
    assert_refused(fix, OTA_INTERNAL, "it is missing or empty");
    assert_int_equal(fix_size_of(fix_beside(fix, "-wal")), 4);
    assert_int_equal(unlink(fix_beside(fix, "-wal")), 0);
    assert_refused(fix, OTA_INTERNAL, "it is empty, and was a database");
    assert_int_equal(unlink(fix_beside(fix, ".lock")), 0);
    assert_int_equal(fix_open(fix), OTA_OK);
    assert_true(ota_store_opening(fix->store).made);
}

/* --- migrating -------------------------------------------------------------------------------- */

/* The built-in migrations and one more. */
static struct ota_migration *migrations_and(const char *sql)
{
    size_t count = (size_t)ota_migration_count;
    struct ota_migration *list = calloc(count + 1, sizeof *list);
    assert_non_null(list);
    memcpy(list, ota_migrations, count * sizeof *list);
    list[count] = (struct ota_migration){ota_migration_count + 1, sql};
    return list;
}

static const char *backup_name(const struct store_fixture *fix)
{
    char suffix[32];
    (void)snprintf(suffix, sizeof suffix, ".v%d.bak", ota_migration_count);
    return fix_beside(fix, suffix);
}

static void set_version(char *text, size_t size, const char *sql)
{
    (void)snprintf(text, size, "%s; PRAGMA user_version = %d", sql, ota_migration_count + 1);
}

static void test_migration(void **state)
{
    struct store_fixture *fix = *state;
    char sql[256];
    struct stat file;
    struct ota_product_row row;
    int64_t id = fix_product(fix, "door");
    set_version(sql, sizeof sql, "CREATE TABLE added (id INTEGER PRIMARY KEY) STRICT");
    struct ota_migration *list = migrations_and(sql);
    fix_close(fix);
    fix_put_file(backup_name(fix), "an older copy", 13);
    assert_int_equal(fix_open_with(fix, list, ota_migration_count + 1), OTA_OK);
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM added"), 0);
    assert_int_equal(fix_int(fix, "PRAGMA user_version"), ota_migration_count + 1);
    assert_int_equal(ota_product_get(fix->store, id, &row, &fix->error), OTA_OK);
    fix_close(fix);

    /* This version doesn't open it any more, but the copy. */
    assert_refused(fix, OTA_CONFLICT, "restore the copy");
    assert_int_equal(stat(backup_name(fix), &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);
    assert_int_equal(rename(backup_name(fix), fix->path), 0);
    assert_int_equal(fix_open(fix), OTA_OK);
    assert_int_equal(ota_product_get(fix->store, id, &row, &fix->error), OTA_OK);
    free(list);
}

static void assert_migration_fails(struct store_fixture *fix, const char *sql, const char *words)
{
    struct ota_migration *list = migrations_and(sql);
    char front[32];
    (void)snprintf(front, sizeof front, "migration %d: ", ota_migration_count + 1);
    fix_close(fix);
    assert_int_not_equal(fix_open_with(fix, list, ota_migration_count + 1), OTA_OK);
    assert_non_null(strstr(fix->error.text, front));
    assert_non_null(strstr(fix->error.text, words));
    free(list);
    assert_int_equal(fix_open(fix), OTA_OK);
    assert_int_equal(fix_int(fix, "PRAGMA user_version"), ota_migration_count);
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM sqlite_schema WHERE name = 'added'"), 0);
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM product"), 1);
}

static void test_migration_fails_whole(void **state)
{
    struct store_fixture *fix = *state;
    char sql[256];
    int64_t product = fix_product(fix, "door");
    (void)fix_device(fix, product, "d1");
    assert_migration_fails(fix, "CREATE TABLE added (id); CREATE TABLE product (id)",
                           "already exists");
    assert_migration_fails(fix, "CREATE TABLE added (id)", "leaves version");
    set_version(sql, sizeof sql, "CREATE TABLE added (id); DELETE FROM product");
    assert_migration_fails(fix, sql, "1 dangling references");
}

static void test_no_backup_no_migration(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_migration *list = migrations_and("CREATE TABLE added (id)");
    char part[160];
    (void)snprintf(part, sizeof part, "%s.part", backup_name(fix));
    fix_close(fix);
    assert_int_equal(mkdir(part, 0700), 0);
    assert_int_equal(fix_open_with(fix, list, ota_migration_count + 1), OTA_UNAVAILABLE);
    assert_non_null(strstr(fix->error.text, "make room for the copy"));
    assert_int_equal(rmdir(part), 0);
    free(list);
    assert_int_equal(fix_open(fix), OTA_OK);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, store_setup, store_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_new_file),
        TEST(test_pragmas),
        TEST(test_synchronous_full),
        TEST(test_reopen_keeps),
        TEST(test_close_beside_reader),
        TEST(test_keys_differ),
        TEST(test_close_null),
        TEST(test_second_open_refused),
        TEST(test_second_open_by_link_refused),
        TEST(test_killed_owner),
        TEST(test_missing_directory),
        TEST(test_directory_as_file),
        TEST(test_foreign_refused),
        TEST(test_garbage_refused),
        TEST(test_damaged_refused),
        TEST(test_newer_refused),
        TEST(test_lost_version_refused),
        TEST(test_lost_keys_refused),
        TEST(test_broken_statement_refused),
        TEST(test_emptied_refused),
        TEST(test_migration),
        TEST(test_migration_fails_whole),
        TEST(test_no_backup_no_migration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
