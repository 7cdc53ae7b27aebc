/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the heap in which timers wait; a timer itself lives inside its user's struct.
 * Thread: the loop's.
 * Frees: ota_timers_free() the heap; a cancelled or fired timer needs no freeing.
 */
#ifndef OTA_SIM_TIMER_H
#define OTA_SIM_TIMER_H

#include <stddef.h>
#include <stdint.h>

#include "../plugin/util/error.h"

struct ota_timer {
    int64_t at;   /* milliseconds of the loop's clock */
    size_t index; /* its place in the heap, 0 while it isn't armed */
    void (*fire)(void *arg);
    void *arg;
};

struct ota_timers {
    struct ota_timer **heap; /* from 1 on */
    size_t armed;
    size_t known;
};

void ota_timers_free(struct ota_timers *timers);

/* Makes room for the timer once, so that arming it can never fail. */
enum ota_err ota_timer_add(struct ota_timers *timers, struct ota_timer *timer, void (*fire)(void *),
                           void *arg, struct ota_error *error) OTA_CHECKED;

/* Cancels it and gives its room back. */
void ota_timer_remove(struct ota_timers *timers, struct ota_timer *timer);

/* Arms it, or moves it when it is armed. */
void ota_timer_arm(struct ota_timers *timers, struct ota_timer *timer, int64_t at);
void ota_timer_cancel(struct ota_timers *timers, struct ota_timer *timer);

/* When the first one is due, or -1. */
int64_t ota_timers_next(const struct ota_timers *timers);

/* Disarms and returns one that is due at now, or returns NULL. */
struct ota_timer *ota_timers_take(struct ota_timers *timers, int64_t now);

#endif
