/* SPDX-License-Identifier: BSD-3-Clause */
/* A WAL with a mistake in it: what SQLite drops without a word is told. */
#include "store_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAL_HEADER 32
#define WAL_FRAME  (24 + 4096)

/* A database of a process that was killed: its WAL has some commits. */
static char *leave_wal(struct store_fixture *fix, size_t *len)
{
    fix_close(fix);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (fix_open(fix) != OTA_OK) {
            _exit(1);
        }
        for (int i = 0; i < 5; i++) {
            char name[8];
            (void)snprintf(name, sizeof name, "p%d", i);
            (void)fix_product(fix, name);
        }
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    return fix_get_file(fix_beside(fix, "-wal"), len);
}

/* How many of the five products are found, and whether the damage is. */
static void open_with_wal(struct store_fixture *fix, const char *bytes, size_t len, int products,
                          bool damaged)
{
    fix_put_file(fix_beside(fix, "-wal"), bytes, len);
    (void)unlink(fix_beside(fix, "-shm"));
    assert_int_equal(ota_wal_is_damaged(fix_beside(fix, "-wal")), damaged);
    assert_int_equal(fix_open(fix), OTA_OK);
    assert_int_equal(ota_store_opening(fix->store).wal_damaged, damaged);
    assert_false(ota_store_opening(fix->store).made);
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM product"), products);
}

static void test_whole_wal(void **state)
{
    struct store_fixture *fix = *state;
    size_t len = 0;
    char *bytes = leave_wal(fix, &len);
    open_with_wal(fix, bytes, len, 5, false);
    free(bytes);
}

/* A torn end is what a crash leaves. */
static void test_torn_wal(void **state)
{
    struct store_fixture *fix = *state;
    size_t len = 0;
    char *bytes = leave_wal(fix, &len);
    open_with_wal(fix, bytes, len - 1, 4, false);
    free(bytes);
}

static void test_damaged_wal_header(void **state)
{
    struct store_fixture *fix = *state;
    size_t len = 0;
    char *bytes = leave_wal(fix, &len);
    bytes[20]++;
    open_with_wal(fix, bytes, len, 0, true);
    free(bytes);
}

static void test_damaged_wal(void **state)
{
    struct store_fixture *fix = *state;
    size_t len = 0;
    char *bytes = leave_wal(fix, &len);
    bytes[WAL_HEADER + 1000]++;
    open_with_wal(fix, bytes, len, 0, true);
    free(bytes);
}

/* Nothing stands behind the last transaction: when the power goes it may be there by halves. */
static void test_wal_damaged_at_its_end(void **state)
{
    struct store_fixture *fix = *state;
    size_t len = 0;
    char *bytes = leave_wal(fix, &len);
    bytes[len - 1000]++;
    open_with_wal(fix, bytes, len, 4, false);
    bytes[len - 1000]--;
    fix_close(fix);
    bytes[len - WAL_FRAME - 1000]++;
    open_with_wal(fix, bytes, len, 4, false);
    bytes[len - WAL_FRAME - 1000]--;
    free(bytes);
}

/* The one before the last is another matter. */
static void test_wal_damaged_before_its_end(void **state)
{
    struct store_fixture *fix = *state;
    size_t len = 0;
    char *bytes = leave_wal(fix, &len);
    size_t at = len;
    for (int commits = 0; commits < 2; at -= WAL_FRAME) {
        static const char none[4];
        commits += memcmp(bytes + at - WAL_FRAME + 4, none, sizeof none) != 0;
    }
    bytes[at + 1000]++;
    open_with_wal(fix, bytes, len, 3, true);
    free(bytes);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, store_setup, store_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_whole_wal),
        TEST(test_torn_wal),
        TEST(test_damaged_wal_header),
        TEST(test_damaged_wal),
        TEST(test_wal_damaged_at_its_end),
        TEST(test_wal_damaged_before_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
