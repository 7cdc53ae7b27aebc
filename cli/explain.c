/* SPDX-License-Identifier: BSD-3-Clause */
#include "explain.h"

#include <errno.h>
#include <mosquitto.h>
#include <string.h>

static const char *reason_of(int rc, int saved_errno)
{
    return rc == MOSQ_ERR_ERRNO ? strerror(saved_errno) : mosquitto_strerror(rc);
}

static enum ota_exit explain_tls(const struct ota_settings *settings, const char *log,
                                 struct ota_failure *failure)
{
    return ota_fail(failure, OTA_EXIT_CONNECTION, NULL, NULL,
                    "TLS with %s:%d failed: %s; check --cafile, the host's name in the broker's "
                    "certificate, and that this port speaks TLS",
                    settings->host, settings->port, log[0] != '\0' ? log : "no reason was given");
}

enum ota_exit ota_explain_connect(const struct ota_settings *settings, int rc, int saved_errno,
                                  const char *log, struct ota_failure *failure)
{
    if (rc == MOSQ_ERR_TLS) {
        return explain_tls(settings, log, failure);
    }
    if (rc == MOSQ_ERR_EAI) {
        return ota_fail(failure, OTA_EXIT_CONNECTION, NULL, "host",
                        "there is no host named %s (-h)", settings->host);
    }
    if (rc == MOSQ_ERR_ERRNO && saved_errno == EINTR) {
        return ota_fail(failure, OTA_EXIT_CONNECTION, NULL, NULL,
                        "%s:%d did not answer within %d s", settings->host, settings->port,
                        settings->timeout_s);
    }
    return ota_fail(failure, OTA_EXIT_CONNECTION, NULL, NULL,
                    "cannot connect to %s:%d: %s; is the broker running, and is this its port?",
                    settings->host, settings->port, reason_of(rc, saved_errno));
}

enum ota_exit ota_explain_login(const struct ota_settings *settings, int connack,
                                struct ota_failure *failure)
{
    static const char *const reasons[] = {
        [1] = "it speaks another version of MQTT",
        [2] = "it does not accept this client id (-i)",
        [3] = "it is not available now",
        [4] = "wrong user name or password (-u, OTACTL_PASSWORD)",
        [5] = "wrong user name or password (-u, OTACTL_PASSWORD), or this user may not log in",
    };
    size_t code = (size_t)connack;
    const char *reason = code < sizeof reasons / sizeof reasons[0] ? reasons[code] : NULL;
    return ota_fail(failure, OTA_EXIT_CONNECTION, NULL, NULL, "%s:%d refused the connection: %s",
                    settings->host, settings->port,
                    reason != NULL ? reason : mosquitto_connack_string(connack));
}

enum ota_exit ota_explain_closed(const struct ota_settings *settings, int rc, const char *log,
                                 struct ota_failure *failure)
{
    if (rc == MOSQ_ERR_TLS) {
        return explain_tls(settings, log, failure);
    }
    if (ota_settings_use_tls(settings)) {
        return ota_fail(failure, OTA_EXIT_CONNECTION, NULL, NULL,
                        "%s:%d closed the connection before the login; does this port speak TLS, "
                        "and does it want a client certificate (--cert, --key)?",
                        settings->host, settings->port);
    }
    return ota_fail(failure, OTA_EXIT_CONNECTION, NULL, NULL,
                    "%s:%d closed the connection before the login; does this port want TLS "
                    "(--cafile)?",
                    settings->host, settings->port);
}

enum ota_exit ota_explain_role(const struct ota_settings *settings, const char *what,
                               struct ota_failure *failure)
{
    const char *user = settings->user;
    return ota_fail(failure, OTA_EXIT_CONNECTION, NULL, NULL,
                    "%s: %s%s%s has no role (add it to plugin_opt_admins, plugin_opt_operators, "
                    "plugin_opt_viewers or roles_file), or the plugin is not loaded",
                    what, user != NULL ? "user \"" : "a client without user name",
                    user != NULL ? user : "", user != NULL ? "\"" : "");
}

enum ota_exit ota_explain_lost(const struct ota_settings *settings, int rc, int saved_errno,
                               struct ota_failure *failure)
{
    return ota_fail(failure, OTA_EXIT_CONNECTION, NULL, NULL,
                    "the connection to %s:%d was lost: %s", settings->host, settings->port,
                    reason_of(rc, saved_errno));
}
