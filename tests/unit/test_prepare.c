/* SPDX-License-Identifier: BSD-3-Clause */
/* Who gets a task from a batch: targets, exclusions, lists, slices, stages of the right size, what
 * comes to match a continuous batch, dry runs; and nothing by halves where the store fails. */
#include "batch_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/batch_members.h"
#include "../../plugin/broker.h"
#include "../../plugin/devices.h"
#include "../../plugin/prepare.h"
#include "../../plugin/presence.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static struct ota_batch *start(struct crowd *crowd, const char *target)
{
    struct ota_batch_row row = batch_row(crowd);
    struct ota_batch *batch = batch_start(crowd, &row, target, NULL, 0);
    crowd_run(crowd, 100);
    batch_check(crowd);
    return batch;
}

static bool is_in(const struct crowd *crowd, const struct ota_batch *batch, int i)
{
    return crowd_task(crowd, i) != NULL && crowd_task(crowd, i)->batch == batch;
}

/* The devices that have an unfinished task of the batch: "0 2 5". */
static const char *members(const struct crowd *crowd, const struct ota_batch *batch)
{
    static char text[400];
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < crowd->count; i++) {
        if (is_in(crowd, batch, i)) {
            used +=
                (size_t)snprintf(text + used, sizeof text - used, "%s%d", used > 0 ? " " : "", i);
        }
    }
    return text;
}

static void set_tags(struct crowd *crowd, int i, const char *tags)
{
    struct ota_device_row row;
    assert_int_equal(ota_device_get(crowd->fix.core.store, crowd_device(crowd, i)->id, &row, NULL),
                     OTA_OK);
    (void)snprintf(row.tags, sizeof row.tags, "%s", tags);
    assert_int_equal(ota_core_begin(&crowd->fix.core, NULL), OTA_OK);
    assert_int_equal(ota_device_update(crowd->fix.core.store, &row, NULL), OTA_OK);
    assert_int_equal(ota_core_commit(&crowd->fix.core, NULL), OTA_OK);
    ota_core_look_again(&crowd->fix.core, crowd_device(crowd, i)); /* as updateDevice does */
}

/* m0 1.0 online tags a b · m1 1.0 · m2 1.1 online tag a · m3 never reported, tags a b c ·
 * m4 never reported, online */
static void make_five(struct crowd *crowd)
{
    crowd_add(crowd, 2, "1.0");
    crowd_add(crowd, 1, "1.1");
    crowd_add(crowd, 2, NULL);
    set_tags(crowd, 0, "a b");
    set_tags(crowd, 2, "a");
    set_tags(crowd, 3, "a b c");
    crowd_connect(crowd, 0, 0);
    crowd_connect(crowd, 2, 2);
    crowd_connect(crowd, 4, 4);
}

/* --- who matches --------------------------------------------------------------------------------
 */

static void test_targets(void **state)
{
    static const struct {
        const char *target;
        const char *members;
    } cases[] = {
        {"{\"all\":true}", "0 1 2 3 4"},
        {"{\"fromVersions\":[\"1.0\"]}", "0 1"},
        {"{\"fromVersions\":[\"1.0\",\"1.1\"]}", "0 1 2"},
        {"{\"fromVersions\":[\"0.9\"]}", ""},
        {"{\"notVersions\":[\"1.0\"]}", "2"},
        {"{\"online\":true}", "0 2 4"},
        {"{\"online\":false}", "1 3"},
        {"{\"tags\":[\"a\"]}", "0 2 3"},
        {"{\"tags\":[\"b\",\"a\"]}", "0 3"},
        {"{\"tags\":[\"a\"],\"online\":true}", "0 2"},
        {"{\"tags\":[\"a\"],\"fromVersions\":[\"1.0\"]}", "0"},
        {"{\"devices\":[\"m1\",\"m4\",\"m1\"]}", "1 4"},
        {"{\"devices\":[\"m1\",\"m2\",\"m3\"],\"tags\":[\"a\"]}", "2 3"},
        {"{\"devices\":[\"m1\",\"m2\"],\"online\":true}", "2"},
        {"{\"devices\":[\"m1\",\"m2\"],\"notVersions\":[\"1.1\"],\"online\":false}", "1"},
    };
    struct crowd *crowd = *state;
    make_five(crowd);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ota_batch_row row = batch_row(crowd);
        struct ota_batch *batch = batch_start(crowd, &row, cases[i].target, NULL, 0);
        crowd_run(crowd, 100);
        if (strcmp(members(crowd, batch), cases[i].members) != 0) {
            fail_msg("%s: %s", cases[i].target, members(crowd, batch));
        }
        if (!ota_batch_is_over(batch)) {
            assert_int_equal(batch_do(crowd, batch_cancel_all, batch), OTA_OK);
        }
        crowd_run(crowd, 300);
        batch_check(crowd);
    }
}

static void test_other_products_are_left_alone(void **state)
{
    struct crowd *crowd = *state;
    struct ota_product *other = fixture_product(&crowd->fix, "other");
    struct ota_device_row row = {.product_id = other->id, .name = "x", .version = "1.0"};
    struct ota_device *device = NULL;
    crowd_add(crowd, 1, "1.0");
    assert_int_equal(ota_core_begin(&crowd->fix.core, NULL), OTA_OK);
    assert_int_equal(ota_devices_add(&crowd->fix.core, &row, &device, NULL), OTA_OK);
    assert_int_equal(ota_core_commit(&crowd->fix.core, NULL), OTA_OK);
    crowd_add(crowd, 1, "1.0");
    struct ota_batch *batch = start(crowd, NULL);
    assert_string_equal(batch_counts(batch), "waiting 2");
    assert_null(device->task);
}

/* Those that match when it starts. */
static void test_a_snapshot(void **state)
{
    struct crowd *crowd = *state;
    crowd_add(crowd, 2, "1.0");
    struct ota_batch *batch = start(crowd, "{\"fromVersions\":[\"1.0\"]}");
    crowd_add(crowd, 1, "1.0");
    crowd_reports(crowd, 0, "1.1"); /* stays in */
    crowd_run(crowd, 5000);
    assert_string_equal(members(crowd, batch), "0 1");
}

/* --- who gets none ------------------------------------------------------------------------------
 */

static void assert_excluded(const struct ota_batch *batch, uint32_t on_version, uint32_t busy,
                            uint32_t held, uint32_t downgrade)
{
    assert_int_equal(batch->row.excluded[OTA_EXCLUDED_ON_VERSION], on_version);
    assert_int_equal(batch->row.excluded[OTA_EXCLUDED_BUSY], busy);
    assert_int_equal(batch->row.excluded[OTA_EXCLUDED_HELD], held);
    assert_int_equal(batch->row.excluded[OTA_EXCLUDED_DOWNGRADE], downgrade);
}

/* m0…m3 each have the first reasons so far: all four, the last three, two, one. m4 is free; m5
 * runs a version that was never uploaded, which has no order. */
static void make_reasons(struct crowd *crowd)
{
    (void)fixture_firmware(&crowd->fix, "3.0"); /* newer than 2.0 */
    crowd_add(crowd, 1, "2.0");
    crowd_add(crowd, 3, "3.0");
    crowd_add(crowd, 1, "1.0");
    crowd_add(crowd, 1, "9.9");
    for (int i = 0; i < 3; i++) {
        if (i < 2) {
            (void)fixture_plain_task(&crowd->fix, crowd_device(crowd, i));
        }
        crowd_hold(crowd, i, true);
    }
}

static void test_the_first_reason_counts(void **state)
{
    struct crowd *crowd = *state;
    make_reasons(crowd);
    struct ota_batch *batch = start(crowd, NULL);
    assert_excluded(batch, 1, 1, 1, 1);
    assert_string_equal(members(crowd, batch), "4 5");
}

static void test_permissions_lift_exclusions(void **state)
{
    static const struct {
        unsigned flags;
        uint32_t excluded[OTA_EXCLUSION_COUNT];
        const char *members;
    } cases[] = {
        {OTA_BATCH_REINSTALL, {0, 2, 1, 1}, "4 5"},
        {OTA_BATCH_OVERRIDE, {1, 0, 2, 1}, "4 5"},
        {OTA_BATCH_DOWNGRADE, {1, 1, 1, 0}, "3 4 5"},
        {OTA_BATCH_REINSTALL | OTA_BATCH_OVERRIDE | OTA_BATCH_DOWNGRADE, {0, 0, 3, 0}, "3 4 5"},
    };
    struct crowd *crowd = *state;
    make_reasons(crowd);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ota_batch_row row = batch_row(crowd);
        row.flags = cases[i].flags;
        struct ota_batch *batch = batch_start(crowd, &row, NULL, NULL, 0);
        crowd_run(crowd, 100);
        assert_memory_equal(batch->row.excluded, cases[i].excluded, sizeof cases[i].excluded);
        assert_string_equal(members(crowd, batch), cases[i].members);
        assert_int_equal(batch_do(crowd, batch_cancel_all, batch), OTA_OK);
        crowd_run(crowd, 300);
        batch_check(crowd);
    }
}

/* Only what runs the target is installed again, and proves itself only by having worked on it. */
static void test_reinstall(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.flags = OTA_BATCH_REINSTALL;
    crowd_add(crowd, 1, "2.0");
    crowd_add(crowd, 1, "1.0");
    struct ota_batch *batch = batch_start(crowd, &row, NULL, NULL, 0);
    crowd_run(crowd, 100);
    assert_int_equal(crowd_task(crowd, 0)->up.flags, OTA_UPGRADE_REINSTALL);
    assert_int_equal(crowd_task(crowd, 1)->up.flags, 0);
    batch_check(crowd);
    crowd_reports(crowd, 0, "2.0");
    assert_string_equal(members(crowd, batch), "0 1");
    crowd_restart(crowd, true);
    assert_int_equal(crowd_task(crowd, 0)->up.flags, OTA_UPGRADE_REINSTALL);
    crowd_says(crowd, 0, "burning");
    crowd_reports(crowd, 0, "2.0");
    assert_string_equal(crowd_stands(crowd, 0), "succeeded confirmed");
    batch_check(crowd);
}

static void test_what_a_task_gets_from_its_batch(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    row.timeout_ms = 77000;
    row.retry_max = 4;
    row.retry_delay_ms = 55000;
    (void)snprintf(row.retry_on, sizeof row.retry_on, "timeout,-2");
    crowd_add(crowd, 1, "1.0");
    (void)batch_start(crowd, &row, NULL, NULL, 0);
    crowd_run(crowd, 100);
    struct ota_task_row task = fixture_row(&crowd->fix, crowd_task(crowd, 0)->id);
    assert_int_equal(task.timeout_ms, 77000);
    assert_int_equal(task.retry_max, 4);
    assert_int_equal(task.retry_delay_ms, 55000);
    assert_string_equal(task.retry_on, "timeout,-2");
    assert_string_equal(task.from_version, "1.0");
    assert_string_equal(task.version, "2.0");
    const struct ota_upgrade *up = &crowd_task(crowd, 0)->up;
    assert_int_equal(up->timeout_ms, 77000);
    assert_int_equal(up->retry_max, 4);
    assert_int_equal(up->retry_delay_ms, 55000);
    assert_string_equal(up->retry_on, "timeout,-2");
}

/* --- lists of names -----------------------------------------------------------------------------
 */

static void add_name(struct crowd *crowd, const struct ota_batch *batch, int i)
{
    assert_int_equal(ota_core_begin(&crowd->fix.core, NULL), OTA_OK);
    assert_int_equal(ota_batch_name_device(crowd->fix.core.store, batch->row.id,
                                           crowd_device(crowd, i)->id, NULL),
                     OTA_OK);
    assert_int_equal(ota_core_commit(&crowd->fix.core, NULL), OTA_OK);
}

static int64_t named(const struct crowd *crowd, const struct ota_batch *batch)
{
    int64_t count = -1;
    assert_int_equal(ota_batch_count_named(crowd->fix.core.store, batch->row.id, &count, NULL),
                     OTA_OK);
    return count;
}

static void test_a_draft_and_its_list(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    make_five(crowd);
    row.named = true;
    struct ota_batch *batch = batch_draft(crowd, &row, "{\"online\":true}");
    add_name(crowd, batch, 4);
    add_name(crowd, batch, 1);
    add_name(crowd, batch, 0);
    crowd_run(crowd, 100);
    assert_int_equal(named(crowd, batch), 3); /* a draft keeps them */
    assert_int_equal(batch_do(crowd, ota_batches_start, batch), OTA_OK);
    crowd_run(crowd, 200);
    assert_string_equal(members(crowd, batch), "0 4");
    assert_int_equal(named(crowd, batch), 0); /* it needs them no longer */
    batch_check(crowd);
}

static void test_a_list_without_a_target(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    make_five(crowd);
    row.named = true;
    struct ota_batch *batch = batch_draft(crowd, &row, "");
    add_name(crowd, batch, 3);
    add_name(crowd, batch, 1);
    int64_t id = batch->row.id;
    crowd_restart(crowd, true);
    batch = batch_again(crowd, id);
    assert_int_equal(batch_do(crowd, ota_batches_start, batch), OTA_OK);
    crowd_run(crowd, 100);
    assert_string_equal(members(crowd, batch), "1 3");
}

static void test_a_cancelled_draft_forgets_its_list(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    crowd_add(crowd, 1100, "1.0");
    row.named = true;
    struct ota_batch *batch = batch_draft(crowd, &row, "");
    for (int i = 0; i < 1100; i++) {
        add_name(crowd, batch, i);
    }
    assert_int_equal(batch_do(crowd, batch_cancel, batch), OTA_OK);
    fixture_tick(&crowd->fix, 10);
    assert_in_range((int)named(crowd, batch), 1, 1099); /* in slices */
    assert_false(batch->row.tallied);
    int64_t id = batch->row.id;
    crowd_restart(crowd, true);
    batch = batch_again(crowd, id);
    crowd_run(crowd, 500);
    assert_int_equal(named(crowd, batch), 0);
    assert_true(batch->row.tallied);
    batch_check(crowd);
}

/* --- slices -------------------------------------------------------------------------------------
 */

/* 1, 10, 100 percent of a thousand and one. */
static const struct ota_stage shares[] = {{.percent = 1, .min_success_percent = 90},
                                          {.percent = 10, .min_success_percent = 90},
                                          {.percent = 100, .min_success_percent = 90}};

static void assert_stages_of_1001(struct crowd *crowd, const struct ota_batch *batch)
{
    assert_string_equal(batch_stands(batch), "running");
    assert_int_equal(ota_tally_total(&batch->stages[0].tally), 11);
    assert_int_equal(ota_tally_total(&batch->stages[1].tally), 90);
    assert_int_equal(ota_tally_total(&batch->stages[2].tally), 900);
    assert_int_equal(batch->row.open_stages, 1);
    batch_check(crowd);
}

/* No device has two tasks of the batch, or none. */
static void assert_one_each(struct crowd *crowd, const struct ota_batch *batch)
{
    for (int i = 0; i < crowd->count; i++) {
        int count = 0;
        assert_int_equal(ota_task_count_in_batch(crowd->fix.core.store, crowd_device(crowd, i)->id,
                                                 batch->row.id, &count, NULL),
                         OTA_OK);
        assert_int_equal(count, 1);
    }
}

static void test_slices(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    crowd_add(crowd, 1001, "1.0");
    struct ota_batch *batch = batch_start(crowd, &row, NULL, shares, 3);
    fixture_slow_commits(6); /* longer than a tick's share */
    uint32_t before = 0;
    int slices = 0;
    while (batch->row.state == OTA_BATCH_PREPARING && slices < 50) {
        fixture_tick(&crowd->fix, 10);
        struct ota_tally tally = ota_batch_tally(batch);
        uint32_t made = ota_tally_total(&tally);
        assert_in_range(made - before, 0, 256);
        before = made;
        slices++;
        batch_check(crowd);
    }
    assert_in_range(slices, 5, 8);
    assert_stages_of_1001(crowd, batch);
    assert_one_each(crowd, batch);
    assert_int_equal(ota_batch_member_count(batch), 0); /* memory is given back */
}

/* Killed after each slice, it goes on where it was. */
static void test_killed_after_each_slice(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    crowd_add(crowd, 1001, "1.0");
    struct ota_batch *batch = batch_start(crowd, &row, NULL, shares, 3);
    int64_t id = batch->row.id;
    fixture_slow_commits(6);
    int kills = 0;
    while (batch->row.state == OTA_BATCH_PREPARING && kills < 50) {
        fixture_tick(&crowd->fix, 10);
        struct ota_tally before = ota_batch_tally(batch);
        crowd_restart(crowd, true);
        batch = batch_again(crowd, id);
        struct ota_tally after = ota_batch_tally(batch);
        assert_int_equal(ota_tally_total(&after), ota_tally_total(&before));
        batch_check(crowd);
        kills++;
        if (kills > 3) { /* what follows the slices is done at once */
            fixture_slow_commits(0);
        }
    }
    assert_in_range(kills, 4, 8);
    assert_stages_of_1001(crowd, batch);
    assert_one_each(crowd, batch);
}

/* Overridden tasks are made apart from the others: after a restart the tasks' ids don't rise with
 * the devices'. */
static void test_killed_while_it_overrides(void **state)
{
    static const struct ota_stage most[] = {{.percent = 90, .min_success_percent = 90},
                                            {.percent = 100}};
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    crowd_add(crowd, 1000, "1.0");
    for (int i = 0; i < 1000; i += 3) {
        (void)fixture_plain_task(&crowd->fix, crowd_device(crowd, i));
    }
    row.flags = OTA_BATCH_OVERRIDE;
    struct ota_batch *batch = batch_start(crowd, &row, NULL, most, 2);
    int64_t id = batch->row.id;
    fixture_slow_commits(6);
    fixture_tick(&crowd->fix, 10);
    fixture_tick(&crowd->fix, 10);
    fixture_slow_commits(0);
    assert_string_equal(batch_stands(batch), "preparing");
    crowd_restart(crowd, true);
    batch = batch_again(crowd, id);
    batch_check(crowd);
    crowd_run(crowd, 1000);
    assert_int_equal(ota_tally_total(&batch->stages[0].tally), 900);
    assert_int_equal(ota_tally_total(&batch->stages[1].tally), 100);
    assert_one_each(crowd, batch);
    batch_check(crowd);
}

static void test_a_pause_amid_preparing(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    crowd_add(crowd, 1001, "1.0");
    crowd_connect(crowd, 0, 1000);
    struct ota_batch *batch = batch_start(crowd, &row, NULL, shares, 3);
    fixture_slow_commits(6);
    fixture_tick(&crowd->fix, 10);
    assert_string_equal(batch_stands(batch), "preparing");
    assert_int_equal(ota_tasks_wait(&crowd->fix.core, batch->tasks), OTA_WAIT_SCHEDULED);
    assert_int_equal(batch_do(crowd, ota_batches_pause, batch), OTA_OK);
    fixture_tick(&crowd->fix, 10);
    assert_int_equal(batch_do(crowd, ota_batches_resume, batch), OTA_OK);
    assert_string_equal(batch_stands(batch), "preparing");
    assert_int_equal(batch_do(crowd, ota_batches_pause, batch), OTA_OK);
    fixture_slow_commits(0);
    crowd_run(crowd, 1000); /* it is prepared, and still paused */
    assert_string_equal(batch_stands(batch), "paused admin");
    assert_string_equal(batch_counts(batch), "waiting 1001");
    assert_int_equal(batch->row.prepared, OTA_PREPARED_FULLY);
    assert_int_equal(crowd_notices(), 0);
    assert_int_equal(batch_do(crowd, ota_batches_resume, batch), OTA_OK);
    crowd_run(crowd, 100);
    assert_stages_of_1001(crowd, batch);
    assert_int_equal(crowd_notices(), 11);
}

static void test_a_cancel_amid_preparing(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    crowd_add(crowd, 1001, "1.0");
    struct ota_batch *batch = batch_start(crowd, &row, NULL, shares, 3);
    fixture_slow_commits(6);
    fixture_tick(&crowd->fix, 10);
    fixture_tick(&crowd->fix, 10);
    assert_int_equal(batch_do(crowd, batch_cancel, batch), OTA_OK);
    fixture_slow_commits(0);
    crowd_run(crowd, 500);
    assert_string_equal(batch_stands(batch), "cancelled admin");
    assert_string_equal(batch_counts(batch), "cancelled 512");
    assert_true(batch->row.tallied);
    assert_int_equal(ota_batch_member_count(batch), 0);
    batch_check(crowd);
}

/* Reports arrive while its tasks are made and placed. */
static void test_devices_act_amid_preparing(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    crowd_add(crowd, 1001, "1.0");
    struct ota_batch *batch = batch_start(crowd, &row, NULL, shares, 3);
    fixture_slow_commits(6);
    for (int i = 0; i < 10; i++) {
        fixture_tick(&crowd->fix, 10);
        for (int j = 0; j < 8; j++) {
            if (is_in(crowd, batch, 100 * i + j)) {
                crowd_reports(crowd, 100 * i + j, "2.0");
            }
        }
        batch_check(crowd);
    }
    fixture_slow_commits(0);
    crowd_run(crowd, 100);
    assert_int_equal(ota_batch_tally(batch).confirmed, crowd_count(crowd, "succeeded confirmed"));
    batch_check(crowd);
}

/* One that has left counts in no stage: its place is another's. */
static void test_a_device_is_deleted_amid_preparing(void **state)
{
    static const struct ota_stage first[] = {{.count = 200, .min_success_percent = 90},
                                             {.percent = 100, .min_success_percent = 90}};
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    crowd_add(crowd, 600, "1.0");
    struct ota_batch *batch = batch_start(crowd, &row, NULL, first, 2);
    fixture_slow_commits(6);
    fixture_tick(&crowd->fix, 10);
    assert_string_equal(batch_counts(batch), "waiting 256");
    for (int i = 0; i < 256; i += 4) {
        crowd_reports(crowd, i, "2.0"); /* its task ends */
        assert_int_equal(crowd_delete(crowd, i), OTA_OK);
    }
    assert_int_equal(ota_batch_member_count(batch), 192);
    fixture_slow_commits(0);
    crowd_run(crowd, 200);
    assert_string_equal(batch_stands(batch), "running");
    assert_int_equal(ota_tally_total(&batch->stages[0].tally), 200);
    assert_int_equal(ota_tally_total(&batch->stages[1].tally), 600 - 64 - 200);
    batch_check(crowd);
}

/* Making many tasks must not keep others from their notices. */
static void test_preparing_starves_nobody(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    crowd_add(crowd, 1001, "1.0");
    struct ota_device *other = fixture_device(&crowd->fix, "x", "1.0");
    struct mosquitto client = {.id = "x"};
    ota_presence_sign(&crowd->fix.core, &client, other, OTA_SIGN_REPORTED);
    crowd_run(crowd, 100);
    fixture_slow_commits(6);
    struct ota_batch *batch = batch_start(crowd, &row, "{\"fromVersions\":[\"1.0\"]}", NULL, 0);
    fixture_tick(&crowd->fix, 10);
    assert_string_equal(batch_stands(batch), "preparing");
    struct ota_task_order order = fixture_order(&crowd->fix, other);
    if (other->task == NULL) {
        (void)fixture_task(&crowd->fix, &order);
    }
    fixture_tick(&crowd->fix, 10);
    assert_string_equal(batch_stands(batch), "preparing");
    assert_int_equal(fixture_count("$ota/update/door/x", "update_firmware"), 1);
    fixture_slow_commits(0);
}

/* --- a store that fails -------------------------------------------------------------------------
 */

/* Each write of the preparation fails in turn, and only that one. */
static void test_each_write_fails_in_turn(void **state)
{
    struct crowd *crowd = *state;
    crowd_add(crowd, 300, "1.0");
    crowd_connect(crowd, 0, 299);
    for (int n = 1;; n++) {
        struct ota_batch_row row = batch_row(crowd);
        row.flags = OTA_BATCH_OVERRIDE;
        row.rate_per_minute = 60;
        (void)fixture_plain_task(&crowd->fix, crowd_device(crowd, 7)); /* is overridden */
        struct ota_batch *batch = batch_start(crowd, &row, NULL, shares, 3);
        fixture_fail_write(n);
        fixture_tick(&crowd->fix, 10);
        batch_check(crowd);
        bool failed = fixture_write_failed();
        fixture_fail_write(0);
        crowd_run(crowd, 2000);
        assert_int_equal(ota_tally_total(&batch->stages[0].tally), 3);
        assert_int_equal(ota_tally_total(&batch->stages[1].tally), 27);
        assert_int_equal(ota_tally_total(&batch->stages[2].tally), 270);
        assert_one_each(crowd, batch);
        batch_check(crowd);
        if (!failed) {
            assert_in_range(n, 10, 30);
            return;
        }
        assert_int_equal(batch_do(crowd, batch_cancel_all, batch), OTA_OK);
        crowd_run(crowd, 500);
        assert_string_equal(batch_counts(batch), "cancelled 300");
    }
}

static void test_a_full_disk(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    crowd_add(crowd, 1001, "1.0");
    struct ota_batch *batch = batch_start(crowd, &row, NULL, shares, 3);
    fixture_fail_commits(true);
    crowd_run(crowd, 10000);
    assert_string_equal(batch_stands(batch), "preparing");
    assert_string_equal(batch_counts(batch), "");
    assert_in_range(fixture_failed_commits(), 5, 20); /* it doesn't hammer */
    assert_int_equal(ota_batch_member_count(batch), 0);
    batch_check(crowd);
    fixture_fail_commits(false);
    crowd_run(crowd, 2000);
    assert_stages_of_1001(crowd, batch);
}

/* A snapshot takes a device that boots: what it runs is what it reported last. Where it comes back
 * with the target, its task ends without a notice. */
static void test_a_snapshot_takes_a_booting_device(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch_row row = batch_row(crowd);
    crowd_add(crowd, 1, "1.0");
    crowd_connect(crowd, 0, 0);
    struct ota_batch *first = batch_start(crowd, &row, NULL, NULL, 0);
    crowd_run(crowd, 200);
    crowd_says(crowd, 0, "done");
    crowd_disconnect(crowd, 0, 0);
    struct ota_batch *second = batch_start(crowd, &row, NULL, NULL, 0);
    crowd_run(crowd, 200);
    assert_string_equal(batch_counts(first), "succeeded 1");
    assert_string_equal(batch_counts(second), "waiting 1");
    fake_broker_clear_messages();
    crowd_reports(crowd, 0, "2.0");
    crowd_run(crowd, 5000);
    assert_int_equal(crowd_notices(), 0);
    assert_string_equal(batch_counts(second), "succeeded 1");
    assert_string_equal(batch_stands(second), "finished");
    batch_check(crowd);
}

/* --- continuous batches -------------------------------------------------------------------------
 */

static struct ota_batch *continuous(struct crowd *crowd, const char *target)
{
    struct ota_batch_row row = batch_row(crowd);
    row.mode = OTA_MODE_CONTINUOUS;
    struct ota_batch *batch = batch_start(crowd, &row, target, NULL, 0);
    crowd_run(crowd, 100);
    return batch;
}

static void test_devices_that_come_to_match(void **state)
{
    struct crowd *crowd = *state;
    crowd_add(crowd, 2, "1.0");
    crowd_add(crowd, 4, "0.9");
    struct ota_batch *batch = continuous(crowd, "{\"fromVersions\":[\"1.0\"],\"tags\":[\"t\"]}");
    assert_string_equal(batch_stands(batch), "running"); /* though nobody is in it */
    assert_string_equal(batch_counts(batch), "");
    set_tags(crowd, 0, "t");
    crowd_run(crowd, 100);
    assert_string_equal(members(crowd, batch), "0");
    set_tags(crowd, 2, "t");
    crowd_run(crowd, 100);
    assert_string_equal(members(crowd, batch), "0");
    crowd_reports(crowd, 2, "1.0");
    crowd_run(crowd, 100);
    assert_string_equal(members(crowd, batch), "0 2");
    crowd_hold(crowd, 3, true);
    set_tags(crowd, 3, "t");
    crowd_reports(crowd, 3, "1.0");
    crowd_run(crowd, 100);
    assert_string_equal(members(crowd, batch), "0 2");
    crowd_hold(crowd, 3, false);
    crowd_run(crowd, 100);
    assert_string_equal(members(crowd, batch), "0 2 3");
    struct ota_task *busy = fixture_plain_task(&crowd->fix, crowd_device(crowd, 4));
    set_tags(crowd, 4, "t");
    crowd_reports(crowd, 4, "1.0");
    crowd_run(crowd, 100);
    assert_ptr_equal(crowd_task(crowd, 4), busy);
    batch_cancel_task(crowd, 4); /* its task ends */
    crowd_run(crowd, 100);
    assert_string_equal(members(crowd, batch), "0 2 3 4");
    batch_check(crowd);
}

/* It was off when the batch was made, and says what it always said. */
static void test_an_unchanged_report_is_a_look(void **state)
{
    struct crowd *crowd = *state;
    crowd_add(crowd, 2, "1.0");
    struct ota_batch *batch = continuous(crowd, "{\"online\":true}");
    assert_string_equal(members(crowd, batch), "");
    crowd_reports(crowd, 0, "1.0");
    crowd_run(crowd, 100);
    assert_string_equal(members(crowd, batch), "0");
    assert_string_equal(batch_counts(batch), "message_sent 1");
    batch_check(crowd);
}

/* Twenty a second of each device: they must be for nothing where nobody looks. */
static void test_an_unchanged_report_costs_nothing_where_nobody_looks(void **state)
{
    struct crowd *crowd = *state;
    crowd_add(crowd, 1, "1.0");
    struct ota_batch_row row = batch_row(crowd);
    (void)batch_start(crowd, &row, "{\"fromVersions\":[\"0.9\"]}", NULL, 0);
    row.mode = OTA_MODE_CONTINUOUS;
    row.product_id = fixture_product(&crowd->fix, "other")->id;
    (void)batch_start(crowd, &row, NULL, NULL, 0);
    crowd_run(crowd, 200);
    crowd_reports(crowd, 0, "1.0"); /* it comes */
    crowd_run(crowd, 100);
    int commits = fixture_commits();
    crowd_reports(crowd, 0, "1.0");
    assert_false(crowd->fix.core.fleet.looks.any);
    fixture_tick(&crowd->fix, 10);
    assert_int_equal(fixture_commits(), commits);
}

static void test_a_device_that_is_created(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch *batch = continuous(crowd, NULL);
    crowd_add(crowd, 3, NULL);
    crowd_run(crowd, 100);
    assert_string_equal(members(crowd, batch), "0 1 2");
    batch_check(crowd);
}

static void test_it_ends_only_by_an_admin_or_its_time(void **state)
{
    struct crowd *crowd = *state;
    crowd_add(crowd, 1, "1.0");
    struct ota_batch *batch = continuous(crowd, NULL);
    crowd_reports(crowd, 0, "2.0");
    crowd_run(crowd, 600000);
    assert_string_equal(batch_stands(batch), "running");
    assert_int_equal(crowd->fix.product->continuous, 1);
    batch->row.expire_at = ota_now_unix() + 1000; /* updateBatch */
    crowd_run(crowd, 1200);
    assert_string_equal(batch_stands(batch), "finished expired");
    crowd_add(crowd, 1, "1.0");
    crowd_run(crowd, 1000);
    assert_null(crowd_task(crowd, 1));
    batch = continuous(crowd, "{\"fromVersions\":[\"1.0\"]}");
    assert_string_equal(members(crowd, batch), "1");
    assert_int_equal(batch_do(crowd, batch_cancel, batch), OTA_OK);
    crowd_add(crowd, 1, "1.0");
    crowd_run(crowd, 1000);
    assert_null(crowd_task(crowd, 2));
    batch_check(crowd);
    assert_int_equal(crowd->fix.product->continuous, 0); /* nobody looks any more */
}

/* It looks while it is paused too; what it takes then waits. */
static void test_a_paused_one_looks(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch *batch = continuous(crowd, NULL);
    assert_int_equal(batch_do(crowd, ota_batches_pause, batch), OTA_OK);
    crowd_add(crowd, 1, "1.0");
    crowd_connect(crowd, 0, 0);
    crowd_run(crowd, 5000);
    assert_string_equal(batch_counts(batch), "waiting 1");
    assert_int_equal(ota_tasks_wait(&crowd->fix.core, crowd_task(crowd, 0)), OTA_WAIT_PAUSED);
    assert_int_equal(batch_do(crowd, ota_batches_resume, batch), OTA_OK);
    crowd_run(crowd, 100);
    assert_string_equal(batch_counts(batch), "message_sent 1");
}

static void test_three_tasks_a_device(void **state)
{
    struct crowd *crowd = *state;
    crowd_add(crowd, 1, "1.0");
    crowd_connect(crowd, 0, 0);
    struct ota_batch *batch = continuous(crowd, NULL);
    for (int i = 1; i <= 3; i++) {
        crowd_run(crowd, 200);
        assert_string_equal(members(crowd, batch), "0");
        struct ota_tally tally = ota_batch_tally(batch);
        assert_int_equal(ota_tally_total(&tally), i);
        crowd_fails(crowd, 0, -4);
    }
    crowd_reports(crowd, 0, "1.1");
    crowd_reports(crowd, 0, "1.0");
    crowd_run(crowd, 5000);
    assert_string_equal(batch_counts(batch), "failed 3"); /* it is left alone */
    int64_t id = batch->row.id;
    crowd_restart(crowd, true);
    crowd_run(crowd, 5000);
    assert_string_equal(batch_counts(batch_again(crowd, id)), "failed 3");
    batch_check(crowd);
}

/* A device that said done boots: it still seems to run what it ran, and gets no second task for it.
 * Where it comes back with the old version after all, it does. */
static void test_a_booting_device_is_not_taken_again(void **state)
{
    struct crowd *crowd = *state;
    crowd_add(crowd, 2, "1.0");
    crowd_connect(crowd, 0, 1);
    struct ota_batch *batch = continuous(crowd, NULL);
    crowd_run(crowd, 100);
    crowd_says(crowd, 0, "done");
    crowd_says(crowd, 1, "done");
    fake_broker_clear_messages();
    crowd_run(crowd, 5000);
    assert_string_equal(batch_counts(batch), "succeeded 2");
    int64_t id = batch->row.id;
    crowd_restart(crowd, true); /* then all are looked at */
    crowd_connect(crowd, 0, 1);
    crowd_run(crowd, 5000);
    assert_string_equal(batch_counts(batch_again(crowd, id)), "succeeded 2");
    assert_int_equal(crowd_notices(), 0);
    crowd_reports(crowd, 0, "2.0");
    crowd_reports(crowd, 1, "1.0");
    crowd_run(crowd, 100);
    assert_string_equal(batch_counts(batch_again(crowd, id)), "message_sent 1, succeeded 2");
    assert_int_equal(crowd_noticed(crowd, 0), 1);
    batch_check(crowd);
}

static void test_the_newest_wins(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch *old = continuous(crowd, NULL);
    struct ota_batch *other = continuous(crowd, "{\"fromVersions\":[\"5.0\"]}");
    crowd_add(crowd, 1, "1.0");
    crowd_run(crowd, 100);
    assert_string_equal(members(crowd, old), "0");
    struct ota_batch *newer = continuous(crowd, "{\"notVersions\":[\"5.0\"]}");
    assert_string_equal(members(crowd, old), "0"); /* it has it already */
    assert_int_equal(newer->row.excluded[OTA_EXCLUDED_BUSY], 1);
    crowd_add(crowd, 1, "1.0");
    crowd_add(crowd, 1, "5.0");
    crowd_add(crowd, 1, NULL); /* matches the oldest alone */
    crowd_run(crowd, 100);
    assert_string_equal(members(crowd, newer), "1");
    assert_string_equal(members(crowd, other), "2");
    assert_string_equal(members(crowd, old), "0 3");
    batch_cancel_task(crowd, 0);
    crowd_run(crowd, 100);
    assert_string_equal(members(crowd, newer), "0 1");
    assert_int_equal(batch_do(crowd, batch_cancel_all, newer), OTA_OK);
    crowd_run(crowd, 300);
    assert_string_equal(members(crowd, old), "0 1 3");
    batch_check(crowd);
}

/* A continuous one with a list takes nobody else; it keeps the list. */
static void test_a_continuous_list(void **state)
{
    struct crowd *crowd = *state;
    crowd_add(crowd, 3, "0.9");
    struct ota_batch *batch =
        continuous(crowd, "{\"devices\":[\"m1\",\"m2\"],\"fromVersions\":[\"1.0\"]}");
    assert_string_equal(members(crowd, batch), "");
    crowd_run(crowd, 1000);
    crowd_reports(crowd, 0, "1.0");
    crowd_reports(crowd, 1, "1.0");
    crowd_run(crowd, 100);
    assert_string_equal(members(crowd, batch), "1");
    int64_t id = batch->row.id;
    crowd_restart(crowd, true);
    crowd_reports(crowd, 2, "1.0");
    crowd_run(crowd, 100);
    assert_string_equal(members(crowd, batch_again(crowd, id)), "1 2");
    batch_check(crowd);
}

/* What it was to look at is forgotten in a crash: after a start it looks at all. */
static void test_it_looks_again_after_a_restart(void **state)
{
    struct crowd *crowd = *state;
    int64_t id = continuous(crowd, "{\"fromVersions\":[\"1.0\"]}")->row.id;
    crowd_add(crowd, 5, "1.0");
    crowd_restart(crowd, true); /* before a tick */
    assert_string_equal(members(crowd, batch_again(crowd, id)), "");
    crowd_run(crowd, 100);
    assert_string_equal(members(crowd, batch_again(crowd, id)), "0 1 2 3 4");
    batch_check(crowd);
}

/* Each write fails in turn: nobody is overlooked for it. */
static void test_no_look_is_lost(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch *batch = continuous(crowd, "{\"fromVersions\":[\"1.0\"]}");
    for (int n = 1; n <= 7; n++) {
        int before = crowd->count;
        crowd_add(crowd, 5, "1.0");
        fixture_fail_write(n);
        crowd_run(crowd, 100);
        batch_check(crowd);
        bool failed = fixture_write_failed();
        assert_int_equal(failed, n <= 6); /* five tasks and a commit */
        assert_int_equal(is_in(crowd, batch, before), !failed);
        crowd_run(crowd, 2000);
        for (int i = 0; i < crowd->count; i++) {
            assert_true(is_in(crowd, batch, i));
        }
        batch_check(crowd);
    }
}

static void test_many_looks_take_slices(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch *batch = continuous(crowd, NULL);
    crowd_add(crowd, 1000, "1.0");
    fixture_tick(&crowd->fix, 10);
    struct ota_tally tally = ota_batch_tally(batch);
    assert_int_equal(ota_tally_total(&tally), 200);
    crowd_run(crowd, 500);
    tally = ota_batch_tally(batch);
    assert_int_equal(ota_tally_total(&tally), 1000);
    batch_check(crowd);
}

/* More looks than a tick is good for, again and again: who is behind them has its turn, too. */
static void test_looks_go_round(void **state)
{
    struct crowd *crowd = *state;
    struct ota_batch *batch = continuous(crowd, "{\"fromVersions\":[\"1.0\"]}");
    crowd_add(crowd, 300, "0.9");
    crowd_add(crowd, 1, "0.9");
    crowd_run(crowd, 1000);
    crowd_reports(crowd, 300, "1.0");
    for (int i = 0; i < 5; i++) {
        for (int j = 0; j < 300; j++) {
            crowd_reports(crowd, j, "0.9");
        }
        fixture_tick(&crowd->fix, 10);
    }
    assert_string_equal(members(crowd, batch), "300");
    crowd_run(crowd, 1000);
    assert_false(crowd->fix.core.fleet.looks.any);
}

/* --- dry runs -----------------------------------------------------------------------------------
 */

/* It tells what a batch would do, and does nothing. */
static void test_a_dry_run_tells_the_truth(void **state)
{
    static const char *const targets[] = {
        "{\"all\":true}",
        "{\"fromVersions\":[\"3.0\",\"1.0\"]}",
        "{\"online\":true}",
        "{\"tags\":[\"x\"]}",
    };
    struct crowd *crowd = *state;
    make_reasons(crowd);
    set_tags(crowd, 4, "x");
    crowd_connect(crowd, 3, 5);
    for (size_t i = 0; i < COUNT(targets); i++) {
        json_t *json = json_loads(targets[i], 0, NULL);
        struct ota_dry_run told = {0};
        struct ota_batch trial = {.row = batch_row(crowd), .product = crowd->fix.product};
        assert_int_equal(ota_target_read(json, &trial.target, NULL), OTA_OK);
        int commits = fixture_commits();
        assert_int_equal(ota_prepare_dry_run(&crowd->fix.core, &trial, &told, INT64_MAX, NULL),
                         OTA_OK);
        assert_int_equal(fixture_commits(), commits);
        assert_true(told.done);
        ota_target_free(&trial.target);
        json_decref(json);
        struct ota_batch *batch = start(crowd, targets[i]);
        struct ota_tally tally = ota_batch_tally(batch);
        assert_int_equal(told.taken, ota_tally_total(&tally));
        assert_memory_equal(told.excluded, batch->row.excluded, sizeof told.excluded);
        uint32_t excluded = 0;
        for (int j = 0; j < OTA_EXCLUSION_COUNT; j++) {
            excluded += told.excluded[j];
        }
        assert_int_equal(told.matched, told.taken + excluded);
        assert_int_equal(batch_do(crowd, batch_cancel_all, batch), OTA_OK);
        crowd_run(crowd, 300);
    }
}

static void test_a_dry_run_takes_slices(void **state)
{
    struct crowd *crowd = *state;
    struct ota_dry_run told = {0};
    struct ota_batch trial = {
        .row = batch_row(crowd), .product = crowd->fix.product, .target = {.online = -1}};
    crowd_add(crowd, 1000, "1.0");
    int calls = 0;
    for (; !told.done && calls < 100; calls++) {
        assert_int_equal(ota_prepare_dry_run(&crowd->fix.core, &trial, &told, ota_now_mono(), NULL),
                         OTA_OK);
    }
    assert_in_range(calls, 14, 17); /* 64 devices are the least */
    assert_int_equal(told.matched, 1000);
    assert_int_equal(told.taken, 1000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, crowd_setup, crowd_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_targets),
        TEST(test_other_products_are_left_alone),
        TEST(test_a_snapshot),
        TEST(test_the_first_reason_counts),
        TEST(test_permissions_lift_exclusions),
        TEST(test_reinstall),
        TEST(test_what_a_task_gets_from_its_batch),
        TEST(test_a_draft_and_its_list),
        TEST(test_a_list_without_a_target),
        TEST(test_a_cancelled_draft_forgets_its_list),
        TEST(test_slices),
        TEST(test_killed_after_each_slice),
        TEST(test_killed_while_it_overrides),
        TEST(test_a_pause_amid_preparing),
        TEST(test_a_cancel_amid_preparing),
        TEST(test_devices_act_amid_preparing),
        TEST(test_a_device_is_deleted_amid_preparing),
        TEST(test_preparing_starves_nobody),
        TEST(test_each_write_fails_in_turn),
        TEST(test_a_full_disk),
        TEST(test_a_snapshot_takes_a_booting_device),
        TEST(test_devices_that_come_to_match),
        TEST(test_an_unchanged_report_is_a_look),
        TEST(test_an_unchanged_report_costs_nothing_where_nobody_looks),
        TEST(test_a_device_that_is_created),
        TEST(test_it_ends_only_by_an_admin_or_its_time),
        TEST(test_a_paused_one_looks),
        TEST(test_three_tasks_a_device),
        TEST(test_a_booting_device_is_not_taken_again),
        TEST(test_the_newest_wins),
        TEST(test_a_continuous_list),
        TEST(test_it_looks_again_after_a_restart),
        TEST(test_no_look_is_lost),
        TEST(test_many_looks_take_slices),
        TEST(test_looks_go_round),
        TEST(test_a_dry_run_tells_the_truth),
        TEST(test_a_dry_run_takes_slices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
