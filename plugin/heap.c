/* SPDX-License-Identifier: BSD-3-Clause */
#include "heap.h"

#include <stdlib.h>

#include "fleet.h"

static void place(struct ota_heap *heap, size_t i, struct ota_heap_entry entry)
{
    heap->entries[i] = entry;
    entry.task->heap_at = (uint32_t)i + 1;
}

static void sift_up(struct ota_heap *heap, size_t i, struct ota_heap_entry entry)
{
    while (i > 0 && heap->entries[(i - 1) / 2].rank > entry.rank) {
        place(heap, i, heap->entries[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place(heap, i, entry);
}

static void sift_down(struct ota_heap *heap, size_t i, struct ota_heap_entry entry)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < heap->count && heap->entries[child + 1].rank < heap->entries[child].rank) {
            child++;
        }
        if (child >= heap->count || heap->entries[child].rank >= entry.rank) {
            break;
        }
        place(heap, i, heap->entries[child]);
        i = child;
    }
    place(heap, i, entry);
}

static void move(struct ota_heap *heap, size_t i, struct ota_heap_entry entry)
{
    if (i > 0 && heap->entries[(i - 1) / 2].rank > entry.rank) {
        sift_up(heap, i, entry);
    } else {
        sift_down(heap, i, entry);
    }
}

void ota_heap_remove(struct ota_heap *heap, struct ota_task *task)
{
    if (task->heap_at == 0) {
        return;
    }
    size_t i = task->heap_at - 1;
    task->heap_at = 0;
    struct ota_heap_entry last = heap->entries[--heap->count];
    if (i < heap->count) {
        move(heap, i, last);
    }
}

bool ota_heap_reserve(struct ota_heap *heap, size_t count)
{
    if (count <= heap->capacity) {
        return true;
    }
    size_t capacity = heap->capacity != 0 ? heap->capacity * 2 : 64;
    capacity = capacity < count ? count : capacity;
    struct ota_heap_entry *grown = realloc(heap->entries, capacity * sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    heap->entries = grown;
    heap->capacity = capacity;
    return true;
}

bool ota_heap_set(struct ota_heap *heap, struct ota_task *task, int64_t rank)
{
    struct ota_heap_entry entry = {rank, task};
    if (task->heap_at != 0) {
        move(heap, task->heap_at - 1, entry);
        return true;
    }
    if (!ota_heap_reserve(heap, heap->count + 1)) {
        return false;
    }
    sift_up(heap, heap->count++, entry);
    return true;
}

/* Down from i: whoever isn't before rank has nobody below who is. The path is what the recursion
 * is deep. */
static size_t count_before(const struct ota_heap *heap, size_t i, int64_t rank, size_t most)
{
    if (i >= heap->count || most == 0 || heap->entries[i].rank >= rank) {
        return 0;
    }
    size_t left = count_before(heap, 2 * i + 1, rank, most - 1);
    return 1 + left + count_before(heap, 2 * i + 2, rank, most - 1 - left);
}

size_t ota_heap_before(const struct ota_heap *heap, int64_t rank, size_t most)
{
    return count_before(heap, 0, rank, most);
}

void ota_heap_free(struct ota_heap *heap)
{
    free(heap->entries);
    *heap = (struct ota_heap){0};
}
