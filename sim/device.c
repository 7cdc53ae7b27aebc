/* SPDX-License-Identifier: BSD-3-Clause */
#include "device.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "fetch.h"
#include "inband.h"
#include "pattern.h"
#include "upgrade.h"
#include "vendor.h"
#include "vendor_fetch.h"
#include "vendor_message.h"

static const struct ota_link_backoff backoff = {1000, 1000, 8000, false, 0};
static const struct ota_link_backoff vendor_backoff = {1000, 2000, 60000, true, 2000};

void ota_device_tell(struct ota_device *device, enum ota_event event, const char *format, ...)
{
    struct ota_output *output = &device->world->output;
    json_t *details = NULL;
    if (format != NULL && ota_output_wants(output, event)) {
        va_list args;
        va_start(args, format);
        details = json_vpack_ex(NULL, 0, format, args);
        va_end(args);
    }
    ota_output_say(output, event, device->name, details);
}

void ota_device_enter(struct ota_device *device, enum ota_phase phase)
{
    device->world->tally.phases[device->phase]--;
    device->world->tally.phases[phase]++;
    device->phase = phase;
}

void ota_device_after(struct ota_device *device, int64_t ms, void (*next)(struct ota_device *))
{
    device->next = next;
    ota_loop_after(&device->world->loop, &device->step, ms);
}

static void fire_step(void *arg)
{
    struct ota_device *device = arg;
    device->next(device);
}

void ota_device_away(struct ota_device *device, int64_t ms, void (*back)(struct ota_device *))
{
    device->back = back;
    ota_loop_after(&device->world->loop, &device->away, ms);
}

static void fire_away(void *arg)
{
    struct ota_device *device = arg;
    device->back(device);
}

void ota_device_restart(struct ota_device *device)
{
    device->reported = device->report_due = device->deaf = false;
    device->version_mid = device->said_mid = -1;
    device->said = (struct ota_progress){0};
    device->acked = true;
    device->then = NULL;
    memset(device->seen_mids, 0, sizeof device->seen_mids);
    ota_loop_cancel(&device->world->loop, &device->report);
    ota_vendor_fetch_close(device);
}

static void publish_progress(struct ota_device *device)
{
    char text[OTA_REPORT_MAX];
    int qos = ota_report_qos(device->vendor, device->said.said);
    size_t len = ota_report_progress(device->vendor, &device->said, text);
    device->said_mid = ota_link_publish(&device->link, device->report_topic, text, len, qos);
    device->acked = qos == 0;
}

static void say(struct ota_device *device, const struct ota_progress *progress,
                void (*then)(struct ota_device *))
{
    device->said = *progress;
    device->then = then;
    publish_progress(device);
}

void ota_device_report_fail(struct ota_device *device, int code, const char *reason,
                            void (*then)(struct ota_device *))
{
    struct ota_progress progress = {OTA_SAID_FAIL, device->percent, code, reason,
                                    device->notice.version};
    say(device, &progress, then);
}

void ota_device_report(struct ota_device *device, enum ota_said said,
                       void (*then)(struct ota_device *))
{
    static const enum ota_event events[OTA_SAID_COUNT] = {
        [OTA_SAID_DOWNLOADING] = OTA_EVENT_DOWNLOADING,
        [OTA_SAID_DOWNLOADED] = OTA_EVENT_DOWNLOADED,
        [OTA_SAID_BURNING] = OTA_EVENT_BURNING,
        [OTA_SAID_DONE] = OTA_EVENT_DONE,
    };
    struct ota_progress progress = {said, device->percent, 0, NULL, device->notice.version};
    say(device, &progress, then);
    ota_device_tell(device, events[said], "{s:s, s:i, s:I}", "version", device->notice.version,
                    "percent", (int)device->percent, "size", (json_int_t)device->notice.size);
}

void ota_device_report_version(struct ota_device *device)
{
    char text[OTA_REPORT_MAX];
    size_t len = ota_report_version(device->vendor, device->version, text);
    device->version_mid = ota_link_publish(&device->link, device->report_topic, text, len, 1);
    device->reported = true;
    device->report_due = false;
    if (device->phase == OTA_PHASE_COOLING) {
        ota_device_enter(device, OTA_PHASE_IDLE);
    }
    ota_device_tell(device, OTA_EVENT_REPORTED, "{s:s}", "version", device->version);
}

void ota_device_report_after(struct ota_device *device, int64_t ms)
{
    ota_loop_after(&device->world->loop, &device->report, ms);
}

static void fire_report(void *arg)
{
    ota_device_report_version(arg);
}

static void on_up(void *arg)
{
    struct ota_device *device = arg;
    device->world->tally.connected++;
    ota_device_tell(device, OTA_EVENT_CONNECTED, "{s:s}", "client_id", device->client_id);
}

static void greet(struct ota_device *device)
{
    ota_device_report_version(device);
    /* What was said when the connection went may be lost, and a server starts afresh with us. */
    if (ota_upgrade_is_busy(device) || !device->acked) {
        if (device->said.said == OTA_SAID_DOWNLOADING) {
            device->said.percent = device->percent = ota_fetch_percent(device);
        }
        if (device->said.said != OTA_SAID_NOTHING) {
            publish_progress(device);
        }
    }
    ota_inband_resume(device);
}

static void on_subscribed(void *arg)
{
    struct ota_device *device = arg;
    ota_device_tell(device, OTA_EVENT_SUBSCRIBED, "{s:s}", "topic", device->update_topic);
    if (device->phase == OTA_PHASE_MUTE) {
        return;
    }
    if (device->vendor) {
        ota_vendor_greet(device);
    } else {
        greet(device);
    }
}

static void come_back(struct ota_device *device)
{
    ota_device_tell(device, OTA_EVENT_RETURNED, NULL);
    ota_link_open(&device->link);
}

static void leave_at_start(struct ota_device *device)
{
    int64_t ms = device->world->options->return_after;
    device->left_once = true;
    ota_link_close(&device->link, false);
    ota_device_tell(device, OTA_EVENT_AWAY, ms < 0 ? NULL : "{s:I}", "ms", (json_int_t)ms);
    device->back = come_back;
    if (ms >= 0) {
        ota_device_away(device, ms, come_back);
    }
}

void ota_device_return(struct ota_device *device)
{
    if (device->left_once && device->link.state == OTA_LINK_AWAY && device->back == come_back) {
        ota_loop_cancel(&device->world->loop, &device->away);
        come_back(device);
    }
}

static void version_acked(struct ota_device *device)
{
    device->version_mid = -1;
    if (device->world->options->offline_at_start && !device->left_once) {
        leave_at_start(device);
    } else if (device->proving) {
        device->proving = false;
        ota_upgrade_proved(device);
    }
}

static void go_on(struct ota_device *device)
{
    void (*then)(struct ota_device *) = device->then;
    device->then = NULL;
    if (then != NULL) {
        then(device);
    }
}

static void on_acked(void *arg, int mid)
{
    struct ota_device *device = arg;
    if (mid == device->version_mid) {
        version_acked(device);
    } else if (mid == device->said_mid) {
        device->acked = true;
        go_on(device);
    }
}

static void on_down(void *arg, const char *why, bool was_up, bool at_will)
{
    struct ota_device *device = arg;
    device->world->tally.connected -= was_up;
    device->version_mid = device->said_mid = -1;
    ota_loop_cancel(&device->world->loop, &device->report);
    if (was_up || !at_will) {
        ota_device_tell(device, was_up ? OTA_EVENT_DISCONNECTED : OTA_EVENT_REFUSED, "{s:s}",
                        "reason", why);
    }
    ota_inband_lost(device);
    if (at_will || !device->vendor) {
        return;
    }
    ota_upgrade_cut_off(device);
    go_on(device); /* the vendor doesn't say it again, so there is nothing to wait for */
}

static void on_gave_up(void *arg, bool unsubscribed)
{
    struct ota_device *device = arg;
    if (!unsubscribed) {
        ota_device_tell(device, OTA_EVENT_GAVE_UP, NULL);
        return;
    }
    ota_device_tell(device, OTA_EVENT_EXITED, "{s:s}", "reason", "no subscription");
    ota_device_enter(device, OTA_PHASE_REBOOTING);
}

static void on_answer(struct ota_device *device, const struct ota_message *message)
{
    device->deaf = device->vendor && message->result_code != 0;
    ota_device_tell(device, OTA_EVENT_ANSWERED, "{s:I, s:s}", "result_code",
                    (json_int_t)message->result_code, "result_msg", message->result_msg);
}

static void ignore(struct ota_device *device, const char *reason)
{
    ota_device_tell(device, OTA_EVENT_IGNORED, "{s:s, s:s}", "what", "a message", "reason", reason);
}

static void on_notice(struct ota_device *device, const struct ota_message *message)
{
    if (message->notice.url[0] == '\0' && !device->world->options->inband) {
        ignore(device, "no url, and it doesn't download over MQTT");
        return;
    }
    ota_upgrade_notice(device, &message->notice);
}

static void on_cancel(struct ota_device *device, const struct ota_message *message)
{
    if (!device->vendor) {
        ota_upgrade_cancel(device, &message->notice);
    }
}

static void on_block_answer(struct ota_device *device, const struct ota_message *message)
{
    ota_inband_refused(device, message);
}

static void on_unknown(struct ota_device *device, const struct ota_message *message)
{
    (void)message;
    ignore(device, "unknown type");
}

/* Why a message isn't listened to, or NULL. */
static const char *why_not(struct ota_device *device, const struct ota_link_message *message,
                           struct ota_message *parsed)
{
    const char *deaf = device->vendor ? ota_vendor_why_deaf(device, message) : NULL;
    if (deaf != NULL) {
        return deaf;
    }
    bool (*parse)(const void *, size_t, struct ota_message *) =
        device->vendor ? ota_vendor_message_parse : ota_message_parse;
    return parse(message->payload, message->len, parsed) ? NULL : "not understood";
}

static void on_message(void *arg, const struct ota_link_message *message)
{
    static void (*const handlers[OTA_MESSAGE_COUNT])(struct ota_device *,
                                                     const struct ota_message *) = {
        [OTA_MESSAGE_UNKNOWN] = on_unknown,
        [OTA_MESSAGE_NOTICE] = on_notice,
        [OTA_MESSAGE_CANCEL] = on_cancel,
        [OTA_MESSAGE_ANSWER] = on_answer,
        [OTA_MESSAGE_BLOCK_ANSWER] = on_block_answer,
    };
    struct ota_device *device = arg;
    struct ota_message parsed;
    if (ota_inband_take(device, message)) {
        return;
    }
    const char *why = why_not(device, message, &parsed);
    if (why != NULL) {
        ignore(device, why);
        return;
    }
    handlers[parsed.type](device, &parsed);
}

static const struct ota_link_events events = {
    .up = on_up,
    .subscribed = on_subscribed,
    .message = on_message,
    .acked = on_acked,
    .down = on_down,
    .gave_up = on_gave_up,
};

static enum ota_err make_name(struct ota_device *device, int64_t number, struct ota_error *error)
{
    const char *pattern = device->world->options->device;
    enum ota_err err = ota_pattern_number(pattern, number, &device->name, error);
    if (err == OTA_OK && !ota_name_is_device(device->name, strlen(device->name))) {
        err = ota_error_set(error, OTA_INVALID_REQUEST, "device",
                            "--device: 1 to %d of letters, digits, '_', ':' and '-', not \"%s\"",
                            OTA_DEVICE_MAX, device->name);
    }
    if (err == OTA_OK && device->vendor) {
        err = ota_vendor_check_names(device->world->options->product, device->name, error);
    }
    return err;
}

static enum ota_err make_texts(struct ota_device *device, struct ota_error *error)
{
    const struct ota_options *options = device->world->options;
    char report[160], update[160], block[160];
    snprintf(report, sizeof report, "%.60s/report/%%p/%%d", options->prefix);
    snprintf(update, sizeof update, "%.60s/update/%%p/%%d", options->prefix);
    snprintf(block, sizeof block, "%.60s/block/%%p/%%d/", options->prefix);
    const struct {
        const char *pattern;
        char **text;
    } rows[] = {
        {report, &device->report_topic},        {update, &device->update_topic},
        {block, &device->block_topic},          {options->client_id, &device->client_id},
        {options->username, &device->username}, {options->cert, &device->cert},
        {options->key, &device->key},
    };
    enum ota_err err = OTA_OK;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && err == OTA_OK; i++) {
        if (rows[i].pattern != NULL) {
            err = ota_pattern_names(rows[i].pattern, options->product, device->name, rows[i].text,
                                    error);
        }
    }
    device->identity = (struct ota_link_identity){
        .client_id = device->client_id,
        .username = device->username,
        .password = options->password,
        .cert = device->cert,
        .key = device->key,
        .topic = device->update_topic,
    };
    return err;
}

static enum ota_err make_timers(struct ota_device *device, struct ota_error *error)
{
    struct ota_loop *loop = &device->world->loop;
    enum ota_err err = ota_link_init(&device->link, error);
    if (err == OTA_OK) {
        err = ota_loop_timer(loop, &device->report, fire_report, device, error);
    }
    if (err == OTA_OK) {
        err = ota_loop_timer(loop, &device->tick, ota_fetch_tick, device, error);
    }
    if (err == OTA_OK) {
        err = ota_loop_timer(loop, &device->step, fire_step, device, error);
    }
    if (err == OTA_OK) {
        err = ota_loop_timer(loop, &device->away, fire_away, device, error);
    }
    return err;
}

enum ota_err ota_device_init(struct ota_device *device, struct ota_world *world, int64_t number,
                             const struct ota_fault *fault, struct ota_error *error)
{
    *device =
        (struct ota_device){.world = world,
                            .vendor = world->options->vendor,
                            .random = (uint64_t)world->options->seed * 1000003 + (uint64_t)number,
                            .version_mid = -1,
                            .said_mid = -1,
                            .acked = true,
                            .fault = *fault,
                            .armed = fault->kind != OTA_FAULT_OK};
    strcpy(device->version, world->options->version);
    device->link = (struct ota_link){.net = &world->net,
                                     .identity = &device->identity,
                                     .backoff = device->vendor ? &vendor_backoff : &backoff,
                                     .events = &events,
                                     .arg = device,
                                     .random = &device->random};
    enum ota_err err = make_name(device, number, error);
    if (err == OTA_OK) {
        err = make_texts(device, error);
    }
    if (err == OTA_OK) {
        err = make_timers(device, error);
    }
    world->tally.phases[OTA_PHASE_IDLE]++;
    return err;
}

void ota_device_free(struct ota_device *device)
{
    if (device->world != NULL) {
        ota_link_free(&device->link);
    }
    ota_vendor_fetch_close(device);
    ota_image_drop(&device->image);
    char *const texts[] = {device->block_topic,  device->name,      device->report_topic,
                           device->update_topic, device->client_id, device->username,
                           device->cert,         device->key};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        free(texts[i]);
    }
}

void ota_device_start(struct ota_device *device)
{
    ota_link_open(&device->link);
}
