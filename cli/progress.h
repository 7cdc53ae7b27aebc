/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: how far something is, on stderr: a line that is written over on a terminal, else a
 *       plain line every 10 %.
 * Thread: main.
 * Frees: nothing.
 */
#ifndef OTA_CLI_PROGRESS_H
#define OTA_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct ota_progress {
    const char *unit; /* NULL: bytes */
    int64_t total;
    int64_t first; /* where this run began */
    int64_t started_ms;
    int64_t shown_ms;
    int shown; /* percent */
    bool live;
};

void ota_progress_begin(struct ota_progress *progress, const char *unit, int64_t total,
                        int64_t done);
void ota_progress_update(struct ota_progress *progress, int64_t done);

/* Leaves the cursor on a line of its own. */
void ota_progress_end(struct ota_progress *progress, int64_t done);

/* Writes over the live line; nothing where stderr is no terminal. percent < 0: no bar. */
void ota_progress_show(int percent, const char *text);
void ota_progress_clear(void);

#endif
