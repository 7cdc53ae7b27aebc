/* SPDX-License-Identifier: BSD-3-Clause */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../plugin/guests.h"
#include "fake_broker.h"
#include "http_fixture.h"

/* --- faults: the linker puts these in front of the reader (--wrap) ---------------------------- */

static atomic_bool fail_grants;
static atomic_int tarry_ms;
static atomic_int tarrying;
static atomic_int load_ms;
static atomic_int loads;
static atomic_int mac_compares;
static atomic_int looks;

enum ota_err __real_ota_reader_grant(struct ota_reader *reader, int64_t task_id,
                                     int64_t firmware_id, struct ota_grant *grant,
                                     struct ota_error *error);
enum ota_err __wrap_ota_reader_grant(struct ota_reader *reader, int64_t task_id,
                                     int64_t firmware_id, struct ota_grant *grant,
                                     struct ota_error *error);
enum ota_err __real_ota_reader_copy_image(struct ota_reader *reader, int64_t image, int64_t size,
                                          int fd, struct ota_error *error);
enum ota_err __wrap_ota_reader_copy_image(struct ota_reader *reader, int64_t image, int64_t size,
                                          int fd, struct ota_error *error);

static void sleep_ms(int ms)
{
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    (void)nanosleep(&time, NULL);
}

static int64_t clock_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Until so many milliseconds are over, or it was made less meanwhile. */
static void linger(atomic_int *ms)
{
    for (int64_t began = clock_ms(); clock_ms() - began < atomic_load(ms);) {
        sleep_ms(1);
    }
}

enum ota_err __wrap_ota_reader_grant(struct ota_reader *reader, int64_t task_id,
                                     int64_t firmware_id, struct ota_grant *grant,
                                     struct ota_error *error)
{
    if (atomic_load(&fail_grants)) {
        return ota_error_set(error, OTA_UNAVAILABLE, NULL, "a test's fault");
    }
    enum ota_err err = __real_ota_reader_grant(reader, task_id, firmware_id, grant, error);
    if (atomic_load(&tarry_ms) > 0) {
        atomic_fetch_add(&tarrying, 1);
        linger(&tarry_ms);
        atomic_fetch_sub(&tarrying, 1);
    }
    return err;
}

enum ota_err __wrap_ota_reader_copy_image(struct ota_reader *reader, int64_t image, int64_t size,
                                          int fd, struct ota_error *error)
{
    atomic_fetch_add(&loads, 1);
    linger(&load_ms);
    return __real_ota_reader_copy_image(reader, image, size, fd, error);
}

int __real_CRYPTO_memcmp(const void *a, const void *b, size_t len);
int __wrap_CRYPTO_memcmp(const void *a, const void *b, size_t len);

int __wrap_CRYPTO_memcmp(const void *a, const void *b, size_t len)
{
    atomic_fetch_add(&mac_compares, len == OTA_MAC_HEX);
    return __real_CRYPTO_memcmp(a, b, len);
}

void __real_ota_guests_work(struct ota_guests *guests, int64_t now);
void __wrap_ota_guests_work(struct ota_guests *guests, int64_t now);

void __wrap_ota_guests_work(struct ota_guests *guests, int64_t now)
{
    __real_ota_guests_work(guests, now);
    atomic_fetch_add(&looks, 1);
}

/* One look may be on its way with the clock of before; and the first one after a leap of the clock
 * spares those who are late. */
void fixture_await_look(void)
{
    int before = atomic_load(&looks);
    for (int i = 0; i < 10000 && atomic_load(&looks) < before + 3; i++) {
        sleep_ms(1);
    }
}

int fixture_mac_compares(void)
{
    return atomic_load(&mac_compares);
}

void fixture_fail_grants(bool fail)
{
    atomic_store(&fail_grants, fail);
}

void fixture_tarry(int ms)
{
    atomic_store(&tarry_ms, ms);
}

int fixture_tarrying(void)
{
    return atomic_load(&tarrying);
}

int fixture_loads(void)
{
    return atomic_load(&loads);
}

void fixture_slow_loads(int ms)
{
    atomic_store(&load_ms, ms);
}

/* --- the store ------------------------------------------------------------------------------- */

#define MUST(call)                                                                                 \
    do {                                                                                           \
        struct ota_error must_error = {0};                                                         \
        struct ota_error *error = &must_error;                                                     \
        if ((call) != OTA_OK) {                                                                    \
            fail_msg("%s: %s", #call, must_error.text);                                            \
        }                                                                                          \
    } while (0)

static bool never_online(void *data, int64_t device_id)
{
    (void)data, (void)device_id;
    return false;
}

static void put_bytes(struct fixture *fixture, const struct ota_upload_row *upload,
                      const struct fixture_firmware *firmware)
{
    for (int64_t at = 0; at < firmware->size; at += OTA_BLOCK_SIZE) {
        int64_t left = firmware->size - at;
        size_t len = (size_t)(left < OTA_BLOCK_SIZE ? left : OTA_BLOCK_SIZE);
        MUST(ota_upload_append(fixture->store, upload->id, upload->image, at, firmware->bytes + at,
                               len, FAKE_UNIX_START, error));
    }
}

static void hex_digest(const struct fixture_firmware *firmware, char *hex)
{
    unsigned char digest[32];
    assert_int_equal(
        EVP_Digest(firmware->bytes, (size_t)firmware->size, digest, NULL, EVP_sha256(), NULL), 1);
    for (size_t i = 0; i < sizeof digest; i++) {
        (void)snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
}

static void add_firmware(struct fixture *fixture, const char *version, int64_t size,
                         bool with_bytes, struct fixture_firmware *firmware)
{
    struct ota_upload_row upload = {.product_id = fixture->product, .size = size};
    struct ota_firmware_row row = {.product_id = fixture->product, .size = size, .order = size};

    firmware->size = size;
    firmware->bytes = malloc((size_t)size);
    assert_non_null(firmware->bytes);
    for (int64_t i = 0; i < size; i++) {
        firmware->bytes[i] = (unsigned char)rand();
    }
    hex_digest(firmware, firmware->sha256);
    (void)strcpy(upload.version, version);
    (void)strcpy(upload.filename, "firmware.bin");
    (void)strcpy(upload.sha256, firmware->sha256);
    (void)strcpy(row.version, version);
    (void)strcpy(row.filename, "firmware.bin");
    (void)strcpy(row.sha256, firmware->sha256);
    (void)strcpy(row.md5, "0123456789abcdef0123456789abcdef");

    MUST(ota_store_begin(fixture->store, error));
    MUST(ota_upload_insert(fixture->store, &upload, error));
    if (with_bytes) {
        put_bytes(fixture, &upload, firmware);
    }
    row.image = upload.image;
    MUST(ota_firmware_insert(fixture->store, &row, error));
    MUST(ota_upload_delete(fixture->store, upload.id, true, error));
    MUST(ota_store_commit(fixture->store, error));
    firmware->id = row.id;
}

void fixture_open(struct fixture *fixture)
{
    struct ota_product_row product = {.name = "lamp", .created_at = FAKE_UNIX_START};

    memset(fixture, 0, sizeof *fixture);
    atomic_store(&loads, 0);
    (void)strcpy(fixture->dir, "/tmp/ota-http-XXXXXX");
    assert_non_null(mkdtemp(fixture->dir));
    (void)snprintf(fixture->db_path, sizeof fixture->db_path, "%s/ota.db", fixture->dir);
    const struct ota_store_config config = {
        .path = fixture->db_path, .now = FAKE_UNIX_START, .online = never_online};
    MUST(ota_store_open(&config, &fixture->store, error));
    MUST(ota_store_meta(fixture->store, &fixture->meta, error));
    MUST(ota_store_begin(fixture->store, error));
    MUST(ota_product_insert(fixture->store, &product, error));
    MUST(ota_store_commit(fixture->store, error));
    fixture->product = product.id;
    add_firmware(fixture, "1.0", 6 * 1024 * 1024 + 77, true, &fixture->big);
    add_firmware(fixture, "1.1", 40000, true, &fixture->small);
    add_firmware(fixture, "1.2", 5000, false, &fixture->broken);
}

void fixture_close(struct fixture *fixture)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-lock", ".lock"};
    char path[128];

    ota_store_close(fixture->store);
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        (void)snprintf(path, sizeof path, "%s%s", fixture->db_path, suffixes[i]);
        (void)unlink(path);
    }
    (void)rmdir(fixture->dir);
    free(fixture->big.bytes);
    free(fixture->small.bytes);
    free(fixture->broken.bytes);
}

void fixture_start(struct fixture *fixture, int places)
{
    struct ota_http_config config = {.listen = "127.0.0.1:0",
                                     .db_path = fixture->db_path,
                                     .places = places,
                                     .look_ms = FIXTURE_LOOK_MS};
    memcpy(config.url_key, fixture->meta.url_key, sizeof config.url_key);
    MUST(ota_http_start(&config, &fixture->http, error));
    fixture->port = ota_http_port(fixture->http);
}

void fixture_stop(struct fixture *fixture)
{
    ota_http_stop(fixture->http);
    fixture->http = NULL;
}

void fixture_sign(const struct fixture *fixture, const char *sha256, struct ota_claim *claim)
{
    assert_int_equal(ota_download_mac(fixture->meta.url_key, claim, sha256, claim->mac), OTA_OK);
}

struct ota_claim fixture_task(struct fixture *fixture, const struct fixture_firmware *firmware)
{
    static int devices;
    struct ota_device_row device = {.product_id = fixture->product, .created_at = FAKE_UNIX_START};
    struct ota_task_row task = {.firmware_id = firmware->id,
                                .status = OTA_DOWNLOADING,
                                .attempt = 1,
                                .timeout_ms = 900000,
                                .created_at = FAKE_UNIX_START,
                                .updated_at = FAKE_UNIX_START};

    (void)snprintf(device.name, sizeof device.name, "lamp-%d", ++devices);
    (void)strcpy(task.version, "1.0");
    MUST(ota_store_begin(fixture->store, error));
    MUST(ota_device_insert(fixture->store, &device, error));
    task.device_id = device.id;
    MUST(ota_task_insert(fixture->store, &task, error));
    MUST(ota_store_commit(fixture->store, error));
    struct ota_claim claim = {
        .firmware_id = firmware->id, .task_id = task.id, .device_id = device.id, .attempt = 1};
    fixture_sign(fixture, firmware->sha256, &claim);
    return claim;
}

static void change(struct fixture *fixture, struct ota_task_row *task)
{
    const struct ota_event_row event = {
        .task_id = task->id, .at = FAKE_UNIX_START, .status = task->status};
    MUST(ota_store_begin(fixture->store, error));
    MUST(ota_task_change(fixture->store, task, &event, error));
    MUST(ota_store_commit(fixture->store, error));
}

void fixture_finish(struct fixture *fixture, int64_t task_id)
{
    struct ota_task_row task;
    MUST(ota_task_get(fixture->store, task_id, &task, error));
    task.status = OTA_CANCELLED;
    task.finished_at = FAKE_UNIX_START;
    change(fixture, &task);
}

void fixture_retry(struct fixture *fixture, int64_t task_id)
{
    struct ota_task_row task;
    MUST(ota_task_get(fixture->store, task_id, &task, error));
    task.attempt++;
    change(fixture, &task);
}

/* --- the process ----------------------------------------------------------------------------- */

static int entries(const char *path)
{
    int count = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    (void)closedir(dir);
    return count;
}

int fixture_descriptors(void)
{
    return entries("/proc/self/fd");
}

int fixture_threads(void)
{
    return entries("/proc/self/task");
}
