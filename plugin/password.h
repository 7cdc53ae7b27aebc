/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what mosquitto_passwd writes behind a user's name, and whether a password matches it.
 * Thread: any; pure functions. Matching costs CPU by design: never on the broker's thread.
 * Frees: nothing.
 */
#ifndef OTA_PASSWORD_H
#define OTA_PASSWORD_H

#include <stdbool.h>
#include <stddef.h>

#include "util/error.h"

#define OTA_PASSWORD_HASH     64 /* SHA-512's size */
#define OTA_PASSWORD_SALT_MAX 64

/* More rounds than these would keep the thread that checks them from everybody else. */
#define OTA_PASSWORD_ROUNDS_MAX 10000000

struct ota_password {
    int rounds; /* of PBKDF2; 0: salted SHA-512 */
    unsigned char salt[OTA_PASSWORD_SALT_MAX];
    size_t salt_len;
    unsigned char hash[OTA_PASSWORD_HASH];
};

/* Reads "$6$SALT$HASH" or "$7$ROUNDS$SALT$HASH", salt and hash in base64. OTA_LIMIT_EXCEEDED: it
 * is another kind, which a newer mosquitto_passwd writes. */
OTA_CHECKED enum ota_err ota_password_parse(const char *text, struct ota_password *password,
                                            struct ota_error *error);

/* Compares in constant time. */
bool ota_password_matches(const struct ota_password *password, const char *text, size_t len);

#endif
