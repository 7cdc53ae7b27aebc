/* SPDX-License-Identifier: BSD-3-Clause */
#include "traffic.h"

#include "block_check.h"
#include "broker.h"
#include "operation.h"
#include "presence.h"

/* Blocks that are compared in one loop of the broker: two windows of requests, some 4 ms. */
#define OTA_LEFT_OVER_MAX 80

#define OTA_SHADOW_WARNING_MS 60000

static struct ota_identity identity_of(const struct ota_traffic *traffic,
                                       const struct mosquitto *client)
{
    return ota_device_auth_identity(traffic->around->device_auth, client);
}

/* Whether devices publish there; else admins do. */
static bool is_by_devices(const struct ota_topic *topic)
{
    return topic->kind == OTA_TOPIC_REPORT || topic->kind == OTA_TOPIC_GATEWAY;
}

/* --- before a message ------------------------------------------------------------------------- */

/* What may be published by this client may still not be published like this. */
static bool may_publish(struct ota_traffic *traffic, const struct ota_topic *topic,
                        const struct ota_message *message)
{
    enum ota_refusal reason = OTA_REFUSAL_COUNT;
    if (message->retain) {
        reason = OTA_REFUSED_RETAINED;
    } else if (message->client == traffic->gone) {
        reason = OTA_REFUSED_WILL;
    } else if (is_by_devices(topic) && message->len > OTA_REPORT_MAX) {
        reason = OTA_REFUSED_TOO_LARGE;
    }
    if (reason != OTA_REFUSAL_COUNT) {
        ota_intake_refuse(traffic->around->intake, message->client, reason);
        return false;
    }
    traffic->let_in = message->client;
    return true;
}

static bool may_receive(struct ota_traffic *traffic, const struct ota_topic *topic,
                        const struct ota_message *message)
{
    if (message->retain) {
        return false; /* nothing of ours is retained: it is older than our plugin */
    }
    if (traffic->let_in != NULL &&
        (topic->kind == OTA_TOPIC_REPORT || topic->kind == OTA_TOPIC_CONTROL)) {
        /* no MESSAGE came between: a will, delayed or of a session that was taken over, whose
         * client may be gone */
        ota_intake_refuse(traffic->around->intake, NULL, OTA_REFUSED_WILL);
        return false;
    }
    return true;
}

/* Whether it is a block that a session still has which has just come back, and its device's.
 * Denied, it would keep its place among those in flight (Mosquitto 2.0 throws the message away and
 * forgets to count), and no QoS 1 message would reach that client any more. A will on that topic
 * which another plugin lets in doesn't hold what we would have sent. */
static bool is_left_over(struct ota_traffic *traffic, const struct ota_topic *topic,
                         const struct ota_message *message, const struct ota_identity *who)
{
    const struct ota_access *access = traffic->around->access;
    struct ota_topic all = *topic;
    all.rest = "/#";
    if (topic->kind != OTA_TOPIC_BLOCK || topic->product == NULL || message->retain ||
        traffic->left_over == OTA_LEFT_OVER_MAX ||
        !ota_access_is_allowed(ota_access_check(access, OTA_ACCESS_SUBSCRIBE, &all, who))) {
        return false;
    }
    traffic->left_over++;
    const struct ota_device *device = ota_topic_device(topic, access->fleet);
    return device != NULL && ota_block_is_genuine(traffic->around->core, device, topic->rest,
                                                  message->payload, message->len);
}

/* Without memory for it, its report comes next. */
static void note_subscribed(const struct ota_traffic *traffic, const struct ota_topic *topic,
                            const struct mosquitto *client, bool by_gateway)
{
    struct ota_core *core = traffic->around->core;
    struct ota_device *device = ota_topic_device(topic, &core->fleet);
    if (device == NULL) {
        return;
    }
    (void)(by_gateway ? ota_presence_sign_by_gateway(core, client, device, OTA_SIGN_SUBSCRIBED)
                      : ota_presence_sign(core, client, device, OTA_SIGN_SUBSCRIBED));
}

bool ota_traffic_may(struct ota_traffic *traffic, enum ota_access_op op,
                     const struct ota_topic *topic, const struct ota_message *message)
{
    const struct ota_identity who = identity_of(traffic, message->client);
    if (op == OTA_ACCESS_RECEIVE && is_left_over(traffic, topic, message, &who)) {
        return true;
    }
    enum ota_access_verdict verdict = ota_access_check(traffic->around->access, op, topic, &who);
    if (!ota_access_is_allowed(verdict)) {
        if (op == OTA_ACCESS_PUBLISH && is_by_devices(topic)) {
            ota_intake_deny(traffic->around->intake, message->client, topic);
        }
        return false;
    }
    switch (op) {
    case OTA_ACCESS_PUBLISH:
        return may_publish(traffic, topic, message);
    case OTA_ACCESS_RECEIVE:
        return may_receive(traffic, topic, message);
    case OTA_ACCESS_SUBSCRIBE:
        break;
    }
    if (topic->kind == OTA_TOPIC_UPDATE) {
        note_subscribed(traffic, topic, message->client, verdict == OTA_ACCESS_ALLOW_GATEWAY);
    }
    return true;
}

/* --- when it comes ---------------------------------------------------------------------------- */

/* Somebody before us in the list of plugins let this in, or a bridge brought it. */
static void note_shadow(struct ota_traffic *traffic, const struct mosquitto *client,
                        const struct ota_topic *topic)
{
    if (ota_broker_is_bridge(client)) {
        return;
    }
    traffic->around->shadowed++;
    char target[OTA_SUBJECT_MAX + 1];
    ota_topic_subject(topic, target, sizeof target);
    ota_trail_topic(traffic->around->trail,
                    &(struct ota_trail_note){.user = ota_broker_username(client),
                                             .client = ota_broker_client_id(client),
                                             .command = OTA_TRAIL_SHADOWING,
                                             .target = target,
                                             .code = OTA_OK});
    int64_t now = ota_now_mono();
    if (traffic->warned_at == 0 || now - traffic->warned_at >= OTA_SHADOW_WARNING_MS) {
        traffic->warned_at = now;
        ota_log(OTA_LOG_WARNING,
                "another plugin decides about our topics before us: put the plugin line of "
                "mosquitto_ota.so first in mosquitto.conf");
    }
}

static void look_whether_asked(struct ota_traffic *traffic, const struct mosquitto *client,
                               const struct ota_topic *topic)
{
    if (traffic->let_in != client) {
        note_shadow(traffic, client, topic);
    }
    traffic->let_in = NULL;
}

static enum ota_intake_verdict read_message(struct ota_traffic *traffic,
                                            const struct ota_topic *topic,
                                            const struct ota_message *message)
{
    struct ota_intake *intake = traffic->around->intake;
    return topic->kind == OTA_TOPIC_GATEWAY
               ? ota_operation_take(intake, message->client, topic, message->payload, message->len)
               : ota_intake_report(intake, message->client, topic, message->payload, message->len,
                                   message->qos);
}

enum ota_intake_verdict ota_traffic_take(struct ota_traffic *traffic, const struct ota_topic *topic,
                                         const struct ota_message *message)
{
    struct ota_surroundings *around = traffic->around;
    struct ota_topic checked = *topic;
    look_whether_asked(traffic, message->client, topic);
    const struct ota_identity who = identity_of(traffic, message->client);
    enum ota_access_verdict access =
        ota_access_check(around->access, OTA_ACCESS_PUBLISH, topic, &who);
    if (!is_by_devices(topic) || !ota_access_is_allowed(access)) {
        ota_intake_deny(around->intake, message->client, topic);
        return OTA_INTAKE_REFUSED;
    }
    if (message->retain) {
        ota_intake_refuse(around->intake, message->client, OTA_REFUSED_RETAINED);
        return OTA_INTAKE_REFUSED;
    }
    int64_t began = ota_now_us();
    checked.by_gateway = access == OTA_ACCESS_ALLOW_GATEWAY;
    enum ota_intake_verdict verdict = read_message(traffic, &checked, message);
    ota_histogram_add(&around->core->counters.reports, ota_now_us() - began);
    return verdict;
}

bool ota_traffic_command(struct ota_traffic *traffic, const struct ota_message *message)
{
    static const struct ota_topic commands = {.kind = OTA_TOPIC_CONTROL};
    look_whether_asked(traffic, message->client, &commands);
    enum ota_role role =
        ota_roles_of(traffic->around->access->roles, ota_broker_username(message->client));
    if (role == OTA_ROLE_NONE || message->retain || ota_broker_is_bridge(message->client)) {
        return false;
    }
    ota_control_receive(traffic->control, message->client, role, message->payload, message->len);
    return true;
}

/* --- afterwards ------------------------------------------------------------------------------- */

void ota_traffic_gone(struct ota_traffic *traffic, const struct mosquitto *client)
{
    struct ota_surroundings *around = traffic->around;
    traffic->gone = client;
    ota_inband_gone(around->intake->inband, client);
    ota_presence_gone(around->core, client);
    ota_control_forget(traffic->control, client);
    ota_device_auth_gone(around->device_auth, client);
}
