/* SPDX-License-Identifier: BSD-3-Clause */
/* The head of a request as it comes over the network, split as a server would: what is let through
 * can be read in one way only. */
#include "fuzz.h"

#include <strings.h>

#include "../../plugin/shape.h"

#define MAX_BODY 1000

struct head {
    struct ota_shape shape;
    int hosts;
    int lengths;
    int encodings;
};

static void take_header(struct head *head, char *line, size_t len)
{
    char *colon = memchr(line, ':', len);
    size_t name_len = colon != NULL ? (size_t)(colon - line) : len;
    char *value = colon != NULL ? colon + 1 : NULL;
    while (value != NULL && (*value == ' ' || *value == '\t')) {
        value++;
    }
    size_t value_len = value != NULL ? (size_t)(line + len - value) : 0;
    head->hosts += name_len == 4 && strncasecmp(line, "Host", 4) == 0;
    head->lengths += name_len == 14 && strncasecmp(line, "Content-Length", 14) == 0;
    head->encodings += name_len == 17 && strncasecmp(line, "Transfer-Encoding", 17) == 0;
    ota_shape_header(&head->shape, line, name_len, value, value_len);
}

/* Its length, or 0: there is no head. */
static size_t take(struct head *head, char *text)
{
    char *line = strstr(text, "\r\n");
    if (line == NULL) {
        return 0;
    }
    *line = '\0';
    char *target = fuzz_cut(text, ' ');
    char *version = fuzz_cut(target, ' ');
    ota_shape_begin(&head->shape, MAX_BODY, text, ota_shape_target(target), version);
    for (line += 2;;) {
        char *end = strstr(line, "\r\n");
        if (end == NULL) {
            return 0;
        }
        if (end == line) {
            return (size_t)(end + 2 - text);
        }
        take_header(head, line, (size_t)(end - line));
        line = end + 2;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct head head = {0};
    char *text = fuzz_text(data, size);
    size_t len = take(&head, text);
    if (len > 0) {
        int status = ota_shape_verdict(&head.shape, len);
        FUZZ_CHECK(status == 0 || status == 400 || status == 413);
        if (status == 0) {
            FUZZ_CHECK(head.lengths <= 1 && head.hosts <= 1 && head.encodings == 0);
            FUZZ_CHECK(head.hosts == 1 || !head.shape.http_1_1);
            FUZZ_CHECK(head.shape.body >= 0 && head.shape.body <= MAX_BODY);
            FUZZ_CHECK(ota_shape_verdict(&head.shape, len + 1) == 400);
        }
    }
    free(text);
    return 0;
}
