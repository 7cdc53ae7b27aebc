/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the whole service behind the plugin's entry points: what is built at load from options,
 *       in which order, and taken down at unload. The plugin's one context.
 * Thread: the broker's.
 * Frees: ota_service_stop.
 */
#ifndef OTA_SERVICE_H
#define OTA_SERVICE_H

#include "access.h"
#include "broker.h"
#include "control.h"
#include "errands.h"
#include "options.h"
#include "traffic.h"
#include "waker.h"

struct ota_service {
    struct ota_options options;
    struct ota_core core;
    struct ota_roles roles;
    struct ota_signature_keys *signing_keys; /* NULL: none */
    struct ota_access access;
    struct ota_intake intake;
    struct ota_http *http; /* in `around`, too, where it listens */
    struct ota_inband *inband;
    struct ota_dispatch dispatch;
    struct ota_surroundings around;
    struct ota_control *control;
    struct ota_traffic traffic;
    struct ota_errands errands;
    struct ota_waker waker;
    int64_t ticked_at; /* monotonic ms */
};

/* Takes over options, also on failure. */
OTA_CHECKED enum ota_err ota_service_start(struct ota_service *service,
                                           const struct ota_options *options,
                                           const char *broker_version, struct ota_error *error);
void ota_service_stop(struct ota_service *service);

/* Reads roles_file and the files of signing_keys again; what can't be read stays as it was. */
void ota_service_reload(struct ota_service *service);

/* What is due, for a few milliseconds. */
void ota_service_work(struct ota_service *service);

/* Called in every loop of the broker: foreign traffic pays for what is done here. */
static inline void ota_service_tick(struct ota_service *service)
{
    ota_traffic_turn(&service->traffic);
    if (ota_now_coarse() >= service->core.wake_at || ota_waker_has_called(&service->waker)) {
        ota_service_work(service);
    }
}

#endif
