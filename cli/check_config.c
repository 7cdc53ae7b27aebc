/* SPDX-License-Identifier: BSD-3-Clause */
#include "check_config.h"

#include <stdio.h>
#include <string.h>

#include "conf_check.h"
#include "util/others.h"

bool ota_conf_check_file(const struct ota_conf_check *check, const struct ota_conf_line *line,
                         const char *path, int mode)
{
    char why[512];
    if (ota_conf_user_can(&check->user, path, mode, why, sizeof why)) {
        return true;
    }
    struct ota_finding at = ota_conf_at(line, OTA_LEVEL_ERROR, "file",
                                        "the broker reads it after it became its own user: create "
                                        "it, or chown and chmod it and the folders above it");
    ota_findings_add(check->findings, &at, "%s: the broker can't %s it: %s", line->key,
                     (mode & 2) != 0 ? "write to" : "read", why);
    return false;
}

void ota_conf_check_others(const struct ota_conf_check *check, const struct ota_conf_line *line,
                           const char *path, unsigned what, const char *remedy)
{
    unsigned mode;
    if (ota_others_can(path, what, &mode)) {
        struct ota_finding at = ota_conf_at(line, OTA_LEVEL_WARNING, "permissions", remedy);
        ota_findings_add(check->findings, &at,
                         "%s: everybody on this machine can %s %s (mode %04o)", line->key,
                         ota_others_verb(what, mode), path, mode);
    }
}

bool ota_conf_is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 ||
           strcmp(host, "[::1]") == 0 || strcmp(host, "localhost") == 0;
}

/* Where it isn't said, Mosquitto becomes the user mosquitto. */
void ota_conf_check_all(const struct ota_conf *conf, struct ota_findings *findings)
{
    struct ota_conf_check check = {.conf = conf, .findings = findings};
    const struct ota_conf_line *user = ota_conf_last(conf, "user");
    ota_conf_user_find(user != NULL ? user->value : "mosquitto", &check.user);
    ota_conf_check_settings(&check);
    ota_conf_check_plugin(&check);
    ota_conf_check_listeners(&check);
}

enum ota_exit ota_check_config(const char *path, struct ota_findings *findings,
                               struct ota_failure *failure)
{
    struct ota_conf conf;
    enum ota_exit rc = ota_conf_load(path, &conf, findings, failure);
    if (rc == OTA_EXIT_OK) {
        ota_conf_check_all(&conf, findings);
    }
    ota_conf_free(&conf);
    return rc;
}

enum ota_exit ota_check_config_run(struct ota_session *session, const struct ota_job *job,
                                   struct ota_failure *failure)
{
    struct ota_findings findings;
    const char *path = json_string_value(json_object_get(job->local, "file"));
    bool strict = json_is_true(json_object_get(job->local, "strict"));
    ota_findings_init(&findings);
    enum ota_exit rc = ota_check_config(path, &findings, failure);
    if (rc == OTA_EXIT_OK) {
        rc = ota_findings_show(&findings, session, "nothing is wrong with this configuration",
                               strict, failure);
    }
    ota_findings_free(&findings);
    return rc;
}
