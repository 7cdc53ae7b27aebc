/* SPDX-License-Identifier: BSD-3-Clause */
#include "image_poll.h"

#include <stddef.h>

static void on_loaded(struct ota_image_wait *wait)
{
    struct ota_image_poll_load *load =
        (struct ota_image_poll_load *)((char *)wait - offsetof(struct ota_image_poll_load, wait));
    atomic_store(&load->done, true);
}

/* The one for this image, which runs or has failed; else one that may be used, or NULL. */
static struct ota_image_poll_load *find(struct ota_image_poll *poll, int64_t id, bool *is_its)
{
    struct ota_image_poll_load *found = NULL;
    *is_its = false;
    for (size_t i = 0; i < OTA_IMAGE_POLL_LOADS; i++) {
        struct ota_image_poll_load *load = &poll->loads[i];
        bool over = !load->busy || atomic_load(&load->done);
        *is_its = load->busy && load->wait.image == id && !(over && load->wait.err == OTA_OK);
        if (*is_its) {
            return load;
        }
        found = over ? load : found;
    }
    return found;
}

static enum ota_err wait_for(struct ota_image_poll *poll, int64_t id, int64_t size)
{
    bool is_its;
    struct ota_image_poll_load *load = find(poll, id, &is_its);
    if (load == NULL) {
        return OTA_AGAIN;
    }
    if (is_its) {
        load->busy = !atomic_load(&load->done);
        return load->busy ? OTA_AGAIN : OTA_UNAVAILABLE;
    }
    load->busy = true;
    atomic_store(&load->done, false);
    ota_images_await(poll->images, id, size, on_loaded, &load->wait);
    ota_worker_wake(poll->loader);
    return OTA_AGAIN;
}

enum ota_err ota_image_poll_take(struct ota_image_poll *poll, int64_t id, int64_t size, int64_t now,
                                 struct ota_image **image)
{
    struct ota_image *found = ota_images_take(poll->images, id, now);
    if (found == NULL) {
        return wait_for(poll, id, size);
    }
    *image = found;
    return OTA_OK;
}
