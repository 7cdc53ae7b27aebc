/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: a host's numeric addresses, and what "HOST:PORT" says.
 * Thread: any; blocks while the system's resolver works, so each host is asked about once.
 * Frees: nothing; both are plain values.
 */
#ifndef OTA_SIM_RESOLVE_H
#define OTA_SIM_RESOLVE_H

#include <netinet/in.h>
#include <stddef.h>

#include "../plugin/util/error.h"

#define OTA_ADDRESSES_MAX 8
#define OTA_HOST_MAX      253

struct ota_addresses {
    size_t count;
    char text[OTA_ADDRESSES_MAX][INET6_ADDRSTRLEN];
};

struct ota_place {
    char host[OTA_HOST_MAX + 1]; /* without the brackets of an IPv6 address */
    int port;
};

enum ota_err ota_resolve(const char *host, struct ota_addresses *addresses,
                         struct ota_error *error) OTA_CHECKED;

/* "127.0.0.1:8080", "fw.example.com:80", "[::1]:80" */
enum ota_err ota_place_parse(const char *text, struct ota_place *place,
                             struct ota_error *error) OTA_CHECKED;

#endif
