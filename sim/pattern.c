/* SPDX-License-Identifier: BSD-3-Clause */
#include "pattern.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum ota_err finish(FILE *out, bool bad, char **made, char **text, struct ota_error *error)
{
    if (fclose(out) != 0) {
        free(*made);
        return ota_error_set(error, OTA_INTERNAL, NULL, "out of memory for a name");
    }
    if (bad) {
        free(*made);
        return ota_error_set(error, OTA_INVALID_REQUEST, NULL,
                             "a name's pattern has an unknown %%");
    }
    *text = *made;
    return OTA_OK;
}

enum ota_err ota_pattern_names(const char *pattern, const char *product, const char *device,
                               char **text, struct ota_error *error)
{
    char *made = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&made, &size);
    if (out == NULL) {
        return ota_error_set(error, OTA_INTERNAL, NULL, "out of memory for a name");
    }
    bool bad = false;
    for (const char *at = pattern; *at != '\0' && !bad; at++) {
        if (*at != '%') {
            fputc(*at, out);
            continue;
        }
        at++;
        const char *word = *at == 'p' ? product : *at == 'd' ? device : *at == '%' ? "%" : NULL;
        bad = word == NULL;
        fputs(bad ? "" : word, out);
    }
    return finish(out, bad, &made, text, error);
}

enum ota_err ota_pattern_number(const char *pattern, int64_t number, char **text,
                                struct ota_error *error)
{
    char *made = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&made, &size);
    if (out == NULL) {
        return ota_error_set(error, OTA_INTERNAL, NULL, "out of memory for a name");
    }
    bool bad = false;
    for (const char *at = pattern; *at != '\0' && !bad; at++) {
        if (*at != '%') {
            fputc(*at, out);
            continue;
        }
        at++;
        int width = 0;
        for (; isdigit((unsigned char)*at) && width < 20; at++) {
            width = 10 * width + (*at - '0');
        }
        bad = *at != 'd' || width > 20;
        fprintf(out, "%0*" PRId64, width, number);
    }
    return finish(out, bad, &made, text, error);
}

bool ota_pattern_varies(const char *pattern)
{
    return strchr(pattern, '%') != NULL;
}

/* splitmix64: small, and good enough for jitter and shuffles. */
uint64_t ota_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

int64_t ota_random_between(uint64_t *state, int64_t low, int64_t high)
{
    return low + (int64_t)(ota_random(state) % (uint64_t)(high - low + 1));
}
