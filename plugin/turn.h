/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: one command of a message: role, fields, requestId, the transaction around its handler, the
 *       audit, the response.
 * Thread: the broker's.
 * Frees: what a handler keeps between its turns, with ota_turn_end.
 */
#ifndef OTA_TURN_H
#define OTA_TURN_H

#include "control.h"

struct ota_turn {
    struct ota_surroundings *around;
    const char *user;
    const char *client;
    enum ota_role role;
    int64_t token; /* 0: none */
    const json_t *fields;
    int64_t end;        /* monotonic ms */
    int64_t rest_until; /* monotonic ms: it isn't to be called again before */
    struct ota_progress progress;
};

/* OTA_AGAIN: it wants another turn. OTA_OK: it has ended, and *response is what is to be answered;
 * NULL where memory is out. */
enum ota_err ota_turn_take(struct ota_turn *turn, json_t **response);
/* Its message ends before it does. */
void ota_turn_end(struct ota_turn *turn);

#endif
