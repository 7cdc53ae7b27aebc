/* SPDX-License-Identifier: BSD-3-Clause */
/* getStats: what the devices of a product run. */
#include "desk.h"

#include <stdio.h>
#include <string.h>

static void add(struct desk *desk, const char *version, int count)
{
    static int number;
    for (; count > 0; count--) {
        char name[16];
        (void)snprintf(name, sizeof name, "e%d", number++);
        (void)fixture_device(&desk->fix, name, version);
    }
}

/* "1.0 3;unknown 1": all that are shown, but for those beyond `most`. */
static const char *versions(struct desk *desk, size_t most)
{
    static char text[200];
    json_t *data = desk_data(desk, "\"command\":\"getStats\",\"product\":\"door\"");
    const json_t *rows = json_object_get(data, "versions");
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < json_array_size(rows) && i < most; i++) {
        const json_t *row = json_array_get(rows, i);
        const char *version = json_string_value(json_object_get(row, "version"));
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s %d", used > 0 ? ";" : "",
                                 version != NULL ? version : "unknown",
                                 (int)json_integer_value(json_object_get(row, "devices")));
    }
    json_decref(data);
    return text;
}

static void test_versions_come_in_order(void **state)
{
    struct desk *desk = *state; /* d1 runs 1.0 */
    assert_string_equal(versions(desk, 10), "1.0 1");
    add(desk, "0.9", 2);
    add(desk, "3.0", 4);
    add(desk, "2.0", 2);
    add(desk, "1.1", 2);
    add(desk, NULL, 3);
    assert_string_equal(versions(desk, 10), "3.0 4;unknown 3;0.9 2;1.1 2;2.0 2;1.0 1");
}

/* More than are shown: those with the most devices are, and nobody else's count is wrong. */
static void test_very_many_versions(void **state)
{
    struct desk *desk = *state;
    for (int i = 0; i < 1100; i++) {
        char version[16];
        (void)snprintf(version, sizeof version, "9.%d", i);
        add(desk, version, 1);
    }
    add(desk, "2.0", 3);
    add(desk, NULL, 2);
    assert_string_equal(versions(desk, 4), "2.0 3;unknown 2;1.0 1;9.0 1");
    json_t *data = desk_data(desk, "\"command\":\"getStats\",\"product\":\"door\"");
    assert_int_equal(json_array_size(json_object_get(data, "versions")), 1000);
    json_decref(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_versions_come_in_order, desk_setup, desk_teardown),
        cmocka_unit_test_setup_teardown(test_very_many_versions, desk_setup, desk_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
