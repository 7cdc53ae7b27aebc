/* SPDX-License-Identifier: BSD-3-Clause */
/* The first line is a signature, the rest a file of signing_keys: public Ed25519 keys are read, or
 * an error names the file; and a signature that fits speaks for one order alone. */
#include "fuzz_file.h"

#include "../../plugin/util/names.h"
#include "../../plugin/util/signature.h"

#define SHA256 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void check_keys(const struct ota_signature_keys *keys, const char *signature)
{
    struct ota_manifest manifest = {"door", "2.0", 7, 3, SHA256};
    size_t count = ota_signature_keys_count(keys);
    FUZZ_CHECK(count >= 1 && count <= OTA_SIGNING_KEYS_MAX);
    for (size_t i = 0; i < count; i++) {
        char text[OTA_FINGERPRINT_HEX + 1];
        FUZZ_CHECK(ota_signature_fingerprint(ota_signature_keys_at(keys, i), text));
        FUZZ_CHECK(ota_name_is_hex(text, OTA_FINGERPRINT_HEX));
    }
    if (ota_signature_fits(keys, &manifest, signature)) {
        manifest.order++;
        FUZZ_CHECK(!ota_signature_fits(keys, &manifest, signature));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_file file;
    struct ota_error error = {0};
    struct ota_signature_keys *keys = NULL;
    const uint8_t *end = memchr(data, '\n', size);
    size_t at = end != NULL ? (size_t)(end - data) : 0;
    char *signature = fuzz_text(data, at);
    fuzz_file_open(&file, data + at, size - at);
    if (ota_signature_keys_read(file.path, &keys, &error) == OTA_OK) {
        check_keys(keys, signature);
    } else {
        FUZZ_CHECK(keys == NULL && strstr(error.text, file.path) != NULL);
    }
    FUZZ_CHECK(
        !ota_signature_fits(NULL, &(struct ota_manifest){"door", "2.0", 7, 3, SHA256}, signature));
    ota_signature_keys_free(keys);
    fuzz_file_close(&file);
    free(signature);
    return 0;
}
