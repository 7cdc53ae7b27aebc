/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>
#include <sys/stat.h>

#include "conf_check.h"
#include "conf_table.h"

/* A block of an upload is 64 KiB, in base64, in an envelope. */
#define PACKET_MIN 131072

static bool is_number(const char *text)
{
    size_t sign = text[0] == '-';
    return text[sign] != '\0' && text[sign + strspn(text + sign, "0123456789")] == '\0';
}

static bool is_bool(const char *text)
{
    static const char *const words[] = {"true", "false", "1", "0"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(words[i], text) == 0) {
            return true;
        }
    }
    return false;
}

static void find_unknown(const struct ota_conf_check *check, const struct ota_conf_line *line)
{
    if (strchr(line->key, '\t') != NULL) {
        struct ota_finding at = ota_conf_at(line, OTA_LEVEL_ERROR, "tab",
                                            "put a space between the setting and its value");
        ota_findings_add(check->findings, &at, "a tab doesn't end a setting's name for Mosquitto");
        return;
    }
    const char *near = ota_conf_setting_near(line->key);
    struct ota_finding at =
        ota_conf_at(line, OTA_LEVEL_ERROR, "unknown_setting",
                    "the broker doesn't start with it: correct or remove the line");
    ota_findings_add(check->findings, &at, "Mosquitto has no setting %s%s%s%s", line->key,
                     near != NULL ? "; do you mean " : "", near != NULL ? near : "",
                     near != NULL ? "?" : "");
}

static void check_value(const struct ota_conf_check *check, const struct ota_conf_line *line,
                        enum ota_conf_kind kind)
{
    struct ota_finding bad = ota_conf_at(line, OTA_LEVEL_ERROR, "bad_value",
                                         "the broker doesn't start with it: correct the value");
    struct ota_finding newer =
        ota_conf_at(line, OTA_LEVEL_WARNING, "newer_setting",
                    "leave it out where Mosquitto 2.0 reads this: it would not start");
    if (line->value[0] == '\0') {
        ota_findings_add(check->findings, &bad, "%s has no value", line->key);
        return;
    }
    switch (kind) {
    case OTA_CONF_BOOL:
        if (!is_bool(line->value)) {
            ota_findings_add(check->findings, &bad, "%s may be true or false, not %s", line->key,
                             line->value);
        }
        return;
    case OTA_CONF_NUMBER:
        if (!is_number(line->value)) {
            bad.remedy = "give a number: Mosquitto takes what it can't read for 0";
            ota_findings_add(check->findings, &bad, "%s may be a whole number, not %s", line->key,
                             line->value);
        }
        return;
    case OTA_CONF_NEWER:
        ota_findings_add(check->findings, &newer, "%s is a setting of Mosquitto 2.1", line->key);
        return;
    case OTA_CONF_TEXT:
        return;
    }
}

static void check_line(const struct ota_conf_check *check, const struct ota_conf_line *line)
{
    bool is_option =
        strncmp(line->key, "plugin_opt_", 11) == 0 || strncmp(line->key, "auth_opt_", 9) == 0;
    const struct ota_conf_setting *setting = ota_conf_setting(line->key);
    if (is_option) {
        return;
    }
    if (setting == NULL) {
        find_unknown(check, line);
        return;
    }
    check_value(check, line, setting->kind);
    if (setting->instead != NULL) {
        struct ota_finding at =
            ota_conf_at(line, OTA_LEVEL_WARNING, "deprecated", setting->instead);
        ota_findings_add(check->findings, &at, "%s is deprecated; use instead: %s", line->key,
                         setting->instead);
    }
}

/* --- settings that conflict ------------------------------------------------------------------- */

static const char *const security[] = {"acl_file",      "allow_anonymous", "password_file",
                                       "psk_file",      "auth_plugin",     "plugin",
                                       "auto_id_prefix"};

static void find_per_listener(const struct ota_conf_check *check, const struct ota_conf_line *line,
                              const struct ota_conf_line *before)
{
    struct ota_finding at =
        ota_conf_at(line, OTA_LEVEL_ERROR, "per_listener_settings",
                    "set it false, and move what stands below a listener to the top");
    ota_findings_add(check->findings, &at,
                     "with per_listener_settings true Mosquitto 2.0 gives plugins no tick: no "
                     "command is answered and nothing times out");
    if (before != NULL) {
        ota_findings_add(check->findings, &at,
                         "per_listener_settings true must stand before %s: the broker doesn't "
                         "start",
                         before->key);
    }
}

static void check_per_listener(const struct ota_conf_check *check)
{
    const struct ota_conf_line *before = NULL;
    for (size_t i = 0; i < check->conf->count; i++) {
        const struct ota_conf_line *line = &check->conf->lines[i];
        for (size_t s = 0; s < sizeof security / sizeof security[0]; s++) {
            before = before == NULL && strcmp(line->key, security[s]) == 0 ? line : before;
        }
        if (strcmp(line->key, "per_listener_settings") == 0 && ota_conf_is_true(line)) {
            find_per_listener(check, line, before);
        }
    }
}

static void check_nodelay(const struct ota_conf_check *check)
{
    const struct ota_conf_line *line = ota_conf_last(check->conf, "set_tcp_nodelay");
    struct ota_finding at = {.level = OTA_LEVEL_WARNING,
                             .rule = "nodelay",
                             .file = check->conf->files[0],
                             .remedy = "set_tcp_nodelay true"};
    if (line != NULL && !ota_conf_is_true(line)) {
        at.file = line->file;
        at.line = line->number;
    }
    if (!ota_conf_is_true(line)) {
        ota_findings_add(check->findings, &at,
                         "without set_tcp_nodelay true each answer waits up to 40 ms for the "
                         "client's next packet");
    }
}

static void check_packets(const struct ota_conf_check *check)
{
    static const char *const limits[] = {"max_packet_size", "message_size_limit"};
    for (size_t i = 0; i < 2; i++) {
        const struct ota_conf_line *line = ota_conf_last(check->conf, limits[i]);
        if (line == NULL || !is_number(line->value)) {
            continue;
        }
        size_t digits = strlen(line->value);
        bool small = strcmp(line->value, "0") != 0 &&
                     (digits < 6 || (digits == 6 && strcmp(line->value, "131072") < 0));
        if (small) {
            struct ota_finding at = ota_conf_at(line, OTA_LEVEL_ERROR, "packet_size",
                                                "at least 131072, or leave the line out");
            ota_findings_add(check->findings, &at,
                             "%s %s cuts off admins that upload firmware: a block takes up to "
                             "%d bytes",
                             line->key, line->value, PACKET_MIN);
        }
    }
}

static void check_files(const struct ota_conf_check *check)
{
    static const char *const files[] = {"acl_file", "password_file", "psk_file", "cafile",
                                        "certfile", "crlfile",       "keyfile",  "capath"};
    for (size_t i = 0; i < check->conf->count; i++) {
        const struct ota_conf_line *line = &check->conf->lines[i];
        for (size_t f = 0; f < sizeof files / sizeof files[0]; f++) {
            if (strcmp(line->key, files[f]) == 0 && line->value[0] != '\0') {
                (void)ota_conf_check_file(check, line, line->value, 4);
            }
        }
    }
}

void ota_conf_check_settings(const struct ota_conf_check *check)
{
    for (size_t i = 0; i < check->conf->count; i++) {
        check_line(check, &check->conf->lines[i]);
    }
    check_per_listener(check);
    check_nodelay(check);
    check_packets(check);
    check_files(check);
}
