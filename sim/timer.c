/* SPDX-License-Identifier: BSD-3-Clause */
#include "timer.h"

#include <stdlib.h>

void ota_timers_free(struct ota_timers *timers)
{
    free(timers->heap);
    *timers = (struct ota_timers){0};
}

enum ota_err ota_timer_add(struct ota_timers *timers, struct ota_timer *timer, void (*fire)(void *),
                           void *arg, struct ota_error *error)
{
    size_t known = timers->known + 1;
    /* Doubling at powers of two keeps ten thousand additions linear. */
    if ((known & (known - 1)) == 0) {
        struct ota_timer **heap =
            realloc(timers->heap, (2 * known + 1) * sizeof(struct ota_timer *));
        if (heap == NULL) {
            return ota_error_set(error, OTA_INTERNAL, NULL, "out of memory for a timer");
        }
        timers->heap = heap;
    }
    timers->known = known;
    *timer = (struct ota_timer){.fire = fire, .arg = arg};
    return OTA_OK;
}

void ota_timer_remove(struct ota_timers *timers, struct ota_timer *timer)
{
    ota_timer_cancel(timers, timer);
    timers->known--;
}

static void put(struct ota_timers *timers, size_t index, struct ota_timer *timer)
{
    timers->heap[index] = timer;
    timer->index = index;
}

static void sift_up(struct ota_timers *timers, struct ota_timer *timer)
{
    size_t index = timer->index;
    while (index > 1 && timers->heap[index / 2]->at > timer->at) {
        put(timers, index, timers->heap[index / 2]);
        index /= 2;
    }
    put(timers, index, timer);
}

static void sift_down(struct ota_timers *timers, struct ota_timer *timer)
{
    size_t index = timer->index;
    for (size_t child = 2 * index; child <= timers->armed; child = 2 * index) {
        if (child < timers->armed && timers->heap[child + 1]->at < timers->heap[child]->at) {
            child++;
        }
        if (timers->heap[child]->at >= timer->at) {
            break;
        }
        put(timers, index, timers->heap[child]);
        index = child;
    }
    put(timers, index, timer);
}

void ota_timer_arm(struct ota_timers *timers, struct ota_timer *timer, int64_t at)
{
    timer->at = at;
    if (timer->index == 0) {
        put(timers, ++timers->armed, timer);
    }
    sift_up(timers, timer);
    sift_down(timers, timer);
}

void ota_timer_cancel(struct ota_timers *timers, struct ota_timer *timer)
{
    if (timer->index == 0) {
        return;
    }
    size_t hole = timer->index;
    timer->index = 0;
    struct ota_timer *last = timers->heap[timers->armed--];
    if (last != timer) {
        put(timers, hole, last);
        sift_up(timers, last);
        sift_down(timers, last);
    }
}

int64_t ota_timers_next(const struct ota_timers *timers)
{
    return timers->armed == 0 ? -1 : timers->heap[1]->at;
}

struct ota_timer *ota_timers_take(struct ota_timers *timers, int64_t now)
{
    if (timers->armed == 0 || timers->heap[1]->at > now) {
        return NULL;
    }
    struct ota_timer *timer = timers->heap[1];
    ota_timer_cancel(timers, timer);
    return timer;
}
