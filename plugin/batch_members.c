/* SPDX-License-Identifier: BSD-3-Clause */
#include "batch_members.h"

#include <stdlib.h>
#include <string.h>

#define OTA_BUCKETS 65536

struct ota_members {
    uint32_t *ids;
    size_t count;
    size_t capacity;
    uint32_t by_prefix[OTA_BUCKETS]; /* how many keys begin with these 16 bits */
};

static size_t prefix_of(uint64_t key)
{
    return (size_t)(key >> 48);
}

static bool ensure_members(struct ota_batch *batch)
{
    if (batch->members == NULL) {
        batch->members = calloc(1, sizeof *batch->members);
    }
    struct ota_members *members = batch->members;
    if (members == NULL || members->count < members->capacity) {
        return members != NULL;
    }
    size_t capacity = members->capacity != 0 ? members->capacity * 2 : 1024;
    uint32_t *grown = realloc(members->ids, capacity * sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    members->ids = grown;
    members->capacity = capacity;
    return true;
}

bool ota_batch_note_member(struct ota_batch *batch, uint32_t device_id)
{
    if (!ensure_members(batch)) {
        return false;
    }
    struct ota_members *members = batch->members;
    members->ids[members->count++] = device_id;
    members->by_prefix[prefix_of(ota_rollout_key(batch->row.id, device_id))]++;
    return true;
}

void ota_batch_trim_members(struct ota_batch *batch, uint32_t count)
{
    struct ota_members *members = batch->members;
    while (members != NULL && members->count > count) {
        uint32_t id = members->ids[--members->count];
        members->by_prefix[prefix_of(ota_rollout_key(batch->row.id, id))]--;
    }
}

uint32_t ota_batch_member_count(const struct ota_batch *batch)
{
    return batch->members != NULL ? (uint32_t)batch->members->count : 0;
}

static int compare_ids(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

void ota_batch_sort_members(struct ota_batch *batch)
{
    if (batch->members != NULL) {
        qsort(batch->members->ids, batch->members->count, sizeof(uint32_t), compare_ids);
    }
}

void ota_batch_drop_member(struct ota_batch *batch, uint32_t device_id)
{
    struct ota_members *members = batch->members;
    if (ota_batch_member_count(batch) == 0 || batch->placing) {
        return;
    }
    uint32_t *at = bsearch(&device_id, members->ids, members->count, sizeof device_id, compare_ids);
    if (at != NULL) {
        size_t behind = members->count - (size_t)(at - members->ids) - 1;
        memmove(at, at + 1, behind * sizeof *at);
        members->count--;
        members->by_prefix[prefix_of(ota_rollout_key(batch->row.id, device_id))]--;
        batch->ends_known = 0;
    }
}

const uint32_t *ota_batch_members(const struct ota_batch *batch, size_t i, size_t *count)
{
    size_t all = ota_batch_member_count(batch);
    *count = i < all ? all - i : 0;
    return *count > 0 ? batch->members->ids + i : NULL;
}

static int compare_keys(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

bool ota_batch_key_at(const struct ota_batch *batch, uint32_t rank, uint64_t *key)
{
    const struct ota_members *members = batch->members;
    size_t prefix = 0;
    while (rank > members->by_prefix[prefix]) {
        rank -= members->by_prefix[prefix++];
    }
    uint64_t *keys = malloc(members->by_prefix[prefix] * sizeof *keys);
    if (keys == NULL) {
        return false;
    }
    size_t count = 0;
    for (size_t i = 0; i < members->count; i++) {
        uint64_t candidate = ota_rollout_key(batch->row.id, members->ids[i]);
        if (prefix_of(candidate) == prefix) {
            keys[count++] = candidate;
        }
    }
    qsort(keys, count, sizeof *keys, compare_keys);
    *key = keys[rank - 1];
    free(keys);
    return true;
}

void ota_batch_forget_members(struct ota_batch *batch)
{
    if (batch->members != NULL) {
        free(batch->members->ids);
        free(batch->members);
        batch->members = NULL;
    }
}
