/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what a test of the domain stands on: a real store in a directory of its own, a core with
 *       a product, a firmware and devices, the dispatcher, and a store that fails on demand.
 * Thread: the test's.
 * Frees: fixture_close; it also removes the directory.
 */
#ifndef OTA_TEST_FIXTURE_H
#define OTA_TEST_FIXTURE_H

/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../plugin/control.h"
#include "../../plugin/task_make.h"
#include "../../plugin/task_plan.h"
#include "../../plugin/tasks.h"
#include "fake_broker.h"

#define FIX_URL     "http://fw.example.com"
#define FIX_TIMEOUT 120000
#define FIX_MD5     "0123456789abcdef0123456789abcdef"
#define FIX_SHA256  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

struct fixture {
    char dir[64];
    char path[96];
    struct ota_core core;
    struct ota_dispatch dispatch;
    struct ota_product *product;   /* "door" */
    struct ota_firmware *firmware; /* "2.0", the product's only one at first */
    struct ota_device *device;     /* "d1", which runs "1.0" */
    struct mosquitto client;       /* d1's */
    int64_t cut;                   /* the task whose downloads were dropped last */
};

/* Opens a fresh store with all of the above; the fake broker is reset. */
void fixture_open(struct fixture *fix);
void fixture_close(struct fixture *fix);
/* As after a restart of the broker: everything is read from the store again. `kill` writes
 * nothing before, as kill -9. */
void fixture_restart(struct fixture *fix, bool kill);
/* Its two halves: between them the database belongs to nobody. */
void fixture_stop(struct fixture *fix, bool kill);
void fixture_start(struct fixture *fix);
/* All that is in memory is made anew; the store stays open. */
void fixture_reload(struct fixture *fix);

/* For cmocka_unit_test_setup_teardown: *state is the fixture. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

struct ota_product *fixture_product(struct fixture *fix, const char *name);
struct ota_firmware *fixture_firmware(struct fixture *fix, const char *version);
/* version may be NULL: it never reported. */
struct ota_device *fixture_device(struct fixture *fix, const char *name, const char *version);

/* An order of the device to fix->firmware: two minutes, no retries. */
struct ota_task_order fixture_order(struct fixture *fix, struct ota_device *device);
/* Creates and commits. */
struct ota_task *fixture_task(struct fixture *fix, const struct ota_task_order *order);
/* The same with the order above. */
struct ota_task *fixture_plain_task(struct fixture *fix, struct ota_device *device);

struct ota_task_row fixture_row(struct fixture *fix, int64_t task);
/* The task's history as "message_sent 0;failed 10 timeout", all of it. The caller frees. */
char *fixture_history(struct fixture *fix, int64_t task);

/* The client acts as fix->device. */
void fixture_connect(struct fixture *fix);
void fixture_subscribe(struct fixture *fix);
void fixture_disconnect(struct fixture *fix);

/* Lets time pass and then ticks, once. */
void fixture_tick(struct fixture *fix, int64_t ms);
/* Ticks every `step` ms until `ms` have passed. */
void fixture_run(struct fixture *fix, int64_t ms, int64_t step);

/* Of the writes that follow, the n-th fails (1: the next), and only that one; 0: none. Writes are
 * commits, and what else the test wraps (fixture_write_fails). */
void fixture_fail_write(int n);
/* Whether the write that comes now is to fail; counts it. */
bool fixture_write_fails(void);
/* Whether the one that was to fail has failed. */
bool fixture_write_failed(void);
/* From now on each commit takes so long. */
void fixture_slow_commits(int64_t ms);

/* From now on commits fail, as on a full disk. */
void fixture_fail_commits(bool fail);
/* Commits tried and failed since then. */
int fixture_failed_commits(void);
/* All commits since the fixture was opened. */
int fixture_commits(void);

/* How many messages of this type went to the topic (NULL: any), and the last one. */
int fixture_count(const char *topic, const char *type);
json_t *fixture_last(const char *topic);

#endif
