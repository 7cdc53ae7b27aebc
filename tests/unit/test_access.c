/* SPDX-License-Identifier: BSD-3-Clause */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "../../plugin/access.h"

struct world {
    struct ota_fleet fleet;
    struct ota_roles roles;
    struct ota_access access;
};

static void add_product(struct world *world, int64_t id, const char *name)
{
    assert_non_null(ota_fleet_add_product(&world->fleet, id, name));
}

static void add_device(struct world *world, int64_t id, int64_t product, const char *name)
{
    struct ota_device_row row = {.id = id, .product_id = product};
    (void)snprintf(row.name, sizeof row.name, "%s", name);
    assert_non_null(ota_fleet_add_device(&world->fleet, &row));
}

static void add_role(struct world *world, const char *user, enum ota_role role)
{
    assert_int_equal(ota_roles_add_list(&world->roles, user, role, NULL), OTA_OK);
}

static void identify(struct world *world, const char *forms)
{
    assert_int_equal(ota_access_parse_identity(forms, &world->access, NULL), OTA_OK);
}

static int setup(void **state)
{
    static struct world world;
    world = (struct world){0};
    ota_fleet_init(&world.fleet);
    add_product(&world, 1, "door");
    add_device(&world, 1, 1, "d1");
    add_device(&world, 2, 1, "d2");
    add_role(&world, "ann", OTA_ROLE_ADMIN);
    add_role(&world, "vic", OTA_ROLE_VIEWER);
    world.access = (struct ota_access){
        .fleet = &world.fleet, .roles = &world.roles, .prefix = "$ota", .prefix_len = 4};
    identify(&world, "username:%p/%d");
    *state = &world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    ota_fleet_free(&world->fleet);
    ota_roles_free(&world->roles);
    return 0;
}

/* --- what a topic is -------------------------------------------------------------------------- */

#define P32 "pppppppppppppppppppppppppppppppp"
#define D48 "dddddddddddddddddddddddddddddddddddddddddddddddd"

struct parse_row {
    const char *topic;
    enum ota_topic_kind kind;
    const char *product; /* NULL: names nothing */
    const char *device;
    const char *rest;
};

static const struct parse_row parse_rows[] = {
    {"$ota/report/door/d1", OTA_TOPIC_REPORT, "door", "d1", ""},
    {"$ota/update/door/d1", OTA_TOPIC_UPDATE, "door", "d1", ""},
    {"$ota/block/door/d1/7/0", OTA_TOPIC_BLOCK, "door", "d1", "/7/0"},
    {"$ota/block/door/d1/#", OTA_TOPIC_BLOCK, "door", "d1", "/#"},
    {"$ota/report/door/a:b_c-D", OTA_TOPIC_REPORT, "door", "a:b_c-D", ""},
    {"$ota/report/" P32 "/" D48, OTA_TOPIC_REPORT, P32, D48, ""},
    {"$ota/report/" P32 "p/d", OTA_TOPIC_REPORT, NULL, NULL, NULL},
    {"$ota/report/p/d" D48, OTA_TOPIC_REPORT, NULL, NULL, NULL},
    {"$ota/report/door/d1/", OTA_TOPIC_REPORT, "door", "d1", "/"},
    {"$ota/report/door/d1/x", OTA_TOPIC_REPORT, "door", "d1", "/x"},
    {"$ota/report", OTA_TOPIC_REPORT, NULL, NULL, NULL},
    {"$ota/report/", OTA_TOPIC_REPORT, NULL, NULL, NULL},
    {"$ota/report/door", OTA_TOPIC_REPORT, NULL, NULL, NULL},
    {"$ota/report/door/", OTA_TOPIC_REPORT, NULL, NULL, NULL},
    {"$ota/report//d1", OTA_TOPIC_REPORT, NULL, NULL, NULL},
    {"$ota/report/+/+", OTA_TOPIC_REPORT, NULL, NULL, NULL},
    {"$ota/report/#", OTA_TOPIC_REPORT, NULL, NULL, NULL},
    {"$ota/report/door/#", OTA_TOPIC_REPORT, NULL, NULL, NULL},
    {"$ota/update/door/+", OTA_TOPIC_UPDATE, NULL, NULL, NULL},
    {"$ota/update/+/d1", OTA_TOPIC_UPDATE, NULL, NULL, NULL},
    {"$ota/event/door", OTA_TOPIC_EVENT, NULL, NULL, NULL},
    {"$ota/event/#", OTA_TOPIC_EVENT, NULL, NULL, NULL},
    {"$ota", OTA_TOPIC_UNKNOWN, NULL, NULL, NULL},
    {"$ota/", OTA_TOPIC_UNKNOWN, NULL, NULL, NULL},
    {"$ota/#", OTA_TOPIC_UNKNOWN, NULL, NULL, NULL},
    {"$ota/+", OTA_TOPIC_UNKNOWN, NULL, NULL, NULL},
    {"$ota/+/door/d1", OTA_TOPIC_UNKNOWN, NULL, NULL, NULL},
    {"$ota/reports/door/d1", OTA_TOPIC_UNKNOWN, NULL, NULL, NULL},
    {"$ota/Report/door/d1", OTA_TOPIC_UNKNOWN, NULL, NULL, NULL},
    {"$ota//report/door/d1", OTA_TOPIC_UNKNOWN, NULL, NULL, NULL},
    {"$otaX/report/door/d1", OTA_TOPIC_FOREIGN, NULL, NULL, NULL},
    {"$OTA/report/door/d1", OTA_TOPIC_FOREIGN, NULL, NULL, NULL},
    {"ota/report/door/d1", OTA_TOPIC_FOREIGN, NULL, NULL, NULL},
    {"/$ota/report/door/d1", OTA_TOPIC_FOREIGN, NULL, NULL, NULL},
    {"", OTA_TOPIC_FOREIGN, NULL, NULL, NULL},
    {"$", OTA_TOPIC_FOREIGN, NULL, NULL, NULL},
    {"#", OTA_TOPIC_FOREIGN, NULL, NULL, NULL},
    {"+/report/door/d1", OTA_TOPIC_FOREIGN, NULL, NULL, NULL},
    {"$SYS/broker/uptime", OTA_TOPIC_FOREIGN, NULL, NULL, NULL},
    {"$share/g/$ota/report/door/d1", OTA_TOPIC_REPORT, "door", "d1", ""},
    {"$share/g/$ota/update/door/d1", OTA_TOPIC_UNKNOWN, "door", "d1", ""},
    {"$share/g/$ota/block/door/d1/#", OTA_TOPIC_UNKNOWN, "door", "d1", "/#"},
    {"$share/g/$ota/#", OTA_TOPIC_UNKNOWN, NULL, NULL, NULL},
    {"$share//$ota/#", OTA_TOPIC_UNKNOWN, NULL, NULL, NULL},
    {"$share/g/$CONTROL/ota/#", OTA_TOPIC_CONTROL, NULL, NULL, NULL},
    {"$share/g/#", OTA_TOPIC_FOREIGN, NULL, NULL, NULL},
    {"$share/g/door", OTA_TOPIC_FOREIGN, NULL, NULL, NULL},
    {"$share/g", OTA_TOPIC_FOREIGN, NULL, NULL, NULL},
    {"$share", OTA_TOPIC_FOREIGN, NULL, NULL, NULL},
    {"$CONTROL/ota/v1", OTA_TOPIC_CONTROL, NULL, NULL, NULL},
    {"$CONTROL/ota/v1/response", OTA_TOPIC_CONTROL, NULL, NULL, NULL},
    {"$CONTROL/ota/#", OTA_TOPIC_CONTROL, NULL, NULL, NULL},
    {"$CONTROL/ota", OTA_TOPIC_CONTROL, NULL, NULL, NULL},
    {"$CONTROL/#", OTA_TOPIC_UNKNOWN, NULL, NULL, NULL},
    {"$CONTROL/+/v1", OTA_TOPIC_UNKNOWN, NULL, NULL, NULL},
    {"$CONTROL/+/#", OTA_TOPIC_UNKNOWN, NULL, NULL, NULL},
    {"$CONTROL/dynamic-security/v1", OTA_TOPIC_FOREIGN, NULL, NULL, NULL},
    {"$CONTROL/otax/v1", OTA_TOPIC_FOREIGN, NULL, NULL, NULL},
    {"$CONTROL", OTA_TOPIC_FOREIGN, NULL, NULL, NULL},
    {"$gateway/operation/door/d1", OTA_TOPIC_GATEWAY, "door", "d1", ""},
    {"$gateway/operation/door/d1/x", OTA_TOPIC_GATEWAY, "door", "d1", "/x"},
    {"$gateway/operation/result/d1", OTA_TOPIC_GATEWAY, "result", "d1", ""},
    {"$gateway/operation/result/door/d1", OTA_TOPIC_GATEWAY_RESULT, "door", "d1", ""},
    {"$gateway/operation/result/door/d1/", OTA_TOPIC_GATEWAY_RESULT, "door", "d1", "/"},
    {"$gateway/operation/result/door/+", OTA_TOPIC_GATEWAY, "result", "door", "/+"},
    {"$gateway/operation/result/#", OTA_TOPIC_GATEWAY, NULL, NULL, NULL},
    {"$gateway/operation/+/d1", OTA_TOPIC_GATEWAY, NULL, NULL, NULL},
    {"$gateway/operation", OTA_TOPIC_GATEWAY, NULL, NULL, NULL},
    {"$gateway/operationx/door/d1", OTA_TOPIC_FOREIGN, NULL, NULL, NULL},
    {"$share/g/$gateway/operation/result/door/d1", OTA_TOPIC_UNKNOWN, "door", "d1", ""},
    {"$gateway/#", OTA_TOPIC_GATEWAY, NULL, NULL, NULL},
    {"$gateway/+/door/d1", OTA_TOPIC_GATEWAY, NULL, NULL, NULL},
    {"$gateway/else/door/d1", OTA_TOPIC_FOREIGN, NULL, NULL, NULL},
};

static void assert_part(const char *topic, const char *want, const char *have, size_t len)
{
    if (strlen(want) != len || memcmp(want, have, len) != 0) {
        fail_msg("%s: wanted %s, found %.*s", topic, want, (int)len, have);
    }
}

static void check_parse(const struct world *world, const struct parse_row *row)
{
    struct ota_topic topic = ota_topic_parse(&world->access, row->topic);
    if (topic.kind != row->kind) {
        fail_msg("%s: is of kind %d", row->topic, topic.kind);
    }
    if (row->product != NULL) {
        assert_part(row->topic, row->product, topic.product, topic.product_len);
        assert_part(row->topic, row->device, topic.device, topic.device_len);
        assert_part(row->topic, row->rest, topic.rest, strlen(topic.rest));
    } else if (row->kind == OTA_TOPIC_REPORT || row->kind == OTA_TOPIC_UPDATE ||
               row->kind == OTA_TOPIC_BLOCK || row->kind == OTA_TOPIC_GATEWAY) {
        assert_null(topic.product);
    }
}

static void test_topics(void **state)
{
    for (size_t i = 0; i < sizeof parse_rows / sizeof parse_rows[0]; i++) {
        check_parse(*state, &parse_rows[i]);
    }
}

static void test_another_prefix(void **state)
{
    struct world *world = *state;
    (void)snprintf(world->access.prefix, sizeof world->access.prefix, "$fw-1");
    world->access.prefix_len = 5;
    assert_int_equal(ota_topic_parse(&world->access, "$fw-1/report/door/d1").kind,
                     OTA_TOPIC_REPORT);
    assert_int_equal(ota_topic_parse(&world->access, "$ota/report/door/d1").kind,
                     OTA_TOPIC_FOREIGN);
}

/* --- who may ---------------------------------------------------------------------------------- */

/* Users: the device d1 of door, its neighbour, an admin, a viewer, somebody, and nobody. */
static const char *const users[] = {"door/d1", "door/d2", "ann", "vic", "bob", NULL};

#define D1    1u
#define D2    2u
#define ANN   4u
#define VIC   8u
#define BOB   16u
#define NUL   32u
#define ROLES (ANN | VIC)

struct rule_row {
    const char *topic;
    unsigned publish; /* who may */
    unsigned subscribe;
    unsigned receive;
};

static const struct rule_row rule_rows[] = {
    {"$ota/report/door/d1", D1, ROLES, ROLES},
    {"$ota/report/door/d2", D2, ROLES, ROLES},
    {"$ota/report/door/new", 0, ROLES, ROLES},
    {"$ota/report/door/d1/x", 0, ROLES, ROLES},
    {"$ota/report/door/d1/", 0, ROLES, ROLES},
    {"$ota/report/#", 0, ROLES, ROLES},
    {"$ota/report/+/d1", 0, ROLES, ROLES},
    {"$ota/report/door/+", 0, ROLES, ROLES},
    {"$share/g/$ota/report/#", 0, ROLES, ROLES},
    {"$ota/update/door/d1", 0, D1, 0},
    {"$ota/update/door/d1/", 0, 0, 0},
    {"$ota/update/door/d1/#", 0, 0, 0},
    {"$ota/update/door/+", 0, 0, 0},
    {"$ota/update/door/#", 0, 0, 0},
    {"$ota/update/+/+", 0, 0, 0},
    {"$ota/update/#", 0, 0, 0},
    {"$share/g/$ota/update/door/d1", 0, 0, 0},
    {"$ota/block/door/d1/#", 0, D1, 0},
    {"$ota/block/door/d1/7/0", 0, 0, 0},
    {"$ota/block/door/d1", 0, 0, 0},
    {"$ota/block/door/d1/+/+", 0, 0, 0},
    {"$ota/block/door/d1/7/#", 0, 0, 0},
    {"$ota/block/#", 0, 0, 0},
    {"$share/g/$ota/block/door/d1/#", 0, 0, 0},
    {"$ota/event/#", 0, ROLES, ROLES},
    {"$ota/event/door/d1", 0, ROLES, ROLES},
    {"$ota/event/door", 0, ROLES, ROLES},
    {"$ota/#", 0, 0, 0},
    {"$ota/+/door/d1", 0, 0, 0},
    {"$ota/+/#", 0, 0, 0},
    {"$ota", 0, 0, 0},
    {"$ota/other", 0, 0, 0},
    {"$CONTROL/ota/v1", ROLES, ROLES, ROLES},
    {"$CONTROL/ota/v1/response", 0, ROLES, ROLES},
    {"$CONTROL/ota/v2", 0, ROLES, ROLES},
    {"$CONTROL/ota", 0, ROLES, ROLES},
    {"$CONTROL/ota/#", 0, ROLES, ROLES},
    {"$CONTROL/#", 0, 0, 0},
    {"$CONTROL/+/v1/response", 0, 0, 0},
    {"$gateway/operation/door/d1", D1, 0, 0},
    {"$gateway/operation/door/d1/", 0, 0, 0},
    {"$gateway/operation/door/new", 0, 0, 0},
    {"$gateway/operation/result/door/d1", 0, D1, 0},
    {"$gateway/operation/result/door/d1/", 0, 0, 0},
    {"$gateway/operation/result/door/d1/#", 0, 0, 0},
    {"$gateway/operation/result/door/+", 0, 0, 0},
    {"$gateway/operation/result/#", 0, 0, 0},
    {"$gateway/operation/#", 0, 0, 0},
    {"$share/g/$gateway/operation/result/door/d1", 0, 0, 0},
    {"$gateway/#", 0, 0, 0},
};

static void check_rule(const struct world *world, const struct rule_row *row, enum ota_access_op op,
                       unsigned who)
{
    struct ota_topic topic = ota_topic_parse(&world->access, row->topic);
    for (size_t i = 0; i < sizeof users / sizeof users[0]; i++) {
        enum ota_access_verdict want = (who >> i & 1) != 0 ? OTA_ACCESS_ALLOW : OTA_ACCESS_DENY;
        if (ota_access_check(&world->access, op, &topic,
                             &(struct ota_identity){.username = users[i]}) != want) {
            fail_msg("%s, operation %d, user %s: not %s", row->topic, op,
                     users[i] != NULL ? users[i] : "(none)",
                     want == OTA_ACCESS_ALLOW ? "allowed" : "denied");
        }
    }
}

static void test_rules(void **state)
{
    for (size_t i = 0; i < sizeof rule_rows / sizeof rule_rows[0]; i++) {
        check_rule(*state, &rule_rows[i], OTA_ACCESS_PUBLISH, rule_rows[i].publish);
        check_rule(*state, &rule_rows[i], OTA_ACCESS_SUBSCRIBE, rule_rows[i].subscribe);
        check_rule(*state, &rule_rows[i], OTA_ACCESS_RECEIVE, rule_rows[i].receive);
    }
}

static void test_foreign_is_others_business(void **state)
{
    static const char *const topics[] = {"a/b", "#", "$SYS/#", "$CONTROL/dynamic-security/v1",
                                         "$share/g/a"};
    struct world *world = *state;
    for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++) {
        struct ota_topic topic = ota_topic_parse(&world->access, topics[i]);
        for (int op = OTA_ACCESS_PUBLISH; op <= OTA_ACCESS_RECEIVE; op++) {
            assert_int_equal(ota_access_check(&world->access, (enum ota_access_op)op, &topic,
                                              &(struct ota_identity){.username = "ann"}),
                             OTA_ACCESS_FOREIGN);
        }
    }
}

/* --- which device a client is ------------------------------------------------------------------
 */

static bool is_device(const struct world *world, const char *names, const char *username)
{
    char text[128];
    (void)snprintf(text, sizeof text, "$ota/report/%s", names);
    struct ota_topic topic = ota_topic_parse(&world->access, text);
    assert_non_null(topic.product);
    return ota_access_is_device(&world->access, &topic,
                                &(struct ota_identity){.username = username});
}

static void test_identity_slash(void **state)
{
    struct world *world = *state;
    assert_true(is_device(world, "door/d1", "door/d1"));
    assert_false(is_device(world, "door/d1", "door/d2"));
    assert_false(is_device(world, "door/d1", "doord1"));
    assert_false(is_device(world, "door/d1", "door/d1/"));
    assert_false(is_device(world, "door/d1", "door//d1"));
    assert_false(is_device(world, "door/d1", "/door/d1"));
    assert_false(is_device(world, "door/d1", "Door/d1"));
    assert_false(is_device(world, "door/d1", "door/d"));
    assert_false(is_device(world, "door/d1", "door/d11"));
    assert_false(is_device(world, "door/d1", "door"));
    assert_false(is_device(world, "door/d1", "/"));
    assert_false(is_device(world, "door/d1", ""));
    assert_false(is_device(world, "door/d1", NULL));
}

static void test_identity_of_unknown_devices(void **state)
{
    struct world *world = *state;
    assert_false(is_device(world, "door/new", "door/new"));
    world->access.auto_register = true;
    assert_true(is_device(world, "door/new", "door/new"));
    assert_false(is_device(world, "gate/new", "gate/new")); /* no such product */
}

static void test_identity_joined(void **state)
{
    struct world *world = *state;
    identify(world, "username:%p%d");
    assert_true(is_device(world, "door/d1", "doord1"));
    assert_false(is_device(world, "door/d1", "door/d1"));
    assert_false(is_device(world, "door/d1", "doord2"));
    assert_false(is_device(world, "door/d1", "door"));
    assert_false(is_device(world, "door/d1", ""));
    assert_false(is_device(world, "door/d1", NULL));
    world->access.auto_register = true;
    assert_true(is_device(world, "door/new", "doornew"));
}

/* "doorx" + "1" and "door" + "x1": nobody can tell, so it is neither. */
static void test_identity_joined_twice_is_nobody(void **state)
{
    struct world *world = *state;
    identify(world, "username:%p%d");
    add_product(world, 2, "doorx");
    add_device(world, 3, 2, "1");
    assert_true(is_device(world, "doorx/1", "doorx1")); /* door has no x1 yet */
    add_device(world, 4, 1, "x1");
    assert_false(is_device(world, "doorx/1", "doorx1"));
    assert_false(is_device(world, "door/x1", "doorx1"));
    assert_true(is_device(world, "door/d1", "doord1"));
    world->access.auto_register = true;
    add_device(world, 5, 2, "2");
    assert_false(is_device(world, "doorx/2", "doorx2")); /* door's x2 might come */
}

static void test_identity_of_several_forms(void **state)
{
    struct world *world = *state;
    identify(world, "username:%p/%d,username:%p%d");
    assert_true(is_device(world, "door/d1", "door/d1"));
    assert_true(is_device(world, "door/d1", "doord1"));
    assert_false(is_device(world, "door/d1", "door/d2"));
}

static void test_identity_proved(void **state)
{
    struct world *world = *state;
    struct ota_topic own = ota_topic_parse(&world->access, "$ota/report/door/d1");
    struct ota_topic other = ota_topic_parse(&world->access, "$ota/report/door/d2");
    struct ota_identity who = {.username = "door/d2", .proved = true};
    identify(world, "none");
    assert_false(ota_access_is_device(&world->access, &own, &who)); /* it was taken back */
    assert_false(ota_access_is_device(&world->access, &other, &who));
    const struct ota_product *door = ota_fleet_product(&world->fleet, "door", 4);
    who.device = ota_fleet_device(&world->fleet, door, "d1", 2);
    assert_non_null(who.device);
    assert_true(ota_access_is_device(&world->access, &own, &who));
    assert_false(ota_access_is_device(&world->access, &other, &who));
}

static void test_identity_none(void **state)
{
    struct world *world = *state;
    identify(world, "none");
    assert_true(is_device(world, "door/d1", NULL));
    assert_true(is_device(world, "door/d1", "anybody"));
    struct ota_topic wild = ota_topic_parse(&world->access, "$ota/update/+/+");
    assert_int_equal(ota_access_check(&world->access, OTA_ACCESS_SUBSCRIBE, &wild,
                                      &(struct ota_identity){.username = NULL}),
                     OTA_ACCESS_DENY);
}

static void test_identity_option(void **state)
{
    static const char *const bad[] = {
        "x",    "username",       "username:%p/%d,", ",",
        "NONE", "username:%d/%p", "none none",       "none,none,none,none,none",
        ""};
    struct world *world = *state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct ota_error error = {0};
        if (ota_access_parse_identity(bad[i], &world->access, &error) == OTA_OK) {
            fail_msg("\"%s\" was taken", bad[i]);
        }
        assert_string_equal(error.field, "device_identity");
    }
}

static void test_ambiguous_products(void **state)
{
    struct world *world = *state;
    assert_false(ota_access_makes_ambiguous(&world->access, "doorbell")); /* only where joined */
    world->access.joined_logins = true;
    assert_true(ota_access_makes_ambiguous(&world->access, "doorbell"));
    world->access.joined_logins = false;
    identify(world, "username:%p/%d,username:%p%d");
    assert_true(ota_access_makes_ambiguous(&world->access, "doorbell"));
    assert_true(ota_access_makes_ambiguous(&world->access, "do"));
    assert_false(ota_access_makes_ambiguous(&world->access, "gate"));
    assert_false(ota_access_makes_ambiguous(&world->access, "dook"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_topics),
        TEST(test_another_prefix),
        TEST(test_rules),
        TEST(test_foreign_is_others_business),
        TEST(test_identity_slash),
        TEST(test_identity_of_unknown_devices),
        TEST(test_identity_joined),
        TEST(test_identity_joined_twice_is_nobody),
        TEST(test_identity_of_several_forms),
        TEST(test_identity_proved),
        TEST(test_identity_none),
        TEST(test_identity_option),
        TEST(test_ambiguous_products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
