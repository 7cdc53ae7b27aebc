/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the rules that a broker's configuration is checked by, without a broker.
 * Thread: main.
 * Frees: nothing.
 */
#ifndef OTA_CLI_CONF_CHECK_H
#define OTA_CLI_CONF_CHECK_H

#include "conf_file.h"
#include "conf_user.h"
#include "options.h"

struct ota_conf_check {
    const struct ota_conf *conf;
    struct ota_findings *findings;
    struct ota_conf_user user; /* who the broker becomes */
};

/* All rules below, over what was loaded. */
void ota_conf_check_all(const struct ota_conf *conf, struct ota_findings *findings);

/* Each line for itself: known, well formed, not deprecated. */
void ota_conf_check_settings(const struct ota_conf_check *check);

/* Listeners: ports, TLS, who may come in. */
void ota_conf_check_listeners(const struct ota_conf_check *check);

/* The plugin lines, and the options of ours. */
void ota_conf_check_plugin(const struct ota_conf_check *check);

/* Ours as the plugin would read them; line of the plugin itself and of each option. */
struct ota_conf_ours {
    const struct ota_conf_line *plugin;
    const struct ota_options *options;
};
void ota_conf_check_options(const struct ota_conf_check *check, const struct ota_conf_ours *ours);
void ota_conf_check_device_auth(const struct ota_conf_check *check,
                                const struct ota_conf_ours *ours);

/* The line of our option, or that of the plugin. */
const struct ota_conf_line *ota_conf_option_line(const struct ota_conf_check *check,
                                                 const struct ota_conf_ours *ours,
                                                 const char *name);

/* Finds a file that the broker can't use so (R_OK, W_OK, X_OK); true where it can. */
bool ota_conf_check_file(const struct ota_conf_check *check, const struct ota_conf_line *line,
                         const char *path, int mode);

/* Finds a file that others on the machine can do that with (util/others.h). */
void ota_conf_check_others(const struct ota_conf_check *check, const struct ota_conf_line *line,
                           const char *path, unsigned what, const char *remedy);

/* Whether an address is this machine's own, out of reach for others. */
bool ota_conf_is_loopback(const char *host);

#endif
