/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what tests of batches stand on: a crowd of devices that act through the doors that real
 *       ones use, batches as a command makes them, and a check that memory and store agree.
 * Thread: the test's.
 * Frees: crowd_teardown; batches belong to the fleet.
 */
#ifndef OTA_TEST_BATCH_FIXTURE_H
#define OTA_TEST_BATCH_FIXTURE_H

#include "../../plugin/batches.h"
#include "../../plugin/intake.h"
#include "fixture.h"

#define CROWD_MAX 1200
#define NEWS      "$ota/event/door" /* of batches */

struct crowd {
    struct fixture fix;
    struct ota_intake intake;
    struct ota_access access;
    int count; /* devices m0, m1, … */
    struct mosquitto clients[CROWD_MAX];
    char names[CROWD_MAX][16];
};

/* For cmocka_unit_test_setup_teardown: *state is the crowd; it is empty, and d1 is deleted. */
int crowd_setup(void **state);
int crowd_teardown(void **state);
/* As fixture_restart; nobody is connected after it. */
void crowd_restart(struct crowd *crowd, bool kill);

/* So many devices more; version may be NULL. */
void crowd_add(struct crowd *crowd, int count, const char *version);
struct ota_device *crowd_device(const struct crowd *crowd, int i);
struct ota_task *crowd_task(const struct crowd *crowd, int i);

/* Devices first..last come, as by a version report whose grace is over; or go. */
void crowd_connect(struct crowd *crowd, int first, int last);
void crowd_disconnect(struct crowd *crowd, int first, int last);
/* Time goes on by so much, a tick each 100 ms. */
void crowd_run(struct crowd *crowd, int64_t ms);
/* The device reports progress about version 2.0: "downloading", "burning", "done" … */
void crowd_says(struct crowd *crowd, int i, const char *state);
void crowd_fails(struct crowd *crowd, int i, int code);
void crowd_reports(struct crowd *crowd, int i, const char *version);
/* done, and then a report of version 2.0. */
void crowd_succeeds(struct crowd *crowd, int i);
void crowd_hold(struct crowd *crowd, int i, bool hold);
/* As deleteDevice, in a transaction of its own. */
/* From now on the device's row can't be read, for another reason than a full disk; -1: no one's. */
void crowd_break(const struct crowd *crowd, int i);
enum ota_err crowd_delete(struct crowd *crowd, int i);

/* The status of the device's last task, with confirmation: "waiting", "succeeded confirmed". */
const char *crowd_stands(const struct crowd *crowd, int i);
/* How many of the devices' last tasks stand so. */
int crowd_count(const struct crowd *crowd, const char *stands);
/* Which device the n-th notice since the last clearing went to; -1: there are fewer. */
int crowd_noticed(const struct crowd *crowd, int n);
int crowd_notices(void);

/* --- batches ---------------------------------------------------------------------------------- */

/* Firmware 2.0, gate confirmed, two minutes, no retries, no limits. */
struct ota_batch_row batch_row(const struct crowd *crowd);
/* Makes it and starts it; target is JSON, NULL for all, "" for none. stages NULL: none. */
struct ota_batch *batch_start(struct crowd *crowd, const struct ota_batch_row *row,
                              const char *target, const struct ota_stage *stages, size_t count);
/* So many devices, connected, and a batch for all, a tick old; what was sent before is cleared. */
struct ota_batch *batch_begin(struct crowd *crowd, int count, const struct ota_batch_row *row,
                              const struct ota_stage *stages, size_t stage_count);
struct ota_batch *batch_draft(struct crowd *crowd, const struct ota_batch_row *row,
                              const char *target);
/* The same after a restart. */
struct ota_batch *batch_again(const struct crowd *crowd, int64_t id);

/* A steering function of batches.h, in a transaction; what it said. */
typedef enum ota_err (*batch_act)(struct ota_core *core, struct ota_batch *batch,
                                  struct ota_error *error);
enum ota_err batch_do(struct crowd *crowd, batch_act act, struct ota_batch *batch);
enum ota_err batch_cancel(struct ota_core *core, struct ota_batch *batch, struct ota_error *error);
enum ota_err batch_cancel_all(struct ota_core *core, struct ota_batch *batch,
                              struct ota_error *error);
/* As retryTask. */
enum ota_err batch_retry_task(struct crowd *crowd, int64_t task);
/* As cancelTask of the device's unfinished one. */
void batch_cancel_task(struct crowd *crowd, int i);

/* "running", "paused stage_gate" … */
const char *batch_stands(const struct ota_batch *batch);
/* "waiting 3, failed 1": its tasks, without what is 0. */
const char *batch_counts(const struct ota_batch *batch);
/* The same of one stage. */
const char *batch_stage_counts(const struct ota_batch *batch, size_t stage);

/* All batches: their tallies are those of their tasks' rows, and each task has its place. */
void batch_check(struct crowd *crowd);
/* The same of those that aren't settled. */
void batch_check_live(struct crowd *crowd);

#endif
