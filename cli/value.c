/* SPDX-License-Identifier: BSD-3-Clause */
#include "value.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch_value.h"
#include "util/names.h"
#include "util/words.h"
#include "verb.h"

#define RETRY_MAX         10
#define RETRY_DELAY_MIN_S 30
#define RETRY_DELAY_MAX_S 604800

bool ota_value_is_bool(const char *text, bool *value)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"yes", true}, {"true", true}, {"no", false}, {"false", false}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(text, words[i].word) == 0) {
            *value = words[i].value;
            return true;
        }
    }
    return false;
}

static json_t *parse_name(const char *text, bool (*legal)(const char *, size_t))
{
    return legal(text, strlen(text)) ? json_string(text) : NULL;
}

static json_t *parse_product(const char *text, const struct ota_param *param)
{
    (void)param;
    return parse_name(text, ota_name_is_product);
}

static json_t *parse_device(const char *text, const struct ota_param *param)
{
    (void)param;
    return parse_name(text, ota_name_is_device);
}

static json_t *parse_version(const char *text, const struct ota_param *param)
{
    (void)param;
    return parse_name(text, ota_name_is_version);
}

static json_t *parse_filename(const char *text, const struct ota_param *param)
{
    (void)param;
    return parse_name(text, ota_name_is_filename);
}

static json_t *parse_text(const char *text, const struct ota_param *param)
{
    (void)param;
    return parse_name(text, ota_name_is_text);
}

static json_t *parse_tag(const char *text, const struct ota_param *param)
{
    (void)param;
    return parse_name(text, ota_name_is_tag);
}

static json_t *parse_cursor(const char *text, const struct ota_param *param)
{
    (void)param;
    return json_string(text);
}

static json_t *parse_tags(const char *text, const struct ota_param *param)
{
    (void)param;
    json_t *tags = json_array();
    while (*text != '\0') {
        size_t len = strcspn(text, ",");
        if (!ota_name_is_tag(text, len) ||
            json_array_append_new(tags, json_stringn(text, len)) != 0 ||
            json_array_size(tags) > OTA_TAGS_MAX) {
            json_decref(tags);
            return NULL;
        }
        text += len;
        text += *text == ',';
    }
    return tags;
}

static json_t *parse_bool(const char *text, const struct ota_param *param)
{
    (void)param;
    bool value = false;
    return ota_value_is_bool(text, &value) ? json_boolean(value) : NULL;
}

static json_t *parse_range(const char *text, int64_t min, int64_t max)
{
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < min || number > max) {
        return NULL;
    }
    return json_integer(number);
}

static json_t *parse_int(const char *text, const struct ota_param *param)
{
    return parse_range(text, param->min, param->max);
}

static json_t *parse_sha256(const char *text, const struct ota_param *param)
{
    (void)param;
    return ota_name_is_hex(text, 64) ? json_string(text) : NULL;
}

static json_t *parse_base64(const char *text, const struct ota_param *param)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    int64_t len = (int64_t)strlen(text);
    bool legal = strspn(text, alphabet) == (size_t)len && len >= param->min && len <= param->max;
    return legal ? json_string(text) : NULL;
}

/* The name on the wire, or the words that people are shown. */
static json_t *parse_status(const char *text, const struct ota_param *param)
{
    (void)param;
    for (unsigned i = 0; i < OTA_SHOWN_COUNT; i++) {
        const char *name = ota_shown_name((enum ota_shown)i);
        if (strcmp(text, name) == 0 || strcmp(text, ota_shown_words((enum ota_shown)i)) == 0) {
            return json_string(name);
        }
    }
    return NULL;
}

/* "timeout:-1:-3" */
static json_t *parse_codes(const char *text, size_t len)
{
    json_t *codes = json_array();
    const char *end = text + len;
    while (text < end) {
        char code[16];
        size_t n = strcspn(text, ":,");
        (void)snprintf(code, sizeof code, "%.*s", (int)n, text);
        json_t *value = strcmp(code, "timeout") == 0 ? json_string(code)
                                                     : parse_range(code, INT32_MIN, INT32_MAX);
        if (value == NULL || json_array_append_new(codes, value) != 0) {
            json_decref(codes);
            return NULL;
        }
        text += n + 1;
    }
    return codes;
}

static json_t *parse_retry_member(const char *key, const char *text, size_t len)
{
    static const struct {
        const char *key;
        int64_t min;
        int64_t max;
    } numbers[] = {{"max", 0, RETRY_MAX}, {"delaySeconds", RETRY_DELAY_MIN_S, RETRY_DELAY_MAX_S}};
    char number[24];
    (void)snprintf(number, sizeof number, "%.*s", (int)len, text);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (strcmp(key, numbers[i].key) == 0) {
            return parse_range(number, numbers[i].min, numbers[i].max);
        }
    }
    return strcmp(key, "on") == 0 ? parse_codes(text, len) : NULL;
}

/* "3:60:on=timeout,-1" to "max=3,delaySeconds=60,on=timeout:-1" */
static void lengthen_retry(const char *text, char *out, size_t size)
{
    static const char *const names[] = {"max=", ",delaySeconds=", ","};
    size_t n = 0;
    for (size_t i = 0; i < 3 && *text != '\0' && n < size; i++) {
        size_t len = i < 2 ? strcspn(text, ":") : strlen(text);
        n += (size_t)snprintf(out + n, size - n, "%s%.*s", names[i], (int)len, text);
        text += len;
        text += i < 2 && *text == ':';
    }
    char *codes = strstr(out, "on=");
    for (char *c = codes; c != NULL && *c != '\0'; c++) {
        *c = (char)(*c == ',' ? ':' : *c);
    }
}

/* "max=3,delaySeconds=60,on=timeout:-1" or short "3:60:on=timeout,-1" */
static json_t *parse_retry(const char *text, const struct ota_param *param)
{
    (void)param;
    char longer[128] = "";
    if (isdigit((unsigned char)text[0]) && strlen(text) < sizeof longer / 2) {
        lengthen_retry(text, longer, sizeof longer);
        text = longer;
    }
    json_t *retry = json_object();
    while (*text != '\0') {
        char name[24];
        char key[24];
        size_t len = strcspn(text, ",");
        size_t equals = strcspn(text, "=");
        (void)snprintf(name, sizeof name, "%.*s", (int)equals, text);
        ota_verb_camel(name, key, sizeof key);
        if (equals >= len ||
            json_object_set_new(retry, key,
                                parse_retry_member(key, text + equals + 1, len - equals - 1))) {
            json_decref(retry);
            return NULL;
        }
        text += len;
        text += *text == ',';
    }
    return retry;
}

/* A path is bytes; it never leaves this process as JSON. */
static json_t *parse_path(const char *text, const struct ota_param *param)
{
    (void)param;
    return text[0] != '\0' ? json_string_nocheck(text) : NULL;
}

/* One of the words that the placeholder "succeeded|confirmed" names. */
static json_t *parse_choice(const char *text, const struct ota_param *param)
{
    const char *word = ota_value_placeholder(param->type);
    size_t len = strlen(text);
    while (*word != '\0') {
        size_t n = strcspn(word, "|");
        if (n == len && memcmp(word, text, n) == 0) {
            return json_string(text);
        }
        word += n;
        word += *word == '|';
    }
    return NULL;
}

static json_t *parse_batch_state(const char *text, const struct ota_param *param)
{
    (void)param;
    return ota_batch_state_parse(text) != OTA_BATCH_STATE_COUNT ? json_string(text) : NULL;
}

/* For types that have no syntax of their own: JSON, or else a string. */
static json_t *parse_json(const char *text, const struct ota_param *param)
{
    (void)param;
    json_t *value = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    return value != NULL ? value : json_string(text);
}

struct value_type {
    const char *placeholder;
    const char *rule; /* NULL: of min and max */
    const char *example;
    json_t *(*parse)(const char *text, const struct ota_param *param);
};

static const struct value_type types[] = {
    [OTA_PARAM_PRODUCT] = {"PRODUCT", "1-32 of A-Z a-z 0-9 _ -", "testProduct", parse_product},
    [OTA_PARAM_DEVICE] = {"DEVICE", "1-48 of A-Z a-z 0-9 _ : -", "testDevice0", parse_device},
    [OTA_PARAM_VERSION] = {"VERSION", "1-32 of A-Z a-z 0-9 . _ -", "0.0.2", parse_version},
    [OTA_PARAM_FILENAME] = {"NAME", "a file name that ends in .bin, .tar, .gz or .zip", "app.bin",
                            parse_filename},
    [OTA_PARAM_TEXT] = {"TEXT", "at most 256 bytes of UTF-8 without control characters", "'text'",
                        parse_text},
    [OTA_PARAM_TAG] = {"TAG", "1-32 of A-Z a-z 0-9 _ . : = -", "canary", parse_tag},
    [OTA_PARAM_TAGS] = {"TAG,TAG",
                        "at most 16 tags with commas between, each 1-32 of "
                        "A-Z a-z 0-9 _ . : = -",
                        "site=berlin,canary", parse_tags},
    [OTA_PARAM_BOOL] = {"yes|no", "yes or no", "yes", parse_bool},
    [OTA_PARAM_INT] = {"N", NULL, "7", parse_int},
    [OTA_PARAM_SHA256] = {"HEX", "64 lower-case hex digits",
                          "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                          parse_sha256},
    [OTA_PARAM_BASE64] = {"BASE64", NULL, "AAEC", parse_base64},
    [OTA_PARAM_STATUS] = {"STATUS", NULL, "failed", parse_status},
    [OTA_PARAM_CURSOR] = {"CURSOR", "a nextCursor", "CURSOR", parse_cursor},
    [OTA_PARAM_RETRY] = {"max=N,delaySeconds=N[,on=timeout:CODE]",
                         "max=0-10,delaySeconds=30-604800 and perhaps on=timeout:-1:-3 (which "
                         "failures), or shorter 3:60:on=timeout,-1",
                         "max=3,delaySeconds=60", parse_retry},
    [OTA_PARAM_TIME] = {"TIME",
                        "a local time as 2026-12-01T08:00, from now as +30m, +2h or +1d, or Unix "
                        "milliseconds",
                        "+2h", ota_batch_value_time},
    [OTA_PARAM_DEVICES] = {"NAME,NAME", "names of 1-48 of A-Z a-z 0-9 _ : - with commas between",
                           "testDevice0,testDevice1", ota_batch_value_devices},
    [OTA_PARAM_TARGET] = {"JSON", "an object as in control-api.md, like '{\"all\":true}'",
                          "'{\"all\":true}'", ota_batch_value_target},
    [OTA_PARAM_STAGES] = {"STAGE,STAGE",
                          "10% or 500 (devices), each more than before, perhaps with :min=95 "
                          "(percent that must succeed), :soak=1h (then the next one opens), "
                          ":manual (then batch advance opens it)",
                          "1%,10%:soak=1h", ota_batch_value_stages},
    [OTA_PARAM_THRESHOLD] = {"PERCENT/MIN", "as 10%/50: 10 percent of at least 50 outcomes",
                             "10%/50", ota_batch_value_threshold},
    [OTA_PARAM_GATE] = {"confirmed|done", "confirmed or done", "done", parse_choice},
    [OTA_PARAM_MODE] = {"snapshot|continuous", "snapshot or continuous", "continuous",
                        parse_choice},
    [OTA_PARAM_RUNNING] = {"finish|cancel", "finish or cancel", "cancel", parse_choice},
    [OTA_PARAM_BATCH_STATE] = {"STATE", NULL, "running", parse_batch_state},
    [OTA_PARAM_NAME] = {"NAME", "1-32 of A-Z a-z 0-9 . _ -", "ci", parse_version},
    [OTA_PARAM_ROLE] = {"viewer|operator|admin", "viewer, operator or admin", "admin",
                        parse_choice},
};

static const struct value_type local_types[] = {
    {"FILE", "a file", "app.bin", parse_path},
    {"succeeded|confirmed", "succeeded or confirmed", "confirmed", parse_choice},
    {"VERSION,VERSION", "versions of 1-32 of A-Z a-z 0-9 . _ - with commas between", "0.0.1",
     ota_batch_value_versions},
};

static const struct value_type any_type = {"JSON", "JSON", "{}", parse_json};

static const struct value_type *type_of(enum ota_param_type type)
{
    size_t local = (size_t)type - (size_t)OTA_LOCAL_PATH;
    if (type >= OTA_LOCAL_PATH && local < sizeof local_types / sizeof local_types[0]) {
        return &local_types[local];
    }
    bool known = (size_t)type < sizeof types / sizeof types[0] && types[type].parse != NULL;
    return known ? &types[type] : &any_type;
}

bool ota_value_is_list(enum ota_param_type type)
{
    return type == OTA_PARAM_DEVICES || type == OTA_PARAM_STAGES || type == OTA_PARAM_TAGS ||
           type == OTA_LOCAL_VERSIONS;
}

const char *ota_value_placeholder(enum ota_param_type type)
{
    return type_of(type)->placeholder;
}

const char *ota_value_example(const struct ota_param *param)
{
    return type_of(param->type)->example;
}

static const char *status_at(unsigned i)
{
    return i < OTA_SHOWN_COUNT ? ota_shown_name((enum ota_shown)i) : NULL;
}

static const char *batch_state_at(unsigned i)
{
    return i < OTA_BATCH_STATE_COUNT ? ota_batch_state_name((enum ota_batch_state)i) : NULL;
}

static void join_words(const char *(*word_at)(unsigned), const char *between, char *out,
                       size_t size)
{
    const char *word;
    size_t n = 0;
    for (unsigned i = 0; (word = word_at(i)) != NULL && n < size; i++) {
        n += (size_t)snprintf(out + n, size - n, "%s%s", i > 0 ? between : "", word);
    }
}

static void list_words(const char *(*word_at)(unsigned), char *out, size_t size)
{
    char words[256];
    join_words(word_at, ", ", words, sizeof words);
    (void)snprintf(out, size, "one of %s", words);
}

void ota_value_choices(enum ota_param_type type, char *out, size_t size)
{
    const char *placeholder = ota_value_placeholder(type);
    out[0] = '\0';
    if (type == OTA_PARAM_STATUS) {
        join_words(status_at, " ", out, size);
    } else if (type == OTA_PARAM_BATCH_STATE) {
        join_words(batch_state_at, " ", out, size);
    } else if (strchr(placeholder, '|') != NULL) {
        (void)snprintf(out, size, "%s", placeholder);
        for (char *c = out; *c != '\0'; c++) {
            *c = (char)(*c == '|' ? ' ' : *c);
        }
    }
}

static void range_rule(const struct ota_param *param, char *out, size_t size)
{
    if (param->max == INT64_MAX) {
        (void)snprintf(out, size, "a whole number of at least %" PRId64, param->min);
    } else {
        (void)snprintf(out, size, "a whole number from %" PRId64 " to %" PRId64, param->min,
                       param->max);
    }
}

void ota_value_rule(const struct ota_param *param, char *out, size_t size)
{
    const char *rule = type_of(param->type)->rule;
    if (rule != NULL) {
        (void)snprintf(out, size, "%s", rule);
    } else if (param->type == OTA_PARAM_STATUS) {
        list_words(status_at, out, size);
    } else if (param->type == OTA_PARAM_BATCH_STATE) {
        list_words(batch_state_at, out, size);
    } else if (param->type == OTA_PARAM_INT) {
        range_rule(param, out, size);
    } else if (param->min == param->max) {
        (void)snprintf(out, size, "base64 of %" PRId64 " characters", param->min);
    } else {
        (void)snprintf(out, size, "base64 of %" PRId64 " to %" PRId64 " characters", param->min,
                       param->max);
    }
}

enum ota_exit ota_value_parse(const struct ota_param *param, const char *text, json_t **value,
                              struct ota_failure *failure)
{
    json_t *made = type_of(param->type)->parse(text, param);
    if (made == NULL) {
        char rule[256];
        char name[64];
        ota_value_rule(param, rule, sizeof rule);
        ota_verb_kebab(param->key, name, sizeof name);
        return ota_fail(failure, OTA_EXIT_USAGE, NULL, param->key, "%s%s must be %s, not \"%s\"",
                        param->required ? "" : "--", name, rule, text);
    }
    *value = made;
    return OTA_EXIT_OK;
}
