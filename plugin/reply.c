/* SPDX-License-Identifier: BSD-3-Clause */
#include "reply.h"

#include <assert.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#define OTA_STREAM_BLOCK 2048

static const struct {
    const char *name;
    const char *value;
} always[] = {
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src "
     "'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
};

/* What a stream reads from, for the library. */
struct source {
    ota_reply_read read;
    void (*done)(void *data);
    void *data;
};

void ota_reply_add(struct ota_reply *reply, const char *name, const char *value)
{
    assert(reply->header_count < OTA_REPLY_HEADERS);
    reply->headers[reply->header_count].name = name;
    reply->headers[reply->header_count].value = value;
    reply->header_count++;
}

static bool add(struct MHD_Response *response, const char *name, const char *value)
{
    return MHD_add_response_header(response, name, value) == MHD_YES;
}

static bool describe(struct MHD_Response *response, const struct ota_reply *reply)
{
    bool said_cache = false;

    for (size_t i = 0; i < sizeof always / sizeof always[0]; i++) {
        if (!add(response, always[i].name, always[i].value)) {
            return false;
        }
    }
    for (size_t i = 0; i < reply->header_count; i++) {
        said_cache = said_cache || strcmp(reply->headers[i].name, "Cache-Control") == 0;
        if (!add(response, reply->headers[i].name, reply->headers[i].value)) {
            return false;
        }
    }
    return (said_cache || add(response, "Cache-Control", "no-store")) &&
           (reply->type == NULL || add(response, "Content-Type", reply->type));
}

/* Sends the response and gives it away. */
static bool send_off(struct ota_visitor *visitor, struct MHD_Response *response,
                     const struct ota_reply *reply)
{
    bool sent = describe(response, reply) && ota_server_answer(visitor, reply->status, response);
    MHD_destroy_response(response);
    return sent;
}

bool ota_reply_send(struct ota_visitor *visitor, struct ota_reply *reply)
{
    const void *bytes = reply->own != NULL ? reply->own : reply->bytes != NULL ? reply->bytes : "";
    struct MHD_Response *response = MHD_create_response_from_buffer(
        reply->len, (void *)bytes,
        reply->own != NULL ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);

    if (response == NULL) {
        free(reply->own);
        reply->own = NULL;
        return false;
    }
    reply->own = NULL;
    return send_off(visitor, response, reply);
}

static ssize_t read_source(void *data, uint64_t position, char *buffer, size_t max)
{
    struct source *source = data;
    (void)position;

    long len = source->read(source->data, buffer, max);
    return len >= 0 ? (ssize_t)len : MHD_CONTENT_READER_END_OF_STREAM;
}

static void free_source(void *data)
{
    struct source *source = data;

    source->done(source->data);
    free(source);
}

bool ota_reply_stream(struct ota_visitor *visitor, const char *type, ota_reply_read read,
                      void (*done)(void *data), void *data)
{
    const struct ota_reply reply = {.status = MHD_HTTP_OK, .type = type};
    struct source *source = malloc(sizeof *source);
    struct MHD_Response *response = NULL;

    if (source != NULL) {
        *source = (struct source){read, done, data};
        response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, OTA_STREAM_BLOCK,
                                                     read_source, source, free_source);
    }
    if (response == NULL) {
        free(source);
        done(data);
        return false;
    }
    return send_off(visitor, response, &reply);
}
