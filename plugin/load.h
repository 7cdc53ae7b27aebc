/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: filling memory from the store, at start: one pass over each table.
 * Thread: the broker's.
 * Frees: nothing; what was loaded belongs to the core.
 */
#ifndef OTA_LOAD_H
#define OTA_LOAD_H

#include "core.h"

/* Fills clock, URL key, products, versions, firmware, devices and unfinished tasks. */
OTA_CHECKED enum ota_err ota_load(struct ota_core *core, struct ota_error *error);

#endif
