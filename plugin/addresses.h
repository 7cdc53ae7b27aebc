/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: how many guests each address has, and which addresses have a large share of all places.
 * Thread: any; the caller (guests.c) holds its lock.
 * Frees: an address goes with its last guest.
 */
#ifndef OTA_ADDRESSES_H
#define OTA_ADDRESSES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>

#define OTA_ADDRESS_BUCKETS 512

struct ota_guest;

TAILQ_HEAD(ota_guest_list, ota_guest);

struct ota_address {
    LIST_ENTRY(ota_address) by_number;
    LIST_ENTRY(ota_address) by_weight;
    struct ota_guest_list weak; /* its guests that others may replace, as guests_inside.h */
    struct ota_guest *last_doubted;
    uint64_t number;
    int guests;
    bool heavy; /* half of all places, or more */
};

struct ota_addresses {
    LIST_HEAD(, ota_address) by_number[OTA_ADDRESS_BUCKETS];
    LIST_HEAD(, ota_address) heavy; /* two at most */
    int places;
};

void ota_addresses_init(struct ota_addresses *addresses, int places);

/* What counts as one address: of IPv4 all of it, also where it comes as ::ffff:a.b.c.d; of IPv6
 * the first 64 bits, since each subscriber has so many. */
uint64_t ota_address_number(const struct sockaddr *from);

/* NULL: no guest from there. */
struct ota_address *ota_addresses_find(struct ota_addresses *addresses, uint64_t number);

/* One guest more; NULL where memory is out. */
struct ota_address *ota_addresses_join(struct ota_addresses *addresses, uint64_t number);
/* One guest less; NULL is fine. */
void ota_addresses_part(struct ota_addresses *addresses, struct ota_address *address);

#endif
