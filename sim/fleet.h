/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: all devices and what they share; when the program ends and with what.
 * Thread: the loop's.
 * Frees: everything, before ota_fleet_run() returns.
 */
#ifndef OTA_SIM_FLEET_H
#define OTA_SIM_FLEET_H

#include "options.h"

/* Runs until it is told to stop. exit_code is the program's. */
enum ota_err ota_fleet_run(const struct ota_options *options, int *exit_code,
                           struct ota_error *error) OTA_CHECKED;

#endif
