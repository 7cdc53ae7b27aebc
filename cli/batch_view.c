/* SPDX-License-Identifier: BSD-3-Clause */
#include "batch_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "batch_words.h"
#include "clock.h"

#define BAR_WIDTH    24
#define CLUSTERS     3
#define NUMBERS_MS   10000 /* between lines that only tell how far it is */
#define BAR_MAX      (BAR_WIDTH * 3 + 1)
#define LINE_MAX_LEN 512

/* --- what both tell --------------------------------------------------------------------------- */

/* "about 12 min left, and 3 devices are offline"; "" where nobody knows. */
static void put_left(const struct ota_batch_view *view, const json_t *batch, char *out, size_t size)
{
    char duration[64];
    int64_t offline = ota_batch_count(batch, OTA_SHOWN_DEVICE_OFFLINE);
    int64_t left = ota_batch_number(batch, "total") - ota_batch_done(batch) - offline;
    double rate = ota_pace_per_minute(&view->pace);
    size_t n = 0;
    out[0] = '\0';
    if (left > 0 && rate > 0) {
        ota_format_duration((int64_t)((double)left * 60.0 / rate), duration, sizeof duration);
        n = (size_t)snprintf(out, size, "about %s left", duration);
    }
    if (offline > 0 && n < size) {
        (void)snprintf(out + n, size - n, "%s%" PRId64 " offline devices wait until they come",
                       n > 0 ? ", " : "", offline);
    }
}

static void put_pace(const struct ota_batch_view *view, const json_t *batch, char *out, size_t size)
{
    char left[160];
    double rate = ota_pace_per_minute(&view->pace);
    put_left(view, batch, left, sizeof left);
    if (rate >= 0) {
        (void)snprintf(out, size, "%.*f devices a minute%s%s", rate < 10 && rate > 0 ? 1 : 0, rate,
                       left[0] != '\0' ? ", " : "", left);
    } else {
        (void)snprintf(out, size, "%s", left);
    }
}

/* "12 task waiting", or "" where no device is. */
static void put_count(const json_t *batch, enum ota_shown shown, char *out, size_t size)
{
    int64_t count = ota_batch_count(batch, shown);
    int64_t confirmed = ota_batch_number(batch, "confirmed");
    out[0] = '\0';
    if (count > 0 && shown == OTA_SHOWN_SUCCEEDED && confirmed > 0) {
        (void)snprintf(out, size, "%" PRId64 " %s (%" PRId64 " confirmed)", count,
                       ota_shown_words(shown), confirmed);
    } else if (count > 0) {
        (void)snprintf(out, size, "%" PRId64 " %s", count, ota_shown_words(shown));
    }
}

/* --- the picture ------------------------------------------------------------------------------ */

static void put_cells(struct ota_screen *screen, enum ota_colour colour, const char *cell,
                      int64_t count)
{
    char cells[BAR_MAX] = "";
    size_t n = 0;
    for (int64_t i = 0; i < count && n + strlen(cell) < sizeof cells; i++) {
        n += (size_t)snprintf(cells + n, sizeof cells - n, "%s", cell);
    }
    ota_screen_put(screen, colour, cells);
}

/* Succeeded, failed, under way, and nothing: each ends where its share of all does. */
static void draw_bar(struct ota_screen *screen, const json_t *stage)
{
    int64_t total = ota_batch_number(stage, "total");
    int64_t good = ota_batch_count(stage, OTA_SHOWN_SUCCEEDED);
    int64_t bad = ota_batch_count(stage, OTA_SHOWN_FAILED);
    int64_t waiting = ota_batch_count(stage, OTA_SHOWN_DEVICE_OFFLINE) +
                      ota_batch_count(stage, OTA_SHOWN_TASK_WAITING) +
                      ota_batch_count(stage, OTA_SHOWN_CANCELLED);
    int64_t all = total > 0 ? total : 1;
    int64_t good_end = good * BAR_WIDTH / all;
    int64_t bad_end = (good + bad) * BAR_WIDTH / all;
    int64_t under_way_end = total > 0 ? (total - waiting) * BAR_WIDTH / all : 0;
    put_cells(screen, OTA_GREEN, "█", good_end);
    put_cells(screen, OTA_RED, "x", bad_end - good_end);
    put_cells(screen, OTA_CYAN, "▒", under_way_end - bad_end);
    put_cells(screen, OTA_DIM, "·", BAR_WIDTH - under_way_end);
}

static void draw_stage(struct ota_screen *screen, const json_t *stages, size_t number)
{
    char text[LINE_MAX_LEN];
    char reach[64];
    char gate[96];
    const json_t *stage = json_array_get(stages, number);
    const json_t *state = json_object_get(stage, "state");
    const char *name = json_string_value(state) != NULL ? json_string_value(state) : "";
    bool is_open = strcmp(name, ota_stage_state_name(OTA_STAGE_OPEN)) == 0;
    bool has_gate = is_open && number + 1 < json_array_size(stages);
    int64_t failed = ota_batch_failed(stage);
    ota_batch_put_reach(stage, reach, sizeof reach);
    ota_batch_put_gate(stage, gate, sizeof gate);
    (void)snprintf(text, sizeof text, "stage %-2zu %12s  ", number + 1, reach);
    ota_screen_put(screen, OTA_PLAIN, text);
    draw_bar(screen, stage);
    (void)snprintf(text, sizeof text, "  %" PRId64 " of %" PRId64, ota_batch_done(stage),
                   ota_batch_number(stage, "total"));
    ota_screen_put(screen, OTA_PLAIN, text);
    if (failed > 0) {
        (void)snprintf(text, sizeof text, ", %" PRId64 " failed", failed);
        ota_screen_put(screen, OTA_RED, text);
    }
    (void)snprintf(text, sizeof text, "  %s%s%s", name, has_gate ? ", needs " : "",
                   has_gate ? gate : "");
    ota_screen_put(screen, ota_format_colour("state", state, stage), text);
    ota_screen_end_line(screen);
}

static void draw_counts(struct ota_screen *screen, const json_t *batch)
{
    bool any = false;
    for (unsigned i = 0; i < OTA_SHOWN_COUNT; i++) {
        char text[128];
        char item[160];
        json_t *status = json_string(ota_shown_name((enum ota_shown)i));
        put_count(batch, (enum ota_shown)i, text, sizeof text);
        if (text[0] != '\0') {
            (void)snprintf(item, sizeof item, "%s%s", any ? "  " : "", text);
            ota_screen_flow(screen, ota_format_colour("status", status, NULL), item);
            any = true;
        }
        json_decref(status);
    }
    if (any) {
        ota_screen_end_line(screen);
    }
}

static void draw_failures(struct ota_screen *screen, const json_t *failures)
{
    for (size_t i = 0; i < CLUSTERS && i < json_array_size(failures); i++) {
        char text[LINE_MAX_LEN];
        ota_batch_put_failure(json_array_get(failures, i), text, sizeof text);
        ota_screen_put(screen, OTA_RED, text);
        ota_screen_end_line(screen);
    }
}

/* Long sentences go on in the next line, at a blank. */
static void draw_sentence(struct ota_screen *screen, enum ota_colour colour, const char *text)
{
    while (*text != '\0') {
        char word[64];
        size_t len = strcspn(text, " ");
        len += text[len] == ' ';
        (void)snprintf(word, sizeof word, "%.*s", (int)len, text);
        ota_screen_flow(screen, colour, word);
        text += len;
    }
    ota_screen_end_line(screen);
}

static void draw(struct ota_batch_view *view, const json_t *batch, const json_t *failures)
{
    struct ota_screen *screen = &view->screen;
    const json_t *stages = json_object_get(batch, "stages");
    char text[OTA_FORMAT_MAX];
    char title[OTA_FORMAT_MAX / 2];
    ota_screen_begin(screen);
    (void)snprintf(text, sizeof text, "batch %" PRId64 "  ", ota_batch_number(batch, "batch"));
    ota_screen_put(screen, OTA_BOLD, text);
    ota_batch_put_state(batch, text, sizeof text);
    ota_screen_put(screen, ota_format_colour("state", json_object_get(batch, "state"), batch),
                   text);
    ota_batch_put_title(batch, title, sizeof title);
    (void)snprintf(text, sizeof text, "  %s", title);
    ota_screen_put(screen, OTA_BOLD, text);
    ota_screen_end_line(screen);
    for (size_t i = 0; i < json_array_size(stages); i++) {
        draw_stage(screen, stages, i);
    }
    draw_counts(screen, batch);
    put_pace(view, batch, text, sizeof text);
    draw_sentence(screen, OTA_PLAIN, text);
    draw_failures(screen, failures);
    ota_batch_put_advice(batch, text, sizeof text);
    if (text[0] != '\0') {
        draw_sentence(screen, OTA_YELLOW, text);
    }
    ota_screen_end(screen);
}

/* --- lines ------------------------------------------------------------------------------------ */

static void print_time(void)
{
    char at[32];
    ota_format_time((int64_t)time(NULL) * 1000, at, sizeof at);
    (void)printf("%s  ", at);
}

static void introduce(const json_t *batch)
{
    char title[OTA_FORMAT_MAX];
    ota_batch_put_title(batch, title, sizeof title);
    (void)printf("batch %" PRId64 ": %s\n", ota_batch_number(batch, "batch"), title);
}

static void print_stages(const struct ota_batch_view *view, const json_t *batch)
{
    const json_t *stages = json_object_get(batch, "stages");
    size_t open = ota_batch_open_stage(batch);
    size_t before = ota_batch_open_stage(view->told);
    for (size_t i = before; i < open && json_array_size(stages) > 1; i++) {
        char reach[64];
        const json_t *stage = json_array_get(stages, i);
        int64_t total = ota_batch_number(stage, "total");
        ota_batch_put_reach(stage, reach, sizeof reach);
        print_time();
        (void)printf("stage %zu of %zu opened: up to %s, %" PRId64 " %s\n", i + 1,
                     json_array_size(stages), reach, total, total == 1 ? "device" : "devices");
    }
}

static void print_numbers(const struct ota_batch_view *view, const json_t *batch)
{
    char text[LINE_MAX_LEN];
    int64_t total = ota_batch_number(batch, "total");
    ota_batch_put_state(batch, text, sizeof text);
    print_time();
    (void)fputs(text, stdout);
    if (total > 0) {
        (void)printf(", %" PRId64 " of %" PRId64 " done", ota_batch_done(batch), total);
    }
    const char *separator = ": ";
    for (unsigned i = 0; i < OTA_SHOWN_COUNT; i++) {
        put_count(batch, (enum ota_shown)i, text, sizeof text);
        (void)printf("%s%s", text[0] != '\0' ? separator : "", text);
        separator = text[0] != '\0' ? ", " : separator;
    }
    put_pace(view, batch, text, sizeof text);
    bool goes_on = ota_batch_state(batch) == OTA_BATCH_RUNNING && text[0] != '\0';
    (void)printf("%s%s\n", goes_on ? "; " : "", goes_on ? text : "");
}

static void print_failures(struct ota_batch_view *view, const json_t *failures)
{
    char all[sizeof view->failures] = "";
    size_t n = 0;
    for (size_t i = 0; i < CLUSTERS && i < json_array_size(failures) && n < sizeof all; i++) {
        char text[LINE_MAX_LEN / 3];
        ota_batch_put_failure(json_array_get(failures, i), text, sizeof text);
        n += (size_t)snprintf(all + n, sizeof all - n, "%s%s", n > 0 ? "; " : "", text);
    }
    if (all[0] != '\0' && strcmp(all, view->failures) != 0) {
        print_time();
        (void)printf("failures so far: %s\n", all);
    }
    memcpy(view->failures, all, sizeof view->failures);
}

static void print_advice(struct ota_batch_view *view, const json_t *batch)
{
    char advice[sizeof view->advice];
    ota_batch_put_advice(batch, advice, sizeof advice);
    if (advice[0] != '\0' && strcmp(advice, view->advice) != 0) {
        print_time();
        (void)puts(advice);
    }
    memcpy(view->advice, advice, sizeof view->advice);
}

static bool is_same(const json_t *a, const json_t *b, const char *key)
{
    return json_equal(json_object_get(a, key), json_object_get(b, key));
}

static int64_t percent_done(const json_t *batch)
{
    int64_t total = ota_batch_number(batch, "total");
    return total > 0 ? ota_batch_done(batch) * 100 / total : 0;
}

/* A line a state; numbers alone make one a percent, or now and then: a log stays readable. */
static bool is_worth_a_line(const struct ota_batch_view *view, const json_t *batch)
{
    const json_t *told = view->told;
    if (told == NULL || !is_same(told, batch, "state") || !is_same(told, batch, "stateReason")) {
        return true;
    }
    if (is_same(told, batch, "counts") && is_same(told, batch, "confirmed")) {
        return false;
    }
    return percent_done(told) != percent_done(batch) ||
           ota_batch_done(batch) == ota_batch_number(batch, "total") ||
           ota_clock_ms() - view->told_ms >= NUMBERS_MS;
}

static void print_changes(struct ota_batch_view *view, const json_t *batch, const json_t *failures)
{
    if (view->told == NULL) {
        introduce(batch);
    }
    bool worth = is_worth_a_line(view, batch);
    print_stages(view, batch);
    if (worth) {
        print_numbers(view, batch);
        view->told_ms = ota_clock_ms();
    }
    print_failures(view, failures);
    print_advice(view, batch);
    /* What was not told is compared again; open stages were. */
    if (worth || ota_batch_open_stage(batch) != ota_batch_open_stage(view->told)) {
        json_decref(view->told);
        view->told = json_incref((json_t *)batch);
    }
    (void)fflush(stdout);
}

/* --- the view --------------------------------------------------------------------------------- */

void ota_batch_view_begin(struct ota_batch_view *view)
{
    *view = (struct ota_batch_view){.live = ota_screen_is_possible()};
}

void ota_batch_view_show(struct ota_batch_view *view, const json_t *batch, const json_t *failures)
{
    ota_pace_note(&view->pace, ota_clock_ms(), ota_batch_done(batch));
    if (view->live) {
        draw(view, batch, failures);
    } else {
        print_changes(view, batch, failures);
    }
}

void ota_batch_view_free(struct ota_batch_view *view)
{
    json_decref(view->told);
    view->told = NULL;
}
