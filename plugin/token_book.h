/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the way of tokens between the database and memory: read at the start, their last use
 *       written now and then.
 * Thread: the broker's.
 * Frees: nothing.
 */
#ifndef OTA_TOKEN_BOOK_H
#define OTA_TOKEN_BOOK_H

#include "core.h"
#include "tokens.h"

/* Puts all that the database has into tokens, which is empty. */
OTA_CHECKED enum ota_err ota_token_book_load(struct ota_core *core, const struct ota_roles *roles,
                                             struct ota_tokens *tokens, struct ota_error *error);

/* Writes a few last uses, if there are any. */
void ota_token_book_tick(struct ota_core *core, struct ota_tokens *tokens);
/* At shutdown: all. NULL is fine. */
void ota_token_book_finish(struct ota_core *core, struct ota_tokens *tokens);

#endif
