/* SPDX-License-Identifier: BSD-3-Clause */
/* The service starts and stops 200 times in one process, with both its doors in use: nothing of a
 * life is left for the next one. Memory is LeakSanitizer's matter in the sanitized run. */
#include <dirent.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../plugin/broker.h"
#include "../../plugin/console.h"
#include "../../plugin/http.h"
#include "../../plugin/service.h"
#include "fixture.h"
#include "http_client.h"

#define LIVES   200
#define WARM_UP 20 /* libraries keep what they set aside once */

struct place {
    char dir[32];
    char database[64];
    char passwords[64];
};

struct holdings {
    int descriptors;
    int threads;
    size_t bytes;
};

static int count_entries(const char *path)
{
    int count = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    assert_int_equal(closedir(dir), 0);
    return count;
}

static struct holdings hold(void)
{
    return (struct holdings){.descriptors = count_entries("/proc/self/fd"),
                             .threads = count_entries("/proc/self/task"),
                             .bytes = mallinfo2().uordblks};
}

static int ask(int port, const char *request)
{
    int fd = client_connect(port, 0);
    client_say(fd, request);
    return fd;
}

static void expect(int fd, int status)
{
    struct client_reply reply;
    client_hear(fd, false, &reply);
    assert_int_equal(reply.status, status);
    client_reply_free(&reply);
}

/* Some requests are answered, others still wait as the service stops. */
static void live(const struct place *place)
{
    const char *keys[] = {"db_path", "download_listen", "download_url",
                          "admins",  "console_listen",  "password_file"};
    const char *values[] = {place->database, "127.0.0.1:0", FIX_URL,
                            "ann",           "127.0.0.1:0", place->passwords};
    struct ota_error error = {0};
    struct ota_options options;
    static struct ota_service service;
    assert_int_equal(ota_options_read(keys, values, 6, &options, &error), OTA_OK);
    assert_int_equal(ota_service_start(&service, &options, "2.0", &error), OTA_OK);
    int downloads = ota_http_port(service.around.http);
    int console = ota_console_port(service.around.console);
    int answered[] = {ask(downloads, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n"),
                      ask(console, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")};
    expect(answered[0], 404);
    expect(answered[1], 200);
    int waiting[] = {ask(downloads, "GET /x HT"), ask(console, "GET / HTTP/1.1\r\nHo"),
                     ask(console, "GET /api/v1/session HTTP/1.1\r\nHost: localhost\r\n"
                                  "Authorization: Basic YW5uOnB3\r\n\r\n")};
    ota_service_work(&service);
    fake_broker_reset();
    ota_service_stop(&service);
    for (size_t i = 0; i < 2; i++) {
        (void)close(answered[i]);
    }
    for (size_t i = 0; i < 3; i++) {
        (void)close(waiting[i]);
    }
}

static void test_nothing_is_left(void **state)
{
    struct place *place = *state;
    struct holdings first = {0};
    for (int i = 0; i < LIVES; i++) {
        if (i == WARM_UP) {
            first = hold();
        }
        live(place);
    }
    struct holdings last = hold();
    assert_int_equal(last.descriptors, first.descriptors);
    assert_int_equal(last.threads, first.threads);
    /* What each life forgot would be there 180 times; some of what is held then comes and goes. */
    assert_true(last.bytes < first.bytes + 64 * (LIVES - WARM_UP));
}

static int setup(void **state)
{
    static struct place place;
    (void)snprintf(place.dir, sizeof place.dir, "/tmp/ota-lives.XXXXXX");
    if (mkdtemp(place.dir) == NULL) {
        return -1;
    }
    (void)snprintf(place.database, sizeof place.database, "%s/ota.db", place.dir);
    (void)snprintf(place.passwords, sizeof place.passwords, "%s/passwords", place.dir);
    FILE *file = fopen(place.passwords, "w");
    if (file == NULL) {
        return -1;
    }
    (void)fclose(file);
    fake_broker_reset();
    *state = &place;
    return 0;
}

static int teardown(void **state)
{
    const struct place *place = *state;
    char command[64];
    (void)snprintf(command, sizeof command, "rm -r %s", place->dir);
    return system(command);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing_is_left)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
