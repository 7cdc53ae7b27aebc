/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading a report. Bytes come from devices: nothing here trusts them. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "intake.h"
#include "report_parts.h"
#include "util/json_text.h"

#define OTA_DEPTH_MAX 16
#define OTA_KEYS_MAX  64

/* Before the parser sees it: a document of 4 KiB can hold 2,000 levels or keys. */
static bool is_reasonable(const char *text, size_t len, int max_keys)
{
    int depth = 0;
    int keys = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (in_string) {
            i += c == '\\';
            in_string = c != '"';
            continue;
        }
        in_string = c == '"';
        keys += c == ':';
        depth += (c == '{' || c == '[') - (c == '}' || c == ']');
        if (depth > OTA_DEPTH_MAX || keys > max_keys) {
            return false;
        }
    }
    return true;
}

/* A whole number, or a string of one: vendor devices send "27" and "-4". */
static bool read_whole(const struct ota_part *part, int64_t min, int64_t max, int64_t *number)
{
    int64_t n = part->integer;
    if (part->kind == OTA_PART_TEXT) {
        char text[16];
        if (part->len == 0 || part->len >= sizeof text) {
            return false;
        }
        memcpy(text, part->text, part->len);
        text[part->len] = '\0';
        size_t digits = strspn(text + (*text == '-'), "0123456789");
        if (digits == 0 || digits > 10 || (size_t)(*text == '-') + digits != part->len) {
            return false;
        }
        n = strtoll(text, NULL, 10);
    } else if (part->kind != OTA_PART_INTEGER) {
        return false;
    }
    if (n < min || n > max) {
        return false;
    }
    *number = n;
    return true;
}

static bool read_number(const struct ota_part *part, int64_t min, int64_t max, int *number)
{
    int64_t n;
    if (!read_whole(part, min, max, &n)) {
        return false;
    }
    *number = (int)n;
    return true;
}

static bool is_word(const struct ota_part *part, const char *word)
{
    return part->len == strlen(word) && memcmp(part->text, word, part->len) == 0;
}

static enum ota_refusal read_version(const struct ota_part *part, struct ota_report *report)
{
    if (part->kind != OTA_PART_TEXT) {
        return OTA_REFUSED_SHAPE;
    }
    if (!ota_name_is_version(part->text, part->len)) {
        return OTA_REFUSED_VERSION;
    }
    memcpy(report->version, part->text, part->len);
    return OTA_REFUSAL_COUNT;
}

static bool read_state(const struct ota_part *part, enum ota_upgrade_event_kind *kind)
{
    static const struct {
        const char *state;
        enum ota_upgrade_event_kind kind;
    } states[] = {{"downloading", OTA_EV_DOWNLOADING},
                  {"downloaded", OTA_EV_DOWNLOADED},
                  {"burning", OTA_EV_BURNING},
                  {"done", OTA_EV_DONE},
                  {"fail", OTA_EV_FAIL}};
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        if (is_word(part, states[i].state)) {
            *kind = states[i].kind;
            return true;
        }
    }
    return false;
}

static enum ota_refusal read_progress(const struct ota_report_parts *parts,
                                      struct ota_report *report)
{
    if (parts->state.kind != OTA_PART_TEXT) {
        return OTA_REFUSED_SHAPE;
    }
    if (!read_state(&parts->state, &report->kind)) {
        return OTA_REFUSED_STATE;
    }
    report->percent = 0;
    report->code = -5; /* a fail without a code is a failed upgrade */
    if ((parts->percent.kind != OTA_PART_ABSENT &&
         !read_number(&parts->percent, 0, 100, &report->percent)) ||
        (parts->result_code.kind != OTA_PART_ABSENT &&
         !read_number(&parts->result_code, INT32_MIN, INT32_MAX, &report->code))) {
        return OTA_REFUSED_NUMBER;
    }
    if (report->kind == OTA_EV_DOWNLOADING && report->percent == 100) {
        report->kind = OTA_EV_DOWNLOADED;
    }
    if (parts->result_msg.kind == OTA_PART_TEXT) {
        (void)snprintf(report->message, sizeof report->message, "%.*s", (int)parts->result_msg.len,
                       parts->result_msg.text);
    }
    return OTA_REFUSAL_COUNT;
}

static enum ota_refusal read_block(const struct ota_report_parts *parts,
                                   struct ota_block_ask *block)
{
    if (parts->task.kind == OTA_PART_ABSENT || parts->offset.kind == OTA_PART_ABSENT ||
        parts->length.kind == OTA_PART_ABSENT) {
        return OTA_REFUSED_SHAPE;
    }
    block->count = 1;
    bool good = read_whole(&parts->task, 1, INT64_MAX, &block->task) &&
                read_whole(&parts->offset, 0, INT64_MAX, &block->offset) &&
                read_number(&parts->length, 1, OTA_BLOCK_LENGTH_MAX, &block->length) &&
                (parts->count.kind == OTA_PART_ABSENT ||
                 read_number(&parts->count, 1, OTA_BLOCK_COUNT_MAX, &block->count));
    return good ? OTA_REFUSAL_COUNT : OTA_REFUSED_NUMBER;
}

static bool read_kind(const struct ota_part *type, enum ota_report_says *says)
{
    static const struct {
        const char *type;
        enum ota_report_says says;
    } types[] = {{"report_version", OTA_SAYS_VERSION},
                 {"report_progress", OTA_SAYS_PROGRESS},
                 {"request_block", OTA_ASKS_BLOCK},
                 {"request_update", OTA_ASKS_UPDATE}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (is_word(type, types[i].type)) {
            *says = types[i].says;
            return true;
        }
    }
    return false;
}

static enum ota_refusal judge(const struct ota_report_parts *parts, struct ota_report *report)
{
    *report = (struct ota_report){0};
    if (parts->type.kind != OTA_PART_TEXT) {
        return OTA_REFUSED_SHAPE;
    }
    if (!read_kind(&parts->type, &report->says)) {
        return OTA_REFUSED_TYPE;
    }
    if (report->says == OTA_ASKS_BLOCK) {
        return read_block(parts, &report->block);
    }
    if (report->says == OTA_ASKS_UPDATE) {
        return OTA_REFUSAL_COUNT;
    }
    enum ota_refusal refusal = read_version(&parts->version, report);
    if (refusal != OTA_REFUSAL_COUNT || report->says == OTA_SAYS_VERSION) {
        return refusal;
    }
    return read_progress(parts, report);
}

static struct ota_part part_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_string(value)) {
        return (struct ota_part){.kind = OTA_PART_TEXT,
                                 .text = json_string_value(value),
                                 .len = json_string_length(value)};
    }
    if (json_is_integer(value)) {
        return (struct ota_part){.kind = OTA_PART_INTEGER, .integer = json_integer_value(value)};
    }
    return (struct ota_part){.kind = value == NULL ? OTA_PART_ABSENT : OTA_PART_OTHER};
}

enum ota_refusal ota_report_read(const void *payload, size_t len, int max_keys, json_t **root)
{
    const char *text = payload != NULL ? payload : "";
    if (len > OTA_REPORT_MAX) {
        return OTA_REFUSED_TOO_LARGE;
    }
    if (!is_reasonable(text, payload != NULL ? len : 0, max_keys)) {
        return OTA_REFUSED_NESTED;
    }
    bool no_memory;
    *root = ota_json_read(text, len, JSON_REJECT_DUPLICATES, NULL, &no_memory);
    if (*root == NULL) {
        return no_memory ? OTA_REFUSED_STORE : OTA_REFUSED_NOT_JSON;
    }
    return OTA_REFUSAL_COUNT;
}

enum ota_refusal ota_report_parse_any(const void *payload, size_t len, struct ota_report *report)
{
    json_t *root = NULL;
    report->says = OTA_SAYS_NOTHING;
    enum ota_refusal read = ota_report_read(payload, len, OTA_KEYS_MAX, &root);
    if (read != OTA_REFUSAL_COUNT) {
        return read;
    }
    const json_t *body = json_object_get(root, "report");
    const json_t *progress = json_object_get(body, "progress");
    struct ota_report_parts parts = {.type = part_of(root, "type"),
                                     .version = part_of(body, "version"),
                                     .state = part_of(progress, "state"),
                                     .percent = part_of(progress, "percent"),
                                     .result_code = part_of(progress, "result_code"),
                                     .result_msg = part_of(progress, "result_msg"),
                                     .task = part_of(root, "task"),
                                     .offset = part_of(root, "offset"),
                                     .length = part_of(root, "length"),
                                     .count = part_of(root, "count")};
    enum ota_refusal refusal = judge(&parts, report);
    json_decref(root);
    return refusal;
}

enum ota_refusal ota_report_parse(const void *payload, size_t len, struct ota_report *report)
{
    struct ota_report_parts parts;
    if (len > OTA_REPORT_MAX) {
        report->says = OTA_SAYS_NOTHING;
        return OTA_REFUSED_TOO_LARGE;
    }
    if (payload != NULL && ota_report_scan(payload, len, &parts)) {
        return judge(&parts, report);
    }
    return ota_report_parse_any(payload, len, report);
}
