/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: hot images, each once in memory, and the queue of those who wait for one.
 * Thread: any; one lock inside. ota_images_load runs on one helper thread.
 * Frees: ota_images_close. An image lives at least until its last ota_images_drop.
 */
#ifndef OTA_IMAGE_CACHE_H
#define OTA_IMAGE_CACHE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "store/store.h"
#include "util/error.h"

/* Unused images are forgotten from the longest unused on while they are together larger than
 * this, but for those that were used a moment ago: a device that asks for one range after
 * another must not have its image loaded for each. */
#define OTA_IMAGES_IDLE_MAX (64ll * 1024 * 1024)
#define OTA_IMAGES_FRESH_MS 60000

struct ota_images;

struct ota_image {
    TAILQ_ENTRY(ota_image) entry;
    int64_t id;
    int64_t size;
    const unsigned char *bytes;
    int users;
    int64_t used_at;
};

struct ota_image_wait;

/* Called once for each ota_images_await, under the cache's lock, from any thread. */
typedef void (*ota_image_wake_fn)(struct ota_image_wait *wait);

/* One who waits: embedded in what the caller keeps for a request. */
struct ota_image_wait {
    STAILQ_ENTRY(ota_image_wait) entry;
    int64_t image;
    int64_t size;
    ota_image_wake_fn wake;
    enum ota_err err; /* how it ended, once woken */
};

/* The reader stays the caller's. */
OTA_CHECKED enum ota_err ota_images_open(struct ota_reader *reader, struct ota_images **images,
                                         struct ota_error *error);
/* Nobody waits and no image is in use any more; NULL is fine. */
void ota_images_close(struct ota_images *images);

/* The image, held until ota_images_drop; NULL where it isn't in memory. */
struct ota_image *ota_images_take(struct ota_images *images, int64_t id, int64_t now);
void ota_images_drop(struct ota_images *images, struct ota_image *image, int64_t now);

/* Queues for the image; it may be woken before this returns. */
void ota_images_await(struct ota_images *images, int64_t id, int64_t size, ota_image_wake_fn wake,
                      struct ota_image_wait *wait);

/* Loads the image that is waited for longest and wakes all who wait for it; false: nobody waits.
 * A failure fills error. */
bool ota_images_load(struct ota_images *images, int64_t now, struct ota_error *error);

/* Forgets what is due; call it about once a second. */
void ota_images_trim(struct ota_images *images, int64_t now);

/* Wakes all waiters with OTA_UNAVAILABLE, and from now on every new one at once. */
void ota_images_stop(struct ota_images *images);

#endif
