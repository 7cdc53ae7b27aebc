/* SPDX-License-Identifier: BSD-3-Clause */
#include "certificate.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PEM_MAX (256 * 1024)

static void wipe(char *text)
{
    if (text != NULL) {
        OPENSSL_cleanse(text, strlen(text));
        free(text);
    }
}

static enum ota_err read_file(const char *path, const char *option, char **text,
                              struct ota_error *error)
{
    enum ota_err err = OTA_OK;
    FILE *file = fopen(path, "re");
    char *bytes = calloc(1, PEM_MAX + 1);

    if (file == NULL || bytes == NULL) {
        err = ota_error_set(error, OTA_INVALID_REQUEST, option,
                            "%s: can't read %s (%s); it must be readable by the broker's user",
                            option, path, strerror(file == NULL ? errno : ENOMEM));
        goto out;
    }
    size_t len = fread(bytes, 1, PEM_MAX + 1, file);
    if (ferror(file) || len > PEM_MAX || len == 0 || memchr(bytes, '\0', len) != NULL) {
        err = ota_error_set(error, OTA_INVALID_REQUEST, option, "%s: %s is not a PEM file", option,
                            path);
        goto out;
    }
    *text = bytes;
    bytes = NULL;
out:
    if (file != NULL) {
        (void)fclose(file);
    }
    if (bytes != NULL) {
        OPENSSL_cleanse(bytes, PEM_MAX);
    }
    free(bytes);
    return err;
}

/* Without this OpenSSL would ask on the terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *data)
{
    (void)buffer, (void)size, (void)writing, (void)data;
    return -1;
}

static enum ota_err check(const struct ota_certificate *pem, const char *certfile,
                          const char *keyfile, struct ota_error *error)
{
    enum ota_err err = OTA_OK;
    BIO *chain = BIO_new_mem_buf(pem->chain, -1);
    BIO *secret = BIO_new_mem_buf(pem->key, -1);
    X509 *x509 = chain != NULL ? PEM_read_bio_X509(chain, NULL, no_passphrase, NULL) : NULL;
    EVP_PKEY *key =
        secret != NULL ? PEM_read_bio_PrivateKey(secret, NULL, no_passphrase, NULL) : NULL;

    if (x509 == NULL) {
        err = ota_error_set(error, OTA_INVALID_REQUEST, "http_certfile",
                            "http_certfile: %s holds no certificate in PEM form", certfile);
    } else if (key == NULL) {
        err = ota_error_set(error, OTA_INVALID_REQUEST, "http_keyfile",
                            "http_keyfile: %s holds no private key in PEM form without a "
                            "passphrase",
                            keyfile);
    } else if (X509_check_private_key(x509, key) != 1) {
        err = ota_error_set(error, OTA_INVALID_REQUEST, "http_keyfile",
                            "http_keyfile: the key in %s doesn't belong to the first certificate "
                            "in %s",
                            keyfile, certfile);
    }
    ERR_clear_error();
    EVP_PKEY_free(key);
    X509_free(x509);
    BIO_free(secret);
    BIO_free(chain);
    return err;
}

enum ota_err ota_certificate_load(const char *certfile, const char *keyfile,
                                  struct ota_certificate *certificate, struct ota_error *error)
{
    struct ota_certificate pem = {0};
    enum ota_err err;

    if (certfile == NULL || keyfile == NULL) {
        return ota_error_set(error, OTA_INVALID_REQUEST,
                             certfile == NULL ? "http_certfile" : "http_keyfile",
                             "%s is missing: http_certfile and http_keyfile need each other",
                             certfile == NULL ? "http_certfile" : "http_keyfile");
    }
    err = read_file(certfile, "http_certfile", &pem.chain, error);
    if (err != OTA_OK) {
        goto out;
    }
    err = read_file(keyfile, "http_keyfile", &pem.key, error);
    if (err != OTA_OK) {
        goto out;
    }
    err = check(&pem, certfile, keyfile, error);
    if (err != OTA_OK) {
        goto out;
    }
    *certificate = pem;
    pem = (struct ota_certificate){0};
out:
    ota_certificate_free(&pem);
    return err;
}

void ota_certificate_free(struct ota_certificate *certificate)
{
    free(certificate->chain);
    wipe(certificate->key);
    *certificate = (struct ota_certificate){0};
}
