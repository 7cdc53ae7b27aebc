/* SPDX-License-Identifier: BSD-3-Clause */
#include "fields.h"

#include <string.h>

#include "target.h"
#include "util/names.h"
#include "util/stage.h"

#define OTA_CURSOR_MAX 128

static const char *const common[] = {"command", "correlationData"};

static bool is_known(const struct ota_command *command, const char *key)
{
    for (size_t i = 0; i < sizeof common / sizeof common[0]; i++) {
        if (strcmp(common[i], key) == 0) {
            return true;
        }
    }
    return (command->writes && strcmp(key, "requestId") == 0) ||
           ota_command_param(command, key) != NULL;
}

typedef bool (*name_rule)(const char *text, size_t len);

static bool is_cursor(const char *text, size_t len)
{
    (void)text;
    return len <= OTA_CURSOR_MAX;
}

static bool is_sha256(const char *text, size_t len)
{
    return len == 64 && ota_name_is_hex(text, 64);
}

static bool is_status(const char *text, size_t len)
{
    (void)len;
    return ota_shown_parse(text) != OTA_SHOWN_COUNT;
}

static bool is_gate(const char *text, size_t len)
{
    (void)len;
    return ota_gate_parse(text) != OTA_GATE_COUNT;
}

static bool is_mode(const char *text, size_t len)
{
    (void)len;
    return ota_batch_mode_parse(text) != OTA_MODE_COUNT;
}

static bool is_running_word(const char *text, size_t len)
{
    (void)len;
    return strcmp(text, "finish") == 0 || strcmp(text, "cancel") == 0;
}

static bool is_batch_state(const char *text, size_t len)
{
    (void)len;
    return ota_batch_state_parse(text) != OTA_BATCH_STATE_COUNT;
}

static bool is_role(const char *text, size_t len)
{
    (void)len;
    return ota_role_parse(text) != OTA_ROLE_NONE;
}

static const struct {
    name_rule holds;
    const char *rule;
} text_rules[] = {
    [OTA_PARAM_PRODUCT] = {ota_name_is_product, "1 to 32 letters, digits, _ and -"},
    [OTA_PARAM_DEVICE] = {ota_name_is_device, "1 to 48 letters, digits, _, : and -"},
    [OTA_PARAM_VERSION] = {ota_name_is_version,
                           "1 to 32 English letters, digits, dots, underscores and dashes"},
    [OTA_PARAM_FILENAME] = {ota_name_is_filename,
                            "the name of a .bin file or a .tar, .gz or .zip package, at most 128 "
                            "bytes without /"},
    [OTA_PARAM_TEXT] = {ota_name_is_text, "at most 256 bytes without control characters"},
    [OTA_PARAM_TAG] = {ota_name_is_tag, "1 to 32 letters, digits, _, ., :, = and -"},
    [OTA_PARAM_SHA256] = {is_sha256, "64 lower-case hex digits"},
    [OTA_PARAM_STATUS] = {is_status, "a status: device_offline, task_waiting, message_sent, "
                                     "downloading, downloaded, upgrading, failed, succeeded or "
                                     "cancelled"},
    [OTA_PARAM_CURSOR] = {is_cursor, "the nextCursor of the page before"},
    [OTA_PARAM_GATE] = {is_gate, "confirmed or done"},
    [OTA_PARAM_MODE] = {is_mode, "snapshot or continuous"},
    [OTA_PARAM_RUNNING] = {is_running_word, "finish or cancel"},
    [OTA_PARAM_BATCH_STATE] = {is_batch_state, "draft, scheduled, preparing, running, paused, "
                                               "cancelled or finished"},
    [OTA_PARAM_NAME] = {ota_name_is_version,
                        "1 to 32 English letters, digits, dots, underscores and dashes"},
    [OTA_PARAM_ROLE] = {is_role, "viewer, operator or admin"},
};

static enum ota_err wrong(const char *key, const char *rule, struct ota_error *error)
{
    return ota_error_set(error, OTA_INVALID_REQUEST, key, "%s must be %s", key, rule);
}

static enum ota_err check_text(const struct ota_param *param, const json_t *value,
                               struct ota_error *error)
{
    if (!json_is_string(value) ||
        !text_rules[param->type].holds(json_string_value(value), json_string_length(value))) {
        return wrong(param->key, text_rules[param->type].rule, error);
    }
    return OTA_OK;
}

static enum ota_err check_tags(const struct ota_param *param, const json_t *value,
                               struct ota_error *error)
{
    bool good = json_is_array(value) && json_array_size(value) <= OTA_TAGS_MAX;
    for (size_t i = 0; good && i < json_array_size(value); i++) {
        const json_t *tag = json_array_get(value, i);
        good =
            json_is_string(tag) && ota_name_is_tag(json_string_value(tag), json_string_length(tag));
    }
    return good ? OTA_OK
                : wrong(param->key,
                        "an array of at most 16 tags, each 1 to 32 letters, digits, _, ., :, = "
                        "and -",
                        error);
}

static enum ota_err check_devices(const struct ota_param *param, const json_t *value,
                                  struct ota_error *error)
{
    size_t count = json_array_size(value);
    bool good = count >= 1 && count <= OTA_DEVICES_A_COMMAND;
    for (size_t i = 0; good && i < count; i++) {
        const json_t *name = json_array_get(value, i);
        good = json_is_string(name) &&
               ota_name_is_device(json_string_value(name), json_string_length(name));
    }
    return good ? OTA_OK
                : wrong(param->key,
                        "an array of 1 to 1000 device names, each 1 to 48 letters, digits, _, : "
                        "and -",
                        error);
}

static bool is_int(const json_t *value, int64_t min, int64_t max)
{
    return json_is_integer(value) && json_integer_value(value) >= min &&
           json_integer_value(value) <= max;
}

static enum ota_err check_int(const char *key, const json_t *value, int64_t min, int64_t max,
                              struct ota_error *error)
{
    if (is_int(value, min, max)) {
        return OTA_OK;
    }
    return max == INT64_MAX
               ? ota_error_set(error, OTA_INVALID_REQUEST, key,
                               "%s must be a whole number, at least %lld", key, (long long)min)
               : ota_error_set(error, OTA_INVALID_REQUEST, key,
                               "%s must be a whole number from %lld to %lld", key, (long long)min,
                               (long long)max);
}

static bool is_base64(const char *text, size_t len)
{
    size_t used = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    return len % 4 == 0 && len - used <= 2 && strspn(text + used, "=") == len - used;
}

static enum ota_err check_base64(const struct ota_param *param, const json_t *value,
                                 struct ota_error *error)
{
    size_t len = json_is_string(value) ? json_string_length(value) : 0;
    if ((int64_t)len < param->min || (int64_t)len > param->max ||
        !is_base64(json_string_value(value), len)) {
        return ota_error_set(error, OTA_INVALID_REQUEST, param->key,
                             "%s must be padded base64 of %lld to %lld characters", param->key,
                             (long long)param->min, (long long)param->max);
    }
    return OTA_OK;
}

static bool is_retry_reason(const json_t *reason)
{
    return json_is_integer(reason)
               ? json_integer_value(reason) >= -99999 && json_integer_value(reason) <= 99999
               : json_is_string(reason) && strcmp(json_string_value(reason), "timeout") == 0;
}

/* Whether every key of object is one of keys, which NULL ends. */
static bool has_only(const json_t *object, const char *const *keys)
{
    const char *key;
    json_t *member;
    json_object_foreach((json_t *)object, key, member)
    {
        size_t i = 0;
        while (keys[i] != NULL && strcmp(keys[i], key) != 0) {
            i++;
        }
        if (keys[i] == NULL) {
            return false;
        }
    }
    return json_is_object(object);
}

static enum ota_err check_retry(const struct ota_param *param, const json_t *value,
                                struct ota_error *error)
{
    static const char rule[] = "an object {max: 0-10, delaySeconds: 30-604800, on: up to 8 result "
                               "codes and \"timeout\"}";
    static const char *const keys[] = {"max", "delaySeconds", "on", NULL};
    bool good = has_only(value, keys);
    const json_t *on = json_object_get(value, "on");
    good = good && (on == NULL ||
                    (json_is_array(on) && json_array_size(on) >= 1 && json_array_size(on) <= 8));
    for (size_t i = 0; good && on != NULL && i < json_array_size(on); i++) {
        good = is_retry_reason(json_array_get(on, i));
    }
    const json_t *delay = json_object_get(value, "delaySeconds");
    good = good && is_int(json_object_get(value, "max"), 0, 10) &&
           (delay == NULL || is_int(delay, 30, 604800));
    return good ? OTA_OK : wrong(param->key, rule, error);
}

static enum ota_err check_threshold(const struct ota_param *param, const json_t *value,
                                    struct ota_error *error)
{
    static const char *const keys[] = {"percent", "minFinished", NULL};
    bool good = has_only(value, keys) && is_int(json_object_get(value, "percent"), 1, 100) &&
                is_int(json_object_get(value, "minFinished"), 1, 10000000);
    return good ? OTA_OK
                : wrong(param->key, "an object {percent: 1-100, minFinished: at least 1}", error);
}

static bool is_optional_int(const json_t *value, int64_t min, int64_t max)
{
    return value == NULL || is_int(value, min, max);
}

static bool is_stage(const json_t *stage)
{
    static const char *const keys[] = {"percent",     "count",   "minSuccessPercent",
                                       "soakSeconds", "advance", NULL};
    const json_t *percent = json_object_get(stage, "percent");
    const json_t *count = json_object_get(stage, "count");
    const json_t *advance = json_object_get(stage, "advance");
    double share = json_number_value(percent);
    return has_only(stage, keys) && (percent != NULL) != (count != NULL) &&
           (percent == NULL || (json_is_number(percent) && share > 0.0 && share <= 100.0)) &&
           is_optional_int(count, 1, 10000000) &&
           is_optional_int(json_object_get(stage, "minSuccessPercent"), 0, 100) &&
           is_optional_int(json_object_get(stage, "soakSeconds"), 0, 31536000) &&
           (advance == NULL ||
            (json_is_string(advance) && (strcmp(json_string_value(advance), "auto") == 0 ||
                                         strcmp(json_string_value(advance), "manual") == 0)));
}

/* Shares and counts are cumulative: each is more than the one of its kind before. */
static bool rises(const json_t *stages, size_t at, const char *key)
{
    const json_t *mine = json_object_get(json_array_get(stages, at), key);
    for (size_t i = 0; mine != NULL && i < at; i++) {
        const json_t *other = json_object_get(json_array_get(stages, i), key);
        if (other != NULL && json_number_value(other) >= json_number_value(mine)) {
            return false;
        }
    }
    return true;
}

static enum ota_err check_stages(const struct ota_param *param, const json_t *value,
                                 struct ota_error *error)
{
    size_t count = json_array_size(value);
    if (count < 1 || count > OTA_STAGES_MAX) {
        return wrong(param->key, "an array of 1 to 20 stages", error);
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *stage = json_array_get(value, i);
        if (!is_stage(stage)) {
            return wrong(param->key,
                         "stages of {percent: up to 100 | count: at least 1, minSuccessPercent?: "
                         "0-100, soakSeconds?: 0-31536000, advance?: auto|manual}",
                         error);
        }
        if (!rises(value, i, "percent") || !rises(value, i, "count")) {
            return wrong(param->key, "cumulative: each stage reaches further than those before",
                         error);
        }
    }
    const json_t *last = json_object_get(json_array_get(value, count - 1), "percent");
    return last != NULL && json_number_value(last) == 100.0
               ? OTA_OK
               : wrong(param->key, "complete: the last stage has percent 100", error);
}

static enum ota_err check_target(const struct ota_param *param, const json_t *value,
                                 struct ota_error *error)
{
    const char *rule = ota_target_rule(value);
    return rule == NULL ? OTA_OK
                        : ota_error_set(error, OTA_INVALID_REQUEST, param->key, "%s", rule);
}

static enum ota_err check_value(const struct ota_param *param, const json_t *value,
                                struct ota_error *error)
{
    switch (param->type) {
    case OTA_PARAM_BOOL:
        return json_is_boolean(value) ? OTA_OK : wrong(param->key, "true or false", error);
    case OTA_PARAM_INT:
        return check_int(param->key, value, param->min, param->max, error);
    case OTA_PARAM_BASE64:
        return check_base64(param, value, error);
    case OTA_PARAM_TAGS:
        return check_tags(param, value, error);
    case OTA_PARAM_RETRY:
        return check_retry(param, value, error);
    case OTA_PARAM_TIME:
        return check_int(param->key, value, 1, INT64_C(253402300799999), error);
    case OTA_PARAM_DEVICES:
        return check_devices(param, value, error);
    case OTA_PARAM_TARGET:
        return check_target(param, value, error);
    case OTA_PARAM_STAGES:
        return check_stages(param, value, error);
    case OTA_PARAM_THRESHOLD:
        return check_threshold(param, value, error);
    case OTA_PARAM_PRODUCT:
    case OTA_PARAM_DEVICE:
    case OTA_PARAM_GATE:
    case OTA_PARAM_MODE:
    case OTA_PARAM_RUNNING:
    case OTA_PARAM_BATCH_STATE:
    case OTA_PARAM_NAME:
    case OTA_PARAM_ROLE:
    case OTA_PARAM_VERSION:
    case OTA_PARAM_FILENAME:
    case OTA_PARAM_TEXT:
    case OTA_PARAM_TAG:
    case OTA_PARAM_SHA256:
    case OTA_PARAM_STATUS:
    case OTA_PARAM_CURSOR:
        return check_text(param, value, error);
    }
    return OTA_INTERNAL;
}

static size_t count_characters(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++) {
        count += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return count;
}

static enum ota_err check_request_id(const json_t *fields, struct ota_error *error)
{
    const json_t *id = json_object_get(fields, "requestId");
    if (id == NULL) {
        return OTA_OK;
    }
    size_t len = json_is_string(id) ? count_characters(json_string_value(id)) : 0;
    if (len < 1 || len > OTA_REQUEST_ID_MAX) {
        return wrong("requestId", "a text of 1 to 64 characters", error);
    }
    return OTA_OK;
}

enum ota_err ota_fields_check(const struct ota_command *command, const json_t *fields,
                              struct ota_error *error)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)fields, key, value)
    {
        if (!is_known(command, key)) {
            return ota_error_set(error, OTA_INVALID_REQUEST, key, "%s takes no field %.40s",
                                 command->name, key);
        }
    }
    for (const struct ota_param *param = command->params; param->key != NULL; param++) {
        value = json_object_get(fields, param->key);
        if (value == NULL && param->required) {
            return ota_error_set(error, OTA_INVALID_REQUEST, param->key,
                                 "%s needs the field %s: %s", command->name, param->key,
                                 param->help);
        }
        enum ota_err err = value != NULL ? check_value(param, value, error) : OTA_OK;
        if (err != OTA_OK) {
            return err;
        }
    }
    return check_request_id(fields, error);
}

const char *ota_field_text_or_null(const json_t *fields, const char *key)
{
    return json_string_value(json_object_get(fields, key));
}

const char *ota_field_text(const json_t *fields, const char *key)
{
    const char *text = ota_field_text_or_null(fields, key);
    return text != NULL ? text : "";
}

int64_t ota_field_int(const json_t *fields, const char *key, int64_t preset)
{
    const json_t *value = json_object_get(fields, key);
    return value != NULL ? json_integer_value(value) : preset;
}

bool ota_field_bool(const json_t *fields, const char *key)
{
    return json_is_true(json_object_get(fields, key));
}
