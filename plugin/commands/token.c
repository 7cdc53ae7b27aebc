/* SPDX-License-Identifier: BSD-3-Clause */
/* Tokens: what scripts show over HTTP instead of a password. The text of one is in one answer, and
 * nowhere else. */
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../broker.h"
#include "commands.h"

static json_t *show_role(enum ota_role role)
{
    return role != OTA_ROLE_NONE ? json_string(ota_role_name(role)) : json_null();
}

static json_t *show(const struct ota_token *token, enum ota_role now)
{
    return json_pack("{s:I, s:s, s:s, s:o, s:o, s:I, s:o, s:o}", "token", (json_int_t)token->id,
                     "name", token->name, "role", ota_role_name(token->role), "roleNow",
                     show_role(now), "madeBy", ota_show_user(token->maker), "createdAt",
                     (json_int_t)token->created_at, "expireAt", ota_json_number(token->expire_at),
                     "lastUsedAt", ota_json_number(token->used_at));
}

/* --- createToken ------------------------------------------------------------------------------ */

/* Once it is committed it counts. */
struct made {
    const struct ota_surroundings *around;
    struct ota_token token;
};

/* Its maker was an admin when the message came; the roles may have been read again since. */
static enum ota_role role_now(const struct made *made)
{
    enum ota_role maker = ota_roles_of(made->around->access->roles, made->token.maker);
    return maker < made->token.role ? maker : made->token.role;
}

static void run_made(struct ota_core *core, struct ota_effect *effect)
{
    struct made *made = effect->item;
    (void)core;
    ota_tokens_add(made->around->tokens, &made->token, role_now(made));
    free(made);
}

static void drop_made(struct ota_core *core, struct ota_effect *effect)
{
    (void)core;
    free(effect->item);
}

/* A token that made tokens would outlive its own end. */
static enum ota_err check_maker(struct ota_call *call)
{
    return call->token == 0
               ? OTA_OK
               : ota_error_set(&call->error, OTA_FORBIDDEN, NULL,
                               "a token can't make tokens: that needs a user and a password");
}

static enum ota_err check_new(struct ota_call *call, const struct ota_token *token)
{
    struct ota_tokens *tokens = call->around->tokens;
    if (token->expire_at != 0 && token->expire_at <= token->created_at) {
        return ota_error_set(&call->error, OTA_INVALID_REQUEST, "expireAt",
                             "expireAt must be in the future");
    }
    if (ota_tokens_has_name(tokens, token->name)) {
        return ota_error_set(&call->error, OTA_ALREADY_EXISTS, "name",
                             "there is a token %s: revoke it, or choose another name", token->name);
    }
    if (ota_tokens_count(tokens) >= OTA_TOKENS_MAX) {
        return ota_error_set(&call->error, OTA_LIMIT_EXCEEDED, NULL,
                             "there are %d tokens: revoke those that nobody uses", OTA_TOKENS_MAX);
    }
    return OTA_OK;
}

static enum ota_err insert(struct ota_call *call, struct made *made)
{
    struct ota_effect *effect = ota_tokens_reserve(call->around->tokens)
                                    ? ota_core_after(call->core, run_made, drop_made)
                                    : NULL;
    if (effect == NULL) {
        free(made);
        return ota_error_no_memory(&call->error);
    }
    effect->item = made;
    return ota_token_insert(call->core->store, &made->token, &call->error);
}

static struct made *new_token(const struct ota_call *call, const unsigned char *digest)
{
    struct made *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return NULL;
    }
    struct ota_token *token = &made->token;
    made->around = call->around;
    memcpy(token->digest, digest, sizeof token->digest);
    (void)snprintf(token->name, sizeof token->name, "%s", ota_field_text(call->fields, "name"));
    (void)snprintf(token->maker, sizeof token->maker, "%s", call->user);
    token->role = ota_role_parse(ota_field_text(call->fields, "role"));
    token->created_at = ota_now_unix();
    token->expire_at = ota_field_int(call->fields, "expireAt", 0);
    return made;
}

static enum ota_err answer_made(struct ota_call *call, const struct made *made, const char *text)
{
    enum ota_err err = ota_call_answer(call, "token", show(&made->token, role_now(made)));
    call->once = "secret"; /* not for those who ask with the same requestId, nor for the file */
    return err == OTA_OK ? ota_call_answer(call, "secret", json_string(text)) : err;
}

enum ota_err ota_cmd_create_token(struct ota_call *call)
{
    char text[OTA_TOKEN_TEXT + 1];
    unsigned char digest[OTA_TOKEN_DIGEST];
    enum ota_err err = check_maker(call);
    if (err != OTA_OK) {
        return err;
    }
    if (!ota_token_draw(text, digest)) {
        return ota_error_set(&call->error, OTA_INTERNAL, NULL, "no random numbers");
    }
    struct made *made = new_token(call, digest);
    if (made == NULL) {
        return ota_error_no_memory(&call->error);
    }
    err = check_new(call, &made->token);
    if (err != OTA_OK) {
        free(made);
        return err;
    }
    err = insert(call, made);
    if (err == OTA_OK) {
        err = answer_made(call, made, text);
    }
    OPENSSL_cleanse(text, sizeof text);
    return err;
}

/* --- listTokens ------------------------------------------------------------------------------- */

struct listing {
    struct ota_page page;
    struct ota_tokens *tokens;
    int64_t now;
    int64_t last;
    bool more;
};

/* The last use is newer in memory. */
static bool list_token(void *data, const struct ota_token *row)
{
    struct listing *listing = data;
    struct ota_token token = *row;
    (void)ota_tokens_get(listing->tokens, row->id, &token);
    listing->more = ota_page_is_full(&listing->page);
    if (listing->more) {
        return false;
    }
    listing->last = row->id;
    return ota_page_add(&listing->page,
                        show(&token, ota_tokens_role(listing->tokens, row->id, listing->now)));
}

enum ota_err ota_cmd_list_tokens(struct ota_call *call)
{
    struct listing listing = {.tokens = call->around->tokens, .now = ota_now_unix()};
    enum ota_err err = ota_page_open(call, &listing.page);
    if (err == OTA_OK) {
        err = ota_token_each(call->core->store, listing.page.number, list_token, &listing,
                             &call->error);
    }
    if (err == OTA_OK) {
        err = ota_page_close_at(call, &listing.page, "tokens", listing.more, listing.last);
    }
    json_decref(listing.page.rows);
    return err;
}

/* --- revokeToken ------------------------------------------------------------------------------ */

static void run_revoked(struct ota_core *core, struct ota_effect *effect)
{
    const struct ota_surroundings *around = effect->item;
    (void)core;
    ota_tokens_remove(around->tokens, effect->number);
    ota_console_recheck(around->console);
}

enum ota_err ota_cmd_revoke_token(struct ota_call *call)
{
    struct ota_token token;
    int64_t id = ota_field_int(call->fields, "token", 0);
    if (!ota_tokens_get(call->around->tokens, id, &token)) {
        return ota_error_set(&call->error, OTA_NOT_FOUND, "token", "there is no token %lld",
                             (long long)id);
    }
    struct ota_effect *effect = ota_core_after(call->core, run_revoked, NULL);
    if (effect == NULL) {
        return ota_error_no_memory(&call->error);
    }
    effect->item = call->around;
    effect->number = id;
    enum ota_err err = ota_token_delete(call->core->store, id, &call->error);
    return err == OTA_OK ? ota_call_answer(call, "token", show(&token, OTA_ROLE_NONE)) : err;
}
