/* SPDX-License-Identifier: BSD-3-Clause */
#include "token_book.h"

/* Uses in one transaction. */
#define OTA_TOKEN_USES_A_TICK 16

struct loading {
    struct ota_tokens *tokens;
    bool no_memory;
};

static bool take(void *data, const struct ota_token *token)
{
    struct loading *loading = data;
    loading->no_memory = !ota_tokens_reserve(loading->tokens);
    if (!loading->no_memory) {
        ota_tokens_add(loading->tokens, token, OTA_ROLE_NONE);
    }
    return !loading->no_memory;
}

enum ota_err ota_token_book_load(struct ota_core *core, const struct ota_roles *roles,
                                 struct ota_tokens *tokens, struct ota_error *error)
{
    struct loading loading = {.tokens = tokens};
    enum ota_err err = ota_token_each(core->store, 0, take, &loading, error);
    if (err == OTA_OK && loading.no_memory) {
        err = ota_error_no_memory(error);
    }
    if (err == OTA_OK) {
        ota_tokens_judge(tokens, roles);
    }
    return err;
}

/* One that is gone meanwhile has no row, and needs none. */
static enum ota_err write_use(struct ota_core *core, int64_t id, int64_t used_at,
                              struct ota_error *error)
{
    enum ota_err err = ota_token_set_used(core->store, id, used_at, error);
    return err == OTA_NOT_FOUND ? OTA_OK : err;
}

/* Takes up to OTA_TOKEN_USES_A_TICK; how many there were. */
static size_t take_uses(struct ota_tokens *tokens, int64_t *ids, int64_t *used_at)
{
    size_t count = 0;
    while (count < OTA_TOKEN_USES_A_TICK &&
           ota_tokens_take_used(tokens, &ids[count], &used_at[count])) {
        count++;
    }
    return count;
}

/* False: there was nothing, or it couldn't be written. */
static bool write_uses(struct ota_core *core, struct ota_tokens *tokens)
{
    int64_t ids[OTA_TOKEN_USES_A_TICK];
    int64_t used_at[OTA_TOKEN_USES_A_TICK];
    struct ota_error error = {0};
    size_t count = take_uses(tokens, ids, used_at);
    if (count == 0) {
        return false;
    }
    enum ota_err err = ota_core_begin(core, &error);
    for (size_t i = 0; err == OTA_OK && i < count; i++) {
        err = write_use(core, ids[i], used_at[i], &error);
    }
    if (err == OTA_OK) {
        err = ota_core_commit(core, &error);
    }
    if (err == OTA_OK) {
        return true;
    }
    ota_core_rollback(core);
    ota_core_put_off(core, &error);
    for (size_t i = 0; i < count; i++) {
        ota_tokens_put_back(tokens, ids[i]);
    }
    return false;
}

void ota_token_book_tick(struct ota_core *core, struct ota_tokens *tokens)
{
    if (core->mono_now >= core->store_retry_at) {
        (void)write_uses(core, tokens);
    }
}

void ota_token_book_finish(struct ota_core *core, struct ota_tokens *tokens)
{
    while (tokens != NULL && write_uses(core, tokens)) {
    }
}
