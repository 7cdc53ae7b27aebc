/* SPDX-License-Identifier: BSD-3-Clause */
/* A database with changed bytes: it is refused with a sentence or served, and nothing crashes. The
 * input is a list of changes, four bytes each: where (three), and what. */
#include <fcntl.h>
#include <unistd.h>

#include "../../plugin/load.h"
#include "../unit/fixture.h"
#include "fuzz.h"

static uint8_t *good;
static size_t good_size;
static char folder[] = "/dev/shm/ota-fuzz-XXXXXX";
static char path[64];

static void read_file(const char *name)
{
    FILE *file = fopen(name, "rb");
    FUZZ_CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0);
    good_size = (size_t)ftell(file);
    good = malloc(good_size);
    rewind(file);
    FUZZ_CHECK(good != NULL && fread(good, 1, good_size, file) == good_size);
    (void)fclose(file);
}

static void close_up(void)
{
    (void)unlink(path);
    (void)rmdir(folder);
    free(good);
}

/* Devices, firmware, tasks with a history, a batch: as it is after a clean stop. */
static void open_up(void)
{
    struct fixture fix;
    fixture_open(&fix);
    for (int i = 0; i < 40; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "f%d", i);
        (void)fixture_plain_task(&fix, fixture_device(&fix, name, i % 3 != 0 ? "1.0" : NULL));
    }
    fixture_connect(&fix);
    fixture_run(&fix, 20000, 500);
    FUZZ_CHECK(ota_store_begin(fix.core.store, NULL) == OTA_OK);
    struct ota_batch_row row = {.product_id = fix.product->id,
                                .firmware_id = fix.firmware->row.id,
                                .version = "2.0",
                                .state = OTA_BATCH_RUNNING,
                                .prepared = OTA_PREPARED_FULLY,
                                .max_in_flight = 5,
                                .open_stages = 1,
                                .timeout_ms = 1000};
    struct ota_stage stages[2] = {{.percent = 10, .state = OTA_STAGE_OPEN},
                                  {.percent = 100, .end_key = OTA_KEY_LAST}};
    FUZZ_CHECK(ota_batch_insert(fix.core.store, &row, "{\"all\":true}", stages, 2, NULL) == OTA_OK);
    FUZZ_CHECK(ota_store_commit(fix.core.store, NULL) == OTA_OK);
    ota_store_close(fix.core.store);
    fix.core.store = NULL;
    read_file(fix.path);
    fixture_close(&fix);
    FUZZ_CHECK(mkdtemp(folder) != NULL);
    (void)snprintf(path, sizeof path, "%s/ota.db", folder);
    (void)atexit(close_up);
}

static void write_changed(const uint8_t *data, size_t size)
{
    uint8_t *bytes = malloc(good_size);
    FUZZ_CHECK(bytes != NULL);
    memcpy(bytes, good, good_size);
    for (size_t i = 0; i + 4 <= size; i += 4) {
        size_t at = (size_t)data[i] << 16 | (size_t)data[i + 1] << 8 | data[i + 2];
        bytes[at % good_size] = data[i + 3];
    }
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    FUZZ_CHECK(fd >= 0 && write(fd, bytes, good_size) == (ssize_t)good_size);
    (void)close(fd);
    free(bytes);
}

static void serve(struct ota_core *core)
{
    struct ota_dispatch dispatch;
    ota_dispatch_init(&dispatch, core);
    for (int i = 0; i < 5; i++) {
        fake_broker_advance(1000);
        ota_core_tick_clock(core);
        ota_dispatch_tick(&dispatch);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (good == NULL) {
        open_up();
    }
    write_changed(data, size);
    struct ota_error error = {0};
    struct ota_core core;
    struct ota_store_config config = {.path = path, .now = 1};
    ota_core_init(&core);
    enum ota_err err = ota_store_open(&config, &core.store, &error);
    if (err == OTA_OK) {
        err = ota_load(&core, &error);
    }
    FUZZ_CHECK(err == OTA_OK || error.text[0] != '\0');
    if (err == OTA_OK) {
        serve(&core);
    }
    struct ota_store *store = core.store;
    ota_core_free(&core);
    ota_store_close(store);
    fake_broker_clear_messages();
    for (const char *end = "-wal\0-shm\0.lock\0"; *end != '\0'; end += strlen(end) + 1) {
        char beside[80];
        (void)snprintf(beside, sizeof beside, "%s%s", path, end);
        (void)unlink(beside);
    }
    return 0;
}
