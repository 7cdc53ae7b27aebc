/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading a report. Bytes come from devices: nothing here trusts them. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "intake.h"

#define OTA_DEPTH_MAX 16
#define OTA_KEYS_MAX  64

/* Before the parser sees it: a document of 4 KiB can hold 2,000 levels or keys. */
static bool is_reasonable(const char *text, size_t len)
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
        if (depth > OTA_DEPTH_MAX || keys > OTA_KEYS_MAX) {
            return false;
        }
    }
    return true;
}

/* A whole number, or a string of one: vendor devices send "27" and "-4". */
static bool read_number(const json_t *value, long min, long max, int *number)
{
    long long n;
    if (json_is_integer(value)) {
        n = json_integer_value(value);
    } else if (json_is_string(value)) {
        const char *text = json_string_value(value);
        size_t digits = strspn(text + (*text == '-'), "0123456789");
        if (digits == 0 || digits > 10 || text[(*text == '-') + digits] != '\0') {
            return false;
        }
        n = strtoll(text, NULL, 10);
    } else {
        return false;
    }
    if (n < min || n > max) {
        return false;
    }
    *number = (int)n;
    return true;
}

static enum ota_refusal read_version(const json_t *value, struct ota_report *report)
{
    if (!json_is_string(value)) {
        return OTA_REFUSED_SHAPE;
    }
    const char *text = json_string_value(value);
    if (!ota_name_is_version(text, json_string_length(value))) {
        return OTA_REFUSED_VERSION;
    }
    (void)snprintf(report->version, sizeof report->version, "%s", text);
    return OTA_REFUSAL_COUNT;
}

static bool read_state(const char *state, enum ota_upgrade_event_kind *kind)
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
        if (strcmp(states[i].state, state) == 0) {
            *kind = states[i].kind;
            return true;
        }
    }
    return false;
}

static enum ota_refusal read_progress(const json_t *progress, struct ota_report *report)
{
    const json_t *state = json_object_get(progress, "state");
    if (!json_is_string(state)) {
        return OTA_REFUSED_SHAPE;
    }
    if (!read_state(json_string_value(state), &report->kind)) {
        return OTA_REFUSED_STATE;
    }
    const json_t *percent = json_object_get(progress, "percent");
    const json_t *code = json_object_get(progress, "result_code");
    report->percent = 0;
    report->code = -5; /* a fail without a code is a failed upgrade */
    if ((percent != NULL && !read_number(percent, 0, 100, &report->percent)) ||
        (code != NULL && !read_number(code, INT32_MIN, INT32_MAX, &report->code))) {
        return OTA_REFUSED_NUMBER;
    }
    if (report->kind == OTA_EV_DOWNLOADING && report->percent == 100) {
        report->kind = OTA_EV_DOWNLOADED;
    }
    const json_t *message = json_object_get(progress, "result_msg");
    if (json_is_string(message)) {
        (void)snprintf(report->message, sizeof report->message, "%s", json_string_value(message));
    }
    return OTA_REFUSAL_COUNT;
}

static enum ota_refusal read_root(const json_t *root, struct ota_report *report)
{
    const json_t *type = json_object_get(root, "type");
    const json_t *body = json_object_get(root, "report");
    if (!json_is_string(type)) {
        return OTA_REFUSED_SHAPE;
    }
    report->is_version = strcmp(json_string_value(type), "report_version") == 0;
    if (!report->is_version && strcmp(json_string_value(type), "report_progress") != 0) {
        return OTA_REFUSED_TYPE;
    }
    enum ota_refusal refusal = read_version(json_object_get(body, "version"), report);
    if (refusal != OTA_REFUSAL_COUNT || report->is_version) {
        return refusal;
    }
    return read_progress(json_object_get(body, "progress"), report);
}

enum ota_refusal ota_report_parse(const void *payload, size_t len, struct ota_report *report)
{
    if (len > OTA_REPORT_MAX) {
        return OTA_REFUSED_TOO_LARGE;
    }
    if (!is_reasonable(payload, len)) {
        return OTA_REFUSED_NESTED;
    }
    json_t *root = json_loadb(payload != NULL ? payload : "", len, JSON_REJECT_DUPLICATES, NULL);
    if (root == NULL) {
        return OTA_REFUSED_NOT_JSON;
    }
    *report = (struct ota_report){0};
    enum ota_refusal refusal = read_root(root, report);
    json_decref(root);
    return refusal;
}
