/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: how fast passwords may be tried: per user and per address. Each try is charged before it is
 *       checked, so that many at once are no way around; a right password takes the charge back. An
 *       address where a user's password was right has tries of its own for this user: else anybody
 *       could keep out whose name he knows.
 * Thread: any; one lock inside.
 * Frees: ota_throttle_free.
 */
#ifndef OTA_THROTTLE_H
#define OTA_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

/* Tries that are free, and what the ones beyond have to wait for at most. */
#define OTA_THROTTLE_USER      10
#define OTA_THROTTLE_ADDRESS   30
#define OTA_THROTTLE_MOST_MS   30000
/* After so long without a try all is forgotten. */
#define OTA_THROTTLE_MEMORY_MS 900000

struct ota_throttle;

/* NULL: no memory, or no random numbers. */
struct ota_throttle *ota_throttle_new(void);
/* NULL is fine. */
void ota_throttle_free(struct ota_throttle *throttle);

/* address: ota_address_number; now: monotonic ms, both here and below.
 * 0: the try is charged and may be checked; else how many ms to wait before it may be made. */
int64_t ota_throttle_try(struct ota_throttle *throttle, const char *user, uint64_t address,
                         int64_t now);

/* The password was right. Of the address only this try is forgotten: who has one account must not
 * get free guesses at others'. Guesses from elsewhere are forgotten at the first time here alone:
 * a script that logs in again and again must not pardon them. */
void ota_throttle_right(struct ota_throttle *throttle, const char *user, uint64_t address,
                        int64_t now);

/* Nobody had the time to check the password: the charge is taken back. */
void ota_throttle_unchecked(struct ota_throttle *throttle, const char *user, uint64_t address);

#endif
