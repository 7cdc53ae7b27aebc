/* SPDX-License-Identifier: BSD-3-Clause */
#include "report_parts.h"

#include <string.h>

#define OTA_DIGITS_MAX 9

struct cursor {
    const char *at;
    const char *end;
};

enum level { ROOT, REPORT, PROGRESS, NOWHERE };

/* Where a member may stand, and what it is: a part, or the way down to the next level. */
static const struct {
    enum level level;
    enum level below; /* NOWHERE: a value */
    const char *key;
    size_t part; /* offset in struct ota_report_parts */
} members[] = {
    {ROOT, NOWHERE, "type", offsetof(struct ota_report_parts, type)},
    {ROOT, REPORT, "report", 0},
    {REPORT, NOWHERE, "version", offsetof(struct ota_report_parts, version)},
    {REPORT, PROGRESS, "progress", 0},
    {PROGRESS, NOWHERE, "state", offsetof(struct ota_report_parts, state)},
    {PROGRESS, NOWHERE, "percent", offsetof(struct ota_report_parts, percent)},
    {PROGRESS, NOWHERE, "result_code", offsetof(struct ota_report_parts, result_code)},
    {PROGRESS, NOWHERE, "result_msg", offsetof(struct ota_report_parts, result_msg)},
    {ROOT, NOWHERE, "task", offsetof(struct ota_report_parts, task)},
    {ROOT, NOWHERE, "offset", offsetof(struct ota_report_parts, offset)},
    {ROOT, NOWHERE, "length", offsetof(struct ota_report_parts, length)},
    {ROOT, NOWHERE, "count", offsetof(struct ota_report_parts, count)},
};

#define MEMBERS (sizeof members / sizeof members[0])

static void skip_space(struct cursor *cursor)
{
    while (cursor->at < cursor->end && (*cursor->at == ' ' || *cursor->at == '\t' ||
                                        *cursor->at == '\n' || *cursor->at == '\r')) {
        cursor->at++;
    }
}

/* Takes the character, and the space around it. */
static bool take(struct cursor *cursor, char c)
{
    skip_space(cursor);
    if (cursor->at == cursor->end || *cursor->at != c) {
        return false;
    }
    cursor->at++;
    skip_space(cursor);
    return true;
}

static bool take_string(struct cursor *cursor, const char **text, size_t *len)
{
    if (cursor->at == cursor->end || *cursor->at != '"') {
        return false;
    }
    *text = ++cursor->at;
    while (cursor->at < cursor->end && *cursor->at >= 0x20 && *cursor->at < 0x7f &&
           *cursor->at != '"' && *cursor->at != '\\') {
        cursor->at++;
    }
    *len = (size_t)(cursor->at - *text);
    return cursor->at < cursor->end && *cursor->at++ == '"';
}

static bool take_integer(struct cursor *cursor, int64_t *value)
{
    bool negative = cursor->at < cursor->end && *cursor->at == '-';
    cursor->at += negative;
    const char *first = cursor->at;
    int64_t n = 0;
    while (cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9') {
        if (cursor->at - first == OTA_DIGITS_MAX) {
            return false;
        }
        n = n * 10 + (*cursor->at++ - '0');
    }
    bool leading_zero = cursor->at - first > 1 && *first == '0';
    *value = negative ? -n : n;
    /* what follows a number is the caller's to check: a fraction isn't a comma or a brace */
    return cursor->at > first && !leading_zero;
}

static bool take_value(struct cursor *cursor, struct ota_part *part)
{
    if (part->kind != OTA_PART_ABSENT) {
        return false; /* twice */
    }
    if (cursor->at < cursor->end && *cursor->at == '"') {
        part->kind = OTA_PART_TEXT;
        return take_string(cursor, &part->text, &part->len);
    }
    part->kind = OTA_PART_INTEGER;
    return take_integer(cursor, &part->integer);
}

static size_t member_of(enum level level, const char *key, size_t len)
{
    size_t i = 0;
    while (i < MEMBERS && (members[i].level != level || strlen(members[i].key) != len ||
                           memcmp(members[i].key, key, len) != 0)) {
        i++;
    }
    return i;
}

/* One `"key": value`; seen has a bit a member. At most three levels deep. */
static bool take_object(struct cursor *cursor, enum level level, struct ota_report_parts *parts,
                        unsigned *seen);

static bool take_member(struct cursor *cursor, enum level level, struct ota_report_parts *parts,
                        unsigned *seen)
{
    const char *key;
    size_t len;
    if (!take_string(cursor, &key, &len) || !take(cursor, ':')) {
        return false;
    }
    size_t i = member_of(level, key, len);
    if (i == MEMBERS || (*seen & (1u << i)) != 0) {
        return false;
    }
    *seen |= 1u << i;
    if (members[i].below != NOWHERE) {
        return take_object(cursor, members[i].below, parts, seen);
    }
    return take_value(cursor, (struct ota_part *)((char *)parts + members[i].part));
}

static bool take_object(struct cursor *cursor, enum level level, struct ota_report_parts *parts,
                        unsigned *seen)
{
    if (!take(cursor, '{')) {
        return false;
    }
    do {
        if (!take_member(cursor, level, parts, seen)) {
            return false;
        }
    } while (take(cursor, ','));
    return take(cursor, '}');
}

bool ota_report_scan(const char *text, size_t len, struct ota_report_parts *parts)
{
    struct cursor cursor = {text, text + len};
    unsigned seen = 0;
    *parts = (struct ota_report_parts){0};
    return take_object(&cursor, ROOT, parts, &seen) && cursor.at == cursor.end;
}
