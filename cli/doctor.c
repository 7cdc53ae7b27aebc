/* SPDX-License-Identifier: BSD-3-Clause */
#include "doctor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check_config.h"
#include "conf_check.h"
#include "findings.h"
#include "format.h"
#include "probe.h"
#include "random.h"
#include "reach.h"
#include "session.h"

#define DELAY_MAX_MS   25 /* Linux delays an acknowledgement by 40 ms */
#define CLOCK_MAX_MS   5000
#define FREE_MB        500
#define MB             (INT64_C(1024) * 1024)
#define OURS           "$CONTROL/#" /* nobody may subscribe to it where the plugin is */
#define GET_INFO       "{\"commands\":[{\"command\":\"getInfo\",\"correlationData\":\"doctor\"}]}"
#define WRONG_PASSWORD 12

struct doctor {
    struct ota_session *session;
    const struct ota_settings *settings;
    struct ota_findings *findings;
    json_t *info;
    int64_t asked_at; /* Unix ms: half-way between request and answer */
    int64_t free_mb;
};

static void find(const struct doctor *doctor, enum ota_level level, const char *rule,
                 const char *remedy, const char *text)
{
    struct ota_finding finding = {.level = level, .rule = rule, .remedy = remedy};
    ota_findings_add(doctor->findings, &finding, "%s", text);
}

static const char *text_of(const struct doctor *doctor, const char *key)
{
    return json_string_value(json_object_get(doctor->info, key));
}

static int64_t number_of(const struct doctor *doctor, const char *key)
{
    return json_integer_value(json_object_get(doctor->info, key));
}

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- no answer -------------------------------------------------------------------------------- */

static void find_no_role(const struct doctor *doctor)
{
    char text[256];
    const char *user = doctor->settings->user;
    (void)snprintf(text, sizeof text, "%s%s has no role: the broker refuses the answers' topic",
                   user != NULL ? "user " : "a client without user name", user != NULL ? user : "");
    find(doctor, OTA_LEVEL_ERROR, "role",
         "plugin_opt_admins, plugin_opt_operators, plugin_opt_viewers or roles_file; where they "
         "name this user, the plugin isn't loaded",
         text);
}

/* The subscription was granted, but nobody speaks: is the plugin there? Where it is, it guards its
 * topics even without a tick. */
static void find_silence(const struct doctor *doctor)
{
    if (ota_probe_subscribe(doctor->settings, OURS) == OTA_PROBE_NO) {
        find(doctor, OTA_LEVEL_ERROR, "per_listener_settings",
             "per_listener_settings false in mosquitto.conf, and a restart",
             "the plugin guards its topics but answers nothing: with per_listener_settings true "
             "Mosquitto 2.0 gives it no tick");
        return;
    }
    find(doctor, OTA_LEVEL_ERROR, "no_plugin",
         "plugin /usr/lib/mosquitto-ota/mosquitto_ota.so in mosquitto.conf, before every other "
         "plugin line; the broker's log says why it isn't loaded",
         "nobody answers, and nobody guards the topics of the firmware service: the plugin isn't "
         "loaded");
}

/* Leaves info NULL where the service doesn't answer, which is a finding; fails where there is no
 * broker at all, or no way in. */
static enum ota_exit ask(struct doctor *doctor, struct ota_failure *failure)
{
    json_t *fields = json_object();
    enum ota_probe_result hears = OTA_PROBE_UNKNOWN;
    int64_t before = now_ms();
    enum ota_exit rc =
        ota_session_call(doctor->session, OTA_CMD_GET_INFO, fields, &doctor->info, failure);
    doctor->asked_at = before + (now_ms() - before) / 2;
    json_decref(fields);
    if (rc == OTA_EXIT_CONNECTION) {
        char topic[160];
        (void)snprintf(topic, sizeof topic, "%s/response", doctor->settings->topic);
        hears = ota_probe_subscribe(doctor->settings, topic);
    }
    if (hears == OTA_PROBE_NO) {
        find_no_role(doctor);
    } else if (hears == OTA_PROBE_YES) {
        find_silence(doctor);
    }
    return hears == OTA_PROBE_UNKNOWN ? rc : OTA_EXIT_OK;
}

/* --- what the service says of itself ---------------------------------------------------------- */

/* Its sentences, by words that are in them. */
static const struct {
    const char *words;
    const char *rule;
    enum ota_level level;
    const char *remedy;
} known[] = {
    {"put our plugin line first", "plugin_order", OTA_LEVEL_ERROR,
     "move the plugin line of mosquitto_ota.so, and its options, above every other plugin line"},
    {"device_identity is none", "device_identity", OTA_LEVEL_WARNING,
     "plugin_opt_device_identity username:%p/%d, or username:%p%d for vendor devices"},
    {"downloads over HTTP are off", "downloads", OTA_LEVEL_NOTE,
     "plugin_opt_download_listen and plugin_opt_download_url, for devices that have HTTP"},
    {"require_signature is off", "require_signature", OTA_LEVEL_WARNING,
     "plugin_opt_require_signature true, when all firmware is signed"},
    {"without acl_file", "acl_file", OTA_LEVEL_ERROR,
     "acl_file FILE in mosquitto.conf, or plugin_opt_acl_fallback allow where everybody may use "
     "every other topic"},
    {"which doesn't exist, were refused", "unknown_product", OTA_LEVEL_WARNING,
     "otactl product create PRODUCT, if the devices are yours"},
    {"everybody on the broker's machine", "permissions", OTA_LEVEL_WARNING,
     "chmod it as it says, then kill -HUP the broker"},
};

static void check_warning(const struct doctor *doctor, const char *sentence)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strstr(sentence, known[i].words) != NULL) {
            find(doctor, known[i].level, known[i].rule, known[i].remedy, sentence);
            return;
        }
    }
    find(doctor, OTA_LEVEL_WARNING, "service", "docs/operations.md", sentence);
}

static void check_warnings(const struct doctor *doctor)
{
    size_t i;
    const json_t *sentence;
    json_array_foreach(json_object_get(doctor->info, "warnings"), i, sentence)
    {
        check_warning(doctor, json_string_value(sentence));
    }
}

/* --- who is let in ---------------------------------------------------------------------------- */

static void check_logins(const struct doctor *doctor)
{
    char text[256];
    char wrong[2 * WRONG_PASSWORD + 1];
    const char *user = text_of(doctor, "user");
    ota_random_hex(wrong, WRONG_PASSWORD);
    const char *how =
        user == NULL                                                      ? NULL
        : ota_probe_login(doctor->settings, user, NULL) == OTA_PROBE_YES  ? "without a password"
        : ota_probe_login(doctor->settings, user, wrong) == OTA_PROBE_YES ? "with a wrong password"
                                                                          : NULL;
    if (how != NULL) {
        (void)snprintf(text, sizeof text,
                       "the broker lets in %s %s: whoever knows the name has its role", user, how);
        find(doctor, OTA_LEVEL_ERROR, "login",
             "allow_anonymous false and a password_file, or names from certificates "
             "(require_certificate and use_identity_as_username)",
             text);
    }
}

static void check_clear_text(const struct doctor *doctor)
{
    const struct ota_settings *settings = doctor->settings;
    if (!ota_settings_use_tls(settings) && !ota_conf_is_loopback(settings->host)) {
        find(doctor, OTA_LEVEL_WARNING, "clear_text",
             "a listener with TLS, and otactl with --cafile",
             "this connection crosses the network unencrypted, its password too");
    }
}

/* --- speed ------------------------------------------------------------------------------------ */

static void check_delay(const struct doctor *doctor)
{
    int64_t delay = ota_probe_delay_ms(doctor->settings, GET_INFO, DELAY_MAX_MS);
    if (delay > DELAY_MAX_MS) {
        char text[160];
        (void)snprintf(text, sizeof text,
                       "each answer waits at least %" PRId64 " ms for the client's next packet",
                       delay);
        find(doctor, OTA_LEVEL_WARNING, "nodelay", "set_tcp_nodelay true in mosquitto.conf", text);
    }
}

/* --- downloads -------------------------------------------------------------------------------- */

static int64_t requests_of(const json_t *info)
{
    return json_integer_value(json_object_get(json_object_get(info, "downloads"), "requests"));
}

static void find_url(const struct doctor *doctor, const char *remedy, const char *format,
                     const char *url, const char *why)
{
    struct ota_finding finding = {
        .level = OTA_LEVEL_ERROR, .rule = "download_url", .remedy = remedy};
    ota_findings_add(doctor->findings, &finding, "%s: %s%s", url, format, why);
}

/* Somebody answered; was it us? Then it was counted. */
static enum ota_exit check_is_ours(const struct doctor *doctor, const char *url, long status,
                                   struct ota_failure *failure)
{
    json_t *fields = json_object();
    json_t *info = NULL;
    char answer[48];
    enum ota_exit rc = ota_session_call(doctor->session, OTA_CMD_GET_INFO, fields, &info, failure);
    (void)snprintf(answer, sizeof answer, "%ld", status);
    if (rc == OTA_EXIT_OK && requests_of(info) == requests_of(doctor->info)) {
        find_url(doctor,
                 "let download_url lead to download_listen of this service, through whatever proxy "
                 "there is",
                 "somebody else answers there, with status ", url, answer);
    }
    json_decref(info);
    json_decref(fields);
    return rc;
}

static void check_is_reachable(const struct doctor *doctor, const char *url)
{
    char host[256];
    const char *place = strstr(url, "://");
    const char *name = place != NULL ? place + 3 : url;
    (void)snprintf(host, sizeof host, "%.*s", (int)strcspn(name, name[0] == '[' ? "]" : ":/"),
                   name + (name[0] == '['));
    bool local = ota_conf_is_loopback(doctor->settings->host) &&
                 !ota_reach_port_is_public(doctor->settings->port);
    if (ota_conf_is_loopback(host) && !local) {
        find_url(doctor, "give the name or address under which devices reach this machine",
                 "no device on another machine reaches this URL", url, "");
    }
}

static enum ota_exit check_downloads(const struct doctor *doctor, struct ota_failure *failure)
{
    char why[256] = "";
    char target[320];
    const char *url = text_of(doctor, "downloadUrl");
    if (url == NULL || url[0] == '\0') {
        return OTA_EXIT_OK;
    }
    check_is_reachable(doctor, url);
    (void)snprintf(target, sizeof target, "%s/otactl-doctor", url);
    long status = ota_reach_status(target, doctor->settings->cafile, why, sizeof why);
    if (status == 0) {
        find_url(doctor,
                 "open download_listen's port in the firewall, or correct plugin_opt_download_url",
                 "not reached from here: ", url, why);
        return OTA_EXIT_OK;
    }
    return check_is_ours(doctor, url, status, failure);
}

/* --- the broker's machine --------------------------------------------------------------------- */

static void check_disk(const struct doctor *doctor)
{
    const json_t *left = json_object_get(doctor->info, "diskFreeBytes");
    if (json_is_integer(left) && json_integer_value(left) < doctor->free_mb * MB) {
        char size[32];
        char text[160];
        ota_format_size(json_integer_value(left), size, sizeof size);
        (void)snprintf(text, sizeof text, "only %s are free on the database's disk", size);
        find(doctor, OTA_LEVEL_WARNING, "disk",
             "make room; on a full disk reports and commands are refused", text);
    }
}

static void check_clock(const struct doctor *doctor)
{
    int64_t now = number_of(doctor, "now"); /* an older plugin doesn't tell */
    int64_t apart = now - doctor->asked_at;
    if (now != 0 && llabs(apart) > CLOCK_MAX_MS) {
        char duration[48];
        char text[200];
        ota_format_duration(llabs(apart) / 1000, duration, sizeof duration);
        (void)snprintf(text, sizeof text, "the broker's clock is %s %s this machine's", duration,
                       apart > 0 ? "ahead of" : "behind");
        find(doctor, OTA_LEVEL_WARNING, "clock",
             "let both machines follow a time server (NTP): schedules and certificates hang on it",
             text);
    }
}

/* --- all of it -------------------------------------------------------------------------------- */

static enum ota_exit examine(struct doctor *doctor, struct ota_failure *failure)
{
    enum ota_exit rc = ask(doctor, failure);
    if (rc != OTA_EXIT_OK || doctor->info == NULL) {
        return rc;
    }
    check_warnings(doctor);
    check_logins(doctor);
    check_clear_text(doctor);
    check_delay(doctor);
    check_disk(doctor);
    check_clock(doctor);
    return check_downloads(doctor, failure);
}

static int64_t free_mb_of(const struct ota_job *job)
{
    const json_t *given = json_object_get(job->local, "minFreeMb");
    return given != NULL ? json_integer_value(given) : FREE_MB;
}

enum ota_exit ota_doctor_run(struct ota_session *session, const struct ota_job *job,
                             struct ota_failure *failure)
{
    struct ota_findings findings;
    struct doctor doctor = {.session = session,
                            .settings = session->settings,
                            .findings = &findings,
                            .free_mb = free_mb_of(job)};
    const char *config = json_string_value(json_object_get(job->local, "config"));
    bool strict = json_is_true(json_object_get(job->local, "strict"));
    ota_findings_init(&findings);
    enum ota_exit rc = config != NULL ? ota_check_config(config, &findings, failure) : OTA_EXIT_OK;
    if (rc == OTA_EXIT_OK) {
        rc = examine(&doctor, failure);
    }
    if (rc == OTA_EXIT_OK) {
        rc = ota_findings_show(&findings, session, "nothing is wrong with this service", strict,
                               failure);
    } else if (json_array_size(findings.rows) > 0) {
        struct ota_failure ignored; /* that nobody answers is the worse one */
        (void)ota_findings_show(&findings, session, "", strict, &ignored);
    }
    json_decref(doctor.info);
    ota_findings_free(&findings);
    return rc;
}
