/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: knowing which thread is the broker's (mosquitto-facts.md, 2).
 * Thread: any.
 * Frees: nothing.
 */
#ifndef OTA_BROKER_THREAD_H
#define OTA_BROKER_THREAD_H

#include <stdbool.h>

/* Called once, at load, on the broker's thread. */
void ota_broker_thread_is_this(void);

bool ota_broker_thread_is(void);

#endif
