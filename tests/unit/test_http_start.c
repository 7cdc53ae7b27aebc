/* SPDX-License-Identifier: BSD-3-Clause */
/* The download server starts and stops: what it leaves behind, and what it can't start with. */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fake_broker.h"
#include "http_steps.h"

static void test_restart_leaks_nothing(void **state)
{
    (void)state;
    char path[OTA_PATH_MAX];
    new_path(&world.big, path);

    fixture_stop(&world);
    int descriptors = fixture_descriptors();
    int threads = fixture_threads();
    for (int round = 0; round < 6; round++) {
        int fds[6];
        struct client_reply reply;
        fixture_start(&world, 0);
        assert_true(fixture_threads() > threads);
        fixture_slow_loads(round % 2 == 0 ? 300 : 0); /* some wait while it stops */
        for (int i = 0; i < 6; i++) {
            fds[i] = client_connect(world.port, 4096);
            request(fds[i], "GET", path, "");
        }
        if (round % 3 == 2) {
            client_hear(fds[0], false, &reply);
            client_reply_free(&reply);
        }
        sleep_ms(round * 10);
        fixture_stop(&world);
        for (int i = 0; i < 6; i++) {
            (void)client_drain(fds[i]);
            (void)close(fds[i]);
        }
        assert_int_equal(fixture_descriptors(), descriptors);
        assert_int_equal(fixture_threads(), threads);
    }
    ota_http_stop(NULL);
}

static bool blocks_signals(const char *tid)
{
    const unsigned long all = 1ul << (SIGTERM - 1) | 1ul << (SIGHUP - 1) | 1ul << (SIGINT - 1) |
                              1ul << (SIGUSR1 - 1) | 1ul << (SIGUSR2 - 1) | 1ul << (SIGPIPE - 1);
    char path[300];
    char line[256];
    unsigned long bits = 0;

    (void)snprintf(path, sizeof path, "/proc/self/task/%s/status", tid);
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        (void)sscanf(line, "SigBlk: %lx", &bits);
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return (bits & all) == all;
}

static int threads_that_block_signals(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/task");
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        count += blocks_signals(entry->d_name);
    }
    (void)closedir(dir);
    return count;
}

/* SIGTERM, SIGHUP and the others must reach the broker's thread, whose mask stays as it was. */
static void test_threads_take_no_signals(void **state)
{
    (void)state;
    sigset_t mask;

    int with = threads_that_block_signals();
    fixture_stop(&world);
    /* Two of the library's, the one that loads and the one that watches. */
    assert_int_equal(with - threads_that_block_signals(), 4);
    (void)pthread_sigmask(SIG_BLOCK, NULL, &mask);
    assert_false(sigismember(&mask, SIGTERM));
}

static enum ota_err try_start(const char *address, const char *certfile, const char *keyfile,
                              struct ota_error *error)
{
    struct ota_http_config config = {
        .listen = address, .certfile = certfile, .keyfile = keyfile, .db_path = world.db_path};
    struct ota_http *http = NULL;
    memset(error, 0, sizeof *error);
    enum ota_err err = ota_http_start(&config, &http, error);
    if (err == OTA_OK) {
        ota_http_stop(http);
    } else {
        assert_null(http);
        assert_int_equal(error->code, err);
    }
    return err;
}

static void test_bad_addresses(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "8080",
                                      ":8080",
                                      "127.0.0.1",
                                      "127.0.0.1:",
                                      "127.0.0.1:http",
                                      "127.0.0.1:65536",
                                      "127.0.0.1:-1",
                                      "127.0.0.1:80x",
                                      "127.0.0.1:999999999999",
                                      "localhost:8080",
                                      "1.2.3:x:8080",
                                      "::1:8080",
                                      "[::1]8080",
                                      "[::1",
                                      "[]:8080",
                                      "[127.0.0.1:8080",
                                      "256.0.0.1:8080"};
    char taken[32];
    struct ota_error error;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(try_start(bad[i], NULL, NULL, &error), OTA_INVALID_REQUEST);
        assert_string_equal(error.field, "download_listen");
        assert_non_null(strstr(error.text, "0.0.0.0:8080"));
    }
    (void)snprintf(taken, sizeof taken, "127.0.0.1:%d", world.port);
    assert_int_equal(try_start(taken, NULL, NULL, &error), OTA_UNAVAILABLE);
    assert_string_equal(error.field, "download_listen");
    assert_non_null(strstr(error.text, "another program"));
    assert_non_null(strstr(error.text, taken));
    assert_int_equal(try_start("192.0.2.1:0", NULL, NULL, &error), OTA_INVALID_REQUEST);
    assert_string_equal(error.field, "download_listen");
    assert_int_equal(try_start("0.0.0.0:0", NULL, NULL, &error), OTA_OK);
    if (access("/proc/sys/net/ipv6", F_OK) == 0) {
        assert_int_equal(try_start("[::1]:0", NULL, NULL, &error), OTA_OK);
        assert_int_equal(try_start("[::]:0", NULL, NULL, &error), OTA_OK);
    }
}

static void test_unreadable_database(void **state)
{
    (void)state;
    const struct ota_http_config config = {.listen = "127.0.0.1:0", .db_path = "/nonexistent/db"};
    struct ota_http *http = NULL;
    struct ota_error error = {0};
    assert_int_not_equal(ota_http_start(&config, &http, &error), OTA_OK);
    assert_null(http);
    assert_true(error.text[0] != '\0');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HTTP_TEST(test_restart_leaks_nothing),
        HTTP_TEST(test_threads_take_no_signals),
        HTTP_TEST(test_bad_addresses),
        HTTP_TEST(test_unreadable_database),
    };
    return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
