/* SPDX-License-Identifier: BSD-3-Clause */
#include "progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "clock.h"
#include "format.h"

#define BAR_WIDTH  24
#define REFRESH_MS 100
#define STEP       10

static int percent_of(const struct ota_progress *progress, int64_t done)
{
    return progress->total > 0 ? (int)(done * 100 / progress->total) : 100;
}

void ota_progress_clear(void)
{
    if (isatty(STDERR_FILENO)) {
        (void)fputs("\r\033[K", stderr);
    }
}

void ota_progress_show(int percent, const char *text)
{
    char bar[BAR_WIDTH + 1];
    if (!isatty(STDERR_FILENO)) {
        return;
    }
    for (int i = 0; i < BAR_WIDTH; i++) {
        bar[i] = (char)(i * 100 < percent * BAR_WIDTH ? '#' : '-');
    }
    bar[BAR_WIDTH] = '\0';
    if (percent >= 0) {
        (void)fprintf(stderr, "\r\033[K[%s] %3d %%  %s", bar, percent, text);
    } else {
        (void)fprintf(stderr, "\r\033[K%s", text);
    }
    (void)fflush(stderr);
}

void ota_progress_begin(struct ota_progress *progress, const char *unit, int64_t total,
                        int64_t done)
{
    *progress = (struct ota_progress){.unit = unit,
                                      .total = total,
                                      .first = done,
                                      .started_ms = ota_clock_ms(),
                                      .live = isatty(STDERR_FILENO)};
    progress->shown = percent_of(progress, done);
}

static void put_amount(const struct ota_progress *progress, int64_t amount, char *out, size_t size)
{
    if (progress->unit == NULL) {
        ota_format_size(amount, out, size);
    } else {
        (void)snprintf(out, size, "%" PRId64, amount);
    }
}

/* "1.0 KB of 20.0 KB", "1000 of 1500 names" */
static void put_done(const struct ota_progress *progress, int64_t done, char *out, size_t size)
{
    char sent[32];
    char all[32];
    put_amount(progress, done, sent, sizeof sent);
    put_amount(progress, progress->total, all, sizeof all);
    (void)snprintf(out, size, "%s of %s%s%s", sent, all, progress->unit != NULL ? " " : "",
                   progress->unit != NULL ? progress->unit : "");
}

static void show_live(struct ota_progress *progress, int64_t done)
{
    int64_t now = ota_clock_ms();
    if (now - progress->shown_ms < REFRESH_MS && done < progress->total) {
        return;
    }
    progress->shown_ms = now;
    int64_t spent = now - progress->started_ms;
    int64_t rate = spent > 0 ? (done - progress->first) * 1000 / spent : 0;
    char sent[128];
    char speed[32];
    char text[256];
    put_amount(progress, rate, speed, sizeof speed);
    put_done(progress, done, sent, sizeof sent);
    int64_t left = rate > 0 ? (progress->total - done + rate - 1) / rate : 0;
    (void)snprintf(text, sizeof text, "%s  %s/s  %" PRId64 ":%02" PRId64 " left", sent, speed,
                   left / 60, left % 60);
    ota_progress_show(percent_of(progress, done), text);
}

static void show_step(struct ota_progress *progress, int64_t done)
{
    int percent = percent_of(progress, done);
    if (percent / STEP > progress->shown / STEP) {
        char sent[128];
        put_done(progress, done, sent, sizeof sent);
        (void)fprintf(stderr, "%3d %%  %s\n", percent / STEP * STEP, sent);
    }
    progress->shown = percent;
}

void ota_progress_update(struct ota_progress *progress, int64_t done)
{
    if (progress->live) {
        show_live(progress, done);
    } else {
        show_step(progress, done);
    }
}

void ota_progress_end(struct ota_progress *progress, int64_t done)
{
    ota_progress_update(progress, done);
    if (progress->live) {
        (void)fputc('\n', stderr);
    }
}
