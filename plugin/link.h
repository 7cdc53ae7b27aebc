/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what the kernel knows about a TCP connection, and how one is dropped from outside.
 * Thread: any, while the descriptor is open.
 * Frees: nothing.
 */
#ifndef OTA_LINK_H
#define OTA_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether the kernel still has bytes that the peer hasn't acknowledged. */
bool ota_link_has_unsent(int fd);

/* Whether bytes from the peer wait in the kernel to be read. */
bool ota_link_has_unread(int fd);

/* Since it was opened. */
struct ota_link_traffic {
    uint64_t acknowledged; /* bytes, by the peer */
    uint64_t received;     /* bytes, from it */
    bool ended;            /* nothing more comes from it: it has closed, or its sending half */
};

/* False: the kernel doesn't tell. */
bool ota_link_look(int fd, struct ota_link_traffic *traffic);

/* Wakes the connection's thread, which closes it. With a reset, what was still to be sent is
 * thrown away: a small image may be all in there. */
void ota_link_drop(int fd, bool reset);

/* Who is at the other end, as it is written: "192.0.2.7", or "?". */
void ota_link_peer(int fd, char *text, size_t size);

/* Bounds what the connections of a listening socket may hold unsent. */
void ota_link_bound_unsent(int listening, int bytes);
/* The same for what comes in and isn't read. */
void ota_link_bound_unread(int listening, int bytes);

#endif
