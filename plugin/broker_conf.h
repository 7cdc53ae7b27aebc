/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what the broker's own configuration says about log-ins: no call tells a plugin, so the file
 *       is read that the broker was started with.
 * Thread: the broker's, at load.
 * Frees: nothing.
 */
#ifndef OTA_BROKER_CONF_H
#define OTA_BROKER_CONF_H

#include <stdbool.h>
#include <stddef.h>

#include "options.h"
#include "util/error.h"

enum ota_other_logins {
    OTA_LOGINS_UNKNOWN, /* the file, or one that it includes, can't be read */
    OTA_LOGINS_NONE,
    OTA_LOGINS_SOME /* a password_file, or another plugin, which may know clients */
};

/* Looks through the file and those of its include_dir. */
enum ota_other_logins ota_broker_conf_logins(const char *path);

/* The file that this process was started with (-c FILE); false where it was none. */
bool ota_broker_conf_path(char *path, size_t size);

/* Of 2.0, with device_auth: where nobody else knows clients, it denies all whom we leave to others,
 * the admins, too. That is to be said, and not to be found out: OTA_INVALID_REQUEST. */
OTA_CHECKED enum ota_err ota_broker_conf_check(const struct ota_options *options,
                                               struct ota_error *error);

#endif
