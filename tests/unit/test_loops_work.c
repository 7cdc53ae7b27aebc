/* SPDX-License-Identifier: BSD-3-Clause */
/* Every allocation, every call of SQLite and every access to its files fails in turn, while the
 * tick does what is due: notices, batches and their slices, late writes, purges, retention, the
 * audit. Nobody is told of a failure there; so it must all come about once the faults are over, as
 * if there had been none, and a start must make the same of the database. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/broker.h"
#include "loop_world.h"

#define CROWD    70 /* more than the heap of due work has room for at first */
#define DAY_MS   INT64_C(86400000)
#define STEP_MS  100
#define FAULT_MS 1500

static struct world world;

struct task {
    const char *name;
    void (*begin)(void);
    int64_t after_ms; /* how long it has for what is left */
    char *rows;       /* without a fault; NULL: times differ */
    char *standing;
};

static void run(int64_t ms, int64_t step)
{
    for (; ms > 0; ms -= step) {
        desk_later(world.desk, step);
    }
}

/* --- what is to be done ----------------------------------------------------------------------- */

static void begin_batch(void)
{
    desk_good(world.desk,
              "\"command\":\"createBatch\",\"product\":\"door\",\"version\":\"3.0\","
              "\"target\":{\"fromVersions\":[\"1.0\"]},\"maxInFlight\":1000,"
              "\"stages\":[{\"percent\":50,\"minSuccessPercent\":1},{\"percent\":100}]");
}

static void begin_cancelling(void)
{
    begin_batch();
    run(1000, STEP_MS);
    desk_good(world.desk, "\"command\":\"cancelBatch\",\"batch\":5,\"running\":\"cancel\"");
}

static void begin_retrying(void)
{
    desk_good(world.desk, "\"command\":\"retryBatch\",\"batch\":1");
}

static void begin_purging(void)
{
    desk_good(world.desk, "\"command\":\"deleteDevice\",\"product\":\"door\",\"device\":\"b5\"");
    desk_good(world.desk, "\"command\":\"deleteProduct\",\"product\":\"lamp\",\"force\":true");
    desk_good(world.desk, "\"command\":\"abortFirmware\",\"upload\":3");
}

static void begin_forgetting(void)
{
    world.desk->fix.core.settings.keep_history_ms = DAY_MS;
    world.desk->fix.core.settings.keep_audit_ms = DAY_MS;
    fake_broker_set_unix(world.unix_ms + 30 * DAY_MS);
}

static void begin_refusing(void)
{
    desk_bad(world.desk, "\"command\":\"createProduct\",\"product\":\"lamp\"", "already_exists");
    desk_bad(world.desk, "\"command\":\"deleteDevice\",\"product\":\"door\",\"device\":\"d1\"",
             "conflict");
}

static struct task tasks[] = {
    {.name = "a batch", .begin = begin_batch, .after_ms = 2 * FIX_TIMEOUT},
    {.name = "cancelling", .begin = begin_cancelling, .after_ms = 10000},
    {.name = "retrying", .begin = begin_retrying, .after_ms = 80000}, /* aside for a minute */
    {.name = "purging", .begin = begin_purging, .after_ms = 130000},
    {.name = "forgetting", .begin = begin_forgetting, .after_ms = 130000},
    {.name = "refusals", .begin = begin_refusing, .after_ms = 10000},
};

/* --- one of them ------------------------------------------------------------------------------ */

static char *count_rows(void)
{
    char *rows = world_rows(&world);
    char *counts = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&counts, &size);
    assert_non_null(out);
    for (char *line = rows; *line != '\0'; line = strchr(line, '\n') + 1) {
        (void)fprintf(out, "%.*s\n", (int)strcspn(line, ":"), line);
    }
    (void)fclose(out);
    free(rows);
    return counts;
}

static void do_it(const struct task *task, const struct loop *loop)
{
    world_restore(&world);
    task->begin();
    if (loop != NULL) {
        faults_arm(loop->kind, loop->n, loop->lasting);
    }
    run(FAULT_MS, STEP_MS);
    faults_disarm();
    run(task->after_ms, task->after_ms > 20000 ? 1000 : STEP_MS);
}

static void turn(struct loop *loop, void *data)
{
    const struct task *task = data;
    do_it(task, loop);
    assert_false(world.desk->fix.core.in_transaction);
    char *rows = count_rows();
    loop_same(loop, "what is in the database", rows, task->rows);
    free(rows);
    char *standing = world_memory(&world, WORLD_STANDING);
    loop_same(loop, "what came of it", standing, task->standing);
    char *kept = world_memory(&world, WORLD_KEPT);
    world_check_kept(&world, loop, &(struct world_state){.kept = kept});
    free(standing);
    free(kept);
}

static void run_task(struct task *task)
{
    struct loop loop = {.name = task->name, .coarse = 4};
    do_it(task, NULL);
    task->rows = count_rows();
    task->standing = world_memory(&world, WORLD_STANDING);
    loop_run(&loop, turn, task);
    assert_true(loop.turns[FAULTS_CALL] > 3);
    free(task->rows);
    free(task->standing);
}

static void test_all_that_is_due(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++) {
        if (loop_wanted(tasks[i].name)) {
            run_task(&tasks[i]);
        }
    }
    assert_int_equal(loop_lies(), 0);
}

int main(void)
{
    const struct CMUnitTest test = cmocka_unit_test(test_all_that_is_due);
    return world_main(&world, CROWD, &test);
}
