/* SPDX-License-Identifier: BSD-3-Clause */
/* Every allocation, every call of SQLite and every access to its files fails in turn, while the
 * service starts: on a database that is there, and on none. Either it starts and knows all, or it
 * says why not and leaves the database as it was; and then it starts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../plugin/broker.h"
#include "../../plugin/service.h"
#include "loop_world.h"

static struct world world;

struct start {
    bool fresh; /* there is no database yet */
    char path[200];
    char roles[200];
    char *good; /* what a start without a fault knows */
};

static void write_file(const char *path, const void *bytes, size_t len)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static void remove_beside(const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal", ".lock"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        char name[220];
        (void)snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        (void)unlink(name);
    }
}

static void put_database(const struct start *start)
{
    remove_beside(start->path);
    if (!start->fresh) {
        write_file(start->path, world.file, world.file_size);
    }
}

/* What it knows, or NULL: it doesn't start. */
static char *try_start(const struct start *start, struct ota_error *error)
{
    const char *keys[] = {"db_path", "download_listen", "admins", "roles_file"};
    const char *values[] = {start->path, "off", "ann, bob", start->roles};
    struct ota_service *service = calloc(1, sizeof *service);
    struct ota_options options;
    char *text = NULL;
    enum ota_err err = service != NULL ? ota_options_read(keys, values, 4, &options, error)
                                       : ota_error_no_memory(error);
    if (err == OTA_OK) {
        err = ota_service_start(service, &options, "2.0", error);
    }
    faults_disarm();
    if (err == OTA_OK) {
        assert_int_equal(ota_roles_of(&service->roles, "bob"), OTA_ROLE_ADMIN);
        assert_int_equal(ota_roles_of(&service->roles, "carol"), OTA_ROLE_VIEWER);
        text = world_memory_of(&service->core, WORLD_KEPT);
        ota_service_stop(service);
    }
    free(service);
    return text;
}

static void turn(struct loop *loop, void *data)
{
    const struct start *start = data;
    struct ota_error error = {0};
    faults_arm(loop->kind, loop->n, loop->lasting);
    char *text = try_start(start, &error);
    if (text == NULL && error.text[0] == '\0') {
        loop_lie(loop, "the error", "nothing", "a sentence");
    }
    if (text == NULL) {
        struct ota_error none = {0};
        text = try_start(start, &none);
        if (none.code != OTA_OK) {
            loop_lie(loop, "a start after one that failed", none.text, "well");
        }
    }
    loop_same(loop, "what it knows", text != NULL ? text : "nothing", start->good);
    free(text);
    if (start->fresh) {
        put_database(start);
    }
}

static void run_start(struct start *start, const char *name)
{
    struct loop loop = {.name = name, .coarse = 12};
    (void)snprintf(start->path, sizeof start->path, "%s/start.db", world.desk->fix.dir);
    (void)snprintf(start->roles, sizeof start->roles, "%s/roles", world.desk->fix.dir);
    write_file(start->roles, "carol viewer\n", 13);
    put_database(start);
    struct ota_error error = {0};
    start->good = try_start(start, &error);
    assert_string_equal(error.text, "");
    assert_non_null(start->good);
    put_database(start);
    loop_run(&loop, turn, start);
    assert_true(loop.turns[FAULTS_CALL] > 10);
    remove_beside(start->path);
    free(start->good);
}

static void test_starts(void **state)
{
    struct start known = {.fresh = false};
    struct start fresh = {.fresh = true};
    (void)state;
    run_start(&known, "a start");
    run_start(&fresh, "the first start");
    assert_int_equal(loop_lies(), 0);
}

int main(void)
{
    const struct CMUnitTest test = cmocka_unit_test(test_starts);
    return world_main(&world, 0, &test);
}
