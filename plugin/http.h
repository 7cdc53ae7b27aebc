/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the download server: which request gets which firmware, the hot images in memory, and the
 *       thread that loads them. Its listener, its connections and what guards them: server.h.
 * Thread: ota_http_start, _stop, _cut and _stats are called on the broker's thread; requests run on
 *         the server's threads, which never call the broker.
 * Frees: ota_http_stop.
 */
#ifndef OTA_HTTP_H
#define OTA_HTTP_H

#include <stdint.h>

#include "store/store.h"
#include "util/error.h"

/* Connections at a time. */
#define OTA_HTTP_PLACES   2000
/* Of one task; a device needs one. With one more, the longest there is dropped. */
#define OTA_HTTP_PER_TASK 16

struct ota_http;
struct ota_images;
struct ota_worker;

struct ota_http_config {
    const char *listen;   /* "0.0.0.0:8080", "[::]:8080", port 0 picks one (tests); NULL: nobody
                             downloads over HTTP, the images are for in-band alone */
    const char *certfile; /* PEM, or NULL for plain HTTP */
    const char *keyfile;
    const char *db_path; /* for a reading connection of its own */
    unsigned char url_key[OTA_KEY_SIZE];
    int places;  /* 0: OTA_HTTP_PLACES; never above a quarter of the open files */
    int look_ms; /* how often connections are looked at; 0: every second (tests) */
};

struct ota_http_stats {
    uint64_t requests;
    uint64_t refused; /* 400, 403, 404, 413 */
    uint64_t bytes;   /* handed to finished transfers */
    int connections;
    int active;
};

/* An error names the option at fault ("download_listen", "http_certfile", "http_keyfile"). */
OTA_CHECKED enum ota_err ota_http_start(const struct ota_http_config *config,
                                        struct ota_http **http, struct ota_error *error);

/* Closes all connections, joins the threads; NULL is fine. */
void ota_http_stop(struct ota_http *http);

/* The hot images, and the thread that loads those which are waited for once it is woken: in-band
 * downloads share them. Until ota_http_stop. */
struct ota_images *ota_http_images(struct ota_http *http);
struct ota_worker *ota_http_loader(struct ota_http *http);

/* The port that it listens on, for tests. */
int ota_http_port(const struct ota_http *http);

/* These two, where it listens. */

/* The task's attempt has ended: its running transfers are dropped, by the server's watching thread
 * at once, and what is asked from now on is refused. NULL is fine. */
void ota_http_cut(struct ota_http *http, int64_t task_id);

void ota_http_stats(struct ota_http *http, struct ota_http_stats *stats);

#endif
