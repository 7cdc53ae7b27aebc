/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what a signature of firmware is: the text that is signed, the public keys that are trusted,
 *       and whether one fits the other. The same code for plugin, otactl and otasim.
 * Thread: any; keys don't change once they are read.
 * Frees: ota_signature_keys_free.
 */
#ifndef OTA_UTIL_SIGNATURE_H
#define OTA_UTIL_SIGNATURE_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

#define OTA_SIGNATURE_BYTES 64
#define OTA_SIGNATURE_TEXT  88 /* the same in base64 */
#define OTA_MANIFEST_MAX    256
#define OTA_FINGERPRINT_HEX 64

/* Trying them all must not hold the broker's thread. */
#define OTA_SIGNING_KEYS_MAX 16

/* What a signature speaks for. */
struct ota_manifest {
    const char *product;
    const char *version;
    int64_t order;
    int64_t size;
    const char *sha256; /* 64 lower-case hex digits */
};

struct ota_signature_keys;

/* Writes the text that is signed; its length, or 0 where a value isn't what it should be: two
 * manifests must never have one text. */
size_t ota_signature_manifest(const struct ota_manifest *manifest, char text[OTA_MANIFEST_MAX]);

/* Reads the PEM public keys in these files (their paths, with commas between). An error names the
 * file and what is wrong with it. */
OTA_CHECKED enum ota_err ota_signature_keys_read(const char *files,
                                                 struct ota_signature_keys **keys,
                                                 struct ota_error *error);
void ota_signature_keys_free(struct ota_signature_keys *keys);

size_t ota_signature_keys_count(const struct ota_signature_keys *keys);
const EVP_PKEY *ota_signature_keys_at(const struct ota_signature_keys *keys, size_t index);

/* The SHA-256 of the public key in its standard (DER) form, as lower-case hex: what people compare.
 * False: OpenSSL can't. */
bool ota_signature_fingerprint(const EVP_PKEY *key, char text[OTA_FINGERPRINT_HEX + 1]);

/* Whether one of the keys made this signature (base64) over the manifest. keys may be NULL. */
bool ota_signature_fits(const struct ota_signature_keys *keys, const struct ota_manifest *manifest,
                        const char *signature);

#endif
