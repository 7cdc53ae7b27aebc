/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what is known of a token, wherever it is looked at: what it is called, what it may.
 * Thread: any; a plain value.
 * Frees: nothing.
 */
#ifndef OTA_UTIL_TOKEN_H
#define OTA_UTIL_TOKEN_H

#include <stdint.h>

#include "names.h"
#include "words.h"

#define OTA_TOKEN_NAME_MAX 32
#define OTA_TOKEN_DIGEST   32

/* A token's text: the prefix, by which scanners for lost secrets know it, and 256 random bits. */
#define OTA_TOKEN_PREFIX "ota_"
#define OTA_TOKEN_HEX    64
#define OTA_TOKEN_TEXT   (sizeof OTA_TOKEN_PREFIX - 1 + OTA_TOKEN_HEX)

/* Who acts by a token is called "token:NAME" where others have their user's name. */
#define OTA_TOKEN_USER "token:"

struct ota_token {
    int64_t id;
    unsigned char digest[OTA_TOKEN_DIGEST]; /* SHA-256 of its text */
    char name[OTA_TOKEN_NAME_MAX + 1];
    enum ota_role role; /* that it was made with */
    char maker[OTA_USER_MAX + 1];
    int64_t created_at; /* Unix ms, and so are these */
    int64_t expire_at;  /* 0: never */
    int64_t used_at;    /* to the minute; 0: never */
};

#endif
