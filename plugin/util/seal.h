/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: devices' secrets at rest: AES-256-GCM under a key that isn't stored with them, bound to the
 *       device's number, so that a row that is copied to another device opens nothing.
 * Thread: any; pure functions.
 * Frees: nothing.
 */
#ifndef OTA_UTIL_SEAL_H
#define OTA_UTIL_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All in bytes. */
#define OTA_SEAL_KEY     32
#define OTA_SEAL_MORE    28 /* nonce and tag */
#define OTA_SEAL_PROOF   32
#define OTA_SECRET_BYTES 32 /* of one that we draw */
/* What a secret must have not to be guessed, and what the vendor's SDK takes as a PSK. */
#define OTA_SECRET_MIN   16
#define OTA_SECRET_MAX   48

/* False: OpenSSL has no memory or no random bytes. sealed has room for len + OTA_SEAL_MORE. */
bool ota_seal(const unsigned char *key, int64_t device, const unsigned char *secret, size_t len,
              unsigned char *sealed);

/* False: it was sealed with another key or for another device, or was changed. secret has room for
 * len - OTA_SEAL_MORE, which is how long it is. */
bool ota_unseal(const unsigned char *key, int64_t device, const unsigned char *sealed, size_t len,
                unsigned char *secret);

/* What tells the key from others, and tells nothing of it. False: memory is out. */
bool ota_seal_proof(const unsigned char *key, unsigned char *proof);

#endif
