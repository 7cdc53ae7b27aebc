/* SPDX-License-Identifier: BSD-3-Clause */
#include "format.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#include "util/words.h"

#define NOTHING "—"

/* Bytes of the UTF-8 character at text and its code point; a stray byte counts as one. */
static size_t decode(const char *text, uint32_t *point)
{
    const unsigned char *u = (const unsigned char *)text;
    size_t len = u[0] < 0xc0 ? 1 : u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : 4;
    uint32_t value = len == 1 ? u[0] : u[0] & (0xffU >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((u[i] & 0xc0) != 0x80) {
            *point = u[0];
            return 1;
        }
        value = value << 6 | (u[i] & 0x3f);
    }
    *point = value;
    return len;
}

static bool steers_terminal(uint32_t point)
{
    return point < 0x20 || (point >= 0x7f && point < 0xa0) ||
           (point >= 0x202a && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069);
}

void ota_format_clean(const char *text, char *out, size_t size)
{
    size_t n = 0;
    while (*text != '\0') {
        uint32_t point;
        size_t len = decode(text, &point);
        if (n + len + 1 > size) {
            break;
        }
        if (steers_terminal(point)) {
            out[n++] = '?';
        } else {
            memcpy(out + n, text, len);
            n += len;
        }
        text += len;
    }
    out[n] = '\0';
}

size_t ota_format_width(const char *text)
{
    size_t width = 0;
    while (*text != '\0') {
        uint32_t point;
        text += decode(text, &point);
        int columns = wcwidth((wchar_t)point);
        width += columns >= 0 ? (size_t)columns : 1;
    }
    return width;
}

void ota_format_time(int64_t ms, char *out, size_t size)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm local = {0};
    if (localtime_r(&seconds, &local) == NULL ||
        strftime(out, size, "%Y-%m-%d %H:%M:%S", &local) == 0) {
        (void)snprintf(out, size, "%" PRId64, ms);
    }
}

void ota_format_size(int64_t bytes, char *out, size_t size)
{
    static const char *const units[] = {"KB", "MB", "GB", "TB"};
    if (bytes < 1024) {
        (void)snprintf(out, size, "%" PRId64 " B", bytes);
        return;
    }
    double scaled = (double)bytes / 1024;
    size_t unit = 0;
    while (scaled >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        scaled /= 1024;
        unit++;
    }
    (void)snprintf(out, size, "%.1f %s", scaled, units[unit]);
}

void ota_format_duration(int64_t seconds, char *out, size_t size)
{
    static const struct {
        int64_t seconds;
        const char *unit;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
    size_t i = 0;
    while (i < 3 && seconds < units[i].seconds) {
        i++;
    }
    int64_t whole = seconds / units[i].seconds;
    /* The smaller part says something beside hours and days only. */
    int64_t part = i < 2 ? seconds % units[i].seconds / units[i + 1].seconds : 0;
    size_t n = (size_t)snprintf(out, size, "%" PRId64 " %s", whole, units[i].unit);
    if (part > 0 && n < size) {
        (void)snprintf(out + n, size - n, " %" PRId64 " %s", part, units[i + 1].unit);
    }
}

void ota_format_bar(int64_t value, int64_t most, int width, char *out, size_t size)
{
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    int64_t parts = most > 0 ? value * width * 8 / most : 0;
    size_t n = 0;
    out[0] = '\0';
    for (int64_t i = 0; i < parts / 8 && n < size; i++) {
        n += (size_t)snprintf(out + n, size - n, "█");
    }
    const char *rest = value > 0 && parts == 0 ? eighths[1] : eighths[parts % 8];
    if (n < size) {
        (void)snprintf(out + n, size - n, "%s", rest);
    }
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static void put_words(const char *name, char *out, size_t size)
{
    ota_format_clean(name, out, size);
    for (char *c = out; *c != '\0'; c++) {
        *c = (char)(*c == '_' ? ' ' : *c);
    }
}

/* "downloading 40 %", "upgraded successfully (confirmed)", "task waiting (in flight)" */
static void put_status(const json_t *value, const json_t *object, char *out, size_t size)
{
    const char *name = json_string_value(value);
    enum ota_shown shown = name != NULL ? ota_shown_parse(name) : OTA_SHOWN_COUNT;
    if (shown == OTA_SHOWN_COUNT) {
        put_words(name != NULL ? name : NOTHING, out, size);
        return;
    }
    const json_t *percent = json_object_get(object, "percent");
    const char *note = text_of(object, "confirmation");
    if (note == NULL) {
        note = text_of(object, "waitReason");
    }
    char words[64];
    put_words(note != NULL ? note : "", words, sizeof words);
    if (shown == OTA_SHOWN_DOWNLOADING && json_is_integer(percent)) {
        (void)snprintf(out, size, "%s %" JSON_INTEGER_FORMAT " %%", ota_shown_words(shown),
                       json_integer_value(percent));
    } else {
        (void)snprintf(out, size, "%s%s%s%s", ota_shown_words(shown), note != NULL ? " (" : "",
                       words, note != NULL ? ")" : "");
    }
}

static void put_plain(const json_t *value, const json_t *object, char *out, size_t size)
{
    (void)object;
    char number[48] = NOTHING;
    const char *text = number;
    switch (json_typeof(value)) {
    case JSON_STRING:
        text = json_string_value(value);
        break;
    case JSON_INTEGER:
        (void)snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL:
        (void)snprintf(number, sizeof number, "%g", json_real_value(value));
        break;
    case JSON_TRUE:
        text = "yes";
        break;
    case JSON_FALSE:
        text = "no";
        break;
    case JSON_NULL:
    case JSON_OBJECT:
    case JSON_ARRAY:
        break;
    }
    ota_format_clean(text[0] != '\0' ? text : NOTHING, out, size);
}

static void put_time(const json_t *value, const json_t *object, char *out, size_t size)
{
    (void)object;
    ota_format_time(json_integer_value(value), out, size);
}

static void put_size(const json_t *value, const json_t *object, char *out, size_t size)
{
    (void)object;
    ota_format_size(json_integer_value(value), out, size);
}

static void put_percent(const json_t *value, const json_t *object, char *out, size_t size)
{
    (void)object;
    (void)snprintf(out, size, "%" JSON_INTEGER_FORMAT " %%", json_integer_value(value));
}

/* Puts separator (but in front of the first) and text behind what out holds. */
static void append(char *out, size_t size, const char *separator, const char *text)
{
    size_t n = strlen(out);
    (void)snprintf(out + n, size - n, "%s%s", n > 0 ? separator : "", text);
}

/* A task in one line, inside a device. */
static bool put_task(const json_t *value, char *out, size_t size)
{
    const json_t *status = json_object_get(value, "status");
    const json_t *task = json_object_get(value, "task");
    if (status == NULL || !json_is_integer(task)) {
        return false;
    }
    char words[160];
    char version[64];
    put_status(status, value, words, sizeof words);
    put_plain(json_object_get(value, "version") != NULL ? json_object_get(value, "version") : task,
              NULL, version, sizeof version);
    (void)snprintf(out, size, "%" JSON_INTEGER_FORMAT ", to %s: %s", json_integer_value(task),
                   version, words);
    return true;
}

static void put_object(const json_t *value, char *out, size_t size)
{
    const char *key;
    json_t *member;
    out[0] = '\0';
    json_object_foreach((json_t *)value, key, member)
    {
        char pair[256];
        char text[192];
        char title[48];
        ota_format_value(key, member, value, text, sizeof text);
        ota_format_title(key, title, sizeof title);
        bool nested = json_is_object(member) || json_is_array(member);
        (void)snprintf(pair, sizeof pair, nested ? "%s (%s)" : "%s %s", title, text);
        append(out, size, ", ", pair);
    }
    if (out[0] == '\0') {
        (void)snprintf(out, size, NOTHING);
    }
}

static void put_array(const json_t *value, char *out, size_t size)
{
    size_t i;
    const json_t *member;
    out[0] = '\0';
    json_array_foreach((json_t *)value, i, member)
    {
        char text[OTA_FORMAT_MAX / 4];
        put_plain(member, NULL, text, sizeof text);
        append(out, size, ", ", text);
    }
    if (out[0] == '\0') {
        (void)snprintf(out, size, NOTHING);
    }
}

/* "failure_threshold" */
static void put_name(const json_t *value, const json_t *object, char *out, size_t size)
{
    (void)object;
    put_words(json_string_value(value), out, size);
}

/* How values are written whose JSON type doesn't say it; a key that begins with * is an
 * ending. */
static const struct {
    const char *key;
    json_type type;
    void (*put)(const json_t *value, const json_t *object, char *out, size_t size);
} kinds[] = {
    {"status", JSON_STRING, put_status},    {"at", JSON_INTEGER, put_time},
    {"*At", JSON_INTEGER, put_time},        {"size", JSON_INTEGER, put_size},
    {"bytes", JSON_INTEGER, put_size},      {"*Bytes", JSON_INTEGER, put_size},
    {"percent", JSON_INTEGER, put_percent}, {"reason", JSON_STRING, put_name},
    {"*Reason", JSON_STRING, put_name},     {"state", JSON_STRING, put_name},
};

static bool key_matches(const char *pattern, const char *key)
{
    if (pattern[0] != '*') {
        return strcmp(pattern, key) == 0;
    }
    size_t end = strlen(pattern + 1);
    size_t len = strlen(key);
    return len > end && strcmp(key + len - end, pattern + 1) == 0;
}

void ota_format_value(const char *key, const json_t *value, const json_t *object, char *out,
                      size_t size)
{
    if (value == NULL) {
        (void)snprintf(out, size, NOTHING);
        return;
    }
    if (json_is_object(value)) {
        if (!put_task(value, out, size)) {
            put_object(value, out, size);
        }
        return;
    }
    if (json_is_array(value)) {
        put_array(value, out, size);
        return;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i].type == json_typeof(value) && key_matches(kinds[i].key, key)) {
            kinds[i].put(value, object, out, size);
            return;
        }
    }
    put_plain(value, object, out, size);
}

bool ota_format_is_time(const char *key, const json_t *value)
{
    return json_is_integer(value) && (key_matches("at", key) || key_matches("*At", key));
}

bool ota_format_is_folded(const char *key, const json_t *object)
{
    static const char *const folded[] = {"percent", "confirmation", "waitReason"};
    const char *status = text_of(object, "status");
    if (status == NULL || ota_shown_parse(status) == OTA_SHOWN_COUNT) {
        return false;
    }
    for (size_t i = 0; i < sizeof folded / sizeof folded[0]; i++) {
        if (strcmp(folded[i], key) == 0) {
            return true;
        }
    }
    return false;
}

void ota_format_title(const char *key, char *out, size_t size)
{
    size_t n = 0;
    for (; *key != '\0' && n + 2 < size; key++) {
        if (isupper((unsigned char)*key)) {
            out[n++] = ' ';
        }
        out[n++] = (char)(*key == '_' ? ' ' : tolower((unsigned char)*key));
    }
    out[n] = '\0';
    char clean[128];
    ota_format_clean(out, clean, sizeof clean);
    (void)snprintf(out, size, "%s", clean);
}

/* Of a batch or of one of its stages; a reason may follow in brackets. */
static enum ota_colour colour_of_state(const char *state)
{
    static const struct {
        const char *state;
        enum ota_colour colour;
    } colours[] = {{"preparing", OTA_CYAN}, {"running", OTA_CYAN},   {"open", OTA_CYAN},
                   {"paused", OTA_YELLOW},  {"finished", OTA_GREEN}, {"passed", OTA_GREEN},
                   {"waiting", OTA_DIM},    {"cancelled", OTA_DIM}};
    for (size_t i = 0; i < sizeof colours / sizeof colours[0]; i++) {
        if (strncmp(state, colours[i].state, strlen(colours[i].state)) == 0) {
            return colours[i].colour;
        }
    }
    return OTA_PLAIN;
}

enum ota_colour ota_format_colour(const char *key, const json_t *value, const json_t *object)
{
    static const enum ota_colour colours[OTA_SHOWN_COUNT] = {
        [OTA_SHOWN_DEVICE_OFFLINE] = OTA_DIM, [OTA_SHOWN_TASK_WAITING] = OTA_DIM,
        [OTA_SHOWN_MESSAGE_SENT] = OTA_CYAN,  [OTA_SHOWN_DOWNLOADING] = OTA_CYAN,
        [OTA_SHOWN_DOWNLOADED] = OTA_CYAN,    [OTA_SHOWN_UPGRADING] = OTA_CYAN,
        [OTA_SHOWN_FAILED] = OTA_RED,         [OTA_SHOWN_SUCCEEDED] = OTA_GREEN,
        [OTA_SHOWN_CANCELLED] = OTA_YELLOW,
    };
    if (strcmp(key, "online") == 0 && json_is_boolean(value)) {
        return json_is_true(value) ? OTA_GREEN : OTA_DIM;
    }
    if (strcmp(key, "warnings") == 0) {
        return OTA_YELLOW;
    }
    if (strcmp(key, "state") == 0 && json_is_string(value)) {
        return colour_of_state(json_string_value(value));
    }
    if (strcmp(key, "status") != 0 || !json_is_string(value)) {
        return OTA_PLAIN;
    }
    const char *confirmation = text_of(object, "confirmation");
    if (confirmation != NULL && strcmp(confirmation, "contradicted") == 0) {
        return OTA_YELLOW;
    }
    enum ota_shown shown = ota_shown_parse(json_string_value(value));
    return shown < OTA_SHOWN_COUNT ? colours[shown] : OTA_PLAIN;
}

static bool has_colours(void)
{
    const char *no = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && (no == NULL || no[0] == '\0') && term != NULL &&
           strcmp(term, "dumb") != 0;
}

const char *ota_format_on(enum ota_colour colour)
{
    static const char *const codes[] = {
        [OTA_PLAIN] = "",        [OTA_BOLD] = "\033[1m",   [OTA_DIM] = "\033[2m",
        [OTA_RED] = "\033[31m",  [OTA_GREEN] = "\033[32m", [OTA_YELLOW] = "\033[33m",
        [OTA_CYAN] = "\033[36m",
    };
    return has_colours() ? codes[colour] : "";
}

const char *ota_format_off(enum ota_colour colour)
{
    return colour != OTA_PLAIN && has_colours() ? "\033[0m" : "";
}
