/* SPDX-License-Identifier: BSD-3-Clause */
/* Batches, their stages and their lists of names: each function, good and bad; which tasks are of
 * a batch. */
#include "store_fixture.h"

#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

#define TARGET "{\"fromVersions\":[\"1.0\"]}"

/* Every field differs from what it is when nobody cares for it. */
static struct ota_batch_row full_row(int64_t product)
{
    return (struct ota_batch_row){
        .product_id = product,
        .firmware_id = 5,
        .version = "2.0",
        .name = "spring \xc3\xa4",
        .mode = OTA_MODE_CONTINUOUS,
        .state = OTA_BATCH_PAUSED,
        .reason = OTA_REASON_STAGE_GATE,
        .named = true,
        .gate = OTA_GATE_DONE,
        .rate_per_minute = 600,
        .max_in_flight = 77,
        .threshold_percent = 5,
        .threshold_min = 40,
        .timeout_ms = 600000,
        .retry_max = 3,
        .retry_delay_ms = 45000,
        .retry_on = "timeout,-4",
        .flags = OTA_BATCH_OVERRIDE | OTA_BATCH_DOWNGRADE | OTA_BATCH_RECOUNT,
        .start_at = FIX_NOW + 1,
        .expire_at = FIX_NOW + 2,
        .created_at = FIX_NOW + 3,
        .started_at = FIX_NOW + 4,
        .prepared = OTA_PREPARED_PARTLY,
        .prepared_to = 4711,
        .retrying = true,
        .retried_to = 815,
        .excluded = {1, 2, 3, 4},
        .open_stages = 2,
        .known_failures = 6,
        .known_successes = 7,
        .bucket = {.tokens = 0.625, .at = 123456},
    };
}

/* What most batches are. */
static struct ota_batch_row plain_row(int64_t product)
{
    return (struct ota_batch_row){.product_id = product,
                                  .firmware_id = 1,
                                  .version = "2.0",
                                  .state = OTA_BATCH_RUNNING,
                                  .max_in_flight = 500,
                                  .timeout_ms = 900000,
                                  .created_at = FIX_NOW};
}

static const struct ota_stage two_stages[] = {
    {.percent = 0.1,
     .min_success_percent = 60,
     .soak_ms = 86400000,
     .manual = true,
     .state = OTA_STAGE_OPEN,
     .end_key = UINT64_C(0xfedcba9876543210),
     .opened_at = FIX_NOW + 5,
     .passed_ms = 987654},
    {.count = 12, .min_success_percent = 100, .end_key = OTA_KEY_LAST},
};

static int64_t insert(struct store_fixture *fix, struct ota_batch_row *row, const char *target,
                      size_t stage_count)
{
    fix_begin(fix);
    assert_int_equal(
        ota_batch_insert(fix->store, row, target, two_stages, stage_count, &fix->error), OTA_OK);
    fix_commit(fix);
    return row->id;
}

/* --- what loading tells -------------------------------------------------------------------------
 */

struct loaded {
    int64_t id; /* the one that is sought */
    struct ota_batch_row row;
    char target[200];
    struct fix_seen batches;
    struct ota_stage stages[4];
    size_t stage_count;
    struct fix_seen all_stages;
};

static bool note_batch(void *data, const struct ota_batch_row *row, const char *target)
{
    struct loaded *loaded = data;
    if (row->id == loaded->id) {
        loaded->row = *row;
        fix_copy(loaded->target, sizeof loaded->target, target);
    }
    return fix_note(&loaded->batches, row->id, row->name);
}

static bool note_stage(void *data, int64_t batch_id, const struct ota_stage *stage)
{
    struct loaded *loaded = data;
    if (batch_id == loaded->id) {
        loaded->stages[loaded->stage_count++] = *stage;
    }
    return fix_note(&loaded->all_stages, batch_id, "");
}

static struct loaded load(struct store_fixture *fix, int64_t id)
{
    struct loaded loaded = {.id = id};
    assert_int_equal(ota_batch_load(fix->store, note_batch, &loaded, &fix->error), OTA_OK);
    assert_int_equal(ota_batch_load_stages(fix->store, note_stage, &loaded, &fix->error), OTA_OK);
    return loaded;
}

static void assert_same_making(const struct ota_batch_row *a, const struct ota_batch_row *b)
{
    assert_int_equal(a->id, b->id);
    assert_int_equal(a->product_id, b->product_id);
    assert_int_equal(a->firmware_id, b->firmware_id);
    assert_string_equal(a->version, b->version);
    assert_int_equal(a->mode, b->mode);
    assert_int_equal(a->gate, b->gate);
    assert_int_equal(a->timeout_ms, b->timeout_ms);
    assert_int_equal(a->retry_max, b->retry_max);
    assert_int_equal(a->retry_delay_ms, b->retry_delay_ms);
    assert_string_equal(a->retry_on, b->retry_on);
    assert_int_equal(a->start_at, b->start_at);
    assert_int_equal(a->created_at, b->created_at);
}

static void assert_same_progress(const struct ota_batch_row *a, const struct ota_batch_row *b)
{
    assert_int_equal(a->started_at, b->started_at);
    assert_int_equal(a->finished_at, b->finished_at);
    assert_int_equal(a->prepared, b->prepared);
    assert_int_equal(a->prepared_to, b->prepared_to);
    assert_int_equal(a->retrying, b->retrying);
    assert_int_equal(a->retried_to, b->retried_to);
    assert_memory_equal(a->excluded, b->excluded, sizeof a->excluded);
    assert_int_equal(a->open_stages, b->open_stages);
    assert_int_equal(a->known_failures, b->known_failures);
    assert_int_equal(a->known_successes, b->known_successes);
    assert_true(a->bucket.tokens == b->bucket.tokens);
    assert_int_equal(a->bucket.at, b->bucket.at);
    assert_int_equal(a->tallied, b->tallied);
}

static void assert_same_row(const struct ota_batch_row *a, const struct ota_batch_row *b)
{
    assert_same_making(a, b);
    assert_same_progress(a, b);
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->reason, b->reason);
    assert_int_equal(a->named, b->named);
    assert_int_equal(a->rate_per_minute, b->rate_per_minute);
    assert_int_equal(a->max_in_flight, b->max_in_flight);
    assert_int_equal(a->threshold_percent, b->threshold_percent);
    assert_int_equal(a->threshold_min, b->threshold_min);
    assert_int_equal(a->flags, b->flags);
    assert_int_equal(a->expire_at, b->expire_at);
}

static void assert_same_stage(const struct ota_stage *a, const struct ota_stage *b)
{
    assert_true(a->percent == b->percent);
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->min_success_percent, b->min_success_percent);
    assert_int_equal(a->soak_ms, b->soak_ms);
    assert_int_equal(a->manual, b->manual);
    assert_int_equal(a->state, b->state);
    assert_true(a->end_key == b->end_key);
    assert_int_equal(a->opened_at, b->opened_at);
    assert_int_equal(a->passed_ms, b->passed_ms);
    assert_memory_equal(a->tally.by_status, b->tally.by_status, sizeof a->tally.by_status);
    assert_int_equal(a->tally.confirmed, b->tally.confirmed);
    assert_int_equal(a->tally.contradicted, b->tally.contradicted);
    assert_int_equal(a->tally.overdue, b->tally.overdue);
    assert_int_equal(b->tally.online, 0);
}

/* --- batches ------------------------------------------------------------------------------------
 */

static void test_a_full_row(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_batch_row row = full_row(fix_product(fix, "door"));
    int64_t id = insert(fix, &row, TARGET, 2);
    assert_true(id > 0);
    struct loaded loaded = load(fix, id);
    assert_same_row(&loaded.row, &row);
    assert_string_equal(loaded.target, TARGET);
    assert_int_equal(loaded.stage_count, 2);
    assert_same_stage(&two_stages[0], &loaded.stages[0]);
    assert_same_stage(&two_stages[1], &loaded.stages[1]);
}

/* Nothing of the row before shows through. */
static void test_a_plain_row_after_a_full_one(void **state)
{
    struct store_fixture *fix = *state;
    int64_t product = fix_product(fix, "door");
    struct ota_batch_row full = full_row(product);
    struct ota_batch_row plain = plain_row(product);
    (void)insert(fix, &full, TARGET, 2);
    int64_t id = insert(fix, &plain, "", 0);
    struct loaded loaded = load(fix, id);
    assert_same_row(&loaded.row, &plain);
    assert_string_equal(loaded.target, "");
    assert_int_equal(loaded.stage_count, 0);
    assert_int_equal(fix_int(fix, "SELECT rate_per_minute IS NULL AND threshold_percent IS NULL "
                                  "AND start_at IS NULL AND expire_at IS NULL AND retried_to IS "
                                  "NULL AND finished_at IS NULL FROM batch ORDER BY id DESC"),
                     1);
}

static void test_update_writes_what_can_change(void **state)
{
    struct store_fixture *fix = *state;
    int64_t product = fix_product(fix, "door");
    struct ota_batch_row row = plain_row(product);
    struct ota_batch_row other = plain_row(product);
    int64_t id = insert(fix, &row, TARGET, 1);
    int64_t other_id = insert(fix, &other, "", 1);
    struct ota_batch_row changed = full_row(product);
    changed.id = id;
    changed.state = OTA_BATCH_FINISHED;
    changed.finished_at = FIX_NOW + 9;
    changed.tallied = true;
    fix_begin(fix);
    assert_int_equal(ota_batch_update(fix->store, &changed, &fix->error), OTA_OK);
    fix_commit(fix);
    struct loaded loaded = load(fix, id);
    assert_same_making(&loaded.row, &row);
    assert_same_progress(&loaded.row, &changed);
    assert_string_equal(loaded.row.name, changed.name);
    assert_int_equal(loaded.row.state, OTA_BATCH_FINISHED);
    assert_int_equal(loaded.row.max_in_flight, 77);
    assert_string_equal(loaded.target, TARGET);
    changed.retrying = false; /* 0 is a place to be at, none isn't */
    fix_begin(fix);
    assert_int_equal(ota_batch_update(fix->store, &changed, &fix->error), OTA_OK);
    fix_commit(fix);
    loaded = load(fix, id);
    assert_false(loaded.row.retrying);
    changed.retrying = true;
    changed.retried_to = 0;
    fix_begin(fix);
    assert_int_equal(ota_batch_update(fix->store, &changed, &fix->error), OTA_OK);
    fix_commit(fix);
    loaded = load(fix, id);
    assert_true(loaded.row.retrying);
    assert_int_equal(loaded.row.retried_to, 0);
    loaded = load(fix, other_id);
    assert_same_row(&loaded.row, &other);
}

static void test_bucket(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_batch_row row = full_row(fix_product(fix, "door"));
    struct ota_bucket bucket = {.tokens = 17.0 / 3.0, .at = 99};
    int64_t id = insert(fix, &row, "", 1);
    fix_begin(fix);
    assert_int_equal(ota_batch_set_bucket(fix->store, id, &bucket, &fix->error), OTA_OK);
    assert_int_equal(ota_batch_set_bucket(fix->store, NO_ROW, &bucket, NULL), OTA_NOT_FOUND);
    fix_commit(fix);
    row.bucket = bucket;
    struct loaded loaded = load(fix, id);
    assert_same_row(&loaded.row, &row);
}

static void test_stages(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_batch_row row = plain_row(fix_product(fix, "door"));
    int64_t id = insert(fix, &row, "", 2);
    struct ota_stage changed = two_stages[1];
    changed.state = OTA_STAGE_PASSED;
    changed.end_key = UINT64_C(1) << 63;
    changed.opened_at = FIX_NOW + 7;
    changed.passed_ms = 8;
    changed.tally = (struct ota_tally){
        .by_status = {1, 2, 3, 4, 5, 6, 7, 8}, .confirmed = 9, .contradicted = 10, .overdue = 11};
    fix_begin(fix);
    assert_int_equal(ota_batch_update_stage(fix->store, id, 1, &changed, &fix->error), OTA_OK);
    assert_int_equal(ota_batch_update_stage(fix->store, id, 2, &changed, NULL), OTA_NOT_FOUND);
    assert_int_equal(ota_batch_update_stage(fix->store, NO_ROW, 0, &changed, NULL), OTA_NOT_FOUND);
    fix_commit(fix);
    struct loaded loaded = load(fix, id);
    assert_same_stage(&two_stages[0], &loaded.stages[0]);
    assert_same_stage(&changed, &loaded.stages[1]);
}

static void test_loading_all(void **state)
{
    struct store_fixture *fix = *state;
    int64_t product = fix_product(fix, "door");
    int64_t doomed = fix_product(fix, "doomed");
    struct ota_batch_row row = plain_row(product);
    int64_t first = insert(fix, &row, "", 2);
    row = plain_row(doomed);
    int64_t gone = insert(fix, &row, "", 1);
    row = plain_row(product);
    int64_t last = insert(fix, &row, "", 2);
    struct loaded loaded = load(fix, gone);
    assert_int_equal(loaded.batches.count, 3);
    assert_int_equal(loaded.all_stages.count, 5);
    fix_begin(fix);
    assert_int_equal(ota_product_doom(fix->store, doomed, &fix->error), OTA_OK);
    fix_commit(fix);
    loaded = load(fix, gone);
    assert_int_equal(loaded.row.id, 0);
    assert_int_equal(loaded.batches.count, 2);
    assert_int_equal(loaded.batches.ids[0], first);
    assert_int_equal(loaded.batches.ids[1], last);
    struct loaded one = {.batches = {.stop_after = 1}, .all_stages = {.stop_after = 2}};
    assert_int_equal(ota_batch_load(fix->store, note_batch, &one, &fix->error), OTA_OK);
    assert_int_equal(one.batches.count, 1);
    assert_int_equal(ota_batch_load_stages(fix->store, note_stage, &one, &fix->error), OTA_OK);
    assert_int_equal(one.all_stages.count, 2);
}

static void test_writing_needs_a_transaction(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_batch_row row = plain_row(fix_product(fix, "door"));
    int64_t id = insert(fix, &row, "", 1);
    bool left;
    struct ota_batch_row second = plain_row(row.product_id);
    assert_int_equal(ota_batch_insert(fix->store, &second, "", two_stages, 1, NULL), OTA_INTERNAL);
    assert_int_equal(ota_batch_update(fix->store, &row, NULL), OTA_INTERNAL);
    assert_int_equal(ota_batch_set_bucket(fix->store, id, &row.bucket, NULL), OTA_INTERNAL);
    assert_int_equal(ota_batch_update_stage(fix->store, id, 0, two_stages, NULL), OTA_INTERNAL);
    assert_int_equal(ota_batch_name_device(fix->store, id, 1, NULL), OTA_INTERNAL);
    assert_int_equal(ota_batch_unname(fix->store, id, 1, &left, NULL), OTA_INTERNAL);
}

/* --- what the schema refuses --------------------------------------------------------------------
 */

static void try_row(struct store_fixture *fix, const struct ota_batch_row *row, enum ota_err want)
{
    struct ota_batch_row copy = *row;
    fix_begin(fix);
    assert_int_equal(ota_batch_insert(fix->store, &copy, "", two_stages, 1, NULL), want);
    ota_store_rollback(fix->store);
}

static void test_rows_that_are_refused(void **state)
{
    struct store_fixture *fix = *state;
    int64_t product = fix_product(fix, "door");
    struct ota_batch_row rows[16];
    for (size_t i = 0; i < COUNT(rows); i++) {
        rows[i] = plain_row(product);
    }
    try_row(fix, &rows[0], OTA_OK);
    rows[0].product_id = NO_ROW;
    rows[1].mode = (enum ota_batch_mode)2;
    rows[2].state = (enum ota_batch_state)7;
    rows[2].finished_at = 1;
    rows[3].reason = (enum ota_batch_reason)5;
    rows[4].gate = (enum ota_gate)2;
    rows[5].max_in_flight = 0;
    rows[6].threshold_percent = 101;
    rows[7].timeout_ms = 0;
    rows[8].retry_max = 11;
    rows[9].prepared = (enum ota_prepared)3;
    rows[10].finished_at = FIX_NOW; /* it runs */
    rows[11].state = OTA_BATCH_FINISHED;
    rows[12].state = OTA_BATCH_CANCELLED;
    rows[13].max_in_flight = -1;
    rows[14].retry_max = -1;
    rows[15].state = OTA_BATCH_PAUSED;
    rows[15].finished_at = FIX_NOW;
    for (size_t i = 0; i < COUNT(rows); i++) {
        try_row(fix, &rows[i], OTA_CONFLICT);
    }
}

static void test_every_word_is_taken(void **state)
{
    struct store_fixture *fix = *state;
    int64_t product = fix_product(fix, "door");
    for (int i = 0; i < OTA_BATCH_STATE_COUNT; i++) {
        struct ota_batch_row row = plain_row(product);
        row.state = (enum ota_batch_state)i;
        row.finished_at = i >= OTA_BATCH_CANCELLED ? FIX_NOW : 0;
        try_row(fix, &row, OTA_OK);
    }
    for (int i = 0; i < OTA_REASON_COUNT; i++) {
        struct ota_batch_row row = plain_row(product);
        row.reason = (enum ota_batch_reason)i;
        try_row(fix, &row, OTA_OK);
    }
}

static void test_stages_that_are_refused(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_batch_row row = plain_row(fix_product(fix, "door"));
    struct ota_stage stages[3] = {two_stages[0], two_stages[0], two_stages[0]};
    stages[0].min_success_percent = 101;
    stages[1].min_success_percent = -1;
    stages[2].state = (enum ota_stage_state)3;
    for (size_t i = 0; i < COUNT(stages); i++) {
        fix_begin(fix);
        assert_int_equal(ota_batch_insert(fix->store, &row, "", &stages[i], 1, NULL), OTA_CONFLICT);
        ota_store_rollback(fix->store);
    }
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM batch"), 0);
}

/* --- the list of names --------------------------------------------------------------------------
 */

static bool note_id(void *data, int64_t id)
{
    return fix_note(data, id, "");
}

static struct fix_seen named(struct store_fixture *fix, int64_t id, int64_t after, int stop_after)
{
    struct fix_seen seen = {.stop_after = stop_after};
    assert_int_equal(ota_batch_named(fix->store, id, after, note_id, &seen, &fix->error), OTA_OK);
    return seen;
}

static void name(struct store_fixture *fix, int64_t id, int64_t device)
{
    fix_begin(fix);
    assert_int_equal(ota_batch_name_device(fix->store, id, device, &fix->error), OTA_OK);
    fix_commit(fix);
}

static int64_t count_named(struct store_fixture *fix, int64_t id)
{
    int64_t count = -1;
    assert_int_equal(ota_batch_count_named(fix->store, id, &count, &fix->error), OTA_OK);
    return count;
}

static void test_names(void **state)
{
    struct store_fixture *fix = *state;
    int64_t product = fix_product(fix, "door");
    struct ota_batch_row row = plain_row(product);
    int64_t a = insert(fix, &row, "", 1);
    int64_t b = insert(fix, &row, "", 1);
    bool is_named = true;
    assert_int_equal(count_named(fix, a), 0);
    static const int64_t devices[] = {30, 10, 20, 30};
    for (size_t i = 0; i < COUNT(devices); i++) {
        name(fix, a, devices[i]);
    }
    name(fix, b, 40);
    struct fix_seen seen = named(fix, a, 0, 0);
    assert_int_equal(seen.count, 3); /* each once */
    assert_int_equal(seen.ids[0], 10);
    assert_int_equal(seen.ids[2], 30);
    seen = named(fix, a, 10, 1);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.ids[0], 20);
    assert_int_equal(named(fix, a, 30, 0).count, 0);
    assert_int_equal(count_named(fix, a), 3);
    assert_int_equal(ota_batch_is_named(fix->store, a, 20, &is_named, NULL), OTA_OK);
    assert_true(is_named);
    assert_int_equal(ota_batch_is_named(fix->store, a, 40, &is_named, NULL), OTA_OK);
    assert_false(is_named);
    fix_begin(fix);
    assert_int_equal(ota_batch_name_device(fix->store, NO_ROW, 1, NULL), OTA_CONFLICT);
    ota_store_rollback(fix->store);
}

static void test_a_list_goes_in_slices(void **state)
{
    struct store_fixture *fix = *state;
    struct ota_batch_row row = plain_row(fix_product(fix, "door"));
    int64_t a = insert(fix, &row, "", 1);
    int64_t b = insert(fix, &row, "", 1);
    bool left = false;
    name(fix, b, 1);
    for (int64_t device = 1; device <= 7; device++) {
        name(fix, a, device);
    }
    static const int lefts[] = {4, 1, 0};
    for (int i = 0; i < 3; i++) {
        fix_begin(fix);
        assert_int_equal(ota_batch_unname(fix->store, a, 3, &left, &fix->error), OTA_OK);
        fix_commit(fix);
        assert_int_equal(left, i < 2);
        assert_int_equal(count_named(fix, a), lefts[i]);
    }
    assert_int_equal(count_named(fix, b), 1);
}

/* A device that is deleted leaves all lists: its number may be drawn again. */
static void test_a_deleted_device_is_on_no_list(void **state)
{
    struct store_fixture *fix = *state;
    int64_t product = fix_product(fix, "door");
    int64_t kept = fix_device(fix, product, "kept");
    int64_t gone = fix_device(fix, product, "gone");
    struct ota_batch_row row = plain_row(product);
    int64_t a = insert(fix, &row, "", 1);
    int64_t b = insert(fix, &row, "", 1);
    name(fix, a, gone);
    name(fix, b, gone);
    name(fix, b, kept);
    fix_begin(fix);
    assert_int_equal(ota_device_doom(fix->store, gone, &fix->error), OTA_OK);
    fix_commit(fix);
    assert_int_equal(count_named(fix, a), 0);
    assert_int_equal(count_named(fix, b), 1);
    bool left = true;
    fix_begin(fix);
    assert_int_equal(ota_product_purge(fix->store, 100, &left, &fix->error), OTA_OK);
    assert_false(left);
    fix_commit(fix);
    assert_int_equal(fix_device(fix, product, "next"), gone);
    assert_int_equal(count_named(fix, b), 1);
}

/* --- with a product -----------------------------------------------------------------------------
 */

/* A product with two devices and three batches of two stages, of which two name devices. */
static int64_t product_with_batches(struct store_fixture *fix, const char *called)
{
    int64_t product = fix_product(fix, called);
    for (int i = 0; i < 2; i++) {
        char text[8];
        (void)snprintf(text, sizeof text, "d%d", i);
        (void)fix_device(fix, product, text);
    }
    for (int i = 0; i < 3; i++) {
        struct ota_batch_row row = plain_row(product);
        int64_t id = insert(fix, &row, "", 2);
        for (int64_t device = 1000; i > 0 && device < 1010; device++) {
            name(fix, id, device);
        }
    }
    return product;
}

static int64_t rows(struct store_fixture *fix)
{
    return fix_int(fix, "SELECT (SELECT count(*) FROM batch) + (SELECT count(*) FROM batch_stage) "
                        "+ (SELECT count(*) FROM batch_device) + (SELECT count(*) FROM product)");
}

static void purge(struct store_fixture *fix, int budget)
{
    bool left = true;
    while (left) {
        fix_begin(fix);
        int64_t before = fix_int(fix, "SELECT total_changes()");
        assert_int_equal(ota_product_purge(fix->store, budget, &left, &fix->error), OTA_OK);
        int64_t done = fix_int(fix, "SELECT total_changes()") - before;
        assert_true(done <= budget + 2 * budget); /* a batch's two stages go with it */
        fix_commit(fix);
    }
}

static void test_batches_go_with_their_product(void **state)
{
    static const int budgets[] = {1, 2, 3, 7, 1000};
    struct store_fixture *fix = *state;
    int64_t kept = product_with_batches(fix, "kept");
    int64_t before = rows(fix);
    for (size_t i = 0; i < COUNT(budgets); i++) {
        int64_t doomed = product_with_batches(fix, "doomed");
        fix_begin(fix);
        assert_int_equal(ota_product_doom(fix->store, doomed, &fix->error), OTA_OK);
        fix_commit(fix);
        purge(fix, budgets[i]);
        assert_int_equal(rows(fix), before);
    }
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
    struct loaded loaded = load(fix, 1);
    assert_int_equal(loaded.batches.count, 3);
    assert_int_equal(loaded.row.product_id, kept);
    struct ota_batch_row row = plain_row(kept);
    assert_true(insert(fix, &row, "", 1) > 18); /* no number twice */
}

/* --- a batch's tasks ----------------------------------------------------------------------------
 */

static int64_t add_task(struct store_fixture *fix, int64_t device, int64_t batch)
{
    struct ota_task_row row = {.device_id = device,
                               .firmware_id = 1,
                               .batch_id = batch,
                               .version = "2.0",
                               .status = OTA_FAILED,
                               .attempt = 1,
                               .timeout_ms = 900000,
                               .created_at = FIX_NOW,
                               .updated_at = FIX_NOW,
                               .finished_at = FIX_NOW};
    fix_begin(fix);
    assert_int_equal(ota_task_insert(fix->store, &row, &fix->error), OTA_OK);
    fix_commit(fix);
    return row.id;
}

static bool note_task(void *data, const struct ota_task_row *row)
{
    return fix_note(data, row->id, row->version);
}

static void assert_ids(const struct fix_seen *seen, int count, int64_t first, int64_t last)
{
    assert_int_equal(seen->count, count);
    assert_int_equal(seen->ids[0], first);
    assert_int_equal(seen->ids[count - 1], last);
}

static struct store_fixture *the_fixture;

static void test_tasks_of_a_batch(void **state)
{
    struct store_fixture *fix = *state;
    int64_t p = fix_product(fix, "p");
    int64_t q = fix_product(fix, "q");
    int64_t d1 = fix_device(fix, p, "d1");
    int64_t d2 = fix_device(fix, p, "d2");
    int64_t d3 = fix_device(fix, q, "d3");
    int64_t t1 = add_task(fix, d1, 6);
    int64_t t2 = add_task(fix, d2, 6);
    int64_t t3 = add_task(fix, d1, 0);
    int64_t t4 = add_task(fix, d1, 6);
    (void)add_task(fix, d3, 7);
    struct fix_seen seen = {0};
    assert_int_equal(ota_task_of_batch(fix->store, 6, 0, note_task, &seen, NULL), OTA_OK);
    assert_ids(&seen, 3, t1, t4);
    seen = (struct fix_seen){0};
    assert_int_equal(ota_task_of_batch(fix->store, 6, t1, note_task, &seen, NULL), OTA_OK);
    assert_ids(&seen, 2, t2, t4);
    seen = (struct fix_seen){.stop_after = 1};
    assert_int_equal(ota_task_of_batch(fix->store, 6, 0, note_task, &seen, NULL), OTA_OK);
    assert_ids(&seen, 1, t1, t1);
    seen = (struct fix_seen){0};
    assert_int_equal(ota_task_of_batch(fix->store, NO_ROW, 0, note_task, &seen, NULL), OTA_OK);
    assert_int_equal(seen.count, 0);
    assert_int_equal(ota_task_of_device(fix->store, d1, 0, note_task, &seen, NULL), OTA_OK);
    assert_ids(&seen, 3, t1, t4);
    assert_int_equal(seen.ids[1], t3);
}

static bool note_outcome(void *data, const struct ota_task_outcome *outcome)
{
    struct ota_task_row row;
    struct store_fixture *fix = the_fixture;
    assert_int_equal(ota_task_get(fix->store, outcome->id, &row, NULL), OTA_OK);
    assert_int_equal(outcome->device_id, row.device_id);
    assert_int_equal(outcome->status, row.status);
    assert_int_equal(outcome->confirmation, row.confirmation);
    assert_int_equal(outcome->ending, row.ending);
    assert_int_equal(outcome->has_result_code, row.has_result_code);
    assert_int_equal(outcome->result_code, row.result_code);
    assert_string_equal(outcome->from_version, row.from_version);
    return note_task(data, &row);
}

/* What is counted of a task is what the task has. */
static void test_outcomes(void **state)
{
    struct store_fixture *fix = *state;
    int64_t p = fix_product(fix, "p");
    int64_t q = fix_product(fix, "q");
    int64_t d1 = fix_device(fix, p, "d1");
    int64_t d2 = fix_device(fix, p, "d2");
    int64_t t1 = add_task(fix, d1, 6);
    int64_t t2 = add_task(fix, d2, 6);
    int64_t t3 = add_task(fix, d1, 0);
    int64_t t4 = add_task(fix, fix_device(fix, q, "d3"), 7);
    struct fix_seen seen = {0};
    the_fixture = fix;
    fix_sql(fix->path, "UPDATE task SET ending = 1, result_code = -4, from_version = '0.9' "
                       "WHERE batch_id IS NOT NULL");
    assert_int_equal(ota_task_outcomes_of_product(fix->store, p, 0, note_outcome, &seen, NULL),
                     OTA_OK);
    assert_ids(&seen, 3, t1, t3);
    seen = (struct fix_seen){0};
    assert_int_equal(ota_task_outcomes_of_product(fix->store, p, t1, note_outcome, &seen, NULL),
                     OTA_OK);
    assert_ids(&seen, 2, t2, t3);
    seen = (struct fix_seen){0};
    assert_int_equal(ota_task_outcomes_of_product(fix->store, q, 0, note_outcome, &seen, NULL),
                     OTA_OK);
    assert_ids(&seen, 1, t4, t4);
    seen = (struct fix_seen){.stop_after = 1};
    assert_int_equal(ota_task_outcomes_of_batch(fix->store, 6, 0, note_outcome, &seen, NULL),
                     OTA_OK);
    assert_ids(&seen, 1, t1, t1);
    seen = (struct fix_seen){0};
    assert_int_equal(ota_task_outcomes_of_batch(fix->store, 6, t1, note_outcome, &seen, NULL),
                     OTA_OK);
    assert_ids(&seen, 1, t2, t2);
}

static void test_a_devices_tasks_in_a_batch(void **state)
{
    struct store_fixture *fix = *state;
    int64_t product = fix_product(fix, "p");
    int64_t d1 = fix_device(fix, product, "d1");
    int64_t d2 = fix_device(fix, product, "d2");
    struct ota_task_row row = {0};
    int count = -1;
    (void)add_task(fix, d1, 6);
    int64_t newest = add_task(fix, d1, 6);
    (void)add_task(fix, d1, 7);
    assert_int_equal(ota_task_in_batch(fix->store, d1, 6, &row, NULL), OTA_OK);
    assert_int_equal(row.id, newest);
    assert_int_equal(row.batch_id, 6);
    assert_int_equal(ota_task_in_batch(fix->store, d2, 6, &row, NULL), OTA_NOT_FOUND);
    assert_int_equal(ota_task_in_batch(fix->store, d1, 8, &row, NULL), OTA_NOT_FOUND);
    assert_int_equal(ota_task_count_in_batch(fix->store, d1, 6, &count, NULL), OTA_OK);
    assert_int_equal(count, 2);
    assert_int_equal(ota_task_count_in_batch(fix->store, d2, 6, &count, NULL), OTA_OK);
    assert_int_equal(count, 0);
}

/* --- many tasks at once -------------------------------------------------------------------------
 */

static const struct ota_task_row common = {
    .firmware_id = 5,
    .batch_id = 6,
    .version = "2.0",
    .status = OTA_WAITING,
    .attempt = 1,
    .flags = 0,
    .timeout_ms = 600000,
    .retry_max = 3,
    .retry_delay_ms = 45000,
    .retry_on = "timeout",
    .created_at = FIX_NOW + 1,
    .updated_at = FIX_NOW + 2,
};

static void report(struct store_fixture *fix, int64_t device, const char *version)
{
    fix_begin(fix);
    assert_int_equal(ota_device_set_version(fix->store, device, version, FIX_NOW, &fix->error),
                     OTA_OK);
    fix_commit(fix);
}

static void assert_made(struct store_fixture *fix, int64_t id, int64_t device, const char *from,
                        unsigned flags)
{
    struct ota_task_row row;
    assert_int_equal(ota_task_get(fix->store, id, &row, &fix->error), OTA_OK);
    assert_int_equal(row.device_id, device);
    assert_int_equal(row.product_id, 1);
    assert_int_equal(row.firmware_id, 5);
    assert_int_equal(row.batch_id, 6);
    assert_string_equal(row.version, "2.0");
    assert_string_equal(row.from_version, from);
    assert_int_equal(row.status, OTA_WAITING);
    assert_int_equal(row.attempt, 1);
    assert_int_equal(row.flags, flags);
    assert_int_equal(row.timeout_ms, 600000);
    assert_int_equal(row.retry_max, 3);
    assert_int_equal(row.retry_delay_ms, 45000);
    assert_string_equal(row.retry_on, "timeout");
    assert_int_equal(row.created_at, FIX_NOW + 1);
    assert_int_equal(row.updated_at, FIX_NOW + 2);
    assert_int_equal(row.finished_at, 0);
    assert_int_equal(row.last_event, 0);
}

/* Devices that lie between the listed ones get nothing. */
static void test_many_tasks_at_once(void **state)
{
    struct store_fixture *fix = *state;
    int64_t product = fix_product(fix, "door");
    int64_t devices[6];
    for (int i = 0; i < 6; i++) {
        char text[8];
        (void)snprintf(text, sizeof text, "d%d", i);
        devices[i] = fix_device(fix, product, text);
    }
    report(fix, devices[1], "1.0");
    report(fix, devices[4], "2.0");
    struct ota_task_row old = fix_task(fix, devices[1], 1);
    fix_change(fix, &old, OTA_FAILED);
    struct ota_task_row newer = fix_task(fix, devices[1], 1);
    fix_change(fix, &newer, OTA_FAILED);
    fix_change(fix, &old, OTA_WAITING); /* its last one again */
    fix_change(fix, &old, OTA_FAILED);
    uint32_t listed[] = {(uint32_t)devices[0], (uint32_t)devices[1], (uint32_t)devices[4]};
    int64_t first = 0;
    fix_begin(fix);
    assert_int_equal(ota_task_insert_many(fix->store, &common, 1, listed, 3, &first, &fix->error),
                     OTA_OK);
    fix_commit(fix);
    assert_made(fix, first, devices[0], "", 0);
    assert_made(fix, first + 1, devices[1], "1.0", 0);
    assert_made(fix, first + 2, devices[4], "2.0", 1); /* installed again */
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM task"), 5);
    struct ota_device_row row;
    assert_int_equal(ota_device_get(fix->store, devices[1], &row, &fix->error), OTA_OK);
    assert_int_equal(row.last_task, 0);
}

static void test_many_tasks_are_refused_together(void **state)
{
    struct store_fixture *fix = *state;
    int64_t product = fix_product(fix, "door");
    int64_t free_one = fix_device(fix, product, "free");
    int64_t busy = fix_device(fix, product, "busy");
    struct ota_task_row task = fix_task(fix, busy, 1);
    uint32_t listed[] = {(uint32_t)free_one, (uint32_t)busy};
    uint32_t unknown[] = {(uint32_t)free_one, NO_ROW};
    int64_t first = -1;
    fix_begin(fix);
    assert_int_equal(ota_task_insert_many(fix->store, &common, 1, listed, 2, &first, NULL),
                     OTA_CONFLICT);
    assert_int_equal(ota_task_insert_many(fix->store, &common, 1, unknown, 2, &first, NULL),
                     OTA_INTERNAL);
    ota_store_rollback(fix->store);
    assert_int_equal(first, -1);
    assert_int_equal(fix_int(fix, "SELECT count(*) FROM task"), 1);
    assert_int_equal(ota_task_insert_many(fix->store, &common, 1, listed, 1, &first, NULL),
                     OTA_INTERNAL); /* no transaction */
    fix_change(fix, &task, OTA_FAILED);
    fix_begin(fix);
    assert_int_equal(ota_task_insert_many(fix->store, &common, 1, listed, 2, &first, &fix->error),
                     OTA_OK);
    fix_commit(fix);
    assert_made(fix, first + 1, busy, "", 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, store_setup, store_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_full_row),
        TEST(test_a_plain_row_after_a_full_one),
        TEST(test_update_writes_what_can_change),
        TEST(test_bucket),
        TEST(test_stages),
        TEST(test_loading_all),
        TEST(test_writing_needs_a_transaction),
        TEST(test_rows_that_are_refused),
        TEST(test_every_word_is_taken),
        TEST(test_stages_that_are_refused),
        TEST(test_names),
        TEST(test_a_list_goes_in_slices),
        TEST(test_a_deleted_device_is_on_no_list),
        TEST(test_batches_go_with_their_product),
        TEST(test_tasks_of_a_batch),
        TEST(test_outcomes),
        TEST(test_a_devices_tasks_in_a_batch),
        TEST(test_many_tasks_at_once),
        TEST(test_many_tasks_are_refused_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
