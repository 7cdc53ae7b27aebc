/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what the kernel knows about a TCP connection, and how one is dropped from outside.
 * Thread: any, while the descriptor is open.
 * Frees: nothing.
 */
#ifndef OTA_LINK_H
#define OTA_LINK_H

#include <stdbool.h>
#include <stdint.h>

/* Whether the kernel still has bytes that the peer hasn't acknowledged. */
bool ota_link_has_unsent(int fd);

/* Bytes since it was opened: that the peer has acknowledged, and that have come from it. False:
 * the kernel doesn't tell. */
bool ota_link_traffic(int fd, uint64_t *acknowledged, uint64_t *received);

/* Wakes the connection's thread, which closes it. With a reset, what was still to be sent is
 * thrown away: a small image may be all in there. */
void ota_link_drop(int fd, bool reset);

/* Bounds what the connections of a listening socket may hold unsent. */
void ota_link_bound_unsent(int listening, int bytes);

#endif
