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

#include "../../plugin/machine.h"

/* A folder that everybody may enter, with a database, roles, and keys in it. */
struct place {
    char folder[64];
    char paths[4][96];
    char keys[256];
    struct ota_options options;
};

enum file { DATABASE, ROLES, ONE_KEY, OTHER_KEY };

static int set_up(void **state)
{
    static const char *const names[] = {"ota.db", "roles", "a.pub", "b.pub"};
    static struct place place;
    place = (struct place){.folder = "/tmp/ota-machine-XXXXXX"};
    assert_non_null(mkdtemp(place.folder));
    assert_int_equal(chmod(place.folder, 0755), 0);
    for (size_t i = 0; i < 4; i++) {
        (void)snprintf(place.paths[i], sizeof place.paths[i], "%s/%s", place.folder, names[i]);
        FILE *file = fopen(place.paths[i], "we");
        assert_non_null(file);
        (void)fclose(file);
        assert_int_equal(chmod(place.paths[i], 0600), 0);
    }
    (void)snprintf(place.keys, sizeof place.keys, "%s,%s", place.paths[ONE_KEY],
                   place.paths[OTHER_KEY]);
    place.options = (struct ota_options){.db_path = place.paths[DATABASE],
                                         .roles_file = place.paths[ROLES],
                                         .http_keyfile = (char *)"",
                                         .signing_keys = place.keys};
    *state = &place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(unlink(place->paths[i]), 0);
    }
    assert_int_equal(rmdir(place->folder), 0);
    return 0;
}

/* One warning, about that path; or none where path is NULL. */
static void assert_warns(const struct place *place, const char *path, const char *verb)
{
    json_t *warnings = ota_machine_warnings(&place->options);
    assert_int_equal(json_array_size(warnings), path != NULL ? 1 : 0);
    if (path != NULL) {
        const char *text = json_string_value(json_array_get(warnings, 0));
        char wanted[160];
        (void)snprintf(wanted, sizeof wanted, "can %s %s (mode ", verb, path);
        assert_non_null(strstr(text, wanted));
    }
    json_decref(warnings);
}

static void test_what_others_may_not_do_is_told(void **state)
{
    static const struct {
        enum file file;
        mode_t mode;
        const char *verb; /* NULL: it is fine */
    } cases[] = {
        {DATABASE, 0644, "read"},    {DATABASE, 0660, NULL},        {DATABASE, 0602, "write to"},
        {ROLES, 0644, NULL},         {ROLES, 0646, "write to"},     {ONE_KEY, 0644, NULL},
        {ONE_KEY, 0666, "write to"}, {OTHER_KEY, 0622, "write to"},
    };
    struct place *place = *state;
    assert_warns(place, NULL, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *path = place->paths[cases[i].file];
        assert_int_equal(chmod(path, cases[i].mode), 0);
        assert_warns(place, cases[i].verb != NULL ? path : NULL, cases[i].verb);
        assert_int_equal(chmod(path, 0600), 0);
    }
}

static void test_a_folder_that_others_write_to(void **state)
{
    struct place *place = *state;
    assert_int_equal(chmod(place->folder, 0777), 0);
    assert_warns(place, place->folder, "write to");
}

static void test_where_nobody_gets_nobody_does_anything(void **state)
{
    struct place *place = *state;
    assert_int_equal(chmod(place->paths[ROLES], 0666), 0);
    assert_warns(place, place->paths[ROLES], "write to");
    assert_int_equal(chmod(place->folder, 0750), 0);
    assert_warns(place, NULL, NULL);
}

static void test_files_that_are_not_there_are_no_news(void **state)
{
    struct place *place = *state;
    place->options.roles_file = (char *)"/nowhere/roles";
    place->options.signing_keys = (char *)"";
    place->options.db_path = (char *)"ota.db";
    assert_warns(place, NULL, NULL);
}

static void test_the_disks_room(void **state)
{
    struct place *place = *state;
    int64_t free_bytes = 0;
    int64_t all_bytes = 0;
    ota_machine_disk(place->folder, &free_bytes, &all_bytes);
    assert_true(free_bytes > 0 && all_bytes > free_bytes);
    ota_machine_disk("/nowhere/ota.db", &free_bytes, &all_bytes);
    assert_int_equal(free_bytes, -1);
    assert_int_equal(all_bytes, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_others_may_not_do_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_folder_that_others_write_to, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_where_nobody_gets_nobody_does_anything, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_files_that_are_not_there_are_no_news, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_the_disks_room, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
