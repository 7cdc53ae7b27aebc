/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: who has proved its name and needn't again for a while. Kept under a digest of what the
 *       client shows, so that whoever reads our memory can't show it.
 * Thread: any; one lock inside.
 * Frees: ota_sessions_free.
 */
#ifndef OTA_SESSIONS_H
#define OTA_SESSIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "people.h"

#define OTA_SESSION_DIGEST 32
#define OTA_SESSION_ID_HEX 64 /* 256 random bits */

struct ota_session_rules {
    size_t most;
    size_t most_a_user; /* beyond these two the one that was used longest ago ends */
    int64_t idle_ms;
    int64_t whole_ms;
};

struct ota_session {
    unsigned char digest[OTA_SESSION_DIGEST];
    char user[OTA_USER_MAX + 1];
    unsigned char mark[OTA_MARK_SIZE]; /* of the password that was shown */
};

struct ota_sessions;

struct ota_sessions *ota_sessions_new(const struct ota_session_rules *rules);
void ota_sessions_free(struct ota_sessions *sessions);

/* Draws an id, with a terminator, and its digest; false without random numbers. */
bool ota_session_draw(char *id, unsigned char *digest);
bool ota_session_digest(const char *id, unsigned char *digest);

void ota_sessions_open(struct ota_sessions *sessions, const struct ota_session *session,
                       int64_t now);

/* The session of the digest, which is used at `now`; false where there is none. */
bool ota_sessions_use(struct ota_sessions *sessions, const unsigned char *digest, int64_t now,
                      struct ota_session *session);
/* The same without using it. */
bool ota_sessions_has(struct ota_sessions *sessions, const unsigned char *digest, int64_t now);

void ota_sessions_end(struct ota_sessions *sessions, const unsigned char *digest);

size_t ota_sessions_count(struct ota_sessions *sessions);

#endif
