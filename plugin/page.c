/* SPDX-License-Identifier: BSD-3-Clause */
/* The console's page: its files, compiled in or from console_dir. */
#include <stdio.h>
#include <string.h>

#include "assets.h"
#include "visit.h"

static bool not_found(struct visit *visit)
{
    static const char text[] = "There is nothing here.\n";
    struct ota_reply reply = {
        .status = 404, .type = "text/plain; charset=utf-8", .bytes = text, .len = sizeof text - 1};
    return ota_visit_answer(visit, &reply);
}

static bool serve_file(struct visit *visit)
{
    struct ota_reply reply = {.status = 200, .type = ota_asset_type(visit->target)};

    if (!ota_asset_read(console_of(visit)->dir, visit->target, &reply.own, &reply.len)) {
        return not_found(visit);
    }
    ota_reply_add(&reply, "Cache-Control", "no-cache");
    return ota_visit_answer(visit, &reply);
}

bool ota_visit_asset(struct visit *visit)
{
    if (strncmp(visit->target, "/api/", 5) == 0) {
        return ota_visit_refuse_with(visit, 404, OTA_NOT_FOUND, "there is nothing here");
    }
    if (console_of(visit)->dir != NULL) {
        return serve_file(visit);
    }
    const struct ota_asset *asset = ota_asset_find(visit->target);
    const char *type = asset != NULL ? ota_asset_type(asset->path) : NULL;
    if (type == NULL) {
        return not_found(visit);
    }
    bool gzip = ota_asset_takes_gzip(ota_server_header(&visit->visitor, "Accept-Encoding"));
    const char *known = ota_server_header(&visit->visitor, "If-None-Match");
    char etag[64];
    struct ota_reply reply = {.status = 200,
                              .type = type,
                              .bytes = gzip ? asset->gzip : asset->plain,
                              .len = gzip ? asset->gzip_len : asset->plain_len};
    (void)snprintf(etag, sizeof etag, "\"%s%s\"", asset->digest, gzip ? "-gz" : "");
    ota_reply_add(&reply, "ETag", etag);
    ota_reply_add(&reply, "Cache-Control", "no-cache");
    ota_reply_add(&reply, "Vary", "Accept-Encoding");
    if (known != NULL && strstr(known, etag) != NULL) {
        reply.status = 304;
        reply.type = NULL;
        reply.len = 0;
    } else if (gzip) {
        ota_reply_add(&reply, "Content-Encoding", "gzip");
    }
    return ota_visit_answer(visit, &reply);
}
