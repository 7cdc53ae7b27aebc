/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the states of tasks and batches, and what they are called: on the wire and to people.
 * Thread: any; constant tables. The numbers are stored in databases: never renumber.
 * Frees: nothing.
 */
#ifndef OTA_UTIL_WORDS_H
#define OTA_UTIL_WORDS_H

#include <stdbool.h>

/* Stored. OTA_WAITING is shown as device_offline or task_waiting, computed when it is read. */
enum ota_status {
    OTA_WAITING,
    OTA_MESSAGE_SENT,
    OTA_DOWNLOADING,
    OTA_DOWNLOADED,
    OTA_UPGRADING,
    OTA_FAILED, /* from here on a task is finished */
    OTA_SUCCEEDED,
    OTA_CANCELLED,
    OTA_STATUS_COUNT
};

/* Shown: the words of control-api.md, in its order. */
enum ota_shown {
    OTA_SHOWN_DEVICE_OFFLINE,
    OTA_SHOWN_TASK_WAITING,
    OTA_SHOWN_MESSAGE_SENT,
    OTA_SHOWN_DOWNLOADING,
    OTA_SHOWN_DOWNLOADED,
    OTA_SHOWN_UPGRADING,
    OTA_SHOWN_FAILED,
    OTA_SHOWN_SUCCEEDED,
    OTA_SHOWN_CANCELLED,
    OTA_SHOWN_COUNT
};

enum ota_confirmation {
    OTA_UNCONFIRMED, /* not succeeded: shown as null */
    OTA_PENDING,
    OTA_CONFIRMED,
    OTA_CONTRADICTED,
    OTA_CONFIRMATION_COUNT
};

/* Why a task failed or was cancelled. */
enum ota_ending {
    OTA_ENDING_NONE,
    OTA_ENDING_DEVICE, /* the device said fail, with a code */
    OTA_ENDING_TIMEOUT,
    OTA_ENDING_EXPIRED,
    OTA_ENDING_ADMIN,
    OTA_ENDING_COUNT
};

/* Why a waiting task of a connected device waits. */
enum ota_wait {
    OTA_WAIT_NONE,
    OTA_WAIT_PACED,
    OTA_WAIT_IN_FLIGHT,
    OTA_WAIT_SCHEDULED,
    OTA_WAIT_PAUSED,
    OTA_WAIT_STAGE,
    OTA_WAIT_RETRY,
    OTA_WAIT_HELD,
    OTA_WAIT_GATEWAY,
    OTA_WAIT_COUNT
};

/* Where a batch stands. Stored. From OTA_BATCH_CANCELLED on it is over. */
enum ota_batch_state {
    OTA_BATCH_DRAFT,
    OTA_BATCH_SCHEDULED,
    OTA_BATCH_PREPARING,
    OTA_BATCH_RUNNING,
    OTA_BATCH_PAUSED,
    OTA_BATCH_CANCELLED,
    OTA_BATCH_FINISHED,
    OTA_BATCH_STATE_COUNT
};

/* What brought the batch there. Stored. */
enum ota_batch_reason {
    OTA_REASON_NONE,
    OTA_REASON_ADMIN,
    OTA_REASON_FAILURE_THRESHOLD,
    OTA_REASON_STAGE_GATE,
    OTA_REASON_EXPIRED,
    OTA_REASON_COUNT
};

/* snapshot: the devices that match when it starts; continuous: also those that come to match. */
enum ota_batch_mode { OTA_MODE_SNAPSHOT, OTA_MODE_CONTINUOUS, OTA_MODE_COUNT };

/* What counts as an outcome of a task. Stored. */
enum ota_gate { OTA_GATE_CONFIRMED, OTA_GATE_DONE, OTA_GATE_COUNT };

/* Where a stage of a batch stands. */
enum ota_stage_state {
    OTA_STAGE_WAITING, /* not open yet */
    OTA_STAGE_OPEN,
    OTA_STAGE_PASSED, /* its gate was reached, or it was passed by an admin */
    OTA_STAGE_STATE_COUNT
};

/* Why a device that matches a batch's target gets no task, in the order of looking. */
enum ota_exclusion {
    OTA_EXCLUDED_ON_VERSION,
    OTA_EXCLUDED_BUSY,
    OTA_EXCLUDED_HELD,
    OTA_EXCLUDED_DOWNGRADE,
    OTA_EXCLUSION_COUNT /* it gets one */
};

enum ota_role { OTA_ROLE_NONE, OTA_ROLE_VIEWER, OTA_ROLE_OPERATOR, OTA_ROLE_ADMIN };

enum ota_shown ota_shown_of(enum ota_status status, bool online);

/* "task_waiting" and "task waiting": never NULL for a legal value. */
const char *ota_shown_name(enum ota_shown shown);
const char *ota_shown_words(enum ota_shown shown);

/* The value whose wire name is name, or OTA_SHOWN_COUNT. */
enum ota_shown ota_shown_parse(const char *name);

/* NULL where nothing is shown (OTA_UNCONFIRMED, OTA_WAIT_NONE). */
const char *ota_confirmation_name(enum ota_confirmation confirmation);
const char *ota_wait_name(enum ota_wait wait);

/* NULL for OTA_REASON_NONE. */
const char *ota_batch_reason_name(enum ota_batch_reason reason);
const char *ota_batch_state_name(enum ota_batch_state state);
const char *ota_batch_mode_name(enum ota_batch_mode mode);
const char *ota_gate_name(enum ota_gate gate);
const char *ota_stage_state_name(enum ota_stage_state state);
const char *ota_exclusion_name(enum ota_exclusion exclusion);

/* The value whose wire name is name, or the enum's COUNT. */
enum ota_batch_state ota_batch_state_parse(const char *name);
enum ota_batch_mode ota_batch_mode_parse(const char *name);
enum ota_gate ota_gate_parse(const char *name);

const char *ota_role_name(enum ota_role role);

/* The value whose name is name ("viewer"), or OTA_ROLE_NONE. */
enum ota_role ota_role_parse(const char *name);

/* Our text for a device's result code (device-protocol.md, "fail"); never NULL. */
const char *ota_result_text(int code);

#endif
