/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: MQTT 3.1.1 as bytes, as much of it as a load generator needs.
 * Thread: any; pure functions.
 * Frees: nothing. The caller's buffers have room: WIRE_MAX, or 2 + topic + payload + 7.
 */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_MAX 1024

enum wire_kind {
    WIRE_CONNACK = 2,
    WIRE_PUBLISH = 3,
    WIRE_PUBACK = 4,
    WIRE_SUBACK = 9,
};

struct wire_packet {
    unsigned kind;
    const uint8_t *body; /* behind the remaining length */
    size_t len;
    size_t total;
};

size_t wire_connect(uint8_t *out, const char *client_id, const char *username);
size_t wire_subscribe(uint8_t *out, uint16_t mid, const char *topic);
/* QoS 1. */
size_t wire_publish(uint8_t *out, uint16_t mid, const char *topic, const char *payload, size_t len);

/* The packet at the start of bytes; false where it isn't all there. */
bool wire_next(const uint8_t *bytes, size_t len, struct wire_packet *packet);

#endif
