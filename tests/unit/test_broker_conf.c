/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../plugin/broker_conf.h"

struct place {
    char dir[64];
    char conf[96];
    char more[96];
    char included[128];
};

static void put(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    (void)fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static int setup(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    assert_non_null(place);
    (void)snprintf(place->dir, sizeof place->dir, "/tmp/ota-conf-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    (void)snprintf(place->conf, sizeof place->conf, "%s/mosquitto.conf", place->dir);
    (void)snprintf(place->more, sizeof place->more, "%s/conf.d", place->dir);
    (void)snprintf(place->included, sizeof place->included, "%s/a.conf", place->more);
    assert_int_equal(mkdir(place->more, 0700), 0);
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;
    (void)unlink(place->included);
    (void)rmdir(place->more);
    (void)unlink(place->conf);
    (void)rmdir(place->dir);
    free(place);
    return 0;
}

static void test_one_file(void **state)
{
    static const struct {
        const char *text;
        enum ota_other_logins found;
    } rows[] = {
        {"", OTA_LOGINS_NONE},
        {"plugin /usr/lib/mosquitto_ota.so\nallow_anonymous true\n", OTA_LOGINS_NONE},
        {"#password_file /a\n# plugin /b.so\nplugin_opt_password_file /x\n", OTA_LOGINS_NONE},
        {"plugin /usr/lib/mosquitto_ota.so\npassword_file /a", OTA_LOGINS_SOME},
        {"plugin /lib/mosquitto_ota.so\r\nplugin   /lib/other.so\r\n", OTA_LOGINS_SOME},
        {"auth_plugin /lib/other.so\n", OTA_LOGINS_SOME},
        {"plugin /lib/mosquitto_ota/other.so\n", OTA_LOGINS_SOME},
        {"global_plugin /lib/other.so\n", OTA_LOGINS_SOME},
    };
    struct place *place = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        put(place->conf, rows[i].text);
        if (ota_broker_conf_logins(place->conf) != rows[i].found) {
            fail_msg("%s", rows[i].text);
        }
    }
}

static void test_included_files(void **state)
{
    struct place *place = *state;
    char text[160];
    (void)snprintf(text, sizeof text, "include_dir %s\n", place->more);
    put(place->conf, text);
    assert_int_equal(ota_broker_conf_logins(place->conf), OTA_LOGINS_NONE);
    put(place->included, "listener 1883\n");
    assert_int_equal(ota_broker_conf_logins(place->conf), OTA_LOGINS_NONE);
    put(place->included, "password_file /a\n");
    assert_int_equal(ota_broker_conf_logins(place->conf), OTA_LOGINS_SOME);
    (void)snprintf(text, sizeof text, "include_dir %s/none\n", place->dir);
    put(place->conf, text);
    assert_int_equal(ota_broker_conf_logins(place->conf), OTA_LOGINS_UNKNOWN);
    (void)snprintf(text, sizeof text, "include_dir %s/none\npassword_file /a\n", place->dir);
    put(place->conf, text);
    assert_int_equal(ota_broker_conf_logins(place->conf), OTA_LOGINS_SOME);
}

static void test_no_file(void **state)
{
    char path[64];
    (void)state;
    assert_int_equal(ota_broker_conf_logins("/nowhere/mosquitto.conf"), OTA_LOGINS_UNKNOWN);
    assert_false(ota_broker_conf_path(path, sizeof path)); /* this test has no -c */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_included_files, setup, teardown),
        cmocka_unit_test(test_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
