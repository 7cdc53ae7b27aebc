/* SPDX-License-Identifier: BSD-3-Clause */
#include "numbers.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

void ota_numbers_init(struct ota_numbers *numbers)
{
    *numbers = (struct ota_numbers){0};
    (void)pthread_mutex_init(&numbers->lock, NULL);
}

void ota_numbers_free(struct ota_numbers *numbers)
{
    free(numbers->text);
    (void)pthread_mutex_destroy(&numbers->lock);
}

void ota_numbers_keep(struct ota_numbers *numbers, const char *text, int64_t now)
{
    char *copy = text != NULL ? strdup(text) : NULL;

    if (copy == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&numbers->lock);
    char *old = numbers->text;
    numbers->text = copy;
    numbers->at = now;
    (void)pthread_mutex_unlock(&numbers->lock);
    free(old);
}

char *ota_numbers_copy(struct ota_numbers *numbers, int64_t now)
{
    (void)pthread_mutex_lock(&numbers->lock);
    bool good = numbers->text != NULL && now - numbers->at < OTA_NUMBERS_MS;
    char *copy = good ? strdup(numbers->text) : NULL;
    (void)pthread_mutex_unlock(&numbers->lock);
    return copy;
}
