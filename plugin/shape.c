/* SPDX-License-Identifier: BSD-3-Clause */
#include "shape.h"

#include <string.h>
#include <strings.h>

#define BAD_REQUEST 400
#define TOO_LARGE   413

/* Between the colon and the value; more than any client writes. */
#define BLANKS_MAX 64

typedef void (*check_fn)(struct ota_shape *shape, const char *value, size_t len);

static void fault(struct ota_shape *shape, int status)
{
    if (shape->status == 0) {
        shape->status = status;
    }
}

static bool is_token(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        bool alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!alnum && (c == '\0' || strchr("-_!#$%&'*+.^`|~", c) == NULL)) {
            return false;
        }
    }
    return len > 0;
}

/* No control characters, but for tabs. */
static bool is_text(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < ' ' ? c != '\t' : c == 0x7f) {
            return false;
        }
    }
    return true;
}

static void check_host(struct ota_shape *shape, const char *value, size_t len)
{
    static const char others[] = ".-_~:[]%";

    for (size_t i = 0; i < len; i++) {
        if (!is_token(value + i, 1) && strchr(others, value[i]) == NULL) {
            fault(shape, BAD_REQUEST);
        }
    }
}

static void check_length(struct ota_shape *shape, const char *value, size_t len)
{
    int64_t body = 0;

    if (len == 0 || strspn(value, "0123456789") < len) {
        fault(shape, BAD_REQUEST);
        return;
    }
    for (size_t i = 0; i < len && body <= shape->max_body; i++) {
        body = body * 10 + (value[i] - '0');
    }
    shape->body = body;
    if (body > shape->max_body) {
        fault(shape, TOO_LARGE);
    }
}

/* No client of ours sends chunks, and nothing is smuggled as often. */
static void check_encoding(struct ota_shape *shape, const char *value, size_t len)
{
    (void)value, (void)len;
    fault(shape, BAD_REQUEST);
}

/* Headers that may come once, and what else is wanted of them. */
#define SINGLE(name, check)                                                                        \
    {                                                                                              \
        name, sizeof(name) - 1, check                                                              \
    }
static const struct {
    const char *name;
    size_t len;
    check_fn check;
} singles[] = {
    SINGLE("Host", check_host),
    SINGLE("Content-Length", check_length),
    SINGLE("Transfer-Encoding", check_encoding),
    SINGLE("Range", NULL),
    SINGLE("If-Range", NULL),
    SINGLE("Expect", NULL),
    SINGLE("Authorization", NULL),
    SINGLE("Content-Type", NULL),
    SINGLE("Origin", NULL),
};

enum { HOST = 0, EXPECT = 5 };

static bool has(const struct ota_shape *shape, unsigned single)
{
    return (shape->singles & 1u << single) != 0;
}

size_t ota_shape_target(const char *target)
{
    size_t len = target != NULL ? strlen(target) : 0;

    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)(target[i] - '!') > '~' - '!') {
            return 0;
        }
    }
    return len;
}

void ota_shape_begin(struct ota_shape *shape, int64_t max_body, const char *method,
                     size_t target_len, const char *version)
{
    *shape = (struct ota_shape){.max_body =
                                    max_body < OTA_SHAPE_BODY_MAX ? max_body : OTA_SHAPE_BODY_MAX};
    if (!is_token(method, strlen(method)) || target_len == 0) {
        fault(shape, BAD_REQUEST);
    }
    shape->http_1_1 = strcmp(version, "HTTP/1.0") != 0;
    /* Two blanks, the line's end, and the empty line behind the headers. */
    shape->size = strlen(method) + target_len + strlen(version) + 2 + 2 + 2;
}

static void check_single(struct ota_shape *shape, unsigned single, const char *value, size_t len)
{
    while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t')) {
        len--;
    }
    if (has(shape, single)) {
        fault(shape, BAD_REQUEST);
    }
    shape->singles |= 1u << single;
    if (singles[single].check != NULL) {
        singles[single].check(shape, value, len);
    }
}

void ota_shape_header(struct ota_shape *shape, const char *name, size_t name_len, const char *value,
                      size_t value_len)
{
    /* The colon, and blanks. A folded line tears a header apart (libmicrohttpd 0.9.75 glues it to
     * the name), and then this is anything. */
    if (value == NULL) {
        fault(shape, BAD_REQUEST);
        return;
    }
    size_t between = (size_t)((uintptr_t)value - (uintptr_t)(name + name_len));
    if (between == 0 || between > BLANKS_MAX) {
        fault(shape, BAD_REQUEST);
        between = 0;
    }
    shape->size += name_len + between + value_len + 2;
    if (!is_token(name, name_len) || !is_text(value, value_len)) {
        fault(shape, BAD_REQUEST);
        return;
    }
    for (unsigned i = 0; i < sizeof singles / sizeof singles[0]; i++) {
        if (singles[i].len == name_len && strncasecmp(singles[i].name, name, name_len) == 0) {
            check_single(shape, i, value, value_len);
        }
    }
}

int ota_shape_verdict(struct ota_shape *shape, size_t head_size)
{
    if (head_size != 0 && head_size != shape->size) {
        fault(shape, BAD_REQUEST);
    }
    if (shape->http_1_1 && !has(shape, HOST)) {
        fault(shape, BAD_REQUEST);
    }
    /* Without a body there is nothing to expect, and nobody understands a 100 (RFC 9110 10.1.1). */
    if (has(shape, EXPECT) && shape->body == 0) {
        fault(shape, BAD_REQUEST);
    }
    return shape->status;
}
