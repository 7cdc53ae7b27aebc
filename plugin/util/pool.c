/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1 /* as gcc says it */
#endif
#endif

/* Each thing is malloc's own here, so that a use after its end is seen. */
#ifdef __SANITIZE_ADDRESS__

void *ota_pool_take(struct ota_pool *pool)
{
    return calloc(1, pool->size);
}

void ota_pool_give(struct ota_pool *pool, void *thing)
{
    (void)pool;
    free(thing);
}

void ota_pool_free(struct ota_pool *pool)
{
    (void)pool;
}

#else

/* Long enough that a million things are a thousand pages, short enough to give back in
 * microseconds. */
#define OTA_POOL_PAGE ((size_t)256 * 1024)

struct place {
    union {
        struct ota_pool_page *page; /* taken */
        struct place *next;         /* free */
    };
    alignas(max_align_t) unsigned char thing[];
};

struct ota_pool_page {
    struct ota_pool_page *prev_roomy;
    struct ota_pool_page *next_roomy;
    struct place *free; /* given back */
    size_t taken;
    size_t used; /* places that were ever taken: those behind them are zero */
    alignas(max_align_t) unsigned char places[];
};

static size_t stride(const struct ota_pool *pool)
{
    size_t unit = alignof(max_align_t);
    return (sizeof(struct place) + pool->size + unit - 1) / unit * unit;
}

static size_t places(const struct ota_pool *pool)
{
    return (OTA_POOL_PAGE - sizeof(struct ota_pool_page)) / stride(pool);
}

static void enlist(struct ota_pool *pool, struct ota_pool_page *page)
{
    page->prev_roomy = NULL;
    page->next_roomy = pool->roomy;
    if (pool->roomy != NULL) {
        pool->roomy->prev_roomy = page;
    }
    pool->roomy = page;
}

static void strike(struct ota_pool *pool, struct ota_pool_page *page)
{
    if (page->prev_roomy != NULL) {
        page->prev_roomy->next_roomy = page->next_roomy;
    } else {
        pool->roomy = page->next_roomy;
    }
    if (page->next_roomy != NULL) {
        page->next_roomy->prev_roomy = page->prev_roomy;
    }
}

static bool add_page(struct ota_pool *pool)
{
    void *got =
        mmap(NULL, OTA_POOL_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (got == MAP_FAILED) {
        return false;
    }
    enlist(pool, got);
    pool->pages++;
    return true;
}

static void drop_page(struct ota_pool *pool, struct ota_pool_page *page)
{
    strike(pool, page);
    pool->pages--;
    (void)munmap(page, OTA_POOL_PAGE);
}

static struct place *take_place(const struct ota_pool *pool, struct ota_pool_page *page)
{
    struct place *place = page->free;
    if (place == NULL) {
        return (struct place *)(page->places + page->used++ * stride(pool));
    }
    page->free = place->next;
    memset(place->thing, 0, pool->size);
    return place;
}

void *ota_pool_take(struct ota_pool *pool)
{
    if (pool->roomy == NULL && !add_page(pool)) {
        return NULL;
    }
    struct ota_pool_page *page = pool->roomy;
    struct place *place = take_place(pool, page);
    place->page = page;
    if (++page->taken == places(pool)) {
        strike(pool, page);
    }
    return place->thing;
}

void ota_pool_give(struct ota_pool *pool, void *thing)
{
    if (thing == NULL) {
        return;
    }
    struct place *place = (struct place *)((unsigned char *)thing - offsetof(struct place, thing));
    struct ota_pool_page *page = place->page;
    if (page->taken-- == places(pool)) {
        enlist(pool, page);
    }
    place->next = page->free;
    page->free = place;
    bool only = page->prev_roomy == NULL && page->next_roomy == NULL;
    if (page->taken == 0 && !only) { /* one stays, for things that come and go */
        drop_page(pool, page);
    }
}

void ota_pool_free(struct ota_pool *pool)
{
    while (pool->roomy != NULL) {
        drop_page(pool, pool->roomy);
    }
}

#endif
