/* SPDX-License-Identifier: BSD-3-Clause */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/download.h"
#include "../../plugin/store/store.h"

#define SHA256       "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER_SHA256 "1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const unsigned char key[OTA_KEY_SIZE] = "an ordinary test key, 32 bytes.";

static struct ota_claim claim_of(int64_t firmware, int64_t device, int64_t task, int attempt)
{
    struct ota_claim claim = {
        .firmware_id = firmware, .task_id = task, .device_id = device, .attempt = attempt};
    assert_int_equal(ota_download_mac(key, &claim, SHA256, claim.mac), OTA_OK);
    return claim;
}

/* Whether a server with our key would serve this path, were all that it names alive. */
static bool is_genuine(const char *path)
{
    struct ota_claim claim;
    char mac[OTA_MAC_HEX + 1];

    if (!ota_download_parse(path, &claim)) {
        return false;
    }
    assert_int_equal(ota_download_mac(key, &claim, SHA256, mac), OTA_OK);
    return ota_download_mac_equal(mac, claim.mac);
}

static void test_mac_is_known(void **state)
{
    (void)state;
    /* printf 'mosquitto-ota-url/1\n7\n%s\n9\n8\n1\n' $SHA256 |
     *     openssl dgst -sha256 -mac HMAC -macopt hexkey:$KEY */
    struct ota_claim claim = claim_of(7, 9, 8, 1);
    assert_string_equal(claim.mac,
                        "4f19ddaa3c7c0dd2e16f6ddf371f57b36d8a2c6bd577e8e71e5e65221d9b8a71");
}

static void test_mac_depends_on_everything(void **state)
{
    (void)state;
    const struct ota_claim base = claim_of(11, 22, 33, 4);
    const struct ota_claim others[] = {
        claim_of(12, 22, 33, 4), claim_of(11, 23, 33, 4), claim_of(11, 22, 34, 4),
        claim_of(11, 22, 33, 5), claim_of(22, 11, 33, 4), claim_of(1, 122, 33, 4),
        claim_of(11, 2, 233, 4), claim_of(11, 22, 3, 34),
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_false(ota_download_mac_equal(base.mac, others[i].mac));
    }
    char mac[OTA_MAC_HEX + 1];
    assert_int_equal(ota_download_mac(key, &base, OTHER_SHA256, mac), OTA_OK);
    assert_false(ota_download_mac_equal(base.mac, mac));

    unsigned char other_key[OTA_KEY_SIZE];
    memcpy(other_key, key, sizeof other_key);
    other_key[31] ^= 1;
    assert_int_equal(ota_download_mac(other_key, &base, SHA256, mac), OTA_OK);
    assert_false(ota_download_mac_equal(base.mac, mac));
}

static void test_mac_refuses_a_bad_digest(void **state)
{
    (void)state;
    struct ota_claim claim = claim_of(1, 1, 1, 1);
    char mac[OTA_MAC_HEX + 1] = "untouched";
    assert_int_equal(ota_download_mac(key, &claim, "", mac), OTA_INTERNAL);
    assert_int_equal(ota_download_mac(key, &claim, SHA256 "0", mac), OTA_INTERNAL);
    assert_string_equal(mac, "untouched");
}

static void test_path_round_trip(void **state)
{
    (void)state;
    const struct ota_claim claims[] = {
        claim_of(1, 1, 1, 1),
        claim_of(10, 200, 3000, 40),
        claim_of(INT64_MAX, INT64_MAX, INT64_MAX, INT_MAX),
    };
    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
        char path[OTA_PATH_MAX];
        struct ota_claim read;
        ota_download_path(&claims[i], path);
        assert_true(strlen(path) < OTA_PATH_MAX - 1);
        assert_true(ota_download_parse(path, &read));
        assert_int_equal(read.firmware_id, claims[i].firmware_id);
        assert_int_equal(read.device_id, claims[i].device_id);
        assert_int_equal(read.task_id, claims[i].task_id);
        assert_int_equal(read.attempt, claims[i].attempt);
        assert_string_equal(read.mac, claims[i].mac);
        assert_true(is_genuine(path));
    }
}

static void test_parse_refuses(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "",
        "/",
        "f/1/2/3/4/" SHA256,
        "/f",
        "/f/",
        "/f/1/2/3/4",
        "/f/1/2/3/4/",
        "/f/1/2/3/" SHA256,
        "/f/1/2/3/4/5/" SHA256,
        "/f/1/2/3/4/" SHA256 "0",
        "/f/1/2/3/4/" SHA256 "/",
        "/f/1/2/3/4/" SHA256 "?",
        "/f/1/2/3/4/" SHA256 "?a=b",
        "/f/1/2/3/4/" SHA256 "#",
        "/f/1/2/3/4/" SHA256 " ",
        "/f/1/2/3/4/" SHA256 ".bin",
        "/f/1/2/3/4/0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
        "/f/1/2/3/4/g123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "/f/1/2/3/4/%30123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "/F/1/2/3/4/" SHA256,
        "//f/1/2/3/4/" SHA256,
        "/f//1/2/3/4/" SHA256,
        "/f/1//2/3/4/" SHA256,
        "/f/1/2/3/4//" SHA256,
        "/f/./1/2/3/4/" SHA256,
        "/x/../f/1/2/3/4/" SHA256,
        "/ff/1/2/3/4/" SHA256,
        "/f1/2/3/4/" SHA256,
        "/f/0/2/3/4/" SHA256,
        "/f/1/0/3/4/" SHA256,
        "/f/1/2/0/4/" SHA256,
        "/f/1/2/3/0/" SHA256,
        "/f/01/2/3/4/" SHA256,
        "/f/1/02/3/4/" SHA256,
        "/f/1/2/03/4/" SHA256,
        "/f/1/2/3/04/" SHA256,
        "/f/-1/2/3/4/" SHA256,
        "/f/+1/2/3/4/" SHA256,
        "/f/ 1/2/3/4/" SHA256,
        "/f/1 /2/3/4/" SHA256,
        "/f/0x1/2/3/4/" SHA256,
        "/f/1e1/2/3/4/" SHA256,
        "/f/%31/2/3/4/" SHA256,
        "/f/9223372036854775808/2/3/4/" SHA256,
        "/f/18446744073709551617/2/3/4/" SHA256,
        "/f/1/2/99999999999999999999999999/4/" SHA256,
        "/f/1/2/3/2147483648/" SHA256,
        "/f/1/2/3/4294967300/" SHA256,
        "http://host/f/1/2/3/4/" SHA256,
    };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct ota_claim claim = {.task_id = 77};
        if (ota_download_parse(paths[i], &claim)) {
            fail_msg("accepted: %s", paths[i]);
        }
        assert_int_equal(claim.task_id, 77);
    }
    struct ota_claim claim;
    assert_true(ota_download_parse("/f/1/2/3/4/" SHA256, &claim));
}

/* Every text that is one replaced, removed or added byte away from a good one is refused. */
static void test_no_neighbour_is_genuine(void **state)
{
    (void)state;
    const struct ota_claim claim = claim_of(1203, 98, 45071, 10);
    char path[OTA_PATH_MAX];
    char text[OTA_PATH_MAX + 1];

    ota_download_path(&claim, path);
    assert_true(is_genuine(path));
    size_t len = strlen(path);
    for (size_t at = 0; at <= len; at++) {
        for (int byte = 1; byte < 256; byte++) {
            memcpy(text, path, len + 1);
            text[at] = (char)byte;
            text[len + 1] = '\0';
            if ((char)byte != path[at] && is_genuine(text)) {
                fail_msg("replaced byte %zu by %d: %s", at, byte, text);
            }
            memcpy(text, path, at);
            text[at] = (char)byte;
            memcpy(text + at + 1, path + at, len - at + 1);
            if (is_genuine(text)) {
                fail_msg("put %d before byte %zu: %s", byte, at, text);
            }
        }
        if (at < len) {
            memcpy(text, path, at);
            memcpy(text + at, path + at + 1, len - at);
            assert_false(is_genuine(text));
            memcpy(text, path, at);
            text[at] = '\0';
            assert_false(is_genuine(text));
        }
    }
}

/* Rubbish of all lengths, and good paths with several bytes changed. */
static void test_parse_survives_rubbish(void **state)
{
    (void)state;
    static const char alphabet[] = "/f0123456789abcdef%?-+.x";
    struct ota_claim claim = claim_of(5, 6, 7, 8);
    char path[OTA_PATH_MAX];
    char text[OTA_PATH_MAX];

    srand(1);
    ota_download_path(&claim, path);
    for (int round = 0; round < 200000; round++) {
        size_t len;
        if (round % 2 == 0) {
            len = (size_t)rand() % (sizeof text - 1);
            for (size_t i = 0; i < len; i++) {
                text[i] = alphabet[(size_t)rand() % (sizeof alphabet - 1)];
            }
            text[len] = '\0';
        } else {
            memcpy(text, path, sizeof text);
            for (int i = rand() % 4 + 1; i > 0; i--) {
                text[(size_t)rand() % strlen(path)] =
                    alphabet[(size_t)rand() % (sizeof alphabet - 1)];
            }
        }
        if (ota_download_parse(text, &claim)) {
            char again[OTA_PATH_MAX];
            ota_download_path(&claim, again);
            assert_string_equal(again, text);
        }
    }
}

static void test_mac_equal(void **state)
{
    (void)state;
    char other[OTA_MAC_HEX + 1];
    assert_true(ota_download_mac_equal(SHA256, SHA256));
    for (size_t i = 0; i < OTA_MAC_HEX; i++) {
        memcpy(other, SHA256, sizeof other);
        other[i] = other[i] == '0' ? '1' : '0';
        assert_false(ota_download_mac_equal(SHA256, other));
    }
}

static void test_range(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        int64_t size;
        enum ota_range_kind kind;
        int64_t first;
        int64_t length;
    } cases[] = {
        {NULL, 100, OTA_RANGE_ALL, 0, 100},
        {"bytes=0-99", 100, OTA_RANGE_PART, 0, 100},
        {"bytes=0-100", 100, OTA_RANGE_PART, 0, 100}, /* the vendor's SDK asks so */
        {"bytes=40-100", 100, OTA_RANGE_PART, 40, 60},
        {"bytes=100-100", 100, OTA_RANGE_OUTSIDE, 0, 0}, /* and so when it has it all */
        {"bytes=0-0", 100, OTA_RANGE_PART, 0, 1},
        {"bytes=99-99", 100, OTA_RANGE_PART, 99, 1},
        {"bytes=10-19", 100, OTA_RANGE_PART, 10, 10},
        {"bytes=10-", 100, OTA_RANGE_PART, 10, 90},
        {"bytes=99-", 100, OTA_RANGE_PART, 99, 1},
        {"bytes=100-", 100, OTA_RANGE_OUTSIDE, 0, 0},
        {"bytes=-1", 100, OTA_RANGE_PART, 99, 1},
        {"bytes=-100", 100, OTA_RANGE_PART, 0, 100},
        {"bytes=-101", 100, OTA_RANGE_PART, 0, 100},
        {"bytes=-0", 100, OTA_RANGE_OUTSIDE, 0, 0},
        {"bytes=000-009", 100, OTA_RANGE_PART, 0, 10},
        {"BYTES=1-2", 100, OTA_RANGE_PART, 1, 2},
        {"bytes=0-9223372036854775807", 100, OTA_RANGE_PART, 0, 100},
        {"bytes=0-9223372036854775808", 100, OTA_RANGE_PART, 0, 100},
        {"bytes=0-99999999999999999999999999999999", 100, OTA_RANGE_PART, 0, 100},
        {"bytes=99999999999999999999999999999999-", 100, OTA_RANGE_OUTSIDE, 0, 0},
        {"bytes=-99999999999999999999999999999999", 100, OTA_RANGE_PART, 0, 100},
        {"bytes=18446744073709551616-18446744073709551617", 100, OTA_RANGE_OUTSIDE, 0, 0},
        {"bytes=4294967296-4294967297", 5000000000, OTA_RANGE_PART, 4294967296, 2},
        {"bytes=20-10", 100, OTA_RANGE_ALL, 0, 100},
        {"bytes=200-100", 100, OTA_RANGE_ALL, 0, 100},
        {"bytes=0-1,5-6", 100, OTA_RANGE_ALL, 0, 100},
        {"bytes=0-1,", 100, OTA_RANGE_ALL, 0, 100},
        {"bytes=", 100, OTA_RANGE_ALL, 0, 100},
        {"bytes=-", 100, OTA_RANGE_ALL, 0, 100},
        {"bytes=--1", 100, OTA_RANGE_ALL, 0, 100},
        {"bytes=1", 100, OTA_RANGE_ALL, 0, 100},
        {"bytes=a-b", 100, OTA_RANGE_ALL, 0, 100},
        {"bytes=1-b", 100, OTA_RANGE_ALL, 0, 100},
        {"bytes=1-2b", 100, OTA_RANGE_ALL, 0, 100},
        {"bytes=+1-2", 100, OTA_RANGE_ALL, 0, 100},
        {"bytes= 1-2", 100, OTA_RANGE_ALL, 0, 100},
        {"bytes=1 -2", 100, OTA_RANGE_ALL, 0, 100},
        {"bytes =1-2", 100, OTA_RANGE_ALL, 0, 100},
        {"bytes:1-2", 100, OTA_RANGE_ALL, 0, 100},
        {"items=1-2", 100, OTA_RANGE_ALL, 0, 100},
        {"1-2", 100, OTA_RANGE_ALL, 0, 100},
        {"", 100, OTA_RANGE_ALL, 0, 100},
        {"bytes", 100, OTA_RANGE_ALL, 0, 100},
        {"bytes=0-0", 1, OTA_RANGE_PART, 0, 1},
        {"bytes=0-", 0, OTA_RANGE_OUTSIDE, 0, 0},
        {"bytes=-5", 0, OTA_RANGE_OUTSIDE, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ota_range range = ota_range_parse(cases[i].header, cases[i].size);
        if (range.kind != cases[i].kind || range.first != cases[i].first ||
            range.length != cases[i].length) {
            fail_msg("%s of %lld: kind %d, %lld + %lld", cases[i].header, (long long)cases[i].size,
                     (int)range.kind, (long long)range.first, (long long)range.length);
        }
    }
}

/* Whatever the header, what is sent lies within the file. */
static void test_range_survives_rubbish(void **state)
{
    (void)state;
    static const char alphabet[] = "0123456789-, =b9";
    char header[64];

    srand(2);
    for (int round = 0; round < 500000; round++) {
        size_t len = 6 + (size_t)rand() % (sizeof header - 7);
        memcpy(header, "bytes=", 6);
        for (size_t i = 6; i < len; i++) {
            header[i] = alphabet[(size_t)rand() % (sizeof alphabet - 1)];
        }
        header[len] = '\0';
        int64_t size = rand() % 1000 + 1;
        struct ota_range range = ota_range_parse(header, size);
        if (range.kind == OTA_RANGE_OUTSIDE) {
            assert_int_equal(range.length, 0);
        } else {
            assert_true(range.first >= 0 && range.length > 0);
            assert_true(range.first <= size - range.length);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mac_is_known),
        cmocka_unit_test(test_mac_depends_on_everything),
        cmocka_unit_test(test_mac_refuses_a_bad_digest),
        cmocka_unit_test(test_path_round_trip),
        cmocka_unit_test(test_parse_refuses),
        cmocka_unit_test(test_no_neighbour_is_genuine),
        cmocka_unit_test(test_parse_survives_rubbish),
        cmocka_unit_test(test_mac_equal),
        cmocka_unit_test(test_range),
        cmocka_unit_test(test_range_survives_rubbish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
