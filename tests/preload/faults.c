/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Faults of the machine under a broker, loaded with LD_PRELOAD: clocks that are stepped, a disk
 * that is full, and one that keeps only what was synced.
 *
 *   OTA_FAULTS          a file of struct control, which the test writes to at any time
 *   OTA_FAULTS_FILE     the database: it and what lies beside it under its name is meant
 *   OTA_FAULTS_ALONE    …but nothing beside it
 *   OTA_FAULTS_DURABLE  a folder that gets a copy of database, WAL and journal as a power cut would
 *                       leave them: bytes when they are synced; sizes and names at once
 *   OTA_FAULTS_EARLY    percent of the writes that reach that copy by themselves, before any sync
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define FD_MAX 65536

struct control {
    int64_t wall_ms;     /* added to the wall clock */
    int64_t mono_ms;     /* added to the monotonic clock of the broker's thread */
    int64_t writes_left; /* after so many writes they fail with write_errno; -1: never */
    int64_t write_errno; /* -1: the process ends there */
    int64_t writes;      /* how many there were */
    int64_t open_errno;  /* of opening to write; 0: that works */
};

struct range {
    off_t at;
    size_t len;
};

/* A file that the durable copy is kept of. */
struct kept {
    const char *suffix;
    int copy;
    struct range *dirty;
    size_t count;
    size_t capacity;
};

enum { NOT_OURS, OTHER, KEPT }; /* KEPT + i: kept[i] */

static struct {
    struct control *control;
    const char *file;
    const char *durable;
    unsigned early;
    pthread_mutex_t lock; /* kept and random */
    struct kept kept[3];
    unsigned random;
    unsigned char kind[FD_MAX];
} state = {.lock = PTHREAD_MUTEX_INITIALIZER,
           .kept = {{.suffix = "", .copy = -1},
                    {.suffix = "-wal", .copy = -1},
                    {.suffix = "-journal", .copy = -1}}};

/* The C library's own function of that name. */
#define REAL(name)                                                                                 \
    static __typeof__(&(name)) real;                                                               \
    if (real == NULL) {                                                                            \
        *(void **)&real = dlsym(RTLD_NEXT, #name);                                                 \
    }

static ssize_t real_pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    REAL(pwrite64)
    return real(fd, bytes, len, at);
}

static int real_unlink(const char *path)
{
    REAL(unlink)
    return real(path);
}

static int real_open(const char *path, int flags, mode_t mode)
{
    REAL(open64)
    return real(path, flags, mode);
}

static int real_ftruncate(int fd, off_t len)
{
    REAL(ftruncate64)
    return real(fd, len);
}

__attribute__((constructor)) static void start(void)
{
    const char *name = getenv("OTA_FAULTS");
    const char *early = getenv("OTA_FAULTS_EARLY");
    if (name == NULL) {
        return;
    }
    int fd = real_open(name, O_RDWR | O_CLOEXEC, 0);
    void *map = mmap(NULL, sizeof *state.control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd < 0 || map == MAP_FAILED) {
        (void)fprintf(stderr, "faults: can't map %s\n", name);
        _exit(2);
    }
    (void)close(fd);
    state.control = map;
    state.file = getenv("OTA_FAULTS_FILE");
    state.durable = getenv("OTA_FAULTS_DURABLE");
    state.early = early != NULL ? (unsigned)atoi(early) : 0;
    state.random = (unsigned)getpid() * 2654435761U;
}

/* --- files ------------------------------------------------------------------------------------ */

static unsigned char kind_of(const char *path)
{
    size_t len = state.file != NULL ? strlen(state.file) : 0;
    if (len == 0 || strncmp(path, state.file, len) != 0) {
        return NOT_OURS;
    }
    for (unsigned char i = 0; i < 3; i++) {
        if (strcmp(path + len, state.kept[i].suffix) == 0) {
            return KEPT + i;
        }
    }
    return getenv("OTA_FAULTS_ALONE") == NULL ? OTHER : NOT_OURS;
}

static unsigned char kind_of_fd(int fd)
{
    return fd >= 0 && fd < FD_MAX ? state.kind[fd] : NOT_OURS;
}

static void copy_range(struct kept *kept, int fd, off_t at, size_t len)
{
    char bytes[65536];
    while (len > 0) {
        ssize_t got = pread(fd, bytes, len < sizeof bytes ? len : sizeof bytes, at);
        if (got <= 0 || real_pwrite(kept->copy, bytes, (size_t)got, at) != got) {
            return;
        }
        at += got;
        len -= (size_t)got;
    }
}

static void name_copy(const struct kept *kept, char *name, size_t size)
{
    const char *base = strrchr(state.file, '/');
    (void)snprintf(name, size, "%s/%s%s", state.durable, base != NULL ? base + 1 : state.file,
                   kept->suffix);
}

/* What is there when the file is opened for the first time counts as synced. */
static void open_copy(struct kept *kept, int fd)
{
    char name[4096];
    struct stat file;
    if (state.durable == NULL || kept->copy >= 0) {
        return;
    }
    name_copy(kept, name, sizeof name);
    bool is_new = access(name, F_OK) != 0;
    kept->copy = real_open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (kept->copy >= 0 && is_new && fstat(fd, &file) == 0) {
        copy_range(kept, fd, 0, (size_t)file.st_size);
    }
}

static void note_dirty(struct kept *kept, off_t at, size_t len)
{
    if (kept->count == kept->capacity) {
        size_t capacity = kept->capacity != 0 ? kept->capacity * 2 : 256;
        struct range *grown = realloc(kept->dirty, capacity * sizeof *grown);
        if (grown == NULL) {
            abort();
        }
        kept->dirty = grown;
        kept->capacity = capacity;
    }
    kept->dirty[kept->count++] = (struct range){at, len};
}

static void note_write(int fd, const void *bytes, off_t at, ssize_t len)
{
    unsigned char kind = kind_of_fd(fd);
    if (len <= 0 || kind < KEPT || state.durable == NULL) {
        return;
    }
    struct kept *kept = &state.kept[kind - KEPT];
    (void)pthread_mutex_lock(&state.lock);
    state.random = state.random * 1664525U + 1013904223U;
    if ((state.random >> 16) % 100 < state.early) {
        (void)!real_pwrite(kept->copy, bytes, (size_t)len, at);
    }
    note_dirty(kept, at, (size_t)len);
    (void)pthread_mutex_unlock(&state.lock);
}

/* A killed process leaves here what it had copied: some of what was to be synced, as a disk may. */
static void sync_copy(int fd)
{
    unsigned char kind = kind_of_fd(fd);
    if (kind < KEPT || state.durable == NULL) {
        return;
    }
    struct kept *kept = &state.kept[kind - KEPT];
    (void)pthread_mutex_lock(&state.lock);
    for (size_t i = 0; i < kept->count; i++) {
        copy_range(kept, fd, kept->dirty[i].at, kept->dirty[i].len);
    }
    kept->count = 0;
    (void)pthread_mutex_unlock(&state.lock);
}

/* Whether this write is still taken. */
static bool is_taken(int fd)
{
    if (kind_of_fd(fd) == NOT_OURS) {
        return true;
    }
    (void)__atomic_add_fetch(&state.control->writes, 1, __ATOMIC_RELAXED);
    int64_t left = __atomic_load_n(&state.control->writes_left, __ATOMIC_RELAXED);
    if (left == 0 && state.control->write_errno < 0) {
        _exit(137);
    }
    if (left == 0) {
        errno = (int)state.control->write_errno;
        return false;
    }
    if (left > 0) {
        __atomic_store_n(&state.control->writes_left, left - 1, __ATOMIC_RELAXED);
    }
    return true;
}

static bool may_open(const char *path, int flags)
{
    if (state.control == NULL || state.control->open_errno == 0 ||
        (flags & O_ACCMODE) == O_RDONLY || kind_of(path) == NOT_OURS) {
        return true;
    }
    errno = (int)state.control->open_errno;
    return false;
}

static int note_open(int fd, const char *path)
{
    if (fd < 0 || fd >= FD_MAX || state.control == NULL) {
        return fd;
    }
    int error = errno;
    state.kind[fd] = kind_of(path);
    if (state.kind[fd] >= KEPT) {
        (void)pthread_mutex_lock(&state.lock);
        open_copy(&state.kept[state.kind[fd] - KEPT], fd);
        (void)pthread_mutex_unlock(&state.lock);
    }
    errno = error;
    return fd;
}

#define OPEN_MODE(mode, flags)                                                                     \
    mode_t mode = 0;                                                                               \
    if (((flags) & (O_CREAT | __O_TMPFILE)) != 0) {                                                \
        va_list args;                                                                              \
        va_start(args, flags);                                                                     \
        (mode) = va_arg(args, mode_t);                                                             \
        va_end(args);                                                                              \
    }

int open(const char *path, int flags, ...)
{
    OPEN_MODE(mode, flags)
    return note_open(may_open(path, flags) ? real_open(path, flags, mode) : -1, path);
}

int open64(const char *path, int flags, ...)
{
    OPEN_MODE(mode, flags)
    return note_open(may_open(path, flags) ? real_open(path, flags, mode) : -1, path);
}

int close(int fd)
{
    REAL(close)
    if (fd >= 0 && fd < FD_MAX) {
        state.kind[fd] = NOT_OURS;
    }
    return real(fd);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off_t at)
{
    if (!is_taken(fd)) {
        return -1;
    }
    ssize_t put = real_pwrite(fd, bytes, len, at);
    note_write(fd, bytes, at, put);
    return put;
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    return pwrite64(fd, bytes, len, at);
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    REAL(write)
    if (kind_of_fd(fd) == NOT_OURS) {
        return real(fd, bytes, len);
    }
    if (!is_taken(fd)) {
        return -1;
    }
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t put = real(fd, bytes, len);
    note_write(fd, bytes, at, put);
    return put;
}

int ftruncate64(int fd, off_t len)
{
    unsigned char kind = kind_of_fd(fd);
    int rc = real_ftruncate(fd, len);
    if (rc == 0 && kind >= KEPT && state.durable != NULL) {
        (void)real_ftruncate(state.kept[kind - KEPT].copy, len);
    }
    return rc;
}

int ftruncate(int fd, off_t len)
{
    return ftruncate64(fd, len);
}

int fdatasync(int fd)
{
    REAL(fdatasync)
    sync_copy(fd);
    return state.durable != NULL ? 0 : real(fd);
}

int fsync(int fd)
{
    REAL(fsync)
    sync_copy(fd);
    return state.durable != NULL ? 0 : real(fd);
}

int unlink(const char *path)
{
    unsigned char kind = kind_of(path);
    if (kind >= KEPT && state.durable != NULL) {
        struct kept *kept = &state.kept[kind - KEPT];
        char name[4096];
        (void)pthread_mutex_lock(&state.lock);
        name_copy(kept, name, sizeof name);
        (void)real_unlink(name);
        kept->count = 0;
        if (kept->copy >= 0) {
            (void)close(kept->copy);
            kept->copy = -1;
        }
        (void)pthread_mutex_unlock(&state.lock);
    }
    return real_unlink(path);
}

/* --- clocks ----------------------------------------------------------------------------------- */

/* Other threads give the monotonic clock to the kernel, which doesn't know of the step. */
static int64_t step_of(clockid_t clock)
{
    if (state.control == NULL) {
        return 0;
    }
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        return __atomic_load_n(&state.control->wall_ms, __ATOMIC_RELAXED);
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE:
        return syscall(SYS_gettid) == getpid()
                   ? __atomic_load_n(&state.control->mono_ms, __ATOMIC_RELAXED)
                   : 0;
    default:
        return 0;
    }
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    REAL(clock_gettime)
    int rc = real(clock, now);
    int64_t step = step_of(clock);
    if (rc == 0 && step != 0) {
        int64_t nsec = (int64_t)now->tv_nsec + step % 1000 * 1000000;
        now->tv_sec += (time_t)(step / 1000) + (nsec >= 1000000000 ? 1 : nsec < 0 ? -1 : 0);
        now->tv_nsec = (long)((nsec + 1000000000) % 1000000000);
    }
    return rc;
}

time_t time(time_t *out)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL) {
        *out = now.tv_sec;
    }
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}
