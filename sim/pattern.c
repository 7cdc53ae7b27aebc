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

/* Writes what stands for the place that begins behind its %; gives what follows it, NULL where
 * there is no such place. */
typedef const char *(*fill_fn)(FILE *out, const char *at, const void *data);

static enum ota_err fill(const char *pattern, fill_fn fill_place, const void *data, char **text,
                         struct ota_error *error)
{
    char *made = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&made, &size);
    if (out == NULL) {
        return ota_error_set(error, OTA_INTERNAL, NULL, "out of memory for a name");
    }
    const char *at = pattern;
    while (at != NULL && *at != '\0') {
        if (*at == '%') {
            at = fill_place(out, at + 1, data);
        } else {
            fputc(*at++, out);
        }
    }
    return finish(out, at == NULL, &made, text, error);
}

struct names {
    const char *product;
    const char *device;
};

static const char *fill_name(FILE *out, const char *at, const void *data)
{
    const struct names *names = data;
    const char *word = *at == 'p'   ? names->product
                       : *at == 'd' ? names->device
                       : *at == '%' ? "%"
                                    : NULL;
    if (word == NULL) {
        return NULL;
    }
    fputs(word, out);
    return at + 1;
}

enum ota_err ota_pattern_names(const char *pattern, const char *product, const char *device,
                               char **text, struct ota_error *error)
{
    const struct names names = {.product = product, .device = device};
    return fill(pattern, fill_name, &names, text, error);
}

static const char *fill_number(FILE *out, const char *at, const void *data)
{
    const int64_t *number = data;
    int width = 0;
    for (; isdigit((unsigned char)*at) && width < 20; at++) {
        width = 10 * width + (*at - '0');
    }
    if (*at != 'd' || width > 20) {
        return NULL;
    }
    fprintf(out, "%0*" PRId64, width, *number);
    return at + 1;
}

enum ota_err ota_pattern_number(const char *pattern, int64_t number, char **text,
                                struct ota_error *error)
{
    return fill(pattern, fill_number, &number, text, error);
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
