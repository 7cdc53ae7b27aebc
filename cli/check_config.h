/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the verb check-config: a mosquitto.conf is read and checked, without a broker.
 * Thread: main.
 * Frees: nothing.
 */
#ifndef OTA_CLI_CHECK_CONFIG_H
#define OTA_CLI_CHECK_CONFIG_H

#include "verb.h"

struct ota_findings;

/* Adds what is wrong with that file. */
enum ota_exit ota_check_config(const char *path, struct ota_findings *findings,
                               struct ota_failure *failure) OTA_CHECKED;

enum ota_exit ota_check_config_run(struct ota_session *session, const struct ota_job *job,
                                   struct ota_failure *failure);

#endif
