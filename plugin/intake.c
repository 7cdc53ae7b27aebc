/* SPDX-License-Identifier: BSD-3-Clause */
#include "intake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker.h"
#include "devices.h"
#include "notice.h"
#include "presence.h"
#include "task_plan.h"
#include "tasks.h"
#include "util/rate.h"

#define OTA_LOG_EVERY_MS 1000

/* A fleet that grows by 2,000 devices a second for ten seconds isn't one. */
static const struct ota_rate registration_rate = {.step = 5, .burst = 20000};

static const struct {
    const char *name;
    const char *sentence;
} refusals[OTA_REFUSAL_COUNT] = {
#define OTA_X(id, name, sentence) [OTA_REFUSED_##id] = {name, sentence},
    OTA_REFUSALS(OTA_X)
#undef OTA_X
};

const char *ota_refusal_name(enum ota_refusal reason)
{
    return refusals[reason].name;
}

static void escape(const char *text, char *out, size_t size)
{
    size_t n = 0;
    for (; *text != '\0' && n + 5 < size; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c >= 0x7f || c == '\\' || c == '"') {
            n += (size_t)snprintf(out + n, size - n, "\\x%02x", c);
        } else {
            out[n++] = (char)c;
        }
    }
    out[n] = '\0';
}

void ota_intake_refuse(struct ota_intake *intake, const struct mosquitto *client,
                       enum ota_refusal reason)
{
    intake->refused[reason]++;
    int64_t now = ota_now_mono();
    if (reason == OTA_REFUSED_NO_TASK || reason == OTA_REFUSED_NO_NOTICE ||
        (intake->logged_at[reason] != 0 && now - intake->logged_at[reason] < OTA_LOG_EVERY_MS)) {
        return;
    }
    intake->logged_at[reason] = now;
    const char *id = ota_broker_client_id(client);
    char shown[200];
    escape(id != NULL ? id : "(no id)", shown, sizeof shown);
    ota_log(OTA_LOG_WARNING, "report of client \"%s\" refused: %s (%llu so far)", shown,
            refusals[reason].sentence, (unsigned long long)intake->refused[reason]);
}

enum ota_refusal ota_intake_denial(const struct ota_intake *intake, const struct ota_topic *topic)
{
    const struct ota_core *core = intake->core;
    if (topic->product == NULL) {
        return OTA_REFUSED_IDENTITY;
    }
    const struct ota_product *product =
        ota_fleet_product(&core->fleet, topic->product, topic->product_len);
    if (product == NULL) {
        return OTA_REFUSED_UNKNOWN_PRODUCT;
    }
    bool may_exist =
        core->settings.auto_register ||
        ota_fleet_device(&core->fleet, product, topic->device, topic->device_len) != NULL;
    return may_exist ? OTA_REFUSED_IDENTITY : OTA_REFUSED_UNKNOWN_DEVICE;
}

static void note_unknown(struct ota_intake *intake, const struct ota_topic *topic)
{
    if (ota_name_is_product(topic->product, topic->product_len)) {
        memcpy(intake->unknown_product, topic->product, topic->product_len);
        intake->unknown_product[topic->product_len] = '\0';
    }
}

void ota_intake_deny(struct ota_intake *intake, const struct mosquitto *client,
                     const struct ota_topic *topic)
{
    char target[OTA_SUBJECT_MAX + 1];
    enum ota_refusal reason = ota_intake_denial(intake, topic);
    ota_intake_refuse(intake, client, reason);
    if (reason == OTA_REFUSED_UNKNOWN_PRODUCT) {
        note_unknown(intake, topic);
    }
    if (reason == OTA_REFUSED_IDENTITY) {
        ota_topic_subject(topic, target, sizeof target);
        ota_trail_topic(intake->trail,
                        &(struct ota_trail_note){.user = ota_broker_username(client),
                                                 .client = ota_broker_client_id(client),
                                                 .command = OTA_TRAIL_IDENTITY,
                                                 .target = target,
                                                 .code = OTA_FORBIDDEN});
    }
}

/* --- whose report is it (control-api.md "Rules") ---------------------------------------------- */

/* The device's last task, which is finished, hears of it. */
static enum ota_err settle(struct ota_core *core, struct ota_device *device,
                           const struct ota_report *report, bool *mattered, struct ota_error *error)
{
    struct ota_task_row row;
    enum ota_err err = ota_task_get(core->store, device->last_task, &row, error);
    if (err == OTA_NOT_FOUND) {
        device->may_settle = false;
        return OTA_OK;
    }
    if (err != OTA_OK) {
        return err;
    }
    bool is_target = strcmp(row.version, report->version) == 0;
    struct ota_upgrade_event event = {.kind = report->kind,
                                      .percent = report->percent,
                                      .code = report->code,
                                      .service_now = core->service_ms};
    if (report->says == OTA_SAYS_VERSION) {
        event.kind = is_target ? OTA_EV_VERSION_TARGET : OTA_EV_VERSION_OTHER;
    } else if (!is_target) {
        return OTA_OK;
    }
    return ota_tasks_settle(core, device, &row, &event, mattered, error);
}

static bool is_target_of(const struct ota_task *task, const char *version)
{
    return task != NULL && task->firmware != NULL &&
           strcmp(task->firmware->row.version, version) == 0;
}

/* A report names a version and no task: before its notice a new attempt, or task, would hear of the
 * one before that it is under way, get no notice any more, and wait for its timeout. */
static bool is_echo(const struct ota_device *device, const struct ota_upgrade_event *event)
{
    return device->echoes && event->kind == OTA_EV_DOWNLOADING &&
           device->task->up.status == OTA_WAITING;
}

static enum ota_err tell_tasks(struct ota_core *core, struct ota_device *device,
                               const struct ota_report *report, bool *mattered,
                               struct ota_error *error)
{
    *mattered = false;
    if (is_target_of(device->task, report->version)) {
        struct ota_upgrade_event event = {
            .kind = report->says == OTA_SAYS_VERSION ? OTA_EV_VERSION_TARGET : report->kind,
            .percent = report->percent,
            .code = report->code,
            .service_now = core->service_ms};
        bool changed;
        *mattered = true;
        if (is_echo(device, &event)) {
            return OTA_OK;
        }
        return ota_tasks_apply(core, device->task, &event,
                               report->kind == OTA_EV_FAIL ? report->message : NULL, &changed,
                               error);
    }
    if (device->task == NULL && device->may_settle) {
        return settle(core, device, report, mattered, error);
    }
    return OTA_OK;
}

static enum ota_err take_new_version(struct ota_core *core, struct ota_device *device,
                                     const struct ota_report *report, struct ota_error *error)
{
    enum ota_err err = ota_core_begin(core, error);
    if (err != OTA_OK) {
        return err;
    }
    bool mattered;
    err = ota_devices_set_version(core, device, report->version, error);
    if (err == OTA_OK) {
        err = tell_tasks(core, device, report, &mattered, error);
    }
    if (err != OTA_OK) {
        ota_core_rollback(core);
        return err;
    }
    return ota_core_commit(core, error);
}

static enum ota_err take_version(struct ota_core *core, struct ota_device *device,
                                 const struct ota_report *report, struct ota_error *error)
{
    bool mattered;
    bool same = device->version != NULL && strcmp(device->version->text, report->version) == 0;
    enum ota_err err = same ? tell_tasks(core, device, report, &mattered, error)
                            : take_new_version(core, device, report, error);
    if (err != OTA_OK) {
        return err;
    }
    ota_core_look_again(core, device); /* also where nothing changed: it may be here now */
    ota_notice_send_answer(core, device, report->version);
    if (device->task != NULL) {
        ota_tasks_reported_version(core, device->task);
    }
    return OTA_OK;
}

/* --- a device that isn't known yet ----------------------------------------------------------- */

static enum ota_err register_device(struct ota_intake *intake, const struct mosquitto *client,
                                    struct ota_product *product, const struct ota_topic *topic,
                                    const struct ota_report *report, struct ota_device **device,
                                    struct ota_error *error)
{
    struct ota_core *core = intake->core;
    struct ota_device_row row = {.product_id = product->id, .created_at = ota_now_unix()};
    (void)snprintf(row.name, sizeof row.name, "%.*s", (int)topic->device_len, topic->device);
    if (report->says == OTA_SAYS_VERSION) {
        memcpy(row.version, report->version, sizeof row.version);
    }
    if (!ota_presence_prepare(core, client)) { /* it must not be stored and then be refused */
        return ota_error_no_memory(error);
    }
    enum ota_err err = ota_core_begin(core, error);
    if (err != OTA_OK) {
        return err;
    }
    err = ota_devices_add(core, &row, device, error);
    if (err != OTA_OK) {
        ota_core_rollback(core);
        return err;
    }
    return ota_core_commit(core, error);
}

static enum ota_refusal find_device(struct ota_intake *intake, const struct mosquitto *client,
                                    const struct ota_topic *topic, const struct ota_report *report,
                                    struct ota_device **device, struct ota_error *error)
{
    struct ota_core *core = intake->core;
    struct ota_product *product =
        ota_fleet_product(&core->fleet, topic->product, topic->product_len);
    if (product == NULL) {
        note_unknown(intake, topic);
        return OTA_REFUSED_UNKNOWN_PRODUCT;
    }
    *device = ota_fleet_device(&core->fleet, product, topic->device, topic->device_len);
    if (*device != NULL) {
        return OTA_REFUSAL_COUNT;
    }
    if (!core->settings.auto_register) {
        return OTA_REFUSED_UNKNOWN_DEVICE;
    }
    if (product->devices >= core->settings.max_devices_per_product) {
        return OTA_REFUSED_DEVICE_LIMIT;
    }
    if (!ota_rate_take(&registration_rate, &intake->registration_tat, core->mono_now)) {
        return OTA_REFUSED_REGISTRATION_RATE;
    }
    enum ota_err err = register_device(intake, client, product, topic, report, device, error);
    if (err != OTA_OK) {
        ota_presence_unprepare(core, client);
        return OTA_REFUSED_STORE;
    }
    return OTA_REFUSAL_COUNT;
}

/* --- the door ------------------------------------------------------------------------------- */

static enum ota_intake_verdict not_committed(struct ota_intake *intake,
                                             const struct mosquitto *client,
                                             const struct ota_error *error)
{
    intake->core->counters.store_failures++;
    if (intake->refused[OTA_REFUSED_STORE] % 100 == 0) {
        ota_log(OTA_LOG_ERROR, "a report could not be stored: %s", error->text);
    }
    ota_intake_refuse(intake, client, OTA_REFUSED_STORE);
    return OTA_INTAKE_NOT_COMMITTED;
}

/* Whether the report would be written: a percentage and the same version again would not. */
static bool is_change(const struct ota_core *core, const struct ota_device *device,
                      const struct ota_report *report)
{
    if (report->says == OTA_SAYS_VERSION) {
        return device->version == NULL || strcmp(device->version->text, report->version) != 0;
    }
    if (!is_target_of(device->task, report->version)) {
        return device->task == NULL && device->may_settle && report->kind == OTA_EV_DONE;
    }
    struct ota_upgrade up = device->task->up;
    struct ota_upgrade_event event = {.kind = report->kind,
                                      .percent = report->percent,
                                      .code = report->code,
                                      .service_now = core->service_ms};
    return ota_upgrade_step(&up, &event).changed;
}

/* What may be lost is ignored; what must not be isn't acknowledged, and the connection closes: the
 * device sends it again. */
static enum ota_intake_verdict too_often(struct ota_intake *intake, const struct mosquitto *client,
                                         const struct ota_device *device,
                                         const struct ota_report *report)
{
    bool change = is_change(intake->core, device, report);
    ota_intake_refuse(intake, client, OTA_REFUSED_RATE);
    return change ? OTA_INTAKE_NOT_COMMITTED : OTA_INTAKE_REFUSED;
}

static enum ota_report_kind kind_of(const struct ota_report *report)
{
    if (report->says != OTA_SAYS_PROGRESS) {
        return report->says == OTA_SAYS_VERSION ? OTA_REPORT_VERSION : OTA_REPORT_UPDATE;
    }
    switch (report->kind) {
    case OTA_EV_BURNING:
        return OTA_REPORT_BURNING;
    case OTA_EV_DONE:
        return OTA_REPORT_DONE;
    case OTA_EV_FAIL:
        return OTA_REPORT_FAIL;
    default: /* a report's progress is no other */
        return OTA_REPORT_DOWNLOADING;
    }
}

static bool sign(struct ota_core *core, const struct mosquitto *client,
                 const struct ota_topic *topic, struct ota_device *device)
{
    return topic->by_gateway ? ota_presence_sign_by_gateway(core, client, device, OTA_SIGN_REPORTED)
                             : ota_presence_sign(core, client, device, OTA_SIGN_REPORTED);
}

/* What it says goes to whom it is for. */
static enum ota_err take(struct ota_core *core, struct ota_device *device,
                         const struct ota_report *report, enum ota_refusal *refusal,
                         struct ota_error *error)
{
    bool mattered = true;
    enum ota_err err = OTA_OK;
    switch (report->says) {
    case OTA_SAYS_VERSION:
        return take_version(core, device, report, error);
    case OTA_ASKS_UPDATE:
        if (device->task == NULL) {
            *refusal = OTA_REFUSED_NO_NOTICE;
        } else {
            ota_tasks_asked_notice(core, device->task);
        }
        break;
    case OTA_SAYS_PROGRESS:
        err = tell_tasks(core, device, report, &mattered, error);
        *refusal = mattered ? *refusal : OTA_REFUSED_NO_TASK;
        break;
    case OTA_ASKS_BLOCK: /* take_block's */
    case OTA_SAYS_NOTHING:
        break;
    }
    return err;
}

/* Has a rate of its own: a device may need hundreds of them for one file. */
static void take_block(struct ota_intake *intake, const struct mosquitto *client,
                       struct ota_device *device, const struct ota_report *report, int qos)
{
    intake->by_kind[OTA_REPORT_BLOCK]++;
    if (intake->inband != NULL) {
        ota_inband_ask(intake->inband, client, device, &report->block, qos);
    }
}

static enum ota_intake_verdict take_from(struct ota_intake *intake, const struct mosquitto *client,
                                         const struct ota_topic *topic, struct ota_device *device,
                                         const struct ota_report *report, int qos)
{
    struct ota_core *core = intake->core;
    struct ota_error error = {0};
    enum ota_refusal refusal = OTA_REFUSAL_COUNT;
    if (report->says != OTA_ASKS_BLOCK &&
        !ota_rate_take(&core->settings.report_rate, &device->report_tat, core->mono_now)) {
        return too_often(intake, client, device, report);
    }
    if (!sign(core, client, topic, device)) {
        (void)ota_error_no_memory(&error);
        return not_committed(intake, client, &error);
    }
    if (report->says == OTA_ASKS_BLOCK) {
        take_block(intake, client, device, report, qos);
        return OTA_INTAKE_TAKEN;
    }
    if (take(core, device, report, &refusal, &error) != OTA_OK) {
        return not_committed(intake, client, &error);
    }
    intake->by_kind[kind_of(report)]++;
    if (refusal != OTA_REFUSAL_COUNT) {
        ota_intake_refuse(intake, client, refusal);
    }
    return OTA_INTAKE_TAKEN;
}

/* Of what is bad, a request for blocks alone is answered (device-protocol.md "Bad input"). */
static void answer_bad(struct ota_intake *intake, const struct mosquitto *client,
                       const struct ota_topic *topic)
{
    struct ota_device *device = ota_topic_device(topic, &intake->core->fleet);
    if (device != NULL && intake->inband != NULL) {
        ota_inband_ask_bad(intake->inband, client, device);
    }
}

enum ota_intake_verdict ota_intake_report(struct ota_intake *intake, const struct mosquitto *client,
                                          const struct ota_topic *topic, const void *payload,
                                          size_t len, int qos)
{
    intake->reports++;
    struct ota_report report;
    struct ota_device *device = NULL;
    struct ota_error error = {0};
    enum ota_refusal refusal = ota_report_parse(payload, len, &report);
    if (refusal != OTA_REFUSAL_COUNT && report.says == OTA_ASKS_BLOCK) {
        answer_bad(intake, client, topic);
    }
    if (refusal == OTA_REFUSAL_COUNT) {
        refusal = find_device(intake, client, topic, &report, &device, &error);
    }
    if (refusal == OTA_REFUSED_STORE) { /* the database, or memory */
        (void)ota_error_no_memory(&error);
        return not_committed(intake, client, &error);
    }
    if (refusal != OTA_REFUSAL_COUNT) {
        ota_intake_refuse(intake, client, refusal);
        return OTA_INTAKE_REFUSED;
    }
    return take_from(intake, client, topic, device, &report, qos);
}
