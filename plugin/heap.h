/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: min-heaps of tasks, by a number. A task knows its place, and is in one heap at most.
 * Thread: one at a time.
 * Frees: ota_heap_free frees the heap, never the tasks.
 */
#ifndef OTA_HEAP_H
#define OTA_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ota_task;

struct ota_heap_entry {
    int64_t rank;
    struct ota_task *task;
};

#define OTA_HEAP_PAGE 256

/* In pages, so that growing copies no entry: in one piece a million of them held the broker for 20
 * ms when they moved into twice the room. */
struct ota_heap {
    struct ota_heap_entry **pages; /* the least first */
    size_t page_count;
    size_t count;
};

static inline struct ota_heap_entry *ota_heap_at(const struct ota_heap *heap, size_t i)
{
    return &heap->pages[i / OTA_HEAP_PAGE][i % OTA_HEAP_PAGE];
}

/* Room for so many: up to there ota_heap_set doesn't fail. False: no memory. */
bool ota_heap_reserve(struct ota_heap *heap, size_t count);
/* Puts the task in, or moves it. False: no memory. */
bool ota_heap_set(struct ota_heap *heap, struct ota_task *task, int64_t rank);
/* Fine where it isn't in a heap. */
void ota_heap_remove(struct ota_heap *heap, struct ota_task *task);
/* How many come before rank, at most `most`: a walk over them. */
size_t ota_heap_before(const struct ota_heap *heap, int64_t rank, size_t most);
void ota_heap_free(struct ota_heap *heap);

#endif
