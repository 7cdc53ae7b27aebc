/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: how a batch that is followed looks: a picture on a terminal, else lines about what changed.
 * Thread: main.
 * Frees: ota_batch_view_free() frees what a view remembers.
 */
#ifndef OTA_CLI_BATCH_VIEW_H
#define OTA_CLI_BATCH_VIEW_H

#include <jansson.h>
#include <stdbool.h>

#include "pace.h"
#include "screen.h"

struct ota_batch_view {
    bool live;
    struct ota_screen screen;
    struct ota_pace pace;
    json_t *told;     /* the batch as the lines tell it so far */
    int64_t told_ms;  /* when its numbers were told */
    char advice[512]; /* told last */
    char failures[512];
};

void ota_batch_view_begin(struct ota_batch_view *view);

/* Shows the batch as it is now; failures: getStats' array, or NULL. */
void ota_batch_view_show(struct ota_batch_view *view, const json_t *batch, const json_t *failures);

void ota_batch_view_free(struct ota_batch_view *view);

#endif
