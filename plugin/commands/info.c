/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "../broker.h"
#include "../machine.h"
#include "commands.h"

/* Fewer could be a single client that isn't meant to. */
#define FOREIGN_MIN 20

static void warn_of_denial(const struct ota_surroundings *around, json_t **warnings)
{
    if (around->foreign_asked >= FOREIGN_MIN && !around->foreign_passed) {
        char text[256];
        (void)snprintf(text, sizeof text,
                       "%llu messages on topics of others were refused and none was let in: with a "
                       "plugin and without acl_file Mosquitto 2.0 denies them all; give it an "
                       "acl_file, or set plugin_opt_acl_fallback allow",
                       (unsigned long long)around->foreign_asked);
        ota_json_push(warnings, json_string(text));
    }
}

/* What was seen at load. */
static void warn_of_files(const struct ota_surroundings *around, json_t **warnings)
{
    size_t i;
    json_t *sentence;
    json_array_foreach(around->file_warnings, i, sentence)
    {
        ota_json_push(warnings, json_incref(sentence));
    }
}

/* A fleet that reports before its product exists is seen nowhere else. */
static void warn_of_product(const struct ota_surroundings *around, json_t **warnings)
{
    const char *name = around->intake->unknown_product;
    if (name[0] != '\0' && ota_fleet_product(&around->core->fleet, name, strlen(name)) == NULL) {
        char text[256];
        (void)snprintf(text, sizeof text,
                       "devices of product %s, which doesn't exist, were refused: create it if "
                       "they are yours, and they are there from their next version report",
                       name);
        ota_json_push(warnings, json_string(text));
    }
}

json_t *ota_info_warnings(const struct ota_surroundings *around)
{
    json_t *warnings = json_array();
    if (around->identity_none) {
        ota_json_push(&warnings,
                      json_string("device_identity is none: any client may speak for any device"));
    }
    char text[200];
    if (around->before[0] != '\0') {
        (void)snprintf(text, sizeof text,
                       "%s is loaded before mosquitto_ota, and what it decides about our topics "
                       "counts: put our plugin line first",
                       around->before);
        ota_json_push(&warnings, json_string(text));
    }
    if (around->shadowed > 0) {
        (void)snprintf(text, sizeof text,
                       "%llu messages on our topics were let in by a plugin that is loaded before "
                       "mosquitto_ota: put our plugin line first",
                       (unsigned long long)around->shadowed);
        ota_json_push(&warnings, json_string(text));
    }
    const struct ota_settings *settings = &around->core->settings;
    if (settings->signing_keys != NULL && !settings->require_signature) {
        ota_json_push(&warnings,
                      json_string("require_signature is off: whoever is an admin can still add "
                                  "firmware that nobody signed"));
    }
    if (around->http == NULL) {
        ota_json_push(&warnings,
                      json_string("downloads over HTTP are off: only devices that download over "
                                  "MQTT (request_block) can be upgraded"));
    }
    warn_of_denial(around, &warnings);
    warn_of_product(around, &warnings);
    warn_of_files(around, &warnings);
    return warnings;
}

static json_t *console_of(struct ota_console *console)
{
    struct ota_console_stats stats;
    if (console == NULL) {
        return json_null();
    }
    ota_console_count(console, &stats);
    return json_pack("{s:i, s:i, s:i, s:I}", "users", stats.users, "sessions", stats.sessions,
                     "streams", stats.streams, "failedLogins", (json_int_t)stats.failed_logins);
}

static json_t *device_auth_of(const struct ota_device_auth *auth)
{
    if (auth == NULL) {
        return json_null();
    }
    const struct ota_device_auth_counts *counts = ota_device_auth_counts(auth);
    json_t *failed = json_object();
    for (unsigned i = 0; i < OTA_AUTH_FAILURE_COUNT; i++) {
        if (counts->failed[i] > 0) {
            ota_json_put(&failed, ota_auth_failure_name((enum ota_auth_failure)i),
                         json_integer((json_int_t)counts->failed[i]));
        }
    }
    return json_pack("{s:b, s:I, s:I, s:I, s:o}", "only", (int)ota_device_auth_is_only(auth),
                     "loggedIn", (json_int_t)counts->proved, "keysGiven", (json_int_t)counts->keys,
                     "leftToOthers", (json_int_t)counts->deferred, "refused", failed);
}

/* What otactl doctor judges. The client's name is the one that the broker gave it. */
static json_t *facts_of(const struct ota_call *call)
{
    int64_t free_bytes;
    int64_t all_bytes;
    ota_machine_disk(call->around->db_path, &free_bytes, &all_bytes);
    return json_pack("{s:o, s:o, s:I, s:s, s:I, s:o, s:o}", "deviceAuth",
                     device_auth_of(call->around->device_auth), "user", ota_json_text(call->user),
                     "now", (json_int_t)ota_now_unix(), "downloadUrl",
                     call->core->settings.download_url, "shadowed",
                     (json_int_t)call->around->shadowed, "diskFreeBytes",
                     free_bytes >= 0 ? json_integer(free_bytes) : json_null(), "diskBytes",
                     all_bytes >= 0 ? json_integer(all_bytes) : json_null());
}

static json_t *fingerprints_of(const struct ota_signature_keys *keys)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ota_signature_keys_count(keys); i++) {
        char text[OTA_FINGERPRINT_HEX + 1];
        if (ota_signature_fingerprint(ota_signature_keys_at(keys, i), text)) {
            ota_json_push(&list, json_string(text));
        }
    }
    return list;
}

static json_t *refusals_of(const struct ota_intake *intake)
{
    json_t *refused = json_object();
    for (unsigned i = 0; i < OTA_REFUSAL_COUNT; i++) {
        if (intake->refused[i] > 0) {
            ota_json_put(&refused, ota_refusal_name((enum ota_refusal)i),
                         json_integer((json_int_t)intake->refused[i]));
        }
    }
    return refused;
}

static json_t *downloads_of(struct ota_http *http)
{
    if (http == NULL) {
        return json_null();
    }
    struct ota_http_stats stats;
    ota_http_stats(http, &stats);
    return json_pack("{s:I, s:I, s:I, s:i}", "requests", (json_int_t)stats.requests, "refused",
                     (json_int_t)stats.refused, "bytes", (json_int_t)stats.bytes, "active",
                     stats.active);
}

static json_t *blocks_of(const struct ota_inband *inband)
{
    if (inband == NULL) {
        return json_null();
    }
    const struct ota_inband_stats *stats = ota_inband_stats(inband);
    uint64_t refused = 0;
    for (size_t i = 0; i < OTA_BLOCK_REFUSAL_COUNT; i++) {
        refused += stats->refused[i];
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "requests", (json_int_t)stats->requests,
                     "refused", (json_int_t)refused, "messages", (json_int_t)stats->messages,
                     "bytes", (json_int_t)stats->bytes, "waiting", (json_int_t)stats->waiting);
}

enum ota_err ota_cmd_get_info(struct ota_call *call)
{
    struct ota_surroundings *around = call->around;
    struct ota_core *core = call->core;
    struct ota_meta meta;
    enum ota_err err = ota_store_meta(core->store, &meta, &call->error);
    if (err != OTA_OK) {
        return err;
    }
    json_t *info = json_pack(
        "{s:s, s:i, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:b, "
        "s:I, s:i, s:I, s:o}",
        "version", OTA_VERSION, "schemaVersion", meta.schema_version, "brokerVersion",
        around->broker_version, "startedAt", (json_int_t)around->started_at, "devices",
        (json_int_t)core->fleet.device_count, "online", (json_int_t)core->fleet.online_count,
        "activeTasks", (json_int_t)core->fleet.task_count, "databaseBytes",
        (json_int_t)ota_store_bytes(core->store), "serviceMs", (json_int_t)core->service_ms,
        "notices", (json_int_t)core->counters.notices, "reports",
        (json_int_t)around->intake->reports, "refusedReports", refusals_of(around->intake),
        "downloads", downloads_of(around->http), "blocks", blocks_of(around->intake->inband),
        "console", console_of(around->console), "signingKeys",
        fingerprints_of(core->settings.signing_keys), "requireSignature",
        (int)core->settings.require_signature, "maxFirmwareSize",
        (json_int_t)core->settings.max_firmware_size, "maxFirmwarePerProduct",
        core->settings.max_firmware_per_product, "upgradeTimeoutSeconds",
        (json_int_t)core->settings.upgrade_timeout_ms / 1000, "warnings",
        ota_info_warnings(around));
    json_t *facts = facts_of(call);
    bool told = info != NULL && facts != NULL && json_object_update(call->data, info) == 0 &&
                json_object_update(call->data, facts) == 0;
    json_decref(facts);
    json_decref(info);
    return told ? OTA_OK : ota_error_no_memory(&call->error);
}
