/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "../../plugin/password.h"

/* mosquitto_passwd 2.0.11 wrote this for "secret". */
#define KNOWN_7                                                                                    \
    "$7$101$j4aoWRxlllMx8iXl$"                                                                     \
    "ODTD3tom/3/Ieww78urORshEQzo0Pve4AF1NX6aGtCwl1MR3kdHENvQMxw7lpXb3Twc37OMDz0hamKP9inIs1Q=="

#define HASH                                                                                       \
    "qEXipeLbgxRlwd06QHfY5WITkUZg0jLg9SZbXzq3ifXjfj+v3GbJGrSfC5PAg3UNCS+UFfbhUIZX4bmIAs330w=="

/* The same password, by the rule of Mosquitto 1.x. */
#define KNOWN_6 "$6$MDEyMzQ1Njc4OWFi$" HASH

static struct ota_password parsed(const char *text)
{
    struct ota_password password;
    struct ota_error error = {0};
    assert_int_equal(ota_password_parse(text, &password, &error), OTA_OK);
    return password;
}

static bool matches(const char *text, const char *word)
{
    struct ota_password password = parsed(text);
    return ota_password_matches(&password, word, strlen(word));
}

static void pbkdf2_as_mosquitto_passwd_writes_it(void **state)
{
    (void)state;
    assert_true(matches(KNOWN_7, "secret"));
    assert_false(matches(KNOWN_7, "secre"));
    assert_false(matches(KNOWN_7, "secrets"));
    assert_false(matches(KNOWN_7, ""));
    assert_int_equal(parsed(KNOWN_7).rounds, 101);
}

static void salted_sha512_of_older_files(void **state)
{
    (void)state;
    assert_true(matches(KNOWN_6, "secret"));
    assert_false(matches(KNOWN_6, "Secret"));
    assert_int_equal(parsed(KNOWN_6).rounds, 0);
}

static void another_salt_or_number_of_rounds_is_another_password(void **state)
{
    (void)state;
    struct ota_password password = parsed(KNOWN_7);
    password.rounds++;
    assert_false(ota_password_matches(&password, "secret", 6));
    password.rounds--;
    assert_true(ota_password_matches(&password, "secret", 6));
    password.salt[0] ^= 1;
    assert_false(ota_password_matches(&password, "secret", 6));
    password.salt[0] ^= 1;
    password.hash[63] ^= 1;
    assert_false(ota_password_matches(&password, "secret", 6));
}

static void refused(const char *text, enum ota_err code)
{
    struct ota_password password = {.rounds = 7};
    struct ota_error error = {0};
    if (ota_password_parse(text, &password, &error) != code) {
        fail_msg("%s", text);
    }
    assert_int_equal(password.rounds, 7);
    assert_non_null(strstr(error.text, "mosquitto_passwd"));
}

static void what_is_no_hash_is_refused(void **state)
{
    (void)state;
    refused("", OTA_INVALID_REQUEST);
    refused("secret", OTA_INVALID_REQUEST);
    refused("$5$YWJj$YWJj", OTA_INVALID_REQUEST);
    refused("$6$", OTA_INVALID_REQUEST);
    refused("$6$YWJj", OTA_INVALID_REQUEST);
    refused("$6$YWJj$YWJj", OTA_INVALID_REQUEST); /* too short a hash */
    refused("$6$$" HASH, OTA_INVALID_REQUEST);
    refused("$6$YWJj$" HASH "$", OTA_INVALID_REQUEST);
    refused("$6$YWJj$" HASH " ", OTA_INVALID_REQUEST);
    refused("$7$YWJj$" HASH, OTA_INVALID_REQUEST);
    refused("$7$0$YWJj$" HASH, OTA_INVALID_REQUEST);
    refused("$7$-1$YWJj$" HASH, OTA_INVALID_REQUEST);
    refused("$7$10000001$YWJj$" HASH, OTA_INVALID_REQUEST);
    refused("$7$999999999999$YWJj$" HASH, OTA_INVALID_REQUEST);
    refused("$argon2id$v=19$m=12288,t=3,p=1$abc$def", OTA_LIMIT_EXCEEDED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pbkdf2_as_mosquitto_passwd_writes_it),
        cmocka_unit_test(salted_sha512_of_older_files),
        cmocka_unit_test(another_salt_or_number_of_rounds_is_another_password),
        cmocka_unit_test(what_is_no_hash_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
