/* SPDX-License-Identifier: BSD-3-Clause */
#include "index.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct ota_slot {
    uint64_t hash;
    void *item; /* NULL: empty */
};

static size_t home(const struct ota_index *index, uint64_t hash)
{
    return (size_t)hash & (index->capacity - 1);
}

static void put(struct ota_index *index, uint64_t hash, void *item)
{
    size_t i = home(index, hash);
    while (index->slots[i].item != NULL) {
        i = (i + 1) & (index->capacity - 1);
    }
    index->slots[i] = (struct ota_slot){hash, item};
    index->count++;
}

static bool resize(struct ota_index *index, size_t capacity)
{
    struct ota_index bigger = {.capacity = capacity};
    bigger.slots = calloc(capacity, sizeof *bigger.slots);
    if (bigger.slots == NULL) {
        return false;
    }
    for (size_t i = 0; i < index->capacity; i++) {
        if (index->slots[i].item != NULL) {
            put(&bigger, index->slots[i].hash, index->slots[i].item);
        }
    }
    free(index->slots);
    *index = bigger;
    return true;
}

bool ota_index_reserve(struct ota_index *index, size_t count)
{
    size_t capacity = index->capacity != 0 ? index->capacity : 16;
    while (capacity / 4 * 3 < count) {
        capacity *= 2;
    }
    return capacity == index->capacity || resize(index, capacity);
}

bool ota_index_add(struct ota_index *index, uint64_t hash, void *item)
{
    if (!ota_index_reserve(index, index->count + 1)) {
        return false;
    }
    put(index, hash, item);
    return true;
}

void *ota_index_find(const struct ota_index *index, uint64_t hash, ota_index_equal equal,
                     const void *key)
{
    if (index->count == 0) {
        return NULL;
    }
    for (size_t i = home(index, hash); index->slots[i].item != NULL;
         i = (i + 1) & (index->capacity - 1)) {
        if (index->slots[i].hash == hash && equal(index->slots[i].item, key)) {
            return index->slots[i].item;
        }
    }
    return NULL;
}

/* Closes the gap, so that no search ends too early; there are no tombstones. */
static void close_gap(struct ota_index *index, size_t gap)
{
    size_t mask = index->capacity - 1;
    for (size_t i = (gap + 1) & mask; index->slots[i].item != NULL; i = (i + 1) & mask) {
        size_t wanted = home(index, index->slots[i].hash);
        if (((i - wanted) & mask) >= ((i - gap) & mask)) {
            index->slots[gap] = index->slots[i];
            gap = i;
        }
    }
    index->slots[gap].item = NULL;
}

void ota_index_remove(struct ota_index *index, uint64_t hash, const void *item)
{
    if (index->count == 0) {
        return;
    }
    size_t mask = index->capacity - 1;
    for (size_t i = home(index, hash); index->slots[i].item != NULL; i = (i + 1) & mask) {
        if (index->slots[i].item == item) {
            close_gap(index, i);
            index->count--;
            return;
        }
    }
}

void ota_index_free(struct ota_index *index)
{
    free(index->slots);
    *index = (struct ota_index){0};
}

void *ota_index_next(const struct ota_index *index, size_t *at)
{
    while (*at < index->capacity) {
        void *item = index->slots[(*at)++].item;
        if (item != NULL) {
            return item;
        }
    }
    return NULL;
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
