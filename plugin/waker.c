/* SPDX-License-Identifier: BSD-3-Clause */
#include "waker.h"

#include <time.h>

/* Nobody uses it, its default is to be ignored, libraries expect it at any time: Go's runtime chose
 * it for the same reasons. */
#define OTA_WAKER_SIGNAL SIGURG

/* A signal that comes just before the wait doesn't end it: it is sent again, ever more slowly, and
 * at last the broker wakes by itself. */
#define OTA_WAKER_TRIES    8
#define OTA_WAKER_FIRST_US 500

#define OTA_WAKER_LEAST_US 500   /* for others between two turns for us */
#define OTA_WAKER_MOST_US  20000 /* and at most, whatever a turn took */
#define OTA_WAKER_IDLE_MS  60000

static void do_nothing(int signal)
{
    (void)signal;
}

static void rest(int64_t us)
{
    const struct timespec pause = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    (void)nanosleep(&pause, NULL);
}

static void wake(void *data)
{
    struct ota_waker *waker = data;
    int64_t us = OTA_WAKER_FIRST_US;

    rest(atomic_exchange(&waker->pause_us, 0));
    uint_fast64_t turns = atomic_load(&waker->turns);
    for (int i = 0; i < OTA_WAKER_TRIES && atomic_load(&waker->called) &&
                    turns == atomic_load(&waker->turns) && !ota_worker_stopping(&waker->worker);
         i++) {
        (void)pthread_kill(waker->broker, OTA_WAKER_SIGNAL);
        atomic_fetch_add(&waker->woken, 1);
        rest(us);
        us *= 2;
    }
}

/* SA_RESTART: what else the broker may be waiting for goes on as if nothing had been. */
static bool install(struct ota_waker *waker)
{
    struct sigaction nothing = {.sa_handler = do_nothing, .sa_flags = SA_RESTART};

    (void)sigemptyset(&nothing.sa_mask);
    if (sigaction(OTA_WAKER_SIGNAL, NULL, &waker->before) != 0 ||
        (waker->before.sa_flags & SA_SIGINFO) != 0 ||
        (waker->before.sa_handler != SIG_DFL && waker->before.sa_handler != SIG_IGN)) {
        return false;
    }
    return sigaction(OTA_WAKER_SIGNAL, &nothing, NULL) == 0;
}

enum ota_err ota_waker_start(struct ota_waker *waker, struct ota_error *error)
{
    waker->broker = pthread_self();
    waker->installed = install(waker);
    return waker->installed
               ? ota_worker_start(&waker->worker, OTA_WAKER_IDLE_MS, wake, waker, error)
               : OTA_OK;
}

/* A signal that is still on its way finds the default: it is ignored. */
void ota_waker_free(struct ota_waker *waker)
{
    ota_worker_free(&waker->worker);
    if (waker->installed) {
        (void)sigaction(OTA_WAKER_SIGNAL, &waker->before, NULL);
        waker->installed = false;
    }
}

void ota_waker_call(struct ota_waker *waker)
{
    if (waker != NULL && !atomic_exchange(&waker->called, true)) {
        ota_worker_wake(&waker->worker);
    }
}

void ota_waker_go_on(struct ota_waker *waker, int64_t turn_us)
{
    int64_t us = turn_us > OTA_WAKER_LEAST_US ? turn_us : OTA_WAKER_LEAST_US;
    atomic_store(&waker->pause_us, us < OTA_WAKER_MOST_US ? us : OTA_WAKER_MOST_US);
    ota_waker_call(waker);
}
