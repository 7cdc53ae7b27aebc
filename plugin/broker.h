/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the seam to Mosquitto and to the machine's clocks. broker_mosquitto.c and clocks.c are the
 *       real one; unit tests link tests/unit/fake_broker.c in its place.
 * Thread: the broker's thread, but for ota_log and the clocks, which any thread may call.
 * Frees: what is passed in stays the caller's; strings that come back belong to the broker and
 *        are good until the callback returns.
 */
#ifndef OTA_BROKER_H
#define OTA_BROKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mosquitto;

enum ota_log_level { OTA_LOG_DEBUG, OTA_LOG_INFO, OTA_LOG_NOTICE, OTA_LOG_WARNING, OTA_LOG_ERROR };

/* From another thread than the broker's the line waits for the next ota_log_flush. */
void ota_log(enum ota_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void ota_log_flush(void);

/*
 * Queues a message; it goes out at the start of the broker's next loop. With a client id it goes
 * to that client alone, unchecked and unsubscribed; an id that isn't known is a silent no-op.
 * Returns false where memory is out.
 */
bool ota_broker_publish(const char *client_id, const char *topic, const void *payload, size_t len,
                        int qos);

/* NULL where the client gave none, and for a client that is NULL: one that is gone. */
const char *ota_broker_client_id(const struct mosquitto *client);
const char *ota_broker_username(const struct mosquitto *client);

/* Where it comes from, as text; NULL where the broker doesn't tell. */
const char *ota_broker_address(const struct mosquitto *client);

/* Gives a client that logs in another user name. False: memory is out. */
bool ota_broker_set_username(struct mosquitto *client, const char *username);

/* Disconnects the client, before it returns; not to be called in a callback of the client's. */
void ota_broker_kick(const struct mosquitto *client);

/* Whether the client is a bridge that this broker opened. */
bool ota_broker_is_bridge(const struct mosquitto *client);

/* Milliseconds that never step back, and milliseconds since 1970. */
int64_t ota_now_mono(void);
/* The same clock, up to 10 ms behind, for a few instructions. */
int64_t ota_now_coarse(void);
int64_t ota_now_unix(void);
/* Microseconds that never step back, to measure with. */
int64_t ota_now_us(void);

#endif
