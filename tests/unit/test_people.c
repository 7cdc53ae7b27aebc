/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../plugin/people.h"
#include "fake_broker.h"

#define HASH_A                                                                                     \
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="
#define HASH_B                                                                                     \
    "BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="
#define PW_A "$7$101$YWJj$" HASH_A
#define PW_B "$7$5000$YWJj$" HASH_B

struct files {
    char path[64];
    struct ota_people *people;
    struct ota_roles roles;
};

static int setup(void **state)
{
    struct files *files = calloc(1, sizeof *files);
    struct ota_error error = {0};
    assert_non_null(files);
    fake_broker_reset();
    strcpy(files->path, "/tmp/ota-people.XXXXXX");
    int fd = mkstemp(files->path);
    assert_true(fd >= 0);
    close(fd);
    files->people = ota_people_new();
    assert_non_null(files->people);
    assert_int_equal(ota_roles_add_list(&files->roles, "ann", OTA_ROLE_ADMIN, &error), OTA_OK);
    assert_int_equal(ota_roles_add_list(&files->roles, "vic", OTA_ROLE_VIEWER, &error), OTA_OK);
    *state = files;
    return 0;
}

static int teardown(void **state)
{
    struct files *files = *state;
    unlink(files->path);
    ota_people_free(files->people);
    ota_roles_free(&files->roles);
    free(files);
    return 0;
}

static enum ota_err read_text(struct files *files, const char *text, struct ota_error *error)
{
    FILE *file = fopen(files->path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    return ota_people_read(files->people, files->path, &files->roles, error);
}

static void good(struct files *files, const char *text)
{
    struct ota_error error = {0};
    if (read_text(files, text, &error) != OTA_OK) {
        fail_msg("%s", error.text);
    }
}

static void bad(struct files *files, const char *text, const char *part)
{
    struct ota_error error = {0};
    size_t before = ota_people_count(files->people);
    assert_int_not_equal(read_text(files, text, &error), OTA_OK);
    assert_string_equal(error.field, "password_file");
    if (strstr(error.text, part) == NULL) {
        fail_msg("'%s' is not in '%s'", part, error.text);
    }
    assert_int_equal(ota_people_count(files->people), before);
}

static void users_have_the_roles_of_their_names(void **state)
{
    struct files *files = *state;
    struct ota_person person;
    good(files, "# ours\n\nann:" PW_A "\r\nvic:" PW_B "\nzoe:" PW_A);
    assert_int_equal(ota_people_count(files->people), 3);
    assert_true(ota_people_find(files->people, "ann", &person));
    assert_int_equal(person.role, OTA_ROLE_ADMIN);
    assert_true(ota_people_find(files->people, "vic", &person));
    assert_int_equal(person.role, OTA_ROLE_VIEWER);
    assert_true(ota_people_find(files->people, "zoe", &person));
    assert_int_equal(person.role, OTA_ROLE_NONE);
    assert_false(ota_people_find(files->people, "an", &person));
    assert_false(ota_people_find(files->people, "Ann", &person));
}

static void a_stranger_costs_as_much_as_the_dearest(void **state)
{
    struct files *files = *state;
    struct ota_person person;
    good(files, "ann:" PW_A "\nvic:" PW_B "\n");
    assert_false(ota_people_find(files->people, "who", &person));
    assert_int_equal(person.password.rounds, 5000);
    assert_int_equal(person.role, OTA_ROLE_NONE);
    good(files, "");
    assert_false(ota_people_find(files->people, "who", &person));
    assert_true(person.password.rounds > 0);
}

static void a_mark_is_good_while_the_password_is(void **state)
{
    struct files *files = *state;
    struct ota_person before;
    good(files, "ann:" PW_A "\n");
    assert_true(ota_people_find(files->people, "ann", &before));
    assert_int_equal(ota_people_role(files->people, "ann", before.mark), OTA_ROLE_ADMIN);
    good(files, "vic:" PW_A "\nann:" PW_A "\n");
    assert_int_equal(ota_people_role(files->people, "ann", before.mark), OTA_ROLE_ADMIN);
    good(files, "ann:" PW_B "\n");
    assert_int_equal(ota_people_role(files->people, "ann", before.mark), OTA_ROLE_NONE);
    good(files, "vic:" PW_A "\n");
    assert_int_equal(ota_people_role(files->people, "ann", before.mark), OTA_ROLE_NONE);
}

static void a_wrong_file_changes_nothing_and_names_the_line(void **state)
{
    struct files *files = *state;
    char line[2000];
    good(files, "ann:" PW_A "\n");
    bad(files, "ann:" PW_A "\nvic\n", "line 2: a line is USER:HASH");
    bad(files, "ann:plain\n", "line 1: this is no line of mosquitto_passwd");
    bad(files, ":" PW_A "\n", "line 1: a line is USER:HASH");
    bad(files, "ann:" PW_A "\nann:" PW_B "\n", "line 2: there is a second line for ann");
    memset(line, 'a', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    bad(files, line, "line 1: a line is USER:HASH");
    line[300] = ':';
    strcpy(line + 301, PW_A);
    bad(files, line, "line 1: a line is USER:HASH");
    struct ota_error error = {0};
    assert_int_equal(ota_people_read(files->people, "/nowhere/passwords", &files->roles, &error),
                     OTA_INVALID_REQUEST);
    assert_non_null(strstr(error.text, "/nowhere/passwords"));
}

static void argon2_is_left_out_with_a_line_in_the_log(void **state)
{
    struct files *files = *state;
    struct ota_person person;
    good(files, "ann:$argon2id$v=19$m=1,t=1,p=1$a$b\nvic:" PW_A "\n");
    assert_int_equal(ota_people_count(files->people), 1);
    assert_false(ota_people_find(files->people, "ann", &person));
    assert_true(fake_broker_logged("line 1: this user can't log in"));
}

static void without_a_file_there_is_nobody(void **state)
{
    struct files *files = *state;
    struct ota_error error = {0};
    good(files, "ann:" PW_A "\n");
    assert_int_equal(ota_people_read(files->people, "", &files->roles, &error), OTA_OK);
    assert_int_equal(ota_people_count(files->people), 0);
}

static char *lines_of(int count, const char *last)
{
    char *text = malloc((size_t)count * 128 + 256);
    size_t used = 0;
    assert_non_null(text);
    for (int i = 0; i < count; i++) {
        used += (size_t)sprintf(text + used, "user-%06d:" PW_A "\n", i);
    }
    strcpy(text + used, last);
    return text;
}

/* The file may be the broker's own, with all its devices. */
static void many_users(void **state)
{
    struct files *files = *state;
    struct ota_person person;
    char *text = lines_of(9999, "ann:" PW_B "\n");
    good(files, text);
    free(text);
    assert_int_equal(ota_people_count(files->people), 10000);
    assert_true(ota_people_find(files->people, "user-004711", &person));
    assert_string_equal(person.user, "user-004711");
    assert_true(ota_people_find(files->people, "ann", &person));
    assert_int_equal(ota_people_role(files->people, "ann", person.mark), OTA_ROLE_ADMIN);
    text = lines_of(9999, "user-004711:" PW_B "\n");
    bad(files, text, "line 10000: there is a second line for user-004711");
    free(text);
    text = lines_of(10000, "ann:" PW_B "\n");
    bad(files, text, "line 10001: at most 10000 users are read");
    free(text);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(users_have_the_roles_of_their_names),
        TEST(a_stranger_costs_as_much_as_the_dearest),
        TEST(a_mark_is_good_while_the_password_is),
        TEST(a_wrong_file_changes_nothing_and_names_the_line),
        TEST(argon2_is_left_out_with_a_line_in_the_log),
        TEST(many_users),
        TEST(without_a_file_there_is_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
