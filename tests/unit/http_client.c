/* SPDX-License-Identifier: BSD-3-Clause */
#include "http_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 30000

/* A hung or broken test ends here: cmocka's own way out is for its thread alone. */
static void give_up(const char *what)
{
    (void)fprintf(stderr, "http_client: %s: %s\n", what, strerror(errno));
    abort();
}

static struct sockaddr_in place(const char *address, int port)
{
    struct sockaddr_in found = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    if (inet_pton(AF_INET, address, &found.sin_addr) != 1) {
        give_up(address);
    }
    return found;
}

int client_connect_from(const char *address, int port, int window)
{
    const struct sockaddr_in from = place(address, 0);
    const struct sockaddr_in to = place("127.0.0.1", port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (window > 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
    }
    if (fd < 0 || bind(fd, (const struct sockaddr *)&from, sizeof from) != 0 ||
        connect(fd, (const struct sockaddr *)&to, sizeof to) != 0) {
        give_up("connect");
    }
    return fd;
}

int client_connect(int port, int window)
{
    return client_connect_from("127.0.0.1", port, window);
}

void client_say_bytes(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;

    while (len > 0) {
        ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);
        if (sent < 0) {
            return; /* the server may have closed already: what was heard tells */
        }
        at += sent;
        len -= (size_t)sent;
    }
}

void client_say(int fd, const char *text)
{
    client_say_bytes(fd, text, strlen(text));
}

/* As recv; -1 is a reset. */
static ssize_t take(int fd, void *buffer, size_t size)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    if (poll(&ready, 1, PATIENCE_MS) != 1) {
        give_up("nothing came for half a minute");
    }
    return recv(fd, buffer, size, 0);
}

/* Reads up to the empty line, no byte further. */
static bool take_head(int fd, struct client_reply *reply)
{
    while (reply->head_len < sizeof reply->head - 1) {
        ssize_t got = take(fd, reply->head + reply->head_len, 1);
        if (got <= 0) {
            reply->status = got < 0 ? -1 : 0;
            return false;
        }
        reply->head_len += (size_t)got;
        if (reply->head_len >= 4 && memcmp(reply->head + reply->head_len - 4, "\r\n\r\n", 4) == 0) {
            return true;
        }
    }
    give_up("a head without an end");
    return false;
}

void client_acknowledge(int fd)
{
    const int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}

static void take_body(int fd, bool head, struct client_reply *reply)
{
    char length[32];

    reply->status = atoi(reply->head + strcspn(reply->head, " "));
    if (head || !client_header(reply, "Content-Length", length, sizeof length)) {
        return;
    }
    size_t size = strtoul(length, NULL, 10);
    reply->body = malloc(size + 1);
    while (reply->body_len < size) {
        ssize_t got = take(fd, reply->body + reply->body_len, size - reply->body_len);
        if (got <= 0) {
            return;
        }
        reply->body_len += (size_t)got;
    }
    reply->whole = true;
}

void client_hear(int fd, bool head, struct client_reply *reply)
{
    memset(reply, 0, sizeof *reply);
    if (take_head(fd, reply)) {
        take_body(fd, head, reply);
    }
    client_acknowledge(fd);
}

void client_reply_free(struct client_reply *reply)
{
    free(reply->body);
    reply->body = NULL;
}

size_t client_drain(int fd)
{
    char buffer[65536];
    size_t total = 0;
    ssize_t got;

    while ((got = take(fd, buffer, sizeof buffer)) > 0) {
        total += (size_t)got;
    }
    return total;
}

bool client_is_closed(int fd, int ms)
{
    char byte;
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    return poll(&ready, 1, ms) == 1 && recv(fd, &byte, 1, MSG_DONTWAIT) <= 0;
}

bool client_is_reset(int fd)
{
    struct pollfd broken = {.fd = fd};
    return poll(&broken, 1, PATIENCE_MS) == 1 && (broken.revents & POLLERR) != 0;
}

bool client_header(const struct client_reply *reply, const char *name, char *value, size_t size)
{
    char start[64];
    int found = 0;

    int len = snprintf(start, sizeof start, "\r\n%s: ", name);
    for (const char *at = reply->head; (at = strstr(at, start)) != NULL;) {
        at += len;
        (void)snprintf(value, size, "%.*s", (int)strcspn(at, "\r"), at);
        found++;
    }
    return found == 1;
}

int client_header_count(const struct client_reply *reply)
{
    int lines = 0;
    for (const char *at = reply->head; (at = strstr(at, "\r\n")) != NULL; at += 2) {
        lines++;
    }
    return lines - 2; /* the status line and the empty one */
}
