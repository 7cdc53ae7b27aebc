/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the steps that tests of the download server are made of: requests, what is expected of the
 *       answers, and the one world that they happen in.
 * Thread: the test's.
 * Frees: expect_refused and expect_body free the reply.
 */
#ifndef OTA_TEST_HTTP_STEPS_H
#define OTA_TEST_HTTP_STEPS_H

#include "http_client.h"
#include "http_fixture.h"

#define WINDOW 4096 /* of clients that don't take all at once */

#define HOST "Host: fw.example.com\r\n"

extern struct fixture world;

/* For cmocka: the world's store; a server for each test. */
int set_up_group(void **state);
int tear_down_group(void **state);
int set_up(void **state);
int tear_down(void **state);
#define HTTP_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

void sleep_ms(int ms);

/* Moves the clock and waits until the server has looked at its connections. */
void advance(int ms);

/* Sends "METHOD target HTTP/1.1", Host, and these further header lines. */
void request(int fd, const char *method, const char *target, const char *headers);
struct client_reply exchange(int fd, const char *method, const char *target, const char *headers);

void expect_header(const struct client_reply *reply, const char *name, const char *value);
void expect_number(const struct client_reply *reply, const char *name, int64_t value);

/* What every answer about a firmware says, and nothing besides. */
void expect_described(const struct client_reply *reply, const char *sha256, int64_t length,
                      const char *content_range);

/* An empty answer on a connection that stays: what a device understands. */
void expect_refused(struct client_reply *reply, int status);

/* The path of the claim is refused, however it is asked for. */
void expect_forbidden(int fd, const struct ota_claim *claim);

void expect_body(struct client_reply *reply, const struct fixture_firmware *firmware, int64_t first,
                 int64_t length);

void get_whole(int fd, const char *path, const struct fixture_firmware *firmware);

/* The answer is on its way; nothing of it is read. */
void expect_begun(int fd);

/* A running task's path. */
struct ota_claim new_path(const struct fixture_firmware *firmware, char *path);

/* Requests that are being answered. */
int active(void);
void wait_until_active(int count);

/* Another server, with so many places; 0: as many as usual. */
void restart(int places);

void close_all(const int *fds, size_t count);
/* Nobody has closed it, and nothing has come. */
bool is_open(int fd);
/* From "127.0.0.N". */
int connect_from(int number, int window);
/* Just so many bytes. */
void take(int fd, size_t bytes);
/* The big firmware, of which the client takes what its window holds. */
int begin_download(int number, const char *path);

/* Connections. */
int present(void);
void wait_until_present(int count);

#endif
