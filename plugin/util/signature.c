/* SPDX-License-Identifier: BSD-3-Clause */
#include "signature.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hex.h"
#include "names.h"

#define PEM_MAX    (64 * 1024)
#define SHA256_HEX 64

struct ota_signature_keys {
    EVP_PKEY *keys[OTA_SIGNING_KEYS_MAX];
    size_t count;
};

size_t ota_signature_manifest(const struct ota_manifest *manifest, char text[OTA_MANIFEST_MAX])
{
    if (!ota_name_is_product(manifest->product, strlen(manifest->product)) ||
        !ota_name_is_version(manifest->version, strlen(manifest->version)) ||
        !ota_name_is_hex(manifest->sha256, SHA256_HEX) || manifest->size < 1) {
        return 0;
    }
    int len = snprintf(text, OTA_MANIFEST_MAX,
                       "mosquitto-ota/1\n%s\n%s\n%" PRId64 "\n%" PRId64 "\n%s\n", manifest->product,
                       manifest->version, manifest->order, manifest->size, manifest->sha256);
    return len > 0 && len < OTA_MANIFEST_MAX ? (size_t)len : 0;
}

/* --- reading keys --------------------------------------------------------------------------- */

static enum ota_err wrong(const char *path, const char *why, struct ota_error *error)
{
    return ota_error_set(error, OTA_INVALID_REQUEST, NULL, "%s %s", path, why);
}

static enum ota_err read_file(const char *path, char *text, size_t *len, struct ota_error *error)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return ota_error_set(error, OTA_INVALID_REQUEST, NULL, "can't read %s: %s", path,
                             strerror(errno));
    }
    enum ota_err err = OTA_OK;
    *len = fread(text, 1, PEM_MAX + 1, file);
    if (ferror(file)) {
        err = ota_error_set(error, OTA_INVALID_REQUEST, NULL, "can't read %s: %s", path,
                            strerror(errno));
    } else if (*len > PEM_MAX) {
        err = wrong(path, "is too long for a file of public keys", error);
    }
    (void)fclose(file);
    return err;
}

static bool is_private(const char *label)
{
    static const char end[] = "PRIVATE KEY";
    size_t len = strlen(label);
    return len >= sizeof end - 1 && strcmp(label + len - (sizeof end - 1), end) == 0;
}

/* One block of a PEM file. */
static enum ota_err add_block(struct ota_signature_keys *keys, const char *path, const char *label,
                              const unsigned char *der, long len, struct ota_error *error)
{
    if (is_private(label)) {
        return wrong(path,
                     "holds a private key, which belongs to who signs and to no broker or device: "
                     "name the public one (.pub)",
                     error);
    }
    if (strcmp(label, "PUBLIC KEY") != 0) {
        return wrong(path, "holds something else than PEM public keys (BEGIN PUBLIC KEY)", error);
    }
    const unsigned char *end = der;
    EVP_PKEY *key = d2i_PUBKEY(NULL, &end, len);
    if (key == NULL || end != der + len || EVP_PKEY_get_base_id(key) != EVP_PKEY_ED25519) {
        EVP_PKEY_free(key);
        return wrong(path, "holds a key that isn't Ed25519: otactl key create makes one", error);
    }
    if (keys->count == OTA_SIGNING_KEYS_MAX) {
        EVP_PKEY_free(key);
        return ota_error_set(error, OTA_INVALID_REQUEST, NULL,
                             "%s: there may be at most %d keys in all", path, OTA_SIGNING_KEYS_MAX);
    }
    keys->keys[keys->count++] = key;
    return OTA_OK;
}

static enum ota_err read_blocks(struct ota_signature_keys *keys, const char *path, BIO *pem,
                                struct ota_error *error)
{
    char *label;
    char *header;
    unsigned char *der;
    long len;
    while (PEM_read_bio(pem, &label, &header, &der, &len) == 1) {
        enum ota_err err = add_block(keys, path, label, der, len, error);
        OPENSSL_free(label);
        OPENSSL_free(header);
        OPENSSL_clear_free(der, (size_t)len);
        if (err != OTA_OK) {
            return err;
        }
    }
    return ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE
               ? OTA_OK
               : wrong(path, "is damaged: a PEM block in it can't be read", error);
}

static enum ota_err add_file(struct ota_signature_keys *keys, const char *path, char *buffer,
                             struct ota_error *error)
{
    size_t len = 0;
    size_t before = keys->count;
    enum ota_err err = read_file(path, buffer, &len, error);
    if (err != OTA_OK) {
        return err;
    }
    BIO *pem = BIO_new_mem_buf(buffer, (int)len);
    if (pem == NULL) {
        return ota_error_no_memory(error);
    }
    ERR_clear_error();
    err = read_blocks(keys, path, pem, error);
    ERR_clear_error();
    BIO_free(pem);
    return err == OTA_OK && keys->count == before
               ? wrong(path, "holds no PEM public key (BEGIN PUBLIC KEY)", error)
               : err;
}

/* The next path of the list, without the blanks around it, or NULL. Writes into list. */
static char *next_path(char **list)
{
    char *path;
    while ((path = strsep(list, ",")) != NULL) {
        path += strspn(path, " \t");
        size_t len = strlen(path);
        while (len > 0 && strchr(" \t", path[len - 1]) != NULL) {
            path[--len] = '\0';
        }
        if (len > 0) {
            return path;
        }
    }
    return NULL;
}

enum ota_err ota_signature_keys_read(const char *files, struct ota_signature_keys **keys,
                                     struct ota_error *error)
{
    enum ota_err err = OTA_OK;
    struct ota_signature_keys *made = calloc(1, sizeof *made);
    char *buffer = malloc(PEM_MAX + 1);
    char *list = strdup(files);
    char *rest = list;
    char *path;
    if (made == NULL || buffer == NULL || list == NULL) {
        err = ota_error_no_memory(error);
        goto out;
    }
    while (err == OTA_OK && (path = next_path(&rest)) != NULL) {
        err = add_file(made, path, buffer, error);
    }
    if (err == OTA_OK && made->count == 0) {
        err = ota_error_set(error, OTA_INVALID_REQUEST, NULL,
                            "name files of PEM public keys, with commas between");
    }
    if (err == OTA_OK) {
        *keys = made;
        made = NULL;
    }
out:
    if (buffer != NULL) {
        OPENSSL_cleanse(buffer, PEM_MAX + 1); /* a private key may have been named by mistake */
    }
    free(buffer);
    free(list);
    ota_signature_keys_free(made);
    return err;
}

void ota_signature_keys_free(struct ota_signature_keys *keys)
{
    for (size_t i = 0; keys != NULL && i < keys->count; i++) {
        EVP_PKEY_free(keys->keys[i]);
    }
    free(keys);
}

size_t ota_signature_keys_count(const struct ota_signature_keys *keys)
{
    return keys != NULL ? keys->count : 0;
}

const EVP_PKEY *ota_signature_keys_at(const struct ota_signature_keys *keys, size_t index)
{
    return keys->keys[index];
}

bool ota_signature_fingerprint(const EVP_PKEY *key, char text[OTA_FINGERPRINT_HEX + 1])
{
    unsigned char digest[OTA_FINGERPRINT_HEX / 2];
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(key, &der);
    bool good = len > 0 && EVP_Digest(der, (size_t)len, digest, NULL, EVP_sha256(), NULL) == 1;
    OPENSSL_free(der);
    if (good) {
        ota_hex(digest, sizeof digest, text);
    }
    return good;
}

/* --- checking ------------------------------------------------------------------------------- */

static bool decode(const char *text, unsigned char bytes[OTA_SIGNATURE_BYTES])
{
    unsigned char room[OTA_SIGNATURE_TEXT / 4 * 3];
    size_t len;
    if (strlen(text) != OTA_SIGNATURE_TEXT ||
        !ota_base64_decode(text, OTA_SIGNATURE_TEXT, room, &len) || len != OTA_SIGNATURE_BYTES) {
        return false;
    }
    memcpy(bytes, room, OTA_SIGNATURE_BYTES);
    return true;
}

static bool made_by(EVP_PKEY *key, const unsigned char *signature, const char *text, size_t len)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context != NULL && EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1 &&
                EVP_DigestVerify(context, signature, OTA_SIGNATURE_BYTES,
                                 (const unsigned char *)text, len) == 1;
    EVP_MD_CTX_free(context);
    return good;
}

bool ota_signature_fits(const struct ota_signature_keys *keys, const struct ota_manifest *manifest,
                        const char *signature)
{
    char text[OTA_MANIFEST_MAX];
    unsigned char bytes[OTA_SIGNATURE_BYTES];
    size_t len = ota_signature_manifest(manifest, text);
    if (len == 0 || !decode(signature, bytes)) {
        return false;
    }
    bool good = false;
    for (size_t i = 0; !good && i < ota_signature_keys_count(keys); i++) {
        good = made_by(keys->keys[i], bytes, text, len);
    }
    ERR_clear_error();
    return good;
}
