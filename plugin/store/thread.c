/* SPDX-License-Identifier: BSD-3-Clause */
#include <signal.h>

#include "store_internal.h"

int ota_thread_start(pthread_t *thread, void *(*run)(void *), void *data, const char *name)
{
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    int rc = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (rc != 0) {
        return rc;
    }
    rc = pthread_create(thread, NULL, run, data);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0) {
        (void)pthread_setname_np(*thread, name);
    }
    return rc;
}
