/* SPDX-License-Identifier: BSD-3-Clause */
#include "vendor_http.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "codes.h"

#define OTA_VENDOR_HOST_MAX 63

/* The scheme's length, or 0 where it is none of its two. */
static size_t parse_scheme(const char *text, struct ota_vendor_url *url)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < 2; i++) {
        size_t len = strlen(schemes[i]);
        if (strncasecmp(text, schemes[i], len) == 0) {
            url->secure = i == 1;
            url->place.port = url->secure ? 443 : 80;
            return len;
        }
    }
    return 0;
}

/* It takes a port for a part of the name, and whatever stands before an @ as well. */
static bool parse_host(const char *text, size_t len, bool allow_port, struct ota_vendor_url *url)
{
    char host[OTA_VENDOR_HOST_MAX + 8] = "";
    if (len == 0 || len >= sizeof host || memchr(text, '@', len) != NULL) {
        return false;
    }
    memcpy(host, text, len);
    url->names_port = strchr(host, ':') != NULL;
    if (!url->names_port) {
        strcpy(url->place.host, host);
        return len <= OTA_VENDOR_HOST_MAX;
    }
    return allow_port && ota_place_parse(host, &url->place, NULL) == OTA_OK;
}

static bool parse_path(const char *text, struct ota_vendor_url *url)
{
    int len = (int)strcspn(text, "#");
    const char *root = *text == '/' ? "" : "/";
    int used = snprintf(url->path, sizeof url->path, "%s%.*s", root, len, text);
    return used > 0 && (size_t)used < sizeof url->path;
}

bool ota_vendor_url_parse(const char *text, bool allow_port, struct ota_vendor_url *url)
{
    *url = (struct ota_vendor_url){0};
    const char *host = text + parse_scheme(text, url);
    size_t len = strcspn(host, "/?#");
    return host != text && parse_host(host, len, allow_port, url) && parse_path(host + len, url);
}

size_t ota_vendor_request(const struct ota_vendor_url *url, int64_t from, int64_t size,
                          char wire[OTA_VENDOR_WIRE_MAX])
{
    char lines[OTA_VENDOR_WIRE_MAX / 2], range[80], port[8] = "";
    if (url->names_port) {
        snprintf(port, sizeof port, ":%d", url->place.port);
    }
    size_t len = (size_t)snprintf(
        lines, sizeof lines,
        "GET %s HTTP/1.1\r\nHost: %s%s\r\n"
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
        "Accept-Encoding: gzip, deflate\r\n",
        url->path, url->place.host, port);
    len += (size_t)snprintf(range, sizeof range, "Range: bytes=%" PRId64 "-%" PRId64 "\r\n\r\n",
                            from, size);
    if (len > OTA_VENDOR_REQUEST_MAX) {
        /* As it was seen: twice, and without Range. */
        return (size_t)snprintf(wire, OTA_VENDOR_WIRE_MAX, "%s%s\r\n", lines, lines);
    }
    return (size_t)snprintf(wire, OTA_VENDOR_WIRE_MAX, "%s%s", lines, range);
}

/* The value's first byte, or NULL. Only so spelt, with its space: a line's beginning is name. */
static const char *find_line(const char *text, const char *name)
{
    const char *end = strstr(text, "\r\n\r\n");
    for (const char *at = strstr(text, "\r\n"); at != NULL && at < end; at = strstr(at, "\r\n")) {
        at += 2;
        if (strncmp(at, name, strlen(name)) == 0) {
            return at + strlen(name);
        }
    }
    return NULL;
}

static int parse_length(const char *text, int64_t *length)
{
    const char *value = find_line(text, "Content-Length: ");
    if (value != NULL) {
        *length = strtoll(value, NULL, 10);
        return 0;
    }
    bool near = find_line(text, "Content-Length:") != NULL ||
                find_line(text, "Transfer-Encoding: ") != NULL;
    return near ? OTA_CODE_MISSING : OTA_CODE_FAILED;
}

/* The first line alone decides about these, and about what is no HTTP. */
static int parse_status(const char *text, int *status)
{
    int number = 0;
    if (sscanf(text, "HTTP/%*d.%*d %d", &number) != 1) { // NOLINT(cert-err34-c)
        return OTA_CODE_FAILED;
    }
    *status = number;
    return ota_code_of_status(number);
}

bool ota_vendor_head_parse(const char *text, struct ota_vendor_head *head)
{
    *head = (struct ota_vendor_head){0};
    const char *end = strstr(text, "\r\n\r\n");
    head->size = end == NULL ? strlen(text) : (size_t)(end - text) + 4;
    if (strstr(text, "\r\n") != NULL) {
        head->code = parse_status(text, &head->status);
    }
    if (head->code == 0 && head->size > OTA_VENDOR_HEAD_MAX) {
        head->code = OTA_CODE_FAILED;
    }
    if (head->code == 0 && end != NULL) {
        head->code = parse_length(text, &head->length);
    }
    return head->code != 0 || end != NULL;
}
