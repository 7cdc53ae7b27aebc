/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the settings that Mosquitto knows. One row a setting.
 * Thread: main; a constant table.
 * Frees: nothing.
 */
#ifndef OTA_CLI_CONF_TABLE_H
#define OTA_CLI_CONF_TABLE_H

#include <stddef.h>

enum ota_conf_kind {
    OTA_CONF_TEXT,
    OTA_CONF_BOOL,
    OTA_CONF_NUMBER,
    OTA_CONF_NEWER /* of 2.1: another broker than ours would refuse it */
};

struct ota_conf_setting {
    const char *name;
    enum ota_conf_kind kind;
    const char *instead; /* deprecated, and what to use; or NULL */
};

/* The row of that name, or NULL. */
const struct ota_conf_setting *ota_conf_setting(const char *name);

/* The name that looks most like that one, or NULL. */
const char *ota_conf_setting_near(const char *name);

#endif
