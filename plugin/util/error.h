/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the one error space of this library, and its wire names.
 * Thread: any; an ota_error belongs to one caller at a time.
 * Frees: nothing; an ota_error is a plain value that the caller owns.
 */
#ifndef OTA_UTIL_ERROR_H
#define OTA_UTIL_ERROR_H

/* What can go wrong. All but the first and last two are codes of the control API. */
enum ota_err {
    OTA_OK = 0,
    OTA_INVALID_REQUEST,
    OTA_NOT_FOUND,
    OTA_ALREADY_EXISTS,
    OTA_LIMIT_EXCEEDED,
    OTA_CONFLICT,
    OTA_FORBIDDEN,
    OTA_TOO_LARGE,
    OTA_CHECKSUM_MISMATCH,
    OTA_BAD_SIGNATURE,
    OTA_UNAVAILABLE, /* disk full, database busy: the same call may succeed later */
    OTA_INTERNAL,
    OTA_AGAIN, /* no error: work is left, call again at the next tick */
    OTA_ERR_COUNT
};

/* The first error of a call wins; callers further up add context in front of the text. */
struct ota_error {
    enum ota_err code;
    char field[32]; /* the request's field that it is about, or "" */
    char text[320]; /* a sentence that says what to do */
};

#define OTA_CHECKED __attribute__((warn_unused_result))

/* Fills error (may be NULL) unless it already holds one; field may be NULL. Returns code. */
enum ota_err ota_error_set(struct ota_error *error, enum ota_err code, const char *field,
                           const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Memory is out: OTA_UNAVAILABLE, since the same call may succeed later. */
enum ota_err ota_error_no_memory(struct ota_error *error);

/* Puts "context: " in front of the text of an error that is set. */
void ota_error_context(struct ota_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The name on the wire: "not_found". OTA_OK is "ok". Never NULL. */
const char *ota_err_name(enum ota_err code);

#endif
