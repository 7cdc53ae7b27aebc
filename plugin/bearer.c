/* SPDX-License-Identifier: BSD-3-Clause */
/* Tokens as HTTP shows them: Authorization: Bearer ota_…. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "broker.h"
#include "visit.h"

static const char scheme[] = "Bearer ";

bool ota_visit_has_bearer(const char *authorization)
{
    return strncasecmp(authorization, scheme, sizeof scheme - 1) == 0;
}

/* The header's end may be white. */
static bool copy_text(const char *authorization, char *text)
{
    const char *begin = authorization + sizeof scheme - 1;
    begin += strspn(begin, " ");
    size_t len = strcspn(begin, " \t");
    bool fits = len == OTA_TOKEN_TEXT && begin[len + strspn(begin + len, " \t")] == '\0';
    if (fits) {
        memcpy(text, begin, len);
        text[len] = '\0';
    }
    return fits;
}

bool ota_visit_is_bearer(struct visit *visit, const char *authorization)
{
    char text[OTA_TOKEN_TEXT + 1];
    struct ota_token token;

    if (!copy_text(authorization, text)) {
        return false;
    }
    enum ota_role role = ota_tokens_use(console_of(visit)->tokens, text, ota_now_unix(), &token);
    if (role == OTA_ROLE_NONE) {
        return false;
    }
    visit->who = (struct who){.role = role, .token = token.id};
    (void)snprintf(visit->who.user, sizeof visit->who.user, OTA_TOKEN_USER "%s", token.name);
    return true;
}

/* Nobody guesses 256 bits: no try is slowed down, but all are told of. */
bool ota_visit_admit_bearer(struct visit *visit, const char *authorization, bool *result)
{
    struct ota_failed_login failed = {.by_token = true};

    if (ota_visit_is_bearer(visit, authorization)) {
        return true;
    }
    ota_visit_note_failure(visit, &failed);
    *result = ota_visit_challenge(visit, "this token was revoked, has expired, or never was one");
    return false;
}
