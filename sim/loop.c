/* SPDX-License-Identifier: BSD-3-Clause */
#include "loop.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define OTA_LOOP_EVENTS 512

static int64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

enum ota_err ota_loop_open(struct ota_loop *loop, struct ota_error *error)
{
    *loop = (struct ota_loop){.epoll = epoll_create1(EPOLL_CLOEXEC), .now = clock_ms()};
    if (loop->epoll < 0) {
        return ota_error_set(error, OTA_INTERNAL, NULL, "epoll: %s", strerror(errno));
    }
    return OTA_OK;
}

void ota_loop_close(struct ota_loop *loop)
{
    ota_timers_free(&loop->timers);
    free(loop->watches);
    loop->watches = NULL;
    if (loop->epoll >= 0) {
        close(loop->epoll);
        loop->epoll = -1;
    }
}

static enum ota_err make_room(struct ota_loop *loop, size_t fd, struct ota_error *error)
{
    if (fd < loop->watch_count) {
        return OTA_OK;
    }
    size_t count = 2 * fd + 64;
    struct ota_watch *watches = realloc(loop->watches, count * sizeof *watches);
    if (watches == NULL) {
        return ota_error_set(error, OTA_INTERNAL, NULL, "out of memory for a descriptor");
    }
    memset(watches + loop->watch_count, 0, (count - loop->watch_count) * sizeof *watches);
    loop->watches = watches;
    loop->watch_count = count;
    return OTA_OK;
}

/* The kernel forgets a descriptor that a library closed, our table doesn't: so try both ways. */
static int control(int epoll, int fd, const struct ota_watch *watch, bool known)
{
    uint64_t key = (uint64_t)watch->generation << 32 | (uint32_t)fd;
    struct epoll_event event = {.events = watch->events, .data.u64 = key};
    int rc = epoll_ctl(epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
    if (rc != 0 && (errno == ENOENT || errno == EEXIST)) {
        rc = epoll_ctl(epoll, errno == ENOENT ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event);
    }
    return rc;
}

enum ota_err ota_loop_watch(struct ota_loop *loop, int fd, uint32_t events,
                            void (*ready)(void *, uint32_t), void *arg, struct ota_error *error)
{
    enum ota_err err = make_room(loop, (size_t)fd, error);
    if (err != OTA_OK) {
        return err;
    }
    const struct ota_watch *now = &loop->watches[fd];
    bool same = now->arg == arg && now->ready == ready;
    if (same && now->events == events) {
        return OTA_OK;
    }
    const struct ota_watch watch = {ready, arg, events, now->generation + (same ? 0 : 1)};
    if (control(loop->epoll, fd, &watch, now->ready != NULL) != 0) {
        return ota_error_set(error, OTA_INTERNAL, NULL, "epoll_ctl: %s", strerror(errno));
    }
    loop->watches[fd] = watch;
    return OTA_OK;
}

void ota_loop_unwatch(struct ota_loop *loop, int fd, const void *arg)
{
    if (fd < 0 || (size_t)fd >= loop->watch_count || loop->watches[fd].arg != arg) {
        return;
    }
    loop->watches[fd] = (struct ota_watch){.generation = loop->watches[fd].generation};
    /* Fails where the descriptor is closed already: then there is nothing left to do. */
    (void)epoll_ctl(loop->epoll, EPOLL_CTL_DEL, fd, NULL);
}

enum ota_err ota_loop_timer(struct ota_loop *loop, struct ota_timer *timer, void (*fire)(void *),
                            void *arg, struct ota_error *error)
{
    return ota_timer_add(&loop->timers, timer, fire, arg, error);
}

void ota_loop_after(struct ota_loop *loop, struct ota_timer *timer, int64_t ms)
{
    ota_timer_arm(&loop->timers, timer, loop->now + ms);
}

void ota_loop_cancel(struct ota_loop *loop, struct ota_timer *timer)
{
    ota_timer_cancel(&loop->timers, timer);
}

static int wait_ms(const struct ota_loop *loop)
{
    int64_t next = ota_timers_next(&loop->timers);
    if (next < 0) {
        return -1;
    }
    int64_t ms = next - clock_ms();
    return ms < 0 ? 0 : ms > INT_MAX ? INT_MAX : (int)ms;
}

static void fire_timers(struct ota_loop *loop)
{
    /* No more than were armed: one that arms itself for now must not hold the sockets up. */
    for (size_t left = loop->timers.armed; left > 0 && !loop->stopped; left--) {
        struct ota_timer *timer = ota_timers_take(&loop->timers, loop->now);
        if (timer == NULL) {
            break;
        }
        timer->fire(timer->arg);
    }
}

static void serve(struct ota_loop *loop, const struct epoll_event *event)
{
    /* Looked up only now: an event served before this one may have closed the descriptor. */
    const struct ota_watch *watch = &loop->watches[(uint32_t)event->data.u64];
    if (watch->ready != NULL && watch->generation == event->data.u64 >> 32) {
        watch->ready(watch->arg, event->events);
    }
}

enum ota_err ota_loop_run(struct ota_loop *loop, struct ota_error *error)
{
    struct epoll_event events[OTA_LOOP_EVENTS];
    while (!loop->stopped) {
        if (loop->rest != NULL) {
            loop->rest(loop->rest_arg);
        }
        int count = epoll_wait(loop->epoll, events, OTA_LOOP_EVENTS, wait_ms(loop));
        if (count < 0 && errno != EINTR) {
            return ota_error_set(error, OTA_INTERNAL, NULL, "epoll_wait: %s", strerror(errno));
        }
        loop->now = clock_ms();
        for (int i = 0; i < count && !loop->stopped; i++) {
            serve(loop, &events[i]);
        }
        fire_timers(loop);
    }
    return OTA_OK;
}

void ota_loop_stop(struct ota_loop *loop)
{
    loop->stopped = true;
}
