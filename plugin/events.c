/* SPDX-License-Identifier: BSD-3-Clause */
#include "events.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker.h"

/* Takes the reference; an event that memory is too short for is lost, not the change itself. */
static void publish(struct ota_core *core, const char *product, const char *device, int qos,
                    json_t *event)
{
    if (event == NULL || product[0] == '\0') { /* a product without a name is being deleted */
        json_decref(event);
        return;
    }
    char topic[sizeof core->settings.topic_prefix + OTA_PRODUCT_MAX + OTA_DEVICE_MAX + 16];
    (void)snprintf(topic, sizeof topic, "%s/event/%s%s%s", core->settings.topic_prefix, product,
                   device != NULL ? "/" : "", device != NULL ? device : "");
    char *text = json_dumps(event, JSON_COMPACT | JSON_PRESERVE_ORDER);
    if (text != NULL) {
        (void)ota_broker_publish(NULL, topic, text, strlen(text), qos);
    }
    free(text);
    json_decref(event);
}

void ota_events_task(struct ota_core *core, const struct ota_device *device,
                     const struct ota_task_news *news)
{
    enum ota_shown shown = ota_shown_of(news->up->status, device->conn != NULL);
    json_t *event = json_pack(
        "{s:s, s:I, s:o*, s:s, s:s*, s:i, s:s, s:I}", "type", "task", "task",
        (json_int_t)news->task, "batch", news->batch != 0 ? json_integer(news->batch) : NULL,
        "status", ota_shown_name(shown), "confirmation",
        ota_confirmation_name(news->up->confirmation), "percent", news->up->percent, "version",
        news->version, "at", (json_int_t)ota_now_unix());
    publish(core, device->product->name, device->name, 1, event);
}

void ota_events_version(struct ota_core *core, const struct ota_device *device)
{
    json_t *event = json_pack("{s:s, s:s, s:I}", "type", "version", "version",
                              device->version != NULL ? device->version->text : "", "at",
                              (json_int_t)ota_now_unix());
    publish(core, device->product->name, device->name, 1, event);
}

void ota_events_presence(struct ota_core *core, const struct ota_device *device)
{
    json_t *event = json_pack("{s:s, s:b, s:I}", "type", "presence", "online", device->conn != NULL,
                              "at", (json_int_t)ota_now_unix());
    publish(core, device->product->name, device->name, 0, event);
}

void ota_events_firmware(struct ota_core *core, const char *product, const char *version,
                         const char *what)
{
    json_t *event = json_pack("{s:s, s:s, s:s, s:I}", "type", "firmware", "version", version,
                              "change", what, "at", (json_int_t)ota_now_unix());
    publish(core, product, NULL, 1, event);
}
