/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what a test of the store stands on: a directory of its own, an open store in it, rows to
 *       begin with, and a disk that fails on demand.
 * Thread: the test's.
 * Frees: store_teardown; it also removes the directory.
 */
#ifndef OTA_TEST_STORE_FIXTURE_H
#define OTA_TEST_STORE_FIXTURE_H

/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../plugin/store/store_internal.h"

#define NO_ROW     424242 /* the number of nothing */
#define FIX_NOW    1700000000000
#define FIX_MD5    "0123456789abcdef0123456789abcdef"
#define FIX_SHA256 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

struct store_fixture {
    char dir[64];
    char path[96];
    struct ota_store *store;
    struct ota_error error; /* of the last call that took it */
    int64_t online;         /* the one device that is connected */
};

/* What row callbacks saw. */
struct fix_seen {
    int count;
    int stop_after; /* rows; 0: never */
    int64_t ids[64];
    char names[64][OTA_DEVICE_MAX + 1];
};

/* For a row callback: notes the row, and says whether to go on. */
bool fix_note(struct fix_seen *seen, int64_t id, const char *name);
/* Cuts what doesn't fit. */
void fix_copy(char *to, size_t size, const char *from);

/* For cmocka_unit_test_setup_teardown: *state is the fixture, with an open store. */
int store_setup(void **state);
int store_teardown(void **state);

/* With a clean error. The store must be closed, and fix->store is what came of it. */
enum ota_err fix_open(struct store_fixture *fix);
enum ota_err fix_open_with(struct store_fixture *fix, const struct ota_migration *migrations,
                           int count);
void fix_close(struct store_fixture *fix);

void fix_begin(struct store_fixture *fix);
void fix_commit(struct store_fixture *fix);

/* Rows that are committed when these return. */
int64_t fix_product(struct store_fixture *fix, const char *name);
int64_t fix_device(struct store_fixture *fix, int64_t product, const char *name);
/* Of size bytes that begin with 0, 1, 2 …; its number is the firmware's, *image the image's. */
int64_t fix_firmware(struct store_fixture *fix, int64_t product, const char *version, int64_t size,
                     int64_t *image);
/* A waiting one. */
struct ota_task_row fix_task(struct store_fixture *fix, int64_t device, int64_t firmware);
/* Changes its status, with an event. */
void fix_change(struct store_fixture *fix, struct ota_task_row *task, enum ota_status status);

/* 3 devices with 2 tasks of 3 events and 2 versions each, a firmware, an upload: 36 rows. */
int64_t fix_full_product(struct store_fixture *fix, const char *name, int64_t *last_device);

struct ota_upload_row fix_upload_row(int64_t product, const char *version, int64_t size);

/* "<path><suffix>"; good until the next call. */
const char *fix_beside(const struct store_fixture *fix, const char *suffix);
/* -1 where there is no such file. */
int64_t fix_size_of(const char *path);
void fix_put_file(const char *path, const void *bytes, size_t len);
/* All of it; freed by the test. */
char *fix_get_file(const char *path, size_t *len);
/* Runs SQL on the closed file, as another program would. */
void fix_sql(const char *path, const char *sql);
/* The integer that SQL selects on the store's own connection. */
int64_t fix_int(struct store_fixture *fix, const char *sql);

/* From now on the disk takes `writes` more writes, then each fails with reason (an errno), or ends
 * the process where that is FIX_KILLED: for a child that is to die there. */
#define FIX_KILLED 137
void fix_fail_disk(int writes, int reason);
void fix_heal_disk(void);
/* SQLite gets `allocations` more, then none; -1: as many as it wants. */
void fix_fail_memory(int allocations);

#endif
