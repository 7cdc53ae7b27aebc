/* SPDX-License-Identifier: BSD-3-Clause */
#include "tokens.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sessions.h"

/* So exactly the last use is known: a write for each request would be dear. */
#define OTA_TOKEN_USED_MS 60000

struct place {
    struct ota_token token;
    enum ota_role role; /* now: no more than its maker's */
    bool used;          /* since the database knew of it */
};

struct ota_tokens {
    pthread_mutex_t lock;
    struct place *places; /* in no order */
    size_t count;
    size_t capacity;
    atomic_bool used; /* one of them, perhaps */
};

struct ota_tokens *ota_tokens_new(void)
{
    struct ota_tokens *tokens = calloc(1, sizeof *tokens);
    if (tokens != NULL) {
        (void)pthread_mutex_init(&tokens->lock, NULL);
    }
    return tokens;
}

void ota_tokens_free(struct ota_tokens *tokens)
{
    if (tokens != NULL) {
        free(tokens->places);
        (void)pthread_mutex_destroy(&tokens->lock);
        free(tokens);
    }
}

bool ota_token_draw(char *text, unsigned char *digest)
{
    memcpy(text, OTA_TOKEN_PREFIX, sizeof OTA_TOKEN_PREFIX);
    return ota_session_draw(text + sizeof OTA_TOKEN_PREFIX - 1, digest) &&
           ota_session_digest(text, digest);
}

/* --- under the lock --------------------------------------------------------------------------- */

static struct place *find(struct ota_tokens *tokens, int64_t id)
{
    for (size_t i = 0; i < tokens->count; i++) {
        if (tokens->places[i].token.id == id) {
            return &tokens->places[i];
        }
    }
    return NULL;
}

static struct place *find_digest(struct ota_tokens *tokens, const unsigned char *digest)
{
    for (size_t i = 0; i < tokens->count; i++) {
        if (CRYPTO_memcmp(tokens->places[i].token.digest, digest, OTA_TOKEN_DIGEST) == 0) {
            return &tokens->places[i];
        }
    }
    return NULL;
}

static enum ota_role role_at(const struct place *place, int64_t now)
{
    bool counts = place != NULL && (place->token.expire_at == 0 || now < place->token.expire_at);
    return counts ? place->role : OTA_ROLE_NONE;
}

static enum ota_role lower(enum ota_role a, enum ota_role b)
{
    return a < b ? a : b;
}

/* --- the broker's thread ---------------------------------------------------------------------- */

bool ota_tokens_reserve(struct ota_tokens *tokens)
{
    (void)pthread_mutex_lock(&tokens->lock);
    bool room = tokens->count < tokens->capacity;
    if (!room) {
        size_t capacity = tokens->capacity > 0 ? tokens->capacity * 2 : 8;
        struct place *grown = realloc(tokens->places, capacity * sizeof *grown);
        room = grown != NULL;
        tokens->places = room ? grown : tokens->places;
        tokens->capacity = room ? capacity : tokens->capacity;
    }
    (void)pthread_mutex_unlock(&tokens->lock);
    return room;
}

void ota_tokens_add(struct ota_tokens *tokens, const struct ota_token *token, enum ota_role maker)
{
    (void)pthread_mutex_lock(&tokens->lock);
    tokens->places[tokens->count++] =
        (struct place){.token = *token, .role = lower(token->role, maker)};
    (void)pthread_mutex_unlock(&tokens->lock);
}

void ota_tokens_remove(struct ota_tokens *tokens, int64_t id)
{
    (void)pthread_mutex_lock(&tokens->lock);
    struct place *place = find(tokens, id);
    if (place != NULL) {
        *place = tokens->places[--tokens->count];
    }
    (void)pthread_mutex_unlock(&tokens->lock);
}

void ota_tokens_judge(struct ota_tokens *tokens, const struct ota_roles *roles)
{
    (void)pthread_mutex_lock(&tokens->lock);
    for (size_t i = 0; i < tokens->count; i++) {
        struct place *place = &tokens->places[i];
        place->role = lower(place->token.role, ota_roles_of(roles, place->token.maker));
    }
    (void)pthread_mutex_unlock(&tokens->lock);
}

size_t ota_tokens_count(struct ota_tokens *tokens)
{
    (void)pthread_mutex_lock(&tokens->lock);
    size_t count = tokens->count;
    (void)pthread_mutex_unlock(&tokens->lock);
    return count;
}

bool ota_tokens_has_name(struct ota_tokens *tokens, const char *name)
{
    bool found = false;

    (void)pthread_mutex_lock(&tokens->lock);
    for (size_t i = 0; i < tokens->count && !found; i++) {
        found = strcmp(tokens->places[i].token.name, name) == 0;
    }
    (void)pthread_mutex_unlock(&tokens->lock);
    return found;
}

bool ota_tokens_get(struct ota_tokens *tokens, int64_t id, struct ota_token *token)
{
    (void)pthread_mutex_lock(&tokens->lock);
    const struct place *place = find(tokens, id);
    if (place != NULL) {
        *token = place->token;
    }
    (void)pthread_mutex_unlock(&tokens->lock);
    return place != NULL;
}

bool ota_tokens_take_used(struct ota_tokens *tokens, int64_t *id, int64_t *used_at)
{
    bool found = false;

    if (!atomic_load(&tokens->used)) {
        return false;
    }
    (void)pthread_mutex_lock(&tokens->lock);
    for (size_t i = 0; i < tokens->count && !found; i++) {
        struct place *place = &tokens->places[i];
        found = place->used;
        if (found) {
            place->used = false;
            *id = place->token.id;
            *used_at = place->token.used_at;
        }
    }
    if (!found) {
        atomic_store(&tokens->used, false);
    }
    (void)pthread_mutex_unlock(&tokens->lock);
    return found;
}

void ota_tokens_put_back(struct ota_tokens *tokens, int64_t id)
{
    (void)pthread_mutex_lock(&tokens->lock);
    struct place *place = find(tokens, id);
    if (place != NULL) {
        place->used = true;
        atomic_store(&tokens->used, true);
    }
    (void)pthread_mutex_unlock(&tokens->lock);
}

/* --- any thread ------------------------------------------------------------------------------- */

static void note_use(struct ota_tokens *tokens, struct place *place, int64_t now)
{
    int64_t passed = now - place->token.used_at;
    if (passed < 0 || passed >= OTA_TOKEN_USED_MS) {
        place->token.used_at = now;
        place->used = true;
        atomic_store(&tokens->used, true);
    }
}

enum ota_role ota_tokens_use(struct ota_tokens *tokens, const char *text, int64_t now,
                             struct ota_token *token)
{
    unsigned char digest[OTA_TOKEN_DIGEST];

    if (tokens == NULL || strlen(text) != OTA_TOKEN_TEXT || !ota_session_digest(text, digest)) {
        return OTA_ROLE_NONE;
    }
    (void)pthread_mutex_lock(&tokens->lock);
    struct place *place = find_digest(tokens, digest);
    enum ota_role role = role_at(place, now);
    if (role != OTA_ROLE_NONE) {
        note_use(tokens, place, now);
        *token = place->token;
    }
    (void)pthread_mutex_unlock(&tokens->lock);
    return role;
}

enum ota_role ota_tokens_role(struct ota_tokens *tokens, int64_t id, int64_t now)
{
    if (tokens == NULL) {
        return OTA_ROLE_NONE;
    }
    (void)pthread_mutex_lock(&tokens->lock);
    enum ota_role role = role_at(find(tokens, id), now);
    (void)pthread_mutex_unlock(&tokens->lock);
    return role;
}
