/* SPDX-License-Identifier: BSD-3-Clause */
#include "screen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define ROWS    24
#define COLUMNS 80
#define INDENT  "  "

bool ota_screen_is_possible(void)
{
    const char *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && term != NULL && strcmp(term, "dumb") != 0;
}

void ota_screen_begin(struct ota_screen *screen)
{
    struct winsize size = {0};
    if (screen->drawn > 0) {
        (void)printf("\033[%zuA\r", screen->drawn);
    }
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;
    *screen = (struct ota_screen){.rows = known ? size.ws_row : ROWS,
                                  .columns = known ? size.ws_col : COLUMNS};
}

/* The cursor can't go back to a line that was pushed out at the top. */
static bool is_full(const struct ota_screen *screen)
{
    return screen->drawn + 1 >= screen->rows;
}

/* Shortens text until it takes at most so many columns. */
static void cut(char *text, size_t columns)
{
    size_t len = strlen(text);
    while (len > 0 && ota_format_width(text) > columns) {
        do {
            len--;
        } while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80);
        text[len] = '\0';
    }
}

void ota_screen_put(struct ota_screen *screen, enum ota_colour colour, const char *text)
{
    char clean[OTA_FORMAT_MAX];
    if (is_full(screen)) {
        return;
    }
    ota_format_clean(text, clean, sizeof clean);
    cut(clean, screen->columns - screen->used);
    if (clean[0] == '\0') {
        return;
    }
    (void)printf("%s%s%s", ota_format_on(colour), clean, ota_format_off(colour));
    screen->used += ota_format_width(clean);
}

void ota_screen_flow(struct ota_screen *screen, enum ota_colour colour, const char *text)
{
    if (screen->used + ota_format_width(text) > screen->columns) {
        ota_screen_end_line(screen);
        ota_screen_put(screen, OTA_PLAIN, INDENT);
    }
    ota_screen_put(screen, colour, text);
}

void ota_screen_end_line(struct ota_screen *screen)
{
    if (is_full(screen)) {
        return;
    }
    (void)fputs("\033[K\n", stdout);
    screen->drawn++;
    screen->used = 0;
}

void ota_screen_end(struct ota_screen *screen)
{
    (void)screen;
    (void)fputs("\033[J", stdout);
    (void)fflush(stdout);
}
