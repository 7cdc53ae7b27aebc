/* SPDX-License-Identifier: BSD-3-Clause */
#include "batch_value.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "util/names.h"

/* Milliseconds of 1973: what is less was meant as seconds, or is no time at all. */
#define EARLIEST_MS INT64_C(100000000000)
#define PART_MAX    64

/* --- parts ------------------------------------------------------------------------------------ */

/* A whole number at text; gives what follows it, or NULL. */
static const char *read_number(const char *text, int64_t *number)
{
    char *end = NULL;
    errno = 0;
    *number = strtoll(text, &end, 10);
    return errno == 0 && end != text && text[0] >= '0' && text[0] <= '9' ? end : NULL;
}

/* "90", "90s", "30m", "2h", "1d". */
static bool read_duration(const char *text, bool needs_unit, int64_t *seconds)
{
    static const struct {
        const char *unit;
        int64_t seconds;
    } units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"min", 60}, {"h", 3600}, {"d", 86400}};
    int64_t number;
    const char *unit = read_number(text, &number);
    for (size_t i = needs_unit ? 1 : 0; unit != NULL && i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(unit, units[i].unit) == 0 && number <= INT32_MAX) {
            *seconds = number * units[i].seconds;
            return true;
        }
    }
    return false;
}

/* Copies the part of *text up to a separator, and steps over both; false: too long. */
static bool next_part(const char **text, char separator, char *part)
{
    const char stop[] = {separator, '\0'};
    size_t len = strcspn(*text, stop);
    if (len >= PART_MAX) {
        return false;
    }
    memcpy(part, *text, len);
    part[len] = '\0';
    *text += len;
    *text += **text != '\0';
    return true;
}

static json_t *load_json(const char *text)
{
    return json_loads(text, JSON_REJECT_DUPLICATES, NULL);
}

/* --- stages ----------------------------------------------------------------------------------- */

/* "10%", "0.5%" or "500". */
static bool put_reach(const char *text, json_t *stage)
{
    char *end = NULL;
    double share = strtod(text, &end);
    if (strcmp(end, "%") == 0 && end != text) {
        bool whole = share == floor(share);
        return share > 0 && share <= 100 &&
               json_object_set_new(stage, "percent",
                                   whole ? json_integer((json_int_t)share) : json_real(share)) == 0;
    }
    int64_t count;
    const char *rest = read_number(text, &count);
    return rest != NULL && *rest == '\0' && count > 0 &&
           json_object_set_new(stage, "count", json_integer(count)) == 0;
}

/* "min=95", "soak=1h", "manual". */
static bool put_condition(const char *text, json_t *stage)
{
    int64_t number;
    if (strcmp(text, "manual") == 0 || strcmp(text, "auto") == 0) {
        return json_object_set_new(stage, "advance", json_string(text)) == 0;
    }
    if (strncmp(text, "soak=", 5) == 0) {
        return read_duration(text + 5, false, &number) &&
               json_object_set_new(stage, "soakSeconds", json_integer(number)) == 0;
    }
    if (strncmp(text, "min=", 4) != 0) {
        return false;
    }
    const char *rest = read_number(text + 4, &number);
    return rest != NULL && (*rest == '\0' || strcmp(rest, "%") == 0) && number <= 100 &&
           json_object_set_new(stage, "minSuccessPercent", json_integer(number)) == 0;
}

static bool read_stage(const char *text, json_t *stage)
{
    char part[PART_MAX];
    bool good = next_part(&text, ':', part) && put_reach(part, stage);
    while (good && *text != '\0') {
        good = next_part(&text, ':', part) && put_condition(part, stage);
    }
    return good;
}

json_t *ota_batch_value_stages(const char *text, const struct ota_param *param)
{
    (void)param;
    if (text[0] == '[') {
        return load_json(text);
    }
    json_t *stages = json_array();
    bool good = true;
    do {
        char part[PART_MAX];
        json_t *stage = json_object();
        good = next_part(&text, ',', part) && read_stage(part, stage);
        good = json_array_append_new(stages, stage) == 0 && good;
    } while (good && *text != '\0');
    if (!good) {
        json_decref(stages);
        return NULL;
    }
    return stages;
}

/* --- others ----------------------------------------------------------------------------------- */

json_t *ota_batch_value_threshold(const char *text, const struct ota_param *param)
{
    (void)param;
    int64_t percent;
    int64_t finished;
    if (text[0] == '{') {
        return load_json(text);
    }
    const char *rest = read_number(text, &percent);
    rest = rest != NULL && *rest == '%' ? rest + 1 : rest;
    if (rest == NULL || *rest != '/' || percent < 1 || percent > 100) {
        return NULL;
    }
    rest = read_number(rest + 1, &finished);
    if (rest == NULL || *rest != '\0' || finished < 1) {
        return NULL;
    }
    return json_pack("{s:I, s:I}", "percent", (json_int_t)percent, "minFinished",
                     (json_int_t)finished);
}

json_t *ota_batch_value_target(const char *text, const struct ota_param *param)
{
    (void)param;
    return text[0] == '{' ? load_json(text) : NULL;
}

/* A day and a time of day, as the calendar has them: 31 February is none. */
static json_t *read_calendar(const char *text)
{
    static const char *const formats[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M",
                                          "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"};
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        struct tm told = {.tm_isdst = -1};
        const char *rest = strptime(text, formats[i], &told);
        if (rest == NULL || (*rest != '\0' && strcmp(rest, "Z") != 0)) {
            continue;
        }
        int day = told.tm_mday;
        time_t seconds = *rest == 'Z' ? timegm(&told) : mktime(&told);
        return told.tm_mday == day ? json_integer((json_int_t)seconds * 1000) : NULL;
    }
    return NULL;
}

json_t *ota_batch_value_time(const char *text, const struct ota_param *param)
{
    (void)param;
    int64_t number;
    if (text[0] == '+') {
        return read_duration(text + 1, true, &number)
                   ? json_integer(((json_int_t)time(NULL) + number) * 1000)
                   : NULL;
    }
    const char *rest = read_number(text, &number);
    if (rest != NULL && *rest == '\0') {
        return number >= EARLIEST_MS ? json_integer(number) : NULL;
    }
    return read_calendar(text);
}

static json_t *read_names(const char *text, bool (*legal)(const char *, size_t))
{
    json_t *names = json_array();
    bool good = true;
    do {
        size_t len = strcspn(text, ",");
        good = legal(text, len) && json_array_append_new(names, json_stringn(text, len)) == 0;
        text += len;
        text += *text != '\0';
    } while (good && *text != '\0');
    if (!good) {
        json_decref(names);
        return NULL;
    }
    return names;
}

json_t *ota_batch_value_devices(const char *text, const struct ota_param *param)
{
    (void)param;
    return read_names(text, ota_name_is_device);
}

json_t *ota_batch_value_versions(const char *text, const struct ota_param *param)
{
    (void)param;
    return read_names(text, ota_name_is_version);
}
