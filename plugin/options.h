/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the plugin's options (plugin_opt_…): one table with name, kind, range and default.
 * Thread: any: the broker's at load, otactl's when it checks a configuration.
 * Frees: ota_options_free.
 */
#ifndef OTA_OPTIONS_H
#define OTA_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"

struct ota_options {
    char *db_path;
    char *topic_prefix;
    char *admins;
    char *operators;
    char *viewers;
    char *roles_file; /* "": none */
    char *device_identity;
    bool auto_register;
    int64_t max_devices_per_product;
    int64_t max_report_rate; /* a second and device; five seconds' worth at once */
    int64_t upgrade_timeout; /* seconds */
    int64_t notice_interval; /* seconds */
    int64_t max_firmware_size;
    int64_t max_firmware_per_product;
    char *download_listen;    /* "off": over MQTT alone */
    char *download_url;       /* "" only where that is off */
    int64_t block_rate;       /* bytes a second of in-band downloads: to a device, */
    int64_t block_rate_total; /* to all */
    char *http_certfile;
    char *http_keyfile;
    char *console_listen; /* "off": no console */
    char *console_dir;    /* "": the compiled-in files */
    char *console_hosts;  /* "": addresses and localhost alone */
    char *password_file;  /* "": nobody can log in to the console */
    bool metrics_public;
    char *signing_keys; /* "": none */
    bool require_signature;
    int64_t keep_history_days; /* these two: 0 for ever */
    int64_t keep_audit_days;
    char *backup_dir;   /* "": no backups */
    char *synchronous;  /* normal, full */
    char *acl_fallback; /* defer, allow */
    char *device_auth;  /* off, vendor */
    bool device_auth_only;
    char *secret_keyfile; /* "" only where device_auth is off */
};

/* Reads count options; an error's text names the option and what it may be. */
OTA_CHECKED enum ota_err ota_options_read(const char *const *keys, const char *const *values,
                                          int count, struct ota_options *options,
                                          struct ota_error *error);
/* Checks one option by itself: its name, and its value by its row. */
OTA_CHECKED enum ota_err ota_options_check(const char *key, const char *value,
                                           struct ota_error *error);

void ota_options_free(struct ota_options *options);

#endif
