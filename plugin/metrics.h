/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the numbers of the running service, as Prometheus reads them.
 * Thread: the broker's: what they are read from is its own. Well below a millisecond.
 * Frees: the text is the caller's.
 */
#ifndef OTA_METRICS_H
#define OTA_METRICS_H

#include "control.h"

/* Products, and batches that aren't over, with numbers of their own; the rest is only summed up. */
#define OTA_METRICS_PRODUCTS 200
#define OTA_METRICS_BATCHES  100

/* False: no memory. */
bool ota_metrics_text(const struct ota_surroundings *around, char **text, size_t *len);

#endif
