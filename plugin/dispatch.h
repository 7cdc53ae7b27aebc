/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: work that is due, done in slices: notices, deadlines, what may be written later, purges.
 * Thread: the broker's; one call a tick, a few milliseconds at most.
 * Frees: nothing.
 */
#ifndef OTA_DISPATCH_H
#define OTA_DISPATCH_H

#include "core.h"
#include "retention.h"

struct ota_dispatch {
    struct ota_core *core;
    int64_t last_tick;    /* monotonic ms */
    double notice_tokens; /* a notice is paid for in the broker's next loop: see design.md */
    int64_t next_slices;  /* monotonic ms */
    int64_t next_sweep;   /* monotonic ms */
    bool sweeping;
    uint32_t sweep_at;  /* device id */
    int64_t next_purge; /* monotonic ms */
    bool purging;
    bool forgetting;
    struct ota_retention retention;
};

void ota_dispatch_init(struct ota_dispatch *dispatch, struct ota_core *core);

/* After ota_core_tick_clock. */
void ota_dispatch_tick(struct ota_dispatch *dispatch);

/* At shutdown: writes all that was put off, and the service clock. */
void ota_dispatch_finish(struct ota_dispatch *dispatch);

/* Something was deleted: look for rubbish at the next tick. */
void ota_dispatch_purge_soon(struct ota_dispatch *dispatch);

#endif
