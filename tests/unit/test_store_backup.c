/* SPDX-License-Identifier: BSD-3-Clause */
/* Copies of the database: whole or not at all, never over another file. */
#include "store_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *at(const struct store_fixture *fix, const char *name)
{
    static char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", fix->dir, name);
    return path;
}

static enum ota_err start(struct store_fixture *fix, const char *name, struct ota_backup **backup)
{
    fix->error = (struct ota_error){0};
    *backup = NULL;
    return ota_backup_start(fix->store, fix->dir, name, backup, &fix->error);
}

static enum ota_err finish(struct store_fixture *fix, struct ota_backup *backup)
{
    enum ota_err err = OTA_AGAIN;
    for (int i = 0; i < 10000 && err == OTA_AGAIN; i++) {
        (void)usleep(1000);
        err = ota_backup_poll(backup, &fix->error);
    }
    return err;
}

static enum ota_err make(struct store_fixture *fix, const char *name)
{
    struct ota_backup *backup;
    enum ota_err err = start(fix, name, &backup);
    if (err == OTA_OK) {
        err = finish(fix, backup);
        assert_int_equal(ota_backup_bytes(backup) > 0, err == OTA_OK);
    }
    ota_backup_end(backup);
    return err;
}

/* How many files of that start there are, hidden ones too. */
static int count_files(const struct store_fixture *fix, const char *prefix)
{
    int count = 0;
    DIR *dir = opendir(fix->dir);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        count += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    }
    (void)closedir(dir);
    return count;
}

/* Requests of 30 KB each. */
static void fill(struct store_fixture *fix, int rows)
{
    static char data[30000];
    static int number;
    unsigned char digest[32] = {0};
    char name[32];
    memset(data, 'x', sizeof data - 1);
    for (int i = 0; i < rows; i++) {
        (void)snprintf(name, sizeof name, "r%d", ++number);
        fix_begin(fix);
        assert_int_equal(ota_request_insert(fix->store, "u", name, digest, data, 1, &fix->error),
                         OTA_OK);
        fix_commit(fix);
    }
}

/* Restores it where the database was, and opens that. */
static void restore(struct store_fixture *fix, const char *name)
{
    fix_close(fix);
    assert_int_equal(rename(at(fix, name), fix->path), 0);
    assert_int_equal(fix_open(fix), OTA_OK);
}

static void test_a_copy_is_the_database(void **state)
{
    struct store_fixture *fix = *state;
    struct stat file;
    struct ota_meta before;
    struct ota_meta after;
    int64_t device = 0;
    (void)fix_full_product(fix, "door", &device);
    assert_int_equal(ota_store_meta(fix->store, &before, &fix->error), OTA_OK);
    assert_int_equal(make(fix, "copy.db"), OTA_OK);
    assert_int_equal(stat(at(fix, "copy.db"), &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);
    assert_int_equal(count_files(fix, "."), 2); /* . and .. */
    (void)fix_product(fix, "later");
    restore(fix, "copy.db");
    assert_int_equal(ota_store_meta(fix->store, &after, &fix->error), OTA_OK);
    assert_memory_equal(&before, &after, sizeof before);
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM product"), 1);
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM event"), 18);
    assert_int_equal(fix_int(fix, "SELECT seq FROM sqlite_sequence WHERE name = 'task'"), 6);
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM pragma_integrity_check "
                                  "WHERE integrity_check <> 'ok'"),
                     0);
}

/* What is committed while the copy is made isn't in it, and nothing is by halves. */
static void test_the_writer_goes_on(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_backup *backup;
    int meanwhile = 0;
    fill(fix, 1000);
    assert_int_equal(start(fix, "copy.db", &backup), OTA_OK);
    enum ota_err err = OTA_AGAIN;
    while (err == OTA_AGAIN) {
        fill(fix, 1);
        meanwhile++;
        err = ota_backup_poll(backup, &fix->error);
    }
    assert_int_equal(err, OTA_OK);
    ota_backup_end(backup);
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM request"), 1000 + meanwhile);
    restore(fix, "copy.db");
    assert_in_range(fix_int(fix, "SELECT count(*) FROM request"), 1000, 1000 + meanwhile);
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM pragma_integrity_check "
                                  "WHERE integrity_check <> 'ok'"),
                     0);
}

static void test_never_over_another_file(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_backup *backup;
    fill(fix, 1000); /* 30 MB take longer than a file is made below */
    assert_int_equal(make(fix, "copy.db"), OTA_OK);
    int64_t size = fix_size_of(at(fix, "copy.db"));
    fill(fix, 10);
    assert_int_equal(make(fix, "copy.db"), OTA_ALREADY_EXISTS);
    assert_string_equal(fix->error.field, "name");
    assert_int_equal(make(fix, "ota.db"), OTA_ALREADY_EXISTS); /* the database itself */
    assert_int_equal(symlink("nowhere", at(fix, "link.db")), 0);
    assert_int_equal(make(fix, "link.db"), OTA_ALREADY_EXISTS);
    /* and one that comes while the copy is made */
    assert_int_equal(start(fix, "late.db", &backup), OTA_OK);
    int fd = open(at(fix, "late.db"), O_CREAT | O_EXCL | O_WRONLY, 0600);
    assert_int_equal(close(fd), 0);
    assert_int_equal(finish(fix, backup), OTA_ALREADY_EXISTS);
    ota_backup_end(backup);
    assert_int_equal(fix_size_of(at(fix, "late.db")), 0);
    assert_int_equal(fix_size_of(at(fix, "copy.db")), size);
    assert_int_equal(count_files(fix, "."), 2);
}

static void test_places_that_cannot_be_written(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_backup *backup = NULL;
    assert_int_equal(ota_backup_start(fix->store, at(fix, "none"), "x", &backup, &fix->error),
                     OTA_UNAVAILABLE);
    assert_non_null(strstr(fix->error.text, "backup_dir"));
    fix->error = (struct ota_error){0};
    assert_int_equal(ota_backup_start(fix->store, fix->path, "x", &backup, &fix->error),
                     OTA_UNAVAILABLE);
    assert_int_equal(symlink("ota.db", at(fix, ".ota-backup.part")), 0); /* never followed */
    assert_int_equal(start(fix, "x", &backup), OTA_UNAVAILABLE);
    assert_null(backup);
}

/* Every write of the copy fails in turn: each time nothing is left, and the database lives. */
static void test_a_full_disk(void **state)
{
    struct store_fixture *fix = *state;
    int writes = 0;
    enum ota_err err = OTA_UNAVAILABLE;
    (void)fix_product(fix, "door");
    for (; err != OTA_OK; writes++) {
        fix_fail_disk(writes, ENOSPC);
        err = make(fix, "copy.db");
        fix_heal_disk();
        assert_int_equal(fix_size_of(at(fix, "copy.db")) >= 0, err == OTA_OK);
        assert_int_equal(count_files(fix, "."), 2);
        if (err != OTA_OK) {
            assert_int_equal(err, OTA_UNAVAILABLE);
            assert_non_null(strstr(fix->error.text, "free some space on the disk of"));
        }
        (void)fix_int(fix, "SELECT count(*) FROM product");
    }
    assert_true(writes > 10);
    fix_fail_disk(3, EIO);
    assert_int_equal(make(fix, "other.db"), OTA_UNAVAILABLE);
    fix_heal_disk();
    assert_null(strstr(fix->error.text, "free some space"));
}

static void test_given_up(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_backup *backup;
    fill(fix, 2000); /* 60 MB take longer than the next two lines */
    assert_int_equal(start(fix, "copy.db", &backup), OTA_OK);
    ota_backup_end(backup);
    assert_int_equal(count_files(fix, "copy"), 0);
    assert_int_equal(count_files(fix, "."), 2);
    fix_begin(fix);
    fix_commit(fix);
    ota_backup_end(NULL);
}

/* What a killed broker left is taken over; what another one is at isn't. */
static void test_a_part_that_is_there(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_backup *backup;
    int fd = open(at(fix, ".ota-backup.part"), O_CREAT | O_RDWR, 0644);
    assert_int_equal(write(fd, "rubbish", 7), 7);
    int journal = open(at(fix, ".ota-backup.part-journal"), O_CREAT | O_RDWR, 0644);
    assert_int_equal(write(journal, "rubbish", 7), 7);
    assert_int_equal(close(journal), 0);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(start(fix, "copy.db", &backup), OTA_CONFLICT);
    assert_int_equal(fix_size_of(at(fix, ".ota-backup.part")), 7);
    assert_int_equal(close(fd), 0);
    assert_int_equal(make(fix, "copy.db"), OTA_OK);
    restore(fix, "copy.db");
    assert_int_equal(count_files(fix, "."), 2);
}

/* The WAL can't start afresh while a copy is made: holding the writer would change nothing. */
static void test_the_writer_is_not_held(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_checkpoint *checkpoint = fix->store->checkpoint;
    sqlite3 *reader = NULL;
    fill(fix, 1);
    assert_int_equal(sqlite3_open(fix->path, &reader), SQLITE_OK);
    assert_int_equal(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM request", NULL, NULL, NULL),
                     SQLITE_OK);
    fill(fix, 30);
    int64_t before = ota_store_bytes(fix->store);
    ota_checkpoint_pin(checkpoint, true);
    ota_checkpoint_note(checkpoint, 2 * OTA_WAL_HARD_PAGES);
    assert_int_equal(ota_checkpoint_pages(checkpoint), 2 * OTA_WAL_HARD_PAGES);
    assert_true(ota_store_is_pressed(fix->store)); /* but bulk work waits */
    assert_int_equal(sqlite3_close(reader), SQLITE_OK);
    ota_checkpoint_pin(checkpoint, false);
    /* nor at the very next commit after it */
    ota_checkpoint_note(checkpoint, 2 * OTA_WAL_HARD_PAGES + 1);
    /* but where it goes on growing: then all is written back when this returns */
    ota_checkpoint_note(checkpoint, 3 * OTA_WAL_HARD_PAGES);
    assert_true(ota_store_bytes(fix->store) > before);
}

static void test_it_is_given_up_where_the_wal_grows_too_long(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_backup *backup;
    fill(fix, 2000);
    assert_int_equal(start(fix, "copy.db", &backup), OTA_OK);
    enum ota_err err = OTA_AGAIN;
    while (err == OTA_AGAIN) { /* a checkpoint that ends just now says that it is short again */
        ota_checkpoint_note(fix->store->checkpoint, 300000);
        err = ota_backup_poll(backup, &fix->error);
    }
    assert_int_equal(err, OTA_UNAVAILABLE);
    assert_non_null(strstr(fix->error.text, "1 GB"));
    ota_backup_end(backup);
    assert_int_equal(count_files(fix, "copy"), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, store_setup, store_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_copy_is_the_database),
        TEST(test_the_writer_goes_on),
        TEST(test_never_over_another_file),
        TEST(test_places_that_cannot_be_written),
        TEST(test_a_full_disk),
        TEST(test_given_up),
        TEST(test_a_part_that_is_there),
        TEST(test_the_writer_is_not_held),
        TEST(test_it_is_given_up_where_the_wal_grows_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
