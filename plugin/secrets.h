/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: devices' secrets in the database, and the key of secret_keyfile that they are encrypted
 *       with (util/seal.h): nobody else sees either.
 * Thread: the broker's.
 * Frees: ota_secrets_close forgets the key; the struct is the caller's.
 */
#ifndef OTA_SECRETS_H
#define OTA_SECRETS_H

#include "core.h"
#include "util/seal.h"

struct ota_secrets {
    struct ota_core *core;
    unsigned char key[OTA_SEAL_KEY];
};

struct ota_secret {
    unsigned char bytes[OTA_SEALED_MAX];
    size_t len;
};

/* Reads the key file, and compares it with what the database was written with; makes one where the
 * database has never had one. Outside of a transaction. OTA_CONFLICT, OTA_INVALID_REQUEST: it isn't
 * the key, or is gone, and there are secrets that only the right one opens. */
OTA_CHECKED enum ota_err ota_secrets_open(struct ota_core *core, const char *keyfile,
                                          struct ota_secrets *secrets, struct ota_error *error);
/* Fine with what was never opened (all zero). */
void ota_secrets_close(struct ota_secrets *secrets);

/* Encrypts the secret for the device, and stores it in place of the one before; in an open
 * transaction. len: OTA_SECRET_MIN to OTA_SECRET_MAX. */
OTA_CHECKED enum ota_err ota_secrets_set(const struct ota_secrets *secrets,
                                         const struct ota_device *device,
                                         const unsigned char *bytes, size_t len,
                                         struct ota_error *error);

/* The device's secret, which the caller cleanses once it was looked at.
 * OTA_NOT_FOUND: it has none; OTA_CONFLICT: the key doesn't open it; else the database failed. */
OTA_CHECKED enum ota_err ota_secrets_get(const struct ota_secrets *secrets,
                                         const struct ota_device *device,
                                         struct ota_secret *secret);

#endif
