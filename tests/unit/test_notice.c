/* SPDX-License-Identifier: BSD-3-Clause */
#include "fixture.h"

#include <stdio.h>
#include <string.h>

#include "../../plugin/devices.h"
#include "../../plugin/notice.h"
#include "../../plugin/util/names.h"
#include "signature_answers.h"

#define UPDATE "$ota/update/door/d1"

/* What a vendor device takes in one packet (tencent-sdk.md, "Connection"). */
#define PACKET_MAX 2048

static void sign(struct ota_firmware *firmware, int64_t order)
{
    strcpy(firmware->row.signature, BY_KEY_1);
    firmware->row.order = order;
}

static void test_an_unsigned_notice_has_no_signature(void **state)
{
    struct fixture *fix = *state;
    fixture_connect(fix);
    ota_notice_send(&fix->core, fixture_plain_task(fix, fix->device));
    json_t *notice = fixture_last(UPDATE);
    assert_null(json_object_get(notice, "signature"));
    assert_null(json_object_get(notice, "order"));
    json_decref(notice);
}

static void test_a_signed_notice_says_all_that_was_signed(void **state)
{
    struct fixture *fix = *state;
    fixture_connect(fix);
    sign(fix->firmware, -7);
    ota_notice_send(&fix->core, fixture_plain_task(fix, fix->device));
    json_t *notice = fixture_last(UPDATE);
    assert_string_equal(json_string_value(json_object_get(notice, "signature")), BY_KEY_1);
    assert_int_equal(json_integer_value(json_object_get(notice, "order")), -7);
    assert_string_equal(json_string_value(json_object_get(notice, "version")), "2.0");
    assert_non_null(json_object_get(notice, "sha256"));
    assert_true(json_integer_value(json_object_get(notice, "file_size")) > 0);
    json_decref(notice);
}

/* As a QoS 0 PUBLISH: type, remaining length in two bytes, the topic with its length, the payload.
 */
static size_t packet_size(const struct fake_message *message)
{
    return 3 + 2 + strlen(message->topic) + message->len;
}

static void make_long(char *name, size_t len)
{
    memset(name, 'x', len);
    name[len] = '\0';
}

/* Every name, number and option as long as it may be. */
static void test_the_longest_notice(void **state)
{
    struct fixture *fix = *state;
    char product[OTA_PRODUCT_MAX + 1];
    char device[OTA_DEVICE_MAX + 1];
    char version[OTA_VERSION_MAX + 1];
    char topic[200];
    make_long(product, OTA_PRODUCT_MAX);
    make_long(device, OTA_DEVICE_MAX);
    make_long(version, OTA_VERSION_MAX);
    make_long(fix->core.settings.download_url, 255);
    make_long(fix->core.settings.topic_prefix, 32);
    fix->product = fixture_product(fix, product);
    fix->firmware = fixture_firmware(fix, version);
    fix->device = fixture_device(fix, device, "1.0");
    fixture_connect(fix);
    struct ota_task *task = fixture_plain_task(fix, fix->device);
    sign(fix->firmware, -1000000000000);
    fix->firmware->row.size = 1073741824;
    int64_t ids[] = {fix->firmware->row.id, task->id};
    uint32_t device_id = fix->device->id;
    fix->firmware->row.id = task->id = INT64_MAX;
    fix->device->id = UINT32_MAX;
    task->up.attempt = INT32_MAX;
    ota_notice_send(&fix->core, task);
    fix->firmware->row.id = ids[0];
    task->id = ids[1];
    fix->device->id = device_id;
    (void)snprintf(topic, sizeof topic, "%s/update/%s/%s", fix->core.settings.topic_prefix, product,
                   device);
    const struct fake_message *message = fake_broker_last_on(topic);
    assert_non_null(message);
    assert_non_null(strstr(message->payload, ",\"order\":-1000000000000}"));
    assert_true(packet_size(message) <= PACKET_MAX);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_an_unsigned_notice_has_no_signature),
        TEST(test_a_signed_notice_says_all_that_was_signed),
        TEST(test_the_longest_notice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
