/* SPDX-License-Identifier: BSD-3-Clause */
/* Tokens: made, shown, judged anew, revoked; and that the text of one is kept nowhere. */
#include "desk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/broker.h"
#include "../../plugin/token_book.h"

#define CREATE "\"command\":\"createToken\",\"name\":\"ci\""
#define ADMIN  CREATE ",\"role\":\"admin\""

/* Makes a token, copies its text (OTA_TOKEN_TEXT + 1), gives its number. */
static int64_t make(struct desk *desk, const char *command, char *text)
{
    json_t *data = desk_data(desk, command);
    const char *secret = json_string_value(json_object_get(data, "secret"));
    assert_non_null(secret);
    assert_int_equal(strlen(secret), OTA_TOKEN_TEXT);
    assert_memory_equal(secret, OTA_TOKEN_PREFIX, strlen(OTA_TOKEN_PREFIX));
    strcpy(text, secret);
    int64_t id = json_integer_value(json_object_get(json_object_get(data, "token"), "token"));
    json_decref(data);
    return id;
}

static enum ota_role shown(struct desk *desk, const char *text)
{
    struct ota_token token;
    return ota_tokens_use(desk->around.tokens, text, ota_now_unix(), &token);
}

static json_t *listed(struct desk *desk, size_t at)
{
    json_t *data = desk_data(desk, "\"command\":\"listTokens\"");
    json_t *row = json_incref(json_array_get(json_object_get(data, "tokens"), at));
    json_decref(data);
    return row;
}

static void assert_listed(struct desk *desk, const char *key, const json_t *wanted)
{
    json_t *row = listed(desk, 0);
    if (!json_equal(json_object_get(row, key), wanted)) {
        fail_msg("%s: %s", key, json_dumps(row, 0));
    }
    json_decref(row);
}

static void test_made_and_shown(void **state)
{
    struct desk *desk = *state;
    char text[OTA_TOKEN_TEXT + 1];
    struct ota_token token = {0};
    int64_t id = make(desk, ADMIN, text);
    assert_int_equal(ota_tokens_use(desk->around.tokens, text, ota_now_unix(), &token),
                     OTA_ROLE_ADMIN);
    assert_int_equal(token.id, id);
    assert_string_equal(token.name, "ci");
    assert_string_equal(token.maker, "ann");
    text[OTA_TOKEN_TEXT - 1] = text[OTA_TOKEN_TEXT - 1] == '0' ? '1' : '0';
    assert_int_equal(shown(desk, text), OTA_ROLE_NONE);
    assert_int_equal(shown(desk, ""), OTA_ROLE_NONE);
    text[OTA_TOKEN_TEXT - 1] = '\0';
    assert_int_equal(shown(desk, text), OTA_ROLE_NONE);
}

static void test_refused(void **state)
{
    struct desk *desk = *state;
    desk_good(desk, ADMIN);
    desk_bad(desk, ADMIN, "already_exists");
    desk_bad(desk, CREATE, "invalid_request");
    desk_bad(desk,
             "\"command\":\"createToken\",\"name\":\"late\",\"role\":\"admin\",\"expireAt\":1",
             "invalid_request");
    desk_bad(desk, "\"command\":\"revokeToken\",\"token\":77", "not_found");
    desk_good(desk, "\"command\":\"revokeToken\",\"token\":1");
    desk_bad(desk, "\"command\":\"revokeToken\",\"token\":1", "not_found");
    desk_good(desk, ADMIN);
}

static void test_there_is_a_limit(void **state)
{
    struct desk *desk = *state;
    char command[128];
    for (int i = 0; i < OTA_TOKENS_MAX; i++) {
        (void)snprintf(command, sizeof command,
                       "\"command\":\"createToken\",\"role\":\"viewer\",\"name\":\"t%d\"", i);
        desk_good(desk, command);
    }
    desk_bad(desk, ADMIN, "limit_exceeded");
    json_t *page = desk_data(desk, "\"command\":\"listTokens\",\"limit\":200");
    assert_int_equal(json_array_size(json_object_get(page, "tokens")), 200);
    assert_true(json_is_string(json_object_get(page, "nextCursor")));
    json_decref(page);
}

static void test_what_cannot_be_committed_does_not_count(void **state)
{
    struct desk *desk = *state;
    char text[OTA_TOKEN_TEXT + 1];
    fixture_fail_commits(true);
    desk_bad(desk, ADMIN, "unavailable");
    fixture_fail_commits(false);
    assert_int_equal(ota_tokens_count(desk->around.tokens), 0);
    (void)make(desk, ADMIN, text);
    fixture_fail_commits(true);
    desk_bad(desk, "\"command\":\"revokeToken\",\"token\":1", "unavailable");
    fixture_fail_commits(false);
    assert_int_equal(shown(desk, text), OTA_ROLE_ADMIN);
}

static void test_ends_at_its_time_and_at_once_when_revoked(void **state)
{
    struct desk *desk = *state;
    char text[OTA_TOKEN_TEXT + 1];
    char command[128];
    (void)snprintf(command, sizeof command, ADMIN ",\"expireAt\":%lld",
                   (long long)ota_now_unix() + 60000);
    int64_t id = make(desk, command, text);
    assert_int_equal(shown(desk, text), OTA_ROLE_ADMIN);
    fake_broker_advance(59000);
    assert_int_equal(shown(desk, text), OTA_ROLE_ADMIN);
    fake_broker_advance(1000);
    assert_int_equal(shown(desk, text), OTA_ROLE_NONE);
    assert_int_equal(ota_tokens_role(desk->around.tokens, id, ota_now_unix()), OTA_ROLE_NONE);
    desk_good(desk, "\"command\":\"revokeToken\",\"token\":1");
    id = make(desk, ADMIN, text);
    desk_good(desk, "\"command\":\"revokeToken\",\"token\":2");
    assert_int_equal(shown(desk, text), OTA_ROLE_NONE);
    assert_int_equal(ota_tokens_role(desk->around.tokens, id, ota_now_unix()), OTA_ROLE_NONE);
}

static void test_never_more_than_its_maker(void **state)
{
    struct desk *desk = *state;
    char text[OTA_TOKEN_TEXT + 1];
    struct ota_roles roles = {0};
    json_t *operator= json_string("operator");
    (void)make(desk, ADMIN, text);
    assert_int_equal(ota_roles_add_list(&roles, "ann", OTA_ROLE_OPERATOR, NULL), OTA_OK);
    ota_tokens_judge(desk->around.tokens, &roles);
    assert_int_equal(shown(desk, text), OTA_ROLE_OPERATOR);
    assert_listed(desk, "roleNow", operator);
    ota_roles_free(&roles);
    ota_tokens_judge(desk->around.tokens, &roles);
    assert_int_equal(shown(desk, text), OTA_ROLE_NONE);
    assert_listed(desk, "roleNow", json_null());
    ota_tokens_judge(desk->around.tokens, &desk->roles);
    assert_int_equal(shown(desk, text), OTA_ROLE_ADMIN);
    json_decref(operator);
}

/* The roles were read again between the message and its turn. */
static void test_its_maker_has_lost_the_role_meanwhile(void **state)
{
    struct desk *desk = *state;
    char text[OTA_TOKEN_TEXT + 1];
    ota_roles_free(&desk->roles);
    assert_int_equal(ota_roles_add_list(&desk->roles, "ann", OTA_ROLE_VIEWER, NULL), OTA_OK);
    (void)make(desk, ADMIN, text);
    assert_int_equal(shown(desk, text), OTA_ROLE_VIEWER);
    json_t *viewer = json_string("viewer");
    assert_listed(desk, "roleNow", viewer);
    json_decref(viewer);
}

static void test_known_after_a_restart(void **state)
{
    struct desk *desk = *state;
    char text[OTA_TOKEN_TEXT + 1];
    (void)make(desk, CREATE ",\"role\":\"viewer\"", text);
    desk_restart(desk, true);
    assert_int_equal(shown(desk, text), OTA_ROLE_VIEWER);
}

static void test_the_last_use(void **state)
{
    struct desk *desk = *state;
    char text[OTA_TOKEN_TEXT + 1];
    (void)make(desk, ADMIN, text);
    assert_listed(desk, "lastUsedAt", json_null());
    json_t *first = json_integer(ota_now_unix());
    (void)shown(desk, text);
    int commits = fixture_commits();
    ota_token_book_tick(&desk->fix.core, desk->around.tokens);
    assert_int_equal(fixture_commits(), commits + 1);
    for (int i = 0; i < 50; i++) { /* within the minute: nothing is written */
        fake_broker_advance(1000);
        (void)shown(desk, text);
        ota_token_book_tick(&desk->fix.core, desk->around.tokens);
    }
    assert_int_equal(fixture_commits(), commits + 1);
    assert_listed(desk, "lastUsedAt", first);
    desk_restart(desk, true);
    assert_listed(desk, "lastUsedAt", first);
    fake_broker_advance(10000);
    (void)shown(desk, text);
    json_t *second = json_integer(ota_now_unix());
    fixture_fail_commits(true);
    ota_token_book_tick(&desk->fix.core, desk->around.tokens);
    fixture_fail_commits(false);
    desk_restart(desk, false); /* writes it at its end */
    assert_listed(desk, "lastUsedAt", second);
    json_decref(first);
    json_decref(second);
}

/* Whether the file, its WAL, or the log has the text. */
static bool is_in_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "rb");
    size_t len = 0;
    bool found = false;
    if (file == NULL) {
        return false;
    }
    static char bytes[8 << 20];
    len = fread(bytes, 1, sizeof bytes, file);
    found = memmem(bytes, len, text, strlen(text)) != NULL;
    assert_int_equal(fclose(file), 0);
    return found;
}

static void test_the_text_is_kept_nowhere(void **state)
{
    struct desk *desk = *state;
    char text[OTA_TOKEN_TEXT + 1];
    char wal[128];
    (void)make(desk, ADMIN ",\"requestId\":\"r\"", text);
    (void)snprintf(wal, sizeof wal, "%s-wal", desk->fix.path);
    assert_true(
        is_in_file(wal, "\"roleNow\":\"admin\"")); /* the answer is there, so the look is good */
    assert_false(is_in_file(wal, text));
    assert_false(is_in_file(wal, text + strlen(OTA_TOKEN_PREFIX)));
    json_t *again = desk_data(desk, ADMIN ",\"requestId\":\"r\"");
    assert_null(json_object_get(again, "secret"));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(again, "token"), "token")),
                     1);
    json_decref(again);
    assert_int_equal(ota_tokens_count(desk->around.tokens), 1);
    desk_restart(desk, false);
    assert_false(is_in_file(desk->fix.path, text));
}

/* A message of a token that is revoked by its own first command. */
static void answer(void *data, char *text, size_t len, const struct ota_error *error)
{
    char **kept = data;
    (void)len;
    (void)error;
    *kept = text;
}

static void submit(struct desk *desk, int64_t token, enum ota_role role, const char *message,
                   char **kept)
{
    const struct ota_asker asker = {.user = "token:ci",
                                    .caller = "http:127.0.0.1",
                                    .role = role,
                                    .token = token,
                                    .answer = answer,
                                    .data = kept};
    ota_control_submit(desk->control, &asker, message, strlen(message));
    desk_tick(desk);
    assert_non_null(*kept);
}

static void test_revoked_is_dead_at_once(void **state)
{
    struct desk *desk = *state;
    char text[OTA_TOKEN_TEXT + 1];
    char *kept = NULL;
    int64_t id = make(desk, ADMIN, text);
    submit(desk, id, OTA_ROLE_ADMIN,
           "{\"commands\":[{\"command\":\"revokeToken\",\"token\":1},"
           "{\"command\":\"createProduct\",\"product\":\"lamp\"}]}",
           &kept);
    assert_non_null(strstr(kept, "\"roleNow\":null"));
    assert_non_null(strstr(kept, "\"code\":\"forbidden\""));
    assert_null(ota_fleet_product(&desk->fix.core.fleet, "lamp", 4));
    free(kept);
}

static void test_a_token_makes_no_tokens(void **state)
{
    struct desk *desk = *state;
    char text[OTA_TOKEN_TEXT + 1];
    char *kept = NULL;
    int64_t id = make(desk, ADMIN, text);
    submit(desk, id, OTA_ROLE_ADMIN,
           "{\"commands\":[{\"command\":\"createToken\",\"name\":\"x\",\"role\":\"viewer\"}]}",
           &kept);
    assert_non_null(strstr(kept, "\"code\":\"forbidden\""));
    free(kept);
}

/* One that is made again under the same name is another: no answer to the old one's is for it. */
static void test_made_again_it_asks_anew(void **state)
{
    static const char message[] = "{\"commands\":[{\"command\":\"createProduct\",\"product\":"
                                  "\"lamp\",\"requestId\":\"r\"}]}";
    static const char *const wanted[] = {"\"data\":{\"product\"", "\"data\":{\"product\"",
                                         "already_exists"};
    struct desk *desk = *state;
    char text[OTA_TOKEN_TEXT + 1];
    int64_t id = make(desk, ADMIN, text);
    for (int i = 0; i < 3; i++) {
        char *kept = NULL;
        if (i == 2) {
            desk_good(desk, "\"command\":\"revokeToken\",\"token\":1");
            id = make(desk, ADMIN, text);
        }
        submit(desk, id, OTA_ROLE_ADMIN, message, &kept);
        if (strstr(kept, wanted[i]) == NULL) {
            fail_msg("%d: %s", i, kept);
        }
        free(kept);
    }
}

static void test_the_audit_names_it(void **state)
{
    struct desk *desk = *state;
    char text[OTA_TOKEN_TEXT + 1];
    (void)make(desk, ADMIN, text);
    desk_good(desk, "\"command\":\"revokeToken\",\"token\":1");
    json_t *data = desk_data(desk, "\"command\":\"listAudit\"");
    char *told = json_dumps(json_object_get(data, "entries"), JSON_COMPACT);
    assert_non_null(strstr(told, "\"createToken\",\"target\":\"token 1 ci\""));
    assert_non_null(strstr(told, "\"revokeToken\",\"target\":\"token 1 ci\""));
    assert_null(strstr(told, text));
    free(told);
    json_decref(data);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, desk_setup, desk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_made_and_shown),
        TEST(test_refused),
        TEST(test_there_is_a_limit),
        TEST(test_what_cannot_be_committed_does_not_count),
        TEST(test_ends_at_its_time_and_at_once_when_revoked),
        TEST(test_never_more_than_its_maker),
        TEST(test_its_maker_has_lost_the_role_meanwhile),
        TEST(test_known_after_a_restart),
        TEST(test_the_last_use),
        TEST(test_the_text_is_kept_nowhere),
        TEST(test_revoked_is_dead_at_once),
        TEST(test_a_token_makes_no_tokens),
        TEST(test_made_again_it_asks_anew),
        TEST(test_the_audit_names_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
