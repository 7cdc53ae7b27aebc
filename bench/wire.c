/* SPDX-License-Identifier: BSD-3-Clause */
#include "wire.h"

#include <string.h>

static uint8_t *put_16(uint8_t *out, size_t value)
{
    *out++ = (uint8_t)(value >> 8);
    *out++ = (uint8_t)value;
    return out;
}

static uint8_t *put_text(uint8_t *out, const char *text)
{
    size_t len = strlen(text);
    out = put_16(out, len);
    memcpy(out, text, len);
    return out + len;
}

static uint8_t *put_head(uint8_t *out, unsigned first, size_t remaining)
{
    *out++ = (uint8_t)first;
    while (remaining >= 128) {
        *out++ = (uint8_t)(remaining | 128);
        remaining >>= 7;
    }
    *out++ = (uint8_t)remaining;
    return out;
}

size_t wire_connect(uint8_t *out, const char *client_id, const char *username)
{
    uint8_t *at = put_head(out, 0x10, 10 + 2 + strlen(client_id) + 2 + strlen(username));
    at = put_text(at, "MQTT");
    *at++ = 4;
    *at++ = 0x82; /* a user name, a clean session */
    at = put_16(at, 600);
    at = put_text(at, client_id);
    at = put_text(at, username);
    return (size_t)(at - out);
}

size_t wire_subscribe(uint8_t *out, uint16_t mid, const char *topic)
{
    uint8_t *at = put_head(out, 0x82, 2 + 2 + strlen(topic) + 1);
    at = put_16(at, mid);
    at = put_text(at, topic);
    *at++ = 0;
    return (size_t)(at - out);
}

size_t wire_publish(uint8_t *out, uint16_t mid, const char *topic, const char *payload, size_t len)
{
    uint8_t *at = put_head(out, 0x32, 2 + strlen(topic) + 2 + len);
    at = put_text(at, topic);
    at = put_16(at, mid);
    memcpy(at, payload, len);
    return (size_t)(at + len - out);
}

bool wire_next(const uint8_t *bytes, size_t len, struct wire_packet *packet)
{
    size_t remaining = 0;
    size_t at = 1;
    unsigned shift = 0;
    do {
        if (at >= len || shift > 21) {
            return false;
        }
        remaining |= (size_t)(bytes[at] & 127) << shift;
        shift += 7;
    } while (bytes[at++] & 128);
    if (len - at < remaining) {
        return false;
    }
    *packet = (struct wire_packet){bytes[0] >> 4, bytes + at, remaining, at + remaining};
    return true;
}
