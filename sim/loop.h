/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the one epoll instance, who watches which descriptor, and the timers.
 * Thread: the only one there is.
 * Frees: ota_loop_close(); descriptors stay their watchers' own.
 */
#ifndef OTA_SIM_LOOP_H
#define OTA_SIM_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "timer.h"

struct ota_watch {
    void (*ready)(void *arg, uint32_t events);
    void *arg;
    uint32_t events;
    uint32_t generation; /* tells a descriptor's event from one of the last that had its number */
};

struct ota_loop {
    int epoll;
    bool stopped;
    int64_t now;               /* milliseconds, monotonic, as of the last wake-up */
    struct ota_watch *watches; /* by descriptor */
    size_t watch_count;
    struct ota_timers timers;
    void (*rest)(void *arg); /* before each wait: flush what was said */
    void *rest_arg;
};

enum ota_err ota_loop_open(struct ota_loop *loop, struct ota_error *error) OTA_CHECKED;
void ota_loop_close(struct ota_loop *loop);

/* Adds fd, or changes what is watched for. The last caller owns the descriptor's place. */
enum ota_err ota_loop_watch(struct ota_loop *loop, int fd, uint32_t events,
                            void (*ready)(void *, uint32_t), void *arg,
                            struct ota_error *error) OTA_CHECKED;

/* Does nothing where fd has another owner by now: libraries close descriptors on their own. */
void ota_loop_unwatch(struct ota_loop *loop, int fd, const void *arg);

enum ota_err ota_loop_timer(struct ota_loop *loop, struct ota_timer *timer, void (*fire)(void *),
                            void *arg, struct ota_error *error) OTA_CHECKED;
void ota_loop_after(struct ota_loop *loop, struct ota_timer *timer, int64_t ms);
void ota_loop_cancel(struct ota_loop *loop, struct ota_timer *timer);

/* Runs until ota_loop_stop(). */
enum ota_err ota_loop_run(struct ota_loop *loop, struct ota_error *error) OTA_CHECKED;
void ota_loop_stop(struct ota_loop *loop);

#endif
