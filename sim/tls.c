/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libmosquitto would make an SSL_CTX and load the CA for every client: ten thousand of each. It
 * takes ours instead (MOSQ_OPT_SSL_CTX), and then leaves verification to us too.
 */
#include "tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

static enum ota_err failed(const char *what, struct ota_error *error)
{
    char text[160];
    ERR_error_string_n(ERR_peek_last_error(), text, sizeof text);
    ERR_clear_error();
    return ota_error_set(error, OTA_INVALID_REQUEST, "tls", "%s: %s", what, text);
}

enum ota_err ota_tls_open(struct ota_tls *tls, const char *cafile, const char *host,
                          struct ota_error *error)
{
    *tls = (struct ota_tls){.trusted = X509_STORE_new(), .host = host};
    if (tls->trusted == NULL || X509_STORE_load_file(tls->trusted, cafile) != 1) {
        ota_tls_free(tls);
        return failed(cafile, error);
    }
    return OTA_OK;
}

void ota_tls_free(struct ota_tls *tls)
{
    SSL_CTX_free(tls->shared);
    SSL_CTX_free(tls->any);
    X509_STORE_free(tls->trusted);
    *tls = (struct ota_tls){0};
}

static bool expect_host(X509_VERIFY_PARAM *param, const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1) {
        return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
    }
    return X509_VERIFY_PARAM_set1_host(param, host, 0) == 1;
}

/* host may be NULL: any */
static enum ota_err make(struct ota_tls *tls, const char *host, const char *cert, const char *key,
                         SSL_CTX **context, struct ota_error *error)
{
    SSL_CTX *made = SSL_CTX_new(TLS_client_method());
    enum ota_err err = OTA_OK;
    if (made == NULL) {
        return failed("TLS", error);
    }
    SSL_CTX_set1_cert_store(made, tls->trusted);
    SSL_CTX_set_verify(made, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(made, SSL_MODE_RELEASE_BUFFERS);
    if (SSL_CTX_set_min_proto_version(made, TLS1_2_VERSION) != 1 ||
        (host != NULL && !expect_host(SSL_CTX_get0_param(made), host))) {
        err = failed("TLS", error);
    } else if (cert != NULL && SSL_CTX_use_certificate_chain_file(made, cert) != 1) {
        err = failed(cert, error);
    } else if (key != NULL && SSL_CTX_use_PrivateKey_file(made, key, SSL_FILETYPE_PEM) != 1) {
        err = failed(key, error);
    }
    if (err != OTA_OK) {
        SSL_CTX_free(made);
        return err;
    }
    *context = made;
    return OTA_OK;
}

enum ota_err ota_tls_context(struct ota_tls *tls, const char *cert, const char *key,
                             SSL_CTX **context, struct ota_error *error)
{
    if (cert != NULL) {
        return make(tls, tls->host, cert, key, context, error);
    }
    if (tls->shared == NULL) {
        enum ota_err err = make(tls, tls->host, NULL, NULL, &tls->shared, error);
        if (err != OTA_OK) {
            return err;
        }
    }
    SSL_CTX_up_ref(tls->shared);
    *context = tls->shared;
    return OTA_OK;
}

enum ota_err ota_tls_to(struct ota_tls *tls, const char *name, SSL **ssl, struct ota_error *error)
{
    if (tls->any == NULL) {
        enum ota_err err = make(tls, NULL, NULL, NULL, &tls->any, error);
        if (err != OTA_OK) {
            return err;
        }
    }
    SSL *made = SSL_new(tls->any);
    if (made == NULL || SSL_set_tlsext_host_name(made, name) != 1 ||
        (tls->host != NULL && !expect_host(SSL_get0_param(made), name))) {
        SSL_free(made);
        return failed("TLS", error);
    }
    *ssl = made;
    return OTA_OK;
}
