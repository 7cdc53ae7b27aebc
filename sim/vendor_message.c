/* SPDX-License-Identifier: BSD-3-Clause */
#include "vendor_message.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define OTA_SIZE_MAX 1e12

/* A value as it stands in the text; of a string, what is between the quotes. */
struct raw {
    const char *at;
    size_t len;
};

static size_t skip_space(const char *text, size_t len, size_t at)
{
    while (at < len && strchr(" \t\r\n", text[at]) != NULL && text[at] != '\0') {
        at++;
    }
    return at;
}

/* From a string's first quote to behind its last. */
static size_t skip_string(const char *text, size_t len, size_t at)
{
    for (at++; at < len && text[at] != '"'; at++) {
        at += text[at] == '\\';
    }
    return at + 1;
}

/* What is skipped is known to be JSON: brackets pair. */
static size_t skip_value(const char *text, size_t len, size_t at)
{
    int depth = 0;
    while (at < len) {
        char byte = text[at];
        if (depth == 0 && (byte == ',' || byte == '}')) {
            break;
        }
        depth += byte == '{' || byte == '[';
        depth -= byte == '}' || byte == ']';
        at = byte == '"' ? skip_string(text, len, at) : at + 1;
    }
    return at;
}

static struct raw cut(const char *text, size_t from, size_t to)
{
    while (to > from && skip_space(text, to, to - 1) == to) {
        to--;
    }
    if (to - from >= 2 && text[from] == '"') {
        from++;
        to--;
    }
    return (struct raw){text + from, to - from};
}

/* Of the first member of that name; at is NULL where there is none. */
static struct raw find(const char *text, size_t len, const char *name)
{
    size_t at = skip_space(text, len, 0) + 1; /* behind the bracket */
    while ((at = skip_space(text, len, at)) < len && text[at] == '"') {
        size_t end = skip_string(text, len, at);
        struct raw key = cut(text, at, end);
        at = skip_space(text, len, skip_space(text, len, end) + 1); /* behind the colon */
        end = skip_value(text, len, at);
        if (key.len == strlen(name) && memcmp(key.at, name, key.len) == 0) {
            return cut(text, at, end);
        }
        at = end + 1;
    }
    return (struct raw){0};
}

static bool copy(const char *text, size_t len, const char *name, char *out, size_t size)
{
    struct raw value = find(text, len, name);
    if (value.at == NULL || value.len == 0 || value.len >= size) {
        return false;
    }
    memcpy(out, value.at, value.len);
    out[value.len] = '\0';
    return true;
}

static bool copy_number(const char *text, size_t len, const char *name, int64_t *number)
{
    char digits[32], *end;
    if (!copy(text, len, name, digits, sizeof digits)) {
        return false;
    }
    double value = strtod(digits, &end);
    if (end == digits || *end != '\0' || !(value >= -OTA_SIZE_MAX && value <= OTA_SIZE_MAX)) {
        return false;
    }
    *number = (int64_t)value;
    return true;
}

static bool read_notice(const char *text, size_t len, struct ota_message *message)
{
    struct ota_notice *notice = &message->notice;
    message->type = OTA_MESSAGE_NOTICE;
    return copy(text, len, "version", notice->version, sizeof notice->version) &&
           copy(text, len, "url", notice->url, sizeof notice->url) &&
           copy(text, len, "md5sum", notice->md5, sizeof notice->md5) &&
           copy_number(text, len, "file_size", &notice->size) && notice->size >= 0;
}

static bool read_answer(const char *text, size_t len, struct ota_message *message)
{
    message->type = OTA_MESSAGE_ANSWER;
    (void)copy(text, len, "result_msg", message->result_msg, sizeof message->result_msg);
    return copy_number(text, len, "result_code", &message->result_code);
}

static bool is_object(const void *payload, size_t len)
{
    json_t *json = json_loadb(payload, len, 0, NULL);
    bool object = json_is_object(json);
    json_decref(json);
    return object;
}

bool ota_vendor_message_parse(const void *payload, size_t len, struct ota_message *message)
{
    char type[32];
    *message = (struct ota_message){0};
    if (!is_object(payload, len) || !copy(payload, len, "type", type, sizeof type)) {
        return false;
    }
    if (strcmp(type, "update_firmware") == 0) {
        return read_notice(payload, len, message);
    }
    return strcmp(type, "report_version_rsp") != 0 || read_answer(payload, len, message);
}
