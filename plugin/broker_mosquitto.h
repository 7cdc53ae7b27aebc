/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: Mosquitto's headers for plugins: 2.1 has all in one, and warns who includes the others.
 * Thread: -
 * Frees: nothing.
 */
#ifndef OTA_BROKER_MOSQUITTO_H
#define OTA_BROKER_MOSQUITTO_H

#include <mosquitto.h>

#if LIBMOSQUITTO_VERSION_NUMBER < 2001000
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>
#endif

#endif
