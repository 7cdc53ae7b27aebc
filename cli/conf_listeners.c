/* SPDX-License-Identifier: BSD-3-Clause */
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "conf_check.h"
#include "util/others.h"

#define LISTENERS_MAX 64
#define SOON_S        (30L * 86400)

/* The lines that make one listener; NULL: not said. */
struct listener {
    const struct ota_conf_line *start; /* NULL: the old one, of port and bind_address */
    const struct ota_conf_line *cafile;
    const struct ota_conf_line *capath;
    const struct ota_conf_line *certfile;
    const struct ota_conf_line *keyfile;
    const struct ota_conf_line *require_certificate;
    const struct ota_conf_line *use_identity;
    const struct ota_conf_line *use_subject;
    const struct ota_conf_line *psk_hint;
};

#define AT(member) offsetof(struct listener, member)

static const struct {
    const char *key;
    size_t offset;
} members[] = {
    {"port", AT(start)},
    {"cafile", AT(cafile)},
    {"capath", AT(capath)},
    {"certfile", AT(certfile)},
    {"keyfile", AT(keyfile)},
    {"require_certificate", AT(require_certificate)},
    {"use_identity_as_username", AT(use_identity)},
    {"use_subject_as_username", AT(use_subject)},
    {"psk_hint", AT(psk_hint)},
};

static void take(struct listener *listener, const struct ota_conf_line *line)
{
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        if (strcmp(members[i].key, line->key) == 0) {
            *(const struct ota_conf_line **)((char *)listener + members[i].offset) = line;
        }
    }
}

/* The first one is that of port and bind_address, above every listener line. */
static size_t collect(const struct ota_conf *conf, struct listener *listeners)
{
    size_t count = 1;
    listeners[0] = (struct listener){0};
    for (size_t i = 0; i < conf->count; i++) {
        const struct ota_conf_line *line = &conf->lines[i];
        if (strcmp(line->key, "listener") == 0 && count < LISTENERS_MAX) {
            listeners[count++] = (struct listener){.start = line};
        } else {
            bool old = strcmp(line->key, "port") == 0; /* wherever it stands */
            take(&listeners[old ? 0 : count - 1], line);
        }
    }
    return count;
}

static void split(const struct listener *listener, long *port, char *host, size_t size)
{
    char *end = NULL;
    *port = strtol(listener->start->value, &end, 10);
    (void)snprintf(host, size, "%s", end + strspn(end, " "));
}

/* --- ports ------------------------------------------------------------------------------------ */

static void check_port(const struct ota_conf_check *check, const struct listener *listener)
{
    char host[256];
    long port;
    split(listener, &port, host, sizeof host);
    struct ota_finding at = ota_conf_at(listener->start, OTA_LEVEL_ERROR, "port",
                                        "give a port from 1 to 65535, and perhaps an address");
    bool is_socket = port == 0 && host[0] == '/';
    if (!is_socket && (port < 1 || port > 65535)) {
        ota_findings_add(check->findings, &at, "%s is no port to listen on",
                         listener->start->value);
    }
}

static void check_same_port(const struct ota_conf_check *check, const struct listener *a,
                            const struct listener *b)
{
    char host_a[256];
    char host_b[256];
    long port_a;
    long port_b;
    split(a, &port_a, host_a, sizeof host_a);
    split(b, &port_b, host_b, sizeof host_b);
    bool overlap = host_a[0] == '\0' || host_b[0] == '\0' || strcmp(host_a, host_b) == 0;
    if (port_a == port_b && port_a != 0 && overlap) {
        struct ota_finding at = ota_conf_at(b->start, OTA_LEVEL_ERROR, "port",
                                            "choose another port for one of the two");
        ota_findings_add(check->findings, &at, "port %ld is taken by the listener of line %d",
                         port_b, a->start->number);
    }
}

/* --- TLS -------------------------------------------------------------------------------------- */

static X509 *read_certificate(const struct ota_conf_line *line)
{
    FILE *file = line != NULL ? fopen(line->value, "re") : NULL;
    X509 *certificate = file != NULL ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;
    if (file != NULL) {
        (void)fclose(file);
    }
    return certificate;
}

/* One that wants a passphrase is left alone: nobody is asked for it here. */
static int no_passphrase(char *buffer, int size, int rwflag, void *user)
{
    (void)buffer;
    (void)size;
    (void)rwflag;
    (void)user;
    return -1;
}

static EVP_PKEY *read_key(const struct ota_conf_line *line)
{
    FILE *file = line != NULL ? fopen(line->value, "re") : NULL;
    EVP_PKEY *key = file != NULL ? PEM_read_PrivateKey(file, NULL, no_passphrase, NULL) : NULL;
    if (file != NULL) {
        (void)fclose(file);
    }
    return key;
}

static void check_dates(const struct ota_conf_check *check, const struct ota_conf_line *line,
                        const X509 *certificate)
{
    time_t soon = time(NULL) + SOON_S;
    struct ota_finding at = ota_conf_at(line, OTA_LEVEL_ERROR, "certificate",
                                        "renew it, and restart or HUP the broker");
    if (X509_cmp_time(X509_get0_notBefore(certificate), NULL) > 0) {
        at.remedy = "wait, or set this machine's clock right";
        ota_findings_add(check->findings, &at, "%s isn't valid yet", line->value);
    } else if (X509_cmp_time(X509_get0_notAfter(certificate), NULL) < 0) {
        ota_findings_add(check->findings, &at, "%s has expired: no client connects", line->value);
    } else if (X509_cmp_time(X509_get0_notAfter(certificate), &soon) < 0) {
        at.level = OTA_LEVEL_WARNING;
        ota_findings_add(check->findings, &at, "%s expires within 30 days", line->value);
    }
}

static void check_pair(const struct ota_conf_check *check, const struct ota_conf_line *certfile,
                       const struct ota_conf_line *keyfile)
{
    X509 *certificate = read_certificate(certfile);
    EVP_PKEY *key = read_key(keyfile);
    if (certificate != NULL) {
        check_dates(check, certfile, certificate);
    }
    if (certificate != NULL && key != NULL && X509_check_private_key(certificate, key) != 1) {
        struct ota_finding at = ota_conf_at(keyfile, OTA_LEVEL_ERROR, "certificate",
                                            "name the key that the certificate was made for");
        ota_findings_add(check->findings, &at, "%s isn't the key of %s", keyfile->value,
                         certfile->value);
    }
    EVP_PKEY_free(key);
    X509_free(certificate);
}

static bool is_tls(const struct listener *listener)
{
    return listener->certfile != NULL || listener->psk_hint != NULL;
}

static void check_tls(const struct ota_conf_check *check, const struct listener *listener)
{
    const struct ota_conf_line *alone = listener->certfile == NULL  ? listener->keyfile
                                        : listener->keyfile == NULL ? listener->certfile
                                                                    : NULL;
    if (alone != NULL) {
        struct ota_finding at =
            ota_conf_at(alone, OTA_LEVEL_ERROR, "tls", "give certfile and keyfile both");
        ota_findings_add(check->findings, &at, "certfile and keyfile go together");
    }
    bool wants = ota_conf_is_true(listener->require_certificate);
    if (wants && listener->cafile == NULL && listener->capath == NULL) {
        struct ota_finding at =
            ota_conf_at(listener->require_certificate, OTA_LEVEL_ERROR, "tls",
                        "cafile FILE: the CA that signed clients' certificates");
        ota_findings_add(check->findings, &at,
                         "require_certificate needs cafile or capath to check certificates by");
    }
    if (listener->keyfile != NULL) {
        ota_conf_check_others(check, listener->keyfile, listener->keyfile->value,
                              OTA_OTHERS_READ | OTA_OTHERS_WRITE, "chmod 600: it is a private key");
    }
    check_pair(check, listener->certfile, listener->keyfile);
}

/* --- who may come in -------------------------------------------------------------------------- */

static bool takes_names_from_certificates(const struct listener *listener)
{
    return ota_conf_is_true(listener->use_identity) || ota_conf_is_true(listener->use_subject);
}

static void check_names(const struct ota_conf_check *check, const struct listener *listener)
{
    const struct ota_conf_line *anonymous = ota_conf_last(check->conf, "allow_anonymous");
    const struct ota_conf_line *devices = ota_conf_last(check->conf, "plugin_opt_device_auth");
    bool others = ota_conf_last(check->conf, "password_file") != NULL ||
                  (devices != NULL && strcmp(devices->value, "vendor") == 0);
    for (size_t i = 0; i < check->conf->count; i++) {
        const struct ota_conf_line *line = &check->conf->lines[i];
        bool plugin = strcmp(line->key, "plugin") == 0 || strcmp(line->key, "auth_plugin") == 0;
        others = others || (plugin && strstr(line->value, "mosquitto_ota") == NULL);
    }
    if (ota_conf_is_true(anonymous) && !others && !takes_names_from_certificates(listener)) {
        struct ota_finding at = ota_conf_at(anonymous, OTA_LEVEL_ERROR, "login",
                                            "allow_anonymous false, with a password_file or with "
                                            "names from certificates (use_identity_as_username)");
        ota_findings_add(check->findings, &at,
                         "whoever connects to port %ld as an admin is one: no password is asked",
                         strtol(listener->start->value, NULL, 10));
    }
}

/* Without it the broker asks for a password, which a device that has shown its key doesn't give. */
static void check_psk(const struct ota_conf_check *check, const struct listener *listener)
{
    const struct ota_conf_line *devices = ota_conf_last(check->conf, "plugin_opt_device_auth");
    if (listener->psk_hint == NULL || devices == NULL || strcmp(devices->value, "vendor") != 0 ||
        ota_conf_is_true(listener->use_identity)) {
        return;
    }
    struct ota_finding at = ota_conf_at(listener->psk_hint, OTA_LEVEL_WARNING, "device_auth",
                                        "use_identity_as_username true, for this listener");
    ota_findings_add(check->findings, &at, "devices can't log in by TLS-PSK at port %ld",
                     strtol(listener->start->value, NULL, 10));
}

static void check_clear(const struct ota_conf_check *check, const struct listener *listener)
{
    char host[256];
    long port;
    split(listener, &port, host, sizeof host);
    if (!is_tls(listener) && port != 0 && !ota_conf_is_loopback(host)) {
        struct ota_finding at = ota_conf_at(listener->start, OTA_LEVEL_WARNING, "clear_text",
                                            "cafile, certfile and keyfile; or an address of this "
                                            "machine alone, as listener 1883 127.0.0.1");
        ota_findings_add(check->findings, &at,
                         "passwords and commands cross the network of port %ld unencrypted", port);
    }
}

static void check_listener(const struct ota_conf_check *check, const struct listener *listeners,
                           size_t index)
{
    const struct listener *listener = &listeners[index];
    check_port(check, listener);
    check_tls(check, listener);
    check_names(check, listener);
    check_psk(check, listener);
    check_clear(check, listener);
    for (size_t i = 0; i < index; i++) {
        if (listeners[i].start != NULL) {
            check_same_port(check, &listeners[i], listener);
        }
    }
}

void ota_conf_check_listeners(const struct ota_conf_check *check)
{
    struct listener listeners[LISTENERS_MAX];
    size_t count = collect(check->conf, listeners);
    size_t checked = 0;
    for (size_t i = 0; i < count; i++) {
        if (listeners[i].start != NULL) {
            check_listener(check, listeners, i);
            checked++;
        }
    }
    if (checked == 0) {
        struct ota_finding at = {.level = OTA_LEVEL_WARNING,
                                 .rule = "no_listener",
                                 .file = check->conf->files[0],
                                 .remedy = "listener 8883, with cafile, certfile and keyfile"};
        ota_findings_add(check->findings, &at,
                         "without a listener Mosquitto 2.0 serves this machine alone, and asks "
                         "nobody for a password");
    }
}
