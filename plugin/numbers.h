/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the numbers that were told last, for a second: those who ask again get the same.
 * Thread: keep and copy on any; one lock inside.
 * Frees: ota_numbers_free; the struct is the caller's.
 */
#ifndef OTA_NUMBERS_H
#define OTA_NUMBERS_H

#include <pthread.h>
#include <stdint.h>

#define OTA_NUMBERS_MS 1000

struct ota_numbers {
    pthread_mutex_t lock;
    char *text; /* NULL: none */
    int64_t at; /* monotonic ms */
};

void ota_numbers_init(struct ota_numbers *numbers);
void ota_numbers_free(struct ota_numbers *numbers);

/* Keeps a copy; without memory, or where text is NULL, what was kept stays as it was. */
void ota_numbers_keep(struct ota_numbers *numbers, const char *text, int64_t now);
/* The caller frees it; NULL where there is none, or it is too old. */
char *ota_numbers_copy(struct ota_numbers *numbers, int64_t now);

#endif
