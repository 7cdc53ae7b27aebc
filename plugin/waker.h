/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: ending the broker's wait: Mosquitto 2.0 sleeps up to 100 ms where nobody sends anything,
 *       and people wait for each of these. A signal that does nothing ends the wait and nothing
 *       else (docs/adr/0017).
 * Thread: started, stopped and told of turns on the broker's; called on any.
 * Frees: ota_waker_free; the struct is the caller's.
 */
#ifndef OTA_WAKER_H
#define OTA_WAKER_H

#include <signal.h>
#include <stdint.h>

#include "worker.h"

/* All zero: it does nothing. */
struct ota_waker {
    struct ota_worker worker;
    pthread_t broker;
    struct sigaction before;
    bool installed;
    atomic_bool called;         /* and the loop hasn't turned since */
    _Atomic int64_t pause_us;   /* before the loop is woken for more of its own work */
    atomic_uint_fast64_t turns; /* of the loop */
    atomic_uint_fast64_t woken; /* signals sent */
};

/* On the broker's thread. Where another plugin uses the signal it stays off: all goes on, slower.
 * Fails where there is no thread to be had. */
OTA_CHECKED enum ota_err ota_waker_start(struct ota_waker *waker, struct ota_error *error);
void ota_waker_free(struct ota_waker *waker);

/* Something waits for the broker's thread. NULL is fine. */
void ota_waker_call(struct ota_waker *waker);
/* On the broker's thread, at a turn's end: there is more to do, for which it should turn again when
 * the others have had as long as this turn took. */
void ota_waker_go_on(struct ota_waker *waker, int64_t turn_us);

/* Whether the loop was called: a turn is then due. */
static inline bool ota_waker_has_called(const struct ota_waker *waker)
{
    return atomic_load_explicit(&waker->called, memory_order_relaxed);
}

/* On the broker's thread, as a turn begins. */
static inline void ota_waker_turn(struct ota_waker *waker)
{
    atomic_store(&waker->called, false);
    atomic_fetch_add(&waker->turns, 1);
}

#endif
