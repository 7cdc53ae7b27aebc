/* SPDX-License-Identifier: BSD-3-Clause */
#include "resolve.h"

#include <netdb.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
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

/* The port's number, or 0 where it is none. */
static int parse_port(const char *text)
{
    char *end;
    unsigned long port = strtoul(text, &end, 10);
    bool good = *text >= '0' && *text <= '9' && *end == '\0' && port <= 65535;
    return good ? (int)port : 0;
}

enum ota_err ota_place_parse(const char *text, struct ota_place *place, struct ota_error *error)
{
    const char *colon = strrchr(text, ':');
    size_t len = colon == NULL ? 0 : (size_t)(colon - text);
    struct ota_place made = {.port = colon == NULL ? 0 : parse_port(colon + 1)};
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    }
    if (len == 0 || len > OTA_HOST_MAX || made.port == 0) {
        return ota_error_set(error, OTA_INVALID_REQUEST, NULL, "HOST:PORT is wanted");
    }
    memcpy(made.host, text, len);
    *place = made;
    return OTA_OK;
}
