/* SPDX-License-Identifier: BSD-3-Clause */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <curl/curl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake_broker.h"
#include "http_client.h"
#include "http_fixture.h"

static struct fixture world;
static char certfile[96];
static char keyfile[96];
static char other_keyfile[96];
static char sealed_keyfile[96]; /* with a passphrase */
static char empty_file[96];

static void write_key(const char *path, EVP_PKEY *key, const EVP_CIPHER *cipher)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_PrivateKey(file, key, cipher, (const unsigned char *)"secret",
                                          cipher != NULL ? 6 : 0, NULL, NULL),
                     1);
    (void)fclose(file);
}

static void write_certificate(const char *path, EVP_PKEY *key)
{
    X509 *x509 = X509_new();
    FILE *file = fopen(path, "w");
    assert_true(x509 != NULL && file != NULL);
    (void)X509_set_version(x509, 2);
    (void)ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
    (void)X509_gmtime_adj(X509_getm_notBefore(x509), -3600);
    (void)X509_gmtime_adj(X509_getm_notAfter(x509), 86400);
    (void)X509_set_pubkey(x509, key);
    (void)X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_ASC,
                                     (const unsigned char *)"localhost", -1, -1, 0);
    (void)X509_set_issuer_name(x509, X509_get_subject_name(x509));
    assert_true(X509_sign(x509, key, EVP_sha256()) > 0);
    assert_int_equal(PEM_write_X509(file, x509), 1);
    (void)fclose(file);
    X509_free(x509);
}

static int set_up_group(void **state)
{
    (void)state;
    fixture_open(&world);
    (void)snprintf(certfile, sizeof certfile, "%s/cert.pem", world.dir);
    (void)snprintf(keyfile, sizeof keyfile, "%s/key.pem", world.dir);
    (void)snprintf(other_keyfile, sizeof other_keyfile, "%s/other.pem", world.dir);
    (void)snprintf(sealed_keyfile, sizeof sealed_keyfile, "%s/sealed.pem", world.dir);
    (void)snprintf(empty_file, sizeof empty_file, "%s/empty.pem", world.dir);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    EVP_PKEY *other = EVP_EC_gen("P-256");
    write_key(keyfile, key, NULL);
    write_key(other_keyfile, other, NULL);
    write_key(sealed_keyfile, key, EVP_aes_128_cbc());
    write_certificate(certfile, key);
    (void)fclose(fopen(empty_file, "w"));
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
    return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 0 : -1;
}

static int tear_down_group(void **state)
{
    (void)state;
    (void)unlink(certfile);
    (void)unlink(keyfile);
    (void)unlink(other_keyfile);
    (void)unlink(sealed_keyfile);
    (void)unlink(empty_file);
    fixture_close(&world);
    curl_global_cleanup();
    return 0;
}

static enum ota_err start(const char *cert, const char *key, struct ota_error *error)
{
    struct ota_http_config config = {.listen = "127.0.0.1:0",
                                     .certfile = cert,
                                     .keyfile = key,
                                     .db_path = world.db_path,
                                     .look_ms = FIXTURE_LOOK_MS};
    memset(error, 0, sizeof *error);
    memcpy(config.url_key, world.meta.url_key, sizeof config.url_key);
    return ota_http_start(&config, &world.http, error);
}

struct bytes {
    unsigned char *data;
    size_t len;
    size_t room;
    bool cut_at_first;
    int64_t task;
};

static size_t on_bytes(char *data, size_t size, size_t count, void *user)
{
    struct bytes *bytes = user;
    if (bytes->cut_at_first) {
        bytes->cut_at_first = false;
        ota_http_cut(world.http, bytes->task);
    }
    if (bytes->len + size * count <= bytes->room) {
        memcpy(bytes->data + bytes->len, data, size * count);
    }
    bytes->len += size * count;
    return size * count;
}

/* The status, or 0 where there was no whole response. */
static long get(CURL *curl, const char *path, long tls, const char *range, struct bytes *bytes)
{
    char url[OTA_PATH_MAX + 64];
    long status = 0;

    bytes->len = 0;
    (void)snprintf(url, sizeof url, "https://127.0.0.1:%d%s", ota_http_port(world.http), path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0l);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0l);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, tls);
    curl_easy_setopt(curl, CURLOPT_SSL_CIPHER_LIST, "ALL:@SECLEVEL=0");
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 20l);
    curl_easy_setopt(curl, CURLOPT_RANGE, range);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, bytes);
    if (curl_easy_perform(curl) != CURLE_OK) {
        return 0;
    }
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

#define TLS_1_1 (CURL_SSLVERSION_TLSv1_0 | CURL_SSLVERSION_MAX_TLSv1_1)
#define TLS_1_2 (CURL_SSLVERSION_TLSv1_2 | CURL_SSLVERSION_MAX_TLSv1_2)
#define TLS_1_3 (CURL_SSLVERSION_TLSv1_3 | CURL_SSLVERSION_MAX_TLSv1_3)

static void test_downloads(void **state)
{
    (void)state;
    struct ota_error error;
    char path[OTA_PATH_MAX];
    struct bytes bytes = {.room = (size_t)world.big.size};
    const struct ota_claim claim = fixture_task(&world, &world.big);
    CURL *curl = curl_easy_init();

    fake_broker_reset();
    bytes.data = malloc(bytes.room);
    assert_true(curl != NULL && bytes.data != NULL);
    ota_download_path(&claim, path);
    assert_int_equal(start(certfile, keyfile, &error), OTA_OK);

    assert_int_equal(get(curl, path, TLS_1_2, NULL, &bytes), 200);
    assert_int_equal(bytes.len, world.big.size);
    assert_memory_equal(bytes.data, world.big.bytes, bytes.len);
    assert_int_equal(get(curl, path, TLS_1_2, "1000000-1065535", &bytes), 206);
    assert_int_equal(bytes.len, 65536);
    assert_memory_equal(bytes.data, world.big.bytes + 1000000, bytes.len);
    assert_int_equal(get(curl, path, TLS_1_3, NULL, &bytes), 200);
    assert_int_equal(bytes.len, world.big.size);
    assert_memory_equal(bytes.data, world.big.bytes, bytes.len);
    assert_int_equal(get(curl, "/f/1/1/1/1", TLS_1_3, NULL, &bytes), 404);
    assert_int_equal(get(curl, path, TLS_1_1, NULL, &bytes), 0);

    /* A cut in the middle. */
    curl_easy_setopt(curl, CURLOPT_MAX_RECV_SPEED_LARGE, (curl_off_t)2000000);
    bytes.cut_at_first = true;
    bytes.task = claim.task_id;
    assert_int_equal(get(curl, path, TLS_1_3, NULL, &bytes), 0);
    assert_true(bytes.len < (size_t)world.big.size);

    ota_http_stop(world.http);
    curl_easy_cleanup(curl);
    free(bytes.data);
}

/* Nothing that a client leaves half-done keeps the server from stopping. */
static void test_stops_with_open_connections(void **state)
{
    (void)state;
    struct ota_error error;
    int before = fixture_descriptors();

    assert_int_equal(start(certfile, keyfile, &error), OTA_OK);
    CURL *curl = curl_easy_init();
    struct bytes bytes = {0};
    assert_int_equal(get(curl, "/", TLS_1_3, NULL, &bytes), 404);
    ota_http_stop(world.http);
    curl_easy_cleanup(curl);
    assert_int_equal(fixture_descriptors(), before);
}

/* The handshake counts: ten seconds from the connection to a whole request. */
static void test_slow_handshake(void **state)
{
    (void)state;
    struct ota_error error;

    fake_broker_reset();
    assert_int_equal(start(certfile, keyfile, &error), OTA_OK);
    int silent = client_connect(ota_http_port(world.http), 0);
    int trickling = client_connect(ota_http_port(world.http), 0);
    fixture_await_look();
    for (int i = 0; i < 9; i++) {
        client_say_bytes(trickling, i == 0 ? "\x16\x03\x01\x01" : "\x01", i == 0 ? 4 : 1);
        fake_broker_advance(1000);
        fixture_await_look();
        assert_false(client_is_closed(silent, 0) || client_is_closed(trickling, 0));
    }
    fake_broker_advance(1000);
    assert_true(client_is_closed(silent, 30000) && client_is_closed(trickling, 30000));
    (void)close(silent);
    (void)close(trickling);
    ota_http_stop(world.http);
}

static void advance(int ms)
{
    fake_broker_advance(ms);
    fixture_await_look();
}

/* A connection on which the test speaks for itself. */
static CURL *open_connection(void)
{
    char url[64];
    CURL *curl = curl_easy_init();

    assert_non_null(curl);
    (void)snprintf(url, sizeof url, "https://127.0.0.1:%d/", ota_http_port(world.http));
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0l);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0l);
    curl_easy_setopt(curl, CURLOPT_CONNECT_ONLY, 1l);
    assert_int_equal(curl_easy_perform(curl), CURLE_OK);
    return curl;
}

static void say(CURL *curl, const char *text)
{
    size_t sent = 0;
    assert_int_equal(curl_easy_send(curl, text, strlen(text), &sent), CURLE_OK);
    assert_int_equal(sent, strlen(text));
}

/* What has come, up to `size` bytes: as curl says, and CURLE_AGAIN after a while without any. */
static CURLcode hear(CURL *curl, char *text, size_t size, int ms, size_t *len)
{
    curl_socket_t fd = CURL_SOCKET_BAD;
    CURLcode code = curl_easy_recv(curl, text, size, len);

    curl_easy_getinfo(curl, CURLINFO_ACTIVESOCKET, &fd);
    for (struct pollfd ready = {.fd = fd, .events = POLLIN};
         code == CURLE_AGAIN && poll(&ready, 1, ms) == 1;) {
        code = curl_easy_recv(curl, text, size, len);
    }
    return code;
}

static void expect_not_found(CURL *curl)
{
    static const char head[] = "HTTP/1.1 404 Not Found\r\n";
    char text[1000];
    size_t len = 0;

    say(curl, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(hear(curl, text, sizeof text, 10000, &len), CURLE_OK);
    assert_true(len >= sizeof head - 1);
    assert_memory_equal(text, head, sizeof head - 1);
}

static bool is_open(CURL *curl, int ms)
{
    char text[1000];
    size_t len;
    return hear(curl, text, sizeof text, ms, &len) == CURLE_AGAIN;
}

/* Nobody sees how long requests are under TLS: what has come until one was whole belonged to it. */
static void test_slow_head_of_a_later_request(void **state)
{
    (void)state;
    struct ota_error error;

    fake_broker_reset();
    assert_int_equal(start(certfile, keyfile, &error), OTA_OK);
    CURL *slow = open_connection();
    CURL *idle = open_connection();
    expect_not_found(slow);
    expect_not_found(idle);
    for (int i = 0; i < 4; i++) {
        advance(11000);
        assert_true(is_open(slow, 0) && is_open(idle, 0));
    }
    expect_not_found(slow);
    advance(0);
    advance(11000);
    for (int i = 0; i < 9; i++) {
        say(slow, i == 0 ? "GET / HTTP/1.1\r\nX: " : "x");
        advance(1000);
    }
    assert_true(is_open(slow, 0));
    advance(2000);
    assert_false(is_open(slow, 5000));
    curl_easy_cleanup(slow);
    advance(40000); /* a minute since the other one's answer was acknowledged */
    assert_false(is_open(idle, 5000));
    curl_easy_cleanup(idle);
    ota_http_stop(world.http);
}

static void test_bad_certificates(void **state)
{
    (void)state;
    const struct {
        const char *cert;
        const char *key;
        const char *field;
        const char *says;
    } cases[] = {
        {certfile, NULL, "http_keyfile", "missing"},
        {NULL, keyfile, "http_certfile", "missing"},
        {"/nonexistent/cert.pem", keyfile, "http_certfile", "/nonexistent/cert.pem"},
        {certfile, "/nonexistent/key.pem", "http_keyfile", "/nonexistent/key.pem"},
        {world.dir, keyfile, "http_certfile", world.dir},
        {empty_file, keyfile, "http_certfile", "PEM"},
        {certfile, empty_file, "http_keyfile", "PEM"},
        {keyfile, keyfile, "http_certfile", "no certificate"},
        {certfile, certfile, "http_keyfile", "no private key"},
        {certfile, sealed_keyfile, "http_keyfile", "passphrase"},
        {certfile, other_keyfile, "http_keyfile", "doesn't belong"},
    };
    struct ota_error error;
    int before = fixture_descriptors();

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(start(cases[i].cert, cases[i].key, &error), OTA_INVALID_REQUEST);
        assert_string_equal(error.field, cases[i].field);
        if (strstr(error.text, cases[i].says) == NULL) {
            fail_msg("no '%s' in: %s", cases[i].says, error.text);
        }
    }
    assert_int_equal(fixture_descriptors(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_downloads),
        cmocka_unit_test(test_stops_with_open_connections),
        cmocka_unit_test(test_slow_handshake),
        cmocka_unit_test(test_slow_head_of_a_later_request),
        cmocka_unit_test(test_bad_certificates),
    };
    return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
