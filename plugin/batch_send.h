/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: first notices of batches: who is next, and at which pace.
 * Thread: the broker's.
 * Frees: nothing.
 */
#ifndef OTA_BATCH_SEND_H
#define OTA_BATCH_SEND_H

#include "core.h"

/* Whether some batch has a first notice to send now. */
bool ota_batch_can_send(struct ota_core *core);
/* In how many milliseconds a batch that waits for nothing but its pace may send; INT64_MAX: none
 * does. As ota_batch_can_send saw it last. */
int64_t ota_batch_sends_in(const struct ota_core *core);
/* Sends first notices in the open transaction; each takes one of *tokens. */
OTA_CHECKED enum ota_err ota_batch_send(struct ota_core *core, double *tokens, int64_t end,
                                        struct ota_error *error);

#endif
