/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: in-band downloads (device-protocol.md "Download", 2): which device has asked for which
 *       blocks, and how fast they go out: so many bytes a second to each and to all, device by
 *       device in turn, as many bytes to each, a little a tick. One request of a device waits at a
 *       time.
 * Thread: the broker's. Images are loaded by the download server's thread and shared with it.
 * Frees: ota_inband_free.
 */
#ifndef OTA_INBAND_H
#define OTA_INBAND_H

#include "core.h"
#include "image_cache.h"
#include "worker.h"

/* Bytes of a block, and blocks of a request, that a device may ask for. */
#define OTA_BLOCK_LENGTH_MAX 65536
#define OTA_BLOCK_COUNT_MAX  32

/* Devices whose requests are kept at a time: those beyond are told to ask again. */
#define OTA_INBAND_MOST 20000

/* X(ENUM, result_code, "name in metrics", "result_msg") */
#define OTA_BLOCK_REFUSALS(X)                                                                      \
    X(BAD, 1, "bad_request", "task, offset, length or count is missing or out of its range")       \
    X(RANGE, 2, "out_of_range", "the offset is not within the file")                               \
    X(TASK, 3, "not_yours", "the task is not this device's")                                       \
    X(ENDED, 4, "ended", "the task has ended")                                                     \
    X(EARLY, 5, "not_offered", "the task waits for its turn; a notice will come")                  \
    X(RATE, 6, "rate", "asked too often")                                                          \
    X(LATER, 7, "unavailable", "not possible now; ask again in a moment")

enum ota_block_refusal {
#define OTA_X(id, code, name, text) OTA_BLOCK_##id,
    OTA_BLOCK_REFUSALS(OTA_X)
#undef OTA_X
        OTA_BLOCK_REFUSAL_COUNT
};

/* "bad_request" and the like. */
const char *ota_block_refusal_name(enum ota_block_refusal refusal);

/* What a request_block asks for, its numbers within their ranges. */
struct ota_block_ask {
    int64_t task;
    int64_t offset;
    int length;
    int count;
};

struct ota_inband_config {
    struct ota_core *core;
    struct ota_images *images; /* NULL: none is to be had (tests) */
    struct ota_worker *loader; /* that loads them */
    int64_t rate;              /* bytes a second to one device */
    int64_t rate_total;        /* to all together */
    size_t most; /* devices whose requests are kept at a time; 0: OTA_INBAND_MOST (tests) */
};

struct ota_inband_stats {
    uint64_t requests; /* refused ones, too */
    uint64_t refused[OTA_BLOCK_REFUSAL_COUNT];
    uint64_t messages;
    uint64_t bytes;
    uint32_t waiting; /* devices whose request isn't served to its end */
};

struct ota_inband;

/* Keeps a copy of config; what it names outlives it. NULL: memory is out. */
struct ota_inband *ota_inband_new(const struct ota_inband_config *config);
/* After the images' ota_images_stop; NULL is fine, here and where a client is gone. */
void ota_inband_free(struct ota_inband *inband);

/* The device's request over its connection `client`: queued, in the place of one that waits, or
 * behind it where it goes on where that ends; or refused, which the client is told as often as the
 * device may report, and none of its reports counts for less. */
void ota_inband_ask(struct ota_inband *inband, const struct mosquitto *client,
                    struct ota_device *device, const struct ota_block_ask *ask, int qos);

/* The same where it couldn't be read. */
void ota_inband_ask_bad(struct ota_inband *inband, const struct mosquitto *client,
                        struct ota_device *device);

/* The client is about to be gone, while the fleet still knows it: what it asked for is dropped. */
void ota_inband_gone(struct ota_inband *inband, const struct mosquitto *client);

/* Sends what is due. Bounded: OTA_INBAND_SLICE_* in inband.c. */
void ota_inband_tick(struct ota_inband *inband);

const struct ota_inband_stats *ota_inband_stats(const struct ota_inband *inband);

#endif
