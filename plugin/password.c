/* SPDX-License-Identifier: BSD-3-Clause */
#include "password.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "util/hex.h"

#define OTA_ENCODED_MAX 128

static enum ota_err not_understood(struct ota_error *error)
{
    return ota_error_set(error, OTA_INVALID_REQUEST, "password_file",
                         "this is no line of mosquitto_passwd: write the file with "
                         "`mosquitto_passwd -c FILE USER`, or hash it with `mosquitto_passwd -U`");
}

/* Reads base64 up to the end or the next '$', and moves *text there. */
static bool take_bytes(const char **text, unsigned char *bytes, size_t most, size_t *len)
{
    unsigned char decoded[OTA_ENCODED_MAX / 4 * 3 + 3];
    size_t encoded = strcspn(*text, "$");

    if (encoded == 0 || encoded > OTA_ENCODED_MAX ||
        !ota_base64_decode(*text, encoded, decoded, len) || *len == 0 || *len > most) {
        return false;
    }
    memcpy(bytes, decoded, *len);
    *text += encoded;
    return true;
}

static bool take_rounds(const char **text, int *rounds)
{
    size_t digits = strspn(*text, "0123456789");

    if (digits == 0 || digits > 8 || (*text)[digits] != '$') {
        return false;
    }
    long value = strtol(*text, NULL, 10);
    if (value < 1 || value > OTA_PASSWORD_ROUNDS_MAX) {
        return false;
    }
    *text += digits + 1;
    *rounds = (int)value;
    return true;
}

enum ota_err ota_password_parse(const char *text, struct ota_password *password,
                                struct ota_error *error)
{
    struct ota_password found = {0};
    size_t len = 0;

    if (strncmp(text, "$argon2", 7) == 0) {
        return ota_error_set(error, OTA_LIMIT_EXCEEDED, "password_file",
                             "the password is hashed with argon2, which isn't understood here: "
                             "write it with `mosquitto_passwd -H sha512-pbkdf2`");
    }
    bool is_pbkdf2 = strncmp(text, "$7$", 3) == 0;
    if (!is_pbkdf2 && strncmp(text, "$6$", 3) != 0) {
        return not_understood(error);
    }
    text += 3;
    if ((is_pbkdf2 && !take_rounds(&text, &found.rounds)) ||
        !take_bytes(&text, found.salt, sizeof found.salt, &found.salt_len) || *text++ != '$' ||
        !take_bytes(&text, found.hash, sizeof found.hash, &len) || len != sizeof found.hash ||
        *text != '\0') {
        return not_understood(error);
    }
    *password = found;
    return OTA_OK;
}

/* SHA-512 over password and salt, in this order. */
static bool hash_once(const struct ota_password *password, const char *text, size_t len,
                      unsigned char *hash)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha512(), NULL) == 1 &&
              EVP_DigestUpdate(ctx, text, len) == 1 &&
              EVP_DigestUpdate(ctx, password->salt, password->salt_len) == 1 &&
              EVP_DigestFinal_ex(ctx, hash, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

bool ota_password_matches(const struct ota_password *password, const char *text, size_t len)
{
    unsigned char hash[OTA_PASSWORD_HASH] = {0};
    bool hashed = password->rounds == 0
                      ? hash_once(password, text, len, hash)
                      : PKCS5_PBKDF2_HMAC(text, (int)len, password->salt, (int)password->salt_len,
                                          password->rounds, EVP_sha512(), sizeof hash, hash) == 1;
    bool equal = CRYPTO_memcmp(hash, password->hash, sizeof hash) == 0;
    OPENSSL_cleanse(hash, sizeof hash);
    return hashed && equal;
}
