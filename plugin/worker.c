/* SPDX-License-Identifier: BSD-3-Clause */
#include "worker.h"

#include <signal.h>
#include <time.h>

static struct timespec from_now(int ms)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    return until;
}

static void *work(void *data)
{
    struct ota_worker *worker = data;

    while (!ota_worker_stopping(worker)) {
        struct timespec until = from_now(worker->every_ms);
        (void)sem_clockwait(&worker->woken, CLOCK_MONOTONIC, &until);
        worker->chore(worker->data);
    }
    return NULL;
}

enum ota_err ota_worker_start(struct ota_worker *worker, int every_ms, ota_chore_fn chore,
                              void *data, struct ota_error *error)
{
    sigset_t all;
    sigset_t before;

    worker->every_ms = every_ms;
    worker->chore = chore;
    worker->data = data;
    atomic_store(&worker->stopping, false);
    (void)sem_init(&worker->woken, 0, 0);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* which the thread inherits */
    int rc = pthread_create(&worker->thread, NULL, work, worker);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        (void)sem_destroy(&worker->woken);
        return ota_error_set(error, OTA_UNAVAILABLE, NULL, "can't start a thread");
    }
    worker->started = true;
    worker->joined = false;
    return OTA_OK;
}

void ota_worker_wake(struct ota_worker *worker)
{
    if (worker->started) {
        (void)sem_post(&worker->woken);
    }
}

bool ota_worker_stopping(struct ota_worker *worker)
{
    return atomic_load(&worker->stopping);
}

void ota_worker_stop(struct ota_worker *worker)
{
    if (!worker->started || worker->joined) {
        return;
    }
    atomic_store(&worker->stopping, true);
    ota_worker_wake(worker);
    (void)pthread_join(worker->thread, NULL);
    worker->joined = true;
}

void ota_worker_free(struct ota_worker *worker)
{
    ota_worker_stop(worker);
    if (worker->started) {
        (void)sem_destroy(&worker->woken);
        worker->started = false;
    }
}
