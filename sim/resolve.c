/* SPDX-License-Identifier: BSD-3-Clause */
#include "resolve.h"

#include <netdb.h>
#include <sys/socket.h>

enum ota_err ota_resolve(const char *host, struct ota_addresses *addresses, struct ota_error *error)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(host, NULL, &hints, &list);
    if (rc != 0) {
        return ota_error_set(error, OTA_UNAVAILABLE, "host", "%s: %s", host, gai_strerror(rc));
    }
    struct ota_addresses found = {0};
    for (const struct addrinfo *at = list; at != NULL && found.count < OTA_ADDRESSES_MAX;
         at = at->ai_next) {
        found.count += getnameinfo(at->ai_addr, at->ai_addrlen, found.text[found.count],
                                   sizeof found.text[0], NULL, 0, NI_NUMERICHOST) == 0;
    }
    freeaddrinfo(list);
    if (found.count == 0) {
        return ota_error_set(error, OTA_UNAVAILABLE, "host", "%s has no usable address", host);
    }
    *addresses = found;
    return OTA_OK;
}
