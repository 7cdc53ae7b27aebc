/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: a hash index over items that live elsewhere, and the keyed hash for names.
 * Thread: one at a time.
 * Frees: ota_index_free frees the index, never the items.
 */
#ifndef OTA_UTIL_INDEX_H
#define OTA_UTIL_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ota_slots {
    struct ota_slot *slots;
    size_t capacity; /* a power of two, or 0 */
};

/* Grows into a table of twice the size, a few items with each that is added: a million names at
 * once would hold the broker for tens of milliseconds. */
struct ota_index {
    struct ota_slots table;
    struct ota_slots old; /* what is still to be moved, or nothing */
    size_t moved;         /* slots of it that are empty from the start */
    size_t count;         /* of both */
};

typedef bool (*ota_index_equal)(const void *item, const void *key);

/* Moves at once what is still to be moved, and frees the old table: where nobody waits. */
void ota_index_settle(struct ota_index *index);

/* False where memory is out. The caller knows that no equal item is there. */
bool ota_index_add(struct ota_index *index, uint64_t hash, void *item);
void *ota_index_find(const struct ota_index *index, uint64_t hash, ota_index_equal equal,
                     const void *key);
/* Fine where the item isn't there. */
void ota_index_remove(struct ota_index *index, uint64_t hash, const void *item);
void ota_index_free(struct ota_index *index);

/* Walks: start with *at = 0; NULL at the end. Nothing may be added or removed meanwhile, but for
 * the item just given: step *at back by one then, another may have moved into its place. */
void *ota_index_next(const struct ota_index *index, size_t *at);

/* Drawn at random once a process, so that nobody can choose names that collide. */
struct ota_hash_key {
    uint64_t k0;
    uint64_t k1;
};

void ota_hash_key_draw(struct ota_hash_key *key);

/* SipHash-2-4 (Aumasson, Bernstein 2012) of a number and a text. */
uint64_t ota_hash(const struct ota_hash_key *key, uint64_t number, const char *text, size_t len);

#endif
