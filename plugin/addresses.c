/* SPDX-License-Identifier: BSD-3-Clause */
#include "addresses.h"

#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* ff00::/8 is multicast: no guest comes from there, so IPv4 can have its numbers. */
#define IPV4_NUMBERS 0xffffffff00000000u

void ota_addresses_init(struct ota_addresses *addresses, int places)
{
    for (size_t i = 0; i < OTA_ADDRESS_BUCKETS; i++) {
        LIST_INIT(&addresses->by_number[i]);
    }
    LIST_INIT(&addresses->heavy);
    addresses->places = places;
}

static uint64_t number_of_bytes(const unsigned char *bytes, size_t len)
{
    uint64_t number = 0;
    for (size_t i = 0; i < len; i++) {
        number = number << 8 | bytes[i];
    }
    return number;
}

uint64_t ota_address_number(const struct sockaddr *from)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    switch (from->sa_family) {
    case AF_INET:
        memcpy(&v4, from, sizeof v4);
        return IPV4_NUMBERS | ntohl(v4.sin_addr.s_addr);
    case AF_INET6:
        memcpy(&v6, from, sizeof v6);
        if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
            return IPV4_NUMBERS | number_of_bytes(v6.sin6_addr.s6_addr + 12, 4);
        }
        return number_of_bytes(v6.sin6_addr.s6_addr, 8);
    default:
        return 0;
    }
}

static size_t bucket_of(uint64_t number)
{
    return (size_t)((number * 0x9e3779b97f4a7c15u) >> 32) % OTA_ADDRESS_BUCKETS;
}

struct ota_address *ota_addresses_find(struct ota_addresses *addresses, uint64_t number)
{
    struct ota_address *address;

    LIST_FOREACH(address, &addresses->by_number[bucket_of(number)], by_number)
    {
        if (address->number == number) {
            return address;
        }
    }
    return NULL;
}

static void weigh(struct ota_addresses *addresses, struct ota_address *address)
{
    bool heavy = address->guests > 0 && address->guests * 2 >= addresses->places;

    if (heavy == address->heavy) {
        return;
    }
    address->heavy = heavy;
    if (heavy) {
        LIST_INSERT_HEAD(&addresses->heavy, address, by_weight);
    } else {
        LIST_REMOVE(address, by_weight);
    }
}

struct ota_address *ota_addresses_join(struct ota_addresses *addresses, uint64_t number)
{
    struct ota_address *address = ota_addresses_find(addresses, number);

    if (address == NULL) {
        address = calloc(1, sizeof *address);
        if (address == NULL) {
            return NULL;
        }
        TAILQ_INIT(&address->weak);
        address->number = number;
        LIST_INSERT_HEAD(&addresses->by_number[bucket_of(number)], address, by_number);
    }
    address->guests++;
    weigh(addresses, address);
    return address;
}

void ota_addresses_part(struct ota_addresses *addresses, struct ota_address *address)
{
    if (address == NULL) {
        return;
    }
    address->guests--;
    weigh(addresses, address);
    if (address->guests == 0) {
        LIST_REMOVE(address, by_number);
        free(address);
    }
}
