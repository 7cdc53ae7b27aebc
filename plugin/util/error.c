/* SPDX-License-Identifier: BSD-3-Clause */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const names[OTA_ERR_COUNT] = {
    [OTA_OK] = "ok",
    [OTA_INVALID_REQUEST] = "invalid_request",
    [OTA_NOT_FOUND] = "not_found",
    [OTA_ALREADY_EXISTS] = "already_exists",
    [OTA_LIMIT_EXCEEDED] = "limit_exceeded",
    [OTA_CONFLICT] = "conflict",
    [OTA_FORBIDDEN] = "forbidden",
    [OTA_TOO_LARGE] = "too_large",
    [OTA_CHECKSUM_MISMATCH] = "checksum_mismatch",
    [OTA_BAD_SIGNATURE] = "bad_signature",
    [OTA_UNAVAILABLE] = "unavailable",
    [OTA_INTERNAL] = "internal",
    [OTA_AGAIN] = "again",
};

/* What was cut may end inside a character, and JSON takes whole ones only. */
static void drop_half_character(char *text)
{
    size_t len = strlen(text);
    size_t at = len;
    while (at > 0 && len - at < 3 && ((unsigned char)text[at - 1] & 0xc0) == 0x80) {
        at--;
    }
    unsigned char lead = at > 0 ? (unsigned char)text[at - 1] : 0;
    size_t wanted = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    if (wanted > 1 && len - (at - 1) < wanted) {
        text[at - 1] = '\0';
    }
}

enum ota_err ota_error_set(struct ota_error *error, enum ota_err code, const char *field,
                           const char *format, ...)
{
    if (error == NULL || error->code != OTA_OK) {
        return code;
    }
    error->code = code;
    (void)snprintf(error->field, sizeof error->field, "%s", field != NULL ? field : "");
    drop_half_character(error->field);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    drop_half_character(error->text);
    return code;
}

enum ota_err ota_error_no_memory(struct ota_error *error)
{
    return ota_error_set(error, OTA_UNAVAILABLE, NULL, "memory is out: try again");
}

void ota_error_context(struct ota_error *error, const char *format, ...)
{
    if (error == NULL || error->code == OTA_OK) {
        return;
    }
    char front[128];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(front, sizeof front, format, args);
    va_end(args);
    char joined[sizeof front + 2 + sizeof error->text];
    (void)snprintf(joined, sizeof joined, "%s: %s", front, error->text);
    joined[sizeof error->text - 1] = '\0';
    memcpy(error->text, joined, sizeof error->text);
    drop_half_character(error->text);
}

const char *ota_err_name(enum ota_err code)
{
    return (unsigned)code < OTA_ERR_COUNT ? names[code] : "internal";
}
