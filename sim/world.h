/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: nothing itself: what all devices share, and the tally of what they are doing.
 * Thread: the loop's.
 * Frees: nothing; fleet.c opens and closes the parts.
 */
#ifndef OTA_SIM_WORLD_H
#define OTA_SIM_WORLD_H

#include "../plugin/util/signature.h"
#include "link.h"
#include "loop.h"
#include "options.h"
#include "output.h"
#include "stream.h"
#include "transfer.h"

enum ota_phase {
    OTA_PHASE_IDLE,
    OTA_PHASE_STARTING, /* has taken a notice, fetches soon */
    OTA_PHASE_FETCHING,
    OTA_PHASE_BURNING,
    OTA_PHASE_REBOOTING, /* away, comes back by itself; or the vendor's program has ended */
    OTA_PHASE_COOLING,   /* the vendor's, between a fail and the next version report */
    OTA_PHASE_MUTE,      /* by a fault: hears, but says nothing */
    OTA_PHASE_COUNT
};

struct ota_tally {
    size_t connected, phases[OTA_PHASE_COUNT];
    size_t ended, failed; /* devices, each by its first upgrade */
};

struct ota_gateway;

struct ota_world {
    const struct ota_options *options;
    struct ota_loop loop;
    struct ota_net net;
    struct ota_tls tls;
    struct ota_vendor_auth auth;
    struct ota_signature_keys *keys; /* of those who may sign firmware; NULL: anybody may send it */
    struct ota_transfers transfers;
    struct ota_streams streams;  /* the vendor's downloads */
    struct ota_place detour;     /* where all downloads go; port 0: where their URLs say */
    struct ota_gateway *gateway; /* that speaks for all devices; NULL: they speak for themselves */
    struct ota_output output;
    struct ota_tally tally;
    size_t devices;
};

#endif
