/* SPDX-License-Identifier: BSD-3-Clause */
#include "notice.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker.h"

enum ota_err ota_notice_url(const struct ota_core *core, const struct ota_task *task, char *url)
{
    struct ota_claim claim = {.firmware_id = task->firmware->row.id,
                              .task_id = task->id,
                              .device_id = task->device->id,
                              .attempt = task->up.attempt};
    enum ota_err err =
        ota_download_mac(core->settings.url_key, &claim, task->firmware->row.sha256, claim.mac);
    if (err != OTA_OK) {
        return err;
    }
    char path[OTA_PATH_MAX];
    ota_download_path(&claim, path);
    (void)snprintf(url, OTA_URL_MAX + 1, "%s%s", core->settings.download_url, path);
    return OTA_OK;
}

/* Takes the reference. No JSON escapes may appear in what a vendor device reads: none of these
 * values holds a character that would need one (tencent-sdk.md, 12). */
static void send(struct ota_core *core, const struct ota_device *device, json_t *message)
{
    if (message == NULL || device->conn == NULL) {
        json_decref(message);
        return;
    }
    char topic[sizeof core->settings.topic_prefix + OTA_PRODUCT_MAX + OTA_DEVICE_MAX + 16];
    (void)snprintf(topic, sizeof topic, "%s/update/%s/%s", core->settings.topic_prefix,
                   device->product->name, device->name);
    char *text = json_dumps(message, JSON_COMPACT | JSON_PRESERVE_ORDER);
    if (text != NULL) {
        (void)ota_broker_publish(device->conn->client_id, topic, text, strlen(text), 0);
    }
    free(text);
    json_decref(message);
}

void ota_notice_send(struct ota_core *core, const struct ota_task *task)
{
    char url[OTA_URL_MAX + 1];
    if (task->firmware == NULL || ota_notice_url(core, task, url) != OTA_OK) {
        ota_log(OTA_LOG_ERROR, "no notice for task %lld: its download URL can't be made",
                (long long)task->id);
        return;
    }
    const struct ota_firmware_row *row = &task->firmware->row;
    bool is_signed = row->signature[0] != '\0';
    json_t *notice = json_pack(
        "{s:s, s:s, s:s, s:s, s:I, s:s, s:I, s:s*, s:o*}", "type", "update_firmware", "version",
        row->version, "url", url, "md5sum", row->md5, "file_size", (json_int_t)row->size, "sha256",
        row->sha256, "task", (json_int_t)task->id, "signature", is_signed ? row->signature : NULL,
        "order", is_signed ? json_integer(row->order) : NULL);
    core->counters.notices++;
    send(core, task->device, notice);
}

void ota_notice_send_cancel(struct ota_core *core, const struct ota_task *task)
{
    json_t *message = json_pack("{s:s, s:s*, s:I}", "type", "cancel_firmware", "version",
                                task->firmware != NULL ? task->firmware->row.version : NULL, "task",
                                (json_int_t)task->id);
    send(core, task->device, message);
}
