/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what is printed: a happening's line for people or as JSON, and how often each happened.
 * Thread: the loop's.
 * Frees: ota_output_say() takes the details over.
 */
#ifndef OTA_SIM_OUTPUT_H
#define OTA_SIM_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum ota_event {
    OTA_EVENT_CONNECTED,
    OTA_EVENT_REFUSED,
    OTA_EVENT_SUBSCRIBED,
    OTA_EVENT_REPORTED,
    OTA_EVENT_ANSWERED,
    OTA_EVENT_NOTICE,
    OTA_EVENT_IGNORED,
    OTA_EVENT_DOWNLOAD_START,
    OTA_EVENT_DOWNLOADING,
    OTA_EVENT_DOWNLOAD_CUT,
    OTA_EVENT_DOWNLOADED,
    OTA_EVENT_VERIFIED,
    OTA_EVENT_BURNING,
    OTA_EVENT_DONE,
    OTA_EVENT_FAIL,
    OTA_EVENT_CANCELLED,
    OTA_EVENT_FAULT,
    OTA_EVENT_REBOOT,
    OTA_EVENT_UPGRADED,
    OTA_EVENT_DISCONNECTED,
    OTA_EVENT_AWAY,
    OTA_EVENT_RETURNED,
    OTA_EVENT_GAVE_UP,
    OTA_EVENT_EXITED,
    OTA_EVENT_CRASHED,
    OTA_EVENT_SUMMARY,
    OTA_EVENT_COUNT
};

struct ota_output {
    bool json;
    bool lines; /* a line for each happening of a device */
    bool quiet;
    uint64_t counts[OTA_EVENT_COUNT];
};

void ota_output_open(struct ota_output *output, bool json, bool lines, bool quiet);

/* Whether a happening's details are wanted at all: ten thousand devices needn't build them. */
bool ota_output_wants(const struct ota_output *output, enum ota_event event);

/* device may be NULL: about the program; details (an object) may be NULL. */
void ota_output_say(struct ota_output *output, enum ota_event event, const char *device,
                    json_t *details);

/* Everything said so far leaves the process. */
void ota_output_flush(void *output);

#endif
