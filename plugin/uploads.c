/* SPDX-License-Identifier: BSD-3-Clause */
#include "uploads.h"

#include <openssl/evp.h>
#include <stdlib.h>

#include "util/hex.h"

/* Digests in memory; the one that was begun first is forgotten, and caught up when it is wanted. */
#define OTA_DIGESTS_MAX 16

#define OTA_CATCH_UP_BLOCKS 8 /* a slice: half a megabyte, about 2 ms */

struct upload {
    int64_t id;
    int64_t covered; /* bytes hashed */
    EVP_MD_CTX *md5;
    EVP_MD_CTX *sha256;
    struct upload *next;
};

struct ota_uploads {
    struct ota_store *store;
    struct upload *first;
    unsigned char block[OTA_BLOCK_SIZE];
};

struct ota_uploads *ota_uploads_new(struct ota_store *store)
{
    struct ota_uploads *uploads = calloc(1, sizeof *uploads);
    if (uploads != NULL) {
        uploads->store = store;
    }
    return uploads;
}

static void free_upload(struct upload *upload)
{
    EVP_MD_CTX_free(upload->md5);
    EVP_MD_CTX_free(upload->sha256);
    free(upload);
}

void ota_uploads_free(struct ota_uploads *uploads)
{
    while (uploads != NULL && uploads->first != NULL) {
        ota_uploads_drop(uploads, uploads->first->id);
    }
    free(uploads);
}

static struct upload **find(struct ota_uploads *uploads, int64_t id)
{
    struct upload **at = &uploads->first;
    while (*at != NULL && (*at)->id != id) {
        at = &(*at)->next;
    }
    return at;
}

void ota_uploads_drop(struct ota_uploads *uploads, int64_t id)
{
    struct upload **at = find(uploads, id);
    struct upload *upload = *at;
    if (upload != NULL) {
        *at = upload->next;
        free_upload(upload);
    }
}

static enum ota_err crypto_failed(struct ota_error *error)
{
    return ota_error_set(error, OTA_INTERNAL, NULL, "a digest could not be computed");
}

static void forget_oldest(struct ota_uploads *uploads)
{
    struct upload **at = &uploads->first;
    for (int i = 0; i < OTA_DIGESTS_MAX && *at != NULL; i++) {
        at = &(*at)->next;
    }
    if (*at != NULL) {
        free_upload(*at);
        *at = NULL;
    }
}

static enum ota_err obtain(struct ota_uploads *uploads, int64_t id, struct upload **upload,
                           struct ota_error *error)
{
    *upload = *find(uploads, id);
    if (*upload != NULL) {
        return OTA_OK;
    }
    struct upload *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return ota_error_no_memory(error);
    }
    made->id = id;
    made->md5 = EVP_MD_CTX_new();
    made->sha256 = EVP_MD_CTX_new();
    if (made->md5 == NULL || made->sha256 == NULL ||
        EVP_DigestInit_ex(made->md5, EVP_md5(), NULL) != 1 ||
        EVP_DigestInit_ex(made->sha256, EVP_sha256(), NULL) != 1) {
        free_upload(made);
        return crypto_failed(error);
    }
    made->next = uploads->first;
    uploads->first = made;
    forget_oldest(uploads);
    *upload = made;
    return OTA_OK;
}

static bool feed(struct upload *upload, const void *bytes, size_t len)
{
    if (EVP_DigestUpdate(upload->md5, bytes, len) != 1 ||
        EVP_DigestUpdate(upload->sha256, bytes, len) != 1) {
        return false;
    }
    upload->covered += (int64_t)len;
    return true;
}

/* Goes on from where the digests are, which may be inside a block. */
static enum ota_err feed_stored_block(struct ota_uploads *uploads, struct upload *upload,
                                      const struct ota_upload_row *row, struct ota_error *error)
{
    size_t len;
    enum ota_err err = ota_image_block(uploads->store, row->image, upload->covered / OTA_BLOCK_SIZE,
                                       uploads->block, &len, error);
    if (err != OTA_OK) {
        return err;
    }
    size_t skip = (size_t)(upload->covered % OTA_BLOCK_SIZE);
    if (skip >= len || !feed(upload, uploads->block + skip, len - skip)) {
        return crypto_failed(error);
    }
    return OTA_OK;
}

enum ota_err ota_uploads_catch_up(struct ota_uploads *uploads, const struct ota_upload_row *row,
                                  struct ota_error *error)
{
    struct upload *upload;
    enum ota_err err = obtain(uploads, row->id, &upload, error);
    for (int i = 0; err == OTA_OK && upload->covered < row->received; i++) {
        if (i == OTA_CATCH_UP_BLOCKS) {
            return OTA_AGAIN;
        }
        err = feed_stored_block(uploads, upload, row, error);
    }
    return err;
}

void ota_uploads_feed(struct ota_uploads *uploads, int64_t id, const void *bytes, size_t len)
{
    struct upload *upload = *find(uploads, id);
    if (upload != NULL && !feed(upload, bytes, len)) {
        ota_uploads_drop(uploads, id); /* it will be caught up from the store */
    }
}

static bool finish_copy(const EVP_MD_CTX *ctx, char *hex)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    EVP_MD_CTX *copy = EVP_MD_CTX_new();
    bool ok = copy != NULL && EVP_MD_CTX_copy_ex(copy, ctx) == 1 &&
              EVP_DigestFinal_ex(copy, digest, &len) == 1;
    EVP_MD_CTX_free(copy);
    if (ok) {
        ota_hex(digest, len, hex);
    }
    return ok;
}

enum ota_err ota_uploads_digests(struct ota_uploads *uploads, int64_t id, char *md5, char *sha256,
                                 struct ota_error *error)
{
    const struct upload *upload = *find(uploads, id);
    if (upload == NULL || !finish_copy(upload->md5, md5) || !finish_copy(upload->sha256, sha256)) {
        return crypto_failed(error);
    }
    return OTA_OK;
}
