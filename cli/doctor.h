/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the verb doctor: what is wrong with a running service, as a client can see it.
 * Thread: main.
 * Frees: nothing.
 */
#ifndef OTA_CLI_DOCTOR_H
#define OTA_CLI_DOCTOR_H

#include "verb.h"

enum ota_exit ota_doctor_run(struct ota_session *session, const struct ota_job *job,
                             struct ota_failure *failure);

#endif
