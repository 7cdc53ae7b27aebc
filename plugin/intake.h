/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: a device's report: what it says, what that means, and the answer. Counts what it refuses.
 * Thread: the broker's.
 * Frees: nothing.
 */
#ifndef OTA_INTAKE_H
#define OTA_INTAKE_H

#include <jansson.h>

#include "access.h"
#include "core.h"
#include "inband.h"
#include "trail.h"

/* X(ENUM, "name in getInfo", "sentence in the log") */
#define OTA_REFUSALS(X)                                                                            \
    X(TOO_LARGE, "too_large", "the report is over 4 KiB")                                          \
    X(NOT_JSON, "not_json", "the report is not JSON, or has a key twice")                          \
    X(NESTED, "nested", "the report is nested or keyed beyond reason")                             \
    X(TYPE, "type", "the report's type is unknown")                                                \
    X(SHAPE, "shape", "the report lacks a member or one is of the wrong kind")                     \
    X(VERSION, "version", "the version is not 1-32 of A-Z a-z 0-9 . _ -")                          \
    X(STATE, "state", "the state is unknown")                                                      \
    X(NUMBER, "number", "percent or result_code is not a whole number in its range")               \
    X(RETAINED, "retained", "a report must not be retained")                                       \
    X(WILL, "will", "our topics take no wills")                                                    \
    X(IDENTITY, "identity", "the client is not the device that the topic names")                   \
    X(UNKNOWN_PRODUCT, "unknown_product", "no product of that name exists")                        \
    X(UNKNOWN_DEVICE, "unknown_device", "the device is not known and auto_register is off")        \
    X(DEVICE_LIMIT, "device_limit", "the product has max_devices_per_product devices already")     \
    X(REGISTRATION_RATE, "registration_rate", "too many new devices in a short time")              \
    X(RATE, "rate", "the device reports too often")                                                \
    X(NO_TASK, "no_task", "the progress belongs to no task that it could change")                  \
    X(NO_NOTICE, "no_notice", "there is no notice to be sent again")                               \
    X(GATEWAY, "gateway", "the client is a gateway that nobody made known (createDevice)")         \
    X(STORE, "store", "it could not be stored; the device will send again")

enum ota_refusal {
#define OTA_X(id, name, sentence) OTA_REFUSED_##id,
    OTA_REFUSALS(OTA_X)
#undef OTA_X
        OTA_REFUSAL_COUNT
};

enum ota_report_kind {
    OTA_REPORT_VERSION,
    OTA_REPORT_DOWNLOADING,
    OTA_REPORT_BURNING,
    OTA_REPORT_DONE,
    OTA_REPORT_FAIL,
    OTA_REPORT_BLOCK,  /* request_block, also where it is refused */
    OTA_REPORT_UPDATE, /* request_update */
    OTA_REPORT_KIND_COUNT
};

struct ota_intake {
    struct ota_core *core;
    struct ota_trail *trail;   /* may be NULL */
    struct ota_inband *inband; /* may be NULL: a request_block is refused without an answer */
    uint64_t reports;
    uint64_t by_kind[OTA_REPORT_KIND_COUNT]; /* those that were taken */
    uint64_t refused[OTA_REFUSAL_COUNT];
    int64_t logged_at[OTA_REFUSAL_COUNT]; /* monotonic ms */
    uint32_t registration_tat;            /* see ota_rate_take */
    /* Of the last report that was refused since nobody created its product; "": none was. */
    char unknown_product[OTA_PRODUCT_MAX + 1];
};

enum ota_intake_verdict {
    OTA_INTAKE_TAKEN,
    OTA_INTAKE_REFUSED,      /* acknowledge, but it changes nothing */
    OTA_INTAKE_NOT_COMMITTED /* don't acknowledge: the device has to send it again */
};

/* A report on the topic by a client that is that device, or its gateway, with the QoS that it came
 * at. */
enum ota_intake_verdict ota_intake_report(struct ota_intake *intake, const struct mosquitto *client,
                                          const struct ota_topic *topic, const void *payload,
                                          size_t len, int qos);

/* Counts, and logs at most once a second a reason, with the client id escaped; NO_TASK, which is
 * everyday, is only counted, and so is NO_NOTICE. */
void ota_intake_refuse(struct ota_intake *intake, const struct mosquitto *client,
                       enum ota_refusal reason);

/* Why a client may not report there: what doesn't exist comes before who asks, since a device of a
 * product that nobody created yet is nobody's mistake but the administrator's. */
enum ota_refusal ota_intake_denial(const struct ota_intake *intake, const struct ota_topic *topic);

/* Refuses the client that may not report there; a false identity gets an entry in the audit. */
void ota_intake_deny(struct ota_intake *intake, const struct mosquitto *client,
                     const struct ota_topic *topic);

/* "not_json" and the like. */
const char *ota_refusal_name(enum ota_refusal reason);

/* --- what a report says, for the gateways' operations, tests and the fuzzer ---------------------
 */

/* The payload as JSON where it is neither too long nor nested or keyed beyond reason: a reference
 * that is the caller's. Else OTA_REFUSED_…, of which STORE is: memory is out. */
enum ota_refusal ota_report_read(const void *payload, size_t len, int max_keys, json_t **root);

enum ota_report_says {
    OTA_SAYS_NOTHING, /* that could be read */
    OTA_SAYS_VERSION,
    OTA_SAYS_PROGRESS,
    OTA_ASKS_BLOCK,
    OTA_ASKS_UPDATE
};

struct ota_report {
    enum ota_report_says says; /* also known where the rest of it is bad */
    enum ota_upgrade_event_kind kind;
    int percent;
    int code;
    char version[OTA_VERSION_MAX + 1];
    char message[512]; /* the device's result_msg, cut */
    struct ota_block_ask block;
};

/* OTA_REFUSAL_COUNT where it is good; OTA_REFUSED_STORE where memory is out. */
enum ota_refusal ota_report_parse(const void *payload, size_t len, struct ota_report *report);

/* The same by jansson alone, without the quick scan: what a test holds the scan against. */
enum ota_refusal ota_report_parse_any(const void *payload, size_t len, struct ota_report *report);

#endif
