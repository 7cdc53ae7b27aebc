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
#include "loop.h"
#include "loop_world.h"

#define TICKS_MAX 4000

static struct world world;

/* What a command is asked with: its fields, as JSON without braces; and where it says itself
 * whether it was done, the file that then is there. NULL: no script, and the test fails. */
static const struct script {
    const char *fields;
    const char *file;
} scripts[OTA_COMMAND_COUNT] = {
    [OTA_CMD_CREATE_PRODUCT] = {.fields =
                                    "\"product\":\"gate-of-the-garden\",\"description\":\"new\""},
    [OTA_CMD_UPDATE_PRODUCT] = {.fields = "\"product\":\"lamp\",\"description\":\"changed\""},
    [OTA_CMD_DELETE_PRODUCT] = {.fields = "\"product\":\"lamp\",\"force\":true"},
    [OTA_CMD_LIST_PRODUCTS] = {.fields = "\"limit\":10"},
    [OTA_CMD_ADD_FIRMWARE] = {.fields =
                                  "\"product\":\"door\",\"version\":\"7.0\",\"filename\":\"a.bin\","
                                  "\"size\":3,\"sha256\":\"" FIX_SHA256 "\""},
    [OTA_CMD_UPLOAD_FIRMWARE_BLOCK] = {.fields = "\"upload\":3,\"offset\":3,\"data\":\"YWJj\""},
    [OTA_CMD_COMMIT_FIRMWARE] = {.fields = "\"upload\":4"},
    [OTA_CMD_ABORT_FIRMWARE] = {.fields = "\"upload\":5"},
    [OTA_CMD_LIST_FIRMWARE] = {.fields = "\"product\":\"door\""},
    [OTA_CMD_GET_FIRMWARE] = {.fields = "\"product\":\"door\",\"version\":\"2.0\""},
    [OTA_CMD_DELETE_FIRMWARE] = {.fields = "\"product\":\"door\",\"version\":\"3.0\""},
    [OTA_CMD_CREATE_DEVICE] = {.fields =
                                   "\"product\":\"door\",\"device\":\"new\",\"tags\":[\"a\",\"b\"],"
                                   "\"description\":\"in the cellar\""},
    [OTA_CMD_UPDATE_DEVICE] = {.fields = "\"product\":\"door\",\"device\":\"d3\",\"tags\":[\"x\"],"
                                         "\"hold\":true"},
    [OTA_CMD_DELETE_DEVICE] = {.fields = "\"product\":\"door\",\"device\":\"b5\""},
    [OTA_CMD_SET_DEVICE_SECRET] = {.fields = "\"product\":\"door\",\"device\":\"d2\","
                                             "\"secret\":\"AAECAwQFBgcICQoLDA0ODxAREhM=\""},
    [OTA_CMD_DELETE_DEVICE_SECRET] = {.fields = "\"product\":\"door\",\"device\":\"d1\""},
    [OTA_CMD_GET_DEVICE] = {.fields = "\"product\":\"door\",\"device\":\"d1\""},
    [OTA_CMD_LIST_DEVICES] = {.fields = "\"product\":\"door\",\"limit\":8"},
    [OTA_CMD_LIST_DEVICE_HISTORY] = {.fields = "\"product\":\"door\",\"device\":\"d1\""},
    [OTA_CMD_EXPLAIN_DEVICE] = {.fields = "\"product\":\"door\",\"device\":\"d3\""},
    [OTA_CMD_BIND_DEVICE] = {.fields = "\"product\":\"door\",\"device\":\"d5\","
                                       "\"gatewayProduct\":\"lamp\",\"gateway\":\"l1\""},
    [OTA_CMD_UNBIND_DEVICE] = {.fields = "\"product\":\"door\",\"device\":\"b6\","
                                         "\"gatewayProduct\":\"lamp\",\"gateway\":\"l1\""},
    [OTA_CMD_LIST_VERSIONS] = {.fields = "\"product\":\"door\""},
    [OTA_CMD_UPGRADE_DEVICE] = {.fields =
                                    "\"product\":\"door\",\"device\":\"d1\",\"version\":\"3.0\","
                                    "\"override\":true,\"retry\":{\"max\":1,\"delaySeconds\":30}"},
    [OTA_CMD_LIST_TASKS] = {.fields = "\"product\":\"door\",\"limit\":5"},
    [OTA_CMD_GET_TASK] = {.fields = "\"task\":3"},
    [OTA_CMD_CANCEL_TASK] = {.fields = "\"task\":7"},
    [OTA_CMD_RETRY_TASK] = {.fields = "\"task\":3"},
    [OTA_CMD_CREATE_BATCH] = {.fields =
                                  "\"product\":\"door\",\"version\":\"3.0\",\"name\":\"autumn\","
                                  "\"target\":{\"fromVersions\":[\"1.0\"]},"
                                  "\"stages\":[{\"count\":1,\"minSuccessPercent\":90},"
                                  "{\"percent\":100}]"},
    [OTA_CMD_ADD_BATCH_DEVICES] = {.fields = "\"batch\":2,\"devices\":[\"d5\",\"d6\"]"},
    [OTA_CMD_START_BATCH] = {.fields = "\"batch\":2"},
    [OTA_CMD_UPDATE_BATCH] = {.fields = "\"batch\":3,\"name\":\"winter\",\"maxInFlight\":7"},
    [OTA_CMD_LIST_BATCHES] = {.fields = "\"product\":\"door\""},
    [OTA_CMD_GET_BATCH] = {.fields = "\"batch\":3"},
    [OTA_CMD_PAUSE_BATCH] = {.fields = "\"batch\":3"},
    [OTA_CMD_RESUME_BATCH] = {.fields = "\"batch\":4"},
    [OTA_CMD_ADVANCE_BATCH] = {.fields = "\"batch\":3"},
    [OTA_CMD_CANCEL_BATCH] = {.fields = "\"batch\":3,\"running\":\"cancel\""},
    [OTA_CMD_RETRY_BATCH] = {.fields = "\"batch\":1"},
    [OTA_CMD_GET_STATS] = {.fields = "\"product\":\"door\""},
    [OTA_CMD_LIST_AUDIT] = {.fields = "\"limit\":6"},
    [OTA_CMD_CREATE_TOKEN] = {.fields = "\"name\":\"nightly\",\"role\":\"operator\""},
    [OTA_CMD_LIST_TOKENS] = {.fields = "\"limit\":3"},
    [OTA_CMD_REVOKE_TOKEN] = {.fields = "\"token\":1"},
    [OTA_CMD_BACKUP] = {.fields = "\"name\":\"copy.db\"", .file = "copy.db"},
    [OTA_CMD_GET_INFO] = {.fields = "\"correlationData\":\"c\""},
};

/* --- asking ----------------------------------------------------------------------------------- */

struct trial {
    const struct ota_command *command;
    const struct script *script;
    char message[700];
    int len;
    char *good; /* its answer without a fault */
    struct world_state before;
    struct world_state after;
};

/* The clock that people read stands still. */
static bool has_answer(struct desk *desk)
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
    fail_msg("it never ends");
    return false;
}

/* The response, or NULL: none came. */
static char *ask(const struct trial *trial)
{
    struct desk *desk = world.desk;
    fake_broker_clear_messages();
    ota_control_receive(desk->control, &desk->admin, OTA_ROLE_ADMIN, trial->message,
                        (size_t)trial->len);
    bool has = has_answer(desk);
    faults_disarm();
    return has ? strdup(fake_broker_last_on(OTA_CONTROL_RESPONSE)->payload) : NULL;
}

/* "" where it was done. */
static void code_of(struct loop *loop, const char *answer, char *code, size_t size)
{
    json_t *root = json_loads(answer, 0, NULL);
    json_t *responses = json_object_get(root, "responses");
    const json_t *response = json_array_get(responses, 0);
    const char *have = json_string_value(json_object_get(response, "code"));
    bool has_data = json_object_get(response, "data") != NULL;
    if (json_array_size(responses) != 1 || has_data == (have != NULL)) {
        loop_lie(loop, "the form of the answer", answer, "one response to one command");
    }
    (void)snprintf(code, size, "%s", have != NULL ? have : "");
    json_decref(root);
}

/* --- one command ------------------------------------------------------------------------------ */

static void path_of(const struct trial *trial, char *path, size_t size)
{
    (void)snprintf(path, size, "%s/%s", world.desk->fix.dir, trial->script->file);
}

/* There is a file exactly where it was done. It is removed. */
static void check_file(struct loop *loop, const struct trial *trial, bool done)
{
    char path[200];
    if (trial->script->file == NULL) {
        return;
    }
    path_of(trial, path, sizeof path);
    bool is_there = unlink(path) == 0;
    if (is_there != done) {
        loop_lie(loop, "the file", done ? "gone" : "there", done ? "there" : "gone");
    }
}

static void check_answer(struct loop *loop, const struct trial *trial, const char *answer,
                         bool done)
{
    char code[32];
    if (answer == NULL) { /* then nobody was told anything */
        return;
    }
    code_of(loop, answer, code, sizeof code);
    if (code[0] == '\0') {
        loop_same(loop, "the answer", answer, trial->good);
        if (done != trial->command->writes) {
            loop_lie(loop, "it wasn't done, and answered", answer, "an error");
        }
    } else if (done || (strcmp(code, "unavailable") != 0 && strcmp(code, "internal") != 0)) {
        loop_lie(loop, done ? "it was done, and refused" : "the reason", answer, "unavailable");
    }
}

static void turn(struct loop *loop, void *data)
{
    const struct trial *trial = data;
    int lies = loop->lies;
    if (loop->cold) {
        world_cool(&world);
    }
    faults_arm(loop->kind, loop->n, loop->lasting);
    char *answer = ask(trial);
    bool met = faults_fired();
    bool done = world_check(&world, loop, &trial->before, &trial->after);
    check_file(loop, trial, done);
    check_answer(loop, trial, answer, done);
    if (!met) { /* after all these faults it works */
        loop_same(loop, "without a fault", answer != NULL ? answer : "silence", trial->good);
    }
    if (loop->end) {
        world_check_kept(&world, loop, &trial->after);
    }
    free(answer);
    if (done || loop->lies > lies) {
        world_restore(&world);
    }
}

/* What it does when all is well. */
static void learn(struct loop *loop, struct trial *trial)
{
    char code[32];
    world_restore(&world);
    trial->before = world_state(&world);
    trial->good = ask(trial);
    assert_non_null(trial->good);
    code_of(loop, trial->good, code, sizeof code);
    if (code[0] != '\0') {
        fail_msg("%s", trial->good);
    }
    trial->after = world_state(&world);
    bool done = world_changed(&world);
    assert_int_equal(done, trial->command->writes);
    check_file(loop, trial, done);
    world_restore(&world);
}

static void write_message(struct trial *trial)
{
    const struct ota_command *command = trial->command;
    if (trial->script->fields == NULL) {
        fail_msg("%s has no script here: give it one", command->name);
    }
    trial->len = snprintf(trial->message, sizeof trial->message,
                          "{\"commands\":[{\"command\":\"%s\",%s%s}]}", command->name,
                          trial->script->fields, command->writes ? ",\"requestId\":\"r-1\"" : "");
}

static void run_command(const struct ota_command *command)
{
    struct loop loop = {.name = command->name, .coarse = scripts[command->id].file != NULL ? 8 : 0};
    struct trial trial = {.command = command, .script = &scripts[command->id]};
    write_message(&trial);
    learn(&loop, &trial);
    loop_run(&loop, turn, &trial);
    assert_true(loop.turns[FAULTS_MEMORY] > 10);
    free(trial.good);
    world_free_state(&trial.before);
    world_free_state(&trial.after);
}

static void test_every_command(void **state)
{
    (void)state;
    for (int id = 0; id < OTA_COMMAND_COUNT; id++) {
        const struct ota_command *command = ota_command((enum ota_command_id)id);
        if (loop_wanted(command->name)) {
            run_command(command);
        }
    }
    assert_int_equal(loop_lies(), 0);
}

int main(void)
{
    const struct CMUnitTest test = cmocka_unit_test(test_every_command);
    return world_main(&world, 0, &test);
}
