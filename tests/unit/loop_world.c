/* SPDX-License-Identifier: BSD-3-Clause */
#include "loop_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/batch.h"
#include "../../plugin/broker.h"
#include "../../plugin/fleet_gateway.h"
#include "../../plugin/presence.h"

#define ABC_SHA256 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define IDS_MAX    200

/* --- making ----------------------------------------------------------------------------------- */

static void good(struct world *world, const char *command)
{
    desk_good(world->desk, command);
}

static void add_devices(struct world *world)
{
    static const char *const names[] = {"d2", "d3", "d4", "d5", "d6", "b1",
                                        "b2", "b3", "b4", "b5", "b6"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)fixture_device(&world->desk->fix, names[i],
                             strcmp(names[i], "d4") != 0 ? "1.0" : NULL);
    }
    for (int i = 0; i < world->crowd; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "c%d", i);
        (void)fixture_device(&world->desk->fix, name, "1.0");
    }
}

static void connect_device(struct world *world, const char *name)
{
    struct ota_core *core = &world->desk->fix.core;
    struct ota_device *device =
        ota_fleet_device(&core->fleet, world->desk->fix.product, name, strlen(name));
    if (device != NULL) { /* else a command has deleted it */
        ota_presence_sign(core, world_client(world, name), device, OTA_SIGN_REPORTED);
    }
}

static void connect_all(struct world *world)
{
    static const char *const names[] = {"d1", "d2", "b2", "b4", "b5"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        connect_device(world, names[i]);
    }
    for (int i = 0; i < world->crowd; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "c%d", i);
        connect_device(world, name);
    }
}

static void run(struct world *world, int64_t ms, int64_t step)
{
    for (; ms > 0; ms -= step) {
        desk_later(world->desk, step);
    }
}

/* Uploads 1 (waits for its second half), 2 (complete) and 3 (empty). */
static void add_uploads(struct world *world)
{
#define ANNOUNCE(version, size)                                                                    \
    "\"command\":\"addFirmware\",\"product\":\"door\",\"version\":\"" version                      \
    "\",\"filename\":\"a.bin\",\"size\":" #size ",\"sha256\":\"" ABC_SHA256 "\""
    good(world, ANNOUNCE("4.0", 6));
    good(world, ANNOUNCE("5.0", 3));
    good(world, ANNOUNCE("6.0", 3));
    good(world, "\"command\":\"uploadFirmwareBlock\",\"upload\":3,\"offset\":0,\"data\":\"YWJj\"");
    good(world, "\"command\":\"uploadFirmwareBlock\",\"upload\":4,\"offset\":0,\"data\":\"YWJj\"");
}

#define BATCH(target)                                                                              \
    "\"command\":\"createBatch\",\"product\":\"door\",\"version\":\"2.0\",\"target\":"             \
    "{\"devices\":[" target "]}"

/* Batch 1 is finished, and b5 failed in it; its tasks are old. */
static void add_failures(struct world *world)
{
    good(world, BATCH("\"b5\",\"b6\"") ",\"maxInFlight\":1");
    connect_device(world, "b5");
    run(world, 5000, 100);
    run(world, 2 * FIX_TIMEOUT, 1000);
    good(world, "\"command\":\"upgradeDevice\",\"product\":\"door\",\"device\":\"d2\","
                "\"version\":\"2.0\"");
    connect_device(world, "d2");
    run(world, 5000, 100);
    good(world, "\"command\":\"cancelTask\",\"task\":3"); /* that was noticed */
}

/* Batch 2 is a draft, 3 has stages and runs, 4 is paused, 5 may be ended. */
static void add_batches(struct world *world)
{
    good(world, BATCH("\"b1\"") ",\"draft\":true");
    good(world, BATCH("\"b2\",\"b3\"") ",\"stages\":[{\"count\":1,\"minSuccessPercent\":100},"
                                       "{\"percent\":100}]");
    good(world, BATCH("\"b4\""));
    run(world, 200, 100);
    good(world, "\"command\":\"pauseBatch\",\"batch\":4");
}

static void make(struct world *world)
{
    add_devices(world);
    desk_open_device_auth(world->desk);
    for (int i = 0; i < 3; i++) {
        static const char *const secret_of[] = {"b5", "d1", "d2"};
        char command[160];
        (void)snprintf(command, sizeof command,
                       "\"command\":\"setDeviceSecret\",\"product\":\"door\",\"device\":\"%s\","
                       "\"secret\":\"AAECAwQFBgcICQoLDA0ODw==\"",
                       secret_of[i]);
        good(world, command);
    }
    (void)fixture_firmware(&world->desk->fix, "3.0");
    good(world, "\"command\":\"createProduct\",\"product\":\"lamp\"");
    good(world, "\"command\":\"createDevice\",\"product\":\"lamp\",\"device\":\"l1\"");
    good(world, "\"command\":\"bindDevice\",\"product\":\"door\",\"device\":\"b6\","
                "\"gatewayProduct\":\"lamp\",\"gateway\":\"l1\"");
    good(world, "\"command\":\"createToken\",\"name\":\"ci\",\"role\":\"admin\"");
    add_failures(world);
    add_uploads(world);
    add_batches(world);
    good(world, "\"command\":\"upgradeDevice\",\"product\":\"door\",\"device\":\"d3\","
                "\"version\":\"2.0\",\"retry\":{\"max\":2,\"delaySeconds\":30,\"on\":[-1]}");
    good(world, "\"command\":\"upgradeDevice\",\"product\":\"door\",\"device\":\"d1\","
                "\"version\":\"2.0\"");
    connect_all(world);
    run(world, 5000, 100);
}

/* --- as it was made --------------------------------------------------------------------------- */

static void keep_file(struct world *world)
{
    FILE *file = fopen(world->desk->fix.path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    world->file_size = (size_t)ftell(file);
    world->file = malloc(world->file_size);
    assert_non_null(world->file);
    rewind(file);
    assert_int_equal(fread(world->file, 1, world->file_size, file), world->file_size);
    (void)fclose(file);
}

static void put_file(const struct world *world)
{
    FILE *file = fopen(world->desk->fix.path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(world->file, 1, world->file_size, file), world->file_size);
    assert_int_equal(fclose(file), 0);
}

static void shut(struct world *world)
{
    assert_int_equal(sqlite3_close(world->reader), SQLITE_OK);
    world->reader = NULL;
    desk_stop(world->desk, true);
}

static void start(struct world *world)
{
    fake_broker_clear_messages();
    fake_broker_set_unix(world->unix_ms);
    desk_start(world->desk);
    connect_all(world);
    assert_int_equal(
        sqlite3_open_v2(world->desk->fix.path, &world->reader, SQLITE_OPEN_READONLY, NULL),
        SQLITE_OK);
    (void)world_changed(world);
}

void world_restore(struct world *world)
{
    shut(world);
    put_file(world);
    start(world);
}

void world_reload(struct world *world)
{
    shut(world);
    start(world);
}

void world_cool(struct world *world)
{
    if (loop_is_full()) {
        world_restore(world);
        return;
    }
    fake_broker_clear_messages();
    desk_reload(world->desk);
    connect_all(world);
}

void world_open(struct world *world, int crowd)
{
    void *desk = NULL;
    *world = (struct world){.crowd = crowd};
    assert_int_equal(desk_setup(&desk), 0);
    world->desk = desk;
    faults_set_random('m');
    make(world);
    faults_set_random('r');
    desk_stop(world->desk, false);
    keep_file(world);
    world->unix_ms = ota_now_unix();
    start(world);
}

void world_close(struct world *world)
{
    void *desk = world->desk;
    assert_int_equal(sqlite3_close(world->reader), SQLITE_OK);
    (void)desk_teardown(&desk);
    free(world->file);
}

struct mosquitto *world_client(struct world *world, const char *device)
{
    int i = 0;
    while (world->names[i][0] != '\0' && strcmp(world->names[i], device) != 0) {
        i++;
    }
    assert_in_range(i, 0, WORLD_DEVICES - 1);
    (void)snprintf(world->names[i], sizeof world->names[i], "%s", device);
    world->clients[i] = (struct mosquitto){.id = world->names[i], .username = "door"};
    return &world->clients[i];
}

/* --- what the database holds ------------------------------------------------------------------ */

bool world_changed(struct world *world)
{
    sqlite3_stmt *statement;
    int64_t before = world->version;
    assert_int_equal(sqlite3_prepare_v2(world->reader, "PRAGMA data_version", -1, &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    world->version = sqlite3_column_int64(statement, 0);
    assert_int_equal(sqlite3_finalize(statement), SQLITE_OK);
    return world->version != before;
}

static void put_blob(const unsigned char *bytes, int len, FILE *out)
{
    (void)fputc(' ', out);
    for (int i = 0; i < len; i++) {
        (void)fprintf(out, "%02x", bytes[i]);
    }
}

/* What is sealed is different bytes each time. */
static bool is_random(sqlite3_stmt *statement, int column)
{
    return strcmp(sqlite3_column_name(statement, column), "sealed") == 0;
}

static void put_row(sqlite3_stmt *statement, const char *table, FILE *out)
{
    (void)fprintf(out, "%s:", table);
    for (int i = 0; i < sqlite3_column_count(statement); i++) {
        if (is_random(statement, i)) {
            (void)fprintf(out, " %d bytes", sqlite3_column_bytes(statement, i));
            continue;
        }
        if (sqlite3_column_type(statement, i) == SQLITE_BLOB) {
            put_blob(sqlite3_column_blob(statement, i), sqlite3_column_bytes(statement, i), out);
            continue;
        }
        const char *text = (const char *)sqlite3_column_text(statement, i);
        (void)fprintf(out, " %s", text != NULL ? text : "NULL");
    }
    (void)fputc('\n', out);
}

static void put_table(sqlite3 *db, const char *table, FILE *out)
{
    char sql[128];
    sqlite3_stmt *statement;
    (void)snprintf(sql, sizeof sql, "SELECT * FROM \"%s\" ORDER BY 1, 2", table);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    while (sqlite3_step(statement) == SQLITE_ROW) {
        put_row(statement, table, out);
    }
    assert_int_equal(sqlite3_finalize(statement), SQLITE_OK);
}

char *world_rows(struct world *world)
{
    char *text = NULL;
    size_t size = 0;
    sqlite3_stmt *tables;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_int_equal(sqlite3_prepare_v2(world->reader,
                                        "SELECT name FROM sqlite_schema WHERE type = 'table' "
                                        "AND name <> 'meta' ORDER BY name",
                                        -1, &tables, NULL),
                     SQLITE_OK);
    while (sqlite3_step(tables) == SQLITE_ROW) {
        put_table(world->reader, (const char *)sqlite3_column_text(tables, 0), out);
    }
    assert_int_equal(sqlite3_finalize(tables), SQLITE_OK);
    (void)fclose(out);
    return text;
}

/* --- what memory knows ------------------------------------------------------------------------ */

static void put_upgrade(const struct ota_upgrade *up, enum world_detail detail, FILE *out)
{
    (void)fprintf(out, " status %d/%d/%d attempt %d retries %d flags %u code %d", up->status,
                  up->confirmation, up->ending, up->attempt, up->retries, (unsigned)up->flags,
                  up->has_result_code ? up->result_code : 0);
    if (detail < WORLD_STANDING) {
        (void)fprintf(out, " deadline %lld retry %d/%lld %s", (long long)up->deadline,
                      up->retry_max, (long long)up->retry_delay_ms,
                      up->retry_on != NULL ? up->retry_on : "");
    }
}

static void put_device(const struct ota_fleet *fleet, const struct ota_device *device,
                       enum world_detail detail, FILE *out)
{
    const struct ota_task *task = device->task;
    const struct ota_device *gateway = ota_fleet_gateway_of(fleet, device);
    (void)fprintf(out, "device %u %s/%s version %s hold %d last %lld", device->id,
                  device->product->name, device->name,
                  device->version != NULL ? device->version->text : "-", device->hold,
                  (long long)device->last_task);
    if (gateway != NULL) {
        (void)fprintf(out, " gateway %s/%s", gateway->product->name, gateway->name);
    }
    if (detail == WORLD_ALL) {
        (void)fprintf(out, " online %d settle %d", device->conn != NULL, device->may_settle);
    }
    if (task != NULL) {
        (void)fprintf(out, " task %lld firmware %lld batch %lld message %s", (long long)task->id,
                      (long long)(task->firmware != NULL ? task->firmware->row.id : 0),
                      (long long)(task->batch != NULL ? task->batch->row.id : 0),
                      task->device_message != NULL ? task->device_message : "-");
        put_upgrade(&task->up, detail, out);
    }
    if (task != NULL && detail < WORLD_STANDING) {
        (void)fprintf(out, " event %lld sent %lld", (long long)task->last_event,
                      (long long)task->sent_at);
    }
    if (task != NULL && detail == WORLD_ALL) {
        (void)fprintf(out, " percent %d planned %d queued %d", task->up.percent, task->heap_at != 0,
                      task->queued);
    }
    (void)fputc('\n', out);
}

static void put_tally(const struct ota_tally *tally, FILE *out)
{
    for (size_t i = 0; i < sizeof tally->by_status / sizeof *tally->by_status; i++) {
        (void)fprintf(out, " %lld", (long long)tally->by_status[i]);
    }
    (void)fprintf(out, " %lld %lld", (long long)tally->confirmed, (long long)tally->contradicted);
}

static void put_batch(const struct ota_batch *batch, enum world_detail detail, FILE *out)
{
    const struct ota_batch_row *row = &batch->row;
    (void)fprintf(out, "batch %lld %s state %d/%d prepared %d stages %zu/%lld settled %d",
                  (long long)row->id, row->name, row->state, row->reason, row->prepared,
                  batch->stage_count, (long long)row->open_stages, row->tallied);
    if (detail < WORLD_STANDING) {
        (void)fprintf(out, " pace %lld %lld %lld/%lld times %lld %lld %lld %lld",
                      (long long)row->rate_per_minute, (long long)row->max_in_flight,
                      (long long)row->threshold_percent, (long long)row->threshold_min,
                      (long long)row->start_at, (long long)row->expire_at,
                      (long long)row->started_at, (long long)row->finished_at);
    }
    if (detail == WORLD_ALL) {
        (void)fprintf(out, " in line %zu", batch->queue.count);
    }
    for (size_t i = 0; i < batch->stage_count; i++) {
        (void)fprintf(out, " [%d", batch->stages[i].state);
        put_tally(&batch->stages[i].tally, out);
        (void)fputc(']', out);
    }
    (void)fputc('\n', out);
}

static void put_totals(const struct ota_fleet *fleet, const struct ota_core *core,
                       enum world_detail detail, FILE *out)
{
    (void)fprintf(out, "devices %u tasks %u live %u firmware %zu products %zu batches %zu",
                  fleet->device_count, fleet->task_count, fleet->live_count, fleet->firmware.count,
                  fleet->products.count, fleet->batches.count);
    if (detail == WORLD_ALL) {
        (void)fprintf(out, " online %u due %zu service %lld", fleet->online_count, core->due.count,
                      (long long)core->service_ms);
    }
    (void)fputc('\n', out);
}

char *world_memory(struct world *world, enum world_detail detail)
{
    return world_memory_of(&world->desk->fix.core, detail);
}

char *world_memory_of(const struct ota_core *core, enum world_detail detail)
{
    char *text = NULL;
    size_t size = 0;
    const struct ota_fleet *fleet = &core->fleet;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    put_totals(fleet, core, detail, out);
    for (int64_t id = 1; id <= IDS_MAX; id++) {
        const struct ota_product *product = ota_fleet_product_by_id(fleet, id);
        const struct ota_firmware *firmware = ota_fleet_firmware(fleet, id);
        const struct ota_device *device = ota_fleet_device_by_id(fleet, id);
        const struct ota_batch *batch = ota_fleet_batch(fleet, id);
        if (product != NULL) {
            (void)fprintf(out, "product %lld %s devices %u versions %zu\n", (long long)id,
                          product->name, product->devices, product->versions.count);
        }
        if (firmware != NULL) {
            (void)fprintf(out, "firmware %lld %s tasks %u batches %u\n", (long long)id,
                          firmware->row.version, firmware->unfinished, firmware->batches);
        }
        if (device != NULL) {
            put_device(fleet, device, detail, out);
        }
        if (batch != NULL) {
            put_batch(batch, detail, out);
        }
    }
    (void)fclose(out);
    return text;
}

/* --- before and after ------------------------------------------------------------------------- */

struct world_state world_state(struct world *world)
{
    return (struct world_state){world_rows(world), world_memory(world, WORLD_ALL),
                                world_memory(world, WORLD_KEPT)};
}

void world_free_state(struct world_state *state)
{
    free(state->rows);
    free(state->memory);
    free(state->kept);
}

static void check_memory(struct world *world, struct loop *loop, bool done, const char *want)
{
    char *memory = world_memory(world, WORLD_ALL);
    loop_same(loop, done ? "memory, and it was done" : "memory, and it wasn't done", memory, want);
    free(memory);
}

static bool check_rows(struct world *world, struct loop *loop, const struct world_state *after)
{
    bool changed = world_changed(world);
    if (changed) {
        char *rows = world_rows(world);
        loop_same(loop, "the database", rows, after->rows);
        free(rows);
    }
    return changed;
}

bool world_check(struct world *world, struct loop *loop, const struct world_state *before,
                 const struct world_state *after)
{
    bool changed = check_rows(world, loop, after);
    check_memory(world, loop, changed, changed ? after->memory : before->memory);
    return changed;
}

bool world_check_as(struct world *world, struct loop *loop, bool done,
                    const struct world_state *before, const struct world_state *after)
{
    bool changed = check_rows(world, loop, after);
    check_memory(world, loop, done, done ? after->memory : before->memory);
    return changed;
}

void world_check_kept(struct world *world, struct loop *loop, const struct world_state *state)
{
    world_reload(world);
    char *memory = world_memory(world, WORLD_KEPT);
    loop_same(loop, "memory, and what a start makes of the database", state->kept, memory);
    free(memory);
}

int world_main(struct world *world, int crowd, const struct CMUnitTest *test)
{
    const struct CMUnitTest tests[] = {*test};
    faults_install();
    world_open(world, crowd);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    world_close(world);
    return failed;
}
