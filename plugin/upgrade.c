/* SPDX-License-Identifier: BSD-3-Clause */
#include "upgrade.h"

#include <stdlib.h>
#include <string.h>

typedef struct ota_upgrade_outcome (*action)(struct ota_upgrade *up,
                                             const struct ota_upgrade_event *event);

#define NOTHING ((struct ota_upgrade_outcome){.changed = false})

static struct ota_upgrade_outcome changed_to(struct ota_upgrade *up, enum ota_status status)
{
    up->status = status;
    return (struct ota_upgrade_outcome){
        .changed = true, .history_status = status, .attempt_ended = ota_status_is_finished(status)};
}

static void start_clock(struct ota_upgrade *up, const struct ota_upgrade_event *event)
{
    if ((up->flags & OTA_UPGRADE_NOTICED) == 0) {
        up->flags |= OTA_UPGRADE_NOTICED | OTA_UPGRADE_SENT;
        up->deadline = event->service_now + up->timeout_ms;
    }
}

static struct ota_upgrade_outcome send(struct ota_upgrade *up,
                                       const struct ota_upgrade_event *event)
{
    start_clock(up, event);
    return changed_to(up, OTA_MESSAGE_SENT);
}

static struct ota_upgrade_outcome download(struct ota_upgrade *up,
                                           const struct ota_upgrade_event *event)
{
    bool same = up->status == OTA_DOWNLOADING;
    bool moved = up->percent != event->percent;
    up->percent = event->percent;
    if (same) {
        return (struct ota_upgrade_outcome){.percent_changed = moved};
    }
    start_clock(up, event);
    return changed_to(up, OTA_DOWNLOADING);
}

static struct ota_upgrade_outcome have_image(struct ota_upgrade *up,
                                             const struct ota_upgrade_event *event)
{
    if (up->status == OTA_DOWNLOADED) {
        return NOTHING;
    }
    start_clock(up, event);
    up->flags |= OTA_UPGRADE_EVIDENCE;
    up->percent = 100;
    return changed_to(up, OTA_DOWNLOADED);
}

static struct ota_upgrade_outcome burn(struct ota_upgrade *up,
                                       const struct ota_upgrade_event *event)
{
    if (up->status == OTA_UPGRADING) {
        return NOTHING;
    }
    start_clock(up, event);
    up->flags |= OTA_UPGRADE_EVIDENCE;
    return changed_to(up, OTA_UPGRADING);
}

static struct ota_upgrade_outcome succeed(struct ota_upgrade *up,
                                          const struct ota_upgrade_event *event,
                                          enum ota_confirmation confirmation)
{
    if (ota_status_is_finished(up->status)) {
        up->flags |= OTA_UPGRADE_LATE;
    }
    up->confirmation = confirmation;
    up->ending = OTA_ENDING_NONE;
    up->has_result_code = false;
    up->result_code = 0;
    up->percent = 100;
    up->deadline = 0;
    up->settle_until = event->service_now + up->timeout_ms;
    return changed_to(up, OTA_SUCCEEDED);
}

static struct ota_upgrade_outcome done(struct ota_upgrade *up,
                                       const struct ota_upgrade_event *event)
{
    up->flags |= OTA_UPGRADE_EVIDENCE;
    return succeed(up, event, OTA_PENDING);
}

/* A device that ran the target before proves a reinstallation only by having worked on it. */
static bool is_proof(const struct ota_upgrade *up)
{
    return (up->flags & OTA_UPGRADE_REINSTALL) == 0 || (up->flags & OTA_UPGRADE_EVIDENCE) != 0;
}

static struct ota_upgrade_outcome prove(struct ota_upgrade *up,
                                        const struct ota_upgrade_event *event)
{
    return is_proof(up) ? succeed(up, event, OTA_CONFIRMED) : NOTHING;
}

static bool truth_may_come_late(const struct ota_upgrade *up)
{
    return up->ending == OTA_ENDING_TIMEOUT ||
           (up->ending == OTA_ENDING_ADMIN && (up->flags & OTA_UPGRADE_SENT) != 0);
}

static struct ota_upgrade_outcome done_late(struct ota_upgrade *up,
                                            const struct ota_upgrade_event *event)
{
    return truth_may_come_late(up) ? done(up, event) : NOTHING;
}

static struct ota_upgrade_outcome prove_late(struct ota_upgrade *up,
                                             const struct ota_upgrade_event *event)
{
    return truth_may_come_late(up) ? prove(up, event) : NOTHING;
}

/* A new attempt: clock, percentage and URL start afresh (control-api.md "Retry"). */
static struct ota_upgrade_outcome start_over(struct ota_upgrade *up, int64_t not_before)
{
    up->attempt++;
    up->percent = 0;
    up->flags &= ~(OTA_UPGRADE_NOTICED | OTA_UPGRADE_EVIDENCE | OTA_UPGRADE_LATE);
    up->confirmation = OTA_UNCONFIRMED;
    up->deadline = not_before;
    up->settle_until = 0;
    struct ota_upgrade_outcome outcome = changed_to(up, OTA_WAITING);
    outcome.attempt_ended = true;
    return outcome;
}

static struct ota_upgrade_outcome fail_or_retry(struct ota_upgrade *up,
                                                const struct ota_upgrade_event *event)
{
    bool timeout = up->ending == OTA_ENDING_TIMEOUT;
    if (up->retries < up->retry_max && ota_retry_covers(up->retry_on, timeout, up->result_code)) {
        up->retries++;
        struct ota_upgrade_outcome outcome =
            start_over(up, event->service_now + up->retry_delay_ms);
        outcome.history_status = OTA_FAILED;
        return outcome;
    }
    up->deadline = 0;
    return changed_to(up, OTA_FAILED);
}

static struct ota_upgrade_outcome fail(struct ota_upgrade *up,
                                       const struct ota_upgrade_event *event)
{
    up->ending = OTA_ENDING_DEVICE;
    up->has_result_code = true;
    up->result_code = event->code;
    return fail_or_retry(up, event);
}

static struct ota_upgrade_outcome time_out(struct ota_upgrade *up,
                                           const struct ota_upgrade_event *event)
{
    up->ending = OTA_ENDING_TIMEOUT;
    up->has_result_code = false;
    up->result_code = 0;
    return fail_or_retry(up, event);
}

static struct ota_upgrade_outcome cancel(struct ota_upgrade *up,
                                         const struct ota_upgrade_event *event)
{
    up->ending = event->kind == OTA_EV_EXPIRE ? OTA_ENDING_EXPIRED : OTA_ENDING_ADMIN;
    up->has_result_code = false;
    up->result_code = 0;
    up->deadline = 0;
    return changed_to(up, OTA_CANCELLED);
}

static struct ota_upgrade_outcome retry(struct ota_upgrade *up,
                                        const struct ota_upgrade_event *event)
{
    (void)event;
    up->retries = 0;
    up->ending = OTA_ENDING_NONE;
    up->has_result_code = false;
    up->result_code = 0;
    return start_over(up, 0);
}

static struct ota_upgrade_outcome confirm(struct ota_upgrade *up,
                                          const struct ota_upgrade_event *event)
{
    bool open = event->service_now <= up->settle_until;
    if (up->confirmation == OTA_CONFIRMED || (up->confirmation == OTA_CONTRADICTED && !open)) {
        return NOTHING;
    }
    up->confirmation = OTA_CONFIRMED;
    return changed_to(up, OTA_SUCCEEDED);
}

static struct ota_upgrade_outcome contradict(struct ota_upgrade *up,
                                             const struct ota_upgrade_event *event)
{
    if (up->confirmation == OTA_CONTRADICTED || event->service_now > up->settle_until) {
        return NOTHING;
    }
    up->confirmation = OTA_CONTRADICTED;
    return changed_to(up, OTA_SUCCEEDED);
}

/* While a task is unfinished, the device's word moves it; steps may be skipped or repeated. */
#define UNDER_WAY                                                                                  \
    {                                                                                              \
        [OTA_EV_DOWNLOADING] = download, [OTA_EV_DOWNLOADED] = have_image,                         \
        [OTA_EV_BURNING] = burn, [OTA_EV_DONE] = done, [OTA_EV_FAIL] = fail,                       \
        [OTA_EV_VERSION_TARGET] = prove, [OTA_EV_TIMEOUT] = time_out, [OTA_EV_CANCEL] = cancel     \
    }

/*
 * The machine. What isn't named changes nothing. A waiting task takes no `fail`: no notice of
 * this attempt went out, so it is an echo of the attempt before (two fails are one failure).
 */
static const action table[OTA_STATUS_COUNT][OTA_EV_COUNT] = {
    [OTA_WAITING] = {[OTA_EV_NOTICED] = send,
                     [OTA_EV_DOWNLOADING] = download,
                     [OTA_EV_DOWNLOADED] = have_image,
                     [OTA_EV_BURNING] = burn,
                     [OTA_EV_DONE] = done,
                     [OTA_EV_VERSION_TARGET] = prove,
                     [OTA_EV_CANCEL] = cancel,
                     [OTA_EV_EXPIRE] = cancel},
    [OTA_MESSAGE_SENT] = UNDER_WAY,
    [OTA_DOWNLOADING] = UNDER_WAY,
    [OTA_DOWNLOADED] = UNDER_WAY,
    [OTA_UPGRADING] = UNDER_WAY,
    [OTA_FAILED] =
        {[OTA_EV_DONE] = done_late, [OTA_EV_VERSION_TARGET] = prove_late, [OTA_EV_RETRY] = retry},
    [OTA_SUCCEEDED] = {[OTA_EV_VERSION_TARGET] = confirm, [OTA_EV_VERSION_OTHER] = contradict},
    [OTA_CANCELLED] =
        {[OTA_EV_DONE] = done_late, [OTA_EV_VERSION_TARGET] = prove_late, [OTA_EV_RETRY] = retry},
};

struct ota_upgrade_outcome ota_upgrade_step(struct ota_upgrade *upgrade,
                                            const struct ota_upgrade_event *event)
{
    action act = table[upgrade->status][event->kind];
    return act != NULL ? act(upgrade, event) : NOTHING;
}

bool ota_upgrade_may_settle(const struct ota_upgrade *up, int64_t service_now)
{
    if (up->status == OTA_SUCCEEDED) {
        return up->confirmation == OTA_PENDING || service_now <= up->settle_until;
    }
    return ota_status_is_finished(up->status) && truth_may_come_late(up);
}

bool ota_retry_covers(const char *list, bool timeout, int code)
{
    if (list == NULL || list[0] == '\0') {
        list = "timeout,-1,-3,-5";
    }
    for (const char *item = list; item != NULL; item = strchr(item, ',')) {
        item += *item == ',';
        bool is_timeout = strncmp(item, "timeout", 7) == 0;
        if (timeout ? is_timeout : (!is_timeout && strtol(item, NULL, 10) == code)) {
            return true;
        }
    }
    return false;
}
