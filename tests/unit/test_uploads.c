/* SPDX-License-Identifier: BSD-3-Clause */
#include "fixture.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/uploads.h"
#include "../../plugin/util/hex.h"

#define SLICE (8 * OTA_BLOCK_SIZE)

static unsigned char image[20 * OTA_BLOCK_SIZE];

struct bench {
    struct fixture fix;
    struct ota_uploads *uploads;
    struct ota_upload_row row;
};

static int setup(void **state)
{
    struct bench *bench = calloc(1, sizeof *bench);
    assert_non_null(bench);
    fixture_open(&bench->fix);
    for (size_t i = 0; i < sizeof image; i++) {
        image[i] = (unsigned char)(i * 31 + i / 997);
    }
    bench->uploads = ota_uploads_new(bench->fix.core.store);
    bench->row = (struct ota_upload_row){.product_id = bench->fix.product->id,
                                         .user = "u",
                                         .version = "3",
                                         .filename = "f.bin",
                                         .sha256 = FIX_SHA256,
                                         .size = sizeof image};
    assert_int_equal(ota_core_begin(&bench->fix.core, NULL), OTA_OK);
    assert_int_equal(ota_upload_insert(bench->fix.core.store, &bench->row, NULL), OTA_OK);
    assert_int_equal(ota_core_commit(&bench->fix.core, NULL), OTA_OK);
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    ota_uploads_free(bench->uploads);
    fixture_close(&bench->fix);
    free(bench);
    return 0;
}

/* Stores the next bytes of the image, as if they had arrived before a restart. */
static void store_bytes(struct bench *bench, size_t len)
{
    struct ota_store *store = bench->fix.core.store;
    assert_int_equal(ota_core_begin(&bench->fix.core, NULL), OTA_OK);
    while (len > 0) {
        size_t n = len < OTA_BLOCK_SIZE ? len : OTA_BLOCK_SIZE;
        assert_int_equal(ota_upload_append(store, bench->row.id, bench->row.image,
                                           bench->row.received, image + bench->row.received, n, 1,
                                           NULL),
                         OTA_OK);
        bench->row.received += (int64_t)n;
        len -= n;
    }
    assert_int_equal(ota_core_commit(&bench->fix.core, NULL), OTA_OK);
}

static int catch_up(struct bench *bench)
{
    int slices = 1;
    enum ota_err err;
    while ((err = ota_uploads_catch_up(bench->uploads, &bench->row, NULL)) == OTA_AGAIN) {
        slices++;
    }
    assert_int_equal(err, OTA_OK);
    return slices;
}

static void assert_digests(struct bench *bench, size_t len)
{
    unsigned char digest[32];
    char want[65];
    char md5[OTA_MD5_HEX + 1];
    char sha256[OTA_SHA256_HEX + 1];
    assert_int_equal(ota_uploads_digests(bench->uploads, bench->row.id, md5, sha256, NULL), OTA_OK);
    assert_int_equal(EVP_Digest(image, len, digest, NULL, EVP_md5(), NULL), 1);
    ota_hex(digest, 16, want);
    assert_string_equal(md5, want);
    assert_int_equal(EVP_Digest(image, len, digest, NULL, EVP_sha256(), NULL), 1);
    ota_hex(digest, 32, want);
    assert_string_equal(sha256, want);
}

static void test_fed_as_they_come(void **state)
{
    static const size_t pieces[] = {1, 63, 64, 1000, OTA_BLOCK_SIZE, 7};
    struct bench *bench = *state;
    size_t len = 0;
    assert_int_equal(catch_up(bench), 1);
    assert_digests(bench, 0);
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        ota_uploads_feed(bench->uploads, bench->row.id, image + len, pieces[i]);
        len += pieces[i];
        assert_digests(bench, len); /* and it can still go on */
    }
}

static void test_caught_up_in_slices(void **state)
{
    struct bench *bench = *state;
    store_bytes(bench, sizeof image);
    assert_int_equal(catch_up(bench), 3); /* 8, 8 and 4 blocks */
    assert_digests(bench, sizeof image);
    assert_int_equal(catch_up(bench), 1);
}

static void test_exactly_one_slice(void **state)
{
    struct bench *bench = *state;
    store_bytes(bench, SLICE);
    assert_int_equal(catch_up(bench), 1);
    assert_digests(bench, SLICE);
}

/* The restart came in the middle of a block, and the next piece begins there. */
static void test_caught_up_inside_a_block(void **state)
{
    struct bench *bench = *state;
    store_bytes(bench, OTA_BLOCK_SIZE + 100);
    assert_int_equal(catch_up(bench), 1);
    store_bytes(bench, 200); /* stored, but never fed */
    assert_int_equal(catch_up(bench), 1);
    assert_digests(bench, OTA_BLOCK_SIZE + 300);
    ota_uploads_feed(bench->uploads, bench->row.id, image + OTA_BLOCK_SIZE + 300, 50);
    assert_digests(bench, OTA_BLOCK_SIZE + 350);
}

static void test_drop(void **state)
{
    struct bench *bench = *state;
    char md5[OTA_MD5_HEX + 1];
    char sha256[OTA_SHA256_HEX + 1];
    store_bytes(bench, 10);
    (void)catch_up(bench);
    ota_uploads_drop(bench->uploads, bench->row.id);
    ota_uploads_drop(bench->uploads, bench->row.id);
    assert_int_equal(ota_uploads_digests(bench->uploads, bench->row.id, md5, sha256, NULL),
                     OTA_INTERNAL);
    ota_uploads_feed(bench->uploads, bench->row.id, image, 5); /* of nobody */
    (void)catch_up(bench);
    assert_digests(bench, 10);
}

static void test_several_at_once(void **state)
{
    struct bench *bench = *state;
    struct ota_upload_row other = {.id = 4711};
    store_bytes(bench, 10);
    (void)catch_up(bench);
    assert_int_equal(ota_uploads_catch_up(bench->uploads, &other, NULL), OTA_OK);
    ota_uploads_feed(bench->uploads, other.id, "x", 1);
    assert_digests(bench, 10);
    ota_uploads_drop(bench->uploads, other.id);
    assert_digests(bench, 10);
    assert_int_equal(ota_uploads_catch_up(bench->uploads, &other, NULL), OTA_OK);
}

/* The database lost a block: that is an error, not a wrong digest. */
static void test_missing_block(void **state)
{
    struct bench *bench = *state;
    store_bytes(bench, 10);
    bench->row.received = OTA_BLOCK_SIZE + 10;
    assert_int_not_equal(ota_uploads_catch_up(bench->uploads, &bench->row, NULL), OTA_OK);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_fed_as_they_come),
        TEST(test_caught_up_in_slices),
        TEST(test_exactly_one_slice),
        TEST(test_caught_up_inside_a_block),
        TEST(test_drop),
        TEST(test_several_at_once),
        TEST(test_missing_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
