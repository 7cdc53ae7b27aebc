/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: how a device of the vendor's logs in with its secret: by an HMAC over a user name that is
 *       another one at each connection, or by TLS-PSK (tencent-sdk.md, "Connection").
 * Thread: any; constant once it is open.
 * Frees: nothing.
 */
#ifndef OTA_SIM_VENDOR_AUTH_H
#define OTA_SIM_VENDOR_AUTH_H

#include <mosquitto.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../plugin/util/error.h"

#define OTA_VENDOR_SECRET_MAX 48

struct ota_vendor_auth {
    unsigned char secret[OTA_VENDOR_SECRET_MAX];
    size_t len;
    bool sha256; /* else SHA-1 */
    bool psk;
};

/* secret is base64; method sha1 or sha256, or NULL for the vendor's. */
enum ota_err ota_vendor_auth_open(struct ota_vendor_auth *auth, const char *secret,
                                  const char *method, bool psk,
                                  struct ota_error *error) OTA_CHECKED;

/* Has the client log in as the device whose product and name are `names`, in one piece. */
enum ota_err ota_vendor_auth_apply(const struct ota_vendor_auth *auth, struct mosquitto *mosq,
                                   const char *names, uint64_t *random,
                                   struct ota_error *error) OTA_CHECKED;

#endif
