/* SPDX-License-Identifier: BSD-3-Clause */
#include "image_cache.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

TAILQ_HEAD(image_list, ota_image);
STAILQ_HEAD(wait_list, ota_image_wait);

struct ota_images {
    pthread_mutex_t lock;
    struct ota_reader *reader;
    struct image_list list; /* the last used first */
    struct wait_list waiting;
    int64_t idle_bytes;
    bool stopped;
};

enum ota_err ota_images_open(struct ota_reader *reader, struct ota_images **images,
                             struct ota_error *error)
{
    struct ota_images *opened = calloc(1, sizeof *opened);
    if (opened == NULL) {
        return ota_error_no_memory(error);
    }
    pthread_mutex_init(&opened->lock, NULL);
    opened->reader = reader;
    TAILQ_INIT(&opened->list);
    STAILQ_INIT(&opened->waiting);
    *images = opened;
    return OTA_OK;
}

static void image_free(struct ota_image *image)
{
    if (image == NULL) {
        return;
    }
    if (image->bytes != NULL) {
        (void)munmap((void *)image->bytes, (size_t)image->size);
    }
    free(image);
}

void ota_images_close(struct ota_images *images)
{
    struct ota_image *image;

    if (images == NULL) {
        return;
    }
    while ((image = TAILQ_FIRST(&images->list)) != NULL) {
        TAILQ_REMOVE(&images->list, image, entry);
        image_free(image);
    }
    pthread_mutex_destroy(&images->lock);
    free(images);
}

static struct ota_image *find(struct ota_images *images, int64_t id)
{
    struct ota_image *image;

    TAILQ_FOREACH(image, &images->list, entry)
    {
        if (image->id == id) {
            return image;
        }
    }
    return NULL;
}

struct ota_image *ota_images_take(struct ota_images *images, int64_t id, int64_t now)
{
    pthread_mutex_lock(&images->lock);
    struct ota_image *image = find(images, id);
    if (image != NULL) {
        TAILQ_REMOVE(&images->list, image, entry);
        TAILQ_INSERT_HEAD(&images->list, image, entry);
        image->used_at = now;
        if (image->users++ == 0) {
            images->idle_bytes -= image->size;
        }
    }
    pthread_mutex_unlock(&images->lock);
    return image;
}

void ota_images_drop(struct ota_images *images, struct ota_image *image, int64_t now)
{
    pthread_mutex_lock(&images->lock);
    image->used_at = now;
    if (--image->users == 0) {
        images->idle_bytes += image->size;
    }
    pthread_mutex_unlock(&images->lock);
}

static void wake_with(struct ota_image_wait *wait, enum ota_err err)
{
    wait->err = err;
    wait->wake(wait);
}

void ota_images_await(struct ota_images *images, int64_t id, int64_t size, ota_image_wake_fn wake,
                      struct ota_image_wait *wait)
{
    *wait = (struct ota_image_wait){.image = id, .size = size, .wake = wake};
    pthread_mutex_lock(&images->lock);
    if (images->stopped) {
        wake_with(wait, OTA_UNAVAILABLE);
    } else {
        STAILQ_INSERT_TAIL(&images->waiting, wait, entry);
    }
    pthread_mutex_unlock(&images->lock);
}

/* A mapping of a memory file, since that is what the reader can write to. Responses are sent out
 * of it by send(): cheaper than sendfile() from the file (docs/adr/0008). */
static enum ota_err fill(struct ota_images *images, struct ota_image *image,
                         struct ota_error *error)
{
    void *bytes;
    enum ota_err err = OTA_OK;
    int fd = memfd_create("firmware", MFD_CLOEXEC);

    if (fd < 0) {
        err = ota_error_set(error, OTA_UNAVAILABLE, NULL, "no memory for an image: %s",
                            strerror(errno));
        goto out;
    }
    err = ota_reader_copy_image(images->reader, image->id, image->size, fd, error);
    if (err != OTA_OK) { /* an error that is set already stays */
        (void)ota_error_set(error, err, NULL, "image %lld can't be read", (long long)image->id);
        goto out;
    }
    bytes = mmap(NULL, (size_t)image->size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (bytes == MAP_FAILED) {
        err =
            ota_error_set(error, OTA_UNAVAILABLE, NULL, "can't map an image: %s", strerror(errno));
        goto out;
    }
    image->bytes = bytes;
out:
    if (fd >= 0) {
        close(fd);
    }
    return err;
}

static enum ota_err image_load(struct ota_images *images, int64_t id, int64_t size,
                               struct ota_image **image, struct ota_error *error)
{
    struct ota_image *loaded = calloc(1, sizeof *loaded);
    if (loaded == NULL) {
        return ota_error_no_memory(error);
    }
    loaded->id = id;
    loaded->size = size;
    enum ota_err err = fill(images, loaded, error);
    if (err != OTA_OK) {
        image_free(loaded);
        return err;
    }
    *image = loaded;
    return OTA_OK;
}

static void wake_all_of(struct ota_images *images, int64_t id, enum ota_err err)
{
    struct ota_image_wait *wait;
    struct wait_list others = STAILQ_HEAD_INITIALIZER(others);

    while ((wait = STAILQ_FIRST(&images->waiting)) != NULL) {
        STAILQ_REMOVE_HEAD(&images->waiting, entry);
        if (wait->image == id) {
            wake_with(wait, err);
        } else {
            STAILQ_INSERT_TAIL(&others, wait, entry);
        }
    }
    STAILQ_CONCAT(&images->waiting, &others);
}

bool ota_images_load(struct ota_images *images, int64_t now, struct ota_error *error)
{
    struct ota_image *image = NULL;
    enum ota_err err = OTA_OK;

    pthread_mutex_lock(&images->lock);
    struct ota_image_wait *first = STAILQ_FIRST(&images->waiting);
    if (first == NULL) {
        pthread_mutex_unlock(&images->lock);
        return false;
    }
    int64_t id = first->image;
    int64_t size = first->size;
    if (find(images, id) == NULL) {
        pthread_mutex_unlock(&images->lock);
        err = image_load(images, id, size, &image, error);
        pthread_mutex_lock(&images->lock);
    }
    if (image != NULL) {
        image->used_at = now;
        images->idle_bytes += size;
        TAILQ_INSERT_HEAD(&images->list, image, entry);
    }
    wake_all_of(images, id, err);
    pthread_mutex_unlock(&images->lock);
    return true;
}

/* The one to forget: unused, not fresh, and the longest unused of those; or NULL. */
static struct ota_image *victim(struct ota_images *images, int64_t now)
{
    struct ota_image *image;

    TAILQ_FOREACH_REVERSE(image, &images->list, image_list, entry)
    {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): TAILQ_REMOVE had taken that one out */
        if (image->users == 0 && now - image->used_at >= OTA_IMAGES_FRESH_MS) {
            return image;
        }
    }
    return NULL;
}

/* Takes the one to forget out, where there are too many; or NULL. */
static struct ota_image *take_victim(struct ota_images *images, int64_t now)
{
    pthread_mutex_lock(&images->lock);
    struct ota_image *image = images->idle_bytes > OTA_IMAGES_IDLE_MAX ? victim(images, now) : NULL;
    if (image != NULL) {
        TAILQ_REMOVE(&images->list, image, entry);
        images->idle_bytes -= image->size;
    }
    pthread_mutex_unlock(&images->lock);
    return image;
}

/* Unmapping takes milliseconds, and the broker's thread may want the lock: not under it. */
void ota_images_trim(struct ota_images *images, int64_t now)
{
    struct ota_image *image;

    while ((image = take_victim(images, now)) != NULL) {
        image_free(image);
    }
}

void ota_images_stop(struct ota_images *images)
{
    struct ota_image_wait *wait;

    pthread_mutex_lock(&images->lock);
    images->stopped = true;
    while ((wait = STAILQ_FIRST(&images->waiting)) != NULL) {
        STAILQ_REMOVE_HEAD(&images->waiting, entry);
        wake_with(wait, OTA_UNAVAILABLE);
    }
    pthread_mutex_unlock(&images->lock);
}
