/* SPDX-License-Identifier: BSD-3-Clause */
/* Who asked for what: entries of accepted commands, counted refusals, listAudit, retention. */
#include "desk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/broker.h"
#include "../../plugin/subject.h"

#define DAY INT64_C(86400000)

/* --- helpers ---------------------------------------------------------------------------------- */

static void forbidden(struct desk *desk, const char *command)
{
    json_t *response = desk_ask(desk, OTA_ROLE_VIEWER, command);
    assert_string_equal(json_string_value(json_object_get(response, "code")), "forbidden");
    json_decref(response);
}

static bool print_entry(void *data, const struct ota_audit_row *row)
{
    FILE *out = data;
    (void)fprintf(out, "%s %s %s [%s] %s %lld\n", row->user, row->client, row->command, row->target,
                  row->code, (long long)row->count);
    return true;
}

/* All entries, newest first, are these lines. */
static void assert_entries(struct desk *desk, const char *lines)
{
    struct ota_audit_filter filter = {0};
    struct ota_audit_place place = {0};
    bool more = false;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_int_equal(ota_audit_list(desk->fix.core.store, &filter, &place, print_entry, out, &place,
                                    &more, NULL),
                     OTA_OK);
    (void)fclose(out);
    assert_string_equal(text, lines);
    assert_false(more);
    free(text);
}

struct sum {
    int64_t rows;
    int64_t count;
};

static bool add_entry(void *data, const struct ota_audit_row *row)
{
    struct sum *sum = data;
    sum->rows++;
    sum->count += row->count;
    return true;
}

static struct sum sum_of(struct desk *desk, const char *command)
{
    struct ota_audit_filter filter = {.command = command};
    struct ota_audit_place place = {0};
    struct sum sum = {0};
    bool more = false;
    assert_int_equal(
        ota_audit_list(desk->fix.core.store, &filter, &place, add_entry, &sum, &place, &more, NULL),
        OTA_OK);
    assert_false(more);
    return sum;
}

#define CREATE(name) "\"command\":\"createProduct\",\"product\":\"" name "\""

/* --- accepted commands ------------------------------------------------------------------------ */

/* The entry is there as soon as what it tells of is. */
static void test_an_accepted_command(void **state)
{
    struct desk *desk = *state;
    desk_good(desk, CREATE("lamp"));
    assert_entries(desk, "ann otactl-1 createProduct [lamp] ok 1\n");
}

static void test_no_entry_without_the_change(void **state)
{
    struct desk *desk = *state;
    fixture_fail_commits(true);
    desk_bad(desk, CREATE("lamp"), "unavailable");
    fixture_fail_commits(false);
    assert_entries(desk, "");
    desk_later(desk, 10);
    assert_entries(desk, "ann otactl-1 createProduct [lamp] unavailable 1\n");
}

static void test_a_stored_answer_is_no_entry(void **state)
{
    struct desk *desk = *state;
    desk_good(desk, CREATE("lamp") ",\"requestId\":\"r\"");
    desk_good(desk, CREATE("lamp") ",\"requestId\":\"r\"");
    desk_bad(desk, CREATE("door2") ",\"requestId\":\"r\"", "conflict");
    desk_later(desk, 10);
    assert_entries(desk, "ann otactl-1 createProduct [door2] conflict 1\n"
                         "ann otactl-1 createProduct [lamp] ok 1\n");
}

static void test_what_is_made_is_told(void **state)
{
    struct desk *desk = *state;
    desk_good(desk, "\"command\":\"upgradeDevice\",\"product\":\"door\",\"device\":\"d1\","
                    "\"version\":\"2.0\"");
    fake_broker_advance(1);
    desk_good(desk, "\"command\":\"cancelTask\",\"task\":1");
    fake_broker_advance(1);
    desk_good(desk,
              "\"command\":\"createBatch\",\"product\":\"door\",\"version\":\"2.0\",\"target\":"
              "{\"all\":true},\"name\":\"secret\",\"draft\":true");
    fake_broker_advance(1);
    desk_good(desk,
              "\"command\":\"addFirmware\",\"product\":\"door\",\"version\":\"3\",\"filename\":"
              "\"f.bin\",\"size\":3,\"sha256\":\"" FIX_SHA256 "\"");
    fake_broker_advance(1);
    desk_good(desk, "\"command\":\"abortFirmware\",\"upload\":2");
    assert_entries(desk, "ann otactl-1 abortFirmware [upload 2] ok 1\n"
                         "ann otactl-1 addFirmware [door 3 (upload 2)] ok 1\n"
                         "ann otactl-1 createBatch [door 2.0 (batch 1)] ok 1\n"
                         "ann otactl-1 cancelTask [task 1] ok 1\n"
                         "ann otactl-1 upgradeDevice [door/d1 2.0 (task 1)] ok 1\n");
}

static void test_what_has_no_entry(void **state)
{
    struct desk *desk = *state;
    desk_good(desk, "\"command\":\"getInfo\"");
    desk_bad(desk, "\"command\":\"getTask\",\"task\":77", "not_found");
    desk_bad(desk, "\"command\":\"getInfo\",\"bogus\":1", "invalid_request");
    desk_bad(desk, "\"command\":7", "invalid_request");
    desk_bad(desk, "\"command\":\"no such\"", "invalid_request");
    desk_bad(desk, "\"command\":\"" FIX_SHA256 "\"", "invalid_request");
    desk_good(desk,
              "\"command\":\"createBatch\",\"product\":\"door\",\"version\":\"2.0\",\"target\":"
              "{\"all\":true},\"dryRun\":true");
    desk_good(desk,
              "\"command\":\"addFirmware\",\"product\":\"door\",\"version\":\"3\",\"filename\":"
              "\"f.bin\",\"size\":3,\"sha256\":\"" FIX_SHA256 "\"");
    desk_good(desk,
              "\"command\":\"uploadFirmwareBlock\",\"upload\":2,\"offset\":0,\"data\":\"YWJj\"");
    desk_later(desk, 10);
    assert_int_equal(sum_of(desk, NULL).rows, 1);
    assert_int_equal(sum_of(desk, "addFirmware").rows, 1);
}

/* --- refused ones ----------------------------------------------------------------------------- */

static void test_refusals(void **state)
{
    struct desk *desk = *state;
    forbidden(desk, CREATE("lamp"));
    desk_later(desk, 10);
    forbidden(desk, "\"command\":\"listAudit\"");
    desk_later(desk, 10);
    desk_bad(desk, "\"command\":\"createProduct\",\"product\":\"no name\"", "invalid_request");
    desk_later(desk, 10);
    desk_bad(desk, "\"command\":\"deleteDevice\",\"product\":\"door\",\"device\":\"none\"",
             "not_found");
    desk_later(desk, 10);
    desk_bad(desk, "\"command\":\"cancelTask\",\"task\":9", "not_found");
    desk_later(desk, 10);
    desk_bad(desk, "\"command\":\"noSuch\",\"product\":\"door\"", "invalid_request");
    desk_later(desk, 10);
    assert_entries(desk, "ann otactl-1 noSuch [door] invalid_request 1\n"
                         "ann otactl-1 cancelTask [task 9] not_found 1\n"
                         "ann otactl-1 deleteDevice [door/none] not_found 1\n"
                         "ann otactl-1 createProduct [] invalid_request 1\n"
                         "ann otactl-1 listAudit [] forbidden 1\n"
                         "ann otactl-1 createProduct [lamp] forbidden 1\n");
}

static void test_the_same_refusal_counts(void **state)
{
    struct desk *desk = *state;
    for (int i = 0; i < 100; i++) {
        desk_bad(desk, CREATE("door"), "already_exists");
        desk_later(desk, 100);
    }
    desk_later(desk, 1000);
    assert_entries(desk, "ann otactl-1 createProduct [door] already_exists 100\n");
    desk->admin.username = "bea"; /* another one's is another */
    desk_bad(desk, CREATE("door"), "already_exists");
    desk_later(desk, 1000);
    desk->admin.username = "ann";
    desk_later(desk, 60000); /* and a minute later it is a new one */
    desk_bad(desk, CREATE("door"), "already_exists");
    desk_later(desk, 10);
    assert_entries(desk, "ann otactl-1 createProduct [door] already_exists 1\n"
                         "bea otactl-1 createProduct [door] already_exists 1\n"
                         "ann otactl-1 createProduct [door] already_exists 100\n");
}

/* What is written grows neither with the refusals nor with their kinds. */
static void test_a_flood_of_refusals(void **state)
{
    struct desk *desk = *state;
    char text[64];
    int before = fixture_commits();
    for (int i = 0; i < 5000; i++) {
        (void)snprintf(text, sizeof text, "\"command\":\"made%d\"", i);
        desk_bad(desk, text, "invalid_request");
        desk_later(desk, 1);
    }
    desk_later(desk, 1000);
    struct sum all = sum_of(desk, NULL);
    struct sum other = sum_of(desk, OTA_TRAIL_OTHER);
    assert_int_equal(all.rows, OTA_TRAIL_ENTRIES + 1);
    assert_int_equal(all.count, 5000);
    assert_int_equal(other.rows, 1);
    assert_int_equal(other.count, 5000 - OTA_TRAIL_ENTRIES);
    assert_in_range(fixture_commits() - before, OTA_TRAIL_ENTRIES, OTA_TRAIL_ENTRIES + 10);
    desk_later(desk, 60000);
    desk_bad(desk, "\"command\":\"again\"", "invalid_request");
    desk_later(desk, 10);
    assert_int_equal(sum_of(desk, "again").rows, 1);
}

static void test_refusals_wait_for_the_store(void **state)
{
    struct desk *desk = *state;
    desk_bad(desk, CREATE("door"), "already_exists");
    fixture_fail_commits(true);
    desk_later(desk, 10);
    desk_bad(desk, CREATE("door"), "already_exists");
    desk_later(desk, 10);
    assert_int_equal(fixture_failed_commits(), 1); /* not at every tick */
    fixture_fail_commits(false);
    desk_later(desk, 2000);
    assert_entries(desk, "ann otactl-1 createProduct [door] already_exists 2\n");
}

static void test_the_rest_is_written_at_the_end(void **state)
{
    struct desk *desk = *state;
    desk_bad(desk, CREATE("door"), "already_exists");
    desk_later(desk, 10);
    desk_bad(desk, CREATE("door"), "already_exists");
    desk_later(desk, 10);
    assert_int_equal(sum_of(desk, NULL).count, 1);
    desk_restart(desk, false);
    assert_entries(desk, "ann otactl-1 createProduct [door] already_exists 2\n");
}

/* --- topics ----------------------------------------------------------------------------------- */

static void test_false_identities(void **state)
{
    struct desk *desk = *state;
    struct mosquitto liar = {.id = "c-1", .username = "door/d2"};
    struct ota_topic topic = ota_topic_parse(&desk->access, "$ota/report/door/d1");
    desk->fix.core.settings.auto_register = true;
    for (int i = 0; i < 50; i++) {
        ota_intake_deny(&desk->intake, &liar, &topic);
        desk_later(desk, 100);
    }
    desk_later(desk, 1000);
    assert_entries(desk, "door/d2 c-1 identity [door/d1] forbidden 50\n");
    topic = ota_topic_parse(&desk->access, "$ota/report/none/d1");
    ota_intake_deny(&desk->intake, &liar, &topic); /* nobody's mistake but the administrator's */
    desk_later(desk, 1000);
    assert_int_equal(sum_of(desk, NULL).count, 50);
}

/* Strangers fill their own places, not those of admins. */
static void test_many_false_identities(void **state)
{
    struct desk *desk = *state;
    char name[32];
    struct mosquitto liar = {.id = "c-1", .username = name};
    struct ota_topic topic = ota_topic_parse(&desk->access, "$ota/report/door/d1");
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(name, sizeof name, "user%d", i);
        ota_intake_deny(&desk->intake, &liar, &topic);
    }
    desk_bad(desk, CREATE("door"), "already_exists");
    desk_later(desk, 10);
    assert_int_equal(sum_of(desk, OTA_TRAIL_IDENTITY).rows, OTA_TRAIL_ENTRIES);
    assert_int_equal(sum_of(desk, OTA_TRAIL_OTHER).count, 1000 - OTA_TRAIL_ENTRIES);
    assert_int_equal(sum_of(desk, "createProduct").rows, 1);
}

/* Names of any length and without a name; what is kept ends at a character. */
static void test_long_names(void **state)
{
    struct desk *desk = *state;
    char name[1000];
    for (size_t i = 0; i < sizeof name - 1; i++) {
        name[i] = "\xe2\x82\xac"[i % 3];
    }
    name[sizeof name - 1] = '\0';
    ota_trail_topic(desk->around.trail, &(struct ota_trail_note){.user = name,
                                                                 .client = name,
                                                                 .command = OTA_TRAIL_SHADOWING,
                                                                 .target = ""});
    ota_trail_topic(desk->around.trail,
                    &(struct ota_trail_note){.command = OTA_TRAIL_SHADOWING, .target = ""});
    desk_later(desk, 10);
    json_t *data = desk_data(desk, "\"command\":\"listAudit\"");
    const json_t *entries = json_object_get(data, "entries");
    assert_int_equal(json_array_size(entries), 2);
    const json_t *anonymous = json_array_get(entries, 0);
    const json_t *named = json_array_get(entries, 1);
    assert_true(json_is_null(json_object_get(anonymous, "user")));
    assert_true(json_is_null(json_object_get(anonymous, "client")));
    assert_int_equal(json_string_length(json_object_get(named, "user")), 255);
    assert_int_equal(json_string_length(json_object_get(named, "client")), 126);
    json_decref(data);
}

/* --- the list --------------------------------------------------------------------------------- */

static void fill(struct desk *desk, int count)
{
    char text[100];
    for (int i = 0; i < count; i++) {
        desk->admin.username = i % 2 == 0 ? "ann" : "bea";
        (void)snprintf(text, sizeof text, CREATE("p%d"), i);
        desk_good(desk, text);
        fake_broker_advance(i % 3); /* some at the same time */
    }
    desk->admin.username = "ann";
}

static size_t count_listed(struct desk *desk, const char *fields)
{
    char text[200];
    (void)snprintf(text, sizeof text, "\"command\":\"listAudit\"%s", fields);
    json_t *data = desk_data(desk, text);
    assert_non_null(data);
    size_t count = json_array_size(json_object_get(data, "entries"));
    json_decref(data);
    return count;
}

static void test_filters(void **state)
{
    struct desk *desk = *state;
    char since[64];
    fill(desk, 10);
    desk_good(desk, "\"command\":\"updateProduct\",\"product\":\"p1\",\"description\":\"x\"");
    assert_int_equal(count_listed(desk, ""), 11);
    assert_int_equal(count_listed(desk, ",\"user\":\"bea\""), 5);
    assert_int_equal(count_listed(desk, ",\"user\":\"nobody\""), 0);
    assert_int_equal(count_listed(desk, ",\"action\":\"updateProduct\""), 1);
    assert_int_equal(count_listed(desk, ",\"action\":\"createProduct\",\"user\":\"ann\""), 5);
    (void)snprintf(since, sizeof since, ",\"since\":%lld", (long long)ota_now_unix());
    assert_int_equal(count_listed(desk, since), 2); /* the last two, of this millisecond */
    (void)snprintf(since, sizeof since, ",\"since\":%lld", (long long)ota_now_unix() + 1);
    assert_int_equal(count_listed(desk, since), 0);
}

/* Newest first, each once, though many have the same time. */
static void test_pages(void **state)
{
    struct desk *desk = *state;
    char cursor[128] = "";
    int64_t at = INT64_MAX;
    int left = 30;
    fill(desk, left);
    while (left > 0) {
        char text[300];
        (void)snprintf(text, sizeof text, "\"command\":\"listAudit\",\"limit\":7%s", cursor);
        json_t *data = desk_data(desk, text);
        const json_t *entries = json_object_get(data, "entries");
        for (size_t i = 0; i < json_array_size(entries); i++) {
            char want[16];
            const json_t *entry = json_array_get(entries, i);
            (void)snprintf(want, sizeof want, "p%d", --left);
            assert_string_equal(json_string_value(json_object_get(entry, "target")), want);
            assert_true(json_integer_value(json_object_get(entry, "at")) <= at);
            at = json_integer_value(json_object_get(entry, "at"));
        }
        const char *next = json_string_value(json_object_get(data, "nextCursor"));
        assert_int_equal(next != NULL, left > 0);
        (void)snprintf(cursor, sizeof cursor, ",\"cursor\":\"%s\"", next != NULL ? next : "");
        json_decref(data);
    }
}

/* --- retention -------------------------------------------------------------------------------- */

static void test_old_entries_go(void **state)
{
    struct desk *desk = *state;
    desk->fix.core.settings.keep_audit_ms = 2 * DAY;
    fill(desk, 200);
    fixture_run(&desk->fix, DAY, 3600000);
    desk_good(desk, CREATE("young"));
    fixture_run(&desk->fix, DAY / 2, 3600000);
    assert_int_equal(sum_of(desk, NULL).rows, 201);
    fixture_run(&desk->fix, DAY, 3600000);
    assert_entries(desk, "ann otactl-1 createProduct [young] ok 1\n");
    desk->fix.core.settings.keep_audit_ms = 0; /* for ever */
    fixture_run(&desk->fix, 10 * DAY, 3600000);
    assert_int_equal(sum_of(desk, NULL).rows, 1);
}

/* --- what a command is about ------------------------------------------------------------------ */

static void test_subjects(void **state)
{
    static const struct {
        const char *fields;
        const char *data;
        const char *subject;
    } rows[] = {
        {"{}", NULL, ""},
        {"{\"product\":\"p\"}", "{}", "p"},
        {"{\"product\":\"p\",\"device\":\"d\"}", NULL, "p/d"},
        {"{\"product\":\"p\",\"version\":\"1.0\"}", NULL, "p 1.0"},
        {"{\"product\":\"p\",\"device\":\"d\",\"version\":\"1\"}", NULL, "p/d 1"},
        {"{\"device\":\"d\",\"version\":\"1\"}", NULL, ""},
        {"{\"product\":\"a b\",\"device\":\"d\"}", NULL, ""},
        {"{\"product\":\"p\",\"device\":\"d\\n\",\"version\":7}", NULL, "p"},
        {"{\"task\":7}", "{\"task\":{\"task\":7}}", "task 7"},
        {"{\"task\":\"7\"}", NULL, ""},
        {"{\"batch\":3}", NULL, "batch 3"},
        {"{\"upload\":2}", "{\"firmware\":{}}", "upload 2"},
        {"{\"product\":\"p\"}", "{\"batch\":{\"batch\":3}}", "p (batch 3)"},
        {"{\"product\":\"p\"}", "{\"upload\":2}", "p (upload 2)"},
        {"{\"name\":\"x\"}", "{\"path\":\"/a/b/x\",\"bytes\":7}", "x"},
        {"{\"description\":\"x\",\"data\":\"x\",\"signature\":\"x\"}", NULL, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[OTA_SUBJECT_MAX + 1];
        json_t *fields = json_loads(rows[i].fields, 0, NULL);
        json_t *data = rows[i].data != NULL ? json_loads(rows[i].data, 0, NULL) : NULL;
        ota_subject_of(fields, data, text, sizeof text);
        assert_string_equal(text, rows[i].subject);
        json_decref(fields);
        json_decref(data);
    }
}

static void test_the_longest_subject(void **state)
{
    static const char x[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"; /* 48 */
    char text[OTA_SUBJECT_MAX + 1];
    json_t *fields =
        json_pack("{s:s, s:s, s:s}", "product", x + 16, "device", x, "version", x + 16);
    json_t *data = json_pack("{s:I}", "task", (json_int_t)INT64_MAX);
    (void)state;
    ota_subject_of(fields, data, text, sizeof text);
    assert_non_null(strstr(text, "(task 9223372036854775807)"));
    json_decref(fields);
    json_decref(data);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, desk_setup, desk_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_an_accepted_command),
        TEST(test_no_entry_without_the_change),
        TEST(test_a_stored_answer_is_no_entry),
        TEST(test_what_is_made_is_told),
        TEST(test_what_has_no_entry),
        TEST(test_refusals),
        TEST(test_the_same_refusal_counts),
        TEST(test_a_flood_of_refusals),
        TEST(test_refusals_wait_for_the_store),
        TEST(test_the_rest_is_written_at_the_end),
        TEST(test_false_identities),
        TEST(test_many_false_identities),
        TEST(test_long_names),
        TEST(test_filters),
        TEST(test_pages),
        TEST(test_old_entries_go),
        cmocka_unit_test(test_subjects),
        cmocka_unit_test(test_the_longest_subject),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
