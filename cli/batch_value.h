/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: how the parameters of a batch are written in a shell: stages, thresholds, times, names.
 * Thread: main; pure, but for the clock that "+2h" starts from.
 * Frees: nothing; JSON made here belongs to the caller.
 */
#ifndef OTA_CLI_BATCH_VALUE_H
#define OTA_CLI_BATCH_VALUE_H

#include <jansson.h>

#include "command_table.h"

/* Each reads text, or gives NULL where it is wrong. */

/* "1%,10%:min=95:soak=1h:manual,500", or the array as JSON. */
json_t *ota_batch_value_stages(const char *text, const struct ota_param *param);

/* "10%/50", or the object as JSON. */
json_t *ota_batch_value_threshold(const char *text, const struct ota_param *param);

/* Unix milliseconds, "2026-12-01T08:00" (local; with Z at the end UTC), "+2h". */
json_t *ota_batch_value_time(const char *text, const struct ota_param *param);

/* An object as JSON. */
json_t *ota_batch_value_target(const char *text, const struct ota_param *param);

/* "a,b,c" */
json_t *ota_batch_value_devices(const char *text, const struct ota_param *param);
json_t *ota_batch_value_versions(const char *text, const struct ota_param *param);

#endif
