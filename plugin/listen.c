/* SPDX-License-Identifier: BSD-3-Clause */
#include "listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOST_MAX 64

/* Splits "host:port", with an IPv6 host in brackets. */
static bool split(const char *address, char *host, char *port)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL) {
        return false;
    }
    size_t len = (size_t)(colon - address);
    size_t digits = strspn(colon + 1, "0123456789");
    bool bracketed = len >= 2 && address[0] == '[' && colon[-1] == ']';
    if (bracketed) {
        address++;
        len -= 2;
    } else if (memchr(address, ':', len) != NULL) {
        return false;
    }
    if (len == 0 || len >= HOST_MAX || digits == 0 || digits > 5 || colon[1 + digits] != '\0' ||
        strtol(colon + 1, NULL, 10) > 65535) {
        return false;
    }
    memcpy(host, address, len);
    host[len] = '\0';
    memcpy(port, colon + 1, digits + 1);
    return true;
}

static enum ota_err resolve(const char *address, const char *option, struct addrinfo **info,
                            struct ota_error *error)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV};
    char host[HOST_MAX];
    char port[6];

    if (!split(address, host, port) || getaddrinfo(host, port, &hints, info) != 0) {
        return ota_error_set(error, OTA_INVALID_REQUEST, option,
                             "%s: '%s' is not an address to listen on; write IP:PORT, for example "
                             "0.0.0.0:8080 or [::]:8080",
                             option, address);
    }
    return OTA_OK;
}

/* What the administrator can do about errno. */
static enum ota_err refused(const char *address, const char *option, struct ota_error *error)
{
    const char *advice = "check the address";
    enum ota_err code = OTA_UNAVAILABLE;

    switch (errno) {
    case EADDRINUSE:
        advice = "another program listens there; stop it or choose another port";
        break;
    case EACCES:
    case EPERM:
        advice = "the broker may not use ports below 1024; give it the capability "
                 "CAP_NET_BIND_SERVICE or choose a higher port";
        break;
    case EADDRNOTAVAIL:
        code = OTA_INVALID_REQUEST;
        advice = "this machine doesn't have that address; 0.0.0.0 stands for all that it has";
        break;
    }
    return ota_error_set(error, code, option, "%s: can't listen on %s (%s): %s", option, address,
                         strerror(errno), advice);
}

static bool bind_and_listen(int fd, const struct addrinfo *info)
{
    const int on = 1;
    const int off = 0;

    if (info->ai_family == AF_INET6 &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0) {
        return false;
    }
    return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
           bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0;
}

static bool bound_port(int fd, int *port)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    socklen_t len = sizeof address;

    memset(&address, 0, sizeof address);
    if (getsockname(fd, &address.any, &len) != 0) {
        return false;
    }
    *port = ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
    return true;
}

enum ota_err ota_listen(const char *address, const char *option, int *fd, int *port,
                        struct ota_error *error)
{
    struct addrinfo *info = NULL;
    enum ota_err err = resolve(address, option, &info, error);
    if (err != OTA_OK) {
        return err;
    }
    int opened = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (opened < 0 || !bind_and_listen(opened, info) || !bound_port(opened, port)) {
        err = refused(address, option, error);
        goto out;
    }
    *fd = opened;
    opened = -1;
out:
    if (opened >= 0) {
        close(opened);
    }
    freeaddrinfo(info);
    return err;
}
