/* SPDX-License-Identifier: BSD-3-Clause */
#include "access.h"

#include <stdio.h>
#include <string.h>

#include "fleet_gateway.h"

#define CONTROL_SPACE "$CONTROL"
#define GATEWAY_SPACE "$gateway"
#define SHARE         "$share/"

enum ota_err ota_access_parse_identity(const char *text, struct ota_access *access,
                                       struct ota_error *error)
{
    static const struct {
        const char *text;
        enum ota_identity_form form;
    } forms[] = {{"username:%p/%d", OTA_IDENTITY_SLASH},
                 {"username:%p%d", OTA_IDENTITY_JOINED},
                 {"none", OTA_IDENTITY_NONE}};
    const char *whole = text;
    access->form_count = 0;
    for (bool more = true; more;) {
        size_t len = strcspn(text, ",");
        size_t i = 0;
        while (i < 3 && (strlen(forms[i].text) != len || strncmp(forms[i].text, text, len) != 0)) {
            i++;
        }
        if (i == 3 || access->form_count == OTA_IDENTITY_FORMS_MAX) {
            return ota_error_set(error, OTA_INVALID_REQUEST, "device_identity",
                                 "plugin_opt_device_identity %.80s: may be username:%%p/%%d, "
                                 "username:%%p%%d, several of them with commas between, or none",
                                 whole);
        }
        access->forms[access->form_count++] = forms[i].form;
        text += len;
        more = *text == ',';
        text += more;
    }
    return OTA_OK;
}

/* --- topics --------------------------------------------------------------------------------- */

/* Whether the first level of text is exactly `level`; *rest is then what follows, from its slash.
 */
static bool first_level(const char *text, const char *level, size_t len, const char **rest)
{
    if (strncmp(text, level, len) != 0 || (text[len] != '/' && text[len] != '\0')) {
        return false;
    }
    *rest = text + len;
    return true;
}

/* Whether the level after the slash at `rest` is `level`, or a wildcard that could stand for it. */
static bool could_be_level(const char *rest, const char *level)
{
    if (*rest != '/') {
        return false;
    }
    rest++;
    size_t len = strcspn(rest, "/");
    if (len == 1 && (*rest == '+' || *rest == '#')) {
        return true;
    }
    return len == strlen(level) && strncmp(rest, level, len) == 0;
}

/* Reads "/{product}/{device}" from rest into topic; false where it isn't that. */
static bool parse_names(const char *rest, struct ota_topic *topic)
{
    topic->product = rest + 1;
    topic->product_len = *rest == '/' ? strcspn(rest + 1, "/") : 0;
    rest += 1 + topic->product_len;
    if (!ota_name_is_product(topic->product, topic->product_len) || *rest != '/') {
        return false;
    }
    topic->device = rest + 1;
    topic->device_len = strcspn(rest + 1, "/");
    topic->rest = rest + 1 + topic->device_len;
    return ota_name_is_device(topic->device, topic->device_len);
}

static struct ota_topic parse_own(const char *rest)
{
    static const struct {
        const char *word;
        enum ota_topic_kind kind;
    } words[] = {{"/report", OTA_TOPIC_REPORT},
                 {"/update", OTA_TOPIC_UPDATE},
                 {"/block", OTA_TOPIC_BLOCK},
                 {"/event", OTA_TOPIC_EVENT}};
    struct ota_topic topic = {.kind = OTA_TOPIC_UNKNOWN, .rest = ""};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        const char *names;
        if (!first_level(rest, words[i].word, strlen(words[i].word), &names)) {
            continue;
        }
        topic.kind = words[i].kind;
        if (!parse_names(names, &topic) && topic.kind != OTA_TOPIC_EVENT) {
            /* a role's `$ota/report/#` is still about reports */
            topic.product = NULL;
            topic.device = NULL;
            topic.rest = names;
        }
        return topic;
    }
    return topic;
}

/* "/operation/{p}/{d}", "/operation/result/{p}/{d}", or a filter that aims there. */
static struct ota_topic parse_gateway(const char *rest)
{
    const char *names;
    const char *result;
    struct ota_topic topic = {.kind = OTA_TOPIC_GATEWAY, .rest = ""};
    if (!first_level(rest, "/operation", sizeof "/operation" - 1, &names)) {
        return topic; /* a wildcard */
    }
    if (first_level(names, "/result", sizeof "/result" - 1, &result) &&
        parse_names(result, &topic)) {
        topic.kind = OTA_TOPIC_GATEWAY_RESULT;
    } else if (!parse_names(names, &topic)) {
        topic.product = NULL;
        topic.device = NULL;
        topic.rest = names;
    }
    return topic;
}

struct ota_topic ota_topic_parse(const struct ota_access *access, const char *text)
{
    struct ota_topic topic = {.kind = OTA_TOPIC_FOREIGN, .rest = ""};
    bool shared = strncmp(text, SHARE, sizeof SHARE - 1) == 0;
    if (shared) {
        text += sizeof SHARE - 1;
        text += strcspn(text, "/");
        text += *text == '/';
    }
    const char *rest;
    if (first_level(text, access->prefix, access->prefix_len, &rest)) {
        topic = parse_own(rest);
    } else if (first_level(text, GATEWAY_SPACE, sizeof GATEWAY_SPACE - 1, &rest) &&
               could_be_level(rest, "operation")) {
        topic = parse_gateway(rest);
    } else if (first_level(text, CONTROL_SPACE, sizeof CONTROL_SPACE - 1, &rest) &&
               could_be_level(rest, "ota")) {
        /* a wildcard aims at other plugins' topics, too: no role of ours covers those */
        topic.kind = rest[1] == 'o' ? OTA_TOPIC_CONTROL : OTA_TOPIC_UNKNOWN;
        topic.rest = topic.kind == OTA_TOPIC_CONTROL ? rest + 4 : ""; /* behind "/ota" */
    }
    if (shared && (topic.kind == OTA_TOPIC_UPDATE || topic.kind == OTA_TOPIC_BLOCK ||
                   topic.kind == OTA_TOPIC_GATEWAY_RESULT)) {
        topic.kind = OTA_TOPIC_UNKNOWN; /* what is for one device is shared with nobody */
    }
    return topic;
}

struct ota_device *ota_topic_device(const struct ota_topic *topic, const struct ota_fleet *fleet)
{
    const struct ota_product *product =
        ota_fleet_product(fleet, topic->product, topic->product_len);
    return product != NULL ? ota_fleet_device(fleet, product, topic->device, topic->device_len)
                           : NULL;
}

void ota_topic_subject(const struct ota_topic *topic, char *text, size_t size)
{
    text[0] = '\0';
    if (topic->product != NULL) {
        (void)snprintf(text, size, "%.*s/%.*s", (int)topic->product_len, topic->product,
                       (int)topic->device_len, topic->device);
    } else if (topic->kind == OTA_TOPIC_CONTROL) {
        (void)snprintf(text, size, "commands");
    }
}

/* --- identity ------------------------------------------------------------------------------- */

/* Whether product is known, and the device too or one that may register itself. */
static bool may_be(const struct ota_access *access, const char *product, size_t product_len,
                   const char *device)
{
    size_t len = strlen(device);
    const struct ota_product *known = ota_fleet_product(access->fleet, product, product_len);
    if (known == NULL || !ota_name_is_device(device, len)) {
        return false;
    }
    return access->auto_register || ota_fleet_device(access->fleet, known, device, len) != NULL;
}

/* How many readings of the user name there are; *split is where the device begins in the last. */
static int split_slash(const struct ota_access *access, const char *username, size_t *product_len,
                       const char **device)
{
    const char *slash = strchr(username, '/');
    if (slash == NULL) {
        return 0;
    }
    *product_len = (size_t)(slash - username);
    *device = slash + 1;
    return may_be(access, username, *product_len, *device) ? 1 : 0;
}

static int split_joined(const struct ota_access *access, const char *username, size_t *product_len,
                        const char **device)
{
    int readings = 0;
    size_t len = strlen(username);
    for (size_t i = 1; i < len && i <= OTA_PRODUCT_MAX; i++) {
        if (may_be(access, username, i, username + i)) {
            *product_len = i;
            *device = username + i;
            readings++;
        }
    }
    return readings;
}

static bool is_named(const struct ota_topic *topic, const char *product, size_t product_len,
                     const char *device)
{
    return topic->product_len == product_len && memcmp(topic->product, product, product_len) == 0 &&
           strlen(device) == topic->device_len &&
           memcmp(topic->device, device, topic->device_len) == 0;
}

static bool is_proved(const struct ota_topic *topic, const struct ota_device *device)
{
    return device != NULL &&
           is_named(topic, device->product->name, strlen(device->product->name), device->name);
}

bool ota_access_is_device(const struct ota_access *access, const struct ota_topic *topic,
                          const struct ota_identity *who)
{
    const char *username = who->username;
    if (who->proved) {
        return is_proved(topic, who->device);
    }
    for (size_t i = 0; i < access->form_count; i++) {
        if (access->forms[i] == OTA_IDENTITY_NONE) {
            return true;
        }
        if (username == NULL) {
            continue;
        }
        size_t product_len = 0;
        const char *device = "";
        int readings = access->forms[i] == OTA_IDENTITY_SLASH
                           ? split_slash(access, username, &product_len, &device)
                           : split_joined(access, username, &product_len, &device);
        if (readings > 0) { /* the first form that names a device decides; two readings: nobody */
            return readings == 1 && is_named(topic, username, product_len, device);
        }
    }
    return false;
}

bool ota_access_makes_ambiguous(const struct ota_access *access, const char *product)
{
    bool joined = access->joined_logins;
    for (size_t i = 0; i < access->form_count; i++) {
        joined = joined || access->forms[i] == OTA_IDENTITY_JOINED;
    }
    const struct ota_product *other;
    for (size_t at = 0;
         joined && (other = ota_index_next(&access->fleet->products, &at)) != NULL;) {
        size_t a = strlen(product);
        size_t b = strlen(other->name);
        if (a != b && strncmp(product, other->name, a < b ? a : b) == 0) {
            return true;
        }
    }
    return false;
}

/* --- the rules ------------------------------------------------------------------------------ */

static bool has_role(const struct ota_access *access, const struct ota_identity *who)
{
    return ota_roles_of(access->roles, who->username) != OTA_ROLE_NONE;
}

static enum ota_access_verdict allow_if(bool allowed)
{
    return allowed ? OTA_ACCESS_ALLOW : OTA_ACCESS_DENY;
}

static bool is_gateway_of(const struct ota_access *access, const struct ota_device *device,
                          const struct ota_identity *who)
{
    const struct ota_device *gateway = ota_fleet_gateway_of(access->fleet, device);
    if (gateway == NULL) {
        return false;
    }
    struct ota_topic topic = {.product = gateway->product->name,
                              .product_len = strlen(gateway->product->name),
                              .device = gateway->name,
                              .device_len = strlen(gateway->name)};
    return ota_access_is_device(access, &topic, who);
}

/* Of what only the device may do, and its gateway for it. */
static enum ota_access_verdict check_device(const struct ota_access *access,
                                            const struct ota_topic *topic,
                                            const struct ota_identity *who)
{
    if (topic->product == NULL) {
        return OTA_ACCESS_DENY;
    }
    if (ota_access_is_device(access, topic, who)) {
        return OTA_ACCESS_ALLOW;
    }
    const struct ota_device *device = ota_topic_device(topic, access->fleet);
    return device != NULL && device->bound && is_gateway_of(access, device, who)
               ? OTA_ACCESS_ALLOW_GATEWAY
               : OTA_ACCESS_DENY;
}

/* Of what the device may do for itself alone: a gateway isn't bound to another. */
static enum ota_access_verdict check_gateway(const struct ota_access *access,
                                             const struct ota_topic *topic,
                                             const struct ota_identity *who)
{
    return allow_if(topic->product != NULL && topic->rest[0] == '\0' &&
                    ota_access_is_device(access, topic, who));
}

static enum ota_access_verdict may_publish(const struct ota_access *access,
                                           const struct ota_topic *topic,
                                           const struct ota_identity *who)
{
    if (topic->kind == OTA_TOPIC_REPORT) {
        return topic->rest[0] == '\0' ? check_device(access, topic, who) : OTA_ACCESS_DENY;
    }
    if (topic->kind == OTA_TOPIC_GATEWAY) {
        return check_gateway(access, topic, who);
    }
    /* nothing but commands: a role must not be able to forge the answers of others */
    return allow_if(topic->kind == OTA_TOPIC_CONTROL && strcmp(topic->rest, "/v1") == 0 &&
                    has_role(access, who));
}

static enum ota_access_verdict may_subscribe(const struct ota_access *access,
                                             const struct ota_topic *topic,
                                             const struct ota_identity *who)
{
    if (topic->kind == OTA_TOPIC_UPDATE || topic->kind == OTA_TOPIC_BLOCK) {
        const char *rest = topic->kind == OTA_TOPIC_BLOCK ? "/#" : "";
        return strcmp(topic->rest, rest) == 0 ? check_device(access, topic, who) : OTA_ACCESS_DENY;
    }
    if (topic->kind == OTA_TOPIC_GATEWAY_RESULT) {
        return check_gateway(access, topic, who);
    }
    bool for_roles = topic->kind == OTA_TOPIC_REPORT || topic->kind == OTA_TOPIC_EVENT ||
                     topic->kind == OTA_TOPIC_CONTROL;
    return allow_if(for_roles && has_role(access, who));
}

static enum ota_access_verdict may_receive(const struct ota_access *access,
                                           const struct ota_topic *topic,
                                           const struct ota_identity *who)
{
    if (topic->kind == OTA_TOPIC_UPDATE || topic->kind == OTA_TOPIC_BLOCK ||
        topic->kind == OTA_TOPIC_GATEWAY_RESULT) {
        /* ours go to a client id, and nobody is asked: this one is somebody else's */
        return OTA_ACCESS_DENY;
    }
    return may_subscribe(access, topic, who);
}

enum ota_access_verdict ota_access_check(const struct ota_access *access, enum ota_access_op op,
                                         const struct ota_topic *topic,
                                         const struct ota_identity *who)
{
    static enum ota_access_verdict (*const rules[])(
        const struct ota_access *, const struct ota_topic *, const struct ota_identity *) = {
        [OTA_ACCESS_PUBLISH] = may_publish,
        [OTA_ACCESS_SUBSCRIBE] = may_subscribe,
        [OTA_ACCESS_RECEIVE] = may_receive,
    };
    if (topic->kind == OTA_TOPIC_FOREIGN) {
        return OTA_ACCESS_FOREIGN;
    }
    return rules[op](access, topic, who);
}
