/* SPDX-License-Identifier: BSD-3-Clause */
#include "service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker.h"
#include "load.h"
#include "machine.h"
#include "openapi.h"
#include "token_book.h"

#define OTA_IDLE_LOOK_MS   50
#define OTA_DAY_MS         INT64_C(86400000)
#define OTA_REPORT_BURST_S 5

static bool is_online(void *data, int64_t device_id)
{
    const struct ota_core *core = data;
    const struct ota_device *device = ota_fleet_device_by_id(&core->fleet, device_id);
    return device != NULL && device->conn != NULL;
}

static void cut(void *data, int64_t task_id)
{
    struct ota_service *service = data;
    ota_http_cut(service->around.http, task_id);
}

static void tell(void *data, const char *type, const char *product, const char *device,
                 const char *json, size_t len)
{
    ota_console_tell(data, type, product, device, json, len);
}

static void fill_settings(const struct ota_options *options, struct ota_settings *settings)
{
    bool downloads = strcmp(options->download_listen, "off") != 0;
    (void)snprintf(settings->topic_prefix, sizeof settings->topic_prefix, "%s",
                   options->topic_prefix);
    (void)snprintf(settings->download_url, sizeof settings->download_url, "%s",
                   downloads ? options->download_url : "");
    settings->upgrade_timeout_ms = options->upgrade_timeout * 1000;
    settings->notice_interval_ms = options->notice_interval * 1000;
    settings->max_firmware_size = options->max_firmware_size;
    settings->max_firmware_per_product = (int)options->max_firmware_per_product;
    settings->max_devices_per_product = (uint32_t)options->max_devices_per_product;
    settings->report_rate =
        (struct ota_rate){.step = (uint32_t)(OTA_RATE_TICKS_A_SECOND / options->max_report_rate),
                          .burst = (uint32_t)options->max_report_rate * OTA_REPORT_BURST_S};
    settings->auto_register = options->auto_register;
    settings->keep_history_ms = options->keep_history_days * OTA_DAY_MS;
    settings->keep_audit_ms = options->keep_audit_days * OTA_DAY_MS;
    settings->require_signature = options->require_signature;
}

static enum ota_err read_roles(const struct ota_options *options, struct ota_roles *roles,
                               struct ota_error *error)
{
    enum ota_err err = ota_roles_add_list(roles, options->admins, OTA_ROLE_ADMIN, error);
    if (err == OTA_OK) {
        err = ota_roles_add_list(roles, options->operators, OTA_ROLE_OPERATOR, error);
    }
    if (err == OTA_OK) {
        err = ota_roles_add_list(roles, options->viewers, OTA_ROLE_VIEWER, error);
    }
    if (err == OTA_OK && options->roles_file[0] != '\0') {
        err = ota_roles_add_file(roles, options->roles_file, error);
    }
    return err;
}

static void tell_keys(const struct ota_signature_keys *keys)
{
    for (size_t i = 0; i < ota_signature_keys_count(keys); i++) {
        char text[OTA_FINGERPRINT_HEX + 1];
        if (ota_signature_fingerprint(ota_signature_keys_at(keys, i), text)) {
            ota_log(OTA_LOG_NOTICE, "firmware may be signed by the key with the fingerprint %s",
                    text);
        }
    }
}

static enum ota_err read_keys(struct ota_service *service, struct ota_error *error)
{
    struct ota_signature_keys *keys = NULL;
    if (service->options.signing_keys[0] == '\0') {
        return OTA_OK;
    }
    enum ota_err err = ota_signature_keys_read(service->options.signing_keys, &keys, error);
    if (err != OTA_OK) {
        ota_error_context(error, "plugin_opt_signing_keys");
        return err;
    }
    ota_signature_keys_free(service->signing_keys);
    service->signing_keys = keys;
    service->core.settings.signing_keys = keys;
    tell_keys(keys);
    return OTA_OK;
}

static enum ota_err set_up_access(struct ota_service *service, struct ota_error *error)
{
    struct ota_access *access = &service->access;
    access->fleet = &service->core.fleet;
    access->roles = &service->roles;
    access->auto_register = service->options.auto_register;
    access->prefix_len = strlen(service->options.topic_prefix);
    (void)snprintf(access->prefix, sizeof access->prefix, "%s", service->options.topic_prefix);
    enum ota_err err = ota_access_parse_identity(service->options.device_identity, access, error);
    for (size_t i = 0; err == OTA_OK && i < access->form_count; i++) {
        if (access->forms[i] == OTA_IDENTITY_NONE) {
            service->around.identity_none = true;
            ota_log(OTA_LOG_WARNING,
                    "device_identity is none: any client may speak for any device; this is for a "
                    "laboratory");
        }
    }
    return err;
}

static void tell_opening(const struct ota_service *service)
{
    struct ota_opening opening = ota_store_opening(service->core.store);
    const char *path = service->options.db_path;
    if (opening.made) {
        ota_log(OTA_LOG_WARNING, "there was no database: %s is a new database", path);
    }
    if (opening.wal_damaged) {
        ota_log(OTA_LOG_WARNING,
                "%s-wal was damaged: what was written last is lost; compare with a backup, and "
                "check the disk",
                path);
    }
}

static enum ota_err load_tokens(struct ota_service *service, struct ota_error *error)
{
    service->around.tokens = ota_tokens_new();
    return service->around.tokens != NULL
               ? ota_token_book_load(&service->core, &service->roles, service->around.tokens, error)
               : ota_error_no_memory(error);
}

static enum ota_err open_store(struct ota_service *service, struct ota_error *error)
{
    struct ota_store_config config = {.path = service->options.db_path,
                                      .synchronous_full =
                                          strcmp(service->options.synchronous, "full") == 0,
                                      .now = ota_now_unix(),
                                      .online = is_online,
                                      .online_data = &service->core};
    enum ota_err err = ota_store_open(&config, &service->core.store, error);
    if (err != OTA_OK) {
        return err;
    }
    tell_opening(service);
    err = ota_load(&service->core, error);
    return err == OTA_OK ? load_tokens(service, error) : err;
}

static enum ota_err start_device_auth(struct ota_service *service, struct ota_error *error)
{
    const struct ota_options *options = &service->options;
    if (strcmp(options->device_auth, "off") == 0) {
        return OTA_OK;
    }
    const struct ota_device_auth_config config = {.keyfile = options->secret_keyfile,
                                                  .only = options->device_auth_only};
    service->access.joined_logins = true;
    return ota_device_auth_start(&service->core, &config, &service->around.device_auth, error);
}

static const char *or_null(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

/* Without a listener, too: what is downloaded over MQTT are the same images. */
static enum ota_err start_downloads(struct ota_service *service, struct ota_error *error)
{
    const struct ota_options *options = &service->options;
    bool listens = strcmp(options->download_listen, "off") != 0;
    struct ota_http_config config = {.listen = listens ? options->download_listen : NULL,
                                     .certfile = or_null(options->http_certfile),
                                     .keyfile = or_null(options->http_keyfile),
                                     .db_path = options->db_path};
    memcpy(config.url_key, service->core.settings.url_key, sizeof config.url_key);
    enum ota_err err = ota_http_start(&config, &service->http, error);
    service->around.http = listens ? service->http : NULL;
    return err;
}

static enum ota_err set_up_inband(struct ota_service *service, struct ota_error *error)
{
    service->inband = ota_inband_new(
        &(struct ota_inband_config){.core = &service->core,
                                    .images = ota_http_images(service->http),
                                    .loader = ota_http_loader(service->http),
                                    .rate = service->options.block_rate,
                                    .rate_total = service->options.block_rate_total});
    service->intake.inband = service->inband;
    return service->inband != NULL ? OTA_OK : ota_error_no_memory(error);
}

/* It listens by default, so that a password file is all that it takes; without one nobody could log
 * in, and then nothing listens. */
static enum ota_err start_console(struct ota_service *service, struct ota_error *error)
{
    const struct ota_options *options = &service->options;
    if (strcmp(options->console_listen, "off") == 0) {
        return OTA_OK;
    }
    if (options->password_file[0] == '\0' && !options->metrics_public) {
        ota_log(OTA_LOG_NOTICE, "the console is off: without plugin_opt_password_file nobody "
                                "could log in");
        return OTA_OK;
    }
    const struct ota_console_config config = {.listen = options->console_listen,
                                              .dir = options->console_dir,
                                              .hosts = options->console_hosts,
                                              .certfile = or_null(options->http_certfile),
                                              .keyfile = or_null(options->http_keyfile),
                                              .password_file = options->password_file,
                                              .metrics_public = options->metrics_public,
                                              .roles = &service->roles,
                                              .tokens = service->around.tokens,
                                              .waker = &service->waker,
                                              .openapi = ota_openapi_text()};
    enum ota_err err = ota_console_start(&config, &service->around.console, error);
    if (err == OTA_OK) {
        ota_log(OTA_LOG_NOTICE, "the console is at %s://%s/",
                config.certfile != NULL ? "https" : "http", options->console_listen);
        service->core.tell = tell;
        service->core.tell_data = service->around.console;
    }
    return err;
}

/* A disk that isn't there is no reason not to upgrade devices. */
static void check_backup_dir(const char *dir)
{
    if (dir[0] != '\0' && access(dir, W_OK | X_OK) != 0) {
        ota_log(OTA_LOG_WARNING,
                "there will be no backups: the broker's user can't write to backup_dir, %s (%s)",
                dir, strerror(errno));
    }
}

static void look_at_files(struct ota_service *service)
{
    json_decref(service->around.file_warnings);
    service->around.file_warnings = ota_machine_warnings(&service->options);
}

static enum ota_err build(struct ota_service *service, struct ota_error *error)
{
    enum ota_err err = read_roles(&service->options, &service->roles, error);
    if (err == OTA_OK) {
        err = read_keys(service, error);
    }
    if (err == OTA_OK) {
        err = set_up_access(service, error);
    }
    if (err == OTA_OK) {
        err = open_store(service, error);
    }
    if (err == OTA_OK) {
        err = start_device_auth(service, error);
    }
    if (err == OTA_OK) {
        err = ota_waker_start(&service->waker, error);
    }
    if (err == OTA_OK) {
        err = start_downloads(service, error);
    }
    if (err == OTA_OK) {
        err = set_up_inband(service, error);
    }
    if (err == OTA_OK) {
        err = start_console(service, error);
    }
    if (err != OTA_OK) {
        return err;
    }
    service->ticked_at = ota_now_mono();
    service->core.cut = cut;
    service->core.cut_data = service;
    ota_dispatch_init(&service->dispatch, &service->core);
    service->around.uploads = ota_uploads_new(service->core.store);
    service->around.trail = ota_trail_new(&service->core);
    service->intake.trail = service->around.trail;
    ota_device_auth_note_in(service->around.device_auth, service->around.trail);
    service->control = ota_control_new(&service->around);
    service->traffic =
        (struct ota_traffic){.around = &service->around, .control = service->control};
    ota_errands_init(&service->errands, &service->around, service->control,
                     service->around.console);
    check_backup_dir(service->options.backup_dir);
    look_at_files(service);
    if (service->around.uploads == NULL || service->around.trail == NULL ||
        service->control == NULL) {
        return ota_error_no_memory(error);
    }
    return OTA_OK;
}

enum ota_err ota_service_start(struct ota_service *service, const struct ota_options *options,
                               const char *broker_version, struct ota_error *error)
{
    *service = (struct ota_service){.options = *options};
    ota_core_init(&service->core);
    fill_settings(options, &service->core.settings);
    service->intake.core = &service->core;
    service->around = (struct ota_surroundings){.core = &service->core,
                                                .access = &service->access,
                                                .intake = &service->intake,
                                                .dispatch = &service->dispatch,
                                                .backup_dir = service->options.backup_dir,
                                                .db_path = service->options.db_path,
                                                .started_at = ota_now_unix(),
                                                .broker_version = broker_version};
    enum ota_err err = build(service, error);
    if (err != OTA_OK) {
        ota_service_stop(service);
    }
    return err;
}

void ota_service_stop(struct ota_service *service)
{
    ota_http_stop(service->http); /* first: its threads read the database */
    service->around.http = NULL;
    ota_inband_free(service->inband); /* nobody loads an image for it any more */
    service->intake.inband = NULL;
    if (service->dispatch.core != NULL) {
        ota_dispatch_finish(&service->dispatch);
    }
    ota_console_quiet(service->around.console);
    ota_errands_finish(&service->errands);
    ota_control_free(service->control);
    json_decref(service->around.file_warnings);
    ota_console_stop(service->around.console); /* all that it asked for is answered */
    service->around.console = NULL;
    ota_waker_free(&service->waker);
    service->core.tell = NULL;
    if (service->core.store != NULL) {
        ota_token_book_finish(&service->core, service->around.tokens);
    }
    ota_tokens_free(service->around.tokens);
    ota_trail_finish(service->around.trail);
    ota_trail_free(service->around.trail);
    ota_uploads_free(service->around.uploads);
    ota_device_auth_free(service->around.device_auth);
    ota_core_free(&service->core);
    ota_store_close(service->core.store);
    ota_roles_free(&service->roles);
    ota_signature_keys_free(service->signing_keys);
    ota_options_free(&service->options);
    ota_log_flush();
    *service = (struct ota_service){0};
}

static void reload_keys(struct ota_service *service)
{
    struct ota_error error = {0};
    if (read_keys(service, &error) != OTA_OK) {
        ota_log(OTA_LOG_ERROR, "the signing keys stay as they were: %s", error.text);
    }
}

static void reload_console(struct ota_service *service)
{
    struct ota_error error = {0};
    if (service->around.console == NULL) {
        return;
    }
    if (ota_console_reload(service->around.console, &service->roles, &error) != OTA_OK) {
        ota_log(OTA_LOG_ERROR, "who may log in to the console stays as it was: %s", error.text);
        return;
    }
    ota_log(OTA_LOG_NOTICE, "who may log in to the console was read again");
}

static void reload_roles(struct ota_service *service)
{
    struct ota_roles roles = {0};
    struct ota_error error = {0};
    if (read_roles(&service->options, &roles, &error) != OTA_OK) {
        ota_log(OTA_LOG_ERROR, "the roles stay as they were: %s", error.text);
        ota_roles_free(&roles);
        return;
    }
    ota_roles_free(&service->roles);
    service->roles = roles;
    ota_tokens_judge(service->around.tokens, &service->roles);
    ota_console_recheck(service->around.console);
    ota_log(OTA_LOG_NOTICE, "roles were read again");
}

void ota_service_reload(struct ota_service *service)
{
    look_at_files(service);
    reload_roles(service);
    reload_keys(service);
    reload_console(service);
}

void ota_service_work(struct ota_service *service)
{
    ota_waker_turn(&service->waker);
    ota_core_tick_clock(&service->core);
    service->core.wake_at = service->core.mono_now + OTA_IDLE_LOOK_MS;
    service->ticked_at = service->core.mono_now;
    int64_t began = ota_now_us();
    ota_errands_take(&service->errands);
    ota_control_tick(service->control);
    ota_errands_work(&service->errands, began + OTA_TICK_MS * 1000);
    ota_device_auth_tick(service->around.device_auth);
    ota_trail_tick(service->around.trail);
    ota_token_book_tick(&service->core, service->around.tokens);
    ota_dispatch_tick(&service->dispatch);
    ota_inband_tick(service->inband);
    ota_log_flush();
    ota_core_wake(&service->core, ota_due_when(&service->core));
    int64_t took = ota_now_us() - began;
    ota_histogram_add(&service->core.counters.ticks, took);
    if (ota_control_is_busy(service->control) || ota_errands_is_busy(&service->errands)) {
        ota_waker_go_on(&service->waker, took);
    }
}
