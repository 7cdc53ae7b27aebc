/* SPDX-License-Identifier: BSD-3-Clause */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../plugin/util/signature.h"
#include "signature_answers.h"

static const struct ota_manifest manifest = {SIGNED_PRODUCT, SIGNED_VERSION, SIGNED_ORDER,
                                             SIGNED_SIZE, SIGNED_SHA256};

/* --- files of keys ---------------------------------------------------------------------------- */

#define FILES 4

struct folder {
    char path[24];
    char *files[FILES];
    int count;
};

static int setup(void **state)
{
    struct folder *folder = calloc(1, sizeof *folder);
    assert_non_null(folder);
    strcpy(folder->path, "/tmp/ota-keys-XXXXXX");
    assert_non_null(mkdtemp(folder->path));
    *state = folder;
    return 0;
}

static void remove_last(struct folder *folder)
{
    char *path = folder->files[--folder->count];
    assert_int_equal(unlink(path), 0);
    free(path);
}

static int teardown(void **state)
{
    struct folder *folder = *state;
    while (folder->count > 0) {
        remove_last(folder);
    }
    assert_int_equal(rmdir(folder->path), 0);
    free(folder);
    return 0;
}

static const char *write_file(struct folder *folder, const char *text)
{
    char *path = NULL;
    assert_true(asprintf(&path, "%s/%d.pub", folder->path, folder->count) > 0);
    folder->files[folder->count++] = path;
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    return path;
}

static struct ota_signature_keys *read_keys(const char *files)
{
    struct ota_signature_keys *keys = NULL;
    struct ota_error error = {0};
    if (ota_signature_keys_read(files, &keys, &error) != OTA_OK) {
        fail_msg("%s", error.text);
    }
    return keys;
}

static struct ota_signature_keys *keys_of(struct folder *folder, const char *text)
{
    return read_keys(write_file(folder, text));
}

static void assert_fingerprint(const struct ota_signature_keys *keys, size_t index,
                               const char *expected)
{
    char text[OTA_FINGERPRINT_HEX + 1];
    assert_true(ota_signature_fingerprint(ota_signature_keys_at(keys, index), text));
    assert_string_equal(text, expected);
}

static void test_keys_of_one_file(void **state)
{
    struct ota_signature_keys *keys =
        keys_of(*state, "what stands around them is a comment\n" KEY_1 "\n" KEY_2 "the end");
    assert_int_equal(ota_signature_keys_count(keys), 2);
    assert_fingerprint(keys, 0, KEY_1_FINGERPRINT);
    assert_fingerprint(keys, 1, KEY_2_FINGERPRINT);
    ota_signature_keys_free(keys);
}

static void test_keys_of_several_files(void **state)
{
    struct folder *folder = *state;
    char list[128];
    const char *one = write_file(folder, KEY_1);
    const char *two = write_file(folder, KEY_2);
    (void)snprintf(list, sizeof list, " %s ,\t%s,, ", two, one);
    struct ota_signature_keys *keys = read_keys(list);
    assert_int_equal(ota_signature_keys_count(keys), 2);
    assert_fingerprint(keys, 0, KEY_2_FINGERPRINT);
    assert_fingerprint(keys, 1, KEY_1_FINGERPRINT);
    ota_signature_keys_free(keys);
}

static void test_as_many_keys_as_there_may_be(void **state)
{
    char text[(OTA_SIGNING_KEYS_MAX + 1) * sizeof KEY_1] = "";
    for (int i = 0; i < OTA_SIGNING_KEYS_MAX; i++) {
        strcat(text, KEY_1);
    }
    struct ota_signature_keys *keys = keys_of(*state, text);
    assert_int_equal(ota_signature_keys_count(keys), OTA_SIGNING_KEYS_MAX);
    ota_signature_keys_free(keys);
    strcat(text, KEY_1);
    assert_int_equal(ota_signature_keys_read(write_file(*state, text), &keys, NULL),
                     OTA_INVALID_REQUEST);
}

static void assert_refused(const char *files, const char *word)
{
    struct ota_signature_keys *keys = (void *)"untouched";
    struct ota_error error = {0};
    assert_int_equal(ota_signature_keys_read(files, &keys, &error), OTA_INVALID_REQUEST);
    assert_string_equal((const char *)keys, "untouched");
    if (strstr(error.text, word) == NULL) {
        fail_msg("\"%s\" doesn't say \"%s\"", error.text, word);
    }
}

static void test_wrong_files(void **state)
{
    static const char *const rows[][2] = {
        {"", "holds no PEM public key"},
        {"ssh-ed25519 AAAA", "holds no PEM public key"},
        {"-----BEGIN PUBLIC KEY-----\nMCow", "damaged"},
        {KEY_1 "-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n", "damaged"},
        {PEM("AAAA"), "isn't Ed25519"},
        /* a key, and a byte behind it */
        {PEM("MCowBQYDK2VwAyEAdnYH7hmUXHro1kzP4YNt3JSe9r86LJmihbV5VYnpcBsA"), "isn't Ed25519"},
        /* P-256 */
        {PEM("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEQJrAthBMozIatd/cnOEbJS52/cat\n"
             "xYbrmeENqFc8A6QQFycEtT0aNcoysY53GEK4tQ8Yb1kN6xlNlFaetKceYQ=="),
         "isn't Ed25519"},
        /* Ed448 */
        {PEM("MEMwBQYDK2VxAzoAY+etDhm3FtiODX6MHHacMPRDsH3JBA0E1GElesqvemgbR5HU\n"
             "g3wlH/7Z6zzrDCGDaFtGdQTuzX6A"),
         "isn't Ed25519"},
        {KEY_1 "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "private key"},
        {"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
         "private key"},
        {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "something else"},
    };
    struct folder *folder = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *path = write_file(folder, rows[i][0]);
        assert_refused(path, path);
        assert_refused(path, rows[i][1]);
        remove_last(folder);
    }
}

static void test_files_that_cant_be_read(void **state)
{
    struct folder *folder = *state;
    char list[160];
    (void)snprintf(list, sizeof list, "%s,%s/none.pub", write_file(folder, KEY_1), folder->path);
    assert_refused(list, "none.pub: No such file");
    assert_refused(folder->path, "Is a directory");
    assert_refused("/dev/zero", "too long");
    assert_refused(" , ", "name files");
}

/* --- the manifest ----------------------------------------------------------------------------- */

static void test_manifest(void **state)
{
    char text[OTA_MANIFEST_MAX];
    static const char expected[] = "mosquitto-ota/1\ndoor\n3.0\n7\n11\n" SIGNED_SHA256 "\n";
    (void)state;
    assert_int_equal(ota_signature_manifest(&manifest, text), sizeof expected - 1);
    assert_string_equal(text, expected);
    struct ota_manifest other = manifest;
    other.order = -5;
    assert_true(ota_signature_manifest(&other, text) > 0);
    assert_non_null(strstr(text, "\n3.0\n-5\n11\n"));
}

static void test_the_longest_manifest(void **state)
{
    char text[OTA_MANIFEST_MAX];
    static const char name[] = "12345678901234567890123456789012";
    struct ota_manifest longest = {name, name, INT64_MIN, INT64_MAX, SIGNED_SHA256};
    (void)state;
    assert_int_equal(ota_signature_manifest(&longest, text), 16 + 33 + 33 + 21 + 20 + 65);
}

/* Nothing that could be read as another manifest. */
static void test_what_is_no_manifest(void **state)
{
    static const struct ota_manifest bad[] = {
        {"", "3.0", 7, 11, SIGNED_SHA256},
        {"do\nor", "3.0", 7, 11, SIGNED_SHA256},
        {"door", "", 7, 11, SIGNED_SHA256},
        {"door", "3.0\n7", 7, 11, SIGNED_SHA256},
        {"door", "3.0", 7, 0, SIGNED_SHA256},
        {"door", "3.0", 7, -1, SIGNED_SHA256},
        {"door", "3.0", 7, 11, ""},
        {"door", "3.0", 7, 11, SIGNED_SHA256 "0"},
        {"door", "3.0", 7, 11, "B94D27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"},
        {"door", "3.0", 7, 11, "\n94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"},
    };
    char text[OTA_MANIFEST_MAX];
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(ota_signature_manifest(&bad[i], text), 0);
    }
}

/* --- signatures ------------------------------------------------------------------------------- */

static void test_known_answers(void **state)
{
    struct ota_signature_keys *first = keys_of(*state, KEY_1);
    struct ota_signature_keys *both = keys_of(*state, KEY_2 KEY_1);
    assert_true(ota_signature_fits(first, &manifest, BY_KEY_1));
    assert_false(ota_signature_fits(first, &manifest, BY_KEY_2));
    assert_true(ota_signature_fits(both, &manifest, BY_KEY_1));
    assert_true(ota_signature_fits(both, &manifest, BY_KEY_2));
    assert_false(ota_signature_fits(NULL, &manifest, BY_KEY_1));
    ota_signature_keys_free(first);
    ota_signature_keys_free(both);
}

static void test_every_field_is_signed(void **state)
{
    struct ota_signature_keys *keys = keys_of(*state, KEY_1);
    struct ota_manifest others[] = {manifest, manifest, manifest, manifest, manifest, manifest};
    others[0].product = "doo";
    others[1].version = "3.1";
    others[2].order++;
    others[3].order = -others[3].order;
    others[4].size++;
    others[5].sha256 = KEY_1_FINGERPRINT;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_false(ota_signature_fits(keys, &others[i], BY_KEY_1));
    }
    ota_signature_keys_free(keys);
}

static void test_what_is_no_signature(void **state)
{
    static const char *const bad[] = {
        "",
        "AAAA",
        "UIJ00qlhpU7z1dvN1eF3KZft19/zX6sYPHjH4Zo5DYWxP/2gnHWuE6BXH0c3FZwTEqRPRTombDFwfxZkAP0FAQ",
        "UIJ00qlhpU7z1dvN1eF3KZft19/zX6sYPHjH4Zo5DYWxP/"
        "2gnHWuE6BXH0c3FZwTEqRPRTombDFwfxZkAP0FAQ==\n",
        " IJ00qlhpU7z1dvN1eF3KZft19/zX6sYPHjH4Zo5DYWxP/2gnHWuE6BXH0c3FZwTEqRPRTombDFwfxZkAP0FAQ==",
        /* a second spelling of the same bytes, 65 and 66 bytes */
        "UIJ00qlhpU7z1dvN1eF3KZft19/zX6sYPHjH4Zo5DYWxP/2gnHWuE6BXH0c3FZwTEqRPRTombDFwfxZkAP0FAR==",
        "UIJ00qlhpU7z1dvN1eF3KZft19/zX6sYPHjH4Zo5DYWxP/2gnHWuE6BXH0c3FZwTEqRPRTombDFwfxZkAP0FAQA=",
        "UIJ00qlhpU7z1dvN1eF3KZft19/zX6sYPHjH4Zo5DYWxP/2gnHWuE6BXH0c3FZwTEqRPRTombDFwfxZkAP0FAQAA",
        BY_KEY_1 BY_KEY_1,
    };
    struct ota_signature_keys *keys = keys_of(*state, KEY_1);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(ota_signature_fits(keys, &manifest, bad[i]));
    }
    ota_signature_keys_free(keys);
}

/* One bit, wherever it is. */
static void test_every_character_counts(void **state)
{
    struct ota_signature_keys *keys = keys_of(*state, KEY_1);
    for (size_t i = 0; i < 86; i++) {
        char text[] = BY_KEY_1;
        text[i] = text[i] == 'A' ? 'Q' : 'A';
        assert_false(ota_signature_fits(keys, &manifest, text));
    }
    ota_signature_keys_free(keys);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_keys_of_one_file),
        TEST(test_keys_of_several_files),
        TEST(test_as_many_keys_as_there_may_be),
        TEST(test_wrong_files),
        TEST(test_files_that_cant_be_read),
        cmocka_unit_test(test_manifest),
        cmocka_unit_test(test_the_longest_manifest),
        cmocka_unit_test(test_what_is_no_manifest),
        TEST(test_known_answers),
        TEST(test_every_field_is_signed),
        TEST(test_what_is_no_signature),
        TEST(test_every_character_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
