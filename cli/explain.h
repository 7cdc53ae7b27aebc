/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: why there is no connection or no answer, in sentences that say what to do.
 * Thread: main.
 * Frees: nothing.
 */
#ifndef OTA_CLI_EXPLAIN_H
#define OTA_CLI_EXPLAIN_H

#include "failure.h"
#include "settings.h"

/* Each fills failure and returns OTA_EXIT_CONNECTION. rc is libmosquitto's, saved_errno goes
 * with it; log is its last complaint or "". */
enum ota_exit ota_explain_connect(const struct ota_settings *settings, int rc, int saved_errno,
                                  const char *log, struct ota_failure *failure);
enum ota_exit ota_explain_login(const struct ota_settings *settings, int connack,
                                struct ota_failure *failure);

/* The connection ended before a CONNACK came. */
enum ota_exit ota_explain_closed(const struct ota_settings *settings, int rc, const char *log,
                                 struct ota_failure *failure);

/* The connection is there, but the plugin doesn't answer: what says how that showed. */
enum ota_exit ota_explain_role(const struct ota_settings *settings, const char *what,
                               struct ota_failure *failure);

enum ota_exit ota_explain_lost(const struct ota_settings *settings, int rc, int saved_errno,
                               struct ota_failure *failure);

#endif
