/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * first_device HOST PORT PRODUCT DEVICE VERSION: a device that upgrades its firmware.
 *   cc -o first_device first_device.c -lmosquitto -ljansson -lcurl -lcrypto
 */
#include <curl/curl.h>
#include <jansson.h>
#include <mosquitto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *product, *name, *version;
static json_t *notice; /* NULL: none came */

/* Takes the report. */
static void report(struct mosquitto *mqtt, const char *kind, json_t *body)
{
    char topic[160];
    json_t *all = json_pack("{s:s, s:o}", "type", kind, "report", body);
    char *text = json_dumps(all, JSON_COMPACT);
    snprintf(topic, sizeof topic, "$ota/report/%s/%s", product, name);
    mosquitto_publish(mqtt, NULL, topic, (int)strlen(text), text, 1, false);
    while (mosquitto_want_write(mqtt)) {
        mosquitto_loop(mqtt, 10, 1);
    }
    free(text);
    json_decref(all);
}

static void progress(struct mosquitto *mqtt, const char *state, int code)
{
    report(mqtt, "report_progress",
           json_pack("{s:{s:s, s:i, s:i, s:s}, s:O}", "progress", "state", state, "percent", 0,
                     "result_code", code, "result_msg", "", "version",
                     json_object_get(notice, "version")));
}

static void on_connect(struct mosquitto *mqtt, void *user, int code)
{
    char topic[160];
    (void)user;
    if (code == 0) {
        snprintf(topic, sizeof topic, "$ota/update/%s/%s", product, name);
        mosquitto_subscribe(mqtt, NULL, topic, 0);
        report(mqtt, "report_version", json_pack("{s:s}", "version", version));
    }
}

static void on_message(struct mosquitto *mqtt, void *user, const struct mosquitto_message *message)
{
    (void)mqtt;
    (void)user;
    json_t *heard = json_loadb(message->payload, (size_t)message->payloadlen, 0, NULL);
    const char *type = json_string_value(json_object_get(heard, "type"));
    if (notice == NULL && type != NULL && strcmp(type, "update_firmware") == 0) {
        notice = json_incref(heard);
    }
    json_decref(heard);
}

static size_t take(char *bytes, size_t size, size_t count, void *context)
{
    void **both = context; /* the file, and the digest of what was written to it */
    EVP_DigestUpdate(both[1], bytes, size * count);
    return fwrite(bytes, size, count, both[0]);
}

/* Downloads into that file; true if its SHA-256 is what the notice says. */
static bool download(const char *path)
{
    unsigned char digest[32];
    char hex[65] = "";
    EVP_MD_CTX *sha256 = EVP_MD_CTX_new();
    FILE *file = fopen(path, "wb");
    CURL *curl = curl_easy_init();
    void *both[] = {file, sha256};
    EVP_DigestInit_ex(sha256, EVP_sha256(), NULL);
    curl_easy_setopt(curl, CURLOPT_URL, json_string_value(json_object_get(notice, "url")));
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, both);
    bool whole = file != NULL && curl_easy_perform(curl) == CURLE_OK;
    curl_easy_cleanup(curl);
    whole = file != NULL && fclose(file) == 0 && whole;
    EVP_DigestFinal_ex(sha256, digest, NULL);
    EVP_MD_CTX_free(sha256);
    for (size_t i = 0; i < sizeof digest; i++) {
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
    return whole && strcmp(hex, json_string_value(json_object_get(notice, "sha256"))) == 0;
}

int main(int argc, char **argv)
{
    char login[100], path[64];
    if (argc != 6) {
        return 2;
    }
    product = argv[3], name = argv[4], version = argv[5];
    mosquitto_lib_init();
    struct mosquitto *mqtt = mosquitto_new(NULL, true, NULL);
    snprintf(login, sizeof login, "%s/%s", product, name);
    mosquitto_username_pw_set(mqtt, login, NULL);
    mosquitto_connect_callback_set(mqtt, on_connect);
    mosquitto_message_callback_set(mqtt, on_message);
    if (mosquitto_connect(mqtt, argv[1], atoi(argv[2]), 60) != MOSQ_ERR_SUCCESS) {
        return 1;
    }
    while (notice == NULL) {
        if (mosquitto_loop(mqtt, 1000, 1) != MOSQ_ERR_SUCCESS) {
            sleep(1);
            mosquitto_reconnect(mqtt);
        }
    }
    progress(mqtt, "downloading", 0);
    argv[5] = (char *)json_string_value(json_object_get(notice, "version"));
    snprintf(path, sizeof path, "firmware-%s", argv[5]); /* a real device writes its other slot */
    if (!download(path)) {
        progress(mqtt, "fail", -4);
        return 1;
    }
    progress(mqtt, "burning", 0);
    progress(mqtt, "done", 0);
    mosquitto_disconnect(mqtt);
    execv(argv[0], argv); /* and reboots */
    return 1;
}
