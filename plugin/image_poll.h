/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: asking for hot images by a thread that may wait for nobody: what isn't in memory is loaded
 *       by the cache's own thread meanwhile, and asked for again.
 * Thread: one, with the cache's.
 * Frees: nothing. The cache must be stopped (ota_images_stop) before the struct goes.
 */
#ifndef OTA_IMAGE_POLL_H
#define OTA_IMAGE_POLL_H

#include <stdatomic.h>

#include "image_cache.h"
#include "worker.h"

#define OTA_IMAGE_POLL_LOADS 4 /* waited for at a time */

struct ota_image_poll_load {
    struct ota_image_wait wait;
    bool busy;
    atomic_bool done;
};

/* Filled by its user; zero but for the first two. */
struct ota_image_poll {
    struct ota_images *images;
    struct ota_worker *loader; /* that calls ota_images_load */
    struct ota_image_poll_load loads[OTA_IMAGE_POLL_LOADS];
};

/* OTA_OK: *image is held until ota_images_drop. OTA_AGAIN: it is being loaded, or has its turn
 * later. OTA_UNAVAILABLE: it couldn't be loaded; the next call tries anew. */
OTA_CHECKED enum ota_err ota_image_poll_take(struct ota_image_poll *poll, int64_t id, int64_t size,
                                             int64_t now, struct ota_image **image);

#endif
