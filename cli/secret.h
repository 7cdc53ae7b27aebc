/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: private keys of those who sign firmware: made, read from their files, used. What they are
 *       goes nowhere else: neither to a server nor to the terminal.
 * Thread: main.
 * Frees: a key belongs to the caller: EVP_PKEY_free().
 */
#ifndef OTA_CLI_SECRET_H
#define OTA_CLI_SECRET_H

#include "failure.h"
#include "util/signature.h"

/* Makes a pair and writes NAME.key (private, mode 0600) and NAME.pub; what is there stays. */
enum ota_exit ota_secret_create(const char *name, EVP_PKEY **key,
                                struct ota_failure *failure) OTA_CHECKED;

/* Reads a private Ed25519 key in PEM form; on a terminal asks for its passphrase, if it has one. */
enum ota_exit ota_secret_read(const char *path, EVP_PKEY **key,
                              struct ota_failure *failure) OTA_CHECKED;

/* Whether the file says that it holds a private key. */
bool ota_secret_is(const char *path);

/* Writes the signature as base64. */
enum ota_exit ota_secret_sign(EVP_PKEY *key, const struct ota_manifest *manifest,
                              char text[OTA_SIGNATURE_TEXT + 1],
                              struct ota_failure *failure) OTA_CHECKED;

#endif
