/* SPDX-License-Identifier: BSD-3-Clause */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "../../plugin/options.h"

/* What must be said in any case. */
#define URL "http://fw.example.com"

static enum ota_err read_two(const char *key, const char *value, struct ota_options *options,
                             struct ota_error *error)
{
    const char *keys[] = {"download_url", key};
    const char *values[] = {URL, value};
    return ota_options_read(keys, values, key != NULL ? 2 : 1, options, error);
}

static void test_defaults(void **state)
{
    struct ota_options options;
    (void)state;
    assert_int_equal(read_two(NULL, NULL, &options, NULL), OTA_OK);
    assert_string_equal(options.db_path, "/var/lib/mosquitto/ota/ota.db");
    assert_string_equal(options.topic_prefix, "$ota");
    assert_string_equal(options.admins, "");
    assert_string_equal(options.roles_file, "");
    assert_string_equal(options.device_identity, "username:%p/%d");
    assert_true(options.auto_register);
    assert_int_equal(options.upgrade_timeout, 900);
    assert_int_equal(options.notice_interval, 10);
    assert_int_equal(options.max_firmware_size, 10485760);
    assert_int_equal(options.max_firmware_per_product, 50);
    assert_string_equal(options.download_listen, "0.0.0.0:8080");
    assert_int_equal(options.keep_history_days, 400);
    assert_int_equal(options.keep_audit_days, 400);
    assert_string_equal(options.backup_dir, "");
    assert_string_equal(options.synchronous, "normal");
    assert_string_equal(options.acl_fallback, "defer");
    ota_options_free(&options);
}

static void assert_taken(const char *key, const char *value)
{
    struct ota_options options;
    struct ota_error error = {0};
    if (read_two(key, value, &options, &error) != OTA_OK) {
        fail_msg("%s %s: %s", key, value, error.text);
    }
    ota_options_free(&options);
}

/* An error names the option, so that its line in mosquitto.conf is found. */
static void assert_refused(const char *key, const char *value)
{
    struct ota_options options;
    struct ota_error error = {0};
    if (read_two(key, value, &options, &error) == OTA_OK) {
        fail_msg("%s %s was taken", key, value);
    }
    assert_int_equal(error.code, OTA_INVALID_REQUEST);
    assert_non_null(strstr(error.text, key));
    assert_non_null(strstr(error.text, "plugin_opt_"));
}

static void test_numbers(void **state)
{
    static const char *const bad[] = {
        "", "x", "1x", "1.5", "-1", "0", "604801", "0x10", "1 ", "99999999999999999999", "1e3"};
    (void)state;
    assert_taken("upgrade_timeout", "1");
    assert_taken("upgrade_timeout", "604800");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_refused("upgrade_timeout", bad[i]);
    }
    assert_refused("notice_interval", "0");
    assert_taken("keep_history_days", "0");
    assert_taken("keep_audit_days", "36500");
    assert_refused("keep_audit_days", "36501");
    assert_refused("keep_history_days", "-1");
    assert_refused("max_firmware_size", "0");
    assert_refused("max_devices_per_product", "0");
    assert_refused("max_firmware_per_product", "0");
}

static void test_words(void **state)
{
    (void)state;
    assert_taken("auto_register", "false");
    assert_refused("auto_register", "yes");
    assert_refused("auto_register", "True");
    assert_refused("auto_register", "");
    assert_taken("synchronous", "full");
    assert_refused("synchronous", "normal|full");
    assert_refused("synchronous", "norma");
    assert_refused("synchronous", "|");
    assert_taken("acl_fallback", "allow");
    assert_refused("acl_fallback", "deny");
}

static void test_prefixes(void **state)
{
    static const char *const bad[] = {"",          "$",
                                      "ota",       "$ota/x",
                                      "$ota/",     "$+",
                                      "$#",        "$o ta",
                                      "$SYS",      "$CONTROL",
                                      "$share",    "$queue",
                                      "$gateway",  "$123456789012345678901234567890123",
                                      "$\xc3\xa4", "$$"};
    (void)state;
    assert_taken("topic_prefix", "$fw-1_x");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_refused("topic_prefix", bad[i]);
    }
}

static void test_urls(void **state)
{
    static const char *const good[] = {"https://fw.example.com", "http://10.0.0.1:8080",
                                       "http://[::1]:80", "http://h/a/b"};
    static const char *const bad[] = {"fw.example.com", "ftp://h",    "http://",    "http:///x",
                                      "http://h/",      "http://h?x", "http://h#x", "http://h h",
                                      "http://h\"",     "http://u@h", "HTTP://h",   "http://:80",
                                      "http://h\\x"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_taken("download_url", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_refused("download_url", bad[i]);
    }
    char text[300] = "http://";
    memset(text + 7, 'h', 248);
    assert_taken("download_url", text);
    text[255] = 'h';
    assert_refused("download_url", text);
}

static void test_a_url_is_wanted(void **state)
{
    static const char *const off_key[] = {"download_listen"};
    static const char *const off_value[] = {"off"};
    struct ota_options options;
    struct ota_error error = {0};
    (void)state;
    assert_int_equal(ota_options_read(NULL, NULL, 0, &options, &error), OTA_INVALID_REQUEST);
    assert_string_equal(error.field, "download_url");
    assert_int_equal(ota_options_read(off_key, off_value, 1, &options, NULL), OTA_OK);
    ota_options_free(&options);
}

static void test_certificate_and_key(void **state)
{
    static const char *const keys[] = {"download_url", "http_certfile", "http_keyfile"};
    static const char *const values[] = {URL, "/c", "/k"};
    struct ota_options options;
    (void)state;
    assert_refused("http_certfile", "/c");
    assert_refused("http_keyfile", "/k");
    assert_int_equal(ota_options_read(keys, values, 3, &options, NULL), OTA_OK);
    ota_options_free(&options);
}

static void test_signatures(void **state)
{
    static const char *const keys[] = {"download_url", "require_signature", "signing_keys"};
    static const char *const values[] = {URL, "true", "/a.pub,/b.pub"};
    struct ota_options options;
    (void)state;
    assert_int_equal(read_two(NULL, NULL, &options, NULL), OTA_OK);
    assert_string_equal(options.signing_keys, "");
    assert_false(options.require_signature);
    ota_options_free(&options);
    assert_taken("signing_keys", "/a.pub");
    assert_taken("require_signature", "false");
    assert_refused("require_signature", "true"); /* without a key */
    assert_refused("require_signature", "yes");
    assert_int_equal(ota_options_read(keys, values, 3, &options, NULL), OTA_OK);
    assert_true(options.require_signature);
    ota_options_free(&options);
}

static void test_unknown_options(void **state)
{
    (void)state;
    assert_refused("nosuch", "1");
    assert_refused("DB_PATH", "/x");
    assert_refused("", "x");
    assert_refused("db_path2", "x");
    assert_refused("zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", "x");
}

static void test_the_last_one_counts(void **state)
{
    static const char *const keys[] = {"download_url", "admins", "admins", "upgrade_timeout",
                                       "upgrade_timeout"};
    static const char *const values[] = {URL, "a", "b", "10", "20"};
    struct ota_options options;
    (void)state;
    assert_int_equal(ota_options_read(keys, values, 5, &options, NULL), OTA_OK);
    assert_string_equal(options.admins, "b");
    assert_int_equal(options.upgrade_timeout, 20);
    ota_options_free(&options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_a_url_is_wanted),
        cmocka_unit_test(test_certificate_and_key),
        cmocka_unit_test(test_signatures),
        cmocka_unit_test(test_unknown_options),
        cmocka_unit_test(test_the_last_one_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
