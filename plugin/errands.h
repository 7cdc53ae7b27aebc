/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what the console asks of the broker's thread: letters out of the mailbox become commands,
 *       blocks of firmware, or numbers; failed logins become entries of the audit.
 * Thread: the broker's.
 * Frees: ota_errands_finish answers what it holds; the struct is the caller's.
 */
#ifndef OTA_ERRANDS_H
#define OTA_ERRANDS_H

#include "console.h"
#include "control.h"

struct ota_errands {
    struct ota_surroundings *around;
    struct ota_control *control;
    struct ota_console *console; /* NULL: there is nothing to do, ever */
    struct ota_letters uploading;
    int64_t proved_at; /* monotonic ms: when a write was tried last */
};

void ota_errands_init(struct ota_errands *errands, struct ota_surroundings *around,
                      struct ota_control *control, struct ota_console *console);

/* Before the control queue's turn: takes what was posted. */
void ota_errands_take(struct ota_errands *errands);
/* After it: blocks of firmware until `end_us` (ota_now_us), at least one; and the pulse. */
void ota_errands_work(struct ota_errands *errands, int64_t end_us);

/* Whether blocks of firmware wait. */
bool ota_errands_is_busy(const struct ota_errands *errands);

void ota_errands_finish(struct ota_errands *errands);

#endif
