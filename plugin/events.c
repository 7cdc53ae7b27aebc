/* SPDX-License-Identifier: BSD-3-Clause */
#include "events.h"

#include <stdio.h>

#include "broker.h"
#include "util/json_out.h"

#define OTA_EVENT_MAX 512

/* An event that memory is too short for is lost, not the change itself. */
static void publish(struct ota_core *core, const char *type, const char *product,
                    const char *device, int qos, struct ota_json_out *event)
{
    ota_json_out_int(event, "at", ota_now_unix());
    size_t len = ota_json_out_end(event);
    if (len == 0 || product[0] == '\0') { /* a product without a name is being deleted */
        return;
    }
    char topic[sizeof core->settings.topic_prefix + OTA_PRODUCT_MAX + OTA_DEVICE_MAX + 16];
    (void)snprintf(topic, sizeof topic, "%s/event/%s%s%s", core->settings.topic_prefix, product,
                   device != NULL ? "/" : "", device != NULL ? device : "");
    (void)ota_broker_publish(NULL, topic, event->text, len, qos);
    if (core->tell != NULL) {
        core->tell(core->tell_data, type, product, device, event->text, len);
    }
}

void ota_events_task(struct ota_core *core, const struct ota_device *device,
                     const struct ota_task_news *news)
{
    char text[OTA_EVENT_MAX];
    struct ota_json_out event;
    const char *confirmation = ota_confirmation_name(news->up->confirmation);
    ota_json_out_begin(&event, text, sizeof text);
    ota_json_out_text(&event, "type", "task");
    ota_json_out_int(&event, "task", news->task);
    if (news->batch != 0) {
        ota_json_out_int(&event, "batch", news->batch);
    }
    ota_json_out_text(&event, "status",
                      ota_shown_name(ota_shown_of(news->up->status, device->conn != NULL)));
    if (confirmation != NULL) {
        ota_json_out_text(&event, "confirmation", confirmation);
    }
    ota_json_out_int(&event, "percent", news->up->percent);
    ota_json_out_text(&event, "version", news->version);
    publish(core, "task", device->product->name, device->name, 1, &event);
}

void ota_events_version(struct ota_core *core, const struct ota_device *device)
{
    char text[OTA_EVENT_MAX];
    struct ota_json_out event;
    ota_json_out_begin(&event, text, sizeof text);
    ota_json_out_text(&event, "type", "version");
    ota_json_out_text(&event, "version", device->version != NULL ? device->version->text : "");
    publish(core, "version", device->product->name, device->name, 1, &event);
}

void ota_events_presence(struct ota_core *core, const struct ota_device *device)
{
    char text[OTA_EVENT_MAX];
    struct ota_json_out event;
    ota_json_out_begin(&event, text, sizeof text);
    ota_json_out_text(&event, "type", "presence");
    ota_json_out_bool(&event, "online", device->conn != NULL);
    publish(core, "presence", device->product->name, device->name, 0, &event);
}

void ota_events_batch(struct ota_core *core, const struct ota_batch *batch)
{
    char text[OTA_EVENT_MAX];
    struct ota_json_out event;
    const char *reason = ota_batch_reason_name(batch->row.reason);
    ota_json_out_begin(&event, text, sizeof text);
    ota_json_out_text(&event, "type", "batch");
    ota_json_out_int(&event, "batch", batch->row.id);
    ota_json_out_text(&event, "state", ota_batch_state_name(batch->row.state));
    if (reason != NULL) {
        ota_json_out_text(&event, "reason", reason);
    }
    if (batch->row.open_stages > 0) {
        ota_json_out_int(&event, "openStages", batch->row.open_stages);
    }
    publish(core, "batch", batch->product->name, NULL, 1, &event);
}

void ota_events_firmware(struct ota_core *core, const char *product, const char *version,
                         const char *what)
{
    char text[OTA_EVENT_MAX];
    struct ota_json_out event;
    ota_json_out_begin(&event, text, sizeof text);
    ota_json_out_text(&event, "type", "firmware");
    ota_json_out_text(&event, "version", version);
    ota_json_out_text(&event, "change", what);
    publish(core, "firmware", product, NULL, 1, &event);
}
