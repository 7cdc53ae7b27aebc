/* SPDX-License-Identifier: BSD-3-Clause */
#include "image.h"

#include <errno.h>
#include <string.h>

#include "../plugin/util/hex.h"

static enum ota_err hash_failed(struct ota_error *error)
{
    return ota_error_set(error, OTA_INTERNAL, NULL, "OpenSSL can't hash the image");
}

enum ota_err ota_image_start(struct ota_image *image, const struct ota_notice *notice,
                             const char *save, struct ota_error *error)
{
    ota_image_drop(image);
    image->md5 = EVP_MD_CTX_new();
    image->sha256 = EVP_MD_CTX_new();
    if (image->md5 == NULL || EVP_DigestInit_ex(image->md5, EVP_md5(), NULL) != 1 ||
        image->sha256 == NULL || EVP_DigestInit_ex(image->sha256, EVP_sha256(), NULL) != 1) {
        ota_image_drop(image);
        return hash_failed(error);
    }
    if (save != NULL && (image->file = fopen(save, "wb")) == NULL) {
        ota_image_drop(image);
        return ota_error_set(error, OTA_UNAVAILABLE, "save", "%s: %s", save, strerror(errno));
    }
    memcpy(image->version, notice->version, sizeof image->version);
    memcpy(image->digest, notice->md5, sizeof image->digest);
    return OTA_OK;
}

void ota_image_drop(struct ota_image *image)
{
    EVP_MD_CTX_free(image->md5);
    EVP_MD_CTX_free(image->sha256);
    if (image->file != NULL) {
        (void)fclose(image->file);
    }
    *image = (struct ota_image){0};
}

bool ota_image_is_of(const struct ota_image *image, const struct ota_notice *notice,
                     bool by_version)
{
    return image->md5 != NULL && strcmp(image->version, notice->version) == 0 &&
           (by_version || strcmp(image->digest, notice->md5) == 0);
}

enum ota_err ota_image_add(struct ota_image *image, const void *data, size_t len,
                           struct ota_error *error)
{
    if (EVP_DigestUpdate(image->md5, data, len) != 1 ||
        EVP_DigestUpdate(image->sha256, data, len) != 1) {
        return hash_failed(error);
    }
    if (image->file != NULL && fwrite(data, 1, len, image->file) != len) {
        return ota_error_set(error, OTA_UNAVAILABLE, "save", "the image can't be written: %s",
                             strerror(errno));
    }
    image->received += (int64_t)len;
    return OTA_OK;
}

static bool finish(EVP_MD_CTX *context, char *hex)
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (EVP_DigestFinal_ex(context, raw, &len) != 1) {
        return false;
    }
    ota_hex(raw, len, hex);
    return true;
}

enum ota_err ota_image_finish(struct ota_image *image, struct ota_image_digests *digests,
                              struct ota_error *error)
{
    enum ota_err err = OTA_OK;
    if (!finish(image->md5, digests->md5) || !finish(image->sha256, digests->sha256)) {
        err = hash_failed(error);
    } else if (image->file != NULL && fflush(image->file) != 0) {
        err = ota_error_set(error, OTA_UNAVAILABLE, "save", "the image can't be written: %s",
                            strerror(errno));
    }
    ota_image_drop(image);
    return err;
}
