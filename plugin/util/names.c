/* SPDX-License-Identifier: BSD-3-Clause */
#include "names.h"

#include <string.h>
#include <strings.h>

static const char alnum[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

static bool is_made_of(const char *text, size_t len, size_t max, const char *extra)
{
    if (len == 0 || len > max) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\0' || (strchr(alnum, text[i]) == NULL && strchr(extra, text[i]) == NULL)) {
            return false;
        }
    }
    return true;
}

bool ota_name_is_product(const char *text, size_t len)
{
    return is_made_of(text, len, OTA_PRODUCT_MAX, "_-");
}

bool ota_name_is_device(const char *text, size_t len)
{
    return is_made_of(text, len, OTA_DEVICE_MAX, "_:-");
}

bool ota_name_is_version(const char *text, size_t len)
{
    return is_made_of(text, len, OTA_VERSION_MAX, "._-");
}

bool ota_name_is_tag(const char *text, size_t len)
{
    return is_made_of(text, len, OTA_TAG_MAX, "_.:=-");
}

bool ota_name_is_text(const char *text, size_t len)
{
    if (len > OTA_TEXT_MAX) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) {
            return false;
        }
    }
    return true;
}

void ota_text_cut(const char *text, char *out, size_t size)
{
    size_t len = strnlen(text, size);
    if (len == size) {
        len = size - 1;
        while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80) {
            len--;
        }
    }
    memcpy(out, text, len);
    out[len] = '\0';
}

static bool ends_in(const char *text, size_t len, const char *suffix)
{
    size_t n = strlen(suffix);
    return len > n && strncasecmp(text + len - n, suffix, n) == 0;
}

bool ota_name_is_filename(const char *text, size_t len)
{
    if (len > OTA_FILENAME_MAX || !ota_name_is_text(text, len) || memchr(text, '/', len) != NULL) {
        return false;
    }
    return ends_in(text, len, ".bin") || ends_in(text, len, ".tar") || ends_in(text, len, ".gz") ||
           ends_in(text, len, ".zip");
}

bool ota_name_is_backup(const char *text, size_t len)
{
    return is_made_of(text, len, OTA_BACKUP_MAX, "._-") && text[0] != '.' &&
           !ends_in(text, len, "-wal") && !ends_in(text, len, "-shm") &&
           !ends_in(text, len, "-journal");
}

bool ota_name_is_hex(const char *text, size_t len)
{
    if (strnlen(text, len + 1) != len) {
        return false;
    }
    return strspn(text, "0123456789abcdef") == len;
}

bool ota_tags_have(const char *tags, const char *tag, size_t len)
{
    while (*tags != '\0') {
        size_t next = strcspn(tags, " ");
        if (next == len && memcmp(tags, tag, len) == 0) {
            return true;
        }
        tags += next + (tags[next] == ' ');
    }
    return false;
}
