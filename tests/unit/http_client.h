/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: an HTTP client for tests that sends what it is told, right or wrong, and shows every byte
 *       that comes back. Whatever takes longer than half a minute ends the test.
 * Thread: any; a connection belongs to one thread.
 * Frees: client_reply_free.
 */
#ifndef OTA_TEST_HTTP_CLIENT_H
#define OTA_TEST_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#define CLIENT_HEAD_MAX 4096

struct client_reply {
    int status; /* 0: the connection was closed without a byte; -1: it was reset */
    char head[CLIENT_HEAD_MAX];
    size_t head_len; /* with the empty line */
    unsigned char *body;
    size_t body_len;
    bool whole; /* as long as Content-Length says */
};

/* Connects to 127.0.0.1. A receive buffer of `window` bytes (0: the kernel's choice). */
int client_connect(int port, int window);
/* The same from another loopback address: "127.0.0.2". */
int client_connect_from(const char *address, int port, int window);

void client_say(int fd, const char *text);
void client_say_bytes(int fd, const void *bytes, size_t len);

/* Tells the peer's kernel now, and not 40 ms later, what was read. */
void client_acknowledge(int fd);

/* Reads one response, and acknowledges it; after HEAD there is no body. */
void client_hear(int fd, bool head, struct client_reply *reply);
void client_reply_free(struct client_reply *reply);

/* Reads and counts until the peer closes or resets, or a byte doesn't come for half a minute. */
size_t client_drain(int fd);

/* Whether the peer has closed or reset, within `ms`, without sending anything more. */
bool client_is_closed(int fd, int ms);

/* Whether the peer has reset within half a minute, whatever it had sent before. */
bool client_is_reset(int fd);

/* The value of the header, spelt exactly so, in buffer; false where it isn't there just once. */
bool client_header(const struct client_reply *reply, const char *name, char *value, size_t size);

/* How many header lines there are. */
int client_header_count(const struct client_reply *reply);

#endif
