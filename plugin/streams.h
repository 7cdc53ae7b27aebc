/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the last events, in a ring of fixed size, and those who read them live (server-sent
 *       events). Who is slower than the ring turns is dropped; nothing is buffered for anybody.
 * Thread: events are told on the broker's thread, for a few hundred nanoseconds each and less where
 *         nobody reads; streams run on the server's; one thread of its own wakes them.
 * Frees: ota_streams_free.
 */
#ifndef OTA_STREAMS_H
#define OTA_STREAMS_H

#include "reply.h"
#include "util/error.h"
#include "util/names.h"

/* Streams in all; of one user, of whom the oldest then ends. */
#define OTA_STREAMS_MOST   64
#define OTA_STREAMS_A_USER 8

#define OTA_STREAM_ALIVE_MS 15000

struct ota_streams;

/* Asked about every OTA_STREAM_ALIVE_MS: whether who reads still may. */
typedef bool (*ota_stream_check)(void *data, const void *reader);

struct ota_streams_config {
    size_t events;   /* of the ring */
    int64_t look_ms; /* how often streams are looked at that wait */
    int64_t alive_ms;
    ota_stream_check may_read;
    void *data;
};

OTA_CHECKED enum ota_err ota_streams_start(const struct ota_streams_config *config,
                                           struct ota_streams **streams, struct ota_error *error);
/* Ends all streams, and from now on each new one at once. NULL is fine, here and below. */
void ota_streams_stop(struct ota_streams *streams);
/* After the server stopped. */
void ota_streams_free(struct ota_streams *streams);

/* On the broker's thread. device may be NULL; json is an object's text. */
void ota_streams_tell(struct ota_streams *streams, const char *type, const char *product,
                      const char *device, const char *json, size_t len);

/* Somebody may have lost the right to read: asks about all, soon. */
void ota_streams_recheck(struct ota_streams *streams);

#define OTA_READER_MAX 512

/*
 * Answers the request with the events from now on. `reader` (len bytes, copied) is what may_read is
 * asked about; product may be NULL: all. False: close.
 */
bool ota_streams_open(struct ota_streams *streams, struct ota_visitor *visitor, const char *user,
                      const char *product, const void *reader, size_t len);
/* Whether there is room for one more. */
bool ota_streams_has_room(struct ota_streams *streams);

struct ota_stream_counts {
    int open;
    uint64_t dropped; /* for being slow */
};

void ota_streams_count(struct ota_streams *streams, struct ota_stream_counts *counts);

#endif
