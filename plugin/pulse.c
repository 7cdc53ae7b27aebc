/* SPDX-License-Identifier: BSD-3-Clause */
#include "pulse.h"

#include <stdio.h>

bool ota_pulse_ask(struct ota_pulse *pulse, int64_t now, char *text, size_t size)
{
    int64_t still = now - atomic_load(&pulse->beat_at);

    atomic_store(&pulse->asked, true);
    if (still >= OTA_PULSE_STILL_MS) {
        (void)snprintf(text, size,
                       "the broker's loop has stood still for %lld seconds (or "
                       "per_listener_settings is true, which must be false)",
                       (long long)(still / 1000));
        return false;
    }
    if (atomic_load(&pulse->unwritable)) {
        (void)snprintf(text, size, "the database can't be written: see the broker's log");
        return false;
    }
    (void)snprintf(text, size, "ok");
    return true;
}
