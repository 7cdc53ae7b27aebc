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

#include "../../plugin/roles.h"

static void add_list(struct ota_roles *roles, const char *users, enum ota_role role)
{
    assert_int_equal(ota_roles_add_list(roles, users, role, NULL), OTA_OK);
}

static void test_lists(void **state)
{
    struct ota_roles roles = {0};
    (void)state;
    add_list(&roles, "ann, bob ,\tcarl,,dora/d1 x,", OTA_ROLE_OPERATOR);
    add_list(&roles, "", OTA_ROLE_ADMIN);
    add_list(&roles, " , ,", OTA_ROLE_ADMIN);
    assert_int_equal(roles.count, 4);
    assert_int_equal(ota_roles_of(&roles, "ann"), OTA_ROLE_OPERATOR);
    assert_int_equal(ota_roles_of(&roles, "bob"), OTA_ROLE_OPERATOR);
    assert_int_equal(ota_roles_of(&roles, "carl"), OTA_ROLE_OPERATOR);
    assert_int_equal(ota_roles_of(&roles, "dora/d1 x"), OTA_ROLE_OPERATOR);
    ota_roles_free(&roles);
}

static void test_who_has_none(void **state)
{
    static const char *const users[] = {"", "an", "annn", "Ann", "ann ", " ann", "ann,bob", "*"};
    struct ota_roles roles = {0};
    (void)state;
    assert_int_equal(ota_roles_of(&roles, "ann"), OTA_ROLE_NONE);
    add_list(&roles, "ann,bob", OTA_ROLE_ADMIN);
    for (size_t i = 0; i < sizeof users / sizeof users[0]; i++) {
        assert_int_equal(ota_roles_of(&roles, users[i]), OTA_ROLE_NONE);
    }
    assert_int_equal(ota_roles_of(&roles, NULL), OTA_ROLE_NONE);
    ota_roles_free(&roles);
    ota_roles_free(&roles);
}

static void test_the_highest_counts(void **state)
{
    struct ota_roles roles = {0};
    (void)state;
    add_list(&roles, "ann,bob", OTA_ROLE_ADMIN);
    add_list(&roles, "bob,carl", OTA_ROLE_VIEWER);
    add_list(&roles, "carl,ann", OTA_ROLE_OPERATOR);
    assert_int_equal(ota_roles_of(&roles, "ann"), OTA_ROLE_ADMIN);
    assert_int_equal(ota_roles_of(&roles, "bob"), OTA_ROLE_ADMIN);
    assert_int_equal(ota_roles_of(&roles, "carl"), OTA_ROLE_OPERATOR);
    ota_roles_free(&roles);
}

/* --- the file --------------------------------------------------------------------------------- */

static enum ota_err read_text(const char *text, struct ota_roles *roles, struct ota_error *error)
{
    char path[] = "/tmp/ota-roles-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    (void)close(fd);
    enum ota_err err = ota_roles_add_file(roles, path, error);
    (void)unlink(path);
    return err;
}

static void test_file(void **state)
{
    struct ota_roles roles = {0};
    (void)state;
    assert_int_equal(
        read_text("# people\n\nann admin\r\n  bob\toperator  \n\t\ncarl viewer", &roles, NULL),
        OTA_OK);
    assert_int_equal(roles.count, 3);
    assert_int_equal(ota_roles_of(&roles, "ann"), OTA_ROLE_ADMIN);
    assert_int_equal(ota_roles_of(&roles, "bob"), OTA_ROLE_OPERATOR);
    assert_int_equal(ota_roles_of(&roles, "carl"), OTA_ROLE_VIEWER);
    ota_roles_free(&roles);
}

static void test_bad_lines_are_named(void **state)
{
    static const char *const lines[] = {"ann",      "ann Admin", "ann none",       "ann admins",
                                        "ann root", "admin",     "ann,bob admin,x"};
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct ota_roles roles = {0};
        struct ota_error error = {0};
        char text[100];
        (void)snprintf(text, sizeof text, "# one\nbob viewer\n%s\n", lines[i]);
        assert_int_equal(read_text(text, &roles, &error), OTA_INVALID_REQUEST);
        assert_string_equal(error.field, "roles_file");
        assert_non_null(strstr(error.text, "line 3"));
        ota_roles_free(&roles);
    }
}

/* Who acts by a token has a name of that kind: nobody else may. */
static void test_names_of_tokens_are_no_users(void **state)
{
    struct ota_roles roles = {0};
    struct ota_error error = {0};
    (void)state;
    assert_int_equal(ota_roles_add_list(&roles, "ann, token:ci", OTA_ROLE_VIEWER, &error),
                     OTA_INVALID_REQUEST);
    assert_non_null(strstr(error.text, "token:ci"));
    error = (struct ota_error){0};
    assert_int_equal(read_text("ann admin\ntoken:ci viewer\n", &roles, &error),
                     OTA_INVALID_REQUEST);
    assert_non_null(strstr(error.text, "line 2"));
    assert_int_equal(ota_roles_of(&roles, "token:ci"), OTA_ROLE_NONE);
    add_list(&roles, "token, tokens:ci, Token:ci", OTA_ROLE_VIEWER);
    ota_roles_free(&roles);
}

/* The end of a line that is too long must not be taken for a line of its own. */
static void test_long_lines(void **state)
{
    (void)state;
    for (size_t len = 480; len < 530; len++) {
        struct ota_roles roles = {0};
        struct ota_error error = {0};
        char text[600];
        memset(text, 'x', sizeof text);
        text[0] = '#';
        (void)snprintf(text + len, sizeof text - len, " eve admin\nbob viewer\n");
        enum ota_err err = read_text(text, &roles, &error);
        assert_int_equal(ota_roles_of(&roles, "eve"), OTA_ROLE_NONE);
        if (err == OTA_OK) {
            assert_int_equal(ota_roles_of(&roles, "bob"), OTA_ROLE_VIEWER);
        } else {
            assert_non_null(strstr(error.text, "line 1"));
        }
        ota_roles_free(&roles);
    }
}

static void test_a_name_that_is_too_long_is_named(void **state)
{
    struct ota_roles roles = {0};
    struct ota_error error = {0};
    char text[400];
    (void)state;
    memset(text, 'x', sizeof text);
    (void)snprintf(text + 300, sizeof text - 300, " admin\n");
    memcpy(text, "ann viewer\n", 11);
    assert_int_equal(read_text(text, &roles, &error), OTA_INVALID_REQUEST);
    assert_non_null(strstr(error.text, "line 2"));
    assert_non_null(strstr(error.text, "at most"));
    ota_roles_free(&roles);
}

static void test_no_file(void **state)
{
    static const char *const paths[] = {"/nonexistent/roles", "/tmp"};
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct ota_roles roles = {0};
        struct ota_error error = {0};
        assert_int_equal(ota_roles_add_file(&roles, paths[i], &error), OTA_INVALID_REQUEST);
        assert_non_null(strstr(error.text, paths[i]));
        ota_roles_free(&roles);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_who_has_none),
        cmocka_unit_test(test_the_highest_counts),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_bad_lines_are_named),
        cmocka_unit_test(test_names_of_tokens_are_no_users),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_a_name_that_is_too_long_is_named),
        cmocka_unit_test(test_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
