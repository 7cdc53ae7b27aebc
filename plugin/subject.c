/* SPDX-License-Identifier: BSD-3-Clause */
#include "subject.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "util/names.h"

/* What is named by a number: in the fields of a command, and in answers. */
static const char *const numbered[] = {"task", "batch", "upload", "token"};

#define NUMBERED (sizeof numbered / sizeof numbered[0])

static void append(char *text, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void append(char *text, size_t size, const char *format, ...)
{
    size_t used = strlen(text);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text + used, size - used, format, args);
    va_end(args);
}

static const char *legal(const json_t *fields, const char *key,
                         bool (*rule)(const char *text, size_t len))
{
    const json_t *value = json_object_get(fields, key);
    const char *text = json_string_value(value);
    return text != NULL && rule(text, json_string_length(value)) ? text : NULL;
}

static void add_names(const json_t *fields, char *text, size_t size)
{
    const char *product = legal(fields, "product", ota_name_is_product);
    const char *device = legal(fields, "device", ota_name_is_device);
    const char *version = legal(fields, "version", ota_name_is_version);
    if (product == NULL) {
        return;
    }
    append(text, size, "%s", product);
    if (device != NULL) {
        append(text, size, "/%s", device);
    }
    if (version != NULL) {
        append(text, size, " %s", version);
    }
    const char *gateway_product = legal(fields, "gatewayProduct", ota_name_is_product);
    const char *gateway = legal(fields, "gateway", ota_name_is_device);
    if (gateway_product != NULL && gateway != NULL) {
        append(text, size, " gateway %s/%s", gateway_product, gateway);
    }
}

static void add_numbers(const json_t *fields, char *text, size_t size)
{
    for (size_t i = 0; i < NUMBERED; i++) {
        const json_t *value = json_object_get(fields, numbered[i]);
        if (json_is_integer(value)) {
            append(text, size, "%s%s %lld", text[0] != '\0' ? " " : "", numbered[i],
                   (long long)json_integer_value(value));
        }
    }
}

/* "token 3 ci": a number alone says nothing once it is revoked. */
static void add_token(const json_t *fields, const json_t *data, char *text, size_t size)
{
    const json_t *token = json_object_get(data, "token");
    const json_t *id = json_object_get(token, "token");
    const char *name = json_string_value(json_object_get(token, "name"));
    if (name != NULL && json_object_get(fields, "token") == NULL) {
        append(text, size, "token %lld", (long long)json_integer_value(id));
    }
    if (name != NULL) {
        append(text, size, " %s", name);
    }
}

/* {"upload": 2}, {"task": {"task": 7, …}}, {"path": "/backups/ota.db"} */
static void add_made(const json_t *fields, const json_t *data, char *text, size_t size)
{
    for (size_t i = 0; i < NUMBERED; i++) {
        const json_t *value = json_object_get(data, numbered[i]);
        if (strcmp(numbered[i], "token") == 0) {
            continue; /* has a name beside its number */
        }
        if (json_is_object(value)) {
            value = json_object_get(value, numbered[i]);
        }
        if (json_is_integer(value) && json_object_get(fields, numbered[i]) == NULL) {
            append(text, size, " (%s %lld)", numbered[i], (long long)json_integer_value(value));
        }
    }
    add_token(fields, data, text, size);
    const char *path = json_string_value(json_object_get(data, "path"));
    const char *slash = path != NULL ? strrchr(path, '/') : NULL;
    if (slash != NULL) {
        append(text, size, "%s", slash + 1);
    }
}

void ota_subject_of(const json_t *fields, const json_t *data, char *text, size_t size)
{
    text[0] = '\0';
    add_names(fields, text, size);
    add_numbers(fields, text, size);
    add_made(fields, data, text, size);
}
