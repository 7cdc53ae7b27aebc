/* SPDX-License-Identifier: BSD-3-Clause */
#include "secrets.h"

#include <openssl/crypto.h>

#include "broker.h"
#include "keyfile.h"

static enum ota_err store_proof(struct ota_core *core, const unsigned char *proof,
                                struct ota_error *error)
{
    enum ota_err err = ota_core_begin(core, error);
    if (err != OTA_OK) {
        return err;
    }
    err = ota_secret_set_key(core->store, proof, error);
    if (err != OTA_OK) {
        ota_core_rollback(core);
        return err;
    }
    return ota_core_commit(core, error);
}

/* Another key is fine as long as it would open nothing. */
static enum ota_err compare_key(struct ota_secrets *secrets, const unsigned char *stored,
                                const char *path, struct ota_error *error)
{
    unsigned char proof[OTA_SEAL_PROOF];
    bool any = false;
    if (!ota_seal_proof(secrets->key, proof)) {
        return ota_error_no_memory(error);
    }
    if (stored != NULL && CRYPTO_memcmp(stored, proof, sizeof proof) == 0) {
        return OTA_OK;
    }
    enum ota_err err = ota_secret_any(secrets->core->store, &any, error);
    if (err == OTA_OK && any) {
        return ota_error_set(error, OTA_CONFLICT, "secret_keyfile",
                             "plugin_opt_secret_keyfile %.120s isn't the key that the devices' "
                             "secrets in the database are encrypted with: put that one back",
                             path);
    }
    return err == OTA_OK ? store_proof(secrets->core, proof, error) : err;
}

/* A new key where there was one before would only hide that the old one is gone. */
static enum ota_err make_key(struct ota_secrets *secrets, bool had_one, const char *path,
                             struct ota_error *error)
{
    bool any = false;
    enum ota_err err = had_one ? ota_secret_any(secrets->core->store, &any, error) : OTA_OK;
    if (err == OTA_OK && any) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "secret_keyfile",
                             "plugin_opt_secret_keyfile %.120s is missing, and the database holds "
                             "secrets that are encrypted with it: put it back",
                             path);
    }
    if (err == OTA_OK) {
        err = ota_keyfile_make(path, secrets->key, error);
    }
    if (err == OTA_OK) {
        ota_log(OTA_LOG_WARNING,
                "%s is a new key for devices' secrets: back it up, apart from the database", path);
    }
    return err;
}

static enum ota_err open_key(struct ota_secrets *secrets, const char *path, struct ota_error *error)
{
    unsigned char stored[OTA_KEY_SIZE];
    enum ota_err err = ota_secret_key(secrets->core->store, stored, error);
    bool had_one = err == OTA_OK;
    if (err != OTA_OK && err != OTA_NOT_FOUND) {
        return err;
    }
    err = ota_keyfile_read(path, secrets->key, error);
    if (err == OTA_NOT_FOUND) {
        err = make_key(secrets, had_one, path, error);
    }
    return err == OTA_OK ? compare_key(secrets, had_one ? stored : NULL, path, error) : err;
}

enum ota_err ota_secrets_open(struct ota_core *core, const char *keyfile,
                              struct ota_secrets *secrets, struct ota_error *error)
{
    secrets->core = core;
    return open_key(secrets, keyfile, error);
}

void ota_secrets_close(struct ota_secrets *secrets)
{
    OPENSSL_cleanse(secrets->key, sizeof secrets->key);
}

enum ota_err ota_secrets_set(const struct ota_secrets *secrets, const struct ota_device *device,
                             const unsigned char *bytes, size_t len, struct ota_error *error)
{
    struct ota_secret_row row = {.len = len + OTA_SEAL_MORE, .set_at = ota_now_unix()};
    if (!ota_seal(secrets->key, device->id, bytes, len, row.sealed)) {
        return ota_error_no_memory(error);
    }
    return ota_secret_put(secrets->core->store, device->id, &row, error);
}

enum ota_err ota_secrets_get(const struct ota_secrets *secrets, const struct ota_device *device,
                             struct ota_secret *secret)
{
    struct ota_secret_row row;
    enum ota_err err = ota_secret_get(secrets->core->store, device->id, &row, NULL);
    if (err != OTA_OK) {
        return err;
    }
    if (!ota_unseal(secrets->key, device->id, row.sealed, row.len, secret->bytes)) {
        return OTA_CONFLICT;
    }
    secret->len = row.len - OTA_SEAL_MORE;
    return OTA_OK;
}
