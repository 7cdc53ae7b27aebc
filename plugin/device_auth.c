/* SPDX-License-Identifier: BSD-3-Clause */
#include "device_auth.h"

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addresses.h"
#include "broker.h"
#include "proofs.h"
#include "secrets.h"
#include "throttle.h"
#include "util/hex.h"
#include "vendor_login.h"

#define OTA_AUTH_LOG_MS 1000
#define OTA_KICKS       16   /* a tick, and so are these */
#define OTA_LOOKS       4096 /* and a bucket more */

struct ota_device_auth {
    struct ota_core *core;
    struct ota_trail *trail; /* may be NULL */
    struct ota_throttle *throttle;
    struct ota_proofs proofs;
    struct ota_device_auth_counts counts;
    struct ota_secrets secrets;
    bool only;
    size_t looked_at;  /* proofs' bucket that is looked at next for devices that are gone */
    int64_t logged_at; /* monotonic ms; 0: never */
};

static const struct {
    const char *name;
    const char *sentence;
} failures[OTA_AUTH_FAILURE_COUNT] = {
#define OTA_X(id, name, sentence) [OTA_AUTH_##id] = {name, sentence},
    OTA_AUTH_FAILURES(OTA_X)
#undef OTA_X
};

const char *ota_auth_failure_name(enum ota_auth_failure failure)
{
    return failures[failure].name;
}

enum ota_err ota_device_auth_start(struct ota_core *core,
                                   const struct ota_device_auth_config *config,
                                   struct ota_device_auth **auth, struct ota_error *error)
{
    struct ota_device_auth *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return ota_error_no_memory(error);
    }
    ota_proofs_init(&made->proofs);
    made->core = core;
    made->only = config->only;
    made->looked_at = OTA_PROOFS_BUCKETS;
    made->throttle = ota_throttle_new();
    enum ota_err err = made->throttle != NULL
                           ? ota_secrets_open(core, config->keyfile, &made->secrets, error)
                           : ota_error_no_memory(error);
    if (err != OTA_OK) {
        ota_device_auth_free(made);
        return err;
    }
    *auth = made;
    return OTA_OK;
}

void ota_device_auth_free(struct ota_device_auth *auth)
{
    if (auth != NULL) {
        ota_secrets_close(&auth->secrets);
        ota_throttle_free(auth->throttle);
        ota_proofs_free(&auth->proofs);
        free(auth);
    }
}

void ota_device_auth_note_in(struct ota_device_auth *auth, struct ota_trail *trail)
{
    if (auth != NULL) {
        auth->trail = trail;
    }
}

/* --- secrets ---------------------------------------------------------------------------------- */

enum ota_err ota_device_auth_set(struct ota_device_auth *auth, const struct ota_device *device,
                                 const unsigned char *secret, size_t len, struct ota_error *error)
{
    return ota_secrets_set(&auth->secrets, device, secret, len, error);
}

/* OTA_AUTH_FAILURE_COUNT where it is there; to be cleansed. */
static enum ota_auth_failure read_secret(const struct ota_device_auth *auth,
                                         const struct ota_device *device, struct ota_secret *secret)
{
    enum ota_err err = ota_secrets_get(&auth->secrets, device, secret);
    return err == OTA_OK          ? OTA_AUTH_FAILURE_COUNT
           : err == OTA_NOT_FOUND ? OTA_AUTH_NO_SECRET
           : err == OTA_CONFLICT  ? OTA_AUTH_UNREADABLE
                                  : OTA_AUTH_STORE;
}

/* --- whose name it is ------------------------------------------------------------------------- */

/* Of devices that exist: none other has a secret. */
static enum ota_auth_failure find_device(const struct ota_device_auth *auth, const char *names,
                                         size_t len, struct ota_device **device)
{
    const struct ota_fleet *fleet = &auth->core->fleet;
    int readings = 0;
    for (size_t i = 1; i < len && i <= OTA_PRODUCT_MAX; i++) {
        const struct ota_product *product = ota_fleet_product(fleet, names, i);
        struct ota_device *found =
            product != NULL ? ota_fleet_device(fleet, product, names + i, len - i) : NULL;
        if (found != NULL) {
            *device = found;
            readings++;
        }
    }
    return readings == 1   ? OTA_AUTH_FAILURE_COUNT
           : readings == 0 ? OTA_AUTH_UNKNOWN
                           : OTA_AUTH_AMBIGUOUS;
}

#define OTA_FULL_NAME (OTA_PRODUCT_MAX + 1 + OTA_DEVICE_MAX + 1)

static void full_name(const struct ota_device *device, char *text)
{
    (void)snprintf(text, OTA_FULL_NAME, "%s/%s", device->product->name, device->name);
}

/* --- failures --------------------------------------------------------------------------------- */

static void log_failure(struct ota_device_auth *auth, const char *who,
                        enum ota_auth_failure failure)
{
    int64_t now = ota_now_mono();
    if (auth->logged_at != 0 && now - auth->logged_at < OTA_AUTH_LOG_MS) {
        return;
    }
    auth->logged_at = now;
    ota_log(OTA_LOG_WARNING, "log-in of %s refused: %s (%llu so far)", who,
            failures[failure].sentence, (unsigned long long)auth->counts.failed[failure]);
}

/* What isn't known to be a device's name isn't written down: it may be a password in the wrong
 * field. */
static enum ota_auth_verdict refuse(struct ota_device_auth *auth, const struct mosquitto *client,
                                    const struct ota_device *device, enum ota_auth_failure failure)
{
    char name[OTA_FULL_NAME] = "";
    auth->counts.failed[failure]++;
    if (device != NULL) {
        full_name(device, name);
    }
    log_failure(auth, device != NULL ? name : "a client", failure);
    ota_trail_topic(auth->trail, &(struct ota_trail_note){.user = name,
                                                          .client = ota_broker_client_id(client),
                                                          .command = OTA_TRAIL_DEVICE_LOGIN,
                                                          .target = failures[failure].name,
                                                          .code = OTA_FORBIDDEN});
    return OTA_AUTH_REFUSED;
}

static enum ota_auth_verdict leave_to_others(struct ota_device_auth *auth,
                                             const struct mosquitto *client)
{
    if (auth->only) {
        return refuse(auth, client, NULL, OTA_AUTH_OTHER);
    }
    auth->counts.deferred++;
    return OTA_AUTH_DEFERRED;
}

/* --- how often -------------------------------------------------------------------------------- */

/* A name at an address. */
struct trier {
    char who[OTA_PRODUCT_MAX + OTA_DEVICE_MAX + 24];
    uint64_t place;
};

static uint64_t address_of(const struct mosquitto *client)
{
    const char *text = ota_broker_address(client);
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (text != NULL && inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
        return ota_address_number((const struct sockaddr *)&v4);
    }
    if (text != NULL && inet_pton(AF_INET6, text, &v6.sin6_addr) == 1) {
        return ota_address_number((const struct sockaddr *)&v6);
    }
    return 0;
}

/* Neither a name alone nor an address alone holds anybody up: else whoever knows a device's name
 * could keep it out, and one bad device all those behind the same proxy. A secret that can't be
 * guessed needs no more. */
static struct trier trier_of(const struct ota_device_auth *auth, const struct mosquitto *client,
                             const struct ota_vendor_name *name)
{
    struct trier trier;
    uint64_t address = address_of(client);
    (void)snprintf(trier.who, sizeof trier.who, "%.*s %llx", (int)name->names_len, name->names,
                   (unsigned long long)address);
    trier.place = ota_hash(&auth->core->fleet.key, address, trier.who, strlen(trier.who));
    return trier;
}

/* --- by user name and password ---------------------------------------------------------------- */

static enum ota_auth_failure check_secret(const struct ota_device_auth *auth,
                                          const struct ota_device *device, const char *username,
                                          const char *password)
{
    struct ota_secret secret;
    struct ota_vendor_mac mac;
    enum ota_auth_failure failure = read_secret(auth, device, &secret);
    if (failure != OTA_AUTH_FAILURE_COUNT) {
        return failure;
    }
    bool right = false;
    bool known = password == NULL || !ota_vendor_parse_mac(password, &mac) ||
                 ota_vendor_check_mac(&mac, secret.bytes, secret.len, username, &right);
    OPENSSL_cleanse(&secret, sizeof secret);
    return !known ? OTA_AUTH_STORE : right ? OTA_AUTH_FAILURE_COUNT : OTA_AUTH_WRONG;
}

static bool is_over(const struct ota_vendor_name *name)
{
    return name->expiry < ota_now_unix() / 1000;
}

/* What is no guess costs none of the tries. */
static void settle_try(struct ota_device_auth *auth, const struct trier *trier,
                       enum ota_auth_failure failure)
{
    if (failure == OTA_AUTH_FAILURE_COUNT) {
        ota_throttle_right(auth->throttle, trier->who, trier->place, auth->core->mono_now);
    } else if (failure == OTA_AUTH_STORE) {
        ota_throttle_unchecked(auth->throttle, trier->who, trier->place);
    }
}

static enum ota_auth_failure check_login(struct ota_device_auth *auth,
                                         const struct mosquitto *client, const char *username,
                                         const char *password, const struct ota_vendor_name *name,
                                         struct ota_device **device)
{
    struct trier trier = trier_of(auth, client, name);
    enum ota_auth_failure failure = find_device(auth, name->names, name->names_len, device);
    if (ota_throttle_try(auth->throttle, trier.who, trier.place, auth->core->mono_now) > 0) {
        return OTA_AUTH_TOO_OFTEN;
    }
    if (failure == OTA_AUTH_FAILURE_COUNT) {
        failure = check_secret(auth, *device, username, password);
    }
    if (failure == OTA_AUTH_FAILURE_COUNT && is_over(name)) {
        failure = OTA_AUTH_EXPIRED;
    }
    settle_try(auth, &trier, failure);
    return failure;
}

static enum ota_auth_verdict admit(struct ota_device_auth *auth, struct mosquitto *client,
                                   const struct ota_device *device)
{
    char name[OTA_FULL_NAME];
    full_name(device, name);
    if (!ota_proofs_add(&auth->proofs, client, device->id)) {
        return refuse(auth, client, device, OTA_AUTH_STORE);
    }
    if (!ota_broker_set_username(client, name)) {
        ota_proofs_remove(&auth->proofs, client);
        return refuse(auth, client, device, OTA_AUTH_STORE);
    }
    ota_proofs_see(&auth->proofs, client);
    auth->counts.proved++;
    return OTA_AUTH_PROVED;
}

/* What a handshake proved counts for nothing here: Mosquitto 2.0 ends a connection whose first
 * bytes fail it without a word to us, and the next one at its place in memory may be anybody's, by
 * any listener. Where the handshake did succeed, the broker has the name from it and doesn't ask.
 */
enum ota_auth_verdict ota_device_auth_login(struct ota_device_auth *auth, struct mosquitto *client,
                                            const char *username, const char *password)
{
    struct ota_vendor_name name;
    struct ota_device *device = NULL;
    ota_proofs_remove(&auth->proofs, client); /* it is whom it says now, or nobody */
    if (username == NULL || !ota_vendor_parse_name(username, &name)) {
        return leave_to_others(auth, client);
    }
    enum ota_auth_failure failure = check_login(auth, client, username, password, &name, &device);
    return failure == OTA_AUTH_FAILURE_COUNT ? admit(auth, client, device)
                                             : refuse(auth, client, device, failure);
}

/* --- by TLS-PSK ------------------------------------------------------------------------------- */

enum ota_auth_verdict ota_device_auth_psk(struct ota_device_auth *auth, struct mosquitto *client,
                                          const char *identity, char *hex, size_t size)
{
    struct ota_device *device = NULL;
    struct ota_secret secret = {.len = 0};
    enum ota_auth_failure failure = find_device(auth, identity, strlen(identity), &device);
    ota_proofs_remove(&auth->proofs, client);
    if (failure == OTA_AUTH_UNKNOWN && !auth->only) {
        auth->counts.deferred++;
        return OTA_AUTH_DEFERRED; /* a psk_file may know it */
    }
    if (failure == OTA_AUTH_FAILURE_COUNT) {
        failure = read_secret(auth, device, &secret);
    }
    if (failure == OTA_AUTH_FAILURE_COUNT &&
        (2 * secret.len >= size || !ota_proofs_add(&auth->proofs, client, device->id))) {
        failure = OTA_AUTH_STORE;
    }
    if (failure == OTA_AUTH_FAILURE_COUNT) {
        ota_hex(secret.bytes, secret.len, hex);
        auth->counts.keys++;
    }
    OPENSSL_cleanse(&secret, sizeof secret);
    return failure == OTA_AUTH_FAILURE_COUNT ? OTA_AUTH_PROVED
                                             : refuse(auth, client, device, failure);
}

/* --- what was proved -------------------------------------------------------------------------- */

/* The name that it goes by: "{p}/{d}", or "{p}{d}" by the identity of PSK, which it has only after
 * the handshake. Another's, at the place in memory of one whose handshake failed, is another one.
 */
static bool goes_by(const char *username, const struct ota_device *device)
{
    size_t len = strlen(device->product->name);
    if (username == NULL || strncmp(username, device->product->name, len) != 0) {
        return false;
    }
    username += len + (username[len] == '/');
    return strcmp(username, device->name) == 0;
}

struct ota_identity ota_device_auth_identity(struct ota_device_auth *auth,
                                             const struct mosquitto *client)
{
    const char *username = ota_broker_username(client);
    struct ota_identity identity = {.username = username};
    const struct ota_proof *proof = auth != NULL ? ota_proofs_find(&auth->proofs, client) : NULL;
    if (proof == NULL) {
        return identity;
    }
    const struct ota_device *device = ota_fleet_device_by_id(&auth->core->fleet, proof->device_id);
    bool is_it = device != NULL && goes_by(username, device);
    if (device != NULL && !is_it && !proof->seen) {
        ota_proofs_remove(&auth->proofs, client); /* of one that ended in its handshake */
        return identity;
    }
    ota_proofs_see(&auth->proofs, client);
    identity.proved = true;
    identity.device = is_it ? device : NULL;
    return identity;
}

void ota_device_auth_gone(struct ota_device_auth *auth, const struct mosquitto *client)
{
    if (auth != NULL) {
        ota_proofs_remove(&auth->proofs, client);
    }
}

void ota_device_auth_revoke(struct ota_device_auth *auth, int64_t device_id)
{
    if (auth != NULL) {
        ota_proofs_take_back(&auth->proofs, (uint32_t)device_id);
        ota_core_wake(auth->core, 0);
    }
}

void ota_device_auth_revoke_gone(struct ota_device_auth *auth)
{
    if (auth != NULL) {
        auth->looked_at = 0; /* also where it is at it: what it has looked at has changed */
        ota_core_wake(auth->core, 0);
    }
}

static bool find_gone(struct ota_device_auth *auth)
{
    size_t looks = 0;
    while (looks < OTA_LOOKS && auth->looked_at < OTA_PROOFS_BUCKETS) {
        looks += ota_proofs_take_back_gone(&auth->proofs, auth->looked_at++, &auth->core->fleet);
    }
    return auth->looked_at < OTA_PROOFS_BUCKETS;
}

/* Not in the callback in which it was taken back: that may be the client's own. */
static bool kick_some(struct ota_device_auth *auth)
{
    for (int i = 0; i < OTA_KICKS; i++) {
        const struct mosquitto *client = ota_proofs_next_taken_back(&auth->proofs);
        if (client == NULL) {
            return false;
        }
        ota_broker_kick(client);
    }
    return true;
}

void ota_device_auth_tick(struct ota_device_auth *auth)
{
    if (auth == NULL) {
        return;
    }
    bool more = find_gone(auth);
    more = kick_some(auth) || more;
    if (more) {
        ota_core_wake(auth->core, 0);
    }
}

const struct ota_device_auth_counts *ota_device_auth_counts(const struct ota_device_auth *auth)
{
    return &auth->counts;
}

bool ota_device_auth_is_only(const struct ota_device_auth *auth)
{
    return auth->only;
}
