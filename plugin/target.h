/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: which devices a batch is for: the `target` of control-api.md, read, checked, matched.
 * Thread: any.
 * Frees: ota_target_free.
 */
#ifndef OTA_TARGET_H
#define OTA_TARGET_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/error.h"
#include "util/names.h"

/* Members are ANDed. */
struct ota_target {
    json_t *json;                /* as it was given, without its devices; NULL: none yet */
    bool named;                  /* only devices of the batch's list */
    int online;                  /* 1, 0, or -1: whichever */
    const json_t *from_versions; /* of json; NULL: any */
    const json_t *not_versions;
    const json_t *tags;
};

/* The rule that json breaks, or NULL. */
const char *ota_target_rule(const json_t *json);

/* Of a target that keeps the rules; json may be NULL. */
OTA_CHECKED enum ota_err ota_target_read(const json_t *json, struct ota_target *target,
                                         struct ota_error *error);
/* The same from what ota_target_write made; "" for none. */
OTA_CHECKED enum ota_err ota_target_load(const char *text, struct ota_target *target,
                                         struct ota_error *error);
/* "" for none; freed with free(); NULL: no memory. */
char *ota_target_write(const struct ota_target *target);
void ota_target_free(struct ota_target *target);

/* Whether the version alone lets the device in. */
bool ota_target_takes_version(const struct ota_target *target, const char *version);
bool ota_target_takes_online(const struct ota_target *target, bool online);
/* Only where ota_target_needs_tags. */
bool ota_target_takes_tags(const struct ota_target *target, const char *tags);
bool ota_target_needs_tags(const struct ota_target *target);

#endif
