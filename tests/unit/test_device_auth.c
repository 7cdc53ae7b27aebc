/* SPDX-License-Identifier: BSD-3-Clause */
#include "desk.h"

#include <dirent.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../plugin/keyfile.h"
#include "../../plugin/proofs.h"
#include "../../plugin/throttle.h"
#include "../../plugin/util/hex.h"

#define SECRET "AAECAwQFBgcICQoLDA0ODw==" /* 00 … 0f */
#define NEVER  "92233720368547758"

static const unsigned char bytes[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static int setup(void **state)
{
    (void)desk_setup(state);
    struct desk *desk = *state;
    desk_open_device_auth(desk);
    desk_good(desk, "\"command\":\"setDeviceSecret\",\"product\":\"door\",\"device\":\"d1\","
                    "\"secret\":\"" SECRET "\"");
    return 0;
}

static struct ota_device_auth *auth_of(struct desk *desk)
{
    return desk->around.device_auth;
}

static uint64_t failed(struct desk *desk, enum ota_auth_failure failure)
{
    return ota_device_auth_counts(auth_of(desk))->failed[failure];
}

static enum ota_auth_verdict login(struct desk *desk, struct mosquitto *client, const char *name,
                                   const char *expiry)
{
    char username[160];
    char password[80];
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned len = sizeof mac;
    (void)snprintf(username, sizeof username, "%s;21010406;abcde;%s", name, expiry);
    assert_non_null(HMAC(EVP_sha1(), bytes, sizeof bytes, (const unsigned char *)username,
                         strlen(username), mac, &len));
    ota_hex(mac, len, password);
    strcat(password, ";hmacsha1");
    client->username = username;
    enum ota_auth_verdict verdict =
        ota_device_auth_login(auth_of(desk), client, username, password);
    client->username = client->username == username ? NULL : client->username;
    return verdict;
}

static void check_is(struct desk *desk, struct mosquitto *client, const struct ota_device *device)
{
    struct ota_identity identity = ota_device_auth_identity(auth_of(desk), client);
    assert_true(identity.proved);
    assert_ptr_equal(identity.device, device);
}

static void check_is_nothing(struct desk *desk, struct mosquitto *client)
{
    struct ota_identity identity = ota_device_auth_identity(auth_of(desk), client);
    assert_false(identity.proved);
    assert_null(identity.device);
}

/* --- by password ------------------------------------------------------------------------------ */

static void test_proved(void **state)
{
    struct desk *desk = *state;
    struct mosquitto client = {.id = "doord1", .address = "192.0.2.1"};
    assert_int_equal(login(desk, &client, "doord1", NEVER), OTA_AUTH_PROVED);
    assert_string_equal(client.username, "door/d1");
    check_is(desk, &client, desk->fix.device);
    client.username = "door/d2"; /* as if the place in memory were another's */
    check_is(desk, &client, NULL);
    client.username = "doord1";
    check_is(desk, &client, desk->fix.device);
    client.username = NULL;
    check_is(desk, &client, NULL);
    ota_device_auth_gone(auth_of(desk), &client);
    check_is_nothing(desk, &client);
}

static void test_what_is_no_device_is_left_to_others(void **state)
{
    static const char *const names[] = {NULL, "", "ann", "door/d1", "doord1", "a;b", "a;b;c;d"};
    struct desk *desk = *state;
    struct mosquitto client = {.id = "x"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(ota_device_auth_login(auth_of(desk), &client, names[i], "secret"),
                         OTA_AUTH_DEFERRED);
        check_is_nothing(desk, &client);
    }
    assert_int_equal(ota_device_auth_counts(auth_of(desk))->deferred, 7);
}

static void test_expiry(void **state)
{
    struct desk *desk = *state;
    struct mosquitto client = {.id = "doord1"};
    assert_int_equal(login(desk, &client, "doord1", "1699999999"), OTA_AUTH_REFUSED);
    assert_int_equal(failed(desk, OTA_AUTH_EXPIRED), 1);
    check_is_nothing(desk, &client);
    assert_int_equal(login(desk, &client, "doord1", "1700000000"), OTA_AUTH_PROVED);
    assert_int_equal(login(desk, &client, "doord1", "2147483647"), OTA_AUTH_PROVED);
    fake_broker_set_unix(INT64_C(2147483649000));
    assert_int_equal(login(desk, &client, "doord1", "2147483647"), OTA_AUTH_PROVED);
    assert_int_equal(login(desk, &client, "doord1", "2147483648"), OTA_AUTH_REFUSED);
    check_is_nothing(desk, &client); /* who comes anew begins anew */
}

static void test_names_with_two_readings(void **state)
{
    struct desk *desk = *state;
    struct mosquitto client = {.id = "x"};
    (void)fixture_product(&desk->fix, "doo");
    desk_good(desk, "\"command\":\"createDevice\",\"product\":\"doo\",\"device\":\"x\"");
    assert_int_equal(login(desk, &client, "doord1", NEVER), OTA_AUTH_PROVED);
    desk_good(desk, "\"command\":\"createDevice\",\"product\":\"doo\",\"device\":\"rd1\"");
    assert_int_equal(login(desk, &client, "doord1", NEVER), OTA_AUTH_REFUSED);
    assert_int_equal(failed(desk, OTA_AUTH_AMBIGUOUS), 1);
    assert_int_equal(login(desk, &client, "doox", NEVER), OTA_AUTH_REFUSED);
    assert_int_equal(failed(desk, OTA_AUTH_NO_SECRET), 1);
    assert_int_equal(login(desk, &client, "doody", NEVER), OTA_AUTH_REFUSED);
    assert_int_equal(failed(desk, OTA_AUTH_UNKNOWN), 1);
}

/* A row that was copied to another device, or changed, is no secret. */
static void test_tampered_rows(void **state)
{
    struct desk *desk = *state;
    struct mosquitto client = {.id = "x"};
    struct ota_secret_row row;
    struct ota_error error = {0};
    struct ota_core *core = &desk->fix.core;
    const struct ota_device *other = fixture_device(&desk->fix, "d2", NULL);
    assert_int_equal(ota_secret_get(core->store, desk->fix.device->id, &row, &error), OTA_OK);
    assert_int_equal(ota_core_begin(core, &error), OTA_OK);
    assert_int_equal(ota_secret_put(core->store, other->id, &row, &error), OTA_OK);
    assert_int_equal(ota_core_commit(core, &error), OTA_OK);
    assert_int_equal(login(desk, &client, "doord2", NEVER), OTA_AUTH_REFUSED);
    assert_int_equal(failed(desk, OTA_AUTH_UNREADABLE), 1);
    row.sealed[20] ^= 1;
    assert_int_equal(ota_core_begin(core, &error), OTA_OK);
    assert_int_equal(ota_secret_put(core->store, desk->fix.device->id, &row, &error), OTA_OK);
    assert_int_equal(ota_core_commit(core, &error), OTA_OK);
    assert_int_equal(login(desk, &client, "doord1", NEVER), OTA_AUTH_REFUSED);
    assert_int_equal(failed(desk, OTA_AUTH_UNREADABLE), 2);
}

static void test_no_memory_for_the_name(void **state)
{
    struct desk *desk = *state;
    struct mosquitto client = {.id = "x"};
    fake_broker_fail_naming(true);
    assert_int_equal(login(desk, &client, "doord1", NEVER), OTA_AUTH_REFUSED);
    check_is_nothing(desk, &client);
}

/* --- who guesses ------------------------------------------------------------------------------ */

static void guess(struct desk *desk, struct mosquitto *client, const char *name, int times)
{
    char username[160];
    (void)snprintf(username, sizeof username, "%s;1;x;" NEVER, name);
    for (int i = 0; i < times; i++) {
        assert_int_equal(ota_device_auth_login(auth_of(desk), client, username, "guess"),
                         OTA_AUTH_REFUSED);
    }
}

static void test_who_guesses_waits(void **state)
{
    struct desk *desk = *state;
    struct mosquitto bad = {.id = "bad", .address = "192.0.2.66"};
    struct mosquitto good = {.id = "doord1", .address = "192.0.2.1"};
    guess(desk, &bad, "doord1", OTA_THROTTLE_USER);
    assert_int_equal(failed(desk, OTA_AUTH_TOO_OFTEN), 0);
    assert_int_equal(login(desk, &bad, "doord1", NEVER), OTA_AUTH_REFUSED); /* unseen */
    assert_int_equal(failed(desk, OTA_AUTH_TOO_OFTEN), 1);
    assert_int_equal(login(desk, &good, "doord1", NEVER), OTA_AUTH_PROVED);
    desk_later(desk, OTA_THROTTLE_MOST_MS + 1);
    assert_int_equal(login(desk, &bad, "doord1", NEVER), OTA_AUTH_PROVED);
}

/* Behind one proxy there may be a fleet, and a hundred of it without secrets. */
static void test_an_address_is_held_up_by_nobody(void **state)
{
    struct desk *desk = *state;
    struct mosquitto client = {.id = "x", .address = "2001:db8::1"};
    for (int i = 0; i < 100; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "doorbad%d", i);
        guess(desk, &client, name, OTA_THROTTLE_USER);
    }
    assert_int_equal(failed(desk, OTA_AUTH_TOO_OFTEN), 0);
    assert_int_equal(login(desk, &client, "doord1", NEVER), OTA_AUTH_PROVED);
}

static void test_log_and_audit(void **state)
{
    struct desk *desk = *state;
    struct mosquitto client = {.id = "x\n", .address = "192.0.2.1"};
    size_t lines = fake_broker_log_count();
    guess(desk, &client, "doord1", 5);
    assert_int_equal(fake_broker_log_count(), lines + 1);
    desk_later(desk, 1001);
    guess(desk, &client, "nobody", 3);
    assert_int_equal(fake_broker_log_count(), lines + 2);
    desk_later(desk, 100);
    json_t *data = desk_data(desk, "\"command\":\"listAudit\",\"action\":\"deviceLogin\"");
    const json_t *entries = json_object_get(data, "entries");
    assert_int_equal(json_array_size(entries), 2);
    const json_t *of_device = json_array_get(entries, 1);
    assert_string_equal(json_string_value(json_object_get(of_device, "user")), "door/d1");
    assert_string_equal(json_string_value(json_object_get(of_device, "code")), "forbidden");
    assert_int_equal(json_integer_value(json_object_get(of_device, "count")), 5);
    json_decref(data);
}

/* --- another secret --------------------------------------------------------------------------- */

static void check_kicked(struct desk *desk, const struct mosquitto *client, int times)
{
    const struct mosquitto *last;
    desk_later(desk, 100);
    ota_device_auth_tick(auth_of(desk));
    assert_int_equal(fake_broker_kicks(&last), times);
    assert_ptr_equal(last, client);
}

static void test_another_secret(void **state)
{
    struct desk *desk = *state;
    struct mosquitto client = {.id = "doord1"};
    assert_int_equal(login(desk, &client, "doord1", NEVER), OTA_AUTH_PROVED);
    fixture_fail_write(1);
    desk_bad(desk, "\"command\":\"setDeviceSecret\",\"product\":\"door\",\"device\":\"d1\"",
             "unavailable");
    check_is(desk, &client, desk->fix.device);
    json_t *data =
        desk_data(desk, "\"command\":\"setDeviceSecret\",\"product\":\"door\",\"device\":\"d1\"");
    assert_int_equal(strlen(json_string_value(json_object_get(data, "secret"))), 44);
    json_decref(data);
    check_is(desk, &client, NULL);
    check_kicked(desk, &client, 1);
    check_kicked(desk, &client, 1);
    check_is(desk, &client, NULL); /* until the broker says that it is gone */
    ota_device_auth_gone(auth_of(desk), &client);
    assert_int_equal(login(desk, &client, "doord1", NEVER), OTA_AUTH_REFUSED);
}

static void test_no_secret_any_more(void **state)
{
    struct desk *desk = *state;
    struct mosquitto client = {.id = "doord1"};
    assert_int_equal(login(desk, &client, "doord1", NEVER), OTA_AUTH_PROVED);
    desk_good(desk, "\"command\":\"deleteDeviceSecret\",\"product\":\"door\",\"device\":\"d1\"");
    check_is(desk, &client, NULL);
    ota_device_auth_gone(auth_of(desk), &client); /* before it was kicked */
    check_kicked(desk, NULL, 0);
}

static void test_deleted_device(void **state)
{
    struct desk *desk = *state;
    struct mosquitto client = {.id = "doord1"};
    bool any = true;
    struct ota_error error = {0};
    assert_int_equal(login(desk, &client, "doord1", NEVER), OTA_AUTH_PROVED);
    desk_good(desk, "\"command\":\"deleteDevice\",\"product\":\"door\",\"device\":\"d1\"");
    check_is(desk, &client, NULL);
    assert_int_equal(ota_secret_any(desk->fix.core.store, &any, &error), OTA_OK);
    assert_false(any);
}

/* A product's secrets go with its devices' rows, in slices. */
static void test_deleted_product(void **state)
{
    struct desk *desk = *state;
    struct mosquitto client = {.id = "doord1"};
    bool any = true;
    struct ota_error error = {0};
    assert_int_equal(login(desk, &client, "doord1", NEVER), OTA_AUTH_PROVED);
    desk_good(desk, "\"command\":\"deleteProduct\",\"product\":\"door\",\"force\":true");
    check_is(desk, &client, NULL);
    assert_int_equal(login(desk, &client, "doord1", NEVER), OTA_AUTH_REFUSED);
    for (int i = 0; any && i < 100; i++) {
        desk_later(desk, 100);
        assert_int_equal(ota_secret_any(desk->fix.core.store, &any, &error), OTA_OK);
    }
    assert_false(any);
    assert_false(fake_broker_logged("put off"));
}

/* Their connections end, a few a tick; those of others don't. */
static void test_deleted_product_ends_connections(void **state)
{
    enum { CROWD = 100 };
    static struct mosquitto clients[CROWD];
    struct desk *desk = *state;
    struct mosquitto stays = {.id = "doord1"};
    const struct mosquitto *last = NULL;
    int kicks = 0;
    int ticks = 0;
    char name[24];
    desk_good(desk, "\"command\":\"createProduct\",\"product\":\"lamp\"");
    for (int i = 0; i < CROWD; i++) {
        char command[160];
        (void)snprintf(command, sizeof command,
                       "\"command\":\"createDevice\",\"product\":\"lamp\",\"device\":\"l%d\"", i);
        desk_good(desk, command);
        (void)snprintf(command, sizeof command,
                       "\"command\":\"setDeviceSecret\",\"product\":\"lamp\",\"device\":\"l%d\","
                       "\"secret\":\"" SECRET "\"",
                       i);
        desk_good(desk, command);
        clients[i] = (struct mosquitto){.id = "lamp"};
        (void)snprintf(name, sizeof name, "lampl%d", i);
        assert_int_equal(login(desk, &clients[i], name, NEVER), OTA_AUTH_PROVED);
    }
    assert_int_equal(login(desk, &stays, "doord1", NEVER), OTA_AUTH_PROVED);
    desk_good(desk, "\"command\":\"deleteProduct\",\"product\":\"lamp\",\"force\":true");
    check_is(desk, &clients[7], NULL);
    for (; kicks < CROWD && ticks < 1000; ticks++) {
        int before = kicks;
        ota_device_auth_tick(auth_of(desk));
        kicks = fake_broker_kicks(&last);
        assert_in_range(kicks - before, 0, 16);
    }
    assert_int_equal(kicks, CROWD);
    for (int i = 0; i < 1000; i++) {
        ota_device_auth_tick(auth_of(desk));
    }
    assert_int_equal(fake_broker_kicks(&last), CROWD);
    check_is(desk, &stays, desk->fix.device);
}

/* What is shown once isn't stored, and asking again draws no other. */
static void test_asked_twice(void **state)
{
    static const char command[] = "\"command\":\"setDeviceSecret\",\"product\":\"door\","
                                  "\"device\":\"d1\",\"requestId\":\"r1\"";
    struct desk *desk = *state;
    unsigned char digest[32];
    char *kept = NULL;
    struct ota_error error = {0};
    json_t *first = desk_data(desk, command);
    json_t *second = desk_data(desk, command);
    const char *secret = json_string_value(json_object_get(first, "secret"));
    assert_non_null(secret);
    assert_null(json_object_get(second, "secret"));
    assert_string_equal(json_string_value(json_object_get(second, "device")), "d1");
    assert_int_equal(ota_request_find(desk->fix.core.store, "ann", "r1", digest, &kept, &error),
                     OTA_OK);
    assert_null(strstr(kept, secret));
    free(kept);
    json_decref(first);
    json_decref(second);
}

/* --- by TLS-PSK ------------------------------------------------------------------------------- */

static void test_psk(void **state)
{
    struct desk *desk = *state;
    struct mosquitto client = {0};
    char hex[65] = "";
    assert_int_equal(ota_device_auth_psk(auth_of(desk), &client, "doord9", hex, sizeof hex),
                     OTA_AUTH_DEFERRED);
    assert_int_equal(ota_device_auth_psk(auth_of(desk), &client, "doord1", hex, 32),
                     OTA_AUTH_REFUSED);
    check_is_nothing(desk, &client);
    assert_int_equal(ota_device_auth_psk(auth_of(desk), &client, "doord1", hex, 33),
                     OTA_AUTH_PROVED);
    assert_string_equal(hex, "000102030405060708090a0b0c0d0e0f");
    client.username = "doord1"; /* use_identity_as_username */
    check_is(desk, &client, desk->fix.device);
}

/* The next client at that place in memory, after a handshake that failed without a word to us. */
static void test_login_after_psk(void **state)
{
    struct desk *desk = *state;
    char hex[65];
    static const struct {
        const char *username;
        const char *password;
        enum ota_auth_verdict verdict;
    } rows[] = {
        {NULL, NULL, OTA_AUTH_DEFERRED},
        {"doord1;1;x;" NEVER, NULL, OTA_AUTH_REFUSED},
        {"doord1;1;x;" NEVER, "wrong", OTA_AUTH_REFUSED},
        {"doord1", NULL, OTA_AUTH_DEFERRED},
        {"door/d1", NULL, OTA_AUTH_DEFERRED},
        {"ann", "password", OTA_AUTH_DEFERRED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct mosquitto client = {.username = rows[i].username};
        assert_int_equal(ota_device_auth_psk(auth_of(desk), &client, "doord1", hex, sizeof hex),
                         OTA_AUTH_PROVED);
        assert_int_equal(
            ota_device_auth_login(auth_of(desk), &client, rows[i].username, rows[i].password),
            rows[i].verdict);
        assert_false(ota_device_auth_identity(auth_of(desk), &client).proved);
        assert_ptr_equal(client.username, rows[i].username);
    }
}

/* Nor is it that device by a handshake of its own for somebody else. */
static void test_psk_of_another(void **state)
{
    struct desk *desk = *state;
    struct mosquitto client = {.username = "doord1"};
    char hex[65];
    assert_int_equal(ota_device_auth_psk(auth_of(desk), &client, "doord1", hex, sizeof hex),
                     OTA_AUTH_PROVED);
    assert_int_equal(ota_device_auth_psk(auth_of(desk), &client, "ann", hex, sizeof hex),
                     OTA_AUTH_DEFERRED);
    assert_false(ota_device_auth_identity(auth_of(desk), &client).proved);
}

/* A handshake that failed may leave a proof whose connection is gone: it isn't touched any more. */
static void test_psk_of_one_that_is_gone(void **state)
{
    struct desk *desk = *state;
    struct mosquitto client = {.username = "doord1"};
    char hex[65];
    assert_int_equal(ota_device_auth_psk(auth_of(desk), &client, "doord1", hex, sizeof hex),
                     OTA_AUTH_PROVED);
    desk_good(desk, "\"command\":\"setDeviceSecret\",\"product\":\"door\",\"device\":\"d1\"");
    check_kicked(desk, NULL, 0);
    check_is(desk, &client, NULL); /* it was there: it showed the old key */
    check_kicked(desk, &client, 1);
}

static void test_psk_that_is_there(void **state)
{
    struct desk *desk = *state;
    struct mosquitto client = {.username = "doord1"};
    char hex[65];
    assert_int_equal(ota_device_auth_psk(auth_of(desk), &client, "doord1", hex, sizeof hex),
                     OTA_AUTH_PROVED);
    check_is(desk, &client, desk->fix.device);
    desk_good(desk, "\"command\":\"setDeviceSecret\",\"product\":\"door\",\"device\":\"d1\"");
    check_is(desk, &client, NULL);
    check_kicked(desk, &client, 1);
}

/* Whoever has its address in memory, and a name by a certificate, is who that says. */
static void test_another_after_a_failed_handshake(void **state)
{
    struct desk *desk = *state;
    struct mosquitto client = {.username = "door/d2"};
    char hex[65];
    assert_int_equal(ota_device_auth_psk(auth_of(desk), &client, "doord1", hex, sizeof hex),
                     OTA_AUTH_PROVED);
    struct ota_identity identity = ota_device_auth_identity(auth_of(desk), &client);
    assert_false(identity.proved);
    assert_string_equal(identity.username, "door/d2");
}

/* --- proofs ------------------------------------------------------------------------------------
 */

static void test_many_proofs(void **state)
{
    static struct mosquitto clients[5000];
    struct ota_proofs proofs;
    (void)state;
    ota_proofs_init(&proofs);
    for (size_t i = 0; i < 5000; i++) {
        assert_true(ota_proofs_add(&proofs, &clients[i], (uint32_t)(1 + i % 2500)));
        ota_proofs_see(&proofs, &clients[i]);
    }
    assert_true(ota_proofs_add(&proofs, &clients[0], 2)); /* it proved something else */
    ota_proofs_take_back(&proofs, 1);
    ota_proofs_take_back(&proofs, 1025); /* another one of the same bucket */
    ota_proofs_remove(&proofs, &clients[1024]);
    assert_ptr_equal(ota_proofs_next_taken_back(&proofs), &clients[2500]);
    assert_ptr_equal(ota_proofs_next_taken_back(&proofs), &clients[3524]);
    assert_null(ota_proofs_next_taken_back(&proofs));
    for (size_t i = 0; i < 5000; i++) {
        const struct ota_proof *proof = ota_proofs_find(&proofs, &clients[i]);
        uint32_t want = i == 0 ? 2 : i == 2500 || i == 3524 ? 0 : (uint32_t)(1 + i % 2500);
        assert_int_equal(proof != NULL, i != 1024);
        assert_true(proof == NULL || proof->device_id == want);
        ota_proofs_remove(&proofs, &clients[i]);
    }
    assert_null(ota_proofs_find(&proofs, &clients[0]));
    ota_proofs_free(&proofs);
}

/* --- the key file ----------------------------------------------------------------------------- */

static void check_key(const char *path, enum ota_err expected, const char *says)
{
    unsigned char key[OTA_KEYFILE_SIZE];
    struct ota_error error = {0};
    assert_int_equal(ota_keyfile_read(path, key, &error), expected);
    if (says != NULL && strstr(error.text, says) == NULL) {
        fail_msg("%s", error.text);
    }
}

static void test_key_file(void **state)
{
    struct desk *desk = *state;
    char path[128];
    unsigned char key[OTA_KEYFILE_SIZE];
    struct ota_error error = {0};
    (void)snprintf(path, sizeof path, "%s/another.key", desk->fix.dir);
    check_key(path, OTA_NOT_FOUND, NULL);
    assert_int_equal(ota_keyfile_make(path, key, &error), OTA_OK);
    assert_int_equal(ota_keyfile_make(path, key, &error), OTA_INVALID_REQUEST); /* never over one */
    check_key(path, OTA_OK, NULL);
    assert_int_equal(chmod(path, 0640), 0);
    check_key(path, OTA_INVALID_REQUEST, "chmod 600");
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(truncate(path, 31), 0);
    check_key(path, OTA_INVALID_REQUEST, "32 random bytes");
    check_key(desk->fix.dir, OTA_INVALID_REQUEST, "32 random bytes");
}

static int count_keys(const char *dir)
{
    int count = 0;
    DIR *open = opendir(dir);
    assert_non_null(open);
    for (const struct dirent *entry; (entry = readdir(open)) != NULL;) {
        count += strncmp(entry->d_name, "another.key", strlen("another.key")) == 0;
    }
    (void)closedir(open);
    return count;
}

/* In a child whose disk takes no byte: how it ended. Signalled, it ends in the middle of it. */
static int make_key_in_vain(const char *path, void (*on_full)(int))
{
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        unsigned char key[OTA_KEYFILE_SIZE];
        struct ota_error error = {0};
        (void)signal(SIGXFSZ, on_full);
        (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        (void)setrlimit(RLIMIT_FSIZE, &(struct rlimit){0, 0});
        _exit(ota_keyfile_make(path, key, &error));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

/* What is there under its name is a whole key, whenever the broker dies: else the next start would
 * be refused. */
static void test_key_file_is_whole_or_not_there(void **state)
{
    struct desk *desk = *state;
    char path[128];
    unsigned char key[OTA_KEYFILE_SIZE];
    struct ota_error error = {0};
    (void)snprintf(path, sizeof path, "%s/another.key", desk->fix.dir);
    int status = make_key_in_vain(path, SIG_IGN);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == OTA_INVALID_REQUEST);
    assert_int_equal(count_keys(desk->fix.dir), 0);
    status = make_key_in_vain(path, SIG_DFL);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ);
    check_key(path, OTA_NOT_FOUND, NULL);
    assert_int_equal(ota_keyfile_make(path, key, &error), OTA_OK);
    check_key(path, OTA_OK, NULL);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, desk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_proved),
        TEST(test_what_is_no_device_is_left_to_others),
        TEST(test_expiry),
        TEST(test_names_with_two_readings),
        TEST(test_tampered_rows),
        TEST(test_no_memory_for_the_name),
        TEST(test_who_guesses_waits),
        TEST(test_an_address_is_held_up_by_nobody),
        TEST(test_log_and_audit),
        TEST(test_another_secret),
        TEST(test_no_secret_any_more),
        TEST(test_deleted_device),
        TEST(test_deleted_product),
        TEST(test_deleted_product_ends_connections),
        TEST(test_asked_twice),
        TEST(test_psk),
        TEST(test_login_after_psk),
        TEST(test_psk_of_another),
        TEST(test_psk_of_one_that_is_gone),
        TEST(test_psk_that_is_there),
        TEST(test_another_after_a_failed_handshake),
        cmocka_unit_test(test_many_proofs),
        TEST(test_key_file),
        TEST(test_key_file_is_whole_or_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
