/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: things of one size that come and go by the million, in pages straight from the system.
 *       Freed one by one, malloc would put a million gaps in order in the middle of somebody's
 *       free, for tens of milliseconds; here a page goes back when its last thing does.
 * Thread: one at a time.
 * Frees: ota_pool_give a thing; ota_pool_free what is left of an empty pool.
 */
#ifndef OTA_UTIL_POOL_H
#define OTA_UTIL_POOL_H

#include <stddef.h>

struct ota_pool {
    size_t size;                 /* of a thing, in bytes */
    struct ota_pool_page *roomy; /* pages with a place free: list */
    size_t pages;
};

/* Zeroed, aligned for anything; NULL where memory is out. */
void *ota_pool_take(struct ota_pool *pool);
/* Fine for NULL. */
void ota_pool_give(struct ota_pool *pool, void *thing);
/* All things were given back. */
void ota_pool_free(struct ota_pool *pool);

#endif
