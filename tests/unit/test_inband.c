/* SPDX-License-Identifier: BSD-3-Clause */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../plugin/block_check.h"
#include "../../plugin/inband.h"
#include "../../plugin/presence.h"
#include "../../plugin/tasks.h"

#define UPDATE  "$ota/update/door/d1"
#define SIZE    300001
#define CROWD   300
#define RATE    1000000
#define PREFIX  "$ota/block/door/"
#define SOURCES 8

/* --- the images: byte N of each is N modulo 251; the one with this id can't be read --------------
 */

static int64_t broken_image;
static int loads;

static unsigned char byte_at(int64_t offset)
{
    return (unsigned char)(offset % 251);
}

enum ota_err __wrap_ota_reader_copy_image(struct ota_reader *reader, int64_t image, int64_t size,
                                          int fd, struct ota_error *error);

enum ota_err __wrap_ota_reader_copy_image(struct ota_reader *reader, int64_t image, int64_t size,
                                          int fd, struct ota_error *error)
{
    (void)reader;
    loads++;
    if (image == broken_image) {
        return ota_error_set(error, OTA_UNAVAILABLE, NULL, "a test's fault");
    }
    unsigned char *bytes = malloc((size_t)size);
    assert_non_null(bytes);
    for (int64_t i = 0; i < size; i++) {
        bytes[i] = byte_at(i);
    }
    assert_int_equal(pwrite(fd, bytes, (size_t)size, 0), size);
    free(bytes);
    return OTA_OK;
}

/* --- memory that is out
 * --------------------------------------------------------------------------- */

static bool no_memory;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

void *__wrap_calloc(size_t count, size_t size)
{
    return no_memory ? NULL : __real_calloc(count, size);
}

/* --- a house with devices ----------------------------------------------------------------------
 */

struct house {
    struct fixture fix;
    struct ota_images *images;
    struct ota_worker loader; /* not started: the test loads */
    struct ota_inband *inband;
    struct ota_device *devices[CROWD];
    struct mosquitto clients[CROWD];
    char ids[CROWD][16];
};

static void open_inband(struct house *house, int64_t rate, int64_t rate_total)
{
    ota_inband_free(house->inband);
    house->inband = ota_inband_new(&(struct ota_inband_config){.core = &house->fix.core,
                                                               .images = house->images,
                                                               .loader = &house->loader,
                                                               .rate = rate,
                                                               .rate_total = rate_total});
    assert_non_null(house->inband);
}

static int setup(void **state)
{
    struct house *house = calloc(1, sizeof *house);
    assert_non_null(house);
    fixture_open(&house->fix);
    broken_image = 0;
    loads = 0;
    assert_int_equal(ota_images_open(NULL, &house->images, NULL), OTA_OK);
    open_inband(house, 8388608, 33554432);
    house->fix.firmware->row.size = SIZE;
    *state = house;
    return 0;
}

static int teardown(void **state)
{
    struct house *house = *state;
    ota_images_stop(house->images);
    ota_inband_free(house->inband);
    ota_images_close(house->images);
    fixture_close(&house->fix);
    free(house);
    return 0;
}

static void tick(struct house *house, int64_t ms)
{
    fake_broker_advance(ms);
    ota_core_tick_clock(&house->fix.core);
    ota_dispatch_tick(&house->fix.dispatch);
    ota_inband_tick(house->inband);
}

static void load_all(struct house *house)
{
    while (ota_images_load(house->images, ota_now_mono(), NULL)) {
    }
}

/* The fixture's device with a task whose notice went out. */
static int64_t offer(struct house *house)
{
    fixture_connect(&house->fix);
    int64_t task = fixture_plain_task(&house->fix, house->fix.device)->id;
    tick(house, 1);
    assert_int_equal(house->fix.device->task->up.status, OTA_MESSAGE_SENT);
    fake_broker_clear_messages();
    return task;
}

static void ask(struct house *house, int64_t task, int64_t offset, int length, int count)
{
    ota_inband_ask(
        house->inband, &house->fix.client, house->fix.device,
        &(struct ota_block_ask){.task = task, .offset = offset, .length = length, .count = count},
        1);
}

/* Asks for one byte, until the image is there. */
static int64_t offer_loaded(struct house *house)
{
    int64_t task = offer(house);
    ask(house, task, 0, 1, 1);
    tick(house, 1);
    load_all(house);
    tick(house, 1);
    assert_int_equal(ota_inband_stats(house->inband)->messages, 1);
    fake_broker_clear_messages();
    return task;
}

static bool is_block(const struct fake_message *message)
{
    return strncmp(message->topic, PREFIX, strlen(PREFIX)) == 0;
}

static size_t blocks(void)
{
    size_t count = 0;
    for (size_t i = 0; i < fake_broker_message_count(); i++) {
        count += is_block(fake_broker_message(i));
    }
    return count;
}

/* Whether the message is that block of the fixture's device, whole and right. */
static void assert_block(const struct fake_message *message, int64_t task, int64_t offset,
                         int64_t len)
{
    char topic[128];
    (void)snprintf(topic, sizeof topic, PREFIX "d1/%lld/%lld", (long long)task, (long long)offset);
    assert_string_equal(message->topic, topic);
    assert_string_equal(message->client_id, "client-1");
    assert_int_equal(message->len, len);
    assert_int_equal(message->qos, 1);
    for (int64_t i = 0; i < len; i++) {
        assert_int_equal((unsigned char)message->payload[i], byte_at(offset + i));
    }
}

/* The last answer's code, once; 0 where there is none. */
static int answered(void)
{
    json_t *answer = fixture_last(UPDATE);
    int code = (int)json_integer_value(json_object_get(answer, "result_code"));
    assert_true(answer == NULL || strcmp(json_string_value(json_object_get(answer, "type")),
                                         "request_block_rsp") == 0);
    json_decref(answer);
    fake_broker_clear_messages();
    return code;
}

/* --- one device --------------------------------------------------------------------------------
 */

static void test_blocks_come_in_order_and_the_last_is_short(void **state)
{
    struct house *house = *state;
    int64_t task = offer_loaded(house);
    house->fix.core.wake_at = INT64_MAX;
    ask(house, task, 100000, 65536, 32);
    assert_int_equal(house->fix.core.wake_at, 0); /* served in the loop in which it came */
    tick(house, 1);
    assert_int_equal(fake_broker_message_count(), 4);
    for (size_t i = 0; i < 4; i++) {
        int64_t offset = 100000 + (int64_t)i * 65536;
        assert_block(fake_broker_message(i), task, offset, i < 3 ? 65536 : SIZE - offset);
    }
    const struct ota_inband_stats *stats = ota_inband_stats(house->inband);
    assert_int_equal(stats->messages, 5);
    assert_int_equal(stats->bytes, SIZE - 100000 + 1);
    assert_int_equal(stats->requests, 2);
    assert_int_equal(stats->waiting, 0);
    tick(house, 1000);
    assert_int_equal(fake_broker_message_count(), 4);
}

/* The broker's thread never loads an image: the request waits. */
static void test_it_waits_for_the_image(void **state)
{
    struct house *house = *state;
    int64_t task = offer(house);
    ask(house, task, 0, 1000, 2);
    for (int i = 0; i < 5; i++) {
        tick(house, 10);
    }
    assert_int_equal(blocks(), 0);
    assert_int_equal(loads, 0);
    assert_int_equal(ota_inband_stats(house->inband)->waiting, 1);
    load_all(house);
    assert_int_equal(blocks(), 0);
    tick(house, 10);
    assert_int_equal(blocks(), 2);
    assert_int_equal(loads, 1);
    assert_block(fake_broker_message(1), task, 1000, 1000);
}

/* Whoever waits for an image that can't be read is told; then it is tried again. */
static void test_an_image_that_cant_be_read(void **state)
{
    struct house *house = *state;
    int64_t task = offer(house);
    broken_image = house->fix.firmware->row.image;
    for (int i = 1; i <= 2; i++) {
        ask(house, task, 5, 1000, 1);
        tick(house, 1);
        load_all(house);
        tick(house, 1);
        assert_int_equal(answered(), 7);
        assert_int_equal(loads, i);
        assert_int_equal(ota_inband_stats(house->inband)->waiting, 0);
    }
    broken_image = 0;
    ask(house, task, 5, 1000, 1);
    tick(house, 1);
    load_all(house);
    tick(house, 1);
    assert_block(fake_broker_message(0), task, 5, 1000);
}

/* What failed for those who are gone keeps no place. */
static void test_loads_of_others_dont_stand_in_the_way(void **state)
{
    struct house *house = *state;
    int64_t task = offer(house);
    struct ota_firmware_row *row = &house->fix.firmware->row;
    int64_t image = row->image;
    for (int i = 1; i <= SOURCES; i++) {
        row->image = broken_image = 1000000 + i;
        ask(house, task, 0, 10, 1);
        tick(house, 1);
        load_all(house);
        house->fix.device->task->up.attempt++; /* nobody waits for that any more */
        tick(house, 1);
        assert_int_equal(ota_inband_stats(house->inband)->waiting, 0);
    }
    row->image = image;
    ask(house, task, 0, 10, 1);
    tick(house, 1);
    load_all(house);
    tick(house, 1);
    assert_int_equal(blocks(), 1);
}

static void test_a_new_request_takes_the_place_of_the_old(void **state)
{
    struct house *house = *state;
    int64_t task = offer_loaded(house);
    ask(house, task, 0, 500, 32);
    ask(house, task, 200000, 500, 1);
    tick(house, 100);
    assert_int_equal(fake_broker_message_count(), 1);
    assert_block(fake_broker_message(0), task, 200000, 500);
    ask(house, task, 200000, 500, 1); /* asking again is always fine */
    tick(house, 1);
    assert_int_equal(fake_broker_message_count(), 2);
}

/* A device may ask for the next window before it has this one. */
static void test_a_request_that_goes_on_is_put_behind(void **state)
{
    struct house *house = *state;
    int64_t task = offer_loaded(house);
    for (int i = 0; i < 3; i++) {
        ask(house, task, i * 32000, 1000, 32);
    }
    tick(house, 100);
    assert_int_equal(fake_broker_message_count(), 64); /* two windows, no more */
    for (size_t i = 0; i < 64; i++) {
        assert_block(fake_broker_message(i), task, (int64_t)i * 1000, 1000);
    }
}

static void test_refusals(void **state)
{
    struct house *house = *state;
    struct ota_device *device = house->fix.device;
    fixture_connect(&house->fix);
    ask(house, 1, 0, 10, 1);
    assert_int_equal(answered(), 3);
    int64_t task = offer_loaded(house);
    ask(house, task + 1, 0, 10, 1);
    assert_int_equal(answered(), 3);
    ask(house, task, SIZE, 10, 1);
    assert_int_equal(answered(), 2);
    ask(house, task, SIZE - 1, 10, 1);
    assert_int_equal(answered(), 0);
    ota_inband_ask_bad(house->inband, &house->fix.client, device);
    assert_int_equal(answered(), 1);
    device->task->up.status = OTA_WAITING;
    ask(house, task, 0, 10, 1);
    assert_int_equal(answered(), 5);
    device->task->up.status = OTA_UPGRADING;
    ask(house, task, 0, 10, 1);
    assert_int_equal(answered(), 0);
    const struct ota_inband_stats *stats = ota_inband_stats(house->inband);
    assert_int_equal(stats->requests, 8);
    assert_int_equal(stats->refused[OTA_BLOCK_TASK], 2);
    assert_int_equal(stats->refused[OTA_BLOCK_RANGE], 1);
    assert_int_equal(stats->refused[OTA_BLOCK_BAD], 1);
    assert_int_equal(stats->refused[OTA_BLOCK_EARLY], 1);
    for (int i = 0; i < OTA_BLOCK_REFUSAL_COUNT; i++) {
        const char *name = ota_block_refusal_name((enum ota_block_refusal)i);
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz_"), strlen(name));
    }
}

static void test_downloads_off(void **state)
{
    struct house *house = *state;
    struct ota_images *images = house->images;
    house->images = NULL;
    open_inband(house, RATE, RATE);
    int64_t task = offer(house);
    ask(house, task, 0, 10, 1);
    assert_int_equal(answered(), 7);
    tick(house, 1);
    house->images = images;
}

/* Answers cost a message each: no more of them than reports. */
static void test_refusals_are_answered_as_often_as_reports(void **state)
{
    struct house *house = *state;
    house->fix.core.settings.report_rate =
        (struct ota_rate){.step = OTA_RATE_TICKS_A_SECOND / 20, .burst = 100};
    fixture_connect(&house->fix);
    for (int i = 0; i < 1000; i++) {
        ask(house, 1, 0, 10, 1);
    }
    assert_int_equal(fixture_count(UPDATE, "request_block_rsp"), 100);
    assert_int_equal(ota_inband_stats(house->inband)->refused[OTA_BLOCK_TASK], 1000);
    assert_int_equal(house->fix.device->report_tat, 0); /* its reports have theirs to themselves */
    fake_broker_advance(1000);
    ota_core_tick_clock(&house->fix.core);
    ask(house, 1, 0, 10, 1);
    assert_int_equal(answered(), 3);
}

static void test_asked_too_often(void **state)
{
    struct house *house = *state;
    int64_t task = offer_loaded(house);
    for (int i = 0; i < 300; i++) {
        ask(house, task, 0, 10, 1);
    }
    const struct ota_inband_stats *stats = ota_inband_stats(house->inband);
    assert_in_range(stats->refused[OTA_BLOCK_RATE], 100, 102);
    assert_int_equal(answered(), 6);
    tick(house, 1000);
    ask(house, task, 0, 10, 1);
    assert_int_equal(answered(), 0);
}

/* --- ends ---------------------------------------------------------------------------------------
 */

static void apply(struct house *house, enum ota_upgrade_event_kind kind)
{
    bool changed;
    const struct ota_upgrade_event event = {
        .kind = kind, .code = -1, .service_now = house->fix.core.service_ms};
    assert_int_equal(
        ota_tasks_apply(&house->fix.core, house->fix.device->task, &event, NULL, &changed, NULL),
        OTA_OK);
    assert_true(changed);
    fake_broker_clear_messages();
}

static void test_the_end_of_the_task_drops_its_request(void **state)
{
    struct house *house = *state;
    int64_t task = offer_loaded(house);
    ask(house, task, 0, 1000, 32);
    apply(house, OTA_EV_CANCEL);
    tick(house, 1);
    assert_int_equal(blocks(), 0);
    assert_int_equal(ota_inband_stats(house->inband)->waiting, 0);
    ask(house, task, 0, 1000, 1);
    assert_int_equal(answered(), 4);
}

static void test_a_task_that_waits_again_gets_nothing(void **state)
{
    struct house *house = *state;
    int64_t task = offer_loaded(house);
    ask(house, task, 0, 1000, 32);
    house->fix.device->task->up.status = OTA_WAITING;
    ota_inband_tick(house->inband);
    assert_int_equal(blocks(), 0);
    assert_int_equal(ota_inband_stats(house->inband)->waiting, 0);
    house->fix.device->task->up.status = OTA_MESSAGE_SENT;
}

static void test_the_end_of_the_attempt_drops_its_request(void **state)
{
    struct house *house = *state;
    fixture_connect(&house->fix);
    struct ota_task_order order = fixture_order(&house->fix, house->fix.device);
    order.retry_max = 1;
    order.retry_delay_ms = 0;
    int64_t task = fixture_task(&house->fix, &order)->id;
    tick(house, 1);
    ask(house, task, 0, 1000, 32);
    apply(house, OTA_EV_FAIL);
    load_all(house);
    tick(house, 1000); /* the next attempt's notice goes out */
    assert_int_equal(house->fix.device->task->up.status, OTA_MESSAGE_SENT);
    tick(house, 1);
    assert_int_equal(blocks(), 0);
    assert_int_equal(ota_inband_stats(house->inband)->waiting, 0);
}

static void test_a_lost_connection_drops_its_request(void **state)
{
    struct house *house = *state;
    int64_t task = offer_loaded(house);
    ask(house, task, 0, 1000, 32);
    ota_inband_gone(house->inband, &house->fix.client);
    assert_int_equal(ota_inband_stats(house->inband)->waiting, 0);
    fixture_disconnect(&house->fix);
    fixture_connect(&house->fix); /* the very same struct, as malloc may give it */
    tick(house, 1);
    assert_int_equal(blocks(), 0);
    ota_inband_gone(NULL, &house->fix.client);
}

/* It is for the client that asked: another one that speaks for the device now gets nothing. */
static void test_another_connection_gets_nothing(void **state)
{
    struct house *house = *state;
    struct mosquitto other = {.id = "client-2", .username = "door/d1"};
    int64_t task = offer_loaded(house);
    ask(house, task, 0, 1000, 32);
    assert_true(ota_presence_sign(&house->fix.core, &other, house->fix.device, OTA_SIGN_REPORTED));
    fake_broker_clear_messages();
    tick(house, 1);
    assert_int_equal(blocks(), 0);
    ota_presence_gone(&house->fix.core, &other);
}

static void test_no_memory_for_a_message(void **state)
{
    struct house *house = *state;
    int64_t task = offer_loaded(house);
    ask(house, task, 0, 1000, 32);
    fake_broker_fail_publish(true);
    tick(house, 1);
    fake_broker_fail_publish(false);
    const struct ota_inband_stats *stats = ota_inband_stats(house->inband);
    assert_int_equal(stats->waiting, 0);
    assert_int_equal(stats->refused[OTA_BLOCK_LATER], 1);
    assert_int_equal(stats->bytes, 1);
}

static void test_no_memory_for_a_device(void **state)
{
    struct house *house = *state;
    int64_t task = offer(house);
    no_memory = true;
    ask(house, task, 0, 1000, 32);
    no_memory = false;
    assert_int_equal(answered(), 7);
    assert_int_equal(ota_inband_stats(house->inband)->waiting, 0);
    ask(house, task, 0, 1000, 32);
    assert_int_equal(ota_inband_stats(house->inband)->waiting, 1);
}

/* --- what a session still has
 * --------------------------------------------------------------------- */

static bool is_genuine(struct house *house, int64_t task, const char *offset, const char *bytes)
{
    char rest[64];
    (void)snprintf(rest, sizeof rest, "/%lld%s", (long long)task, offset);
    return ota_block_is_genuine(&house->fix.core, house->fix.device, rest, bytes, strlen(bytes));
}

/* The stored image is "abc" (fixture.c). */
static void test_genuine_blocks(void **state)
{
    struct house *house = *state;
    int64_t task = offer(house);
    struct ota_device *other = fixture_device(&house->fix, "d2", "1.0");
    assert_true(is_genuine(house, task, "/0", "abc"));
    assert_true(is_genuine(house, task, "/0", "ab"));
    assert_true(is_genuine(house, task, "/1", "bc"));
    apply(house, OTA_EV_CANCEL); /* it was the device's to have when it was sent */
    assert_true(is_genuine(house, task, "/2", "c"));
    static const char *const forged[][2] = {{"/0", "abd"},
                                            {"/0", "abcd"},
                                            {"/1", "abc"},
                                            {"/3", "c"},
                                            {"/65536", "abc"},
                                            {"/0", ""},
                                            {"/0/", "abc"},
                                            {"/", "abc"},
                                            {"", "abc"},
                                            {"/-1", "a"},
                                            {"/+0", "abc"},
                                            {"/0x", "a"},
                                            {"/99999999999999999999", "a"}};
    for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++) {
        assert_false(is_genuine(house, task, forged[i][0], forged[i][1]));
    }
    assert_false(is_genuine(house, task + 1, "/0", "abc"));
    assert_false(ota_block_is_genuine(&house->fix.core, other, "/1/0", "abc", 3));
    assert_false(ota_block_is_genuine(&house->fix.core, house->fix.device, "", "abc", 3));
}

/* --- how fast -----------------------------------------------------------------------------------
 */

/* What the device gets in so many seconds when it always asks. */
static int64_t bytes_in(struct house *house, int64_t task, int64_t ms, int length)
{
    uint64_t before = ota_inband_stats(house->inband)->bytes;
    for (int64_t i = 0; i < ms; i += 10) {
        if (ota_inband_stats(house->inband)->waiting == 0) {
            ask(house, task, 0, length, 32);
        }
        tick(house, 10);
        fake_broker_clear_messages();
    }
    return (int64_t)(ota_inband_stats(house->inband)->bytes - before);
}

static void test_the_rate_of_a_device(void **state)
{
    struct house *house = *state;
    open_inband(house, RATE, INT64_C(100) * RATE);
    int64_t task = offer_loaded(house);
    assert_in_range(bytes_in(house, task, 10000, 4096), 10 * RATE, 10 * RATE + RATE / 4 + 4096);
    assert_in_range(bytes_in(house, task, 10000, 65536), 10 * RATE - 65536, 10 * RATE + 65536);
}

/* Much below what one block holds, too. */
static void test_the_lowest_rate(void **state)
{
    struct house *house = *state;
    open_inband(house, 1024, 1024);
    int64_t task = offer_loaded(house);
    assert_in_range(bytes_in(house, task, 80000, 8192), 80 * 1024 - 8192, 80 * 1024 + 8192 + 256);
}

static void test_the_rate_of_all(void **state)
{
    struct house *house = *state;
    open_inband(house, INT64_C(100) * RATE, RATE);
    int64_t task = offer_loaded(house);
    assert_in_range(bytes_in(house, task, 10000, 4096), 10 * RATE, 10 * RATE + RATE / 4 + 4096);
}

static void test_defaults_give_one_device_more_than_5_mb_a_second(void **state)
{
    struct house *house = *state;
    int64_t task = offer_loaded(house);
    assert_true(bytes_in(house, task, 10000, 65536) > 50000000);
}

/* A loop is never held for long, however much waits: and every device has its turn. */
static void crowd_asks(struct house *house, int length)
{
    fixture_connect(&house->fix);
    for (size_t i = 0; i < CROWD; i++) {
        (void)snprintf(house->ids[i], sizeof house->ids[i], "c%zu", i);
        house->clients[i] = (struct mosquitto){.id = house->ids[i]};
        house->devices[i] = fixture_device(&house->fix, house->ids[i], "1.0");
        assert_true(ota_presence_sign(&house->fix.core, &house->clients[i], house->devices[i],
                                      OTA_SIGN_REPORTED));
        (void)fixture_plain_task(&house->fix, house->devices[i]);
    }
    for (int i = 0; i < 10; i++) {
        tick(house, 100);
    }
    for (size_t i = 0; i < CROWD; i++) {
        const struct ota_block_ask block = {
            .task = house->devices[i]->task->id, .length = length, .count = 2};
        ota_inband_ask(house->inband, &house->clients[i], house->devices[i], &block, 0);
    }
    tick(house, 1);
    load_all(house);
    fake_broker_clear_messages();
}

static void test_a_tick_sends_little(void **state)
{
    struct house *house = *state;
    crowd_asks(house, 65536);
    for (int i = 0; i < 10; i++) {
        tick(house, 100);
        size_t bytes = 0;
        for (size_t j = 0; j < fake_broker_message_count(); j++) {
            bytes += fake_broker_message(j)->len;
        }
        assert_in_range(bytes, 1048576, 1048576 + 65536);
        assert_int_equal(fake_broker_message_count(), 16);
        fake_broker_clear_messages();
    }
}

static void test_a_tick_sends_few(void **state)
{
    struct house *house = *state;
    crowd_asks(house, 16);
    tick(house, 1000);
    assert_int_equal(blocks(), 128);
    tick(house, 10);
    assert_int_equal(blocks(), 128 + 50);
}

static void test_every_device_has_its_turn(void **state)
{
    struct house *house = *state;
    bool seen[CROWD] = {false};
    crowd_asks(house, 16);
    for (int i = 0; i < 3; i++) {
        tick(house, 100);
    }
    for (int i = 0; i < 10; i++) {
        tick(house, 100);
    }
    for (size_t i = 0; i < CROWD; i++) { /* both of its blocks are its share of a turn */
        int number = atoi(fake_broker_message(2 * i)->client_id + 1);
        assert_false(seen[number]);
        seen[number] = true;
    }
    assert_int_equal(blocks(), 2 * CROWD);
    assert_int_equal(ota_inband_stats(house->inband)->waiting, 0);
}

/* Where all that there is to have is less than they want, each gets as much, however it asks. */
static void test_who_asks_for_large_blocks_gets_no_more(void **state)
{
    static const int lengths[] = {65536, 4096, 10000};
    struct house *house = *state;
    int64_t got[3] = {0};
    open_inband(house, INT64_C(100) * RATE, RATE);
    crowd_asks(house, 16);
    for (int i = 0; i < 10; i++) {
        tick(house, 100);
    }
    assert_int_equal(ota_inband_stats(house->inband)->waiting, 0);
    for (int at = 0; at < 10000; at += 20) {
        fake_broker_clear_messages();
        for (size_t i = 0; i < 3; i++) {
            const struct ota_block_ask block = {
                .task = house->devices[i]->task->id, .length = lengths[i], .count = 16};
            ota_inband_ask(house->inband, &house->clients[i], house->devices[i], &block, 0);
        }
        tick(house, 20);
        for (size_t i = 0; i < fake_broker_message_count(); i++) {
            const struct fake_message *message = fake_broker_message(i);
            if (is_block(message)) {
                got[atoi(message->client_id + 1)] += (int64_t)message->len;
            }
        }
    }
    for (size_t i = 0; i < 3; i++) {
        assert_in_range(got[i], 3 * RATE, 4 * RATE);
    }
}

/* With no place left, those that rest make room, and those that wait don't. */
static void test_too_many_devices(void **state)
{
    struct house *house = *state;
    ota_inband_free(house->inband);
    house->inband = ota_inband_new(&(struct ota_inband_config){.core = &house->fix.core,
                                                               .images = house->images,
                                                               .loader = &house->loader,
                                                               .rate = RATE,
                                                               .rate_total = RATE,
                                                               .most = CROWD - 1});
    crowd_asks(house, 16);
    const struct ota_inband_stats *stats = ota_inband_stats(house->inband);
    assert_int_equal(stats->waiting, CROWD - 1);
    assert_int_equal(stats->refused[OTA_BLOCK_LATER], 1);
    for (int i = 0; i < 20; i++) {
        tick(house, 100);
    }
    assert_int_equal(stats->waiting, 0);
    const struct ota_block_ask block = {
        .task = house->devices[CROWD - 1]->task->id, .length = 16, .count = 2};
    ota_inband_ask(house->inband, &house->clients[CROWD - 1], house->devices[CROWD - 1], &block, 0);
    assert_int_equal(stats->waiting, 1);
}

/* What a device was sent counts until it is paid for, and not longer. */
static void test_who_rests_is_forgotten(void **state)
{
    struct house *house = *state;
    open_inband(house, 1024, INT64_C(100) * RATE);
    int64_t task = offer_loaded(house);
    ask(house, task, 0, 30720, 1);
    tick(house, 1); /* 30 s of debt */
    assert_int_equal(blocks(), 1);
    tick(house, 12000);
    tick(house, 1);
    ask(house, task, 0, 10, 1);
    tick(house, 1);
    assert_int_equal(blocks(), 1);
    tick(house, 20000);
    assert_int_equal(blocks(), 2);
    tick(house, 10001);
    ask(house, task, 0, 10, 1); /* as a new one */
    tick(house, 1);
    assert_int_equal(blocks(), 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_blocks_come_in_order_and_the_last_is_short),
        TEST(test_it_waits_for_the_image),
        TEST(test_an_image_that_cant_be_read),
        TEST(test_loads_of_others_dont_stand_in_the_way),
        TEST(test_a_new_request_takes_the_place_of_the_old),
        TEST(test_a_request_that_goes_on_is_put_behind),
        TEST(test_refusals),
        TEST(test_downloads_off),
        TEST(test_refusals_are_answered_as_often_as_reports),
        TEST(test_asked_too_often),
        TEST(test_the_end_of_the_task_drops_its_request),
        TEST(test_a_task_that_waits_again_gets_nothing),
        TEST(test_the_end_of_the_attempt_drops_its_request),
        TEST(test_a_lost_connection_drops_its_request),
        TEST(test_another_connection_gets_nothing),
        TEST(test_no_memory_for_a_message),
        TEST(test_no_memory_for_a_device),
        TEST(test_genuine_blocks),
        TEST(test_the_rate_of_a_device),
        TEST(test_the_lowest_rate),
        TEST(test_the_rate_of_all),
        TEST(test_defaults_give_one_device_more_than_5_mb_a_second),
        TEST(test_a_tick_sends_little),
        TEST(test_a_tick_sends_few),
        TEST(test_every_device_has_its_turn),
        TEST(test_who_asks_for_large_blocks_gets_no_more),
        TEST(test_too_many_devices),
        TEST(test_who_rests_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
