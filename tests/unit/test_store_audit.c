/* SPDX-License-Identifier: BSD-3-Clause */
/* The audit's rows: their order, how many a call looks at, how old ones go. */
#include "store_fixture.h"

#include <stdio.h>
#include <string.h>

static void insert(struct store_fixture *fix, int64_t time, const char *user, int rows)
{
    fix_begin(fix);
    for (int i = 0; i < rows; i++) {
        struct ota_audit_row row = {
            .at = time, .command = "createDevice", .code = "ok", .count = 1};
        fix_copy(row.user, sizeof row.user, user);
        assert_int_equal(ota_audit_insert(fix->store, &row, &fix->error), OTA_OK);
        assert_true(row.id > 0);
    }
    fix_commit(fix);
}

static bool note_row(void *data, const struct ota_audit_row *row)
{
    return fix_note(data, row->id, row->user);
}

static bool list(struct store_fixture *fix, const struct ota_audit_filter *filter,
                 struct ota_audit_place *place, struct fix_seen *seen)
{
    bool more = false;
    assert_int_equal(
        ota_audit_list(fix->store, filter, place, note_row, seen, place, &more, &fix->error),
        OTA_OK);
    return more;
}

/* By time, whatever the order in which they came, as when the clock was set back. */
static void test_newest_first(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_audit_filter all = {0};
    struct ota_audit_place place = {0};
    struct fix_seen seen = {.stop_after = 2};
    insert(fix, 200, "b", 2);
    insert(fix, 300, "c", 1);
    insert(fix, 100, "a", 1);
    assert_true(list(fix, &all, &place, &seen));
    assert_string_equal(seen.names[0], "c");
    assert_int_equal(seen.ids[1], 2);
    seen = (struct fix_seen){0};
    assert_false(list(fix, &all, &place, &seen));
    assert_int_equal(seen.count, 2);
    assert_int_equal(seen.ids[0], 1);
    assert_string_equal(seen.names[1], "a");
    seen = (struct fix_seen){0};
    place = (struct ota_audit_place){0};
    assert_false(list(fix, &(struct ota_audit_filter){.since = 200}, &place, &seen));
    assert_int_equal(seen.count, 3);
}

/* A page may be empty and not the last: no call looks at more than so many rows. */
static void test_examined_rows_are_bounded(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_audit_filter ann = {.user = "ann"};
    struct ota_audit_place place = {0};
    struct fix_seen seen = {0};
    insert(fix, 1, "ann", 1);
    insert(fix, 1, "bea", OTA_LIST_EXAMINED + 100);
    assert_true(list(fix, &ann, &place, &seen));
    assert_int_equal(seen.count, 0);
    assert_false(list(fix, &ann, &place, &seen));
    assert_int_equal(seen.count, 1);
    place = (struct ota_audit_place){0};
    struct ota_audit_filter other = {.command = "deleteDevice"};
    seen = (struct fix_seen){0};
    while (list(fix, &other, &place, &seen)) {
    }
    assert_int_equal(seen.count, 0);
}

static void test_old_rows_go(void **state)
{
    struct store_fixture *fix = *state;
    bool left = true;
    int slices = 0;
    insert(fix, 100, "a", 25);
    insert(fix, 200, "a", 3);
    for (; left; slices++) {
        fix_begin(fix);
        assert_int_equal(ota_audit_purge(fix->store, 200, 10, &left, &fix->error), OTA_OK);
        fix_commit(fix);
    }
    assert_int_equal(slices, 3);
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM audit"), 3);
}

static void test_counts(void **state)
{
    struct store_fixture *fix = *state;
    insert(fix, 1, "a", 1);
    fix_begin(fix);
    assert_int_equal(ota_audit_set_count(fix->store, 1, 7, &fix->error), OTA_OK);
    assert_int_equal(ota_audit_set_count(fix->store, NO_ROW, 7, NULL), OTA_NOT_FOUND);
    assert_int_equal(ota_audit_set_count(fix->store, 1, 0, NULL), OTA_CONFLICT);
    fix_commit(fix);
    assert_int_equal(fix_int(fix, "SELECT count FROM audit"), 7);
    assert_int_equal(ota_audit_set_count(fix->store, 1, 8, NULL), OTA_INTERNAL);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, store_setup, store_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_newest_first),
        TEST(test_examined_rows_are_bounded),
        TEST(test_old_rows_go),
        TEST(test_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
