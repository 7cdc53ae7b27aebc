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

#include "../../plugin/fleet.h"
#include "../../plugin/fleet_conn.h"
#include "../../plugin/fleet_task.h"
#include "fake_broker.h"

static uint32_t seed;

static uint32_t draw(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

static struct ota_device *add_device(struct ota_fleet *fleet, int64_t id, int64_t product,
                                     const char *name, const char *version)
{
    struct ota_device_row row = {.id = id, .product_id = product};
    (void)snprintf(row.name, sizeof row.name, "%s", name);
    (void)snprintf(row.version, sizeof row.version, "%s", version);
    return ota_fleet_add_device(fleet, &row);
}

static struct ota_firmware *add_firmware(struct ota_fleet *fleet, int64_t id, int64_t product,
                                         const char *version)
{
    struct ota_firmware_row row = {.id = id, .product_id = product};
    (void)snprintf(row.version, sizeof row.version, "%s", version);
    return ota_fleet_add_firmware(fleet, &row);
}

/* --- against a naive model ----------------------------------------------------------------------
 */

#define PRODUCTS 4
#define DEVICES  160
#define VERSIONS 6
#define CLIENTS  10
#define FAR      9000 /* ids lie apart, so that pages are made and skipped */

struct model_device {
    bool present;
    int version; /* 0: none */
    int client;  /* 0: offline */
    bool dirty;
};

struct world {
    struct ota_fleet fleet;
    struct model_device devices[DEVICES];
    struct mosquitto clients[CLIENTS + 1];
};

static int64_t id_of(int i)
{
    return 1 + i % 20 + (int64_t)(i / 20) * FAR;
}

static int64_t product_of(int i)
{
    return 1 + i % PRODUCTS;
}

/* Two products' devices share names. */
static void name_of(int i, char *name)
{
    (void)sprintf(name, "dev%d", i / PRODUCTS);
}

static struct ota_device *find(const struct world *world, int i)
{
    char name[16];
    name_of(i, name);
    const struct ota_product *product = ota_fleet_product_by_id(&world->fleet, product_of(i));
    return ota_fleet_device(&world->fleet, product, name, strlen(name));
}

static const char *version_name(int version)
{
    static const char *const names[VERSIONS + 1] = {"", "1", "1.0", "2", "2.0.0", "v", "v_x-1"};
    return names[version];
}

static void flip_device(struct world *world, int i)
{
    struct model_device *model = &world->devices[i];
    char name[16];
    name_of(i, name);
    if (model->present) {
        ota_fleet_remove_device(&world->fleet, find(world, i));
        *model = (struct model_device){.present = false};
        return;
    }
    *model = (struct model_device){.present = true, .version = (int)draw(VERSIONS + 1)};
    assert_non_null(
        add_device(&world->fleet, id_of(i), product_of(i), name, version_name(model->version)));
}

static void change_version(struct world *world, int i)
{
    struct ota_device *device = find(world, i);
    int version = (int)draw(VERSIONS + 1);
    struct ota_version *made =
        version != 0 ? ota_fleet_version(&world->fleet, device->product, version_name(version))
                     : NULL;
    if (draw(5) == 0) { /* the commit fails: what was made for it goes */
        ota_fleet_drop_version(&world->fleet, device->product,
                               version != 0 ? version_name(version) : "");
        return;
    }
    ota_fleet_set_version(&world->fleet, device, made);
    world->devices[i].version = version;
}

static void change_client(struct world *world, int i)
{
    struct ota_device *device = find(world, i);
    int client = (int)draw(CLIENTS + 1);
    struct ota_conn *conn = NULL;
    if (client != 0) {
        conn = ota_fleet_conn(&world->fleet, &world->clients[client]);
        if (conn == NULL) {
            conn = ota_fleet_add_conn(&world->fleet, &world->clients[client], "id");
        }
    }
    ota_fleet_set_conn(&world->fleet, device, conn);
    world->devices[i].client = client;
}

static void drop_client(struct world *world)
{
    int client = 1 + (int)draw(CLIENTS);
    struct ota_conn *conn = ota_fleet_conn(&world->fleet, &world->clients[client]);
    if (conn == NULL) {
        return;
    }
    while (conn->devices != NULL) {
        ota_fleet_set_conn(&world->fleet, conn->devices, NULL);
    }
    ota_fleet_remove_conn(&world->fleet, conn);
    for (int i = 0; i < DEVICES; i++) {
        world->devices[i].client =
            world->devices[i].client == client ? 0 : world->devices[i].client;
    }
}

static void check_product(const struct world *world, int64_t id)
{
    const struct ota_product *product = ota_fleet_product_by_id(&world->fleet, id);
    uint32_t devices = 0;
    uint32_t online = 0;
    uint32_t of_version[VERSIONS + 1] = {0};
    for (int i = 0; i < DEVICES; i++) {
        const struct model_device *model = &world->devices[i];
        if (model->present && product_of(i) == id) {
            devices++;
            online += model->client != 0;
            of_version[model->version]++;
        }
    }
    assert_int_equal(product->devices, devices);
    assert_int_equal(product->online, online);
    size_t versions = 0;
    for (int v = 1; v <= VERSIONS; v++) {
        assert_int_equal(ota_fleet_version_count(&world->fleet, product, version_name(v)),
                         of_version[v]);
        versions += of_version[v] > 0;
    }
    assert_int_equal(product->versions.count, versions); /* none that nobody runs */
}

static void check_device(const struct world *world, int i)
{
    const struct model_device *model = &world->devices[i];
    const struct ota_device *device = find(world, i);
    assert_int_equal(device != NULL, model->present);
    assert_ptr_equal(ota_fleet_device_by_id(&world->fleet, id_of(i)), device);
    if (device == NULL) {
        return;
    }
    assert_int_equal(device->id, id_of(i));
    assert_string_equal(device->version != NULL ? device->version->text : "",
                        version_name(model->version));
    assert_ptr_equal(device->conn != NULL ? device->conn->client : NULL,
                     model->client != 0 ? &world->clients[model->client] : NULL);
}

/* Each connection's list holds its devices, each once, linked both ways. */
static void check_lists(const struct world *world)
{
    size_t listed = 0;
    size_t online = 0;
    const struct ota_conn *conn;
    for (size_t at = 0; (conn = ota_index_next(&world->fleet.conns, &at)) != NULL;) {
        const struct ota_device *before = NULL;
        for (const struct ota_device *device = conn->devices; device != NULL;
             before = device, device = device->next_of_conn, listed++) {
            assert_ptr_equal(device->conn, conn);
            assert_ptr_equal(device->prev_of_conn, before);
        }
    }
    for (int i = 0; i < DEVICES; i++) {
        online += world->devices[i].present && world->devices[i].client != 0;
    }
    assert_int_equal(listed, online);
    assert_int_equal(world->fleet.online_count, online);
}

static void check_world(const struct world *world)
{
    uint32_t present = 0;
    for (int i = 0; i < DEVICES; i++) {
        check_device(world, i);
        present += world->devices[i].present;
    }
    assert_int_equal(world->fleet.device_count, present);
    for (int64_t id = 1; id <= PRODUCTS; id++) {
        check_product(world, id);
    }
    check_lists(world);
}

static void do_something(struct world *world)
{
    int i = (int)draw(DEVICES);
    uint32_t what = draw(8);
    if (what == 0) {
        drop_client(world);
    } else if (what <= 2 || !world->devices[i].present) {
        flip_device(world, i);
    } else if (what <= 5) {
        change_client(world, i);
    } else {
        change_version(world, i);
    }
}

static struct world *new_world(void)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    ota_fleet_init(&world->fleet);
    for (int64_t id = 1; id <= PRODUCTS; id++) {
        char name[16];
        (void)snprintf(name, sizeof name, "p%d", (int)id);
        assert_non_null(ota_fleet_add_product(&world->fleet, id, name));
    }
    return world;
}

static void test_random_operations(void **state)
{
    struct world *world = new_world();
    (void)state;
    seed = 1;
    for (int i = 0; i < 20000; i++) {
        do_something(world);
        if (i % 250 == 0) {
            check_world(world);
        }
    }
    check_world(world);
    ota_fleet_free(&world->fleet);
    free(world);
}

/* --- the dirty bits ------------------------------------------------------------------------------
 */

static void mark_some(struct world *world)
{
    for (int i = 0; i < DEVICES; i++) {
        if (world->devices[i].present && draw(3) == 0) {
            ota_fleet_mark(&world->fleet.dirty, find(world, i));
            world->devices[i].dirty = true;
        }
    }
}

static void check_sweep(struct world *world)
{
    uint32_t at = 0;
    uint32_t last = 0;
    size_t count = 0;
    struct ota_device *device;
    while ((device = ota_fleet_take_marked(&world->fleet, &world->fleet.dirty, &at)) != NULL) {
        assert_true(device->id > last); /* in id order, each once */
        last = device->id;
        count++;
    }
    for (int i = 0; i < DEVICES; i++) {
        count -= world->devices[i].present && world->devices[i].dirty;
        world->devices[i].dirty = false;
    }
    assert_int_equal(count, 0);
    at = 0;
    assert_null(ota_fleet_take_marked(&world->fleet, &world->fleet.dirty, &at));
}

static void test_dirty_bits(void **state)
{
    struct world *world = new_world();
    (void)state;
    uint32_t at = 0;
    assert_null(ota_fleet_take_marked(&world->fleet, &world->fleet.dirty, &at));
    seed = 5;
    for (int i = 0; i < 100; i++) {
        for (int j = 0; j < 20; j++) {
            int which = (int)draw(DEVICES);
            world->devices[which].dirty = false;
            flip_device(world, which);
        }
        mark_some(world);
        check_sweep(world);
    }
    ota_fleet_free(&world->fleet);
    free(world);
}

/* --- products that are deleted -------------------------------------------------------------------
 */

static void test_doomed_product_goes_in_slices(void **state)
{
    struct world *world = new_world();
    struct ota_fleet *fleet = &world->fleet;
    (void)state;
    seed = 9;
    for (int i = 0; i < DEVICES; i++) {
        flip_device(world, i);
        change_client(world, i);
    }
    for (int i = 1; i <= 400; i++) {
        assert_non_null(add_firmware(fleet, i, i % 2 == 1 ? 2 : 3, "1"));
    }
    ota_fleet_doom_product(fleet, ota_fleet_product(fleet, "p2", 2));
    assert_null(ota_fleet_product(fleet, "p2", 2));
    assert_null(ota_fleet_product_by_id(fleet, 2));
    for (int i = 1; i <= 400; i++) {
        assert_int_equal(ota_fleet_firmware(fleet, i) == NULL, i % 2 == 1);
    }
    assert_null(ota_fleet_device_by_id(fleet, id_of(1)));
    assert_non_null(ota_fleet_device_by_id(fleet, id_of(2)));
    assert_non_null(ota_fleet_add_product(fleet, 77, "p2")); /* its name is free at once */

    uint32_t before = fleet->device_count;
    int slices = 0;
    while (ota_fleet_purge(fleet, 1000)) {
        assert_true(before - fleet->device_count <= 20); /* no more ids than that a slice */
        before = fleet->device_count;
        assert_true(++slices < 1000);
    }
    assert_true(slices > 10);
    assert_int_equal(fleet->device_count, DEVICES / PRODUCTS * 3);
    assert_false(ota_fleet_purge(fleet, 1000));
    for (int i = 0; i < DEVICES; i++) {
        if (product_of(i) == 2) {
            world->devices[i].present = false;
        }
    }
    check_lists(world);
    ota_fleet_free(fleet);
    free(world);
}

static void test_a_second_one_meanwhile(void **state)
{
    struct world *world = new_world();
    struct ota_fleet *fleet = &world->fleet;
    (void)state;
    for (int i = 0; i < DEVICES; i++) {
        flip_device(world, i);
    }
    ota_fleet_doom_product(fleet, ota_fleet_product(fleet, "p1", 2));
    assert_true(ota_fleet_purge(fleet, 30000));
    ota_fleet_doom_product(fleet, ota_fleet_product(fleet, "p3", 2));
    while (ota_fleet_purge(fleet, 5000)) {
    }
    assert_int_equal(fleet->device_count, DEVICES / 2);
    assert_null(fleet->doomed);
    ota_fleet_doom_product(fleet, ota_fleet_product(fleet, "p2", 2));
    ota_fleet_free(fleet); /* in the midst of it */
    free(world);
}

/* --- the rest -----------------------------------------------------------------------------------
 */

static void test_names_are_whole(void **state)
{
    struct world *world = new_world();
    struct ota_fleet *fleet = &world->fleet;
    (void)state;
    const struct ota_product *product = ota_fleet_product(fleet, "p1/d", 2);
    assert_non_null(product); /* unterminated texts */
    assert_null(ota_fleet_product(fleet, "p1", 1));
    assert_null(ota_fleet_product(fleet, "p1x", 3));
    assert_null(ota_fleet_product(fleet, "", 0));
    assert_non_null(add_device(fleet, 1, 1, "abc", ""));
    assert_non_null(ota_fleet_device(fleet, product, "abcd", 3));
    assert_null(ota_fleet_device(fleet, product, "abc", 2));
    assert_null(ota_fleet_device(fleet, product, "abcd", 4));
    ota_fleet_free(fleet);
    free(world);
}

static void test_ids_out_of_range(void **state)
{
    struct world *world = new_world();
    struct ota_fleet *fleet = &world->fleet;
    (void)state;
    assert_null(add_device(fleet, 0, 1, "a", ""));
    assert_null(add_device(fleet, -1, 1, "a", ""));
    assert_null(add_device(fleet, INT64_C(1) << 32, 1, "a", ""));
    assert_null(add_device(fleet, 1, 99, "a", "")); /* no such product */
    assert_null(ota_fleet_device_by_id(fleet, 0));
    assert_null(ota_fleet_device_by_id(fleet, -5));
    assert_null(ota_fleet_device_by_id(fleet, INT64_MAX));
    assert_int_equal(fleet->device_count, 0);
    assert_non_null(add_device(fleet, 1, 1, "a", ""));
    assert_null(add_device(fleet, 1, 1, "b", "")); /* the id is taken */
    assert_int_equal(fleet->device_count, 1);
    assert_null(ota_fleet_device(fleet, ota_fleet_product_by_id(fleet, 1), "b", 1));
    ota_fleet_free(fleet);
    free(world);
}

static void test_firmware(void **state)
{
    struct world *world = new_world();
    struct ota_fleet *fleet = &world->fleet;
    (void)state;
    struct ota_firmware *one = add_firmware(fleet, 1, 1, "1.0");
    struct ota_firmware *two = add_firmware(fleet, 2, 2, "1.0");
    assert_ptr_equal(ota_fleet_firmware(fleet, 1), one);
    assert_ptr_equal(ota_fleet_firmware_of(fleet, 1, "1.0"), one);
    assert_ptr_equal(ota_fleet_firmware_of(fleet, 2, "1.0"), two);
    assert_null(ota_fleet_firmware_of(fleet, 3, "1.0"));
    assert_null(ota_fleet_firmware_of(fleet, 1, "1"));
    one->unfinished = 3;
    assert_int_equal(ota_fleet_unfinished_of(fleet, ota_fleet_product_by_id(fleet, 1)), 3);
    assert_int_equal(ota_fleet_unfinished_of(fleet, ota_fleet_product_by_id(fleet, 2)), 0);
    ota_fleet_remove_firmware(fleet, one);
    assert_null(ota_fleet_firmware(fleet, 1));
    ota_fleet_remove_product(fleet, ota_fleet_product_by_id(fleet, 2));
    assert_null(ota_fleet_firmware(fleet, 2));
    ota_fleet_free(fleet);
    free(world);
}

static void test_tasks_are_counted(void **state)
{
    struct world *world = new_world();
    struct ota_fleet *fleet = &world->fleet;
    struct ota_task_row row = {.id = 5, .device_id = 1, .firmware_id = 1, .retry_on = "-1"};
    (void)state;
    struct ota_device *device = add_device(fleet, 1, 1, "a", "");
    struct ota_firmware *firmware = add_firmware(fleet, 1, 1, "1.0");
    device->may_settle = true;
    struct ota_task *task = ota_task_new(fleet, &row);
    assert_null(device->task);
    ota_fleet_link_task(fleet, task);
    assert_ptr_equal(device->task, task);
    assert_int_equal(device->last_task, 5);
    assert_false(device->may_settle);
    assert_int_equal(firmware->unfinished, 1);
    assert_int_equal(fleet->task_count, 1);
    ota_fleet_unlink_task(fleet, task);
    ota_task_free(fleet, task);
    assert_null(device->task);
    assert_int_equal(firmware->unfinished, 0);
    assert_int_equal(fleet->task_count, 0);
    row.device_id = 2;
    assert_null(ota_task_new(fleet, &row));
    ota_task_free(fleet, NULL);
    ota_fleet_free(fleet);
    free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_operations),
        cmocka_unit_test(test_dirty_bits),
        cmocka_unit_test(test_doomed_product_goes_in_slices),
        cmocka_unit_test(test_a_second_one_meanwhile),
        cmocka_unit_test(test_names_are_whole),
        cmocka_unit_test(test_ids_out_of_range),
        cmocka_unit_test(test_firmware),
        cmocka_unit_test(test_tasks_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
