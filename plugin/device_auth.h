/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the log-in of devices that have a secret, as the vendor's SDK does it (docs/vendor-sdk.md):
 *       by an HMAC in the password, or by TLS-PSK. Who failed is refused, counted and slowed down.
 * Thread: the broker's.
 * Frees: ota_device_auth_free. A secret is decrypted only for as long as it is looked at.
 */
#ifndef OTA_DEVICE_AUTH_H
#define OTA_DEVICE_AUTH_H

#include "access.h"
#include "core.h"
#include "trail.h"

/* X(ENUM, "name in getInfo", "sentence in the log") */
#define OTA_AUTH_FAILURES(X)                                                                       \
    X(WRONG, "wrong", "the password isn't the HMAC of the user name with the device's secret")     \
    X(EXPIRED, "expired", "the expiry in the user name is over: is the device's clock wrong?")     \
    X(UNKNOWN, "unknown_device", "there is no such device")                                        \
    X(AMBIGUOUS, "ambiguous", "the name can be read as two devices")                               \
    X(NO_SECRET, "no_secret", "the device has no secret: setDeviceSecret gives it one")            \
    X(TOO_OFTEN, "too_often", "it failed too often: it isn't looked at for a while")               \
    X(UNREADABLE, "unreadable", "the stored secret can't be decrypted: set it again")              \
    X(STORE, "store", "the database or memory failed; the device will try again")                  \
    X(OTHER, "other", "device_auth_only lets in nobody but devices with a secret")

enum ota_auth_failure {
#define OTA_X(id, name, sentence) OTA_AUTH_##id,
    OTA_AUTH_FAILURES(OTA_X)
#undef OTA_X
        OTA_AUTH_FAILURE_COUNT
};

/* "wrong" and the like. */
const char *ota_auth_failure_name(enum ota_auth_failure failure);

enum ota_auth_verdict {
    OTA_AUTH_DEFERRED, /* none of our business: others are asked */
    OTA_AUTH_PROVED,
    OTA_AUTH_REFUSED
};

struct ota_device_auth_counts {
    uint64_t proved;
    uint64_t keys; /* given to TLS-PSK: whether the client had the same one, nobody tells us */
    uint64_t deferred;
    uint64_t failed[OTA_AUTH_FAILURE_COUNT];
};

struct ota_device_auth;

struct ota_device_auth_config {
    const char *keyfile; /* as ota_secrets_open; needed at the start alone */
    bool only;           /* who is no device with a secret is refused */
};

/* Fails as ota_secrets_open does, or where memory is out. */
OTA_CHECKED enum ota_err ota_device_auth_start(struct ota_core *core,
                                               const struct ota_device_auth_config *config,
                                               struct ota_device_auth **auth,
                                               struct ota_error *error);
/* NULL is fine. */
void ota_device_auth_free(struct ota_device_auth *auth);
/* Where failures are noted; not before there are any clients. */
void ota_device_auth_note_in(struct ota_device_auth *auth, struct ota_trail *trail);

/* A client comes with user name and password; either may be NULL. Proved: its user name is
 * "{p}/{d}" from now on. */
enum ota_auth_verdict ota_device_auth_login(struct ota_device_auth *auth, struct mosquitto *client,
                                            const char *username, const char *password);

/* A client comes with a PSK identity: proved, its key is in hex, with a terminator, in the size
 * bytes at hex. Deferred: it is no device that is known. The handshake may still fail, and nobody
 * tells us: so this alone makes nobody a device (ota_device_auth_identity). */
enum ota_auth_verdict ota_device_auth_psk(struct ota_device_auth *auth, struct mosquitto *client,
                                          const char *identity, char *hex, size_t size);

/* What the client has proved, as an event is about it. NULL auth is fine, here and below. */
struct ota_identity ota_device_auth_identity(struct ota_device_auth *auth,
                                             const struct mosquitto *client);
void ota_device_auth_gone(struct ota_device_auth *auth, const struct mosquitto *client);

/* As ota_secrets_set: in an open transaction. */
OTA_CHECKED enum ota_err ota_device_auth_set(struct ota_device_auth *auth,
                                             const struct ota_device *device,
                                             const unsigned char *secret, size_t len,
                                             struct ota_error *error);
/* After the transaction: the secret is another, or none, or the device is gone. Who logged in with
 * it is nobody from now on, and is disconnected at the next tick. */
void ota_device_auth_revoke(struct ota_device_auth *auth, int64_t device_id);
/* The same after many devices went at once, with their product: whose they are is found in the next
 * ticks. */
void ota_device_auth_revoke_gone(struct ota_device_auth *auth);
void ota_device_auth_tick(struct ota_device_auth *auth);

/* Since the start. auth isn't NULL, here and below. */
const struct ota_device_auth_counts *ota_device_auth_counts(const struct ota_device_auth *auth);
bool ota_device_auth_is_only(const struct ota_device_auth *auth);

#endif
