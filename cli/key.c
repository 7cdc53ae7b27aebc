/* SPDX-License-Identifier: BSD-3-Clause */
#include "key.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "render.h"
#include "secret.h"

static enum ota_exit fail_fingerprint(struct ota_failure *failure)
{
    return ota_fail(failure, OTA_EXIT_USAGE, NULL, NULL, "OpenSSL can't digest the key");
}

/* --- create --------------------------------------------------------------------------------- */

static void tell_next(const char *name, const char *fingerprint)
{
    const char *slash = strrchr(name, '/');
    (void)printf(
        "%s.key  the private key: it signs firmware. Keep it where no broker is, with a copy that "
        "is offline.\n"
        "%s.pub  the public key: brokers and devices check signatures with it.\n"
        "fingerprint  %s\n"
        "\n"
        "Next:\n"
        "  1. Copy %s.pub to the broker's machine and name it in mosquitto.conf:\n"
        "       plugin_opt_signing_keys /etc/mosquitto/ota/%s.pub\n"
        "     Restart the broker; otactl info shows the fingerprint.\n"
        "  2. Sign:  otactl firmware add PRODUCT VERSION FILE --sign-key %s.key\n"
        "  3. When all firmware is signed:  plugin_opt_require_signature true\n"
        "  4. Build the public key into devices that check for themselves: docs/signing.md.\n",
        name, name, fingerprint, name, slash != NULL ? slash + 1 : name, name);
}

static void print_created(const char *name, const char *fingerprint, bool json)
{
    if (!json) {
        tell_next(name, fingerprint);
        return;
    }
    json_t *made = json_pack("{s:o, s:o, s:s}", "private", json_sprintf("%s.key", name), "public",
                             json_sprintf("%s.pub", name), "fingerprint", fingerprint);
    ota_render_json(made);
    json_decref(made);
}

enum ota_exit ota_key_create_run(struct ota_session *session, const struct ota_job *job,
                                 struct ota_failure *failure)
{
    char fingerprint[OTA_FINGERPRINT_HEX + 1];
    const char *name = json_string_value(json_object_get(job->local, "name"));
    EVP_PKEY *key = NULL;
    enum ota_exit rc = ota_secret_create(name, &key, failure);
    if (rc != OTA_EXIT_OK) {
        return rc;
    }
    if (ota_signature_fingerprint(key, fingerprint)) {
        print_created(name, fingerprint, ota_settings_json(session->settings));
    } else {
        rc = fail_fingerprint(failure);
    }
    EVP_PKEY_free(key);
    return rc;
}

/* --- show ----------------------------------------------------------------------------------- */

static enum ota_exit add_row(json_t *rows, const EVP_PKEY *key, const char *kind,
                             struct ota_failure *failure)
{
    char fingerprint[OTA_FINGERPRINT_HEX + 1];
    if (!ota_signature_fingerprint(key, fingerprint) ||
        json_array_append_new(
            rows, json_pack("{s:s, s:s}", "fingerprint", fingerprint, "kind", kind)) != 0) {
        return fail_fingerprint(failure);
    }
    return OTA_EXIT_OK;
}

static enum ota_exit add_private(json_t *rows, const char *path, struct ota_failure *failure)
{
    EVP_PKEY *key = NULL;
    enum ota_exit rc = ota_secret_read(path, &key, failure);
    if (rc == OTA_EXIT_OK) {
        rc = add_row(rows, key, "private", failure);
    }
    EVP_PKEY_free(key);
    return rc;
}

static enum ota_exit add_public(json_t *rows, const char *path, struct ota_failure *failure)
{
    struct ota_signature_keys *keys = NULL;
    struct ota_error error = {0};
    if (ota_signature_keys_read(path, &keys, &error) != OTA_OK) {
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, "file", "%s", error.text);
    }
    enum ota_exit rc = OTA_EXIT_OK;
    for (size_t i = 0; rc == OTA_EXIT_OK && i < ota_signature_keys_count(keys); i++) {
        rc = add_row(rows, ota_signature_keys_at(keys, i), "public", failure);
    }
    ota_signature_keys_free(keys);
    return rc;
}

static void print_keys(const json_t *data)
{
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(data, "keys"), i, row)
    {
        (void)printf("%s  %s key\n", json_string_value(json_object_get(row, "fingerprint")),
                     json_string_value(json_object_get(row, "kind")));
    }
}

enum ota_exit ota_key_show_run(struct ota_session *session, const struct ota_job *job,
                               struct ota_failure *failure)
{
    const char *path = json_string_value(json_object_get(job->local, "file"));
    json_t *data = json_pack("{s:[]}", "keys");
    json_t *rows = json_object_get(data, "keys");
    enum ota_exit rc =
        ota_secret_is(path) ? add_private(rows, path, failure) : add_public(rows, path, failure);
    if (rc == OTA_EXIT_OK) {
        ota_session_show(session, data, print_keys);
    }
    json_decref(data);
    return rc;
}
