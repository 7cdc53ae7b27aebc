/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what can be reached over the network: the download server, and the broker from outside.
 * Thread: main.
 * Frees: nothing.
 */
#ifndef OTA_CLI_REACH_H
#define OTA_CLI_REACH_H

#include <stdbool.h>
#include <stddef.h>

/* The HTTP status of a HEAD request, or 0 with the reason why there was none. */
long ota_reach_status(const char *url, const char *cafile, char *why, size_t size);

/* Whether that port of this machine takes connections from others: on an address that isn't the
 * loopback's. */
bool ota_reach_port_is_public(int port);

#endif
