/* SPDX-License-Identifier: BSD-3-Clause */
#include "sessions.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "util/hex.h"

struct place {
    struct ota_session session;
    int64_t opened_at;
    int64_t used_at;
};

struct ota_sessions {
    pthread_mutex_t lock;
    struct ota_session_rules rules;
    struct place *places; /* the first `count` are taken, in no order */
    size_t count;
};

struct ota_sessions *ota_sessions_new(const struct ota_session_rules *rules)
{
    struct ota_sessions *sessions = calloc(1, sizeof *sessions);
    if (sessions == NULL) {
        return NULL;
    }
    sessions->rules = *rules;
    sessions->places = calloc(rules->most, sizeof *sessions->places);
    if (sessions->places == NULL) {
        free(sessions);
        return NULL;
    }
    (void)pthread_mutex_init(&sessions->lock, NULL);
    return sessions;
}

void ota_sessions_free(struct ota_sessions *sessions)
{
    if (sessions != NULL) {
        OPENSSL_cleanse(sessions->places, sessions->rules.most * sizeof *sessions->places);
        free(sessions->places);
        (void)pthread_mutex_destroy(&sessions->lock);
        free(sessions);
    }
}

bool ota_session_digest(const char *id, unsigned char *digest)
{
    return EVP_Digest(id, strlen(id), digest, NULL, EVP_sha256(), NULL) == 1;
}

bool ota_session_draw(char *id, unsigned char *digest)
{
    unsigned char random[OTA_SESSION_ID_HEX / 2];
    if (RAND_bytes(random, sizeof random) != 1) {
        return false;
    }
    ota_hex(random, sizeof random, id);
    OPENSSL_cleanse(random, sizeof random);
    return ota_session_digest(id, digest);
}

/* --- under the lock --------------------------------------------------------------------------- */

static void drop(struct ota_sessions *sessions, struct place *place)
{
    *place = sessions->places[--sessions->count];
}

static void drop_expired(struct ota_sessions *sessions, int64_t now)
{
    size_t i = 0;
    while (i < sessions->count) {
        struct place *place = &sessions->places[i];
        if (now - place->used_at >= sessions->rules.idle_ms ||
            now - place->opened_at >= sessions->rules.whole_ms) {
            drop(sessions, place);
        } else {
            i++;
        }
    }
}

static struct place *find(struct ota_sessions *sessions, const unsigned char *digest, int64_t now)
{
    drop_expired(sessions, now);
    for (size_t i = 0; i < sessions->count; i++) {
        if (CRYPTO_memcmp(sessions->places[i].session.digest, digest, OTA_SESSION_DIGEST) == 0) {
            return &sessions->places[i];
        }
    }
    return NULL;
}

/* Ends the one of the user (NULL: of all) that was used longest ago, if there are `most`. */
static void make_room(struct ota_sessions *sessions, const char *user, size_t most)
{
    struct place *oldest = NULL;
    size_t count = 0;

    for (size_t i = 0; i < sessions->count; i++) {
        struct place *place = &sessions->places[i];
        if (user != NULL && strcmp(place->session.user, user) != 0) {
            continue;
        }
        count++;
        oldest = oldest == NULL || place->used_at < oldest->used_at ? place : oldest;
    }
    if (count >= most && oldest != NULL) {
        drop(sessions, oldest);
    }
}

/* --- what others call ------------------------------------------------------------------------- */

void ota_sessions_open(struct ota_sessions *sessions, const struct ota_session *session,
                       int64_t now)
{
    (void)pthread_mutex_lock(&sessions->lock);
    struct place *place = find(sessions, session->digest, now);
    if (place == NULL) {
        make_room(sessions, session->user, sessions->rules.most_a_user);
        make_room(sessions, NULL, sessions->rules.most);
        place = &sessions->places[sessions->count++];
    }
    *place = (struct place){.session = *session, .opened_at = now, .used_at = now};
    (void)pthread_mutex_unlock(&sessions->lock);
}

bool ota_sessions_use(struct ota_sessions *sessions, const unsigned char *digest, int64_t now,
                      struct ota_session *session)
{
    (void)pthread_mutex_lock(&sessions->lock);
    struct place *place = find(sessions, digest, now);
    if (place != NULL) {
        place->used_at = now;
        *session = place->session;
    }
    (void)pthread_mutex_unlock(&sessions->lock);
    return place != NULL;
}

bool ota_sessions_has(struct ota_sessions *sessions, const unsigned char *digest, int64_t now)
{
    (void)pthread_mutex_lock(&sessions->lock);
    bool found = find(sessions, digest, now) != NULL;
    (void)pthread_mutex_unlock(&sessions->lock);
    return found;
}

void ota_sessions_end(struct ota_sessions *sessions, const unsigned char *digest)
{
    (void)pthread_mutex_lock(&sessions->lock);
    struct place *place = find(sessions, digest, INT64_MIN / 2);
    if (place != NULL) {
        drop(sessions, place);
    }
    (void)pthread_mutex_unlock(&sessions->lock);
}

size_t ota_sessions_count(struct ota_sessions *sessions)
{
    (void)pthread_mutex_lock(&sessions->lock);
    size_t count = sessions->count;
    (void)pthread_mutex_unlock(&sessions->lock);
    return count;
}
