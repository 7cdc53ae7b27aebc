/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: a host's numeric addresses.
 * Thread: any; blocks while the system's resolver works, so each host is asked about once.
 * Frees: nothing; addresses are a plain value.
 */
#ifndef OTA_SIM_RESOLVE_H
#define OTA_SIM_RESOLVE_H

#include <netinet/in.h>
#include <stddef.h>

#include "../plugin/util/error.h"

#define OTA_ADDRESSES_MAX 8

struct ota_addresses {
    size_t count;
    char text[OTA_ADDRESSES_MAX][INET6_ADDRSTRLEN];
};

enum ota_err ota_resolve(const char *host, struct ota_addresses *addresses,
                         struct ota_error *error) OTA_CHECKED;

#endif
