/* SPDX-License-Identifier: BSD-3-Clause */
/* The first line is a topic or filter, the rest a user name; none of both is trusted. */
#include "fuzz.h"

#include "../../plugin/access.h"
#include "../../plugin/fleet_gateway.h"

static struct ota_fleet fleet;
static struct ota_roles roles;
static struct ota_access access = {
    .fleet = &fleet, .roles = &roles, .prefix = "$ota", .prefix_len = 4};

static struct ota_device *add_device(int64_t id, int64_t product, const char *name)
{
    struct ota_device_row row = {.id = id, .product_id = product};
    (void)snprintf(row.name, sizeof row.name, "%s", name);
    struct ota_device *device = ota_fleet_add_device(&fleet, &row);
    FUZZ_CHECK(device != NULL);
    return device;
}

/* Two products, so that a joined user name may have two readings. */
static void build_world(void)
{
    ota_fleet_init(&fleet);
    FUZZ_CHECK(ota_fleet_add_product(&fleet, 1, "door") != NULL);
    FUZZ_CHECK(ota_fleet_add_product(&fleet, 2, "do") != NULL);
    struct ota_device *device = add_device(1, 1, "d1");
    struct ota_device *gateway = add_device(2, 2, "ord1");
    FUZZ_CHECK(ota_fleet_bind(&fleet, device, gateway) != NULL);
    FUZZ_CHECK(ota_roles_add_list(&roles, "ann", OTA_ROLE_VIEWER, NULL) == OTA_OK);
    FUZZ_CHECK(ota_access_parse_identity("username:%p/%d,username:%p%d", &access, NULL) == OTA_OK);
}

/* Its gateway may for d1 of door what d1 may; "do" and "ord1" are "door" and "d1", too, so that the
 * joined name of the two is nobody's. */
static bool speaks_for(const struct ota_topic *topic, const char *user)
{
    return topic->product_len == 4 && memcmp(topic->product, "door", 4) == 0 &&
           topic->device_len == 2 && memcmp(topic->device, "d1", 2) == 0 &&
           strcmp(user, "do/ord1") == 0;
}

static void check(const struct ota_topic *topic, const char *user)
{
    const struct ota_identity who = {.username = user};
    const struct ota_identity nobody = {.proved = true};
    bool device = topic->product != NULL && topic->kind != OTA_TOPIC_EVENT &&
                  ota_access_is_device(&access, topic, &who);
    for (enum ota_access_op op = OTA_ACCESS_PUBLISH; op <= OTA_ACCESS_RECEIVE; op++) {
        enum ota_access_verdict verdict = ota_access_check(&access, op, topic, &who);
        FUZZ_CHECK((verdict == OTA_ACCESS_FOREIGN) == (topic->kind == OTA_TOPIC_FOREIGN));
        FUZZ_CHECK(verdict != OTA_ACCESS_ALLOW || device || strcmp(user, "ann") == 0);
        FUZZ_CHECK(verdict != OTA_ACCESS_ALLOW_GATEWAY || speaks_for(topic, user));
    }
    FUZZ_CHECK(
        !ota_access_is_allowed(ota_access_check(&access, OTA_ACCESS_RECEIVE, topic, &nobody)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (fleet.products.count == 0) {
        build_world();
    }
    char *text = fuzz_text(data, size);
    char *user = fuzz_cut(text, '\n');
    struct ota_topic topic = ota_topic_parse(&access, text);
    if (topic.product != NULL && topic.kind != OTA_TOPIC_EVENT) {
        FUZZ_CHECK(ota_name_is_product(topic.product, topic.product_len));
        FUZZ_CHECK(ota_name_is_device(topic.device, topic.device_len));
        FUZZ_CHECK(topic.rest == topic.device + topic.device_len);
    }
    access.auto_register = size % 2 == 0;
    check(&topic, user);
    free(text);
    return 0;
}
