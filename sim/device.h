/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: one device: its names, its connection, what it runs and what it says.
 * Thread: the loop's. upgrade.c works on the same struct: the part between notice and outcome.
 * Frees: ota_device_free().
 */
#ifndef OTA_SIM_DEVICE_H
#define OTA_SIM_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "fault.h"
#include "image.h"
#include "link.h"
#include "notice.h"
#include "report.h"
#include "world.h"

#define OTA_VENDOR_MIDS 10 /* packet ids that the vendor's SDK remembers */

struct ota_device {
    struct ota_world *world;
    char *name, *report_topic, *update_topic;
    char *block_topic; /* up to the task's number */
    char *client_id, *username, *cert, *key;
    struct ota_link_identity identity;
    struct ota_link link;
    uint64_t random;
    bool vendor;

    enum ota_phase phase;
    char version[OTA_VERSION_MAX + 1]; /* that it runs */
    char before[OTA_VERSION_MAX + 1];  /* that it ran before the upgrade */

    bool reported;   /* since its start */
    bool report_due; /* the vendor's, after a download that a lost connection ended */
    bool deaf;       /* the vendor's, after an answer other than 0 */
    bool left_once;  /* offline at start */
    bool proving;    /* the next version report ends the upgrade */
    int version_mid; /* of the report that waits for its acknowledgement, or -1 */
    int seen_mids[OTA_VENDOR_MIDS];
    unsigned seen_next;
    struct ota_timer report; /* says the version */

    struct ota_progress said; /* the last that it said of the upgrade, or meant to */
    bool acked;
    int said_mid;
    void (*then)(struct ota_device *); /* when that is acknowledged */

    struct ota_notice notice;
    struct ota_image image;
    struct ota_transfer *transfer;
    struct ota_vendor_fetch *vendor_fetch;      /* of its last attempt */
    unsigned tries;                             /* to fetch on, without a byte in between */
    int64_t trip;                               /* the byte at which the fault strikes */
    int64_t window_start, window_end, asked_at; /* in-band: what was asked for, and when */
    bool overflow, broken, started_over;
    unsigned percent; /* last said */
    struct ota_timer tick;
    struct ota_timer step; /* then next is called */
    void (*next)(struct ota_device *);
    struct ota_timer away; /* then back is called */
    void (*back)(struct ota_device *);

    struct ota_fault fault;
    bool armed;
    int64_t unheard; /* notices that ignore-notice swallowed */
    bool counted;    /* in the tally's ended */
};

/* device must stay where it is until it is freed, also after an error. */
enum ota_err ota_device_init(struct ota_device *device, struct ota_world *world, int64_t number,
                             const struct ota_fault *fault, struct ota_error *error) OTA_CHECKED;
void ota_device_free(struct ota_device *device);

void ota_device_start(struct ota_device *device);

/* Ends an absence at start early; nothing for a device that isn't away so. */
void ota_device_return(struct ota_device *device);

/* For upgrade.c. format and what follows are json_pack()'s; format may be NULL. */
void ota_device_tell(struct ota_device *device, enum ota_event event, const char *format, ...);
void ota_device_enter(struct ota_device *device, enum ota_phase phase);
void ota_device_after(struct ota_device *device, int64_t ms, void (*next)(struct ota_device *));
void ota_device_away(struct ota_device *device, int64_t ms, void (*back)(struct ota_device *));
void ota_device_report_version(struct ota_device *device);
void ota_device_report_after(struct ota_device *device, int64_t ms);

/* then (may be NULL) is called when the server has acknowledged it, over lost connections too.
 * reason lives for ever; NULL: what the code says. */
void ota_device_report(struct ota_device *device, enum ota_said said,
                       void (*then)(struct ota_device *));
void ota_device_report_fail(struct ota_device *device, int code, const char *reason,
                            void (*then)(struct ota_device *));

/* As a program that starts anew: nothing of a connection or a conversation is left. */
void ota_device_restart(struct ota_device *device);

#endif
