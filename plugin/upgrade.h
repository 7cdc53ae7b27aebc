/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the state machine of one upgrade task: (status, event) -> (status, effects), as a table.
 *       Every status changes here and nowhere else. Pure: no SQL, no broker, no clock of its own.
 * Thread: any.
 * Frees: nothing; retry_on stays the caller's.
 *
 * Rules: control-api.md "Rules" (clock, late truth, confirmation, retry, whose report is it),
 * device-protocol.md "Upstream".
 */
#ifndef OTA_UPGRADE_H
#define OTA_UPGRADE_H

#include <stdbool.h>
#include <stdint.h>

#include "util/words.h"

/* Bits of flags; stored. */
#define OTA_UPGRADE_REINSTALL 1u
#define OTA_UPGRADE_NOTICED   2u  /* the attempt's clock was started, by a notice as a rule */
#define OTA_UPGRADE_EVIDENCE  4u  /* downloaded, burning or done was reported in this attempt */
#define OTA_UPGRADE_LATE      8u  /* succeeded after it had been given up */
#define OTA_UPGRADE_SENT      16u /* the device was told in some attempt: it may succeed late */

/* What the machine reads and writes of a task. Service times are milliseconds. */
struct ota_upgrade {
    enum ota_status status;
    enum ota_confirmation confirmation;
    enum ota_ending ending;
    unsigned flags;
    int attempt; /* from 1 */
    int percent;
    bool has_result_code;
    int result_code;
    int retry_max;
    int retries;          /* automatic ones so far */
    const char *retry_on; /* "timeout,-1"; NULL or "": the default */
    int64_t retry_delay_ms;
    int64_t timeout_ms;
    int64_t deadline; /* service time: the attempt's end, or when a waiting retry's turn is; 0 */
    int64_t settle_until; /* service time: until then the latest version report decides; 0 */
};

enum ota_upgrade_event_kind {
    OTA_EV_NOTICED,     /* the first notice of this attempt goes out */
    OTA_EV_DOWNLOADING, /* percent < 100 */
    OTA_EV_DOWNLOADED,  /* percent = 100 or said so */
    OTA_EV_BURNING,
    OTA_EV_DONE,           /* the device's word */
    OTA_EV_FAIL,           /* with code */
    OTA_EV_VERSION_TARGET, /* a version report that names the target: proof */
    OTA_EV_VERSION_OTHER,
    OTA_EV_TIMEOUT,
    OTA_EV_CANCEL,
    OTA_EV_EXPIRE,
    OTA_EV_RETRY, /* asked for by an admin */
    OTA_EV_COUNT
};

struct ota_upgrade_event {
    enum ota_upgrade_event_kind kind;
    int percent;
    int code;
    int64_t service_now;
};

struct ota_upgrade_outcome {
    bool changed;                   /* write it and add to the history, now */
    bool percent_changed;           /* nothing but the percentage did: may be written later */
    enum ota_status history_status; /* what the history says (a retried failure was a failure) */
    bool attempt_ended;             /* the attempt's URL is dead from now on */
};

/* Applies event to upgrade. An event that means nothing in this state changes nothing. */
struct ota_upgrade_outcome ota_upgrade_step(struct ota_upgrade *upgrade,
                                            const struct ota_upgrade_event *event);

static inline bool ota_status_is_finished(enum ota_status status)
{
    return status >= OTA_FAILED;
}

/* Whether the clock of an attempt runs: deadline is then its end. */
static inline bool ota_status_is_timed(enum ota_status status)
{
    return status >= OTA_MESSAGE_SENT && status <= OTA_UPGRADING;
}

/* Whether a report can still change a finished task (late truth, confirmation). */
bool ota_upgrade_may_settle(const struct ota_upgrade *upgrade, int64_t service_now);

/* Whether list ("timeout,-1", NULL or "" for the default) names the failure. */
bool ota_retry_covers(const char *list, bool timeout, int code);

#endif
