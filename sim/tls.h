/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: whom devices trust and how they show who they are: one store of CAs for the whole fleet.
 * Thread: the loop's.
 * Frees: ota_tls_free(); a context that was handed out belongs to the caller.
 */
#ifndef OTA_SIM_TLS_H
#define OTA_SIM_TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>

#include "../plugin/util/error.h"

struct ota_tls {
    X509_STORE *trusted;
    const char *host; /* the name that the server must have, or NULL: any */
    SSL_CTX *shared;  /* of devices without a certificate of their own */
    SSL_CTX *any;     /* for other servers than the broker */
};

/* host must outlive it. */
enum ota_err ota_tls_open(struct ota_tls *tls, const char *cafile, const char *host,
                          struct ota_error *error) OTA_CHECKED;
void ota_tls_free(struct ota_tls *tls);

/* A reference for one connection; cert and key are files, or both NULL. */
enum ota_err ota_tls_context(struct ota_tls *tls, const char *cert, const char *key,
                             SSL_CTX **context, struct ota_error *error) OTA_CHECKED;

/* For a connection to another server of that name; it isn't compared where the broker's isn't. */
enum ota_err ota_tls_to(struct ota_tls *tls, const char *name, SSL **ssl,
                        struct ota_error *error) OTA_CHECKED;

#endif
