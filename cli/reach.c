/* SPDX-License-Identifier: BSD-3-Clause */
#include "reach.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TIMEOUT_S  5L
#define CONNECT_MS 500

long ota_reach_status(const char *url, const char *cafile, char *why, size_t size)
{
    long status = 0;
    char error[CURL_ERROR_SIZE] = "";
    CURL *curl = curl_easy_init();
    if (curl == NULL) {
        (void)snprintf(why, size, "out of memory");
        return 0;
    }
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, TIMEOUT_S);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* devices have none */
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
    if (cafile != NULL) {
        (void)curl_easy_setopt(curl, CURLOPT_CAINFO, cafile);
    }
    CURLcode rc = curl_easy_perform(curl);
    if (rc == CURLE_OK) {
        (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    } else {
        (void)snprintf(why, size, "%s", error[0] != '\0' ? error : curl_easy_strerror(rc));
    }
    curl_easy_cleanup(curl);
    return status;
}

static bool takes_connection(struct sockaddr *address, socklen_t len)
{
    int error = 1;
    socklen_t size = sizeof error;
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    (void)connect(fd, address, len);
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    if (poll(&wait, 1, CONNECT_MS) == 1) {
        (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    }
    (void)close(fd);
    return error == 0;
}

/* A link-local address of IPv6 wants a scope and is nobody's in a URL. */
static bool is_public(const struct ifaddrs *one, int port)
{
    bool usable = one->ifa_addr != NULL && (one->ifa_flags & IFF_UP) != 0 &&
                  (one->ifa_flags & IFF_LOOPBACK) == 0;
    if (usable && one->ifa_addr->sa_family == AF_INET) {
        struct sockaddr_in address = *(struct sockaddr_in *)(void *)one->ifa_addr;
        address.sin_port = htons((uint16_t)port);
        return takes_connection((struct sockaddr *)&address, sizeof address);
    }
    if (usable && one->ifa_addr->sa_family == AF_INET6) {
        struct sockaddr_in6 address = *(struct sockaddr_in6 *)(void *)one->ifa_addr;
        address.sin6_port = htons((uint16_t)port);
        return !IN6_IS_ADDR_LINKLOCAL(&address.sin6_addr) &&
               takes_connection((struct sockaddr *)&address, sizeof address);
    }
    return false;
}

bool ota_reach_port_is_public(int port)
{
    struct ifaddrs *all = NULL;
    bool found = false;
    if (getifaddrs(&all) != 0) {
        return false;
    }
    for (const struct ifaddrs *one = all; one != NULL && !found; one = one->ifa_next) {
        found = is_public(one, port);
    }
    freeifaddrs(all);
    return found;
}
