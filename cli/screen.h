/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: a few lines on stdout that are drawn over in place, none wider than the terminal.
 * Thread: main.
 * Frees: nothing; an ota_screen is a plain value.
 */
#ifndef OTA_CLI_SCREEN_H
#define OTA_CLI_SCREEN_H

#include <stdbool.h>
#include <stddef.h>

#include "format.h"

struct ota_screen {
    size_t drawn; /* lines of the picture so far */
    size_t used;  /* columns of the line so far */
    size_t rows;
    size_t columns;
};

/* Whether stdout is a terminal that can do it. */
bool ota_screen_is_possible(void);

/* Goes back to the first line of the picture before. */
void ota_screen_begin(struct ota_screen *screen);

/* Writes text, cut off at the right edge. */
void ota_screen_put(struct ota_screen *screen, enum ota_colour colour, const char *text);

/* The same, on a new indented line where it doesn't fit. */
void ota_screen_flow(struct ota_screen *screen, enum ota_colour colour, const char *text);

void ota_screen_end_line(struct ota_screen *screen);

/* Rubs out what the picture before had more. */
void ota_screen_end(struct ota_screen *screen);

#endif
