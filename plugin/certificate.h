/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: a server's certificate and key as PEM text, checked so that errors say what to do.
 * Thread: any.
 * Frees: ota_certificate_free, which also wipes the key.
 */
#ifndef OTA_CERTIFICATE_H
#define OTA_CERTIFICATE_H

#include "util/error.h"

struct ota_certificate {
    char *chain; /* NULL: none */
    char *key;
};

/* Reads both files and checks that they belong together. Errors name the option at fault:
 * "http_certfile" or "http_keyfile". */
OTA_CHECKED enum ota_err ota_certificate_load(const char *certfile, const char *keyfile,
                                              struct ota_certificate *certificate,
                                              struct ota_error *error);

/* Fine on one that is all NULL. */
void ota_certificate_free(struct ota_certificate *certificate);

#endif
