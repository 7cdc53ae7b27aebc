/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices and tasks: each function, good and bad; lists, their bounds and filters. */
#include "store_fixture.h"

#include <stdio.h>
#include <string.h>

/* --- devices ---------------------------------------------------------------------------------- */

static bool note_device(void *data, const struct ota_device_row *row)
{
    return fix_note(data, row->id, row->name);
}

static void test_device(void **state)
{
    struct store_fixture *fix = *state;
    int64_t product = fix_product(fix, "door");
    struct ota_device_row row = {.product_id = product, .created_at = FIX_NOW, .hold = true};
    struct ota_device_row read = {0};
    fix_copy(row.name, sizeof row.name, "d1");
    fix_copy(row.tags, sizeof row.tags, "a b");
    fix_begin(fix);
    assert_int_equal(ota_device_insert(fix->store, &row, &fix->error), OTA_OK);
    fix_commit(fix);
    assert_int_equal(ota_device_get(fix->store, row.id, &read, &fix->error), OTA_OK);
    assert_int_equal(read.product_id, product);
    assert_string_equal(read.name, "d1");
    assert_string_equal(read.description, "");
    assert_string_equal(read.tags, "a b");
    assert_true(read.hold);
    assert_string_equal(read.version, "");
    assert_int_equal(read.version_at, 0);
    assert_int_equal(read.last_seen_at, 0);
    assert_int_equal(read.created_at, FIX_NOW);
    assert_int_equal(read.last_task, 0);
    assert_int_equal(read.gateway_id, 0);
    assert_int_equal(ota_device_get(fix->store, NO_ROW, &read, NULL), OTA_NOT_FOUND);
    assert_int_equal(fix_int(fix, "SELECT version IS NULL AND last_task IS NULL FROM device"), 1);
    fix_begin(fix);
    assert_int_equal(ota_device_insert(fix->store, &row, NULL), OTA_CONFLICT);
    row.product_id = NO_ROW;
    assert_int_equal(ota_device_insert(fix->store, &row, NULL), OTA_CONFLICT);
    ota_store_rollback(fix->store);
}

static void test_device_update(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_device_row row;
    int64_t product = fix_product(fix, "door");
    int64_t id = fix_device(fix, product, "d1");
    assert_int_equal(ota_device_get(fix->store, id, &row, &fix->error), OTA_OK);
    fix_copy(row.description, sizeof row.description, "by the lift");
    fix_copy(row.tags, sizeof row.tags, "x");
    row.hold = true;
    fix_begin(fix);
    assert_int_equal(ota_device_update(fix->store, &row, &fix->error), OTA_OK);
    assert_int_equal(ota_device_set_last_seen(fix->store, id, 77, &fix->error), OTA_OK);
    assert_int_equal(ota_device_set_last_seen(fix->store, NO_ROW, 77, NULL), OTA_NOT_FOUND);
    struct ota_device_row other = {.id = NO_ROW};
    assert_int_equal(ota_device_update(fix->store, &other, NULL), OTA_NOT_FOUND);
    fix_commit(fix);
    assert_int_equal(ota_device_get(fix->store, id, &row, &fix->error), OTA_OK);
    assert_string_equal(row.description, "by the lift");
    assert_string_equal(row.tags, "x");
    assert_true(row.hold);
    assert_int_equal(row.last_seen_at, 77);
}

static bool note_version(void *data, int64_t at, const char *version)
{
    return fix_note(data, at, version);
}

static void test_device_versions(void **state)
{
    struct store_fixture *fix = *state;
    struct fix_seen all = {0};
    struct fix_seen older = {.stop_after = 1};
    struct ota_device_row row;
    int64_t product = fix_product(fix, "door");
    int64_t id = fix_device(fix, product, "d1");
    fix_begin(fix);
    assert_int_equal(ota_device_set_version(fix->store, id, "1.0", 100, &fix->error), OTA_OK);
    assert_int_equal(ota_device_set_version(fix->store, id, "2.0", 200, &fix->error), OTA_OK);
    assert_int_equal(ota_device_set_version(fix->store, id, "3.0", 200, &fix->error), OTA_OK);
    /* the clock was set back */
    assert_int_equal(ota_device_set_version(fix->store, id, "4.0", 50, &fix->error), OTA_OK);
    assert_int_equal(ota_device_set_version(fix->store, NO_ROW, "1.0", 1, NULL), OTA_NOT_FOUND);
    fix_commit(fix);
    assert_int_equal(ota_device_get(fix->store, id, &row, &fix->error), OTA_OK);
    assert_string_equal(row.version, "4.0");
    assert_int_equal(row.version_at, 202);
    assert_int_equal(ota_device_versions(fix->store, id, 0, note_version, &all, NULL), OTA_OK);
    assert_int_equal(all.count, 4);
    assert_string_equal(all.names[0], "4.0");
    assert_int_equal(all.ids[0], 202);
    assert_string_equal(all.names[3], "1.0");
    assert_int_equal(ota_device_versions(fix->store, id, 201, note_version, &older, NULL), OTA_OK);
    assert_int_equal(older.count, 1);
    assert_string_equal(older.names[0], "2.0");
    fix_begin(fix);
    assert_int_equal(ota_device_set_version(fix->store, id, "", 300, NULL), OTA_CONFLICT);
    ota_store_rollback(fix->store);
}

static void test_device_gateway(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_device_row row;
    int64_t product = fix_product(fix, "door");
    int64_t gateway = fix_device(fix, product, "gateway");
    int64_t device = fix_device(fix, product, "d1");
    fix_begin(fix);
    assert_int_equal(ota_device_set_gateway(fix->store, device, gateway, &fix->error), OTA_OK);
    assert_int_equal(ota_device_set_gateway(fix->store, NO_ROW, gateway, NULL), OTA_NOT_FOUND);
    fix_commit(fix);
    assert_int_equal(ota_device_get(fix->store, device, &row, &fix->error), OTA_OK);
    assert_int_equal(row.gateway_id, gateway);
    fix_begin(fix);
    assert_int_equal(ota_device_set_gateway(fix->store, device, 0, &fix->error), OTA_OK);
    assert_int_equal(ota_device_set_gateway(fix->store, device, NO_ROW, NULL), OTA_CONFLICT);
    fix_commit(fix);
    assert_int_equal(ota_device_get(fix->store, device, &row, &fix->error), OTA_OK);
    assert_int_equal(row.gateway_id, 0);
}

static int64_t count_rows(struct store_fixture *fix)
{
    return fix_int(fix, "SELECT (SELECT count(*) FROM event) + (SELECT count(*) FROM task) + "
                        "(SELECT count(*) FROM device_version) + (SELECT count(*) FROM device) + "
                        "(SELECT count(*) FROM product)");
}

static void purge_some(struct store_fixture *fix, int rows, bool *left)
{
    fix_begin(fix);
    int64_t before = fix_int(fix, "SELECT total_changes()");
    assert_int_equal(ota_product_purge(fix->store, rows, left, &fix->error), OTA_OK);
    /* Beside what it deletes it notes where it stands in a task. */
    assert_true(fix_int(fix, "SELECT total_changes()") - before <= 2 * rows);
    fix_commit(fix);
}

/* Out of sight at once, and its name is free; its rows go in slices of any size, over a restart. */
static void test_a_deleted_device_goes_in_slices(void **state)
{
    static const int budgets[] = {1, 2, 3, 7, 1000};
    struct store_fixture *fix = *state;
    for (size_t i = 0; i < sizeof budgets / sizeof *budgets; i++) {
        char name[8];
        int64_t gone = 0;
        struct ota_device_row row;
        (void)snprintf(name, sizeof name, "p%zu", i);
        int64_t product = fix_full_product(fix, name, &gone);
        fix_begin(fix);
        assert_int_equal(ota_device_doom(fix->store, gone, &fix->error), OTA_OK);
        fix_commit(fix);
        int64_t rows = count_rows(fix);
        assert_true(fix_device(fix, product, "d2") > gone);
        struct fix_seen seen = {0};
        assert_int_equal(ota_device_load(fix->store, note_device, &seen, &fix->error), OTA_OK);
        assert_int_equal(seen.count, 3 * (i + 1));
        bool left = true;
        purge_some(fix, budgets[i], &left);
        fix_close(fix);
        assert_int_equal(fix_open(fix), OTA_OK);
        while (left) {
            purge_some(fix, budgets[i], &left);
        }
        assert_int_equal(ota_device_get(fix->store, gone, &row, NULL), OTA_NOT_FOUND);
        /* the device, 2 tasks of 3 entries, 1 version, the place where it lay; and the new one */
        assert_int_equal(rows + 1 - count_rows(fix), 1 + 2 * 4 + 2 + 1);
        assert_int_equal(fix_int(fix, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
    }
}

/* The tasks of a device that goes still name the product that it was in. */
static void test_device_and_product_go_together(void **state)
{
    struct store_fixture *fix = *state;
    int64_t kept = 0;
    int64_t gone = 0;
    int64_t image = 0;
    (void)fix_full_product(fix, "kept", &kept);
    int64_t rows = count_rows(fix);
    int64_t product = fix_full_product(fix, "gone", &gone);
    (void)fix_firmware(fix, product, "9.0", 10, &image);
    bool left = true;
    fix_begin(fix);
    assert_int_equal(ota_device_doom(fix->store, gone, &fix->error), OTA_OK);
    assert_int_equal(ota_product_doom(fix->store, product, &fix->error), OTA_OK);
    fix_commit(fix);
    while (left) {
        purge_some(fix, 5, &left);
    }
    assert_int_equal(count_rows(fix), rows);
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
}

static void test_device_doom(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_device_row row;
    int64_t gateway = 0;
    int64_t product = fix_full_product(fix, "door", &gateway);
    int64_t member = fix_device(fix, product, "member");
    fix_begin(fix);
    assert_int_equal(ota_device_set_gateway(fix->store, member, gateway, &fix->error), OTA_OK);
    fix_commit(fix);
    struct ota_task_row task = fix_task(fix, gateway, 1);
    fix_begin(fix);
    assert_int_equal(ota_device_doom(fix->store, gateway, &fix->error), OTA_CONFLICT);
    assert_non_null(strstr(fix->error.text, "unfinished"));
    ota_store_rollback(fix->store);
    fix_change(fix, &task, OTA_CANCELLED);
    fix_begin(fix);
    assert_int_equal(ota_device_doom(fix->store, gateway, &fix->error), OTA_OK);
    assert_int_equal(ota_device_doom(fix->store, NO_ROW, NULL), OTA_NOT_FOUND);
    fix_commit(fix);
    bool left = true;
    while (left) {
        purge_some(fix, 10, &left);
    }
    assert_int_equal(ota_device_get(fix->store, gateway, &row, NULL), OTA_NOT_FOUND);
    assert_int_equal(ota_device_get(fix->store, member, &row, &fix->error), OTA_OK);
    assert_int_equal(row.gateway_id, 0);
    /* The two other devices keep what is theirs. */
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM task"), 4);
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM event"), 12);
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM device_version"), 4);
}

static bool note_loaded(void *data, const struct ota_device_row *row)
{
    assert_string_equal(row->version, strcmp(row->name, "d9") == 0 ? "" : "2.0");
    assert_true(row->product_id != 0);
    return fix_note(data, row->id, row->name);
}

static void test_device_load(void **state)
{
    struct store_fixture *fix = *state;
    struct fix_seen all = {0};
    int64_t gateway = 0;
    int64_t kept = fix_full_product(fix, "kept", &gateway);
    int64_t doomed = fix_product(fix, "doomed");
    (void)fix_device(fix, doomed, "gone");
    (void)fix_device(fix, kept, "d9");
    fix_begin(fix);
    assert_int_equal(ota_product_doom(fix->store, doomed, &fix->error), OTA_OK);
    fix_commit(fix);
    assert_int_equal(ota_device_load(fix->store, note_loaded, &all, &fix->error), OTA_OK);
    assert_int_equal(all.count, 4);
    assert_string_equal(all.names[3], "d9");
    assert_true(all.ids[0] < all.ids[1]);
    all = (struct fix_seen){.stop_after = 2};
    assert_int_equal(ota_device_load(fix->store, note_loaded, &all, &fix->error), OTA_OK);
    assert_int_equal(all.count, 2);
}

/* --- device lists ------------------------------------------------------------------------------
 */

struct page {
    struct fix_seen seen;
    char last[OTA_DEVICE_MAX + 1];
    bool more;
};

static struct page list(struct store_fixture *fix, const struct ota_device_filter *filter,
                        const char *after, int stop_after)
{
    struct page page = {.seen = {.stop_after = stop_after}};
    assert_int_equal(ota_device_list(fix->store, filter, after, note_device, &page.seen, page.last,
                                     &page.more, &fix->error),
                     OTA_OK);
    return page;
}

static void test_device_list_pages(void **state)
{
    struct store_fixture *fix = *state;
    int64_t product = fix_product(fix, "door");
    int64_t other = fix_product(fix, "other");
    struct ota_device_filter filter = {.product_id = product};
    static const char *const names[] = {"b", "a", "c", "b.1", "b-1"};
    for (int i = 0; i < 5; i++) {
        (void)fix_device(fix, product, names[i]);
    }
    (void)fix_device(fix, other, "a");
    struct page page = list(fix, &filter, "", 0);
    assert_int_equal(page.seen.count, 5);
    assert_string_equal(page.seen.names[0], "a");
    assert_string_equal(page.last, "c");
    assert_false(page.more);
    page = list(fix, &filter, "", 2);
    assert_int_equal(page.seen.count, 2);
    assert_string_equal(page.last, "b");
    assert_true(page.more);
    page = list(fix, &filter, "b", 0); /* "b-1" and "b.1" come after it */
    assert_int_equal(page.seen.count, 3);
    assert_string_equal(page.seen.names[0], "b-1");
    page = list(fix, &filter, "", 5);
    assert_false(page.more);
    page = list(fix, &filter, "c", 0);
    assert_int_equal(page.seen.count, 0);
    assert_string_equal(page.last, "c");
    assert_false(page.more);
}

static void test_device_list_prefix(void **state)
{
    struct store_fixture *fix = *state;
    int64_t product = fix_product(fix, "door");
    static const char *const names[] = {"a", "ab", "ab1", "ac", "b", "aB"};
    for (int i = 0; i < 6; i++) {
        (void)fix_device(fix, product, names[i]);
    }
    struct ota_device_filter filter = {.product_id = product, .prefix = "ab"};
    struct page page = list(fix, &filter, "", 0);
    assert_int_equal(page.seen.count, 2);
    assert_string_equal(page.seen.names[0], "ab");
    assert_string_equal(page.last, "ab1");
    assert_false(page.more);
    page = list(fix, &filter, "ab", 0);
    assert_int_equal(page.seen.count, 1);
    page = list(fix, &filter, "zz", 0);
    assert_int_equal(page.seen.count, 0);
    page = list(fix, &filter, "a", 1);
    assert_string_equal(page.last, "ab");
    assert_true(page.more);
}

static void test_device_list_filters(void **state)
{
    struct store_fixture *fix = *state;
    bool yes = true;
    bool no = false;
    int64_t product = fix_product(fix, "door");
    int64_t a = fix_device(fix, product, "a");
    int64_t b = fix_device(fix, product, "b");
    struct ota_device_row row = {.id = a, .tags = "floor:1 lift"};
    fix->online = b;
    fix_begin(fix);
    assert_int_equal(ota_device_update(fix->store, &row, &fix->error), OTA_OK);
    assert_int_equal(ota_device_set_version(fix->store, a, "1.0", 5, &fix->error), OTA_OK);
    assert_int_equal(ota_device_set_gateway(fix->store, a, b, &fix->error), OTA_OK);
    fix_commit(fix);
    struct {
        struct ota_device_filter filter;
        int count;
        const char *name;
    } cases[] = {
        {{.version = "1.0"}, 1, "a"},
        {{.version = "2.0"}, 0, ""},
        {{.tag = "lift"}, 1, "a"},
        {{.tag = "floor:1"}, 1, "a"},
        {{.tag = "floor"}, 0, ""},
        {{.tag = "ift"}, 0, ""},
        {{.online = &yes}, 1, "b"},
        {{.online = &no}, 1, "a"},
        {{.gateway_id = b}, 1, "a"},
        {{.gateway_id = a}, 0, ""},
        {{.gateway_id = b, .prefix = "b"}, 0, ""},
        {{.version = "1.0", .online = &yes}, 0, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cases[i].filter.product_id = product;
        struct page page = list(fix, &cases[i].filter, "", 0);
        assert_int_equal(page.seen.count, cases[i].count);
        assert_string_equal(page.seen.names[0], cases[i].name);
    }
}

static void add_devices(struct store_fixture *fix, int64_t product, int count)
{
    struct ota_device_row row = {.product_id = product, .created_at = FIX_NOW};
    fix_begin(fix);
    for (int i = 0; i < count; i++) {
        (void)snprintf(row.name, sizeof row.name, "d%06d", i);
        assert_int_equal(ota_device_insert(fix->store, &row, &fix->error), OTA_OK);
    }
    fix_commit(fix);
}

/* A call looks at so many rows whether they match or not, and the next one goes on behind them. */
static void test_device_list_is_bounded(void **state)
{
    struct store_fixture *fix = *state;
    char last[OTA_DEVICE_MAX + 1];
    int64_t product = fix_product(fix, "door");
    struct ota_device_filter filter = {.product_id = product, .version = "9"};
    add_devices(fix, product, OTA_LIST_EXAMINED + 1);
    struct page page = list(fix, &filter, "", 0);
    assert_int_equal(page.seen.count, 0);
    assert_true(page.more);
    (void)snprintf(last, sizeof last, "d%06d", OTA_LIST_EXAMINED - 1);
    assert_string_equal(page.last, last);
    page = list(fix, &filter, last, 0);
    assert_false(page.more);
    (void)snprintf(last, sizeof last, "d%06d", OTA_LIST_EXAMINED);
    assert_string_equal(page.last, last);
    page = list(fix, &filter, "d000000", 0);
    assert_false(page.more); /* exactly as many as it looks at */
}

/* --- tasks ------------------------------------------------------------------------------------ */

static bool note_task(void *data, const struct ota_task_row *row)
{
    return fix_note(data, row->id, row->version);
}

static struct ota_task_row full_task(int64_t device)
{
    struct ota_task_row row = {
        .device_id = device,
        .firmware_id = 5,
        .batch_id = 6,
        .version = "2.0",
        .from_version = "1.0",
        .status = OTA_FAILED,
        .confirmation = OTA_UNCONFIRMED,
        .ending = OTA_ENDING_DEVICE,
        .attempt = 2,
        .percent = 33,
        .has_result_code = true,
        .result_code = -3,
        .device_message = "no room",
        .flags = 5,
        .timeout_ms = 600000,
        .retry_max = 4,
        .retry_delay_ms = 30000,
        .retry_on = "timeout,-1",
        .retries = 1,
        .created_at = FIX_NOW,
        .sent_at = FIX_NOW + 1,
        .updated_at = FIX_NOW + 2,
        .finished_at = FIX_NOW + 3,
        .deadline = 44,
        .settle_until = 55,
    };
    return row;
}

static void assert_same_texts(const struct ota_task_row *a, const struct ota_task_row *b)
{
    assert_string_equal(a->version, b->version);
    assert_string_equal(a->from_version, b->from_version);
    assert_string_equal(a->device_message, b->device_message);
    assert_string_equal(a->retry_on, b->retry_on);
}

static void assert_same_task(const struct ota_task_row *a, const struct ota_task_row *b)
{
    assert_same_texts(a, b);
    assert_int_equal(a->id, b->id);
    assert_int_equal(a->product_id, b->product_id);
    assert_int_equal(a->device_id, b->device_id);
    assert_int_equal(a->firmware_id, b->firmware_id);
    assert_int_equal(a->batch_id, b->batch_id);
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->confirmation, b->confirmation);
    assert_int_equal(a->ending, b->ending);
    assert_int_equal(a->attempt, b->attempt);
    assert_int_equal(a->percent, b->percent);
    assert_int_equal(a->has_result_code, b->has_result_code);
    assert_int_equal(a->result_code, b->result_code);
    assert_int_equal(a->flags, b->flags);
    assert_int_equal(a->timeout_ms, b->timeout_ms);
    assert_int_equal(a->retry_max, b->retry_max);
    assert_int_equal(a->retry_delay_ms, b->retry_delay_ms);
    assert_int_equal(a->retries, b->retries);
    assert_int_equal(a->created_at, b->created_at);
    assert_int_equal(a->sent_at, b->sent_at);
    assert_int_equal(a->updated_at, b->updated_at);
    assert_int_equal(a->finished_at, b->finished_at);
    assert_int_equal(a->deadline, b->deadline);
    assert_int_equal(a->settle_until, b->settle_until);
    assert_int_equal(a->last_event, b->last_event);
}

static void test_task(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_task_row read = {0};
    struct ota_device_row device_row;
    int64_t product = fix_product(fix, "door");
    int64_t device = fix_device(fix, product, "d1");
    struct ota_task_row row = full_task(device);
    fix_begin(fix);
    assert_int_equal(ota_task_insert(fix->store, &row, &fix->error), OTA_OK);
    fix_commit(fix);
    assert_int_equal(row.product_id, product);
    assert_int_equal(ota_task_get(fix->store, row.id, &read, &fix->error), OTA_OK);
    assert_same_task(&read, &row);
    assert_int_equal(ota_device_get(fix->store, device, &device_row, &fix->error), OTA_OK);
    assert_int_equal(device_row.last_task, 0); /* it is the newest one */
    assert_int_equal(ota_task_get(fix->store, NO_ROW, &read, NULL), OTA_NOT_FOUND);
    fix_begin(fix);
    row = full_task(NO_ROW);
    assert_int_equal(ota_task_insert(fix->store, &row, NULL), OTA_NOT_FOUND);
    assert_int_equal(row.id, 0);
    ota_store_rollback(fix->store);
}

/* What the device's row says: 0 where the newest one is the last. */
static int64_t last_task_of(struct store_fixture *fix, int64_t device)
{
    struct ota_device_row row;
    assert_int_equal(ota_device_get(fix->store, device, &row, &fix->error), OTA_OK);
    return row.last_task;
}

static void test_one_unfinished_task(void **state)
{
    struct store_fixture *fix = *state;
    int64_t product = fix_product(fix, "door");
    int64_t device = fix_device(fix, product, "d1");
    struct ota_task_row first = fix_task(fix, device, 1);
    struct ota_task_row second = first;
    fix_begin(fix);
    assert_int_equal(ota_task_insert(fix->store, &second, &fix->error), OTA_CONFLICT);
    ota_store_rollback(fix->store);
    fix_change(fix, &first, OTA_FAILED);
    second = fix_task(fix, device, 1);
    /* Nor does an old one come back beside it. */
    struct ota_event_row event = {.at = FIX_NOW};
    first.status = OTA_WAITING;
    first.finished_at = 0;
    fix_begin(fix);
    assert_int_equal(ota_task_change(fix->store, &first, &event, NULL), OTA_CONFLICT);
    ota_store_rollback(fix->store);
    fix_change(fix, &second, OTA_CANCELLED);
    fix_change(fix, &first, OTA_WAITING);
    assert_int_equal(last_task_of(fix, device), first.id);
}

/* What was told last of the device when all last tasks are read. */
struct last_task {
    int64_t device;
    int64_t task;
};

static bool note_last(void *data, int64_t device_id, int64_t task_id)
{
    struct last_task *last = data;
    if (last->device == device_id) {
        last->task = task_id;
    }
    return true;
}

static int64_t loaded_last(struct store_fixture *fix, int64_t device)
{
    struct last_task last = {.device = device};
    assert_int_equal(ota_task_load_last(fix->store, note_last, &last, &fix->error), OTA_OK);
    return last.task;
}

/* The newest task is the last one, until an older one is tried again, until there is a newer one.
 */
static void test_last_task(void **state)
{
    struct store_fixture *fix = *state;
    int64_t product = fix_product(fix, "door");
    int64_t device = fix_device(fix, product, "d1");
    int64_t other = fix_device(fix, product, "d2");
    assert_int_equal(loaded_last(fix, device), 0);
    struct ota_task_row first = fix_task(fix, device, 1);
    fix_change(fix, &first, OTA_FAILED);
    struct ota_task_row others = fix_task(fix, other, 1);
    struct ota_task_row second = fix_task(fix, device, 1);
    assert_int_equal(loaded_last(fix, device), second.id);
    assert_int_equal(loaded_last(fix, other), others.id);
    fix_change(fix, &second, OTA_FAILED);
    assert_int_equal(last_task_of(fix, device), 0);
    fix_change(fix, &first, OTA_WAITING);
    assert_int_equal(loaded_last(fix, device), first.id);
    fix_change(fix, &first, OTA_MESSAGE_SENT);
    fix_change(fix, &first, OTA_FAILED);
    assert_int_equal(loaded_last(fix, device), first.id);
    fix_change(fix, &second, OTA_WAITING); /* the newest again */
    assert_int_equal(last_task_of(fix, device), 0);
    assert_int_equal(loaded_last(fix, device), second.id);
    fix_change(fix, &second, OTA_FAILED);
    fix_change(fix, &first, OTA_WAITING);
    fix_change(fix, &first, OTA_CANCELLED);
    struct ota_task_row third = fix_task(fix, device, 1);
    assert_int_equal(last_task_of(fix, device), 0);
    assert_int_equal(loaded_last(fix, device), third.id);
    assert_int_equal(loaded_last(fix, other), others.id);
}

static void test_task_status_and_end_agree(void **state)
{
    struct store_fixture *fix = *state;
    int64_t product = fix_product(fix, "door");
    struct ota_task_row row = fix_task(fix, fix_device(fix, product, "d1"), 1);
    struct ota_event_row event = {.at = FIX_NOW, .status = OTA_SUCCEEDED};
    row.status = OTA_SUCCEEDED;
    fix_begin(fix);
    assert_int_equal(ota_task_change(fix->store, &row, &event, &fix->error), OTA_CONFLICT);
    assert_int_equal(row.last_event, 0);
    ota_store_rollback(fix->store);
}

/* Everything that can change does, and comes back; once with and once without an end. */
static void test_task_change(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_task_row read;
    struct ota_event_row event = {.at = FIX_NOW};
    int64_t product = fix_product(fix, "door");
    int64_t device = fix_device(fix, product, "d1");
    struct ota_task_row plain = fix_task(fix, device, 1);
    struct ota_task_row row = full_task(device);
    row.id = plain.id;
    row.product_id = product;
    row.created_at = plain.created_at;
    row.firmware_id = 1;
    row.batch_id = 0;
    row.timeout_ms = plain.timeout_ms;
    row.retry_max = 0;
    row.retry_delay_ms = 0;
    memset(row.retry_on, 0, sizeof row.retry_on);
    for (int round = 0; round < 2; round++) {
        row.status = round == 0 ? OTA_UPGRADING : OTA_SUCCEEDED;
        row.confirmation = OTA_PENDING;
        row.finished_at = round == 0 ? 0 : FIX_NOW;
        fix_begin(fix);
        assert_int_equal(ota_task_change(fix->store, &row, &event, &fix->error), OTA_OK);
        fix_commit(fix);
        assert_int_equal(ota_task_get(fix->store, row.id, &read, &fix->error), OTA_OK);
        assert_same_task(&read, &row);
    }
    row.id = NO_ROW;
    fix_begin(fix);
    assert_int_equal(ota_task_change(fix->store, &row, &event, NULL), OTA_NOT_FOUND);
    ota_store_rollback(fix->store);
}

/* The contract: a page of the table, and a page of events, and no index. */
static void test_task_change_is_cheap(void **state)
{
    struct store_fixture *fix = *state;
    int pages = 0;
    int highest = 0;
    int64_t product = fix_product(fix, "door");
    struct ota_task_row row = fix_task(fix, fix_device(fix, product, "d1"), 1);
    fix_change(fix, &row, OTA_MESSAGE_SENT);
    sqlite3 *db = fix->store->conn.db;
    (void)sqlite3_db_status(db, SQLITE_DBSTATUS_CACHE_WRITE, &pages, &highest, 1);
    fix_change(fix, &row, OTA_DOWNLOADING);
    (void)sqlite3_db_status(db, SQLITE_DBSTATUS_CACHE_WRITE, &pages, &highest, 1);
    assert_int_equal(pages, 2);
    fix_begin(fix);
    assert_int_equal(ota_task_set_percent(fix->store, row.id, 50, &fix->error), OTA_OK);
    fix_commit(fix);
    (void)sqlite3_db_status(db, SQLITE_DBSTATUS_CACHE_WRITE, &pages, &highest, 1);
    assert_int_equal(pages, 1);
}

static void test_task_percent(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_task_row row;
    int64_t product = fix_product(fix, "door");
    int64_t id = fix_task(fix, fix_device(fix, product, "d1"), 1).id;
    fix_begin(fix);
    assert_int_equal(ota_task_set_percent(fix->store, id, 42, &fix->error), OTA_OK);
    assert_int_equal(ota_task_set_percent(fix->store, id, 101, NULL), OTA_CONFLICT);
    assert_int_equal(ota_task_set_percent(fix->store, NO_ROW, 1, NULL), OTA_NOT_FOUND);
    fix_commit(fix);
    assert_int_equal(ota_task_get(fix->store, id, &row, &fix->error), OTA_OK);
    assert_int_equal(row.percent, 42);
}

static void test_task_load(void **state)
{
    struct store_fixture *fix = *state;
    struct fix_seen all = {0};
    int64_t product = fix_product(fix, "door");
    int64_t first_device = fix_device(fix, product, "d1");
    struct ota_task_row second = fix_task(fix, fix_device(fix, product, "d2"), 1);
    struct ota_task_row third = fix_task(fix, first_device, 1);
    struct ota_task_row ended = fix_task(fix, fix_device(fix, product, "d3"), 1);
    fix_change(fix, &ended, OTA_FAILED);
    assert_int_equal(ota_task_load(fix->store, note_task, &all, &fix->error), OTA_OK);
    assert_int_equal(all.count, 2);
    assert_int_equal(all.ids[0], second.id); /* by task, not by device */
    assert_int_equal(all.ids[1], third.id);
    all = (struct fix_seen){.stop_after = 1};
    assert_int_equal(ota_task_load(fix->store, note_task, &all, &fix->error), OTA_OK);
    assert_int_equal(all.count, 1);
}

static bool note_event(void *data, const struct ota_event_row *row)
{
    assert_true(row->task_id > 0);
    return fix_note(data, row->status, row->detail);
}

/* Two tasks whose events lie between one another. */
static void test_event_chain(void **state)
{
    static const enum ota_status steps[] = {OTA_MESSAGE_SENT, OTA_DOWNLOADING, OTA_WAITING,
                                            OTA_UPGRADING, OTA_SUCCEEDED};
    struct store_fixture *fix = *state;
    struct fix_seen seen = {0};
    int64_t product = fix_product(fix, "door");
    struct ota_task_row a = fix_task(fix, fix_device(fix, product, "a"), 1);
    struct ota_task_row b = fix_task(fix, fix_device(fix, product, "b"), 1);
    assert_int_equal(ota_task_events(fix->store, a.id, note_event, &seen, NULL), OTA_OK);
    assert_int_equal(seen.count, 0);
    for (int i = 0; i < 5; i++) {
        fix_change(fix, &a, steps[i]);
        fix_change(fix, &b, i < 4 ? OTA_DOWNLOADING : OTA_FAILED);
    }
    assert_int_equal(ota_task_events(fix->store, a.id, note_event, &seen, NULL), OTA_OK);
    assert_int_equal(seen.count, 5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(seen.ids[i], steps[i]);
    }
    seen = (struct fix_seen){.stop_after = 2};
    assert_int_equal(ota_task_events(fix->store, a.id, note_event, &seen, NULL), OTA_OK);
    assert_int_equal(seen.count, 2);
    assert_int_equal(ota_task_events(fix->store, NO_ROW, note_event, &seen, NULL), OTA_OK);
    assert_int_equal(seen.count, 2);
}

static void test_long_history(void **state)
{
    struct store_fixture *fix = *state;
    struct fix_seen seen = {0};
    struct ota_event_row event = {.at = FIX_NOW};
    int64_t product = fix_product(fix, "door");
    struct ota_task_row row = fix_task(fix, fix_device(fix, product, "d1"), 1);
    fix_begin(fix);
    for (int i = 0; i < OTA_EVENTS_MAX + 5; i++) {
        (void)snprintf(event.detail, sizeof event.detail, "%d", i);
        assert_int_equal(ota_task_change(fix->store, &row, &event, &fix->error), OTA_OK);
    }
    fix_commit(fix);
    assert_int_equal(ota_task_events(fix->store, row.id, note_event, &seen, NULL), OTA_OK);
    assert_int_equal(seen.count, OTA_EVENTS_MAX);
    assert_string_equal(seen.names[0], "5");
}

struct task_page {
    struct fix_seen seen;
    int64_t last;
    bool more;
};

static struct task_page list_tasks(struct store_fixture *fix, const struct ota_task_filter *filter,
                                   int64_t before, int stop_after)
{
    struct task_page page = {.seen = {.stop_after = stop_after}};
    assert_int_equal(ota_task_list(fix->store, filter, before, note_task, &page.seen, &page.last,
                                   &page.more, &fix->error),
                     OTA_OK);
    return page;
}

static void test_task_list_pages(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_task_filter filter = {.shown = OTA_SHOWN_COUNT};
    int64_t ids[4];
    int64_t product = fix_product(fix, "door");
    for (int i = 0; i < 4; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "d%d", i);
        ids[i] = fix_task(fix, fix_device(fix, product, name), 1).id;
    }
    struct task_page page = list_tasks(fix, &filter, 0, 0);
    assert_int_equal(page.seen.count, 4);
    assert_int_equal(page.seen.ids[0], ids[3]);
    assert_int_equal(page.last, ids[0]);
    assert_false(page.more);
    page = list_tasks(fix, &filter, ids[3], 2);
    assert_int_equal(page.seen.count, 2);
    assert_int_equal(page.seen.ids[0], ids[2]);
    assert_int_equal(page.last, ids[1]);
    assert_true(page.more);
    page = list_tasks(fix, &filter, ids[0], 0);
    assert_int_equal(page.seen.count, 0);
    assert_int_equal(page.last, ids[0]);
    assert_false(page.more);
}

static void test_task_list_filters(void **state)
{
    struct store_fixture *fix = *state;
    int64_t p = fix_product(fix, "door");
    int64_t q = fix_product(fix, "other");
    int64_t d1 = fix_device(fix, p, "d1");
    int64_t d2 = fix_device(fix, p, "d2");
    int64_t d3 = fix_device(fix, q, "d3");
    struct ota_task_row done = full_task(d1); /* of batch 6 */
    fix_begin(fix);
    assert_int_equal(ota_task_insert(fix->store, &done, &fix->error), OTA_OK);
    fix_commit(fix);
    struct ota_task_row offline = fix_task(fix, d1, 1);
    struct ota_task_row online = fix_task(fix, d2, 1);
    struct ota_task_row sent = fix_task(fix, d3, 1);
    fix_change(fix, &sent, OTA_MESSAGE_SENT);
    fix->online = d2;
    struct {
        struct ota_task_filter filter;
        int count;
        int64_t first;
    } cases[] = {
        {{.shown = OTA_SHOWN_COUNT}, 4, sent.id},
        {{.shown = OTA_SHOWN_COUNT, .product_id = p}, 3, online.id},
        {{.shown = OTA_SHOWN_COUNT, .product_id = q}, 1, sent.id},
        {{.shown = OTA_SHOWN_COUNT, .device_id = d1}, 2, offline.id},
        {{.shown = OTA_SHOWN_COUNT, .batch_id = 6}, 1, done.id},
        {{.shown = OTA_SHOWN_COUNT, .batch_id = 6, .device_id = d2}, 0, 0},
        {{.shown = OTA_SHOWN_COUNT, .batch_id = 6, .product_id = q}, 0, 0},
        {{.shown = OTA_SHOWN_COUNT, .version = "2.0"}, 4, sent.id},
        {{.shown = OTA_SHOWN_COUNT, .version = "2"}, 0, 0},
        {{.shown = OTA_SHOWN_DEVICE_OFFLINE}, 1, offline.id},
        {{.shown = OTA_SHOWN_TASK_WAITING}, 1, online.id},
        {{.shown = OTA_SHOWN_MESSAGE_SENT}, 1, sent.id},
        {{.shown = OTA_SHOWN_FAILED, .device_id = d1}, 1, done.id},
        {{.shown = OTA_SHOWN_SUCCEEDED}, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct task_page page = list_tasks(fix, &cases[i].filter, 0, 0);
        assert_int_equal(page.seen.count, cases[i].count);
        assert_int_equal(page.seen.ids[0], cases[i].first);
        assert_false(page.more);
    }
}

static void test_task_list_is_bounded(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_task_filter filter = {.shown = OTA_SHOWN_COUNT, .version = "9"};
    int64_t product = fix_product(fix, "door");
    int64_t device = fix_device(fix, product, "d1");
    fix_begin(fix);
    for (int i = 0; i < OTA_LIST_EXAMINED + 1; i++) {
        struct ota_task_row row = full_task(device);
        assert_int_equal(ota_task_insert(fix->store, &row, &fix->error), OTA_OK);
    }
    fix_commit(fix);
    struct task_page page = list_tasks(fix, &filter, 0, 0);
    assert_int_equal(page.seen.count, 0);
    assert_int_equal(page.last, 2);
    assert_true(page.more);
    page = list_tasks(fix, &filter, page.last, 0);
    assert_int_equal(page.last, 1);
    assert_false(page.more);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, store_setup, store_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_device),
        TEST(test_device_update),
        TEST(test_device_versions),
        TEST(test_device_gateway),
        TEST(test_a_deleted_device_goes_in_slices),
        TEST(test_device_and_product_go_together),
        TEST(test_device_doom),
        TEST(test_device_load),
        TEST(test_device_list_pages),
        TEST(test_device_list_prefix),
        TEST(test_device_list_filters),
        TEST(test_device_list_is_bounded),
        TEST(test_task),
        TEST(test_one_unfinished_task),
        TEST(test_last_task),
        TEST(test_task_status_and_end_agree),
        TEST(test_task_change),
        TEST(test_task_change_is_cheap),
        TEST(test_task_percent),
        TEST(test_task_load),
        TEST(test_event_chain),
        TEST(test_long_history),
        TEST(test_task_list_pages),
        TEST(test_task_list_filters),
        TEST(test_task_list_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
