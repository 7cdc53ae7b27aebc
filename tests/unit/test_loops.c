/* SPDX-License-Identifier: BSD-3-Clause */
/* Every allocation, every call of SQLite and every access to its files fails in turn, under every
 * command: no crash, no leak (the sanitizers' build tells), no lie. What was answered with data is
 * there, as without the fault; what was answered with an error left nothing; memory agrees with
 * the database; and when the fault is over, the same command does what it says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../plugin/broker.h"
#include "faults.h"
#include "loop_world.h"

#define TICKS_MAX  4000
#define LIES_SHOWN 2 /* of a command and kind of fault */

static struct world world;
static int all_lies;

/* What a command is asked with: its fields, as JSON without braces; and where it says itself
 * whether it was done, the file that then is there. NULL: no script, and the test fails. */
static const struct script {
    const char *fields;
    const char *file;
} scripts[OTA_COMMAND_COUNT] = {
    [OTA_CMD_CREATE_PRODUCT] = {"\"product\":\"gate-of-the-garden\",\"description\":\"new\""},
    [OTA_CMD_UPDATE_PRODUCT] = {"\"product\":\"lamp\",\"description\":\"changed\""},
    [OTA_CMD_DELETE_PRODUCT] = {"\"product\":\"lamp\",\"force\":true"},
    [OTA_CMD_LIST_PRODUCTS] = {"\"limit\":10"},
    [OTA_CMD_ADD_FIRMWARE] = {"\"product\":\"door\",\"version\":\"7.0\",\"filename\":\"a.bin\","
                              "\"size\":3,\"sha256\":\"" FIX_SHA256 "\""},
    [OTA_CMD_UPLOAD_FIRMWARE_BLOCK] = {"\"upload\":3,\"offset\":3,\"data\":\"YWJj\""},
    [OTA_CMD_COMMIT_FIRMWARE] = {"\"upload\":4"},
    [OTA_CMD_ABORT_FIRMWARE] = {"\"upload\":5"},
    [OTA_CMD_LIST_FIRMWARE] = {"\"product\":\"door\""},
    [OTA_CMD_GET_FIRMWARE] = {"\"product\":\"door\",\"version\":\"2.0\""},
    [OTA_CMD_DELETE_FIRMWARE] = {"\"product\":\"door\",\"version\":\"3.0\""},
    [OTA_CMD_CREATE_DEVICE] = {"\"product\":\"door\",\"device\":\"new\",\"tags\":[\"a\",\"b\"],"
                               "\"description\":\"in the cellar\""},
    [OTA_CMD_UPDATE_DEVICE] = {"\"product\":\"door\",\"device\":\"d3\",\"tags\":[\"x\"],"
                               "\"hold\":true"},
    [OTA_CMD_DELETE_DEVICE] = {"\"product\":\"door\",\"device\":\"b5\""},
    [OTA_CMD_GET_DEVICE] = {"\"product\":\"door\",\"device\":\"d1\""},
    [OTA_CMD_LIST_DEVICES] = {"\"product\":\"door\",\"limit\":8"},
    [OTA_CMD_LIST_DEVICE_HISTORY] = {"\"product\":\"door\",\"device\":\"d1\""},
    [OTA_CMD_EXPLAIN_DEVICE] = {"\"product\":\"door\",\"device\":\"d3\""},
    [OTA_CMD_LIST_VERSIONS] = {"\"product\":\"door\""},
    [OTA_CMD_UPGRADE_DEVICE] = {"\"product\":\"door\",\"device\":\"d1\",\"version\":\"3.0\","
                                "\"override\":true,\"retry\":{\"max\":1,\"delaySeconds\":30}"},
    [OTA_CMD_LIST_TASKS] = {"\"product\":\"door\",\"limit\":5"},
    [OTA_CMD_GET_TASK] = {"\"task\":3"},
    [OTA_CMD_CANCEL_TASK] = {"\"task\":7"},
    [OTA_CMD_RETRY_TASK] = {"\"task\":3"},
    [OTA_CMD_CREATE_BATCH] = {"\"product\":\"door\",\"version\":\"3.0\",\"name\":\"autumn\","
                              "\"target\":{\"fromVersions\":[\"1.0\"]},"
                              "\"stages\":[{\"count\":1,\"minSuccessPercent\":90},"
                              "{\"percent\":100}]"},
    [OTA_CMD_ADD_BATCH_DEVICES] = {"\"batch\":2,\"devices\":[\"d5\",\"d6\"]"},
    [OTA_CMD_START_BATCH] = {"\"batch\":2"},
    [OTA_CMD_UPDATE_BATCH] = {"\"batch\":3,\"name\":\"winter\",\"maxInFlight\":7"},
    [OTA_CMD_LIST_BATCHES] = {"\"product\":\"door\""},
    [OTA_CMD_GET_BATCH] = {"\"batch\":3"},
    [OTA_CMD_PAUSE_BATCH] = {"\"batch\":3"},
    [OTA_CMD_RESUME_BATCH] = {"\"batch\":4"},
    [OTA_CMD_ADVANCE_BATCH] = {"\"batch\":3"},
    [OTA_CMD_CANCEL_BATCH] = {"\"batch\":3,\"running\":\"cancel\""},
    [OTA_CMD_RETRY_BATCH] = {"\"batch\":1"},
    [OTA_CMD_GET_STATS] = {"\"product\":\"door\""},
    [OTA_CMD_LIST_AUDIT] = {"\"limit\":6"},
    [OTA_CMD_BACKUP] = {"\"name\":\"copy.db\"", "copy.db"},
    [OTA_CMD_GET_INFO] = {"\"correlationData\":\"c\""},
};

/* --- asking ----------------------------------------------------------------------------------- */

struct state {
    char *rows;
    char *memory;
    char *kept; /* the same as a start would make it */
};

static struct state look(void)
{
    return (struct state){world_rows(&world), world_memory(&world, WORLD_ALL),
                          world_memory(&world, WORLD_KEPT)};
}

static void free_state(struct state *state)
{
    free(state->rows);
    free(state->memory);
    free(state->kept);
}

static int envelope(const struct ota_command *command, char *text, size_t size)
{
    const char *fields = scripts[command->id].fields;
    if (fields == NULL) {
        fail_msg("%s has no script here: give it one", command->name);
    }
    return snprintf(text, size, "{\"commands\":[{\"command\":\"%s\",%s%s}]}", command->name, fields,
                    command->writes ? ",\"requestId\":\"r-1\"" : "");
}

/* The clock that people read stands still. */
static bool answered(struct desk *desk)
{
    for (int i = 0; i < TICKS_MAX; i++) {
        desk->fix.core.wake_at = INT64_MAX;
        desk_tick(desk);
        if (fake_broker_last_on(OTA_CONTROL_RESPONSE) != NULL) {
            return true;
        }
        if (desk->fix.core.wake_at == INT64_MAX) {
            return false; /* nothing waits any more */
        }
        fake_broker_advance(20);
        fake_broker_set_unix(world.unix_ms);
        (void)usleep(desk->around.backup != NULL ? 200 : 0);
    }
    print_error("it never ends\n");
    all_lies++;
    return false;
}

/* The response, or NULL: none came. */
static char *ask(const char *message, int len)
{
    struct desk *desk = world.desk;
    fake_broker_clear_messages();
    ota_control_receive(desk->control, &desk->admin, OTA_ROLE_ADMIN, message, (size_t)len);
    bool has = answered(desk);
    faults_disarm();
    return has ? strdup(fake_broker_last_on(OTA_CONTROL_RESPONSE)->payload) : NULL;
}

/* "" where it was done. */
static void code_of(const char *answer, char *code, size_t size)
{
    json_t *root = json_loads(answer, 0, NULL);
    json_t *responses = json_object_get(root, "responses");
    const json_t *response = json_array_get(responses, 0);
    if (json_array_size(responses) != 1) {
        print_error("one command, and not one response: %s\n", answer);
        all_lies++;
    }
    const char *have = json_string_value(json_object_get(response, "code"));
    (void)snprintf(code, size, "%s", have != NULL ? have : "");
    json_decref(root);
}

/* --- one command ------------------------------------------------------------------------------ */

struct loop {
    const struct ota_command *command;
    enum faults_kind kind;
    bool lasting;
    int n;
    char message[700];
    int len;
    char *good; /* its answer without a fault */
    struct state before;
    struct state after;
    int lies;
};

static bool has_file(const struct loop *loop)
{
    char path[200];
    (void)snprintf(path, sizeof path, "%s/%s", world.desk->fix.dir,
                   scripts[loop->command->id].file);
    return access(path, F_OK) == 0;
}

static void remove_file(const struct loop *loop)
{
    char path[200];
    (void)snprintf(path, sizeof path, "%s/%s", world.desk->fix.dir,
                   scripts[loop->command->id].file);
    (void)unlink(path);
}

/* Tells where the two texts part; the test goes on, and fails at its end. */
static void lie(struct loop *loop, const char *what, const char *have, const char *want)
{
    if (++loop->lies > LIES_SHOWN) {
        return;
    }
    size_t at = 0;
    size_t line = 0;
    for (; have[at] != '\0' && have[at] == want[at]; at++) {
        line = have[at] == '\n' ? at + 1 : line;
    }
    line = at > line + 80 ? at - 80 : line;
    print_error("%s, %s %d%s: %s\n    is        %.300s\n    should be %.300s\n",
                loop->command->name, faults_name(loop->kind), loop->n,
                loop->lasting ? " and all behind it" : "", what, have + line, want + line);
}

static void check_same(struct loop *loop, const char *what, const char *have, const char *want)
{
    if (strcmp(have, want) != 0) {
        lie(loop, what, have, want);
    }
}

/* Either all of it is there, or nothing; true: all. */
static bool is_done(struct loop *loop)
{
    bool changed = world_changed(&world);
    struct state now = {.memory = world_memory(&world, WORLD_ALL)};
    if (changed) {
        now.rows = world_rows(&world);
        check_same(loop, "the database", now.rows, loop->after.rows);
    }
    check_same(loop, changed ? "memory, and it was done" : "memory, and it wasn't done", now.memory,
               changed ? loop->after.memory : loop->before.memory);
    free_state(&now);
    if (scripts[loop->command->id].file != NULL) {
        if (has_file(loop) != changed) {
            lie(loop, "the file", changed ? "gone" : "there", changed ? "there" : "gone");
        }
        remove_file(loop);
    }
    return changed;
}

static void check_answer(struct loop *loop, const char *answer, bool done)
{
    char code[32];
    if (answer == NULL) { /* then nobody was told anything */
        return;
    }
    code_of(answer, code, sizeof code);
    if (code[0] == '\0') {
        check_same(loop, "the answer", answer, loop->good);
        if (done != loop->command->writes) {
            lie(loop, "it wasn't done, and answered", answer, "an error");
        }
    } else if (done || (strcmp(code, "unavailable") != 0 && strcmp(code, "internal") != 0)) {
        lie(loop, done ? "it was done, and refused" : "the reason", answer, "unavailable");
    }
}

/* True where a fault was met. */
static bool try_once(struct loop *loop)
{
    faults_arm(loop->kind, loop->n, loop->lasting);
    char *answer = ask(loop->message, loop->len);
    bool fired = faults_fired();
    int lies = loop->lies;
    bool done = is_done(loop);
    check_answer(loop, answer, done);
    if (!fired) {
        check_same(loop, "without a fault", answer != NULL ? answer : "silence", loop->good);
    }
    free(answer);
    if ((done && fired) || loop->lies > lies) {
        world_restore(&world);
    }
    return fired;
}

static int stride(bool lasting)
{
    const char *full = getenv("OTA_LOOPS_FULL");
    return full != NULL ? 1 : lasting ? 5 : 1;
}

static int loop_over(struct loop *loop)
{
    int turns = 0;
    world_restore(&world);
    for (loop->n = 1; try_once(loop); loop->n += stride(loop->lasting)) {
        turns++;
    }
    /* After all these faults memory is what a restart would make of the database. */
    world_reload(&world);
    char *memory = world_memory(&world, WORLD_KEPT);
    check_same(loop, "memory, and what the database says", loop->after.kept, memory);
    free(memory);
    if (loop->lies > 0) {
        print_error("%s: %d lies\n", loop->command->name, loop->lies);
        all_lies += loop->lies;
    }
    loop->lies = 0;
    return turns;
}

/* What it does when all is well. */
static void learn(struct loop *loop)
{
    char code[32];
    world_restore(&world);
    loop->before = look();
    loop->good = ask(loop->message, loop->len);
    assert_non_null(loop->good);
    code_of(loop->good, code, sizeof code);
    if (code[0] != '\0') {
        lie(loop, "the script", loop->good, "data");
    }
    loop->after = look();
    assert_int_equal(world_changed(&world), loop->command->writes);
    if (scripts[loop->command->id].file != NULL) {
        assert_true(has_file(loop));
        remove_file(loop);
    }
}

static void run_command(const struct ota_command *command)
{
    struct loop loop = {.command = command};
    int turns[FAULTS_KINDS] = {0};
    loop.len = envelope(command, loop.message, sizeof loop.message);
    learn(&loop);
    for (loop.kind = 0; loop.kind < FAULTS_KINDS; loop.kind++) {
        for (int lasting = 0; lasting <= 1; lasting++) {
            loop.lasting = lasting != 0;
            turns[loop.kind] += loop_over(&loop);
        }
    }
    print_message("%s: %d allocations, %d calls, %d accesses\n", command->name,
                  turns[FAULTS_MEMORY], turns[FAULTS_CALL], turns[FAULTS_FILE]);
    assert_true(turns[FAULTS_MEMORY] > 10);
    free(loop.good);
    free_state(&loop.before);
    free_state(&loop.after);
}

static void test_every_command(void **state)
{
    (void)state;
    const char *only = getenv("OTA_LOOPS_ONLY");
    for (int id = 0; id < OTA_COMMAND_COUNT; id++) {
        const struct ota_command *command = ota_command((enum ota_command_id)id);
        if (only == NULL || strcmp(only, command->name) == 0) {
            run_command(command);
        }
    }
    assert_int_equal(all_lies, 0);
}

static int setup(void **state)
{
    (void)state;
    world_open(&world);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_close(&world);
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_command)};
    faults_install();
    return cmocka_run_group_tests(tests, setup, teardown);
}
