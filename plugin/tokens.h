/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the tokens that count now, by their digests: whose they are, what they may at this moment,
 *       when they were used. The database has the same; who shows a token is answered from here.
 * Thread: use and role on any, the rest on the broker's; one lock inside.
 * Frees: ota_tokens_free.
 */
#ifndef OTA_TOKENS_H
#define OTA_TOKENS_H

#include <stdbool.h>
#include <stddef.h>

#include "roles.h"
#include "util/token.h"

#define OTA_TOKENS_MAX 500

struct ota_tokens;

struct ota_tokens *ota_tokens_new(void);
/* NULL is fine, as it is for use and role: there is no token then. */
void ota_tokens_free(struct ota_tokens *tokens);

/* Draws a text (with a terminator, room for OTA_TOKEN_TEXT + 1) and its digest; false without
 * random numbers. */
bool ota_token_draw(char *text, unsigned char *digest);

/* Room for one more, so that adding it can't fail. False: no memory. */
OTA_CHECKED bool ota_tokens_reserve(struct ota_tokens *tokens);
/* Copies it, into the room that was reserved. maker: the role that its maker has now. */
void ota_tokens_add(struct ota_tokens *tokens, const struct ota_token *token, enum ota_role maker);
void ota_tokens_remove(struct ota_tokens *tokens, int64_t id);
/* The roles of users were read again: a token never may more than who made it. */
void ota_tokens_judge(struct ota_tokens *tokens, const struct ota_roles *roles);

size_t ota_tokens_count(struct ota_tokens *tokens);
bool ota_tokens_has_name(struct ota_tokens *tokens, const char *name);
/* False: there is no such token. */
bool ota_tokens_get(struct ota_tokens *tokens, int64_t id, struct ota_token *token);

/* Who shows this text: its role at `now` (Unix ms), and which token that is. OTA_ROLE_NONE: nobody,
 * *token stays as it was. Takes note of the use. */
enum ota_role ota_tokens_use(struct ota_tokens *tokens, const char *text, int64_t now,
                             struct ota_token *token);
/* The role that it has at `now`: none where it was revoked, has expired, or its maker has none. */
enum ota_role ota_tokens_role(struct ota_tokens *tokens, int64_t id, int64_t now);

/* The next one whose use isn't in the database (used_at: Unix ms); false: there is none. */
bool ota_tokens_take_used(struct ota_tokens *tokens, int64_t *id, int64_t *used_at);
/* It couldn't be written: it is taken again. */
void ota_tokens_put_back(struct ota_tokens *tokens, int64_t id);

#endif
