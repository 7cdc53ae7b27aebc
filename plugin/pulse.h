/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: whether the service is well: the broker's loop turns, and the database can be written.
 * Thread: asked by any; beaten on the broker's.
 * Frees: nothing.
 */
#ifndef OTA_PULSE_H
#define OTA_PULSE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A loop that stands still for so long is reported. */
#define OTA_PULSE_STILL_MS 5000

/* While somebody asks, so often a write is tried. */
#define OTA_PULSE_PROOF_MS 5000

struct ota_pulse {
    _Atomic int64_t beat_at; /* monotonic ms */
    atomic_bool asked;       /* since the last proof */
    atomic_bool unwritable;
};

/* True and "ok", or false and a sentence. */
bool ota_pulse_ask(struct ota_pulse *pulse, int64_t now, char *text, size_t size);

static inline void ota_pulse_beat(struct ota_pulse *pulse, int64_t now)
{
    atomic_store_explicit(&pulse->beat_at, now, memory_order_relaxed);
}

#endif
