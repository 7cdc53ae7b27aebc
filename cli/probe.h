/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: connections that try what shouldn't work, or how fast something does.
 * Thread: main.
 * Frees: nothing stays open between calls.
 */
#ifndef OTA_CLI_PROBE_H
#define OTA_CLI_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#include "settings.h"

enum ota_probe_result { OTA_PROBE_YES, OTA_PROBE_NO, OTA_PROBE_UNKNOWN };

/* Whether the broker lets in who says that name with that password (NULL: none), without a
 * certificate. */
enum ota_probe_result ota_probe_login(const struct ota_settings *settings, const char *user,
                                      const char *password);

/* Whether who the settings say may subscribe to it. */
enum ota_probe_result ota_probe_subscribe(const struct ota_settings *settings, const char *topic);

/* How long the fastest of some answers came after its request's PUBACK, for a client that
 * acknowledges late; -1 where none came. One that is quick enough needs no other. */
int64_t ota_probe_delay_ms(const struct ota_settings *settings, const char *request,
                           int64_t enough);

#endif
