/* SPDX-License-Identifier: BSD-3-Clause */
#include "heap.h"

#include <stdlib.h>

#include "fleet.h"

static void place(struct ota_heap *heap, size_t i, struct ota_heap_entry entry)
{
    *ota_heap_at(heap, i) = entry;
    entry.task->heap_at = (uint32_t)i + 1;
}

static void sift_up(struct ota_heap *heap, size_t i, struct ota_heap_entry entry)
{
    while (i > 0 && ota_heap_at(heap, (i - 1) / 2)->rank > entry.rank) {
        place(heap, i, *ota_heap_at(heap, (i - 1) / 2));
        i = (i - 1) / 2;
    }
    place(heap, i, entry);
}

static void sift_down(struct ota_heap *heap, size_t i, struct ota_heap_entry entry)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < heap->count &&
            ota_heap_at(heap, child + 1)->rank < ota_heap_at(heap, child)->rank) {
            child++;
        }
        if (child >= heap->count || ota_heap_at(heap, child)->rank >= entry.rank) {
            break;
        }
        place(heap, i, *ota_heap_at(heap, child));
        i = child;
    }
    place(heap, i, entry);
}

static void move(struct ota_heap *heap, size_t i, struct ota_heap_entry entry)
{
    if (i > 0 && ota_heap_at(heap, (i - 1) / 2)->rank > entry.rank) {
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
    struct ota_heap_entry last = *ota_heap_at(heap, --heap->count);
    if (i < heap->count) {
        move(heap, i, last);
    }
}

static bool add_page(struct ota_heap *heap)
{
    struct ota_heap_entry **grown = realloc(heap->pages, (heap->page_count + 1) * sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    heap->pages = grown;
    grown[heap->page_count] = malloc(OTA_HEAP_PAGE * sizeof **grown);
    if (grown[heap->page_count] == NULL) {
        return false;
    }
    heap->page_count++;
    return true;
}

bool ota_heap_reserve(struct ota_heap *heap, size_t count)
{
    while (heap->page_count * OTA_HEAP_PAGE < count) {
        if (!add_page(heap)) {
            return false;
        }
    }
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
    if (i >= heap->count || most == 0 || ota_heap_at(heap, i)->rank >= rank) {
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
    for (size_t i = 0; i < heap->page_count; i++) {
        free(heap->pages[i]);
    }
    free(heap->pages);
    *heap = (struct ota_heap){0};
}
