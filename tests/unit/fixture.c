/* SPDX-License-Identifier: BSD-3-Clause */
#include "fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../plugin/broker.h"
#include "../../plugin/devices.h"
#include "../../plugin/load.h"
#include "../../plugin/presence.h"

/* --- a store that fails ----------------------------------------------------------------------- */

static bool fail_commits;
static int failed_commits;
static int commits;
static int writes_left; /* until one fails; 0: none will */
static bool write_failed;
static int64_t commit_ms;

enum ota_err __real_ota_store_commit(struct ota_store *store, struct ota_error *error);
enum ota_err __wrap_ota_store_commit(struct ota_store *store, struct ota_error *error);

enum ota_err __wrap_ota_store_commit(struct ota_store *store, struct ota_error *error)
{
    fake_broker_advance(commit_ms);
    if (fixture_write_fails() || fail_commits) {
        failed_commits += fail_commits;
        return ota_error_set(error, OTA_UNAVAILABLE, NULL, "a test's full disk");
    }
    commits++;
    return __real_ota_store_commit(store, error);
}

void fixture_fail_write(int n)
{
    writes_left = n;
    write_failed = false;
}

bool fixture_write_fails(void)
{
    bool fails = writes_left == 1;
    writes_left -= writes_left > 0;
    write_failed = write_failed || fails;
    return fails;
}

bool fixture_write_failed(void)
{
    return write_failed;
}

void fixture_slow_commits(int64_t ms)
{
    commit_ms = ms;
}

void fixture_fail_commits(bool fail)
{
    fail_commits = fail;
    failed_commits = 0;
}

int fixture_failed_commits(void)
{
    return failed_commits;
}

int fixture_commits(void)
{
    return commits;
}

/* --- opening ---------------------------------------------------------------------------------- */

static bool is_online(void *data, int64_t id)
{
    const struct fixture *fix = data;
    const struct ota_device *device = ota_fleet_device_by_id(&fix->core.fleet, id);
    return device != NULL && device->conn != NULL;
}

static void note_cut(void *data, int64_t task)
{
    struct fixture *fix = data;
    fix->cut = task;
}

static void open_store(struct fixture *fix)
{
    struct ota_error error = {0};
    struct ota_store_config config = {
        .path = fix->path, .now = ota_now_unix(), .online = is_online, .online_data = fix};
    if (ota_store_open(&config, &fix->core.store, &error) != OTA_OK) {
        fail_msg("the store can't be opened: %s", error.text);
    }
}

static void fill_core(struct fixture *fix, struct ota_store *store)
{
    struct ota_error error = {0};
    ota_core_init(&fix->core);
    fix->core.store = store;
    fix->core.settings = (struct ota_settings){.topic_prefix = "$ota",
                                               .download_url = FIX_URL,
                                               .upgrade_timeout_ms = FIX_TIMEOUT,
                                               .notice_interval_ms = 10000,
                                               .max_firmware_size = 10485760,
                                               .max_firmware_per_product = 50,
                                               .max_devices_per_product = 1000000,
                                               .auto_register = true};
    fix->core.cut = note_cut;
    fix->core.cut_data = fix;
    if (ota_load(&fix->core, &error) != OTA_OK) {
        fail_msg("the store can't be loaded: %s", error.text);
    }
    ota_dispatch_init(&fix->dispatch, &fix->core);
}

static void open_core(struct fixture *fix)
{
    open_store(fix);
    fill_core(fix, fix->core.store);
}

static void find_things(struct fixture *fix)
{
    fix->product = ota_fleet_product(&fix->core.fleet, "door", 4);
    fix->firmware = ota_fleet_firmware_of(&fix->core.fleet, fix->product->id, "2.0");
    fix->device = ota_fleet_device(&fix->core.fleet, fix->product, "d1", 2);
}

void fixture_open(struct fixture *fix)
{
    *fix = (struct fixture){.dir = "/dev/shm/ota-unit-XXXXXX",
                            .client = {.id = "client-1", .username = "door/d1"}};
    fake_broker_reset();
    fixture_fail_commits(false);
    fixture_fail_write(0);
    fixture_slow_commits(0);
    commits = 0;
    if (access("/dev/shm", W_OK) != 0) {
        (void)snprintf(fix->dir, sizeof fix->dir, "/tmp/ota-unit-XXXXXX");
    }
    assert_non_null(mkdtemp(fix->dir));
    (void)snprintf(fix->path, sizeof fix->path, "%s/ota.db", fix->dir);
    open_core(fix);
    fix->product = fixture_product(fix, "door");
    fix->firmware = fixture_firmware(fix, "2.0");
    fix->device = fixture_device(fix, "d1", "1.0");
    fake_broker_clear_messages();
}

static void close_core(struct fixture *fix)
{
    struct ota_store *store = fix->core.store;
    ota_core_free(&fix->core);
    ota_store_close(store);
}

void fixture_close(struct fixture *fix)
{
    fixture_fail_commits(false);
    fixture_fail_write(0);
    close_core(fix);
    DIR *dir = opendir(fix->dir);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        (void)unlinkat(dirfd(dir), entry->d_name, 0);
    }
    (void)closedir(dir);
    (void)rmdir(fix->dir);
    fake_broker_reset();
}

void fixture_stop(struct fixture *fix, bool kill)
{
    if (!kill) {
        ota_dispatch_finish(&fix->dispatch);
    }
    close_core(fix);
}

void fixture_start(struct fixture *fix)
{
    open_core(fix);
    find_things(fix);
}

void fixture_reload(struct fixture *fix)
{
    struct ota_store *store = fix->core.store;
    ota_core_free(&fix->core);
    fill_core(fix, store);
    find_things(fix);
}

void fixture_restart(struct fixture *fix, bool kill)
{
    fixture_stop(fix, kill);
    fixture_start(fix);
}

int fixture_setup(void **state)
{
    struct fixture *fix = malloc(sizeof *fix);
    assert_non_null(fix);
    fixture_open(fix);
    *state = fix;
    return 0;
}

int fixture_teardown(void **state)
{
    fixture_close(*state);
    free(*state);
    return 0;
}

/* --- things ----------------------------------------------------------------------------------- */

static void begin(struct fixture *fix)
{
    assert_int_equal(ota_core_begin(&fix->core, NULL), OTA_OK);
}

static void commit(struct fixture *fix)
{
    assert_int_equal(ota_core_commit(&fix->core, NULL), OTA_OK);
}

struct ota_product *fixture_product(struct fixture *fix, const char *name)
{
    struct ota_product_row row = {.created_at = ota_now_unix()};
    (void)snprintf(row.name, sizeof row.name, "%s", name);
    begin(fix);
    assert_int_equal(ota_devices_add_product(&fix->core, &row, NULL), OTA_OK);
    commit(fix);
    return ota_fleet_product_by_id(&fix->core.fleet, row.id);
}

/* Firmware comes from a finished upload; these three bytes are enough of one. */
static void upload_image(struct fixture *fix, const char *version, struct ota_firmware_row *row)
{
    struct ota_upload_row upload = {.product_id = fix->product->id, .size = 3, .user = "u"};
    (void)snprintf(upload.version, sizeof upload.version, "%s", version);
    (void)snprintf(upload.filename, sizeof upload.filename, "fw.bin");
    (void)snprintf(upload.sha256, sizeof upload.sha256, FIX_SHA256);
    assert_int_equal(ota_upload_insert(fix->core.store, &upload, NULL), OTA_OK);
    assert_int_equal(
        ota_upload_append(fix->core.store, upload.id, upload.image, 0, "abc", 3, 1, NULL), OTA_OK);
    assert_int_equal(ota_upload_delete(fix->core.store, upload.id, true, NULL), OTA_OK);
    row->image = upload.image;
}

struct ota_firmware *fixture_firmware(struct fixture *fix, const char *version)
{
    int count;
    struct ota_firmware_row row = {
        .product_id = fix->product->id, .size = 3, .created_at = ota_now_unix()};
    (void)snprintf(row.version, sizeof row.version, "%s", version);
    (void)snprintf(row.filename, sizeof row.filename, "fw.bin");
    (void)snprintf(row.md5, sizeof row.md5, FIX_MD5);
    (void)snprintf(row.sha256, sizeof row.sha256, FIX_SHA256);
    begin(fix);
    upload_image(fix, version, &row);
    assert_int_equal(
        ota_firmware_count(fix->core.store, fix->product->id, &count, &row.order, NULL), OTA_OK);
    row.order++;
    assert_int_equal(ota_firmware_insert(fix->core.store, &row, NULL), OTA_OK);
    commit(fix);
    struct ota_firmware *firmware = ota_fleet_add_firmware(&fix->core.fleet, &row);
    assert_non_null(firmware);
    return firmware;
}

struct ota_device *fixture_device(struct fixture *fix, const char *name, const char *version)
{
    struct ota_device *device = NULL;
    struct ota_device_row row = {.product_id = fix->product->id, .created_at = ota_now_unix()};
    (void)snprintf(row.name, sizeof row.name, "%s", name);
    (void)snprintf(row.version, sizeof row.version, "%s", version != NULL ? version : "");
    begin(fix);
    assert_int_equal(ota_devices_add(&fix->core, &row, &device, NULL), OTA_OK);
    commit(fix);
    return device;
}

struct ota_task_order fixture_order(struct fixture *fix, struct ota_device *device)
{
    return (struct ota_task_order){.device = device,
                                   .firmware = fix->firmware,
                                   .timeout_ms = FIX_TIMEOUT,
                                   .retry_delay_ms = 30000,
                                   .retry_on = ""};
}

struct ota_task *fixture_task(struct fixture *fix, const struct ota_task_order *order)
{
    int64_t id = 0;
    begin(fix);
    assert_int_equal(ota_tasks_create(&fix->core, order, &id, NULL), OTA_OK);
    commit(fix);
    assert_non_null(order->device->task);
    assert_int_equal(order->device->task->id, id);
    return order->device->task;
}

struct ota_task *fixture_plain_task(struct fixture *fix, struct ota_device *device)
{
    struct ota_task_order order = fixture_order(fix, device);
    return fixture_task(fix, &order);
}

struct ota_task_row fixture_row(struct fixture *fix, int64_t task)
{
    struct ota_task_row row = {0};
    assert_int_equal(ota_task_get(fix->core.store, task, &row, NULL), OTA_OK);
    return row;
}

static bool note_event(void *data, const struct ota_event_row *row)
{
    FILE *out = data;
    if (ftell(out) > 0) {
        (void)fputc(';', out);
    }
    (void)fprintf(out, "%s %d%s%s", ota_shown_name(ota_shown_of(row->status, true)), row->percent,
                  row->detail[0] != '\0' ? " " : "", row->detail);
    return true;
}

char *fixture_history(struct fixture *fix, int64_t task)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_int_equal(ota_task_events(fix->core.store, task, note_event, out, NULL), OTA_OK);
    (void)fclose(out);
    return text;
}

/* --- what happens ----------------------------------------------------------------------------- */

void fixture_connect(struct fixture *fix)
{
    ota_presence_sign(&fix->core, &fix->client, fix->device, OTA_SIGN_REPORTED);
}

void fixture_subscribe(struct fixture *fix)
{
    ota_presence_sign(&fix->core, &fix->client, fix->device, OTA_SIGN_SUBSCRIBED);
}

void fixture_disconnect(struct fixture *fix)
{
    ota_presence_gone(&fix->core, &fix->client);
}

void fixture_tick(struct fixture *fix, int64_t ms)
{
    fake_broker_advance(ms);
    ota_core_tick_clock(&fix->core);
    ota_dispatch_tick(&fix->dispatch);
}

void fixture_run(struct fixture *fix, int64_t ms, int64_t step)
{
    for (; ms > 0; ms -= step) {
        fixture_tick(fix, ms < step ? ms : step);
    }
}

static bool is_type(const struct fake_message *message, const char *type)
{
    json_t *root = json_loadb(message->payload, message->len, 0, NULL);
    const char *have = json_string_value(json_object_get(root, "type"));
    bool same = type == NULL || (have != NULL && strcmp(have, type) == 0);
    json_decref(root);
    return same;
}

int fixture_count(const char *topic, const char *type)
{
    int count = 0;
    for (size_t i = 0; i < fake_broker_message_count(); i++) {
        const struct fake_message *message = fake_broker_message(i);
        count += (topic == NULL || strcmp(message->topic, topic) == 0) && is_type(message, type);
    }
    return count;
}

json_t *fixture_last(const char *topic)
{
    const struct fake_message *message = fake_broker_last_on(topic);
    return message != NULL ? json_loadb(message->payload, message->len, 0, NULL) : NULL;
}
