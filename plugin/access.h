/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: who may touch which of our topics, and which device a client is (device-protocol.md "Who
 *       may touch what" and "Identity"). Pure decisions over topic, user name, roles and fleet.
 * Thread: the broker's.
 * Frees: nothing.
 */
#ifndef OTA_ACCESS_H
#define OTA_ACCESS_H

#include "fleet.h"
#include "roles.h"

/* Longest report that is looked at (device-protocol.md "Bad input"). */
#define OTA_REPORT_MAX 4096

#define OTA_IDENTITY_FORMS_MAX 4

/* Who a client is, as far as that is known. */
struct ota_identity {
    const char *username;            /* NULL: none */
    bool proved;                     /* as which device: no user name makes it another one */
    const struct ota_device *device; /* NULL: none any more */
};

enum ota_identity_form {
    OTA_IDENTITY_SLASH,  /* username:%p/%d */
    OTA_IDENTITY_JOINED, /* username:%p%d */
    OTA_IDENTITY_NONE    /* any client speaks for any device */
};

struct ota_access {
    const struct ota_fleet *fleet;
    const struct ota_roles *roles;
    char prefix[64]; /* "$ota" */
    size_t prefix_len;
    enum ota_identity_form forms[OTA_IDENTITY_FORMS_MAX];
    size_t form_count;
    bool auto_register;
    bool joined_logins; /* devices log in as {p}{d} */
};

enum ota_topic_kind {
    OTA_TOPIC_FOREIGN, /* not ours */
    OTA_TOPIC_REPORT,
    OTA_TOPIC_UPDATE,
    OTA_TOPIC_BLOCK,
    OTA_TOPIC_EVENT,
    OTA_TOPIC_GATEWAY,        /* $gateway/operation/…: what gateways ask for */
    OTA_TOPIC_GATEWAY_RESULT, /* $gateway/operation/result/…: what they are answered */
    OTA_TOPIC_CONTROL,        /* $CONTROL/ota/… */
    OTA_TOPIC_UNKNOWN         /* ours, and nothing that exists */
};

struct ota_topic {
    enum ota_topic_kind kind;
    const char *product; /* where it names one; point into the topic, unterminated */
    size_t product_len;
    const char *device;
    size_t device_len;
    const char *rest; /* behind product and device, or ota of CONTROL, with its slash; mostly "" */
    bool by_gateway; /* who asks is the device's gateway: says who checked it, the parser doesn't */
};

enum ota_access_verdict {
    OTA_ACCESS_FOREIGN, /* none of our business */
    OTA_ACCESS_ALLOW,
    OTA_ACCESS_ALLOW_GATEWAY, /* the user is the gateway that the device is bound to */
    OTA_ACCESS_DENY
};

enum ota_access_op { OTA_ACCESS_PUBLISH, OTA_ACCESS_SUBSCRIBE, OTA_ACCESS_RECEIVE };

/* Reads "username:%p/%d,username:%p%d" or "none". */
OTA_CHECKED enum ota_err ota_access_parse_identity(const char *text, struct ota_access *access,
                                                   struct ota_error *error);

/* What a topic is, or what a filter aims at: a filter that could match any of our topics is ours,
 * and of kind UNKNOWN unless it names exactly one thing. */
struct ota_topic ota_topic_parse(const struct ota_access *access, const char *text);

/* The known device that the topic names, or NULL. */
struct ota_device *ota_topic_device(const struct ota_topic *topic, const struct ota_fleet *fleet);

/* "lamp/lamp-17", "commands", or "": what the topic is about, for people. */
void ota_topic_subject(const struct ota_topic *topic, char *text, size_t size);

static inline bool ota_access_is_allowed(enum ota_access_verdict verdict)
{
    return verdict == OTA_ACCESS_ALLOW || verdict == OTA_ACCESS_ALLOW_GATEWAY;
}

/* Whether the client may do it. `topic` is what ota_topic_parse made of the topic or filter. */
enum ota_access_verdict ota_access_check(const struct ota_access *access, enum ota_access_op op,
                                         const struct ota_topic *topic,
                                         const struct ota_identity *who);

/* Whether the client is the device that the topic names. */
bool ota_access_is_device(const struct ota_access *access, const struct ota_topic *topic,
                          const struct ota_identity *who);

/* Whether creating a product of that name would give a joined identity a second reading. */
bool ota_access_makes_ambiguous(const struct ota_access *access, const char *product);

#endif
