/* SPDX-License-Identifier: BSD-3-Clause */
/* Products, firmware, images, uploads, requests and the reader: each function, good and bad. */
#include "store_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- products --------------------------------------------------------------------------------- */

static bool note_product(void *data, const struct ota_product_row *row)
{
    return fix_note(data, row->id, row->name);
}

static void test_product(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_product_row row = {.name = "door", .description = "old", .created_at = FIX_NOW};
    struct ota_product_row read = {0};
    fix_begin(fix);
    assert_int_equal(ota_product_insert(fix->store, &row, &fix->error), OTA_OK);
    assert_true(row.id > 0);
    assert_int_equal(ota_product_set_description(fix->store, row.id, "new", &fix->error), OTA_OK);
    assert_int_equal(ota_product_set_description(fix->store, NO_ROW, "new", &fix->error),
                     OTA_NOT_FOUND);
    fix_commit(fix);
    assert_int_equal(ota_product_get(fix->store, row.id, &read, &fix->error), OTA_OK);
    assert_string_equal(read.name, "door");
    assert_string_equal(read.description, "new");
    assert_int_equal(read.created_at, FIX_NOW);
    assert_int_equal(ota_product_get(fix->store, NO_ROW, &read, &fix->error), OTA_NOT_FOUND);
    assert_int_equal(read.id, row.id); /* untouched on failure */
    assert_int_equal(fix->error.code, OTA_OK);
}

static void test_product_twice(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_product_row row = {.name = "door"};
    struct ota_product_row long_name;
    memset(&long_name, 'x', sizeof long_name);
    long_name.name[OTA_PRODUCT_MAX] = '\0';
    long_name.description[OTA_TEXT_MAX] = '\0';
    (void)fix_product(fix, "door");
    fix_begin(fix);
    assert_int_equal(ota_product_insert(fix->store, &row, &fix->error), OTA_CONFLICT);
    assert_int_equal(row.id, 0);
    assert_int_equal(ota_product_insert(fix->store, &long_name, NULL), OTA_OK);
    row.name[0] = '\0';
    assert_int_equal(ota_product_insert(fix->store, &row, NULL), OTA_CONFLICT);
    ota_store_rollback(fix->store);
}

static void test_product_each(void **state)
{
    struct store_fixture *fix = *state;
    struct fix_seen all = {0};
    struct fix_seen some = {.stop_after = 1};
    int64_t a = fix_product(fix, "a");
    int64_t b = fix_product(fix, "b");
    int64_t c = fix_product(fix, "c");
    fix_begin(fix);
    assert_int_equal(ota_product_doom(fix->store, b, &fix->error), OTA_OK);
    assert_int_equal(ota_product_doom(fix->store, NO_ROW, &fix->error), OTA_NOT_FOUND);
    fix_commit(fix);
    assert_int_equal(ota_product_each(fix->store, 0, note_product, &all, &fix->error), OTA_OK);
    assert_int_equal(all.count, 2);
    assert_int_equal(all.ids[0], c);
    assert_int_equal(all.ids[1], a);
    assert_int_equal(ota_product_each(fix->store, 0, note_product, &some, &fix->error), OTA_OK);
    assert_int_equal(some.count, 1);
    some = (struct fix_seen){0};
    assert_int_equal(ota_product_each(fix->store, c, note_product, &some, &fix->error), OTA_OK);
    assert_int_equal(some.count, 1);
    assert_int_equal(some.ids[0], a);
    (void)fix_product(fix, "b"); /* the name is free again */
}

static bool note_product_version(void *data, int64_t product_id, const char *version)
{
    return fix_note(data, product_id, version);
}

static void test_product_versions(void **state)
{
    struct store_fixture *fix = *state;
    struct fix_seen all = {0};
    int64_t id = fix_product(fix, "door");
    fix_begin(fix);
    assert_int_equal(ota_product_add_version(fix->store, id, "2.0", &fix->error), OTA_OK);
    assert_int_equal(ota_product_add_version(fix->store, id, "1.0", &fix->error), OTA_OK);
    assert_int_equal(ota_product_add_version(fix->store, id, "2.0", &fix->error), OTA_OK);
    assert_int_equal(ota_product_add_version(fix->store, id, "", NULL), OTA_CONFLICT);
    assert_int_equal(ota_product_add_version(fix->store, NO_ROW, "1.0", NULL), OTA_CONFLICT);
    fix_commit(fix);
    assert_int_equal(ota_product_load_versions(fix->store, note_product_version, &all, NULL),
                     OTA_OK);
    assert_int_equal(all.count, 2);
    assert_int_equal(all.ids[0], id);
    assert_string_equal(all.names[0], "1.0");
    assert_string_equal(all.names[1], "2.0");
}

/* Slices until nothing is left; how many there were. */
static int purge_products(struct store_fixture *fix, int rows)
{
    bool left = true;
    int slices = 0;
    while (left) {
        fix_begin(fix);
        int64_t before = fix_int(fix, "SELECT total_changes()");
        assert_int_equal(ota_product_purge(fix->store, rows, &left, &fix->error), OTA_OK);
        /* Beside what it deletes it notes where it stands: in a task, and in an image. */
        assert_true(fix_int(fix, "SELECT total_changes()") - before <= 2 * rows);
        fix_commit(fix);
        slices++;
    }
    return slices;
}

static int64_t count_rows(struct store_fixture *fix)
{
    return fix_int(fix, "SELECT (SELECT count(*) FROM event) + (SELECT count(*) FROM task) + "
                        "(SELECT count(*) FROM device_version) + (SELECT count(*) FROM device) + "
                        "(SELECT count(*) FROM product_version) + (SELECT count(*) FROM firmware) "
                        "+ (SELECT count(*) FROM upload) + "
                        "(SELECT count(*) FROM product)");
}

static void test_product_purge(void **state)
{
    static const int budgets[] = {1, 2, 3, 7, 1000};
    struct store_fixture *fix = *state;
    struct ota_device_row row;
    int64_t gateway = 0;
    int64_t kept = fix_full_product(fix, "kept", &gateway);
    int64_t member = fix_device(fix, kept, "member");
    int64_t rows = count_rows(fix);
    for (size_t i = 0; i < sizeof budgets / sizeof *budgets; i++) {
        int64_t doomed = fix_full_product(fix, "doomed", &gateway);
        fix_begin(fix);
        assert_int_equal(ota_device_set_gateway(fix->store, member, gateway, &fix->error), OTA_OK);
        assert_int_equal(ota_product_doom(fix->store, doomed, &fix->error), OTA_OK);
        fix_commit(fix);
        int slices = purge_products(fix, budgets[i]);
        assert_true(slices >= 36 / budgets[i]);
        assert_int_equal(count_rows(fix), rows);
        assert_int_equal(ota_device_get(fix->store, member, &row, &fix->error), OTA_OK);
        assert_int_equal(row.gateway_id, 0);
    }
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
    assert_int_equal(purge_products(fix, 10), 1);
}

/* --- firmware --------------------------------------------------------------------------------- */

static bool note_firmware(void *data, const struct ota_firmware_row *row)
{
    return fix_note(data, row->id, row->version);
}

static void test_firmware(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_firmware_row row;
    int64_t image = 0;
    int64_t product = fix_product(fix, "door");
    int64_t id = fix_firmware(fix, product, "2.0", 1000, &image);
    assert_int_equal(ota_firmware_get(fix->store, id, &row, &fix->error), OTA_OK);
    assert_int_equal(row.id, id);
    assert_int_equal(row.product_id, product);
    assert_string_equal(row.version, "2.0");
    assert_int_equal(row.order, 7);
    assert_string_equal(row.filename, "fw.bin");
    assert_int_equal(row.size, 1000);
    assert_string_equal(row.md5, FIX_MD5);
    assert_string_equal(row.sha256, FIX_SHA256);
    assert_string_equal(row.signature, "");
    assert_int_equal(row.image, image);
    assert_int_equal(row.created_at, FIX_NOW);
    assert_int_equal(ota_firmware_get(fix->store, NO_ROW, &row, NULL), OTA_NOT_FOUND);
}

static void test_firmware_refused(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_firmware_row row;
    int64_t image = 0;
    int64_t product = fix_product(fix, "door");
    int64_t id = fix_firmware(fix, product, "2.0", 1000, &image);
    assert_int_equal(ota_firmware_get(fix->store, id, &row, &fix->error), OTA_OK);
    fix_begin(fix);
    assert_int_equal(ota_firmware_insert(fix->store, &row, NULL), OTA_CONFLICT); /* the version */
    fix_copy(row.version, sizeof row.version, "3.0");
    assert_int_equal(ota_firmware_insert(fix->store, &row, NULL), OTA_CONFLICT); /* the image */
    row.image = NO_ROW;
    assert_int_equal(ota_firmware_insert(fix->store, &row, NULL), OTA_CONFLICT);
    ota_store_rollback(fix->store);
}

static void test_firmware_each(void **state)
{
    struct store_fixture *fix = *state;
    struct fix_seen all = {0};
    struct fix_seen one = {0};
    struct fix_seen older = {.stop_after = 1};
    int64_t image = 0;
    int64_t a = fix_product(fix, "a");
    int64_t b = fix_product(fix, "b");
    int64_t first = fix_firmware(fix, a, "1.0", 10, &image);
    int64_t second = fix_firmware(fix, b, "1.0", 10, &image);
    int64_t third = fix_firmware(fix, a, "0.9", 10, &image);
    assert_int_equal(ota_firmware_each(fix->store, 0, 0, note_firmware, &all, NULL), OTA_OK);
    assert_int_equal(all.count, 3);
    assert_int_equal(all.ids[0], third);
    assert_int_equal(all.ids[1], second);
    assert_int_equal(ota_firmware_each(fix->store, a, 0, note_firmware, &one, NULL), OTA_OK);
    assert_int_equal(one.count, 2);
    assert_int_equal(one.ids[0], third);
    assert_int_equal(one.ids[1], first);
    assert_int_equal(ota_firmware_each(fix->store, a, third, note_firmware, &older, NULL), OTA_OK);
    assert_int_equal(older.count, 1);
    assert_int_equal(older.ids[0], first);
    fix_begin(fix);
    assert_int_equal(ota_product_doom(fix->store, a, &fix->error), OTA_OK);
    fix_commit(fix);
    all = (struct fix_seen){0};
    assert_int_equal(ota_firmware_each(fix->store, 0, 0, note_firmware, &all, NULL), OTA_OK);
    assert_int_equal(all.count, 1);
}

static void test_firmware_count(void **state)
{
    struct store_fixture *fix = *state;
    int count = -1;
    int64_t order = -1;
    int64_t image = 0;
    int64_t product = fix_product(fix, "door");
    assert_int_equal(ota_firmware_count(fix->store, product, &count, &order, NULL), OTA_OK);
    assert_int_equal(count, 0);
    assert_int_equal(order, 0);
    (void)fix_firmware(fix, product, "1.0", 10, &image);
    (void)fix_firmware(fix, product, "2.0", 10, &image);
    assert_int_equal(ota_firmware_count(fix->store, product, &count, &order, NULL), OTA_OK);
    assert_int_equal(count, 2);
    assert_int_equal(order, 7);
}

/* --- images ----------------------------------------------------------------------------------- */

static int purge_images(struct store_fixture *fix, int rows)
{
    bool left = true;
    int slices = 0;
    while (left) {
        int64_t before = fix_int(fix, "SELECT count(*) FROM image_block");
        fix_begin(fix);
        assert_int_equal(ota_image_purge(fix->store, rows, &left, &fix->error), OTA_OK);
        fix_commit(fix);
        assert_true(before - fix_int(fix, "SELECT count(*) FROM image_block") <= rows);
        slices++;
    }
    return slices;
}

static void test_image_purge(void **state)
{
    struct store_fixture *fix = *state;
    int64_t image = 0;
    int64_t product = fix_product(fix, "door");
    int64_t gone = fix_firmware(fix, product, "1.0", 10 * OTA_BLOCK_SIZE, &image);
    int64_t kept = fix_firmware(fix, product, "2.0", 3 * OTA_BLOCK_SIZE, &image);
    struct ota_firmware_row row;
    assert_int_equal(purge_images(fix, 5), 1);
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM image_block"), 13);
    fix_begin(fix);
    assert_int_equal(ota_firmware_delete(fix->store, gone, &fix->error), OTA_OK);
    assert_int_equal(ota_firmware_delete(fix->store, gone, &fix->error), OTA_NOT_FOUND);
    fix_commit(fix);
    assert_int_equal(ota_firmware_get(fix->store, gone, &row, NULL), OTA_NOT_FOUND);
    assert_int_equal(purge_images(fix, 4), 3);
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM image_block"), 3);
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM image"), 1);
    assert_int_equal(ota_firmware_get(fix->store, kept, &row, NULL), OTA_OK);
}

static void assert_image(struct store_fixture *fix, int64_t image, int64_t size)
{
    unsigned char *bytes = malloc(OTA_BLOCK_SIZE);
    assert_non_null(bytes);
    int64_t offset = 0;
    size_t len = 0;
    for (int64_t seq = 0; offset < size; seq++) {
        assert_int_equal(ota_image_block(fix->store, image, seq, bytes, &len, &fix->error), OTA_OK);
        int64_t left = size - offset;
        assert_int_equal(len, left < OTA_BLOCK_SIZE ? left : OTA_BLOCK_SIZE);
        for (size_t i = 0; i < len; i++) {
            assert_int_equal(bytes[i], (unsigned char)(offset + (int64_t)i));
        }
        offset += (int64_t)len;
    }
    assert_int_equal(ota_image_block(fix->store, image, NO_ROW, bytes, &len, NULL), OTA_NOT_FOUND);
    free(bytes);
}

/* --- uploads ---------------------------------------------------------------------------------- */

static bool note_upload(void *data, const struct ota_upload_row *row)
{
    return fix_note(data, row->id, row->version);
}

static void test_upload(void **state)
{
    struct store_fixture *fix = *state;
    struct fix_seen all = {0};
    struct ota_upload_row read;
    int64_t product = fix_product(fix, "door");
    struct ota_upload_row first = fix_upload_row(product, "1.0", 100);
    struct ota_upload_row second = fix_upload_row(product, "2.0", 100);
    first.has_order = true;
    first.order = -3;
    fix_begin(fix);
    assert_int_equal(ota_upload_insert(fix->store, &first, &fix->error), OTA_OK);
    assert_int_equal(ota_upload_insert(fix->store, &second, &fix->error), OTA_OK);
    fix_commit(fix);
    assert_int_not_equal(first.image, second.image);
    assert_int_equal(ota_upload_get(fix->store, first.id, &read, &fix->error), OTA_OK);
    assert_int_equal(read.image, first.image);
    assert_string_equal(read.user, "admin");
    assert_true(read.has_order);
    assert_int_equal(read.order, -3);
    assert_int_equal(read.received, 0);
    assert_int_equal(ota_upload_get(fix->store, second.id, &read, &fix->error), OTA_OK);
    assert_false(read.has_order);
    assert_int_equal(ota_upload_get(fix->store, NO_ROW, &read, NULL), OTA_NOT_FOUND);
    assert_int_equal(ota_upload_each(fix->store, note_upload, &all, &fix->error), OTA_OK);
    assert_int_equal(all.count, 2);
    assert_int_equal(all.ids[0], first.id);
}

static enum ota_err append(struct store_fixture *fix, const struct ota_upload_row *row,
                           int64_t offset, size_t len)
{
    unsigned char *bytes = malloc(len + 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (unsigned char)(offset + (int64_t)i);
    }
    fix->error = (struct ota_error){0};
    enum ota_err err = ota_upload_append(fix->store, row->id, row->image, offset, bytes, len,
                                         FIX_NOW + 5, &fix->error);
    free(bytes);
    return err;
}

/* Pieces of any size end up as full rows and a short one, byte by byte what was sent. */
static void test_upload_splits_at_rows(void **state)
{
    static const size_t pieces[] = {1, 254, 65535, 65536, 17, 65536, 40000};
    struct store_fixture *fix = *state;
    struct ota_upload_row read;
    int64_t offset = 0;
    int64_t product = fix_product(fix, "door");
    struct ota_upload_row row = fix_upload_row(product, "1.0", 1000000);
    fix_begin(fix);
    assert_int_equal(ota_upload_insert(fix->store, &row, &fix->error), OTA_OK);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        assert_int_equal(append(fix, &row, offset, pieces[i]), OTA_OK);
        offset += (int64_t)pieces[i];
    }
    fix_commit(fix);
    assert_int_equal(ota_upload_get(fix->store, row.id, &read, &fix->error), OTA_OK);
    assert_int_equal(read.received, offset);
    assert_int_equal(read.touched_at, FIX_NOW + 5);
    assert_image(fix, row.image, offset);
}

static void test_upload_append_refused(void **state)
{
    struct store_fixture *fix = *state;
    int64_t product = fix_product(fix, "door");
    struct ota_upload_row row = fix_upload_row(product, "1.0", 100);
    fix_begin(fix);
    assert_int_equal(ota_upload_insert(fix->store, &row, &fix->error), OTA_OK);
    assert_int_equal(append(fix, &row, 0, 50), OTA_OK);
    fix_commit(fix);
    fix_begin(fix);
    assert_int_equal(append(fix, &row, 0, 50), OTA_CONFLICT);
    assert_non_null(strstr(fix->error.text, "offset 50"));
    assert_int_equal(append(fix, &row, 51, 10), OTA_CONFLICT);
    assert_int_equal(append(fix, &row, 50, 51), OTA_CONFLICT); /* more than was announced */
    assert_int_equal(append(fix, &row, 50, 0), OTA_INVALID_REQUEST);
    assert_int_equal(append(fix, &row, 50, OTA_BLOCK_SIZE + 1), OTA_INVALID_REQUEST);
    assert_int_equal(append(fix, &row, -1, 1), OTA_INVALID_REQUEST);
    struct ota_upload_row other = row;
    other.image = NO_ROW;
    assert_int_equal(append(fix, &other, 50, 1), OTA_NOT_FOUND);
    other = row;
    other.id = NO_ROW;
    assert_int_equal(append(fix, &other, 50, 1), OTA_NOT_FOUND);
    ota_store_rollback(fix->store);
    assert_image(fix, row.image, 50);
}

static void test_upload_delete(void **state)
{
    struct store_fixture *fix = *state;
    int64_t product = fix_product(fix, "door");
    struct ota_upload_row kept = fix_upload_row(product, "1.0", 100);
    struct ota_upload_row gone = fix_upload_row(product, "2.0", 100);
    fix_begin(fix);
    assert_int_equal(ota_upload_insert(fix->store, &kept, &fix->error), OTA_OK);
    assert_int_equal(ota_upload_insert(fix->store, &gone, &fix->error), OTA_OK);
    assert_int_equal(append(fix, &kept, 0, 100), OTA_OK);
    assert_int_equal(append(fix, &gone, 0, 30), OTA_OK);
    assert_int_equal(ota_upload_delete(fix->store, kept.id, true, &fix->error), OTA_OK);
    assert_int_equal(ota_upload_delete(fix->store, gone.id, false, &fix->error), OTA_OK);
    assert_int_equal(ota_upload_delete(fix->store, gone.id, false, &fix->error), OTA_NOT_FOUND);
    fix_commit(fix);
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM upload"), 0);
    assert_int_equal(purge_images(fix, 10), 1);
    assert_image(fix, kept.image, 100);
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM image_block"), 1);
}

/* --- requests --------------------------------------------------------------------------------- */

static void add_request(struct store_fixture *fix, const char *user, const char *id, int64_t at)
{
    unsigned char digest[32];
    memset(digest, (int)at, sizeof digest);
    fix_begin(fix);
    assert_int_equal(ota_request_insert(fix->store, user, id, digest, "{\"a\":1}", at, &fix->error),
                     OTA_OK);
    fix_commit(fix);
}

static void test_request(void **state)
{
    struct store_fixture *fix = *state;
    unsigned char digest[32] = {0};
    unsigned char expected[32];
    char *data = NULL;
    add_request(fix, "ann", "r1", 9);
    memset(expected, 9, sizeof expected);
    assert_int_equal(ota_request_find(fix->store, "bob", "r1", digest, &data, NULL), OTA_NOT_FOUND);
    assert_int_equal(ota_request_find(fix->store, "ann", "r2", digest, &data, NULL), OTA_NOT_FOUND);
    assert_null(data);
    assert_int_equal(digest[0], 0);
    assert_int_equal(ota_request_find(fix->store, "ann", "r1", digest, &data, NULL), OTA_OK);
    assert_memory_equal(digest, expected, sizeof expected);
    assert_string_equal(data, "{\"a\":1}");
    free(data);
    add_request(fix, "bob", "r1", 9);
    fix_begin(fix);
    assert_int_equal(ota_request_insert(fix->store, "ann", "r1", digest, "{}", 9, NULL),
                     OTA_CONFLICT);
    ota_store_rollback(fix->store);
}

static void test_request_purge(void **state)
{
    struct store_fixture *fix = *state;
    bool left = false;
    char id[8];
    for (int i = 0; i < 10; i++) {
        (void)snprintf(id, sizeof id, "r%d", i);
        add_request(fix, "ann", id, 9 - i); /* the clock was set back */
    }
    fix_begin(fix);
    assert_int_equal(ota_request_purge(fix->store, 5, 3, &left, &fix->error), OTA_OK);
    assert_true(left);
    assert_int_equal(ota_request_purge(fix->store, 5, 3, &left, &fix->error), OTA_OK);
    assert_false(left);
    assert_int_equal(ota_request_purge(fix->store, 5, 3, &left, &fix->error), OTA_OK);
    fix_commit(fix);
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM request"), 5);
    assert_int_equal(fix_int(fix, "SELECT min(at) FROM request"), 5);
}

/* --- the reader --------------------------------------------------------------------------------
 */

static struct ota_reader *open_reader(struct store_fixture *fix)
{
    struct ota_reader *reader = NULL;
    assert_int_equal(ota_reader_open(fix->path, &reader, &fix->error), OTA_OK);
    return reader;
}

static void test_reader_grant(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_grant grant = {0};
    int64_t image = 0;
    struct ota_reader *reader = open_reader(fix);
    int64_t product = fix_product(fix, "door");
    int64_t firmware = fix_firmware(fix, product, "2.0", 1000, &image);
    int64_t other = fix_firmware(fix, product, "3.0", 1000, &(int64_t){0});
    int64_t device = fix_device(fix, product, "d1");
    struct ota_task_row task = fix_task(fix, device, firmware);
    assert_int_equal(ota_reader_grant(reader, task.id, other, &grant, NULL), OTA_NOT_FOUND);
    assert_int_equal(ota_reader_grant(reader, NO_ROW, firmware, &grant, NULL), OTA_NOT_FOUND);
    assert_int_equal(grant.device_id, 0);
    assert_int_equal(ota_reader_grant(reader, task.id, firmware, &grant, NULL), OTA_OK);
    assert_int_equal(grant.device_id, device);
    assert_int_equal(grant.attempt, 1);
    assert_true(grant.unfinished);
    assert_int_equal(grant.image, image);
    assert_int_equal(grant.size, 1000);
    assert_string_equal(grant.sha256, FIX_SHA256);
    fix_change(fix, &task, OTA_CANCELLED);
    assert_int_equal(ota_reader_grant(reader, task.id, firmware, &grant, NULL), OTA_OK);
    assert_false(grant.unfinished);
    ota_reader_close(reader);
}

static void test_reader_copies(void **state)
{
    struct store_fixture *fix = *state;
    int64_t image = 0;
    int64_t size = 3 * OTA_BLOCK_SIZE + 77;
    int64_t product = fix_product(fix, "door");
    (void)fix_firmware(fix, product, "2.0", size, &image);
    struct ota_reader *reader = open_reader(fix);
    FILE *file = tmpfile();
    assert_non_null(file);
    int fd = fileno(file);
    assert_int_equal(ota_reader_copy_image(reader, image, size, fd, &fix->error), OTA_OK);
    assert_int_equal(lseek(fd, 0, SEEK_CUR), size);
    rewind(file);
    for (int64_t i = 0; i < size; i++) {
        assert_int_equal(fgetc(file), i & 0xff);
    }
    assert_int_equal(ota_reader_copy_image(reader, NO_ROW, 10, fd, NULL), OTA_NOT_FOUND);
    assert_int_equal(ota_reader_copy_image(reader, image, size + 1, fd, NULL), OTA_INTERNAL);
    assert_int_equal(ota_reader_copy_image(reader, image, size - 1, fd, NULL), OTA_INTERNAL);
    assert_int_equal(ota_reader_copy_image(reader, image, size, -1, NULL), OTA_UNAVAILABLE);
    assert_int_equal(fclose(file), 0);
    ota_reader_close(reader);
}

static void test_reader_refuses(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_reader *reader = NULL;
    assert_int_equal(ota_reader_open("/tmp/ota-no-such-file", &reader, &fix->error),
                     OTA_UNAVAILABLE);
    assert_null(reader);
}

struct watch {
    struct ota_reader *reader;
    int64_t task;
    int64_t firmware;
    atomic_int committed; /* the attempt that the writer has committed */
    atomic_bool stop;
    int looks;
    int stale;
};

static void *watch_task(void *data)
{
    struct watch *watch = data;
    struct ota_grant grant;
    while (!atomic_load(&watch->stop)) {
        int committed = atomic_load(&watch->committed);
        enum ota_err err =
            ota_reader_grant(watch->reader, watch->task, watch->firmware, &grant, NULL);
        watch->stale += err != OTA_OK || grant.attempt < committed;
        watch->looks++;
    }
    return NULL;
}

/* What has been committed is seen at once, from two threads at a time. */
static void test_reader_threads(void **state)
{
    struct store_fixture *fix = *state;
    pthread_t threads[2];
    struct watch watches[2];
    int64_t image = 0;
    int64_t product = fix_product(fix, "door");
    int64_t firmware = fix_firmware(fix, product, "2.0", 10, &image);
    struct ota_task_row task = fix_task(fix, fix_device(fix, product, "d1"), firmware);
    struct ota_reader *reader = open_reader(fix);
    for (int i = 0; i < 2; i++) {
        watches[i] = (struct watch){.reader = reader, .task = task.id, .firmware = firmware};
        assert_int_equal(pthread_create(&threads[i], NULL, watch_task, &watches[i]), 0);
    }
    for (int i = 2; i < 1500; i++) {
        task.attempt = i;
        fix_change(fix, &task, OTA_DOWNLOADING);
        atomic_store(&watches[0].committed, i);
        atomic_store(&watches[1].committed, i);
    }
    for (int i = 0; i < 2; i++) {
        atomic_store(&watches[i].stop, true);
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(watches[i].stale, 0);
    }
    assert_true(watches[0].looks + watches[1].looks > 0);
    ota_reader_close(reader);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, store_setup, store_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_product),
        TEST(test_product_twice),
        TEST(test_product_each),
        TEST(test_product_versions),
        TEST(test_product_purge),
        TEST(test_firmware),
        TEST(test_firmware_refused),
        TEST(test_firmware_each),
        TEST(test_firmware_count),
        TEST(test_image_purge),
        TEST(test_upload),
        TEST(test_upload_splits_at_rows),
        TEST(test_upload_append_refused),
        TEST(test_upload_delete),
        TEST(test_request),
        TEST(test_request_purge),
        TEST(test_reader_grant),
        TEST(test_reader_copies),
        TEST(test_reader_refuses),
        TEST(test_reader_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
