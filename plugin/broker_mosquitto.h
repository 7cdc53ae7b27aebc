/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: Mosquitto's headers for plugins: 2.1 has all in one, and warns who includes the others; and
 *       what the glue alone asks the real seam.
 * Thread: the broker's.
 * Frees: nothing.
 */
#ifndef OTA_BROKER_MOSQUITTO_H
#define OTA_BROKER_MOSQUITTO_H

#include <mosquitto.h>

#if LIBMOSQUITTO_VERSION_NUMBER < 2001000
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>
#endif

#include <stdint.h>

/* How many messages were given to the broker so far. */
uint64_t ota_broker_published(void);

#endif
