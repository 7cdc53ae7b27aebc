/* SPDX-License-Identifier: BSD-3-Clause */
#include "target.h"

#include <stdlib.h>
#include <string.h>

#include "command_table.h"
#include "util/json_text.h"

typedef bool (*text_rule)(const char *text, size_t len);

/* An array of 1 to `most` texts that keep the rule. */
static bool is_list(const json_t *list, size_t most, text_rule holds)
{
    size_t count = json_array_size(list); /* 0 for what is no array */
    if (count < 1 || count > most) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *text = json_array_get(list, i);
        if (!json_is_string(text) || !holds(json_string_value(text), json_string_length(text))) {
            return false;
        }
    }
    return true;
}

static const char *member_rule(const char *key, const json_t *value)
{
    if (strcmp(key, "all") == 0) {
        return json_is_true(value) ? NULL : "target.all can only be true";
    }
    if (strcmp(key, "online") == 0) {
        return json_is_boolean(value) ? NULL : "target.online must be true or false";
    }
    if (strcmp(key, "fromVersions") == 0 || strcmp(key, "notVersions") == 0) {
        return is_list(value, OTA_TARGET_VERSIONS, ota_name_is_version)
                   ? NULL
                   : "target.fromVersions and target.notVersions must be arrays of 1 to 100 "
                     "versions";
    }
    if (strcmp(key, "devices") == 0) {
        return is_list(value, OTA_DEVICES_A_COMMAND, ota_name_is_device)
                   ? NULL
                   : "target.devices must be an array of 1 to 1000 device names: more go into a "
                     "draft (addBatchDevices)";
    }
    if (strcmp(key, "tags") == 0) {
        return is_list(value, OTA_TAGS_MAX, ota_name_is_tag)
                   ? NULL
                   : "target.tags must be an array of 1 to 16 tags";
    }
    return "target takes all, or any of fromVersions, notVersions, devices, tags and online";
}

const char *ota_target_rule(const json_t *json)
{
    if (!json_is_object(json) || json_object_size(json) == 0) {
        return "target must be {\"all\":true} or an object with any of fromVersions, notVersions, "
               "devices, tags and online";
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)json, key, value)
    {
        const char *rule = member_rule(key, value);
        if (rule != NULL) {
            return rule;
        }
    }
    return json_object_get(json, "all") != NULL && json_object_size(json) > 1
               ? "target.all stands alone: the other members would narrow it"
               : NULL;
}

enum ota_err ota_target_read(const json_t *json, struct ota_target *target, struct ota_error *error)
{
    *target = (struct ota_target){.online = -1};
    if (json == NULL) {
        return OTA_OK;
    }
    target->json = json_deep_copy(json);
    if (target->json == NULL) {
        return ota_error_no_memory(error);
    }
    target->named = json_object_get(json, "devices") != NULL;
    (void)json_object_del(target->json, "devices");
    const json_t *online = json_object_get(json, "online");
    if (online != NULL) {
        target->online = json_is_true(online);
    }
    target->from_versions = json_object_get(target->json, "fromVersions");
    target->not_versions = json_object_get(target->json, "notVersions");
    target->tags = json_object_get(target->json, "tags");
    return OTA_OK;
}

enum ota_err ota_target_load(const char *text, struct ota_target *target, struct ota_error *error)
{
    if (text[0] == '\0') {
        return ota_target_read(NULL, target, error);
    }
    bool no_memory;
    json_t *json = ota_json_read(text, strlen(text), 0, NULL, &no_memory);
    if (no_memory) {
        return ota_error_no_memory(error);
    }
    if (json == NULL) {
        return ota_error_set(error, OTA_INTERNAL, NULL, "the stored target of a batch is damaged");
    }
    enum ota_err err = ota_target_read(json, target, error);
    json_decref(json);
    return err;
}

char *ota_target_write(const struct ota_target *target)
{
    return target->json != NULL ? ota_json_write(target->json, JSON_COMPACT) : strdup("");
}

void ota_target_free(struct ota_target *target)
{
    json_decref(target->json);
    *target = (struct ota_target){.online = -1};
}

static bool has(const json_t *list, const char *text, size_t len)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        if (json_string_length(item) == len && memcmp(json_string_value(item), text, len) == 0) {
            return true;
        }
    }
    return false;
}

bool ota_target_takes_version(const struct ota_target *target, const char *version)
{
    if (target->from_versions == NULL && target->not_versions == NULL) {
        return true;
    }
    if (version == NULL) {
        return false;
    }
    size_t len = strlen(version);
    return (target->from_versions == NULL || has(target->from_versions, version, len)) &&
           (target->not_versions == NULL || !has(target->not_versions, version, len));
}

bool ota_target_takes_online(const struct ota_target *target, bool online)
{
    return target->online < 0 || (target->online != 0) == online;
}

bool ota_target_needs_tags(const struct ota_target *target)
{
    return target->tags != NULL;
}

bool ota_target_takes_tags(const struct ota_target *target, const char *tags)
{
    for (size_t i = 0; i < json_array_size(target->tags); i++) {
        const json_t *tag = json_array_get(target->tags, i);
        if (!ota_tags_have(tags, json_string_value(tag), json_string_length(tag))) {
            return false;
        }
    }
    return true;
}
