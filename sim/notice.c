/* SPDX-License-Identifier: BSD-3-Clause */
#include "notice.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Sizes and task numbers: a terabyte, so that a hundred times as much is a number as well. */
#define OTA_NUMBER_MAX 1e12

static bool copy_text(const json_t *object, const char *key, char *text, size_t size)
{
    const char *value = json_string_value(json_object_get(object, key));
    if (value == NULL || strlen(value) >= size) {
        return false;
    }
    strcpy(text, value);
    return true;
}

/* A number, or one in a string, "20000.0" too: the vendor's SDK takes them all. */
static bool copy_number(const json_t *object, const char *key, int64_t *number)
{
    const json_t *value = json_object_get(object, key);
    double parsed = json_number_value(value);
    bool good = json_is_number(value);
    if (json_is_string(value)) {
        char *end;
        parsed = strtod(json_string_value(value), &end);
        good = end != json_string_value(value) && *end == '\0';
    }
    if (!good || !(fabs(parsed) <= OTA_NUMBER_MAX)) {
        return false;
    }
    *number = (int64_t)parsed;
    return true;
}

/* The order counts to the digit: no number in a string here, and no fraction. */
static void copy_signature(const json_t *object, struct ota_notice *notice)
{
    const json_t *order = json_object_get(object, "order");
    notice->is_signed = json_object_get(object, "signature") != NULL;
    notice->order = json_integer_value(order);
    if (json_is_integer(order)) {
        (void)copy_text(object, "signature", notice->signature, sizeof notice->signature);
    }
}

/* Without one it is for devices that download over MQTT. */
static bool copy_url(const json_t *object, struct ota_notice *notice)
{
    notice->url[0] = '\0';
    return json_object_get(object, "url") == NULL ||
           copy_text(object, "url", notice->url, sizeof notice->url);
}

static bool parse_notice(const json_t *object, struct ota_message *message)
{
    struct ota_notice *notice = &message->notice;
    (void)copy_text(object, "sha256", notice->sha256, sizeof notice->sha256);
    (void)copy_number(object, "task", &notice->task);
    copy_signature(object, notice);
    return copy_text(object, "version", notice->version, sizeof notice->version) &&
           ota_name_is_version(notice->version, strlen(notice->version)) &&
           copy_url(object, notice) &&
           copy_text(object, "md5sum", notice->md5, sizeof notice->md5) &&
           copy_number(object, "file_size", &notice->size) && notice->size > 0;
}

static bool parse_cancel(const json_t *object, struct ota_message *message)
{
    (void)copy_number(object, "task", &message->notice.task);
    return copy_text(object, "version", message->notice.version, sizeof message->notice.version);
}

static bool parse_answer(const json_t *object, struct ota_message *message)
{
    (void)copy_number(object, "task", &message->notice.task);
    (void)copy_text(object, "result_msg", message->result_msg, sizeof message->result_msg);
    return copy_number(object, "result_code", &message->result_code);
}

static const struct {
    const char *type;
    bool (*parse)(const json_t *object, struct ota_message *message);
} rows[OTA_MESSAGE_COUNT] = {
    [OTA_MESSAGE_NOTICE] = {"update_firmware", parse_notice},
    [OTA_MESSAGE_CANCEL] = {"cancel_firmware", parse_cancel},
    [OTA_MESSAGE_ANSWER] = {"report_version_rsp", parse_answer},
    [OTA_MESSAGE_BLOCK_ANSWER] = {"request_block_rsp", parse_answer},
};

bool ota_message_parse(const void *payload, size_t len, struct ota_message *message)
{
    json_t *object = json_loadb(payload, len, 0, NULL);
    const char *type = json_string_value(json_object_get(object, "type"));
    bool good = type != NULL;
    *message = (struct ota_message){0};
    for (size_t i = OTA_MESSAGE_NOTICE; i < OTA_MESSAGE_COUNT && type != NULL; i++) {
        if (strcmp(type, rows[i].type) == 0) {
            message->type = (enum ota_message_type)i;
            good = rows[i].parse(object, message);
        }
    }
    json_decref(object);
    return good;
}
