/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * device HOST PORT PRODUCT DEVICE FOLDER TRUSTED.pub [CAFILE CERT KEY]
 *   cc -o device device.c -lmosquitto -lcurl -ljansson -lcrypto
 *
 * A device as docs/device-guide.md wants it: goes on where a download was cut, also after it was
 * killed; takes only what TRUSTED.pub signed, and nothing older; believes the bytes in its slot
 * alone. FOLDER is its flash: running ("VERSION ORDER"), firmware, slot (the image that comes),
 * slot.of (its SHA-256). With the last three files it speaks TLS. C11, one thread.
 */
#include <curl/curl.h>
#include <jansson.h>
#include <mosquitto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TRIES        5
#define VERSION_MAX  32
#define MANIFEST_MAX 256

struct notice {
    char version[VERSION_MAX + 1], sha256[65], signature[89];
    char *url;
    long long size, order;
};

struct device {
    const char *product, *name, *folder, *trusted;
    struct mosquitto *mqtt;
    int unacked; /* reports */
    int wait;    /* seconds, before the next try to connect */
    time_t again;
    char version[VERSION_MAX + 1]; /* that runs */
    long long order;
    bool has_notice;
    struct notice notice;
    /* The download: */
    FILE *slot;
    long long have;
    time_t said;
};

/* -- flash -- */

static void path_of(const struct device *device, const char *name, char path[512])
{
    snprintf(path, 512, "%s/%s", device->folder, name);
}

/* The old text or the new one, whenever the power goes (a real device syncs, too). */
static bool write_text(const struct device *device, const char *name, const char *text)
{
    char path[512], new[512];
    path_of(device, name, path);
    path_of(device, "new", new);
    FILE *file = fopen(new, "wb");
    if (file == NULL) {
        return false;
    }
    bool good = fputs(text, file) >= 0;
    good = fclose(file) == 0 && good;
    return good && rename(new, path) == 0;
}

static bool read_text(const struct device *device, const char *name, char *text, int size)
{
    char path[512];
    path_of(device, name, path);
    FILE *file = fopen(path, "rb");
    bool good = file != NULL && fgets(text, size, file) != NULL;
    if (file != NULL) {
        fclose(file);
    }
    return good;
}

static bool load(struct device *device)
{
    char text[80] = "0.0.1 0";
    if (!read_text(device, "running", text, sizeof text)) {
        write_text(device, "running", text);
    }
    return sscanf(text, "%32s %lld", device->version, &device->order) == 2;
}

/* -- what it says -- */

/* Takes the report. */
static void report(struct device *device, const char *kind, json_t *body)
{
    char topic[160];
    json_t *all = json_pack("{s:s, s:o}", "type", kind, "report", body);
    char *text = json_dumps(all, JSON_COMPACT);
    snprintf(topic, sizeof topic, "$ota/report/%s/%s", device->product, device->name);
    if (text != NULL && mosquitto_publish(device->mqtt, NULL, topic, (int)strlen(text), text, 1,
                                          false) == MOSQ_ERR_SUCCESS) {
        device->unacked++;
    }
    free(text);
    json_decref(all);
}

static void progress(struct device *device, const char *state, int percent, int code,
                     const char *why)
{
    report(device, "report_progress",
           json_pack("{s:{s:s, s:i, s:i, s:s}, s:s}", "progress", "state", state, "percent",
                     percent, "result_code", code, "result_msg", why, "version",
                     device->notice.version));
}

static bool fail(struct device *device, int code, const char *why)
{
    fprintf(stderr, "fail %d: %s\n", code, why);
    progress(device, "fail", 0, code, why);
    return false;
}

/* -- what it hears -- */

static void on_connect(struct mosquitto *mqtt, void *arg, int code)
{
    struct device *device = arg;
    char topic[160];
    if (code == 0) {
        device->wait = 1;
        snprintf(topic, sizeof topic, "$ota/update/%s/%s", device->product, device->name);
        mosquitto_subscribe(mqtt, NULL, topic, 1);
        report(device, "report_version", json_pack("{s:s}", "version", device->version));
    }
}

static void on_publish(struct mosquitto *mqtt, void *arg, int mid)
{
    struct device *device = arg;
    (void)mqtt, (void)mid;
    device->unacked--;
}

static bool copy(const json_t *heard, const char *key, char *text, size_t size)
{
    const char *value = json_string_value(json_object_get(heard, key));
    bool fits = value != NULL && strlen(value) < size;
    snprintf(text, size, "%s", fits ? value : "");
    return fits;
}

static bool parse(const json_t *heard, struct notice *notice)
{
    const char *url = json_string_value(json_object_get(heard, "url"));
    const json_t *order = json_object_get(heard, "order");
    bool is_signed = copy(heard, "signature", notice->signature, sizeof notice->signature);
    notice->size = json_integer_value(json_object_get(heard, "file_size"));
    notice->order = json_integer_value(order);
    if (!is_signed || !json_is_integer(order)) {
        notice->signature[0] = '\0';
    }
    if (url == NULL || notice->size <= 0 || !copy(heard, "version", notice->version, 33) ||
        !copy(heard, "sha256", notice->sha256, sizeof notice->sha256)) {
        return false;
    }
    notice->url = malloc(strlen(url) + 1);
    return notice->url != NULL && strcpy(notice->url, url) != NULL;
}

/* One at a time: what comes meanwhile comes again when it isn't a repetition. */
static void on_message(struct mosquitto *mqtt, void *arg, const struct mosquitto_message *message)
{
    struct device *device = arg;
    (void)mqtt;
    if (device->has_notice) {
        return;
    }
    json_t *heard = json_loadb(message->payload, (size_t)message->payloadlen, 0, NULL);
    const char *type = json_string_value(json_object_get(heard, "type"));
    device->has_notice =
        type != NULL && strcmp(type, "update_firmware") == 0 && parse(heard, &device->notice);
    json_decref(heard);
}

/* Ten thousand devices come back together after a power cut: growing pauses, with chance in them.
 */
static void turn(struct device *device, int ms)
{
    if (mosquitto_loop(device->mqtt, ms, 1) == MOSQ_ERR_SUCCESS) {
        return;
    }
    if (time(NULL) >= device->again) {
        device->again = time(NULL) + device->wait + rand() % (device->wait + 1);
        device->wait = device->wait < 64 ? 2 * device->wait : 64;
        (void)mosquitto_reconnect(device->mqtt);
    }
    nanosleep(&(struct timespec){.tv_nsec = (ms < 100 ? ms : 100) * 1000000L}, NULL);
}

static void turn_for(struct device *device, int seconds)
{
    for (time_t end = time(NULL) + seconds; time(NULL) < end;) {
        turn(device, 100);
    }
}

/* -- signature and digest -- */

static EVP_PKEY *read_key(const char *path)
{
    FILE *file = fopen(path, "rb");
    EVP_PKEY *key = file != NULL ? PEM_read_PUBKEY(file, NULL, NULL, NULL) : NULL;
    if (file != NULL) {
        fclose(file);
    }
    return key;
}

static bool verify(const char *path, const char *text, const char *base64)
{
    unsigned char signature[66]; /* 64 and what pads the base64 */
    EVP_PKEY *key = read_key(path);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool fits =
        key != NULL && context != NULL && strlen(base64) == 88 &&
        EVP_DecodeBlock(signature, (const unsigned char *)base64, 88) == 66 &&
        EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1 &&
        EVP_DigestVerify(context, signature, 64, (const unsigned char *)text, strlen(text)) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    return fits;
}

/* Before the download: a forged notice costs no flash. The product is ours, never theirs. */
static bool check_signature(struct device *device)
{
    const struct notice *notice = &device->notice;
    char manifest[MANIFEST_MAX];
    int len =
        snprintf(manifest, sizeof manifest, "mosquitto-ota/1\n%s\n%s\n%lld\n%lld\n%s\n",
                 device->product, notice->version, notice->order, notice->size, notice->sha256);
    if (notice->signature[0] == '\0') {
        return fail(device, -4, "the firmware is not signed");
    }
    if (len >= MANIFEST_MAX || !verify(device->trusted, manifest, notice->signature)) {
        return fail(device, -4, "the signature does not fit this firmware");
    }
    return notice->order >= device->order || fail(device, -4, "older than what runs here");
}

/* What is there, not what was said of it. */
static bool hash_slot(const struct device *device, char hex[65])
{
    char path[512], block[4096];
    unsigned char digest[32];
    path_of(device, "slot", path);
    FILE *file = fopen(path, "rb");
    EVP_MD_CTX *sha256 = EVP_MD_CTX_new();
    bool good = file != NULL && sha256 != NULL && EVP_DigestInit_ex(sha256, EVP_sha256(), NULL);
    for (size_t len; good && (len = fread(block, 1, sizeof block, file)) > 0;) {
        good = EVP_DigestUpdate(sha256, block, len) == 1;
    }
    good = good && EVP_DigestFinal_ex(sha256, digest, NULL) == 1;
    for (size_t i = 0; good && i < sizeof digest; i++) {
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
    EVP_MD_CTX_free(sha256);
    if (file != NULL) {
        fclose(file);
    }
    return good;
}

/* -- download -- */

/* False where it can't be written. What belongs to another image is thrown away. */
static bool open_slot(struct device *device)
{
    char path[512], of[80] = "";
    path_of(device, "slot", path);
    bool ours =
        read_text(device, "slot.of", of, sizeof of) && strcmp(of, device->notice.sha256) == 0;
    device->slot = fopen(path, ours ? "ab" : "wb");
    if (device->slot == NULL || (!ours && !write_text(device, "slot.of", device->notice.sha256))) {
        return false;
    }
    fseek(device->slot, 0, SEEK_END);
    device->have = ftell(device->slot);
    return true;
}

static size_t take(char *bytes, size_t one, size_t count, void *arg)
{
    struct device *device = arg;
    (void)one;
    if (device->have + (long long)count > device->notice.size) {
        return 0; /* more than was signed */
    }
    size_t written = fwrite(bytes, 1, count, device->slot);
    device->have += (long long)written;
    return fflush(device->slot) == 0 ? written : 0;
}

/* The connection to the broker lives on meanwhile. */
static int while_it_comes(void *arg, curl_off_t total, curl_off_t now, curl_off_t up_total,
                          curl_off_t up)
{
    struct device *device = arg;
    (void)total, (void)now, (void)up_total, (void)up;
    turn(device, 0);
    if (time(NULL) > device->said) {
        device->said = time(NULL);
        progress(device, "downloading", (int)(device->have * 100 / device->notice.size), 0, "");
    }
    return 0;
}

/* The answer's status; 0: it was cut. */
static long fetch(struct device *device, const char *cafile)
{
    CURL *curl = curl_easy_init();
    long status = 0;
    if (curl == NULL) {
        return 0;
    }
    curl_easy_setopt(curl, CURLOPT_URL, device->notice.url);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)device->have);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, 30L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 10L);
    if (cafile != NULL) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, cafile);
    }
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, device);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, while_it_comes);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, device);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(curl);
    if (code == CURLE_RANGE_ERROR) { /* a server that can't go on: from the start, then */
        write_text(device, "slot.of", "-");
    }
    return code == CURLE_OK || status >= 400 ? status : 0;
}

static bool download(struct device *device, const char *cafile)
{
    for (int tries = 0, pause = 1; tries < TRIES; tries++, pause *= 2) {
        if (!open_slot(device)) {
            return fail(device, -5, "the slot can't be written");
        }
        long status = device->have == device->notice.size ? 200 : fetch(device, cafile);
        if (fclose(device->slot) == 0 && device->have == device->notice.size) {
            return true;
        }
        if (status == 403 || status == 404) { /* the attempt is over: the URL has died with it */
            return fail(device, status == 403 ? -3 : -2, "refused");
        }
        fprintf(stderr, "download cut at byte %lld\n", device->have);
        turn_for(device, pause);
    }
    return fail(device, -1, "the download doesn't come through");
}

/* -- the upgrade -- */

static bool install(struct device *device)
{
    char slot[512], firmware[512], text[80];
    path_of(device, "slot", slot);
    path_of(device, "firmware", firmware);
    snprintf(text, sizeof text, "%s %lld", device->notice.version, device->notice.order);
    /* Really: mark the slot as the one to boot. */
    return rename(slot, firmware) == 0 && write_text(device, "running", text);
}

static bool upgrade(struct device *device, const char *cafile)
{
    char hex[65] = "";
    if (!check_signature(device)) {
        return false;
    }
    progress(device, "downloading", 0, 0, "");
    device->said = time(NULL);
    if (!download(device, cafile)) {
        return false;
    }
    if (!hash_slot(device, hex) || strcmp(hex, device->notice.sha256) != 0) {
        write_text(device, "slot.of", "-");
        return fail(device, -4, "the image is not the one that was signed");
    }
    progress(device, "burning", 100, 0, "");
    if (!install(device)) {
        return fail(device, -5, "the image can't be installed");
    }
    progress(device, "done", 100, 0, "");
    return true;
}

static void connect_to(struct device *device, const char *host, int port, char **tls)
{
    char login[100];
    snprintf(login, sizeof login, "%s/%s", device->product, device->name);
    device->mqtt = mosquitto_new(NULL, true, device);
    device->unacked = 0;
    device->wait = 1;
    device->again = 0;
    mosquitto_username_pw_set(device->mqtt, login, NULL);
    mosquitto_connect_callback_set(device->mqtt, on_connect);
    mosquitto_message_callback_set(device->mqtt, on_message);
    mosquitto_publish_callback_set(device->mqtt, on_publish);
    if (tls != NULL) {
        mosquitto_tls_set(device->mqtt, tls[0], NULL, tls[1], tls[2], NULL);
    }
    (void)mosquitto_connect(device->mqtt, host, port, 60); /* turn() tries again */
}

/* From a start to the next. */
static void live(struct device *device, const char *host, int port, char **tls)
{
    bool rebooted = false;
    connect_to(device, host, port, tls);
    while (!rebooted) {
        turn(device, 1000);
        if (device->has_notice) {
            rebooted = upgrade(device, tls != NULL ? tls[0] : NULL);
            free(device->notice.url);
            device->has_notice = false;
        }
    }
    for (time_t end = time(NULL) + 5; device->unacked > 0 && time(NULL) < end;) {
        turn(device, 100);
    }
    mosquitto_disconnect(device->mqtt);
    mosquitto_destroy(device->mqtt);
}

int main(int argc, char **argv)
{
    if (argc != 7 && argc != 10) {
        fprintf(stderr, "device HOST PORT PRODUCT DEVICE FOLDER TRUSTED.pub [CAFILE CERT KEY]\n");
        return 2;
    }
    struct device device = {
        .product = argv[3], .name = argv[4], .folder = argv[5], .trusted = argv[6]};
    srand((unsigned)time(NULL));
    mosquitto_lib_init();
    curl_global_init(CURL_GLOBAL_DEFAULT);
    while (load(&device)) {
        live(&device, argv[1], atoi(argv[2]), argc == 10 ? &argv[7] : NULL);
    }
    return 1;
}
