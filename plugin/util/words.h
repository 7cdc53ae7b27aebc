/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the states of a task, and what they are called: on the wire and to people.
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

const char *ota_role_name(enum ota_role role);

/* The value whose name is name ("viewer"), or OTA_ROLE_NONE. */
enum ota_role ota_role_parse(const char *name);

/* Our text for a device's result code (device-protocol.md, "fail"); never NULL. */
const char *ota_result_text(int code);

#endif
