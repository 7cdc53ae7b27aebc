/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: whether a peer takes what it is sent at a fair pace: a floor over a minute, in slots.
 * Thread: any; pure functions over the caller's struct.
 * Frees: nothing.
 */
#ifndef OTA_PACE_H
#define OTA_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define OTA_PACE_SLOTS 6

struct ota_pace_rules {
    int64_t slot_ms; /* a sixth of the time that the floor is averaged over */
    int64_t floor;   /* bytes a second */
};

/* A device needs ten times as much (tencent-sdk.md 10), and a slow radio has more. */
#define OTA_PACE_RULES_USUAL                                                                       \
    {                                                                                              \
        .slot_ms = 10000, .floor = 512                                                             \
    }

enum ota_pace_verdict {
    OTA_PACE_FAIR,
    OTA_PACE_SLOW, /* below the floor in the last slot: others may have its place */
    OTA_PACE_DEAD  /* below the floor over all slots */
};

/* All zero: nothing was there to be sent. */
struct ota_pace {
    bool counting;
    int64_t slot_began;
    uint64_t taken_then; /* when the slot began */
    int64_t slots[OTA_PACE_SLOTS];
    unsigned filled; /* slots since there is something to send */
    enum ota_pace_verdict verdict;
};

/*
 * Call it about every second while there is something to send; `taken` is what the peer has
 * acknowledged since it connected. However long it wasn't called (a stopped process), that is
 * one slot: nobody is dead for a clock that ran on.
 */
enum ota_pace_verdict ota_pace_look(struct ota_pace *pace, const struct ota_pace_rules *rules,
                                    uint64_t taken, int64_t now);

/* There is nothing to send: what was is forgotten. */
void ota_pace_rest(struct ota_pace *pace);

#endif
