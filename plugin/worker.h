/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: a thread that does its chore about every so often, and at once when it is woken.
 * Thread: start and stop on one thread, wake and stopping on any; the chore runs on the worker's.
 * Frees: ota_worker_free; the struct is the caller's.
 */
#ifndef OTA_WORKER_H
#define OTA_WORKER_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "util/error.h"

typedef void (*ota_chore_fn)(void *data);

/* All zero: not started. */
struct ota_worker {
    bool started; /* until ota_worker_free */
    bool joined;
    int every_ms;
    ota_chore_fn chore;
    void *data;
    pthread_t thread;
    sem_t woken;
    atomic_bool stopping;
};

/* The thread takes no signals: they are the broker's. */
OTA_CHECKED enum ota_err ota_worker_start(struct ota_worker *worker, int every_ms,
                                          ota_chore_fn chore, void *data, struct ota_error *error);

/* Until ota_worker_free; once the worker is stopped, it does nothing. */
void ota_worker_wake(struct ota_worker *worker);

/* For a chore that takes long: whether it should come to its end. */
bool ota_worker_stopping(struct ota_worker *worker);

/* Waits for the chore that runs; others may still wake it. Fine where it isn't started, or is
 * stopped already. */
void ota_worker_stop(struct ota_worker *worker);
/* Stops it, and nobody wakes it any more. */
void ota_worker_free(struct ota_worker *worker);

#endif
