/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: a firmware file's way to the server: announce, blocks, commit; and going on after a cut.
 * Thread: main.
 * Frees: nothing that outlives a call.
 */
#ifndef OTA_CLI_UPLOAD_H
#define OTA_CLI_UPLOAD_H

#include "session.h"

enum ota_exit ota_upload_run(struct ota_session *session, const struct ota_job *job,
                             struct ota_failure *failure);

#endif
