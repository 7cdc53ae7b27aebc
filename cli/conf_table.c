/* SPDX-License-Identifier: BSD-3-Clause */
#include "conf_table.h"

#include <stdbool.h>
#include <string.h>

#include "suggest.h"

static const struct ota_conf_setting settings[] = {
    {"accept_protocol_versions", OTA_CONF_NEWER, NULL},
    {"acl_file", OTA_CONF_TEXT, NULL},
    {"address", OTA_CONF_TEXT, NULL},
    {"addresses", OTA_CONF_TEXT, NULL},
    {"allow_anonymous", OTA_CONF_BOOL, NULL},
    {"allow_duplicate_messages", OTA_CONF_BOOL, "nothing: it behaves as true"},
    {"allow_zero_length_clientid", OTA_CONF_BOOL, NULL},
    {"auth_plugin", OTA_CONF_TEXT, "plugin, with plugin_opt_ lines"},
    {"auth_plugin_deny_special_chars", OTA_CONF_BOOL, NULL},
    {"auto_id_prefix", OTA_CONF_TEXT, NULL},
    {"autosave_interval", OTA_CONF_NUMBER, NULL},
    {"autosave_on_changes", OTA_CONF_BOOL, NULL},
    {"bind_address", OTA_CONF_TEXT, "listener PORT ADDRESS"},
    {"bind_interface", OTA_CONF_TEXT, NULL},
    {"bridge_alpn", OTA_CONF_TEXT, NULL},
    {"bridge_attempt_unsubscribe", OTA_CONF_BOOL, NULL},
    {"bridge_bind_address", OTA_CONF_TEXT, NULL},
    {"bridge_cafile", OTA_CONF_TEXT, NULL},
    {"bridge_capath", OTA_CONF_TEXT, NULL},
    {"bridge_certfile", OTA_CONF_TEXT, NULL},
    {"bridge_ciphers", OTA_CONF_NEWER, NULL},
    {"bridge_ciphers_tls1.3", OTA_CONF_NEWER, NULL},
    {"bridge_identity", OTA_CONF_TEXT, NULL},
    {"bridge_insecure", OTA_CONF_BOOL, NULL},
    {"bridge_keyfile", OTA_CONF_TEXT, NULL},
    {"bridge_max_packet_size", OTA_CONF_NUMBER, NULL},
    {"bridge_outgoing_retain", OTA_CONF_BOOL, NULL},
    {"bridge_protocol_version", OTA_CONF_TEXT, NULL},
    {"bridge_psk", OTA_CONF_TEXT, NULL},
    {"bridge_reload_type", OTA_CONF_NEWER, NULL},
    {"bridge_require_ocsp", OTA_CONF_BOOL, NULL},
    {"bridge_tcp_keepalive", OTA_CONF_NEWER, NULL},
    {"bridge_tcp_user_timeout", OTA_CONF_NEWER, NULL},
    {"bridge_tls_use_os_certs", OTA_CONF_NEWER, NULL},
    {"bridge_tls_version", OTA_CONF_TEXT, NULL},
    {"cafile", OTA_CONF_TEXT, NULL},
    {"capath", OTA_CONF_TEXT, NULL},
    {"certfile", OTA_CONF_TEXT, NULL},
    {"check_retain_source", OTA_CONF_BOOL, NULL},
    {"ciphers", OTA_CONF_TEXT, NULL},
    {"ciphers_tls1.3", OTA_CONF_TEXT, NULL},
    {"cleansession", OTA_CONF_BOOL, NULL},
    {"clientid", OTA_CONF_TEXT, NULL},
    {"clientid_prefixes", OTA_CONF_TEXT, "usernames and an acl_file"},
    {"connection", OTA_CONF_TEXT, NULL},
    {"connection_messages", OTA_CONF_BOOL, NULL},
    {"crlfile", OTA_CONF_TEXT, NULL},
    {"dhparamfile", OTA_CONF_TEXT, NULL},
    {"disable_client_cert_date_checks", OTA_CONF_NEWER, NULL},
    {"enable_control_api", OTA_CONF_NEWER, NULL},
    {"enable_proxy_protocol", OTA_CONF_NEWER, NULL},
    {"global_max_clients", OTA_CONF_NEWER, NULL},
    {"global_max_connections", OTA_CONF_NEWER, NULL},
    {"global_plugin", OTA_CONF_NEWER, NULL},
    {"http_dir", OTA_CONF_TEXT, NULL},
    {"idle_timeout", OTA_CONF_NUMBER, NULL},
    {"include_dir", OTA_CONF_TEXT, NULL},
    {"keepalive_interval", OTA_CONF_NUMBER, NULL},
    {"keyfile", OTA_CONF_TEXT, NULL},
    {"listener", OTA_CONF_TEXT, NULL},
    {"listener_allow_anonymous", OTA_CONF_NEWER, NULL},
    {"listener_auto_id_prefix", OTA_CONF_NEWER, NULL},
    {"local_cleansession", OTA_CONF_BOOL, NULL},
    {"local_clientid", OTA_CONF_TEXT, NULL},
    {"local_password", OTA_CONF_TEXT, NULL},
    {"local_username", OTA_CONF_TEXT, NULL},
    {"log_dest", OTA_CONF_TEXT, NULL},
    {"log_facility", OTA_CONF_TEXT, NULL},
    {"log_timestamp", OTA_CONF_BOOL, NULL},
    {"log_timestamp_format", OTA_CONF_TEXT, NULL},
    {"log_type", OTA_CONF_TEXT, NULL},
    {"max_connections", OTA_CONF_NUMBER, NULL},
    {"max_inflight_bytes", OTA_CONF_NUMBER, NULL},
    {"max_inflight_messages", OTA_CONF_NUMBER, NULL},
    {"max_keepalive", OTA_CONF_NUMBER, NULL},
    {"max_packet_size", OTA_CONF_NUMBER, NULL},
    {"max_qos", OTA_CONF_NUMBER, NULL},
    {"max_queued_bytes", OTA_CONF_NUMBER, NULL},
    {"max_queued_messages", OTA_CONF_NUMBER, NULL},
    {"max_topic_alias", OTA_CONF_NUMBER, NULL},
    {"max_topic_alias_broker", OTA_CONF_NEWER, NULL},
    {"memory_limit", OTA_CONF_NUMBER, NULL},
    {"message_size_limit", OTA_CONF_NUMBER, "max_packet_size"},
    {"mount_point", OTA_CONF_TEXT, NULL},
    {"notification_topic", OTA_CONF_TEXT, NULL},
    {"notifications", OTA_CONF_BOOL, NULL},
    {"notifications_local_only", OTA_CONF_BOOL, NULL},
    {"packet_buffer_size", OTA_CONF_NEWER, NULL},
    {"password", OTA_CONF_TEXT, NULL},
    {"password_file", OTA_CONF_TEXT, NULL},
    {"per_listener_settings", OTA_CONF_BOOL, NULL},
    {"persistence", OTA_CONF_BOOL, NULL},
    {"persistence_file", OTA_CONF_TEXT, NULL},
    {"persistence_location", OTA_CONF_TEXT, NULL},
    {"persistent_client_expiration", OTA_CONF_TEXT, NULL},
    {"pid_file", OTA_CONF_TEXT, NULL},
    {"plugin", OTA_CONF_TEXT, NULL},
    {"plugin_load", OTA_CONF_NEWER, NULL},
    {"plugin_use", OTA_CONF_NEWER, NULL},
    {"port", OTA_CONF_NUMBER, "listener PORT"},
    {"protocol", OTA_CONF_TEXT, NULL},
    {"proxy_protocol_v2_require_tls", OTA_CONF_NEWER, NULL},
    {"psk_file", OTA_CONF_TEXT, NULL},
    {"psk_hint", OTA_CONF_TEXT, NULL},
    {"queue_qos0_messages", OTA_CONF_BOOL, NULL},
    {"remote_clientid", OTA_CONF_TEXT, NULL},
    {"remote_password", OTA_CONF_TEXT, NULL},
    {"remote_username", OTA_CONF_TEXT, NULL},
    {"require_certificate", OTA_CONF_BOOL, NULL},
    {"restart_timeout", OTA_CONF_TEXT, NULL},
    {"retain_available", OTA_CONF_BOOL, NULL},
    {"retain_expiry_interval", OTA_CONF_NEWER, NULL},
    {"retry_interval", OTA_CONF_NUMBER, "nothing: it does nothing any more"},
    {"round_robin", OTA_CONF_BOOL, NULL},
    {"set_tcp_nodelay", OTA_CONF_BOOL, NULL},
    {"socket_domain", OTA_CONF_TEXT, NULL},
    {"start_type", OTA_CONF_TEXT, NULL},
    {"store_clean_interval", OTA_CONF_NUMBER, "nothing: it does nothing any more"},
    {"sys_interval", OTA_CONF_NUMBER, NULL},
    {"threshold", OTA_CONF_NUMBER, NULL},
    {"tls_engine", OTA_CONF_TEXT, NULL},
    {"tls_engine_kpass_sha1", OTA_CONF_TEXT, NULL},
    {"tls_keyform", OTA_CONF_TEXT, NULL},
    {"tls_version", OTA_CONF_TEXT, NULL},
    {"topic", OTA_CONF_TEXT, NULL},
    {"trace_level", OTA_CONF_NUMBER, NULL},
    {"try_private", OTA_CONF_BOOL, NULL},
    {"upgrade_outgoing_qos", OTA_CONF_BOOL, NULL},
    {"use_identity_as_username", OTA_CONF_BOOL, NULL},
    {"use_subject_as_username", OTA_CONF_BOOL, NULL},
    {"use_username_as_clientid", OTA_CONF_BOOL, NULL},
    {"user", OTA_CONF_TEXT, NULL},
    {"username", OTA_CONF_TEXT, NULL},
    {"websockets_headers_size", OTA_CONF_NUMBER, NULL},
    {"websockets_log_level", OTA_CONF_NUMBER, NULL},
    {"websockets_origin", OTA_CONF_NEWER, NULL},
};

#define SETTINGS (sizeof settings / sizeof settings[0])

const struct ota_conf_setting *ota_conf_setting(const char *name)
{
    for (size_t i = 0; i < SETTINGS; i++) {
        if (strcmp(settings[i].name, name) == 0) {
            return &settings[i];
        }
    }
    return NULL;
}

const char *ota_conf_setting_near(const char *name)
{
    const char *best = NULL;
    for (size_t i = 0; i < SETTINGS; i++) {
        if (ota_suggest_is_nearer(name, settings[i].name, best)) {
            best = settings[i].name;
        }
    }
    return best;
}
