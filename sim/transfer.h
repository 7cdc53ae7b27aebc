/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the downloads under way: libcurl's multi handle, its sockets and its timer.
 * Thread: the loop's. end() is never called from within start() or stop().
 * Frees: a transfer frees itself after end(), or in ota_transfer_stop().
 */
#ifndef OTA_SIM_TRANSFER_H
#define OTA_SIM_TRANSFER_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop.h"
#include "resolve.h"

struct ota_transfers {
    struct ota_loop *loop;
    CURLM *multi;
    struct ota_timer timer;
    struct ota_transfer *all;
    struct curl_slist *known; /* hosts that were resolved */
    const char *cafile;
    bool insecure;
    const struct ota_place *detour; /* port 0: none */
    struct curl_slist *routes;      /* the same for libcurl */
    uint64_t bytes;
};

struct ota_transfer_head {
    long status;
    int64_t offset;   /* where the body starts: Content-Range, or 0 */
    const char *etag; /* or "" */
};

struct ota_transfer_end {
    long status;   /* 0: none came */
    bool complete; /* the answer came as a whole */
    bool stopped;  /* one of the callbacks said so */
    bool hopeless; /* the same URL won't do better */
    const char *reason;
};

struct ota_transfer_events {
    /* Before the first byte of a body; false stops. */
    bool (*head)(void *arg, const struct ota_transfer_head *head);
    /* False stops. */
    bool (*bytes)(void *arg, const void *data, size_t len);
    void (*end)(void *arg, const struct ota_transfer_end *end);
};

struct ota_transfer_request {
    const char *url;
    const char *range;    /* "100-", or NULL */
    const char *if_range; /* an ETag, or NULL */
    int64_t speed;        /* bytes a second, 0: any */
};

/* Downloads beyond at_most wait for one another. */
enum ota_err ota_transfers_open(struct ota_transfers *transfers, struct ota_loop *loop,
                                long at_most, struct ota_error *error) OTA_CHECKED;
void ota_transfers_close(struct ota_transfers *transfers);

enum ota_err ota_transfer_start(struct ota_transfers *transfers,
                                const struct ota_transfer_request *request,
                                const struct ota_transfer_events *events, void *arg,
                                struct ota_transfer **transfer,
                                struct ota_error *error) OTA_CHECKED;

/* Without a call of end(). Not from within head() or bytes(): those return false. */
void ota_transfer_stop(struct ota_transfer *transfer);

#endif
