/* SPDX-License-Identifier: BSD-3-Clause */
#include "notice.h"

#include <stdio.h>

#include "broker.h"
#include "util/json_out.h"

/* A vendor device takes 1,975 bytes of payload at most (tencent-sdk.md, "Connection"). */
#define OTA_NOTICE_MAX 1975

enum ota_err ota_notice_url(const struct ota_core *core, const struct ota_task *task, char *url)
{
    if (core->settings.download_url[0] == '\0') {
        url[0] = '\0';
        return OTA_OK;
    }
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

/* No JSON escapes may appear in what a vendor device reads: none of these values holds a
 * character that would need one (tencent-sdk.md, 12). */
static void send(struct ota_core *core, const struct ota_device *device,
                 struct ota_json_out *message)
{
    size_t len = ota_json_out_end(message);
    if (len == 0 || device->conn == NULL) {
        return;
    }
    char topic[sizeof core->settings.topic_prefix + OTA_PRODUCT_MAX + OTA_DEVICE_MAX + 16];
    (void)snprintf(topic, sizeof topic, "%s/update/%s/%s", core->settings.topic_prefix,
                   device->product->name, device->name);
    (void)ota_broker_publish(device->conn->client_id, topic, message->text, len, 0);
}

void ota_notice_send(struct ota_core *core, const struct ota_task *task)
{
    char url[OTA_URL_MAX + 1];
    if (task->firmware == NULL || ota_notice_url(core, task, url) != OTA_OK) {
        ota_log(OTA_LOG_ERROR, "no notice for task %lld: its download URL can't be made",
                (long long)task->id);
        return;
    }
    char text[OTA_NOTICE_MAX];
    struct ota_json_out notice;
    const struct ota_firmware_row *row = &task->firmware->row;
    ota_json_out_begin(&notice, text, sizeof text);
    ota_json_out_text(&notice, "type", "update_firmware");
    ota_json_out_text(&notice, "version", row->version);
    if (url[0] != '\0') {
        ota_json_out_text(&notice, "url", url);
    }
    ota_json_out_text(&notice, "md5sum", row->md5);
    ota_json_out_int(&notice, "file_size", row->size);
    ota_json_out_text(&notice, "sha256", row->sha256);
    ota_json_out_int(&notice, "task", task->id);
    if (row->signature[0] != '\0') {
        ota_json_out_text(&notice, "signature", row->signature);
        ota_json_out_int(&notice, "order", row->order);
    }
    core->counters.notices++;
    send(core, task->device, &notice);
}

void ota_notice_send_cancel(struct ota_core *core, const struct ota_task *task)
{
    char text[OTA_NOTICE_MAX];
    struct ota_json_out message;
    ota_json_out_begin(&message, text, sizeof text);
    ota_json_out_text(&message, "type", "cancel_firmware");
    ota_json_out_text(&message, "version",
                      task->firmware != NULL ? task->firmware->row.version : "");
    ota_json_out_int(&message, "task", task->id);
    send(core, task->device, &message);
}

void ota_notice_send_answer(struct ota_core *core, const struct ota_device *device,
                            const char *version)
{
    char text[OTA_NOTICE_MAX];
    struct ota_json_out answer;
    ota_json_out_begin(&answer, text, sizeof text);
    ota_json_out_text(&answer, "type", "report_version_rsp");
    ota_json_out_int(&answer, "result_code", 0);
    ota_json_out_text(&answer, "result_msg", "success");
    ota_json_out_text(&answer, "version", version);
    send(core, device, &answer);
}
