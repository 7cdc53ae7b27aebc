/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the bytes that a device says upstream, in both dialects.
 * Thread: any; pure functions.
 * Frees: nothing; the caller owns the buffer.
 */
#ifndef OTA_SIM_REPORT_H
#define OTA_SIM_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OTA_REPORT_MAX 512

enum ota_said {
    OTA_SAID_NOTHING,
    OTA_SAID_DOWNLOADING,
    OTA_SAID_DOWNLOADED,
    OTA_SAID_BURNING,
    OTA_SAID_DONE,
    OTA_SAID_FAIL,
    OTA_SAID_COUNT
};

struct ota_progress {
    enum ota_said said;
    unsigned percent;    /* of downloading */
    int code;            /* of fail */
    const char *reason;  /* of fail; NULL: what the code says */
    const char *version; /* the target */
};

/* Both return the length written, without the terminator. */
size_t ota_report_version(bool vendor, const char *version, char text[OTA_REPORT_MAX]);
size_t ota_report_progress(bool vendor, const struct ota_progress *progress,
                           char text[OTA_REPORT_MAX]);

/* A request for blocks of the task's image. */
size_t ota_report_ask(int64_t task, int64_t offset, int64_t length, int64_t count,
                      char text[OTA_REPORT_MAX]);

/* The vendor says downloading at QoS 0 and all else at 1. */
int ota_report_qos(bool vendor, enum ota_said said);

#endif
