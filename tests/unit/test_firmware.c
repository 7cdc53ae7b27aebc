/* SPDX-License-Identifier: BSD-3-Clause */
#include "fixture.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/broker.h"
#include "../../plugin/firmware.h"
#include "../../plugin/util/hex.h"
#include "signature_answers.h"

struct bench {
    struct fixture fix;
    struct ota_uploads *uploads;
    struct ota_signature_keys *keys;
};

static int setup(void **state)
{
    struct bench *bench = calloc(1, sizeof *bench);
    assert_non_null(bench);
    fixture_open(&bench->fix);
    bench->uploads = ota_uploads_new(bench->fix.core.store);
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    ota_uploads_free(bench->uploads);
    ota_signature_keys_free(bench->keys);
    fixture_close(&bench->fix);
    free(bench);
    return 0;
}

/* --- magic numbers ---------------------------------------------------------------------------- */

static bool fits(const char *filename, const char *bytes, size_t len)
{
    return ota_firmware_magic_fits(filename, (const unsigned char *)bytes, len);
}

static void test_magic(void **state)
{
    char tar[512] = {0};
    (void)state;
    memcpy(tar + 257, "ustar", 5);
    assert_true(fits("a.bin", "anything", 8));
    assert_true(fits("a.bin", "", 0));
    assert_true(fits("a.gz", "\x1f\x8b", 2));
    assert_true(fits("a.tar.GZ", "\x1f\x8b\x08", 3));
    assert_false(fits("a.gz", "\x1f", 1));
    assert_false(fits("a.gz", "\x1f\x8c", 2));
    assert_false(fits("a.gz", "", 0));
    assert_true(fits("a.zip", "PK\x03\x04", 4));
    assert_true(fits("a.ZIP", "PK\x05\x06", 4));
    assert_true(fits("a.zip", "PK\x07\x08", 4));
    assert_false(fits("a.zip", "PK\x03", 3));
    assert_false(fits("a.zip", "PK\x04\x03", 4));
    assert_true(fits("a.tar", tar, sizeof tar));
    assert_true(fits("a.tar", tar, 262));
    assert_false(fits("a.tar", tar, 261));
    assert_false(fits("a.tar", "ustar", 5));
    assert_false(fits("a.tar", "\x1f\x8b\x08", 3));
}

/* --- helpers ---------------------------------------------------------------------------------- */

static struct ota_upload_row describe(struct bench *bench, const char *user, const char *version,
                                      const void *bytes, size_t len)
{
    unsigned char digest[32];
    struct ota_upload_row row = {
        .product_id = bench->fix.product->id, .filename = "f.bin", .size = (int64_t)len};
    assert_int_equal(EVP_Digest(bytes, len, digest, NULL, EVP_sha256(), NULL), 1);
    ota_hex(digest, 32, row.sha256);
    (void)snprintf(row.user, sizeof row.user, "%s", user);
    (void)snprintf(row.version, sizeof row.version, "%s", version);
    return row;
}

/* Ends the transaction in which err came about. */
static enum ota_err conclude(struct bench *bench, enum ota_err err)
{
    if (err != OTA_OK) {
        ota_core_rollback(&bench->fix.core);
        return err;
    }
    return ota_core_commit(&bench->fix.core, NULL);
}

static enum ota_err announce(struct bench *bench, struct ota_upload_row *row)
{
    assert_int_equal(ota_core_begin(&bench->fix.core, NULL), OTA_OK);
    return conclude(bench, ota_firmware_announce(&bench->fix.core, row, NULL));
}

/* As the command does: with what the store has of the upload now. */
static enum ota_err send(struct bench *bench, int64_t upload, int64_t offset, const void *bytes,
                         size_t len)
{
    struct ota_upload_row row;
    int64_t next = -1;
    unsigned char *copy = malloc(len);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    assert_int_equal(ota_upload_get(bench->fix.core.store, upload, &row, NULL), OTA_OK);
    assert_int_equal(ota_core_begin(&bench->fix.core, NULL), OTA_OK);
    enum ota_err err =
        conclude(bench, ota_firmware_take_block(&bench->fix.core, bench->uploads, &row, offset,
                                                copy, len, &next, NULL));
    if (err == OTA_OK) {
        assert_int_equal(next, offset + (int64_t)len);
    }
    return err;
}

static enum ota_err commit(struct bench *bench, int64_t upload, struct ota_firmware_row *made)
{
    struct ota_upload_row row;
    assert_int_equal(ota_upload_get(bench->fix.core.store, upload, &row, NULL), OTA_OK);
    assert_int_equal(ota_core_begin(&bench->fix.core, NULL), OTA_OK);
    return conclude(bench, ota_firmware_commit(&bench->fix.core, bench->uploads, &row, made, NULL));
}

static struct ota_firmware_row upload(struct bench *bench, struct ota_upload_row *row,
                                      const void *bytes)
{
    struct ota_firmware_row made;
    assert_int_equal(announce(bench, row), OTA_OK);
    assert_int_equal(send(bench, row->id, 0, bytes, (size_t)row->size), OTA_OK);
    assert_int_equal(commit(bench, row->id, &made), OTA_OK);
    return made;
}

/* --- the way of a file -------------------------------------------------------------------------
 */

static void test_upload(void **state)
{
    struct bench *bench = *state;
    struct ota_upload_row row = describe(bench, "ann", "3.0", "hello world", 11);
    struct ota_firmware_row made;
    assert_int_equal(announce(bench, &row), OTA_OK);
    assert_int_equal(send(bench, row.id, 0, "hello ", 6), OTA_OK);
    assert_int_equal(commit(bench, row.id, &made), OTA_CONFLICT); /* not whole */
    assert_int_equal(send(bench, row.id, 6, "world", 5), OTA_OK);
    fake_broker_clear_messages();
    assert_int_equal(commit(bench, row.id, &made), OTA_OK);
    assert_string_equal(made.md5, "5eb63bbbe01eeed093cb22bb8f5acdc3");
    assert_string_equal(made.sha256, row.sha256);
    assert_int_equal(made.order, 2); /* one more than the highest */
    assert_int_equal(made.size, 11);
    assert_int_equal(fixture_count("$ota/event/door", "firmware"), 1);
    const struct ota_firmware *firmware =
        ota_fleet_firmware_of(&bench->fix.core.fleet, row.product_id, "3.0");
    assert_non_null(firmware);
    assert_string_equal(firmware->row.md5, made.md5);
    assert_int_equal(ota_upload_get(bench->fix.core.store, row.id, &row, NULL), OTA_NOT_FOUND);
}

static void test_order_as_announced(void **state)
{
    struct bench *bench = *state;
    struct ota_upload_row row = describe(bench, "ann", "3.0", "a", 1);
    row.has_order = true;
    row.order = -5;
    assert_int_equal(upload(bench, &row, "a").order, -5);
    struct ota_upload_row next = describe(bench, "ann", "4.0", "a", 1);
    assert_int_equal(upload(bench, &next, "a").order, 2);
}

static void test_checksum_mismatch(void **state)
{
    struct bench *bench = *state;
    struct ota_upload_row row = describe(bench, "ann", "3.0", "good", 4);
    struct ota_firmware_row made;
    assert_int_equal(announce(bench, &row), OTA_OK);
    assert_int_equal(send(bench, row.id, 0, "evil", 4), OTA_OK);
    assert_int_equal(commit(bench, row.id, &made), OTA_CHECKSUM_MISMATCH);
    assert_null(ota_fleet_firmware_of(&bench->fix.core.fleet, row.product_id, "3.0"));
}

static void test_blocks_out_of_line(void **state)
{
    struct bench *bench = *state;
    static unsigned char large[OTA_BLOCK_SIZE + 1];
    struct ota_upload_row row = describe(bench, "ann", "3.0", large, sizeof large);
    assert_int_equal(announce(bench, &row), OTA_OK);
    assert_int_equal(send(bench, row.id, 1, large, 10), OTA_CONFLICT);
    assert_int_equal(send(bench, row.id, 0, large, sizeof large), OTA_INVALID_REQUEST);
    assert_int_equal(send(bench, row.id, 0, large, OTA_BLOCK_SIZE), OTA_OK);
    assert_int_equal(send(bench, row.id, 0, large, OTA_BLOCK_SIZE), OTA_CONFLICT); /* again */
    assert_int_equal(send(bench, row.id, OTA_BLOCK_SIZE, large, 2), OTA_INVALID_REQUEST);
    assert_int_equal(send(bench, row.id, OTA_BLOCK_SIZE, large, 1), OTA_OK);
}

/* What isn't committed isn't in the digests. */
static void test_block_not_committed(void **state)
{
    struct bench *bench = *state;
    struct ota_upload_row row = describe(bench, "ann", "3.0", "ab", 2);
    struct ota_firmware_row made;
    assert_int_equal(announce(bench, &row), OTA_OK);
    assert_int_equal(send(bench, row.id, 0, "a", 1), OTA_OK);
    fixture_fail_commits(true);
    assert_int_equal(send(bench, row.id, 1, "b", 1), OTA_UNAVAILABLE);
    fixture_fail_commits(false);
    assert_int_equal(send(bench, row.id, 1, "b", 1), OTA_OK);
    fixture_fail_commits(true);
    assert_int_equal(commit(bench, row.id, &made), OTA_UNAVAILABLE);
    assert_null(ota_fleet_firmware_of(&bench->fix.core.fleet, row.product_id, "3.0"));
    fixture_fail_commits(false);
    assert_int_equal(commit(bench, row.id, &made), OTA_OK);
}

static void test_wrong_magic(void **state)
{
    struct bench *bench = *state;
    static unsigned char bytes[600];
    struct ota_firmware_row made;
    struct ota_upload_row row = describe(bench, "ann", "3.0", bytes, sizeof bytes);
    (void)snprintf(row.filename, sizeof row.filename, "f.tar");
    assert_int_equal(announce(bench, &row), OTA_OK);
    assert_int_equal(send(bench, row.id, 0, bytes, sizeof bytes), OTA_INVALID_REQUEST);
    /* in small pieces it is seen at the end */
    assert_int_equal(send(bench, row.id, 0, bytes, 100), OTA_OK);
    assert_int_equal(send(bench, row.id, 100, bytes, 500), OTA_OK);
    assert_int_equal(commit(bench, row.id, &made), OTA_INVALID_REQUEST);
}

/* The shortest name that there can be. */
static void test_short_filename(void **state)
{
    struct bench *bench = *state;
    struct ota_upload_row row = describe(bench, "ann", "3.0", "\x1f\x8bxx", 4);
    (void)snprintf(row.filename, sizeof row.filename, "a.gz");
    (void)upload(bench, &row, "\x1f\x8bxx");
}

/* --- limits ----------------------------------------------------------------------------------- */

static void test_limits(void **state)
{
    struct bench *bench = *state;
    struct ota_upload_row large = describe(bench, "ann", "3.0", "a", 1);
    large.size = bench->fix.core.settings.max_firmware_size + 1;
    assert_int_equal(announce(bench, &large), OTA_TOO_LARGE);
    large.size--;
    assert_int_equal(announce(bench, &large), OTA_OK);
    struct ota_upload_row known = describe(bench, "ann", "2.0", "a", 1);
    assert_int_equal(announce(bench, &known), OTA_ALREADY_EXISTS);
    bench->fix.core.settings.max_firmware_per_product = 1;
    struct ota_upload_row more = describe(bench, "ann", "5.0", "a", 1);
    assert_int_equal(announce(bench, &more), OTA_LIMIT_EXCEEDED);
}

/* Two uploads of the last free place, or of one version: the second to finish is refused. */
static void test_limits_at_the_end(void **state)
{
    struct bench *bench = *state;
    struct ota_upload_row one = describe(bench, "ann", "3.0", "a", 1);
    struct ota_upload_row two = describe(bench, "bea", "3.0", "b", 1);
    struct ota_firmware_row made;
    assert_int_equal(announce(bench, &two), OTA_OK);
    assert_int_equal(send(bench, two.id, 0, "b", 1), OTA_OK);
    (void)upload(bench, &one, "a");
    assert_int_equal(commit(bench, two.id, &made), OTA_ALREADY_EXISTS);
    struct ota_upload_row three = describe(bench, "ann", "4.0", "c", 1);
    assert_int_equal(announce(bench, &three), OTA_OK);
    assert_int_equal(send(bench, three.id, 0, "c", 1), OTA_OK);
    bench->fix.core.settings.max_firmware_per_product = 2;
    assert_int_equal(commit(bench, three.id, &made), OTA_LIMIT_EXCEEDED);
}

static void test_four_uploads_a_user(void **state)
{
    static const char *const versions[] = {"3", "4", "5", "6", "7"};
    struct bench *bench = *state;
    for (size_t i = 0; i < 5; i++) {
        struct ota_upload_row row = describe(bench, "ann", versions[i], "a", 1);
        assert_int_equal(announce(bench, &row), i < 4 ? OTA_OK : OTA_LIMIT_EXCEEDED);
    }
    struct ota_upload_row other = describe(bench, "bea", "7", "a", 1);
    assert_int_equal(announce(bench, &other), OTA_OK);
}

static void test_the_same_upload_goes_on(void **state)
{
    struct bench *bench = *state;
    struct ota_upload_row first = describe(bench, "ann", "3.0", "ab", 2);
    assert_int_equal(announce(bench, &first), OTA_OK);
    assert_int_equal(send(bench, first.id, 0, "a", 1), OTA_OK);
    struct ota_upload_row same = describe(bench, "ann", "3.0", "ab", 2);
    assert_int_equal(announce(bench, &same), OTA_OK);
    assert_int_equal(same.id, first.id);
    assert_int_equal(same.received, 1);
    struct ota_upload_row other = describe(bench, "bea", "3.0", "ab", 2);
    assert_int_equal(announce(bench, &other), OTA_OK);
    assert_int_not_equal(other.id, first.id);
    struct ota_upload_row changed = describe(bench, "ann", "3.0", "ac", 2);
    assert_int_equal(announce(bench, &changed), OTA_OK);
    assert_int_not_equal(changed.id, first.id);
}

/* --- signatures ------------------------------------------------------------------------------- */

static struct ota_upload_row describe_signed(struct bench *bench, const char *signature)
{
    struct ota_upload_row row =
        describe(bench, "ann", SIGNED_VERSION, SIGNED_BYTES, strlen(SIGNED_BYTES));
    row.has_order = true;
    row.order = SIGNED_ORDER;
    (void)snprintf(row.signature, sizeof row.signature, "%s", signature);
    return row;
}

/* The server knows these keys from now on. */
static void trust(struct bench *bench, const char *pem)
{
    struct ota_signature_keys *keys = NULL;
    char path[128];
    (void)snprintf(path, sizeof path, "%s/keys.pub", bench->fix.dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(pem, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(ota_signature_keys_read(path, &keys, NULL), OTA_OK);
    ota_signature_keys_free(bench->keys);
    bench->keys = keys;
    bench->fix.core.settings.signing_keys = keys;
}

static void assert_refused(struct bench *bench, struct ota_upload_row row, enum ota_err code,
                           const char *field, const char *word)
{
    struct ota_error error = {0};
    assert_int_equal(ota_core_begin(&bench->fix.core, NULL), OTA_OK);
    assert_int_equal(ota_firmware_announce(&bench->fix.core, &row, &error), code);
    ota_core_rollback(&bench->fix.core);
    assert_string_equal(error.field, field);
    assert_non_null(strstr(error.text, word));
}

static void test_signed(void **state)
{
    struct bench *bench = *state;
    trust(bench, KEY_2 KEY_1);
    bench->fix.core.settings.require_signature = true;
    struct ota_upload_row row = describe_signed(bench, BY_KEY_1);
    struct ota_firmware_row made = upload(bench, &row, SIGNED_BYTES);
    assert_string_equal(made.signature, BY_KEY_1);
    assert_int_equal(made.order, SIGNED_ORDER);
}

static void test_signed_otherwise(void **state)
{
    struct bench *bench = *state;
    trust(bench, KEY_1);
    struct ota_product *window = fixture_product(&bench->fix, "window");
    const struct ota_upload_row good = describe_signed(bench, BY_KEY_1);
    struct ota_upload_row others[] = {good, good, good, good, good};
    others[0].product_id = window->id;
    strcpy(others[1].version, "3.1");
    others[2].order++;
    others[3].size++;
    others[4].sha256[0] ^= 1;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_refused(bench, others[i], OTA_BAD_SIGNATURE, "signature", "signing_keys");
    }
    assert_refused(bench, describe_signed(bench, BY_KEY_2), OTA_BAD_SIGNATURE, "signature",
                   "signing_keys");
}

static void test_signed_without_its_order(void **state)
{
    struct bench *bench = *state;
    trust(bench, KEY_1);
    struct ota_upload_row row = describe_signed(bench, BY_KEY_1);
    row.has_order = false; /* then it is the next one */
    assert_refused(bench, row, OTA_BAD_SIGNATURE, "signature", "signing_keys");
    struct ota_upload_row before = describe(bench, "ann", "9", "ab", 2);
    before.has_order = true;
    before.order = SIGNED_ORDER - 1;
    (void)upload(bench, &before, "ab");
    struct ota_firmware_row made = upload(bench, &row, SIGNED_BYTES);
    assert_int_equal(made.order, SIGNED_ORDER);
    assert_string_equal(made.signature, BY_KEY_1);
}

static void test_signed_where_no_key_is_known(void **state)
{
    struct bench *bench = *state;
    assert_refused(bench, describe_signed(bench, BY_KEY_1), OTA_BAD_SIGNATURE, "signature",
                   "option signing_keys");
}

static void test_unsigned_while_it_is_required(void **state)
{
    struct bench *bench = *state;
    trust(bench, KEY_1);
    struct ota_upload_row row = describe(bench, "ann", "4.0", "a", 1);
    assert_int_equal(announce(bench, &row), OTA_OK);
    assert_int_equal(send(bench, row.id, 0, "a", 1), OTA_OK);
    bench->fix.core.settings.require_signature = true;
    assert_refused(bench, describe(bench, "ann", "5.0", "a", 1), OTA_BAD_SIGNATURE, "signature",
                   "require_signature");
    struct ota_firmware_row made; /* what was announced before that became the rule */
    assert_int_equal(commit(bench, row.id, &made), OTA_BAD_SIGNATURE);
}

/* Between the announcement and the commit. */
static void test_a_key_that_was_withdrawn(void **state)
{
    struct bench *bench = *state;
    struct ota_firmware_row made;
    trust(bench, KEY_1);
    struct ota_upload_row row = describe_signed(bench, BY_KEY_1);
    assert_int_equal(announce(bench, &row), OTA_OK);
    assert_int_equal(send(bench, row.id, 0, SIGNED_BYTES, SIGNED_SIZE), OTA_OK);
    trust(bench, KEY_2);
    assert_int_equal(commit(bench, row.id, &made), OTA_BAD_SIGNATURE);
    trust(bench, KEY_2 KEY_1);
    assert_int_equal(commit(bench, row.id, &made), OTA_OK);
}

/* --- removing --------------------------------------------------------------------------------- */

static enum ota_err remove_firmware(struct bench *bench)
{
    assert_int_equal(ota_core_begin(&bench->fix.core, NULL), OTA_OK);
    return conclude(bench, ota_firmware_remove(&bench->fix.core, bench->fix.firmware, NULL));
}

static void test_remove(void **state)
{
    struct bench *bench = *state;
    struct fixture *fix = &bench->fix;
    struct ota_task *task = fixture_plain_task(fix, fix->device);
    struct ota_upgrade_event cancel = {.kind = OTA_EV_CANCEL};
    bool changed;
    assert_int_equal(remove_firmware(bench), OTA_CONFLICT);
    assert_int_equal(ota_tasks_apply(&fix->core, task, &cancel, NULL, &changed, NULL), OTA_OK);
    fixture_fail_commits(true);
    assert_int_equal(remove_firmware(bench), OTA_UNAVAILABLE);
    fixture_fail_commits(false);
    assert_non_null(ota_fleet_firmware_of(&fix->core.fleet, fix->product->id, "2.0"));
    assert_int_equal(remove_firmware(bench), OTA_OK);
    assert_null(ota_fleet_firmware_of(&fix->core.fleet, fix->product->id, "2.0"));
    assert_int_equal(fixture_count("$ota/event/door", "firmware"), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_magic),
        TEST(test_upload),
        TEST(test_order_as_announced),
        TEST(test_checksum_mismatch),
        TEST(test_blocks_out_of_line),
        TEST(test_block_not_committed),
        TEST(test_wrong_magic),
        TEST(test_short_filename),
        TEST(test_limits),
        TEST(test_limits_at_the_end),
        TEST(test_four_uploads_a_user),
        TEST(test_the_same_upload_goes_on),
        TEST(test_signed),
        TEST(test_signed_otherwise),
        TEST(test_signed_without_its_order),
        TEST(test_signed_where_no_key_is_known),
        TEST(test_unsigned_while_it_is_required),
        TEST(test_a_key_that_was_withdrawn),
        TEST(test_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
