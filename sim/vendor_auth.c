/* SPDX-License-Identifier: BSD-3-Clause */
#include "vendor_auth.h"

#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "../plugin/util/hex.h"
#include "../plugin/util/names.h"
#include "pattern.h"

/* What the SDK says about itself, and that its log-in is good for ever. */
#define APP_ID "21010406"
#define NEVER  "92233720368547758"

#define NAMES_MAX    (OTA_PRODUCT_MAX + OTA_DEVICE_MAX)
#define USERNAME_MAX (NAMES_MAX + 40)
#define PASSWORD_MAX (2 * EVP_MAX_MD_SIZE + 16)

enum ota_err ota_vendor_auth_open(struct ota_vendor_auth *auth, const char *secret,
                                  const char *method, bool psk, struct ota_error *error)
{
    size_t len = strlen(secret);
    struct ota_vendor_auth opened = {.psk = psk,
                                     .sha256 = method != NULL && strcmp(method, "sha256") == 0};
    if (method != NULL && !opened.sha256 && strcmp(method, "sha1") != 0) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "hmac", "--hmac: sha1 or sha256");
    }
    if (len > OTA_VENDOR_SECRET_MAX / 3 * 4 ||
        !ota_base64_decode(secret, len, opened.secret, &opened.len)) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "secret",
                             "--secret: at most %d bytes in base64, as setDeviceSecret takes them",
                             OTA_VENDOR_SECRET_MAX);
    }
    *auth = opened;
    return OTA_OK;
}

static void make_username(const char *names, uint64_t *random, char *text, size_t size)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    char connection[6] = "";
    for (size_t i = 0; i < sizeof connection - 1; i++) {
        connection[i] = letters[ota_random(random) % (sizeof letters - 1)];
    }
    (void)snprintf(text, size, "%.*s;" APP_ID ";%s;" NEVER, NAMES_MAX, names, connection);
}

static bool make_password(const struct ota_vendor_auth *auth, const char *username, char *text)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned len = sizeof mac;
    if (HMAC(auth->sha256 ? EVP_sha256() : EVP_sha1(), auth->secret, (int)auth->len,
             (const unsigned char *)username, strlen(username), mac, &len) == NULL) {
        return false;
    }
    ota_hex(mac, len, text);
    strcat(text, auth->sha256 ? ";hmacsha256" : ";hmacsha1");
    return true;
}

enum ota_err ota_vendor_auth_apply(const struct ota_vendor_auth *auth, struct mosquitto *mosq,
                                   const char *names, uint64_t *random, struct ota_error *error)
{
    char username[USERNAME_MAX];
    char password[PASSWORD_MAX] = "";
    char key[2 * OTA_VENDOR_SECRET_MAX + 1];
    make_username(names, random, username, sizeof username);
    bool made = auth->psk || make_password(auth, username, password);
    if (made && auth->psk) {
        ota_hex(auth->secret, auth->len, key);
        made = mosquitto_tls_psk_set(mosq, key, names, NULL) == MOSQ_ERR_SUCCESS;
    }
    if (!made || mosquitto_username_pw_set(mosq, username, auth->psk ? NULL : password) !=
                     MOSQ_ERR_SUCCESS) {
        return ota_error_set(error, OTA_INTERNAL, NULL, "out of memory for a log-in");
    }
    return OTA_OK;
}
