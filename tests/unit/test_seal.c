/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "../../plugin/util/seal.h"

#define LEN    16
#define SEALED (LEN + OTA_SEAL_MORE)

static const unsigned char key[OTA_SEAL_KEY] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                                11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                                                22, 23, 24, 25, 26, 27, 28, 29, 30, 31};

/* Python's cryptography, AESGCM: the key above, the nonce 00…0b, the secret 00…0f, and beside it
 * "mosquitto-ota device secret\0" and 7 as a big-endian number of 8 bytes. */
static const unsigned char by_another_hand[SEALED] = {
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x47, 0x03, 0xd4,
    0x18, 0xc1, 0xe0, 0xc4, 0x1c, 0x85, 0x48, 0x9d, 0x80, 0xbd, 0xe4, 0x76, 0x62, 0xd5, 0x73,
    0x8d, 0x5b, 0xb6, 0x51, 0x80, 0x28, 0xa8, 0xc5, 0x98, 0xe5, 0x1e, 0xa0, 0xfc, 0x6a};

static void test_there_and_back(void **state)
{
    unsigned char sealed[SEALED];
    unsigned char again[SEALED];
    unsigned char secret[LEN];
    (void)state;
    assert_true(ota_seal(key, 7, key, LEN, sealed));
    assert_true(ota_seal(key, 7, key, LEN, again));
    assert_memory_not_equal(sealed, again, SEALED);
    assert_true(ota_unseal(key, 7, sealed, SEALED, secret));
    assert_memory_equal(secret, key, LEN);
}

static void test_what_another_hand_sealed(void **state)
{
    unsigned char secret[LEN];
    (void)state;
    assert_true(ota_unseal(key, 7, by_another_hand, SEALED, secret));
    assert_memory_equal(secret, key, LEN);
}

/* Not a byte of what can't be trusted comes out. */
static void check_refused(const unsigned char *with, int64_t device, const unsigned char *sealed,
                          size_t len)
{
    static const unsigned char nothing[LEN] = {0};
    unsigned char secret[LEN] = {0};
    assert_false(ota_unseal(with, device, sealed, len, secret));
    assert_memory_equal(secret, nothing, LEN);
}

static void test_tampered(void **state)
{
    unsigned char sealed[SEALED];
    unsigned char other[OTA_SEAL_KEY];
    (void)state;
    assert_true(ota_seal(key, 7, key, LEN, sealed));
    for (size_t i = 0; i < SEALED; i++) {
        sealed[i] ^= 1;
        check_refused(key, 7, sealed, SEALED);
        sealed[i] ^= 1;
    }
    for (size_t len = 0; len < SEALED; len++) {
        check_refused(key, 7, sealed, len);
    }
    check_refused(key, 8, sealed, SEALED);
    check_refused(key, -7, sealed, SEALED);
    check_refused(key, 7 + (INT64_C(1) << 56), sealed, SEALED);
    memcpy(other, key, sizeof other);
    other[31] ^= 1;
    check_refused(other, 7, sealed, SEALED);
}

static void test_proof(void **state)
{
    /* Python's hmac over "mosquitto-ota secret_keyfile" */
    static const unsigned char start[] = {0xb8, 0x80, 0x58, 0x19, 0x21, 0x0e, 0x72, 0x4d};
    unsigned char proof[OTA_SEAL_PROOF];
    (void)state;
    assert_true(ota_seal_proof(key, proof));
    assert_memory_equal(proof, start, sizeof start);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_what_another_hand_sealed),
        cmocka_unit_test(test_tampered),
        cmocka_unit_test(test_proof),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
