/* SPDX-License-Identifier: BSD-3-Clause */
#include "options.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum kind { TEXT, WORD, BOOLEAN, NUMBER };

struct row {
    const char *name;
    enum kind kind;
    size_t offset;
    const char *preset; /* the default, in the words of the configuration */
    int64_t min;        /* of NUMBER */
    int64_t max;
    const char *words; /* of WORD: "a|b" */
};

#define AT(field) offsetof(struct ota_options, field)

static const struct row rows[] = {
    {"db_path", TEXT, AT(db_path), "/var/lib/mosquitto/ota/ota.db", 0, 0, NULL},
    {"topic_prefix", TEXT, AT(topic_prefix), "$ota", 0, 0, NULL},
    {"admins", TEXT, AT(admins), "", 0, 0, NULL},
    {"operators", TEXT, AT(operators), "", 0, 0, NULL},
    {"viewers", TEXT, AT(viewers), "", 0, 0, NULL},
    {"roles_file", TEXT, AT(roles_file), "", 0, 0, NULL},
    {"device_identity", TEXT, AT(device_identity), "username:%p/%d", 0, 0, NULL},
    {"auto_register", BOOLEAN, AT(auto_register), "true", 0, 0, NULL},
    {"max_devices_per_product", NUMBER, AT(max_devices_per_product), "1000000", 1, 100000000, NULL},
    {"max_report_rate", NUMBER, AT(max_report_rate), "20", 1, 10000, NULL},
    {"upgrade_timeout", NUMBER, AT(upgrade_timeout), "900", 1, 604800, NULL},
    {"notice_interval", NUMBER, AT(notice_interval), "10", 1, 3600, NULL},
    {"max_firmware_size", NUMBER, AT(max_firmware_size), "10485760", 1, 1073741824, NULL},
    {"max_firmware_per_product", NUMBER, AT(max_firmware_per_product), "50", 1, 10000, NULL},
    {"download_listen", TEXT, AT(download_listen), "0.0.0.0:8080", 0, 0, NULL},
    {"download_url", TEXT, AT(download_url), "", 0, 0, NULL},
    {"block_rate", NUMBER, AT(block_rate), "8388608", 1024, 1073741824, NULL},
    {"block_rate_total", NUMBER, AT(block_rate_total), "33554432", 1024, 1073741824, NULL},
    {"http_certfile", TEXT, AT(http_certfile), "", 0, 0, NULL},
    {"http_keyfile", TEXT, AT(http_keyfile), "", 0, 0, NULL},
    {"console_listen", TEXT, AT(console_listen), "127.0.0.1:8070", 0, 0, NULL},
    {"console_dir", TEXT, AT(console_dir), "", 0, 0, NULL},
    {"console_hosts", TEXT, AT(console_hosts), "", 0, 0, NULL},
    {"password_file", TEXT, AT(password_file), "", 0, 0, NULL},
    {"metrics_public", BOOLEAN, AT(metrics_public), "false", 0, 0, NULL},
    {"signing_keys", TEXT, AT(signing_keys), "", 0, 0, NULL},
    {"require_signature", BOOLEAN, AT(require_signature), "false", 0, 0, NULL},
    {"keep_history_days", NUMBER, AT(keep_history_days), "400", 0, 36500, NULL},
    {"keep_audit_days", NUMBER, AT(keep_audit_days), "400", 0, 36500, NULL},
    {"backup_dir", TEXT, AT(backup_dir), "", 0, 0, NULL},
    {"synchronous", WORD, AT(synchronous), "normal", 0, 0, "normal|full"},
    {"acl_fallback", WORD, AT(acl_fallback), "defer", 0, 0, "defer|allow"},
    {"device_auth", WORD, AT(device_auth), "off", 0, 0, "off|vendor"},
    {"device_auth_only", BOOLEAN, AT(device_auth_only), "false", 0, 0, NULL},
    {"secret_keyfile", TEXT, AT(secret_keyfile), "", 0, 0, NULL},
};

#define ROWS (sizeof rows / sizeof rows[0])

static enum ota_err wrong(const struct row *row, const char *value, struct ota_error *error)
{
    switch (row->kind) {
    case BOOLEAN:
        return ota_error_set(error, OTA_INVALID_REQUEST, row->name,
                             "plugin_opt_%s %s: may be true or false", row->name, value);
    case NUMBER:
        return ota_error_set(error, OTA_INVALID_REQUEST, row->name,
                             "plugin_opt_%s %s: may be a whole number from %lld to %lld", row->name,
                             value, (long long)row->min, (long long)row->max);
    case WORD:
    case TEXT:
        break;
    }
    return ota_error_set(error, OTA_INVALID_REQUEST, row->name, "plugin_opt_%s %s: may be %s",
                         row->name, value, row->words != NULL ? row->words : "any text");
}

static bool is_word(const char *words, const char *value)
{
    size_t len = strlen(value);
    while (*words != '\0') {
        size_t n = strcspn(words, "|");
        if (n == len && strncmp(words, value, n) == 0) {
            return true;
        }
        words += n;
        words += *words == '|';
    }
    return false;
}

static enum ota_err set_number(const struct row *row, const char *value, int64_t *number,
                               struct ota_error *error)
{
    size_t digits = strspn(value, "0123456789");
    errno = 0;
    long long n = strtoll(value, NULL, 10);
    if (errno != 0 || digits == 0 || value[digits] != '\0' || n < row->min || n > row->max) {
        return wrong(row, value, error);
    }
    *number = n;
    return OTA_OK;
}

static enum ota_err set_text(const char *value, char **text, struct ota_error *error)
{
    char *copy = strdup(value);
    if (copy == NULL) {
        return ota_error_no_memory(error);
    }
    free(*text);
    *text = copy;
    return OTA_OK;
}

static enum ota_err set(const struct row *row, const char *value, struct ota_options *options,
                        struct ota_error *error)
{
    void *field = (char *)options + row->offset;
    switch (row->kind) {
    case BOOLEAN:
        if (!is_word("true|false", value)) {
            return wrong(row, value, error);
        }
        *(bool *)field = strcmp(value, "true") == 0;
        return OTA_OK;
    case NUMBER:
        return set_number(row, value, field, error);
    case WORD:
        if (!is_word(row->words, value)) {
            return wrong(row, value, error);
        }
        return set_text(value, field, error);
    case TEXT:
        return set_text(value, field, error);
    }
    return OTA_INTERNAL;
}

static enum ota_err unknown(const char *key, struct ota_error *error)
{
    char known[256] = "";
    for (size_t i = 0; i < ROWS; i++) {
        size_t used = strlen(known);
        if (rows[i].name[0] == key[0] && used + strlen(rows[i].name) + 3 < sizeof known) {
            strcat(known, used > 0 ? ", " : "");
            strcat(known, rows[i].name);
        }
    }
    return ota_error_set(error, OTA_INVALID_REQUEST, NULL,
                         "plugin_opt_%s is not an option of mosquitto-ota%s%s", key,
                         known[0] != '\0' ? "; did you mean: " : "", known);
}

/* --- rules that no single row can say --------------------------------------------------------- */

/* Our topics must begin with '$': only so are they out of reach of '#', and of foreign traffic's
 * cost. */
static bool is_prefix(const char *text)
{
    size_t len = strlen(text);
    if (text[0] != '$' || len < 2 || len > 32) {
        return false;
    }
    for (size_t i = 1; i < len; i++) {
        if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", text[i]) ==
            NULL) {
            return false;
        }
    }
    return !is_word("$SYS|$CONTROL|$share|$queue|$gateway", text);
}

static bool is_base_url(const char *text)
{
    const char *host = strncmp(text, "http://", 7) == 0    ? text + 7
                       : strncmp(text, "https://", 8) == 0 ? text + 8
                                                           : "";
    size_t len = strlen(text);
    bool plain = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                              "-._~:/[]") == len;
    return host[0] != '\0' && host[0] != '/' && host[0] != ':' && plain && len <= 255 &&
           text[len - 1] != '/';
}

static enum ota_err check_device_auth(const struct ota_options *options, struct ota_error *error)
{
    bool on = strcmp(options->device_auth, "off") != 0;
    if (on && options->secret_keyfile[0] == '\0') {
        return ota_error_set(error, OTA_INVALID_REQUEST, "secret_keyfile",
                             "plugin_opt_secret_keyfile is missing: device_auth %s needs a file "
                             "for the key that devices' secrets are encrypted with; it is made "
                             "where it isn't there, and should not lie beside the database",
                             options->device_auth);
    }
    if (!on && options->device_auth_only) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "device_auth_only",
                             "plugin_opt_device_auth_only true: may be so only with "
                             "plugin_opt_device_auth vendor, else nobody could log in");
    }
    return OTA_OK;
}

static enum ota_err check(const struct ota_options *options, struct ota_error *error)
{
    bool downloads = strcmp(options->download_listen, "off") != 0;
    if (!is_prefix(options->topic_prefix)) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "topic_prefix",
                             "plugin_opt_topic_prefix %s: may be one level that begins with $ and "
                             "has letters, digits, _ and -, such as $ota",
                             options->topic_prefix);
    }
    if (downloads && options->download_url[0] == '\0') {
        return ota_error_set(error, OTA_INVALID_REQUEST, "download_url",
                             "plugin_opt_download_url is missing: give the address under which "
                             "devices reach download_listen, such as http://fw.example.com, or "
                             "set plugin_opt_download_listen off");
    }
    if (options->download_url[0] != '\0' && !is_base_url(options->download_url)) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "download_url",
                             "plugin_opt_download_url %s: may be http:// or https://, a host, a "
                             "port where it must be (vendor devices can't), a path without a "
                             "slash at its end; 255 characters at most",
                             options->download_url);
    }
    if ((options->http_certfile[0] == '\0') != (options->http_keyfile[0] == '\0')) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "http_certfile",
                             "plugin_opt_http_certfile and plugin_opt_http_keyfile go together");
    }
    if (options->require_signature && options->signing_keys[0] == '\0') {
        return ota_error_set(error, OTA_INVALID_REQUEST, "require_signature",
                             "plugin_opt_require_signature true: may be so only with "
                             "plugin_opt_signing_keys, else no firmware could ever be added");
    }
    return check_device_auth(options, error);
}

static enum ota_err read_one(const char *key, const char *value, struct ota_options *options,
                             struct ota_error *error)
{
    for (size_t i = 0; i < ROWS; i++) {
        if (strcmp(rows[i].name, key) == 0) {
            return set(&rows[i], value, options, error);
        }
    }
    return unknown(key, error);
}

enum ota_err ota_options_read(const char *const *keys, const char *const *values, int count,
                              struct ota_options *options, struct ota_error *error)
{
    *options = (struct ota_options){0};
    enum ota_err err = OTA_OK;
    for (size_t i = 0; i < ROWS && err == OTA_OK; i++) {
        err = set(&rows[i], rows[i].preset, options, error);
    }
    for (int i = 0; i < count && err == OTA_OK; i++) {
        err = read_one(keys[i], values[i], options, error);
    }
    if (err == OTA_OK) {
        err = check(options, error);
    }
    if (err != OTA_OK) {
        ota_options_free(options);
    }
    return err;
}

enum ota_err ota_options_check(const char *key, const char *value, struct ota_error *error)
{
    struct ota_options scratch = {0};
    enum ota_err err = read_one(key, value, &scratch, error);
    ota_options_free(&scratch);
    return err;
}

void ota_options_free(struct ota_options *options)
{
    for (size_t i = 0; i < ROWS; i++) {
        if (rows[i].kind == TEXT || rows[i].kind == WORD) {
            char **text = (char **)((char *)options + rows[i].offset);
            free(*text);
            *text = NULL;
        }
    }
}
