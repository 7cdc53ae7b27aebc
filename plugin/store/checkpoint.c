/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "store_internal.h"

/*
 * A checkpoint that a commit or a reader kept from being complete is repeated after this. Each
 * costs two syncs of the disk, and finds fewer pages that were written more than once.
 */
#define PAUSE_MS 50
/* How long the writer waits at most; a reader that never ends must not hold the broker. */
#define HOLD_MS  2000

/*
 * One lock; it is held for a few instructions only, never while SQLite runs. The writer's thread
 * takes it at the end of a commit, this thread between two checkpoints.
 */
struct ota_checkpoint {
    struct ota_conn conn; /* the thread's alone */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake; /* wanted, urgent or stop */
    pthread_cond_t done; /* rounds */
    bool wanted;
    bool urgent; /* the writer waits */
    bool running;
    bool stop;
    unsigned rounds; /* checkpoints that have ended */
    int hold_pages;  /* the writer's: where it is held the next time */
    bool pinned;     /* a reader keeps the WAL from starting afresh, and will for a while */
    int pages;       /* of the WAL at the last commit; 0 once all were copied */
    int64_t took_us; /* all rounds together */
};

static struct timespec deadline_in(int ms)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += (long)(ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

static int64_t now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Whether all of the WAL is in the database file now, so that the next commit starts it afresh. */
static bool checkpoint_once(struct ota_checkpoint *checkpoint)
{
    int pages = 0;
    int copied = 0;
    /* Its failures need no report: the WAL keeps everything, and a full disk fails the commits. */
    int rc = sqlite3_wal_checkpoint_v2(checkpoint->conn.db, NULL, SQLITE_CHECKPOINT_PASSIVE, &pages,
                                       &copied);
    return rc == SQLITE_OK && pages >= 0 && pages == copied;
}

/* The two that follow, and hold, are called, and return, with the lock held. */
static void pause_thread(struct ota_checkpoint *checkpoint)
{
    struct timespec until = deadline_in(PAUSE_MS);
    int rc = 0;
    while (!checkpoint->stop && !checkpoint->urgent && rc == 0) {
        rc = pthread_cond_timedwait(&checkpoint->wake, &checkpoint->lock, &until);
    }
}

static void work_once(struct ota_checkpoint *checkpoint)
{
    checkpoint->wanted = false;
    checkpoint->urgent = false;
    checkpoint->running = true;
    (void)pthread_mutex_unlock(&checkpoint->lock);
    int64_t began = now_us();
    bool complete = checkpoint_once(checkpoint);
    int64_t took = now_us() - began;
    (void)pthread_mutex_lock(&checkpoint->lock);
    checkpoint->took_us += took;
    checkpoint->running = false;
    checkpoint->pages = complete ? 0 : checkpoint->pages;
    checkpoint->rounds++;
    (void)pthread_cond_broadcast(&checkpoint->done);
    if (!complete) {
        pause_thread(checkpoint);
    }
}

static void *run(void *data)
{
    struct ota_checkpoint *checkpoint = data;
    (void)pthread_mutex_lock(&checkpoint->lock);
    while (!checkpoint->stop) {
        if (checkpoint->wanted || checkpoint->urgent) {
            work_once(checkpoint);
        } else {
            (void)pthread_cond_wait(&checkpoint->wake, &checkpoint->lock);
        }
    }
    (void)pthread_mutex_unlock(&checkpoint->lock);
    return NULL;
}

static void init_sync(struct ota_checkpoint *checkpoint)
{
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&checkpoint->lock, NULL);
    (void)pthread_cond_init(&checkpoint->wake, &attr);
    (void)pthread_cond_init(&checkpoint->done, &attr);
    (void)pthread_condattr_destroy(&attr);
}

static void free_checkpoint(struct ota_checkpoint *checkpoint)
{
    ota_conn_close(&checkpoint->conn);
    (void)pthread_cond_destroy(&checkpoint->done);
    (void)pthread_cond_destroy(&checkpoint->wake);
    (void)pthread_mutex_destroy(&checkpoint->lock);
    free(checkpoint);
}

enum ota_err ota_checkpoint_start(const char *path, struct ota_checkpoint **checkpoint,
                                  struct ota_error *error)
{
    struct ota_checkpoint *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return ota_error_set(error, OTA_UNAVAILABLE, NULL, "memory is out");
    }
    made->hold_pages = OTA_WAL_HARD_PAGES;
    init_sync(made);
    enum ota_err err = ota_conn_open(&made->conn, path, SQLITE_OPEN_READWRITE, error);
    int64_t tables = 0;
    if (err == OTA_OK) {
        /* Until it has read something, a connection doesn't know of the WAL: it checkpoints
         * nothing. */
        err = ota_conn_int(&made->conn, "SELECT count(*) FROM sqlite_schema", &tables, error);
    }
    if (err == OTA_OK && ota_thread_start(&made->thread, run, made, "ota-checkpoint") != 0) {
        err = ota_error_set(error, OTA_UNAVAILABLE, NULL, "the system gives no thread");
    }
    if (err != OTA_OK) {
        free_checkpoint(made);
        return err;
    }
    *checkpoint = made;
    return OTA_OK;
}

void ota_checkpoint_stop(struct ota_checkpoint *checkpoint)
{
    if (checkpoint == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&checkpoint->lock);
    checkpoint->stop = true;
    (void)pthread_cond_broadcast(&checkpoint->wake);
    (void)pthread_cond_broadcast(&checkpoint->done);
    (void)pthread_mutex_unlock(&checkpoint->lock);
    (void)pthread_join(checkpoint->thread, NULL);
    free_checkpoint(checkpoint);
}

/* Waits until a checkpoint that saw all of the WAL has ended. */
static void hold(struct ota_checkpoint *checkpoint)
{
    struct timespec until = deadline_in(HOLD_MS);
    /* One that is under way began before the last commit: it doesn't count. */
    unsigned target = checkpoint->rounds + (checkpoint->running ? 2 : 1);
    int rc = 0;
    while ((int)(target - checkpoint->rounds) > 0 && rc == 0) {
        checkpoint->urgent = true;
        (void)pthread_cond_signal(&checkpoint->wake);
        rc = pthread_cond_timedwait(&checkpoint->done, &checkpoint->lock, &until);
    }
}

void ota_checkpoint_note(struct ota_checkpoint *checkpoint, int pages)
{
    if (pages < OTA_WAL_SOFT_PAGES) {
        return; /* without a lock: most commits */
    }
    (void)pthread_mutex_lock(&checkpoint->lock);
    checkpoint->pages = pages;
    if (!checkpoint->wanted) {
        checkpoint->wanted = true;
        (void)pthread_cond_signal(&checkpoint->wake);
    }
    if (pages < OTA_WAL_HARD_PAGES) {
        checkpoint->hold_pages = OTA_WAL_HARD_PAGES;
    } else if (checkpoint->pinned || pages >= checkpoint->hold_pages) {
        if (!checkpoint->pinned) {
            hold(checkpoint);
        }
        /* Where that didn't help, not again at the very next commit. */
        checkpoint->hold_pages = pages + OTA_WAL_HARD_PAGES / 4;
    }
    (void)pthread_mutex_unlock(&checkpoint->lock);
}

void ota_checkpoint_pin(struct ota_checkpoint *checkpoint, bool pinned)
{
    (void)pthread_mutex_lock(&checkpoint->lock);
    checkpoint->pinned = pinned;
    (void)pthread_mutex_unlock(&checkpoint->lock);
}

int ota_checkpoint_pages(struct ota_checkpoint *checkpoint)
{
    (void)pthread_mutex_lock(&checkpoint->lock);
    int pages = checkpoint->pages;
    (void)pthread_mutex_unlock(&checkpoint->lock);
    return pages;
}

void ota_checkpoint_stats(struct ota_checkpoint *checkpoint, struct ota_store_stats *stats)
{
    (void)pthread_mutex_lock(&checkpoint->lock);
    stats->checkpoints = checkpoint->rounds;
    stats->checkpoint_us = checkpoint->took_us;
    (void)pthread_mutex_unlock(&checkpoint->lock);
}

bool ota_checkpoint_is_behind(struct ota_checkpoint *checkpoint)
{
    (void)pthread_mutex_lock(&checkpoint->lock);
    bool behind = checkpoint->pages >= OTA_WAL_HARD_PAGES / 2;
    (void)pthread_mutex_unlock(&checkpoint->lock);
    return behind;
}
