/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How long the broker's loop takes from one wait to the next. To be loaded before the broker
 * (LD_PRELOAD): stands in for epoll_wait on its first thread. BENCH_LOOPWATCH names the file where
 * the figures are kept (parts.py, LoopWatch); while `enabled` is 0 it only passes calls on.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define LONG_LOOP 10000000 /* ns: design.md, contract 2 */

struct watch {
    uint64_t enabled;
    uint64_t loops;
    uint64_t longest; /* ns */
    uint64_t longest_cpu;
    uint64_t over;
    uint64_t over_cpu;
};

typedef int (*wait_fn)(int fd, struct epoll_event *events, int max, int timeout);

static volatile struct watch *watch;
static wait_fn next;
static pthread_t first;
static bool begun;
static uint64_t began;
static uint64_t began_cpu;

static uint64_t read_clock(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("BENCH_LOOPWATCH");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    first = pthread_self();
    *(void **)&next = dlsym(RTLD_NEXT, "epoll_wait");
    if (fd >= 0) {
        void *map = mmap(NULL, sizeof *watch, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        watch = map != MAP_FAILED ? map : NULL;
        (void)close(fd);
    }
}

static void note(uint64_t wall, uint64_t cpu)
{
    watch->loops++;
    watch->longest = wall > watch->longest ? wall : watch->longest;
    watch->longest_cpu = cpu > watch->longest_cpu ? cpu : watch->longest_cpu;
    watch->over += wall > LONG_LOOP;
    watch->over_cpu += cpu > LONG_LOOP;
}

__attribute__((visibility("default"))) int epoll_wait(int fd, struct epoll_event *events, int max,
                                                      int timeout)
{
    bool enabled = watch != NULL && watch->enabled != 0 && pthread_equal(first, pthread_self());
    if (enabled && begun) {
        note(read_clock(CLOCK_MONOTONIC) - began, read_clock(CLOCK_THREAD_CPUTIME_ID) - began_cpu);
    }
    int rc = next(fd, events, max, timeout);
    if (pthread_equal(first, pthread_self())) {
        begun = enabled;
        began = enabled ? read_clock(CLOCK_MONOTONIC) : 0;
        began_cpu = enabled ? read_clock(CLOCK_THREAD_CPUTIME_ID) : 0;
    }
    return rc;
}
