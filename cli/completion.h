/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the script that makes bash complete otactl's command line, made from the tables of
 *       commands and settings. It needs nothing but bash, and asks no broker.
 * Thread: main.
 * Frees: nothing.
 */
#ifndef OTA_CLI_COMPLETION_H
#define OTA_CLI_COMPLETION_H

#include "verb.h"

enum ota_exit ota_completion_run(struct ota_session *session, const struct ota_job *job,
                                 struct ota_failure *failure);

#endif
