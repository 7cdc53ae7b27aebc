/* SPDX-License-Identifier: BSD-3-Clause */
#include "index.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct ota_slot {
    uint64_t hash;
    void *item; /* NULL: empty */
};

#define OTA_MOVED_AN_ADD 8

static size_t home(const struct ota_slots *table, uint64_t hash)
{
    return (size_t)hash & (table->capacity - 1);
}

static void put(struct ota_slots *table, uint64_t hash, void *item)
{
    size_t i = home(table, hash);
    while (table->slots[i].item != NULL) {
        i = (i + 1) & (table->capacity - 1);
    }
    table->slots[i] = (struct ota_slot){hash, item};
}

/* Closes the gap, so that no search ends too early; there are no tombstones. */
static void close_gap(struct ota_slots *table, size_t gap)
{
    size_t mask = table->capacity - 1;
    for (size_t i = (gap + 1) & mask; table->slots[i].item != NULL; i = (i + 1) & mask) {
        size_t wanted = home(table, table->slots[i].hash);
        if (((i - wanted) & mask) >= ((i - gap) & mask)) {
            table->slots[gap] = table->slots[i];
            gap = i;
        }
    }
    table->slots[gap].item = NULL;
}

/* --- growing -------------------------------------------------------------------------------- */

static void move_one(struct ota_index *index)
{
    struct ota_slot slot = index->old.slots[index->moved];
    if (slot.item == NULL) {
        index->moved++;
        return;
    }
    close_gap(&index->old, index->moved);
    put(&index->table, slot.hash, slot.item);
}

/* At most `most` steps, each of which moves an item or passes an empty slot. */
static void move_some(struct ota_index *index, size_t most)
{
    while (index->moved < index->old.capacity && most-- > 0) {
        move_one(index);
    }
    if (index->old.slots != NULL && index->moved == index->old.capacity) {
        free(index->old.slots);
        index->old = (struct ota_slots){0};
    }
}

static bool grow(struct ota_index *index, size_t capacity)
{
    struct ota_slots bigger = {calloc(capacity, sizeof *bigger.slots), capacity};
    if (bigger.slots == NULL) {
        return false;
    }
    move_some(index, SIZE_MAX);
    index->old = index->table;
    index->moved = 0;
    index->table = bigger;
    return true;
}

static bool make_room(struct ota_index *index, size_t count)
{
    size_t capacity = index->table.capacity != 0 ? index->table.capacity : 16;
    while (capacity / 4 * 3 < count) {
        capacity *= 2;
    }
    return capacity == index->table.capacity || grow(index, capacity);
}

void ota_index_settle(struct ota_index *index)
{
    move_some(index, SIZE_MAX);
}

bool ota_index_add(struct ota_index *index, uint64_t hash, void *item)
{
    if (!make_room(index, index->count + 1)) {
        return false;
    }
    move_some(index, OTA_MOVED_AN_ADD);
    put(&index->table, hash, item);
    index->count++;
    return true;
}

/* --- searching ------------------------------------------------------------------------------ */

static void *find(const struct ota_slots *table, uint64_t hash, ota_index_equal equal,
                  const void *key)
{
    if (table->capacity == 0) {
        return NULL;
    }
    for (size_t i = home(table, hash); table->slots[i].item != NULL;
         i = (i + 1) & (table->capacity - 1)) {
        if (table->slots[i].hash == hash && equal(table->slots[i].item, key)) {
            return table->slots[i].item;
        }
    }
    return NULL;
}

void *ota_index_find(const struct ota_index *index, uint64_t hash, ota_index_equal equal,
                     const void *key)
{
    void *item = find(&index->table, hash, equal, key);
    return item != NULL ? item : find(&index->old, hash, equal, key);
}

static bool take_out(struct ota_slots *table, uint64_t hash, const void *item)
{
    if (table->capacity == 0) {
        return false;
    }
    size_t mask = table->capacity - 1;
    for (size_t i = home(table, hash); table->slots[i].item != NULL; i = (i + 1) & mask) {
        if (table->slots[i].item == item) {
            close_gap(table, i);
            return true;
        }
    }
    return false;
}

void ota_index_remove(struct ota_index *index, uint64_t hash, const void *item)
{
    if (take_out(&index->table, hash, item) || take_out(&index->old, hash, item)) {
        index->count--;
    }
}

void ota_index_free(struct ota_index *index)
{
    free(index->table.slots);
    free(index->old.slots);
    *index = (struct ota_index){0};
}

static void *next_of(const struct ota_slots *table, size_t *at, size_t from)
{
    while (*at - from < table->capacity) {
        void *item = table->slots[(*at)++ - from].item;
        if (item != NULL) {
            return item;
        }
    }
    return NULL;
}

void *ota_index_next(const struct ota_index *index, size_t *at)
{
    void *item = *at < index->old.capacity ? next_of(&index->old, at, 0) : NULL;
    return item != NULL ? item : next_of(&index->table, at, index->old.capacity);
}

void ota_hash_key_draw(struct ota_hash_key *key)
{
    if (getrandom(key, sizeof *key, 0) != (ssize_t)sizeof *key) {
        key->k0 = (uint64_t)(uintptr_t)key; /* weak, but no reason to refuse service */
        key->k1 = 0x9e3779b97f4a7c15u;
    }
}

#define ROTATE(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = ROTATE(v[1], 13) ^ v[0];
    v[0] = ROTATE(v[0], 32);
    v[2] += v[3];
    v[3] = ROTATE(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = ROTATE(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = ROTATE(v[1], 17) ^ v[2];
    v[2] = ROTATE(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    sip_round(v);
    v[0] ^= word;
}

uint64_t ota_hash(const struct ota_hash_key *key, uint64_t number, const char *text, size_t len)
{
    uint64_t v[4] = {key->k0 ^ 0x736f6d6570736575u, key->k1 ^ 0x646f72616e646f6du,
                     key->k0 ^ 0x6c7967656e657261u, key->k1 ^ 0x7465646279746573u};
    sip_word(v, number);
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        uint64_t word;
        memcpy(&word, text + i, 8);
        sip_word(v, word);
    }
    uint64_t last = (uint64_t)(len + 8) << 56;
    for (size_t j = 0; i + j < len; j++) {
        last |= (uint64_t)(unsigned char)text[i + j] << (8 * j);
    }
    sip_word(v, last);
    v[2] ^= 0xff;
    for (int r = 0; r < 4; r++) {
        sip_round(v);
    }
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
