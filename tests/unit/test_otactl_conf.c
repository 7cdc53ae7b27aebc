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
#include <sys/stat.h>
#include <unistd.h>

#include "../../cli/conf_file.h"
#include "../../cli/conf_table.h"
#include "../../cli/conf_user.h"

struct place {
    char folder[64];
    char path[96];
    struct ota_conf conf;
    struct ota_findings findings;
    struct ota_failure failure;
};

static void set_up(struct place *place)
{
    *place = (struct place){.folder = "/tmp/otactl-conf-XXXXXX"};
    assert_non_null(mkdtemp(place->folder));
    (void)snprintf(place->path, sizeof place->path, "%s/mosquitto.conf", place->folder);
    ota_findings_init(&place->findings);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static enum ota_exit load(struct place *place, const char *text)
{
    write_file(place->path, text);
    return ota_conf_load(place->path, &place->conf, &place->findings, &place->failure);
}

static void tear_down(struct place *place)
{
    char command[128];
    ota_conf_free(&place->conf);
    ota_findings_free(&place->findings);
    (void)snprintf(command, sizeof command, "rm -r '%s'", place->folder);
    assert_int_equal(system(command), 0);
}

static void assert_line(const struct place *place, size_t index, int number, const char *key,
                        const char *value)
{
    assert_true(index < place->conf.count);
    assert_int_equal(place->conf.lines[index].number, number);
    assert_string_equal(place->conf.lines[index].key, key);
    assert_string_equal(place->conf.lines[index].value, value);
}

static void test_lines(void **state)
{
    struct place place;
    (void)state;
    set_up(&place);
    assert_int_equal(load(&place, "# a comment\n"
                                  "\n"
                                  "   \t\r\n"
                                  "listener 1883 127.0.0.1\r\n"
                                  "  persistence   true  \n"
                                  "plugin_opt_admins alice, bob\n"
                                  "log_dest\n"
                                  "a\tb c\n"
                                  "last one"),
                     OTA_EXIT_OK);
    assert_int_equal(place.conf.count, 6);
    assert_line(&place, 0, 4, "listener", "1883 127.0.0.1");
    assert_line(&place, 1, 5, "persistence", "true");
    assert_line(&place, 2, 6, "plugin_opt_admins", "alice, bob");
    assert_line(&place, 3, 7, "log_dest", "");
    assert_line(&place, 4, 8, "a\tb", "c");
    assert_line(&place, 5, 9, "last", "one");
    assert_string_equal(place.conf.lines[0].file, place.path);
    assert_int_equal(json_array_size(place.findings.rows), 0);
    tear_down(&place);
}

static void test_the_last_line_counts(void **state)
{
    struct place place;
    (void)state;
    set_up(&place);
    assert_int_equal(load(&place, "a true\na false\nb 1\nc yes\n"), OTA_EXIT_OK);
    assert_int_equal(ota_conf_last(&place.conf, "a")->number, 2);
    assert_false(ota_conf_is_true(ota_conf_last(&place.conf, "a")));
    assert_true(ota_conf_is_true(ota_conf_last(&place.conf, "b")));
    assert_false(ota_conf_is_true(ota_conf_last(&place.conf, "c")));
    assert_null(ota_conf_last(&place.conf, "d"));
    assert_false(ota_conf_is_true(NULL));
    tear_down(&place);
}

/* In the order that Mosquitto 2.0.11 loads them; other names than *.conf don't count, and the rest
 * of the file follows. */
static void test_included_files(void **state)
{
    struct place place;
    char text[256];
    char path[128];
    static const char *const names[] = {"b.conf", "a.conf",  "B.conf", "c.txt",
                                        ".conf",  "Ab.conf", "aA.conf"};
    (void)state;
    set_up(&place);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/d", place.folder);
        (void)mkdir(path, 0700);
        (void)snprintf(path, sizeof path, "%s/d/%s", place.folder, names[i]);
        (void)snprintf(text, sizeof text, "%s 1\n", names[i]);
        write_file(path, text);
    }
    (void)snprintf(text, sizeof text, "first 1\ninclude_dir %s/d\nlast 1\n", place.folder);
    assert_int_equal(load(&place, text), OTA_EXIT_OK);
    assert_int_equal(place.conf.count, 8);
    static const char *const order[] = {"first",   "include_dir", "Ab.conf", "a.conf",
                                        "aA.conf", "B.conf",      "b.conf",  "last"};
    for (size_t i = 0; i < place.conf.count; i++) {
        assert_string_equal(place.conf.lines[i].key, order[i]);
    }
    assert_int_equal(place.conf.lines[0].part, place.conf.lines[7].part);
    assert_int_not_equal(place.conf.lines[2].part, place.conf.lines[3].part);
    tear_down(&place);
}

static void test_a_missing_file_is_no_finding_but_a_failure(void **state)
{
    struct place place;
    (void)state;
    set_up(&place);
    assert_int_equal(ota_conf_load("/nowhere/a.conf", &place.conf, &place.findings, &place.failure),
                     OTA_EXIT_USAGE);
    assert_non_null(strstr(place.failure.text, "/nowhere/a.conf"));
    tear_down(&place);
}

static void test_the_table_of_settings(void **state)
{
    (void)state;
    assert_int_equal(ota_conf_setting("persistence")->kind, OTA_CONF_BOOL);
    assert_int_equal(ota_conf_setting("max_connections")->kind, OTA_CONF_NUMBER);
    assert_non_null(ota_conf_setting("port")->instead);
    assert_null(ota_conf_setting("listener")->instead);
    assert_null(ota_conf_setting("plugin_opt_admins"));
    assert_null(ota_conf_setting("Listener"));
    assert_string_equal(ota_conf_setting_near("listner"), "listener");
    assert_string_equal(ota_conf_setting_near("set_tcp_nodely"), "set_tcp_nodelay");
    assert_null(ota_conf_setting_near("quite_something_else"));
}

static void assert_can(struct ota_conf_user *user, const char *path, int mode, bool wanted)
{
    char why[256] = "";
    assert_int_equal(ota_conf_user_can(user, path, mode, why, sizeof why), wanted);
    assert_int_equal(why[0] == '\0', wanted);
}

/* Of a file of ours, as a stranger, as one of the group, as the owner, and as root. */
static void test_what_a_user_may_do(void **state)
{
    struct place place;
    (void)state;
    set_up(&place);
    write_file(place.path, "");
    assert_int_equal(chmod(place.folder, 0755), 0);
    assert_int_equal(chmod(place.path, 0640), 0);
    struct ota_conf_user user = {.name = "x", .known = true, .uid = getuid() + 1000};
    assert_can(&user, place.path, R_OK, false);
    user.groups[0] = getgid();
    user.group_count = 1;
    assert_can(&user, place.path, R_OK, true);
    assert_can(&user, place.path, R_OK | W_OK, false);
    user.uid = getuid();
    assert_can(&user, place.path, R_OK | W_OK, true);
    user = (struct ota_conf_user){.name = "x", .known = true, .uid = getuid() + 1000};
    assert_int_equal(chmod(place.path, 0644), 0);
    assert_can(&user, place.path, R_OK, true);
    assert_int_equal(chmod(place.folder, 0700), 0);
    assert_can(&user, place.path, R_OK, false);
    user.uid = 0;
    assert_can(&user, place.path, R_OK | W_OK, true);
    assert_can(&user, "/nowhere/x", R_OK, false);
    tear_down(&place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_the_last_line_counts),
        cmocka_unit_test(test_included_files),
        cmocka_unit_test(test_a_missing_file_is_no_finding_but_a_failure),
        cmocka_unit_test(test_the_table_of_settings),
        cmocka_unit_test(test_what_a_user_may_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
