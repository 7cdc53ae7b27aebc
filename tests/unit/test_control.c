/* SPDX-License-Identifier: BSD-3-Clause */
#include "fixture.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/broker.h"
#include "../../plugin/roles.h"
#include "../../plugin/util/hex.h"

#define EVERYTHING 100

struct desk {
    struct fixture fix;
    struct ota_access access;
    struct ota_intake intake;
    struct ota_surroundings around;
    struct ota_control *control;
    struct mosquitto admin;
};

static void take_seat(struct desk *desk)
{
    desk->around = (struct ota_surroundings){.core = &desk->fix.core,
                                             .access = &desk->access,
                                             .intake = &desk->intake,
                                             .dispatch = &desk->fix.dispatch,
                                             .uploads = ota_uploads_new(desk->fix.core.store),
                                             .tokens = ota_tokens_new(),
                                             .broker_version = "2.1"};
    desk->control = ota_control_new(&desk->around);
    assert_non_null(desk->around.uploads);
    assert_non_null(desk->around.tokens);
    assert_non_null(desk->control);
}

static int setup(void **state)
{
    struct desk *desk = calloc(1, sizeof *desk);
    assert_non_null(desk);
    fixture_open(&desk->fix);
    desk->access =
        (struct ota_access){.fleet = &desk->fix.core.fleet, .prefix = "$ota", .prefix_len = 4};
    desk->admin = (struct mosquitto){.id = "otactl-1", .username = "ann"};
    take_seat(desk);
    *state = desk;
    return 0;
}

static void leave_seat(struct desk *desk)
{
    ota_control_free(desk->control);
    ota_uploads_free(desk->around.uploads);
    ota_tokens_free(desk->around.tokens);
}

static int teardown(void **state)
{
    struct desk *desk = *state;
    leave_seat(desk);
    fixture_close(&desk->fix);
    free(desk);
    return 0;
}

/* --- helpers ---------------------------------------------------------------------------------- */

static bool is_idle(const struct desk *desk)
{
    return desk->fix.core.wake_at > 0;
}

static void tick(struct desk *desk)
{
    desk->fix.core.wake_at = INT64_MAX;
    ota_control_tick(desk->control);
}

static void send_as(struct desk *desk, const struct mosquitto *client, enum ota_role role,
                    const char *text)
{
    ota_control_receive(desk->control, client, role, text, strlen(text));
}

/* The last answer's responses; the caller decrefs. */
static json_t *last_responses(void)
{
    json_t *root = fixture_last(OTA_CONTROL_RESPONSE);
    assert_non_null(root);
    json_t *responses = json_incref(json_object_get(root, "responses"));
    json_decref(root);
    assert_true(json_is_array(responses));
    return responses;
}

static json_t *ask_all(struct desk *desk, enum ota_role role, const char *envelope)
{
    fake_broker_clear_messages();
    send_as(desk, &desk->admin, role, envelope);
    for (int i = 0; i < EVERYTHING && fixture_count(OTA_CONTROL_RESPONSE, NULL) == 0; i++) {
        tick(desk);
    }
    return last_responses();
}

/* One command, given without its braces; its response. */
static json_t *ask_as(struct desk *desk, enum ota_role role, const char *command)
{
    size_t size = strlen(command) + 64;
    char *envelope = malloc(size);
    assert_non_null(envelope);
    (void)snprintf(envelope, size, "{\"commands\":[{%s}]}", command);
    json_t *responses = ask_all(desk, role, envelope);
    free(envelope);
    assert_int_equal(json_array_size(responses), 1);
    json_t *response = json_incref(json_array_get(responses, 0));
    json_decref(responses);
    return response;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

static void assert_good(const json_t *response)
{
    if (json_object_get(response, "error") != NULL) {
        fail_msg("%s: %s", text_of(response, "code"), text_of(response, "error"));
    }
    assert_true(json_is_object(json_object_get(response, "data")));
}

static void assert_bad(const json_t *response, const char *code, const char *field)
{
    if (strcmp(text_of(response, "code"), code) != 0 ||
        strcmp(text_of(response, "field"), field) != 0) {
        char *text = json_dumps(response, 0);
        fail_msg("wanted %s of %s: %s", code, field, text);
    }
    assert_int_not_equal(strlen(text_of(response, "error")), 0);
    assert_null(json_object_get(response, "data"));
}

static void good(struct desk *desk, const char *command)
{
    json_t *response = ask_as(desk, OTA_ROLE_ADMIN, command);
    assert_good(response);
    json_decref(response);
}

static void bad(struct desk *desk, const char *command, const char *code, const char *field)
{
    json_t *response = ask_as(desk, OTA_ROLE_ADMIN, command);
    assert_bad(response, code, field);
    json_decref(response);
}

static bool has_product(struct desk *desk, const char *name)
{
    return ota_fleet_product(&desk->fix.core.fleet, name, strlen(name)) != NULL;
}

#define CREATE(name) "\"command\":\"createProduct\",\"product\":\"" name "\""

/* --- the envelope ----------------------------------------------------------------------------- */

static void test_unreadable_envelopes(void **state)
{
    static const char *const envelopes[] = {
        "",
        "x",
        "[]",
        "{}",
        "{\"commands\":{}}",
        "{\"commands\":[]}",
        "{\"commands\":[{}],\"x\":1}",
        "{\"commands\":[{}],\"commands\":[]}",
        "{\"commands\":[{}]",
        "{\"commands\":[{\"a\":\"\xff\"}]}",
        "{\"commands\":[{\"command\":\"getInfo\",\"command\":\"getInfo\"}]}",
        "\xc3\xa4",
        "{\xe2\x82",
        "{\"commands\":[{\"a\":\"\\u0000\"}]}",
        "{\"commands\":[\xc3\xa4\xc3\xb6]}",
        "nul\xc3",
        "{\"commands\":[{\"a\":\"\\u0\xd0\x99\"}]}",
        "{\"commands\":[{\"a\":\"\\\xc3\xa9\"}]}",
    };
    struct desk *desk = *state;
    for (size_t i = 0; i < sizeof envelopes / sizeof envelopes[0]; i++) {
        json_t *responses = ask_all(desk, OTA_ROLE_ADMIN, envelopes[i]);
        if (json_array_size(responses) != 1) {
            fail_msg("%s: %zu responses", envelopes[i], json_array_size(responses));
        }
        const json_t *response = json_array_get(responses, 0);
        assert_string_equal(text_of(response, "code"), "invalid_request");
        assert_null(json_object_get(response, "command"));
        json_decref(responses);
    }
}

static void test_the_answer_is_for_the_asker(void **state)
{
    struct desk *desk = *state;
    json_decref(ask_as(desk, OTA_ROLE_VIEWER, "\"command\":\"getInfo\""));
    const struct fake_message *message = fake_broker_last_on(OTA_CONTROL_RESPONSE);
    assert_string_equal(message->client_id, "otactl-1");
    assert_int_equal(fake_broker_message_count(), 1);
}

static char *many_commands(int count)
{
    size_t size = 64 + (size_t)count * 64;
    char *text = malloc(size);
    assert_non_null(text);
    size_t n = (size_t)snprintf(text, size, "{\"commands\":[");
    for (int i = 0; i < count; i++) {
        n += (size_t)snprintf(text + n, size - n,
                              "%s{\"command\":\"getInfo\",\"correlationData\":\"%d\"}",
                              i > 0 ? "," : "", i);
    }
    (void)snprintf(text + n, size - n, "]}");
    return text;
}

static void test_a_hundred_commands_in_order(void **state)
{
    struct desk *desk = *state;
    char *text = many_commands(100);
    json_t *responses = ask_all(desk, OTA_ROLE_VIEWER, text);
    assert_int_equal(json_array_size(responses), 100);
    for (size_t i = 0; i < 100; i++) {
        char want[8];
        (void)snprintf(want, sizeof want, "%zu", i);
        assert_string_equal(text_of(json_array_get(responses, i), "correlationData"), want);
    }
    json_decref(responses);
    free(text);
    text = many_commands(101);
    responses = ask_all(desk, OTA_ROLE_VIEWER, text);
    assert_int_equal(json_array_size(responses), 1);
    assert_bad(json_array_get(responses, 0), "invalid_request", "commands");
    json_decref(responses);
    free(text);
}

/* Each command is a transaction of its own: a bad one stops nobody. */
static void test_a_bad_one_among_good_ones(void **state)
{
    struct desk *desk = *state;
    json_t *responses =
        ask_all(desk, OTA_ROLE_ADMIN,
                "{\"commands\":[{" CREATE(
                    "a") "},7,null,[],{},{\"command\":1},"
                         "{\"command\":\"nosuch\",\"correlationData\":\"c\"},"
                         "{\"command\":\"getInfo\",\"correlationData\":9},{" CREATE("b") "}]}");
    assert_int_equal(json_array_size(responses), 9);
    assert_good(json_array_get(responses, 0));
    for (size_t i = 1; i <= 6; i++) {
        assert_bad(json_array_get(responses, i), "invalid_request", "command");
    }
    assert_string_equal(text_of(json_array_get(responses, 6), "command"), "nosuch");
    assert_string_equal(text_of(json_array_get(responses, 6), "correlationData"), "c");
    assert_bad(json_array_get(responses, 7), "invalid_request", "correlationData");
    assert_good(json_array_get(responses, 8));
    json_decref(responses);
    assert_true(has_product(desk, "a") && has_product(desk, "b"));
}

/* What an error repeats of the request may be cut: never so that the response gets lost. */
static void test_errors_are_cut_at_characters(void **state)
{
    struct desk *desk = *state;
    char command[400];
    char word[200];
    for (int len = 0; len < 80; len++) {
        memset(word, 'k', (size_t)len);
        word[len] = '\0';
        for (int i = 0; i < 20; i++) {
            strcat(word, "\xe2\x82\xac");
        }
        (void)snprintf(command, sizeof command, "\"command\":\"%s\"", word);
        json_decref(ask_as(desk, OTA_ROLE_ADMIN, command));
        (void)snprintf(command, sizeof command, "\"command\":\"getInfo\",\"%s\":1", word);
        json_decref(ask_as(desk, OTA_ROLE_ADMIN, command));
        (void)snprintf(command, sizeof command, "\"command\":\"createProduct\",\"product\":\"%s\"",
                       word);
        json_decref(ask_as(desk, OTA_ROLE_ADMIN, command));
    }
}

/* --- roles ------------------------------------------------------------------------------------ */

static void test_every_commands_role(void **state)
{
    struct desk *desk = *state;
    for (int id = 0; id < OTA_COMMAND_COUNT; id++) {
        const struct ota_command *command = ota_command((enum ota_command_id)id);
        char text[100];
        (void)snprintf(text, sizeof text, "\"command\":\"%s\",\"nosuch\":1", command->name);
        for (int role = OTA_ROLE_NONE; role <= OTA_ROLE_ADMIN; role++) {
            json_t *response = ask_as(desk, (enum ota_role)role, text);
            bool low = role < (int)command->role;
            assert_string_equal(text_of(response, "code"), low ? "forbidden" : "invalid_request");
            assert_string_equal(text_of(response, "command"), command->name);
            json_decref(response);
        }
    }
}

/* The document's table, by hand: who may do what. */
static void test_roles_are_the_documents(void **state)
{
    static const struct {
        const char *name;
        enum ota_role role;
    } rows[] = {
        {"createProduct", OTA_ROLE_ADMIN},      {"updateProduct", OTA_ROLE_ADMIN},
        {"deleteProduct", OTA_ROLE_ADMIN},      {"listProducts", OTA_ROLE_VIEWER},
        {"addFirmware", OTA_ROLE_ADMIN},        {"uploadFirmwareBlock", OTA_ROLE_ADMIN},
        {"commitFirmware", OTA_ROLE_ADMIN},     {"abortFirmware", OTA_ROLE_ADMIN},
        {"listFirmware", OTA_ROLE_VIEWER},      {"getFirmware", OTA_ROLE_VIEWER},
        {"deleteFirmware", OTA_ROLE_ADMIN},     {"createDevice", OTA_ROLE_ADMIN},
        {"updateDevice", OTA_ROLE_OPERATOR},    {"deleteDevice", OTA_ROLE_ADMIN},
        {"getDevice", OTA_ROLE_VIEWER},         {"listDevices", OTA_ROLE_VIEWER},
        {"listDeviceHistory", OTA_ROLE_VIEWER}, {"explainDevice", OTA_ROLE_VIEWER},
        {"listVersions", OTA_ROLE_VIEWER},      {"upgradeDevice", OTA_ROLE_OPERATOR},
        {"listTasks", OTA_ROLE_VIEWER},         {"getTask", OTA_ROLE_VIEWER},
        {"cancelTask", OTA_ROLE_OPERATOR},      {"retryTask", OTA_ROLE_OPERATOR},
        {"getInfo", OTA_ROLE_VIEWER},           {"listAudit", OTA_ROLE_ADMIN},
        {"createToken", OTA_ROLE_ADMIN},        {"listTokens", OTA_ROLE_ADMIN},
        {"revokeToken", OTA_ROLE_ADMIN},        {"backup", OTA_ROLE_ADMIN},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct ota_command *command = ota_command_find(rows[i].name);
        assert_non_null(command);
        assert_int_equal(command->role, rows[i].role);
        assert_int_equal(command->writes, strncmp(rows[i].name, "get", 3) != 0 &&
                                              strncmp(rows[i].name, "list", 4) != 0 &&
                                              strncmp(rows[i].name, "explain", 7) != 0);
    }
}

static void test_forbidden_changes_nothing(void **state)
{
    struct desk *desk = *state;
    json_t *response = ask_as(desk, OTA_ROLE_OPERATOR, CREATE("x"));
    assert_bad(response, "forbidden", "");
    json_decref(response);
    assert_false(has_product(desk, "x"));
}

/* --- once and only once ------------------------------------------------------------------------
 */

#define REQUEST(id) ",\"requestId\":\"" id "\""

static void test_the_same_request_twice(void **state)
{
    struct desk *desk = *state;
    json_t *first =
        ask_as(desk, OTA_ROLE_ADMIN, CREATE("x") REQUEST("r1") ",\"correlationData\":\"one\"");
    assert_good(first);
    fake_broker_advance(5000);
    /* another order of keys is the same request */
    json_t *again = ask_as(desk, OTA_ROLE_ADMIN,
                           "\"requestId\":\"r1\",\"product\":\"x\",\"correlationData\":\"two\","
                           "\"command\":\"createProduct\"");
    assert_good(again);
    assert_string_equal(text_of(again, "correlationData"), "two");
    assert_true(json_equal(json_object_get(first, "data"), json_object_get(again, "data")));
    json_decref(first);
    json_decref(again);
}

static void test_the_same_id_for_something_else(void **state)
{
    struct desk *desk = *state;
    good(desk, CREATE("x") REQUEST("r1"));
    bad(desk, CREATE("y") REQUEST("r1"), "conflict", "requestId");
    bad(desk, CREATE("x") ",\"description\":\"d\"" REQUEST("r1"), "conflict", "requestId");
    bad(desk, "\"command\":\"deleteProduct\",\"product\":\"x\"" REQUEST("r1"), "conflict",
        "requestId");
    assert_true(has_product(desk, "x"));
    assert_false(has_product(desk, "y"));
}

static void test_the_id_is_the_users_own(void **state)
{
    struct desk *desk = *state;
    good(desk, CREATE("x") REQUEST("r1"));
    desk->admin.username = "bea";
    good(desk, CREATE("y") REQUEST("r1"));
    assert_true(has_product(desk, "y"));
}

static void test_only_success_is_stored(void **state)
{
    struct desk *desk = *state;
    bad(desk, CREATE("door") REQUEST("r1"), "already_exists", "product");
    good(desk, CREATE("x") REQUEST("r1"));
    fixture_fail_commits(true);
    bad(desk, CREATE("y") REQUEST("r2"), "unavailable", "");
    assert_false(has_product(desk, "y"));
    fixture_fail_commits(false);
    good(desk, CREATE("y") REQUEST("r2"));
}

static void test_requests_survive_a_restart_and_end_after_a_day(void **state)
{
    struct desk *desk = *state;
    good(desk, CREATE("x") REQUEST("r1"));
    leave_seat(desk);
    fixture_restart(&desk->fix, true);
    take_seat(desk);
    good(desk, CREATE("x") REQUEST("r1"));
    fixture_run(&desk->fix, INT64_C(23) * 3600000, 600000);
    good(desk, CREATE("x") REQUEST("r1"));
    fixture_run(&desk->fix, INT64_C(2) * 3600000, 600000);
    bad(desk, CREATE("x") REQUEST("r1"), "already_exists", "product");
}

static void test_request_ids(void **state)
{
    struct desk *desk = *state;
    bad(desk, CREATE("x") REQUEST(""), "invalid_request", "requestId");
    bad(desk, CREATE("x") ",\"requestId\":7", "invalid_request", "requestId");
    bad(desk,
        CREATE("x") REQUEST("12345678901234567890123456789012345678901234567890123456789"
                            "012345"),
        "invalid_request", "requestId");
    good(desk, CREATE("x") REQUEST("1234567890123456789012345678901234567890123456789012345678901"
                                   "234"));
    bad(desk, "\"command\":\"getInfo\"" REQUEST("r"), "invalid_request", "requestId");
}

/* --- a command that wants more than one tick ----------------------------------------------------
 */

static char *encode(const unsigned char *bytes, size_t len)
{
    char *text = malloc(len / 3 * 4 + 8);
    assert_non_null(text);
    (void)EVP_EncodeBlock((unsigned char *)text, bytes, (int)len);
    return text;
}

#define IMAGE_BLOCKS 20

static int64_t announce(struct desk *desk, const unsigned char *image, size_t size)
{
    unsigned char digest[32];
    char hex[65];
    char text[400];
    assert_int_equal(EVP_Digest(image, size, digest, NULL, EVP_sha256(), NULL), 1);
    ota_hex(digest, sizeof digest, hex);
    (void)snprintf(text, sizeof text,
                   "\"command\":\"addFirmware\",\"product\":\"door\",\"version\":\"3.0\","
                   "\"filename\":\"f.bin\",\"size\":%zu,\"sha256\":\"%s\"",
                   size, hex);
    json_t *response = ask_as(desk, OTA_ROLE_ADMIN, text);
    assert_good(response);
    int64_t id = json_integer_value(json_object_get(json_object_get(response, "data"), "upload"));
    json_decref(response);
    return id;
}

static void send_block(struct desk *desk, int64_t upload, const unsigned char *bytes, size_t offset,
                       size_t len)
{
    char *data = encode(bytes + offset, len);
    size_t size = strlen(data) + 200;
    char *text = malloc(size);
    assert_non_null(text);
    (void)snprintf(text, size,
                   "\"command\":\"uploadFirmwareBlock\",\"upload\":%lld,\"offset\":%zu,"
                   "\"data\":\"%s\"",
                   (long long)upload, offset, data);
    good(desk, text);
    free(text);
    free(data);
}

static void test_commit_after_a_restart(void **state)
{
    struct desk *desk = *state;
    size_t size = IMAGE_BLOCKS * OTA_BLOCK_SIZE - 100;
    unsigned char *image = calloc(1, size);
    assert_non_null(image);
    image[size - 1] = 7;
    int64_t id = announce(desk, image, size);
    for (size_t at = 0; at < size; at += OTA_BLOCK_SIZE) {
        send_block(desk, id, image, at, size - at < OTA_BLOCK_SIZE ? size - at : OTA_BLOCK_SIZE);
    }
    free(image);
    leave_seat(desk);
    fixture_restart(&desk->fix, true);
    take_seat(desk);

    char text[100];
    (void)snprintf(text, sizeof text,
                   "{\"commands\":[{\"command\":\"commitFirmware\",\"upload\":%lld}]}",
                   (long long)id);
    fake_broker_clear_messages();
    send_as(desk, &desk->admin, OTA_ROLE_ADMIN, text);
    send_as(desk, &desk->admin, OTA_ROLE_ADMIN, "{\"commands\":[{\"command\":\"getInfo\"}]}");
    int slices = 0;
    for (; !is_idle(desk) && slices < EVERYTHING; slices++) {
        tick(desk);
        /* others go first; it wants to be called again soon */
        assert_int_equal(fixture_count(OTA_CONTROL_RESPONSE, NULL), is_idle(desk) ? 2 : 1);
    }
    assert_in_range(slices, 2, 3); /* half a megabyte a slice */
    json_t *responses = last_responses();
    assert_string_equal(text_of(json_array_get(responses, 0), "command"), "commitFirmware");
    json_decref(responses);
    assert_non_null(ota_fleet_firmware_of(&desk->fix.core.fleet, desk->fix.product->id, "3.0"));
}

/* --- the queue -------------------------------------------------------------------------------- */

static void test_queue_of_messages_is_bounded(void **state)
{
    struct desk *desk = *state;
    static const char text[] = "{\"commands\":[{\"command\":\"getInfo\"}]}";
    for (int i = 0; i < 1000; i++) {
        send_as(desk, &desk->admin, OTA_ROLE_VIEWER, text);
    }
    assert_int_equal(fake_broker_message_count(), 0);
    send_as(desk, &desk->admin, OTA_ROLE_VIEWER, text);
    json_t *responses = last_responses();
    assert_bad(json_array_get(responses, 0), "unavailable", "");
    json_decref(responses);
    fake_broker_clear_messages();
    for (int i = 0; i < EVERYTHING && !is_idle(desk); i++) {
        tick(desk);
    }
    assert_int_equal(fixture_count(OTA_CONTROL_RESPONSE, NULL), 1000);
    send_as(desk, &desk->admin, OTA_ROLE_VIEWER, text);
    tick(desk);
    assert_int_equal(fixture_count(OTA_CONTROL_RESPONSE, NULL), 1001);
}

static void test_queue_of_bytes_is_bounded(void **state)
{
    struct desk *desk = *state;
    char *text = malloc((128 << 10) + 2);
    assert_non_null(text);
    memset(text, ' ', (128 << 10) + 1);
    text[128 << 10] = '\0';
    for (int i = 0; i < 512; i++) {
        send_as(desk, &desk->admin, OTA_ROLE_VIEWER, text);
    }
    assert_int_equal(fake_broker_message_count(), 0);
    send_as(desk, &desk->admin, OTA_ROLE_VIEWER, text);
    assert_int_equal(fake_broker_message_count(), 1);
    text[128 << 10] = ' ';
    text[(128 << 10) + 1] = '\0';
    send_as(desk, &desk->admin, OTA_ROLE_VIEWER, text);
    json_t *responses = last_responses();
    assert_bad(json_array_get(responses, 0), "too_large", "");
    json_decref(responses);
    free(text);
}

/* The client id may be another's by then: nothing is told. What was asked for is done. */
/* A hundred long lists in one message: what a tick writes of them is bounded, whatever its clock
 * says (the fake one stands still). */
static void test_a_tick_writes_so_much_and_no_more(void **state)
{
    struct desk *desk = *state;
    char name[16];
    for (int i = 0; i < 200; i++) {
        (void)snprintf(name, sizeof name, "list-%03d", i);
        (void)fixture_device(&desk->fix, name, "1.0");
    }
    char *text = malloc(16384);
    size_t len = (size_t)sprintf(text, "{\"commands\":[");
    for (int i = 0; i < 100; i++) {
        len += (size_t)sprintf(text + len,
                               "%s{\"command\":\"listDevices\",\"product\":\"door\",\"limit\":200}",
                               i > 0 ? "," : "");
    }
    (void)strcpy(text + len, "]}");
    send_as(desk, &desk->admin, OTA_ROLE_ADMIN, text);
    free(text);
    size_t ticks = 0;
    while (fake_broker_last_on(OTA_CONTROL_RESPONSE) == NULL) {
        tick(desk);
        ticks++;
    }
    const size_t whole = fake_broker_last_on(OTA_CONTROL_RESPONSE)->len;
    const size_t one = whole / 100;
    assert_true(one > 30000);
    assert_true(ticks >= whole / ((256 << 10) + one));
    assert_true(ticks <= whole / (256 << 10) + 1);
}

static void test_forget(void **state)
{
    struct desk *desk = *state;
    struct mosquitto other = {.id = "otactl-2", .username = "bea"};
    send_as(desk, &desk->admin, OTA_ROLE_ADMIN, "{\"commands\":[{" CREATE("x") "}]}");
    send_as(desk, &other, OTA_ROLE_ADMIN, "{\"commands\":[{" CREATE("y") "}]}");
    send_as(desk, &desk->admin, OTA_ROLE_ADMIN, "{");
    ota_control_forget(desk->control, &desk->admin);
    tick(desk);
    assert_true(has_product(desk, "x") && has_product(desk, "y"));
    assert_int_equal(fixture_count(OTA_CONTROL_RESPONSE, NULL), 1);
    assert_string_equal(fake_broker_last_on(OTA_CONTROL_RESPONSE)->client_id, "otactl-2");
}

static void test_free_with_a_full_queue(void **state)
{
    struct desk *desk = *state;
    for (int i = 0; i < 10; i++) {
        send_as(desk, &desk->admin, OTA_ROLE_ADMIN, "{\"commands\":[{" CREATE("x") "}]}");
    }
    desk->admin.id = NULL; /* and who has no id gets no answer, and does nothing */
    send_as(desk, &desk->admin, OTA_ROLE_ADMIN, "{\"commands\":[{" CREATE("z") "}]}");
}

/* --- upgrades --------------------------------------------------------------------------------- */

#define UPGRADE(version)                                                                           \
    "\"command\":\"upgradeDevice\",\"product\":\"door\",\"device\":\"d1\",\"version\":\"" version  \
    "\""

static void test_upgrade_and_its_conflicts(void **state)
{
    struct desk *desk = *state;
    struct fixture *fix = &desk->fix;
    (void)fixture_firmware(fix, "3.0");
    bad(desk, UPGRADE("9.9"), "not_found", "version");
    fix->device->hold = true;
    bad(desk, UPGRADE("2.0"), "conflict", "device");
    fix->device->hold = false;
    good(desk, UPGRADE("3.0"));
    int64_t old = fix->device->task->id;
    bad(desk, UPGRADE("2.0"), "conflict", "device");
    good(desk, UPGRADE("2.0") ",\"override\":true");
    assert_int_equal(fixture_row(fix, old).status, OTA_CANCELLED);
    assert_int_not_equal(fix->device->task->id, old);
}

static void runs(struct fixture *fix, const char *version)
{
    assert_int_equal(ota_core_begin(&fix->core, NULL), OTA_OK);
    assert_int_equal(
        ota_device_set_version(fix->core.store, fix->device->id, version, ota_now_unix(), NULL),
        OTA_OK);
    assert_int_equal(ota_core_commit(&fix->core, NULL), OTA_OK);
    struct ota_version *made = ota_fleet_version(&fix->core.fleet, fix->product, version);
    ota_fleet_set_version(&fix->core.fleet, fix->device, made);
}

static void test_reinstall_and_downgrade(void **state)
{
    struct desk *desk = *state;
    struct fixture *fix = &desk->fix;
    (void)fixture_firmware(fix, "3.0");
    runs(fix, "3.0");
    bad(desk, UPGRADE("3.0"), "conflict", "version");
    bad(desk, UPGRADE("2.0"), "conflict", "version");
    bad(desk, UPGRADE("2.0") ",\"reinstall\":true", "conflict", "version");
    good(desk, UPGRADE("2.0") ",\"allowDowngrade\":true");
    assert_false(fix->device->task->up.flags & OTA_UPGRADE_REINSTALL);
    good(desk, UPGRADE("3.0") ",\"reinstall\":true,\"override\":true");
    assert_true(fix->device->task->up.flags & OTA_UPGRADE_REINSTALL);
    runs(fix, "0.1-unknown"); /* what was never uploaded has no order */
    good(desk, UPGRADE("2.0") ",\"override\":true");
}

static void test_retry_policy_of_a_task(void **state)
{
    struct desk *desk = *state;
    good(desk, UPGRADE("2.0") ",\"timeoutSeconds\":60,\"retry\":{\"max\":2,\"delaySeconds\":45,"
                              "\"on\":[-2,\"timeout\",7]}");
    const struct ota_task *task = desk->fix.device->task;
    assert_string_equal(task->retry_on, "-2,timeout,7");
    assert_int_equal(task->up.retry_max, 2);
    assert_int_equal(task->up.retry_delay_ms, 45000);
    assert_int_equal(task->up.timeout_ms, 60000);
    good(desk, UPGRADE("2.0") ",\"override\":true,\"retry\":{\"max\":1,\"on\":[-99999,-99999,"
                              "-99999,-99999,-99999,-99999,-99999,\"timeout\"]}");
    assert_string_equal(desk->fix.device->task->retry_on + 49, "timeout");
    good(desk, UPGRADE("2.0") ",\"override\":true,\"retry\":{\"max\":1,\"on\":[\"timeout\","
                              "\"timeout\",\"timeout\",\"timeout\",\"timeout\",\"timeout\","
                              "\"timeout\",\"timeout\"]}");
    assert_int_equal(strlen(desk->fix.device->task->retry_on), 63);
}

static json_t *ask_task(struct desk *desk, const char *command, int64_t id)
{
    char text[100];
    (void)snprintf(text, sizeof text, "\"command\":\"%s\",\"task\":%lld", command, (long long)id);
    return ask_as(desk, OTA_ROLE_OPERATOR, text);
}

static void assert_task(struct desk *desk, const char *command, int64_t id, const char *status)
{
    json_t *response = ask_task(desk, command, id);
    assert_good(response);
    const json_t *task = json_object_get(json_object_get(response, "data"), "task");
    assert_string_equal(text_of(task, "status"), status);
    assert_int_equal(json_integer_value(json_object_get(task, "task")), id);
    json_decref(response);
}

static void assert_task_refused(struct desk *desk, const char *command, int64_t id,
                                const char *code)
{
    json_t *response = ask_task(desk, command, id);
    assert_bad(response, code, "task");
    json_decref(response);
}

static void test_cancel_and_retry(void **state)
{
    struct desk *desk = *state;
    good(desk, UPGRADE("2.0"));
    int64_t id = desk->fix.device->task->id;
    assert_task(desk, "getTask", id, "device_offline");
    assert_task_refused(desk, "retryTask", id, "conflict");
    assert_task(desk, "cancelTask", id, "cancelled");
    assert_task_refused(desk, "cancelTask", id, "conflict");
    assert_task(desk, "retryTask", id, "device_offline");
    assert_int_equal(desk->fix.device->task->up.attempt, 2);
    assert_task_refused(desk, "cancelTask", 999, "not_found");
}

/* A reason to wait belongs to a task that waits. */
static void test_wait_reason(void **state)
{
    struct desk *desk = *state;
    good(desk, UPGRADE("2.0"));
    int64_t id = desk->fix.device->task->id;
    fixture_connect(&desk->fix);
    desk->fix.device->hold = true;
    json_t *response = ask_task(desk, "getTask", id);
    const json_t *task = json_object_get(json_object_get(response, "data"), "task");
    assert_string_equal(text_of(task, "status"), "task_waiting");
    assert_string_equal(text_of(task, "waitReason"), "held");
    json_decref(response);
    response = ask_task(desk, "cancelTask", id);
    task = json_object_get(json_object_get(response, "data"), "task");
    assert_string_equal(text_of(task, "status"), "cancelled");
    assert_true(json_is_null(json_object_get(task, "waitReason")));
    json_decref(response);
}

static void test_what_is_in_use_stays(void **state)
{
    struct desk *desk = *state;
    good(desk, UPGRADE("2.0"));
    bad(desk, "\"command\":\"deleteFirmware\",\"product\":\"door\",\"version\":\"2.0\"", "conflict",
        "version");
    bad(desk, "\"command\":\"deleteDevice\",\"product\":\"door\",\"device\":\"d1\"", "conflict",
        "device");
    bad(desk, "\"command\":\"deleteProduct\",\"product\":\"door\",\"force\":true", "conflict",
        "product");
    assert_task(desk, "cancelTask", desk->fix.device->task->id, "cancelled");
    bad(desk, "\"command\":\"deleteProduct\",\"product\":\"door\"", "conflict", "force");
    good(desk, "\"command\":\"deleteProduct\",\"product\":\"door\",\"force\":true");
    assert_false(has_product(desk, "door"));
    good(desk, CREATE("door")); /* the name is free at once */
    fixture_run(&desk->fix, 5000, 100);
    assert_int_equal(desk->fix.core.fleet.device_count, 0);
    assert_int_equal(desk->fix.core.counters.store_failures, 0);
}

static void test_a_command_that_cannot_be_committed(void **state)
{
    struct desk *desk = *state;
    fixture_fail_commits(true);
    bad(desk, UPGRADE("2.0"), "unavailable", "");
    bad(desk, "\"command\":\"createDevice\",\"product\":\"door\",\"device\":\"d2\"", "unavailable",
        "");
    bad(desk, "\"command\":\"deleteDevice\",\"product\":\"door\",\"device\":\"d1\"", "unavailable",
        "");
    bad(desk, "\"command\":\"deleteFirmware\",\"product\":\"door\",\"version\":\"2.0\"",
        "unavailable", "");
    bad(desk, "\"command\":\"deleteProduct\",\"product\":\"door\",\"force\":true", "unavailable",
        "");
    fixture_fail_commits(false);
    assert_null(desk->fix.device->task);
    assert_int_equal(desk->fix.product->devices, 1);
    good(desk, UPGRADE("2.0"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_unreadable_envelopes),
        TEST(test_the_answer_is_for_the_asker),
        TEST(test_a_hundred_commands_in_order),
        TEST(test_a_bad_one_among_good_ones),
        TEST(test_errors_are_cut_at_characters),
        TEST(test_every_commands_role),
        TEST(test_roles_are_the_documents),
        TEST(test_forbidden_changes_nothing),
        TEST(test_the_same_request_twice),
        TEST(test_the_same_id_for_something_else),
        TEST(test_the_id_is_the_users_own),
        TEST(test_only_success_is_stored),
        TEST(test_requests_survive_a_restart_and_end_after_a_day),
        TEST(test_request_ids),
        TEST(test_commit_after_a_restart),
        TEST(test_queue_of_messages_is_bounded),
        TEST(test_queue_of_bytes_is_bounded),
        TEST(test_a_tick_writes_so_much_and_no_more),
        TEST(test_forget),
        TEST(test_free_with_a_full_queue),
        TEST(test_upgrade_and_its_conflicts),
        TEST(test_reinstall_and_downgrade),
        TEST(test_retry_policy_of_a_task),
        TEST(test_cancel_and_retry),
        TEST(test_wait_reason),
        TEST(test_what_is_in_use_stays),
        TEST(test_a_command_that_cannot_be_committed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
