/* SPDX-License-Identifier: BSD-3-Clause */
#include "seal.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <string.h>

#define NONCE 12
#define TAG   16

/* What is authenticated beside the secret: what it is, and whose. */
#define PURPOSE "mosquitto-ota device secret"
#define PROVED  "mosquitto-ota secret_keyfile"

struct bound {
    unsigned char bytes[sizeof PURPOSE + 8];
};

static struct bound bind_to(int64_t device)
{
    struct bound bound;
    memcpy(bound.bytes, PURPOSE, sizeof PURPOSE);
    for (size_t i = 0; i < 8; i++) {
        bound.bytes[sizeof PURPOSE + i] = (unsigned char)((uint64_t)device >> (56 - 8 * i));
    }
    return bound;
}

static bool encrypt(EVP_CIPHER_CTX *ctx, int64_t device, const unsigned char *secret, size_t len,
                    unsigned char *sealed)
{
    struct bound bound = bind_to(device);
    int n = 0;
    return EVP_EncryptUpdate(ctx, NULL, &n, bound.bytes, sizeof bound.bytes) == 1 &&
           EVP_EncryptUpdate(ctx, sealed + NONCE, &n, secret, (int)len) == 1 && n == (int)len &&
           EVP_EncryptFinal_ex(ctx, sealed + NONCE + len, &n) == 1 && n == 0 &&
           EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG, sealed + NONCE + len) == 1;
}

bool ota_seal(const unsigned char *key, int64_t device, const unsigned char *secret, size_t len,
              unsigned char *sealed)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    bool done = ctx != NULL && RAND_bytes(sealed, NONCE) == 1 &&
                EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, sealed) == 1 &&
                encrypt(ctx, device, secret, len, sealed);
    EVP_CIPHER_CTX_free(ctx);
    return done;
}

static bool decrypt(EVP_CIPHER_CTX *ctx, int64_t device, const unsigned char *sealed, size_t len,
                    unsigned char *secret)
{
    struct bound bound = bind_to(device);
    unsigned char tag[TAG];
    int n = 0;
    memcpy(tag, sealed + NONCE + len, TAG);
    return EVP_DecryptUpdate(ctx, NULL, &n, bound.bytes, sizeof bound.bytes) == 1 &&
           EVP_DecryptUpdate(ctx, secret, &n, sealed + NONCE, (int)len) == 1 && n == (int)len &&
           EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG, tag) == 1 &&
           EVP_DecryptFinal_ex(ctx, secret + len, &n) == 1 && n == 0;
}

bool ota_unseal(const unsigned char *key, int64_t device, const unsigned char *sealed, size_t len,
                unsigned char *secret)
{
    if (len <= OTA_SEAL_MORE) {
        return false;
    }
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    bool done = ctx != NULL && EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, sealed) == 1 &&
                decrypt(ctx, device, sealed, len - OTA_SEAL_MORE, secret);
    EVP_CIPHER_CTX_free(ctx);
    if (!done) {
        OPENSSL_cleanse(secret, len - OTA_SEAL_MORE);
    }
    return done;
}

bool ota_seal_proof(const unsigned char *key, unsigned char *proof)
{
    unsigned len = OTA_SEAL_PROOF;
    return HMAC(EVP_sha256(), key, OTA_SEAL_KEY, (const unsigned char *)PROVED, sizeof PROVED - 1,
                proof, &len) != NULL;
}
