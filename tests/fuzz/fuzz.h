/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what the fuzz targets share: the entry point, a check that NDEBUG leaves alone, and bytes
 *       as C texts.
 * Thread: the target's.
 * Frees: the caller frees what fuzz_text returns.
 */
#ifndef OTA_FUZZ_H
#define OTA_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A finding is a crash; the line before it says which. */
#define FUZZ_CHECK(what)                                                                           \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            (void)fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #what);        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* A text of its own on the heap, to its first NUL: reading past the end is found. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size);
    FUZZ_CHECK(text != NULL);
    return text;
}

/* Cuts text at the first `mark` and returns what is behind it; "" where there is no mark. */
static inline char *fuzz_cut(char *text, char mark)
{
    char *behind = text + strcspn(text, (const char[]){mark, '\0'});
    if (*behind != '\0') {
        *behind++ = '\0';
    }
    return behind;
}

#endif
