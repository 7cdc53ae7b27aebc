/* SPDX-License-Identifier: BSD-3-Clause */
#include "json_out.h"

#include <stdio.h>
#include <string.h>

static void put(struct ota_json_out *out, const char *text, size_t len)
{
    if (out->full || len > out->size - out->len) {
        out->full = true;
        return;
    }
    memcpy(out->text + out->len, text, len);
    out->len += len;
}

static void put_escaped(struct ota_json_out *out, unsigned char c)
{
    char escape[8];
    int n = c == '"' || c == '\\' ? snprintf(escape, sizeof escape, "\\%c", c)
                                  : snprintf(escape, sizeof escape, "\\u%04x", c);
    put(out, escape, (size_t)n);
}

static void put_string(struct ota_json_out *out, const char *text)
{
    put(out, "\"", 1);
    while (*text != '\0') {
        size_t plain = 0;
        while ((unsigned char)text[plain] >= 0x20 && text[plain] != '"' && text[plain] != '\\') {
            plain++;
        }
        put(out, text, plain);
        text += plain;
        if (*text != '\0') {
            put_escaped(out, (unsigned char)*text++);
        }
    }
    put(out, "\"", 1);
}

static void put_key(struct ota_json_out *out, const char *key)
{
    if (out->len > 1) {
        put(out, ",", 1);
    }
    put(out, "\"", 1);
    put(out, key, strlen(key));
    put(out, "\":", 2);
}

void ota_json_out_begin(struct ota_json_out *out, char *text, size_t size)
{
    *out = (struct ota_json_out){.text = text, .size = size};
    put(out, "{", 1);
}

void ota_json_out_text(struct ota_json_out *out, const char *key, const char *value)
{
    put_key(out, key);
    put_string(out, value);
}

void ota_json_out_int(struct ota_json_out *out, const char *key, int64_t value)
{
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%lld", (long long)value);
    put_key(out, key);
    put(out, digits, (size_t)n);
}

void ota_json_out_bool(struct ota_json_out *out, const char *key, bool value)
{
    put_key(out, key);
    put(out, value ? "true" : "false", value ? 4 : 5);
}

size_t ota_json_out_end(struct ota_json_out *out)
{
    put(out, "}", 1);
    return out->full ? 0 : out->len;
}
