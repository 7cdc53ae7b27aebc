/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what a request's head must look like to be answered at all, so that no two readers of it
 *       (a proxy and we) can differ about where it ends. Knows no library: it is told the parts.
 * Thread: any; pure functions over the caller's struct.
 * Frees: nothing.
 */
#ifndef OTA_SHAPE_H
#define OTA_SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Larger bodies can't be counted; nor are there any. */
#define OTA_SHAPE_BODY_MAX (INT64_MAX / 16)

struct ota_shape {
    int64_t max_body; /* bytes that a request may carry; 0: none */
    int status;       /* 0, or what the first fault is answered with */
    bool http_1_1;
    unsigned singles; /* which headers that may come once have come */
    int64_t body;
    size_t size; /* of the head, as it is when nothing in it was changed or hidden */
};

/* The length of a request line's target as it came (or NULL); 0 where blanks, control characters
 * or others that don't belong into one are in it. */
size_t ota_shape_target(const char *target);

/* The request line's parts. */
void ota_shape_begin(struct ota_shape *shape, int64_t max_body, const char *method,
                     size_t target_len, const char *version);

/* A header, where it lies in the buffer that it was read into: the value behind the name. */
void ota_shape_header(struct ota_shape *shape, const char *name, size_t name_len, const char *value,
                      size_t value_len);

/*
 * 0 where all is well, or the status of the refusal: 400, 413. After it the connection must be
 * closed. `head_size` is how many bytes the head really had, 0 where that isn't known: when it
 * differs from the sum of the parts, then a NUL, a folded line, a bare LF or stray blanks were in
 * there, which somebody else would have read otherwise.
 */
int ota_shape_verdict(struct ota_shape *shape, size_t head_size);

#endif
