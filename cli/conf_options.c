/* SPDX-License-Identifier: BSD-3-Clause */
/* What the plugin's own table can't know: the machine around its options. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf_check.h"
#include "util/others.h"

#define PREFIX_LENGTH 11 /* of plugin_opt_ */

static void find(const struct ota_conf_check *check, const struct ota_conf_line *line,
                 enum ota_level level, const char *rule, const char *remedy, const char *text)
{
    struct ota_finding at = ota_conf_at(line, level, rule, remedy);
    ota_findings_add(check->findings, &at, "%s", text);
}

/* --- files and folders ------------------------------------------------------------------------ */

static void check_database(const struct ota_conf_check *check, const struct ota_conf_ours *ours)
{
    char folder[1024];
    const struct ota_conf_line *line = ota_conf_option_line(check, ours, "db_path");
    ota_others_folder(ours->options->db_path, folder, sizeof folder);
    if (ota_conf_check_file(check, line, folder, R_OK | W_OK | X_OK)) {
        ota_conf_check_others(check, line, folder, OTA_OTHERS_WRITE,
                              "chmod 700: who can write there can put another database in place");
    }
    ota_conf_check_others(check, line, ours->options->db_path, OTA_OTHERS_READ | OTA_OTHERS_WRITE,
                          "chmod 600");
}

static bool ends_in(const char *text, const char *end)
{
    size_t len = strlen(text);
    size_t n = strlen(end);
    return len >= n && strcmp(text + len - n, end) == 0;
}

/* "a.pub,b.pub" */
static void check_list(const struct ota_conf_check *check, const struct ota_conf_line *line)
{
    const char *text = line->value;
    while (*text != '\0') {
        char path[1024];
        size_t len = strcspn(text, ",");
        (void)snprintf(path, sizeof path, "%.*s", (int)len, text);
        if (ota_conf_check_file(check, line, path, R_OK)) {
            ota_conf_check_others(check, line, path, OTA_OTHERS_WRITE,
                                  "chmod 644: who can write to it decides what is signed well");
        }
        text += len;
        text += *text == ',';
    }
}

/* By the option's name: one that comes later needs no new row. */
static void check_path(const struct ota_conf_check *check, const struct ota_conf_line *line)
{
    const char *name = line->key;
    if (strcmp(name, "plugin_opt_signing_keys") == 0) {
        check_list(check, line);
    } else if (ends_in(name, "_dir")) {
        bool fills = strcmp(name, "plugin_opt_backup_dir") == 0;
        (void)ota_conf_check_file(check, line, line->value, (fills ? W_OK : R_OK) | X_OK);
    } else if (strcmp(name, "plugin_opt_secret_keyfile") == 0) {
        return; /* has rules of its own */
    } else if (ends_in(name, "_keyfile")) {
        if (ota_conf_check_file(check, line, line->value, R_OK)) {
            ota_conf_check_others(check, line, line->value, OTA_OTHERS_READ | OTA_OTHERS_WRITE,
                                  "chmod 600: it is a private key");
        }
    } else if (ends_in(name, "_file") || ends_in(name, "_certfile")) {
        if (ota_conf_check_file(check, line, line->value, R_OK)) {
            ota_conf_check_others(check, line, line->value, OTA_OTHERS_WRITE,
                                  "chmod o-w: who can write to it gives himself a role, or access");
        }
    }
}

static void check_paths(const struct ota_conf_check *check, const struct ota_conf_ours *ours)
{
    const struct ota_conf *conf = check->conf;
    for (const struct ota_conf_line *line = ours->plugin + 1; line < conf->lines + conf->count;
         line++) {
        if (strcmp(line->key, "plugin") == 0) {
            return;
        }
        if (strncmp(line->key, "plugin_opt_", PREFIX_LENGTH) == 0 && line->value[0] != '\0') {
            check_path(check, line);
        }
    }
}

/* --- addresses -------------------------------------------------------------------------------- */

static bool is_listener(const struct ota_conf *conf, long port)
{
    for (size_t i = 0; i < conf->count; i++) {
        const char *key = conf->lines[i].key;
        if ((strcmp(key, "listener") == 0 || strcmp(key, "port") == 0) &&
            strtol(conf->lines[i].value, NULL, 10) == port) {
            return true;
        }
    }
    return false;
}

static void check_address(const struct ota_conf_check *check, const struct ota_conf_line *line,
                          const char *name, const char *address)
{
    const char *colon = strrchr(address, ':');
    char *end = NULL;
    long port = colon != NULL ? strtol(colon + 1, &end, 10) : -1;
    if (strcmp(address, "off") == 0) {
        return;
    }
    struct ota_finding at =
        ota_conf_at(line, OTA_LEVEL_ERROR, "port", "as 0.0.0.0:8080 or [::]:8080, or off");
    if (colon == NULL || *end != '\0' || port < 0 || port > 65535) {
        ota_findings_add(check->findings, &at, "%s %s is no address with a port", name, address);
    } else if (is_listener(check->conf, port)) {
        at.remedy = "choose another port";
        ota_findings_add(check->findings, &at, "%s: port %ld is a listener of the broker itself",
                         name, port);
    } else if (port > 0 && port < 1024 && strcmp(check->user.name, "root") != 0) {
        at.remedy = "a port above 1023, and a redirection or proxy in front (docs/operations.md)";
        ota_findings_add(check->findings, &at,
                         "%s: the plugin starts after the broker gave up root, and can't open "
                         "port %ld",
                         name, port);
    }
}

static void check_addresses(const struct ota_conf_check *check, const struct ota_conf_ours *ours)
{
    const struct ota_conf *conf = check->conf;
    check_address(check, ota_conf_option_line(check, ours, "download_listen"), "download_listen",
                  ours->options->download_listen);
    for (const struct ota_conf_line *line = ours->plugin + 1; line < conf->lines + conf->count;
         line++) {
        const char *name = line->key + PREFIX_LENGTH;
        if (ends_in(line->key, "_listen") && strcmp(name, "download_listen") != 0) {
            check_address(check, line, name, line->value);
        }
    }
}

static void check_url(const struct ota_conf_check *check, const struct ota_conf_ours *ours)
{
    char host[256];
    const struct ota_options *options = ours->options;
    const struct ota_conf_line *line = ota_conf_option_line(check, ours, "download_url");
    const char *place = strstr(options->download_url, "://");
    if (place == NULL) {
        return;
    }
    size_t len = strcspn(place + 3, place[3] == '[' ? "]" : ":/");
    (void)snprintf(host, sizeof host, "%.*s", (int)(len + (place[3] == '[')), place + 3);
    if (ota_conf_is_loopback(host) || strcmp(host, "0.0.0.0") == 0) {
        find(check, line, OTA_LEVEL_WARNING, "download_url",
             "give the name or address under which devices reach this machine",
             "no device on another machine reaches this URL");
    }
    if (options->http_certfile[0] != '\0' && strncmp(options->download_url, "https", 5) != 0) {
        find(check, line, OTA_LEVEL_ERROR, "download_url", "begin it with https://",
             "http_certfile makes downloads HTTPS, and the URL says http");
    }
}

/* --- who decides ------------------------------------------------------------------------------ */

static bool is_other_plugin(const struct ota_conf *conf, const struct ota_conf_line *ours)
{
    for (size_t i = 0; i < conf->count; i++) {
        if (strcmp(conf->lines[i].key, "plugin") == 0 && &conf->lines[i] != ours) {
            return true;
        }
    }
    return false;
}

static void check_fallback(const struct ota_conf_check *check, const struct ota_conf_ours *ours)
{
    const struct ota_conf_line *acl = ota_conf_last(check->conf, "acl_file");
    bool allows = strcmp(ours->options->acl_fallback, "allow") == 0;
    if (acl == NULL && !allows && !is_other_plugin(check->conf, ours->plugin)) {
        find(check, ours->plugin, OTA_LEVEL_ERROR, "acl_file",
             "acl_file FILE (conf/acl is one to begin with), or, where everybody may use every "
             "other topic, plugin_opt_acl_fallback allow",
             "with a plugin and without acl_file Mosquitto 2.0 denies all topics but ours");
    }
    if (acl != NULL && allows) {
        find(check, acl, OTA_LEVEL_WARNING, "acl_file", "leave out one of the two",
             "acl_fallback allow lets everybody use every other topic: this file is never asked");
    }
}

static void check_roles(const struct ota_conf_check *check, const struct ota_conf_ours *ours)
{
    const struct ota_options *options = ours->options;
    if (options->admins[0] == '\0' && options->roles_file[0] == '\0') {
        find(check, ours->plugin, OTA_LEVEL_WARNING, "roles", "plugin_opt_admins NAME",
             "nobody is an admin: no product can be created");
    }
    if (strcmp(options->device_identity, "none") == 0) {
        find(check, ota_conf_option_line(check, ours, "device_identity"), OTA_LEVEL_WARNING,
             "device_identity", "username:%p/%d, or username:%p%d for vendor devices",
             "any client may speak for any device");
    }
    if (strcmp(options->download_listen, "off") == 0) {
        find(check, ota_conf_option_line(check, ours, "download_listen"), OTA_LEVEL_NOTE,
             "downloads", "give an address, for devices that have HTTP",
             "downloads over HTTP are off: only devices that download over MQTT can be upgraded");
    }
}

void ota_conf_check_options(const struct ota_conf_check *check, const struct ota_conf_ours *ours)
{
    check_database(check, ours);
    check_paths(check, ours);
    check_addresses(check, ours);
    check_url(check, ours);
    check_fallback(check, ours);
    check_roles(check, ours);
    ota_conf_check_device_auth(check, ours);
}
