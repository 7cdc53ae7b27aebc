/* SPDX-License-Identifier: BSD-3-Clause */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

#include "../util/hex.h"
#include "../util/seal.h"
#include "commands.h"

/* Room for what 64 characters of base64 decode to. */
#define DECODED_MAX 48

static void run_revoked(struct ota_core *core, struct ota_effect *effect)
{
    (void)core;
    ota_device_auth_revoke(effect->item, effect->number);
}

enum ota_err ota_call_revoke(struct ota_call *call, const struct ota_device *device)
{
    struct ota_effect *effect = ota_core_after(call->core, run_revoked, NULL);
    if (effect == NULL) {
        return ota_error_no_memory(&call->error);
    }
    effect->item = call->around->device_auth;
    effect->number = device->id;
    return OTA_OK;
}

static enum ota_err read_given(struct ota_call *call, const char *text, unsigned char *secret,
                               size_t *len)
{
    if (!ota_base64_decode(text, strlen(text), secret, len) || *len < OTA_SECRET_MIN) {
        return ota_error_set(&call->error, OTA_INVALID_REQUEST, "secret",
                             "secret must be padded base64 of %d to %d bytes", OTA_SECRET_MIN,
                             OTA_SECRET_MAX);
    }
    return OTA_OK;
}

/* It is in the answer, and nowhere else. */
static enum ota_err draw(struct ota_call *call, unsigned char *secret, size_t *len)
{
    char text[OTA_SECRET_BYTES / 3 * 4 + 5];
    if (RAND_bytes(secret, OTA_SECRET_BYTES) != 1) {
        return ota_error_set(&call->error, OTA_UNAVAILABLE, NULL,
                             "the system gives no random bytes: try again");
    }
    *len = OTA_SECRET_BYTES;
    (void)EVP_EncodeBlock((unsigned char *)text, secret, OTA_SECRET_BYTES);
    call->once = "secret";
    enum ota_err err = ota_call_answer(call, "secret", json_string(text));
    OPENSSL_cleanse(text, sizeof text);
    return err;
}

static enum ota_err name_device(struct ota_call *call, const struct ota_device *device)
{
    enum ota_err err = ota_call_answer(call, "product", json_string(device->product->name));
    return err == OTA_OK ? ota_call_answer(call, "device", json_string(device->name)) : err;
}

enum ota_err ota_cmd_set_device_secret(struct ota_call *call)
{
    struct ota_product *product;
    struct ota_device *device = NULL;
    unsigned char secret[DECODED_MAX];
    size_t len = 0;
    const char *given = ota_field_text_or_null(call->fields, "secret");
    enum ota_err err = given != NULL ? read_given(call, given, secret, &len) : OTA_OK;
    if (err == OTA_OK) {
        err = ota_call_device(call, &product, &device);
    }
    if (err == OTA_OK && call->around->device_auth == NULL) {
        err = ota_error_set(&call->error, OTA_CONFLICT, NULL,
                            "device_auth is off, and so there is no key to encrypt a secret with: "
                            "set plugin_opt_device_auth vendor");
    }
    if (err == OTA_OK) {
        err = name_device(call, device);
    }
    if (err == OTA_OK && given == NULL) {
        err = draw(call, secret, &len);
    }
    if (err == OTA_OK) {
        err = ota_device_auth_set(call->around->device_auth, device, secret, len, &call->error);
    }
    OPENSSL_cleanse(secret, sizeof secret);
    return err == OTA_OK ? ota_call_revoke(call, device) : err;
}

enum ota_err ota_cmd_delete_device_secret(struct ota_call *call)
{
    struct ota_product *product;
    struct ota_device *device = NULL;
    enum ota_err err = ota_call_device(call, &product, &device);
    if (err == OTA_OK) {
        err = ota_secret_delete(call->core->store, device->id, &call->error);
    }
    if (err == OTA_NOT_FOUND && device != NULL) {
        err = ota_error_set(&call->error, OTA_NOT_FOUND, "device", "device %s has no secret",
                            device->name);
    }
    if (err == OTA_OK) {
        err = name_device(call, device);
    }
    return err == OTA_OK ? ota_call_revoke(call, device) : err;
}
