/* SPDX-License-Identifier: BSD-3-Clause */
#include "upgrade.h"

#include <string.h>

#include "../plugin/util/words.h"
#include "fetch.h"
#include "pattern.h"
#include "vendor.h"
#include "vendor_fetch.h"

bool ota_upgrade_is_busy(const struct ota_device *device)
{
    return device->phase == OTA_PHASE_STARTING || device->phase == OTA_PHASE_FETCHING ||
           device->phase == OTA_PHASE_BURNING;
}

static bool has_fault(const struct ota_device *device, enum ota_fault_kind kind)
{
    return device->armed && device->fault.kind == kind;
}

static void tell_fault(struct ota_device *device)
{
    ota_device_tell(device, OTA_EVENT_FAULT, "{s:s}", "fault", ota_fault_name(device->fault.kind));
}

/* The upgrade is over, well or not. */
static void conclude(struct ota_device *device, bool well)
{
    struct ota_tally *tally = &device->world->tally;
    device->armed = device->world->options->fault_always && device->fault.kind != OTA_FAULT_OK;
    device->unheard = 0;
    device->said = (struct ota_progress){0};
    if (well) {
        ota_device_tell(device, OTA_EVENT_UPGRADED, "{s:s}", "version", device->notice.version);
    }
    if (!device->counted) {
        device->counted = true;
        tally->ended++;
        tally->failed += !well;
    }
}

static void conclude_badly(struct ota_device *device)
{
    conclude(device, false);
}

/* reason may be NULL: what the code says. */
static void say_fail(struct ota_device *device, int code, const char *reason)
{
    ota_device_report_fail(device, code, reason, conclude_badly);
    ota_device_tell(device, OTA_EVENT_FAIL, "{s:s, s:i, s:s}", "version", device->notice.version,
                    "code", code, "reason", reason != NULL ? reason : ota_result_text(code));
}

static void fail(struct ota_device *device, int code, const char *reason)
{
    ota_fetch_stop(device);
    if (code == OTA_CODE_MISMATCH || (!device->vendor && code == OTA_CODE_FAILED)) {
        ota_image_drop(&device->image);
    }
    ota_device_enter(device, device->vendor ? OTA_PHASE_COOLING : OTA_PHASE_IDLE);
    say_fail(device, code, reason);
    if (device->vendor) {
        if (code == OTA_CODE_TIMED_OUT || code == OTA_CODE_MISSING || code == OTA_CODE_FORBIDDEN) {
            say_fail(device, OTA_CODE_FAILED, NULL);
        }
        int64_t ms = code == OTA_CODE_MISMATCH ? OTA_VENDOR_COOL_4_MS : OTA_VENDOR_COOL_MS;
        ota_device_report_after(device, ota_vendor_wait(device, ms));
    }
}

void ota_upgrade_fail(struct ota_device *device, int code)
{
    fail(device, code, NULL);
}

static void come_back(struct ota_device *device)
{
    ota_device_enter(device, OTA_PHASE_IDLE);
    ota_link_open(&device->link);
}

static void go_away(struct ota_device *device, int64_t ms, bool cut)
{
    ota_device_enter(device, OTA_PHASE_REBOOTING);
    ota_device_tell(device, OTA_EVENT_REBOOT, "{s:I}", "ms", (json_int_t)ms);
    ota_link_close(&device->link, cut);
    ota_device_restart(device);
    ota_device_away(device, ms, come_back);
}

static int64_t reboot_ms(const struct ota_device *device)
{
    int64_t ms = device->world->options->reboot_ms;
    return ms < 0 ? 500 : ms;
}

/* The vendor's program ends, and is started again where it was told to. */
static void end_program(struct ota_device *device, bool cut)
{
    if (device->world->options->reboot_ms >= 0) {
        go_away(device, reboot_ms(device), cut);
        return;
    }
    ota_device_enter(device, OTA_PHASE_REBOOTING);
    ota_link_close(&device->link, cut);
    ota_device_restart(device);
}

static void exit_as_vendor(struct ota_device *device)
{
    conclude(device, true);
    if (device->world->options->stays) {
        ota_device_enter(device, OTA_PHASE_IDLE);
        return;
    }
    ota_device_tell(device, OTA_EVENT_EXITED, "{s:s}", "reason", "as its sample does after done");
    end_program(device, false);
}

void ota_upgrade_crash(struct ota_device *device)
{
    ota_fetch_stop(device);
    ota_device_tell(device, OTA_EVENT_CRASHED, "{s:s}", "reason", "division by file_size 0");
    conclude(device, false);
    end_program(device, true);
}

static void reboot(struct ota_device *device)
{
    bool told = has_fault(device, OTA_FAULT_WRONG_VERSION) ||
                has_fault(device, OTA_FAULT_ROLLBACK) || has_fault(device, OTA_FAULT_NO_DONE);
    if (device->vendor && !told) {
        exit_as_vendor(device); /* its version is compiled in, and done its last word */
        return;
    }
    memcpy(device->before, device->version, sizeof device->before);
    strcpy(device->version, device->notice.version);
    if (has_fault(device, OTA_FAULT_WRONG_VERSION)) {
        tell_fault(device);
        strcpy(device->version, device->fault.version);
    }
    device->proving = true;
    go_away(device, reboot_ms(device), false);
}

static void roll_back(struct ota_device *device)
{
    tell_fault(device);
    device->armed = false;
    memcpy(device->version, device->before, sizeof device->version);
    device->proving = true;
    go_away(device, reboot_ms(device), false);
}

void ota_upgrade_proved(struct ota_device *device)
{
    if (has_fault(device, OTA_FAULT_ROLLBACK)) {
        ota_device_away(device, device->fault.number, roll_back);
        return;
    }
    conclude(device, strcmp(device->version, device->notice.version) == 0);
}

static void finish(struct ota_device *device)
{
    if (has_fault(device, OTA_FAULT_NO_DONE)) {
        tell_fault(device);
        reboot(device);
        return;
    }
    ota_device_report(device, OTA_SAID_DONE, reboot);
}

static void burn(struct ota_device *device)
{
    const struct ota_options *options = device->world->options;
    int64_t ms = device->vendor ? 0 : options->burn_ms;
    ota_device_enter(device, OTA_PHASE_BURNING);
    if (!device->vendor || options->burning) {
        ota_device_report(device, OTA_SAID_BURNING, NULL);
    }
    if (has_fault(device, OTA_FAULT_LATE)) {
        tell_fault(device);
        ms += device->fault.number;
    }
    ota_device_after(device, ms, finish);
}

static bool matches(const struct ota_device *device, const struct ota_image_digests *digests)
{
    const struct ota_notice *notice = &device->notice;
    return strcmp(digests->md5, notice->md5) == 0 && (device->vendor || notice->sha256[0] == '\0' ||
                                                      strcmp(digests->sha256, notice->sha256) == 0);
}

/* Why firmware of that size and digest isn't to be trusted, or NULL. */
static const char *flaw_of(const struct ota_device *device, const struct ota_notice *notice,
                           int64_t size, const char *sha256)
{
    const struct ota_world *world = device->world;
    struct ota_manifest manifest = {.product = world->options->product,
                                    .version = notice->version,
                                    .order = notice->order,
                                    .size = size,
                                    .sha256 = sha256};
    if (world->keys == NULL) {
        return NULL;
    }
    if (!notice->is_signed) {
        return "the firmware is not signed";
    }
    return ota_signature_fits(world->keys, &manifest, notice->signature)
               ? NULL
               : "the signature does not fit this firmware";
}

static void tell_verified(struct ota_device *device)
{
    bool both = !device->vendor && device->notice.sha256[0] != '\0';
    ota_device_tell(device, OTA_EVENT_VERIFIED, "{s:s}", "digests",
                    device->world->keys != NULL ? "md5, sha256, signature"
                    : both                      ? "md5, sha256"
                                                : "md5");
}

void ota_upgrade_complete(struct ota_device *device)
{
    struct ota_image_digests digests;
    ota_fetch_stop(device);
    device->percent = ota_fetch_percent(device);
    if (!device->vendor) { /* which says 100 as any other percentage */
        ota_device_report(device, OTA_SAID_DOWNLOADED, NULL);
    }
    int64_t size = device->image.received;
    bool good = ota_image_finish(&device->image, &digests, NULL) == OTA_OK;
    if (has_fault(device, OTA_FAULT_CORRUPT)) {
        tell_fault(device);
        good = false;
    }
    if (!good || !matches(device, &digests)) {
        ota_upgrade_fail(device, OTA_CODE_MISMATCH);
        return;
    }
    /* Once more, over what is really there: what the notice says of it is somebody's word. */
    const char *flaw = flaw_of(device, &device->notice, size, digests.sha256);
    if (flaw != NULL) {
        fail(device, OTA_CODE_MISMATCH, flaw);
        return;
    }
    tell_verified(device);
    burn(device);
}

static void strike_fail(struct ota_device *device)
{
    ota_upgrade_fail(device, (int)device->fault.number);
}

static void strike_stall(struct ota_device *device)
{
    ota_fetch_stop(device);
    ota_device_enter(device, OTA_PHASE_MUTE);
}

static void strike_reboot(struct ota_device *device)
{
    ota_fetch_stop(device);
    go_away(device, reboot_ms(device), true);
}

static void (*const strikes[OTA_FAULT_COUNT])(struct ota_device *) = {
    [OTA_FAULT_FAIL] = strike_fail,
    [OTA_FAULT_STALL] = strike_stall,
    [OTA_FAULT_REBOOT] = strike_reboot,
};

static bool swallow_silent(struct ota_device *device, const struct ota_notice *notice)
{
    device->notice = *notice;
    device->armed = false;
    ota_device_enter(device, OTA_PHASE_MUTE);
    return true;
}

static bool swallow_ignore(struct ota_device *device, const struct ota_notice *notice)
{
    (void)notice;
    return device->unheard++ < device->fault.number;
}

static bool swallow_disconnect(struct ota_device *device, const struct ota_notice *notice)
{
    (void)notice;
    device->armed = false;
    ota_link_close(&device->link, true);
    ota_device_away(device, device->fault.number, come_back);
    return true;
}

static bool (*const swallows[OTA_FAULT_COUNT])(struct ota_device *, const struct ota_notice *) = {
    [OTA_FAULT_SILENT] = swallow_silent,
    [OTA_FAULT_IGNORE] = swallow_ignore,
    [OTA_FAULT_DISCONNECT] = swallow_disconnect,
};

void ota_upgrade_strike(struct ota_device *device)
{
    ota_fetch_say(device);
    tell_fault(device);
    device->armed = false;
    strikes[device->fault.kind](device);
}

static bool is_same(const struct ota_device *device, const struct ota_notice *notice)
{
    return device->notice.task == notice->task &&
           strcmp(device->notice.version, notice->version) == 0 &&
           strcmp(device->notice.md5, notice->md5) == 0;
}

/* Why a notice changes nothing, or NULL. */
static const char *why_not(const struct ota_device *device, const struct ota_notice *notice)
{
    bool same = is_same(device, notice);
    if (device->vendor) {
        return ota_vendor_why_not(device, same);
    }
    if (device->phase == OTA_PHASE_REBOOTING || device->then == reboot) {
        return "reboots";
    }
    if (device->phase == OTA_PHASE_MUTE) {
        return same ? "silent by its fault" : NULL;
    }
    if (ota_upgrade_is_busy(device)) {
        return same ? "busy with it" : NULL;
    }
    return strcmp(device->version, notice->version) == 0 ? "runs it" : NULL;
}

static void ignore(struct ota_device *device, const char *what, const char *reason)
{
    ota_device_tell(device, OTA_EVENT_IGNORED, "{s:s, s:s}", "what", what, "reason", reason);
}

static void tell_notice(struct ota_device *device, const struct ota_notice *notice)
{
    const char *is_signed = notice->is_signed ? "signed" : NULL;
    /* json_pack() can leave texts out, but no numbers. */
    ota_device_tell(device, OTA_EVENT_NOTICE,
                    notice->task == 0 ? "{s:s, s:s*, s:I}" : "{s:s, s:s*, s:I, s:I}", "version",
                    notice->version, "signature", is_signed, "size", (json_int_t)notice->size,
                    "task", (json_int_t)notice->task);
}

static void take(struct ota_device *device, const struct ota_notice *notice)
{
    ota_fetch_stop(device);
    if (device->then == conclude_badly) {
        conclude(device, false); /* the server knows, only its acknowledgement is late */
    }
    if (device->back == roll_back) {
        ota_loop_cancel(&device->world->loop, &device->away);
    }
    device->notice = *notice;
    device->then = NULL;
    device->acked = true;
    device->said = (struct ota_progress){0};
    ota_device_enter(device, OTA_PHASE_STARTING);
    if (has_fault(device, OTA_FAULT_SLOW)) {
        tell_fault(device);
    }
    int64_t most = device->vendor ? ota_vendor_wait(device, OTA_VENDOR_POLL_MS) : 0;
    int64_t ms = ota_random_between(&device->random, 0, most);
    ota_device_after(device, ms, ota_fetch_start);
}

/* Nothing is downloaded, and what was downloaded of other firmware stays. There is no code for this
 * in the protocol; -4 is what an image gets that isn't the one that was meant. */
static void refuse(struct ota_device *device, const struct ota_notice *notice, const char *flaw)
{
    if (ota_upgrade_is_busy(device)) {
        ignore(device, "the notice", flaw);
        return;
    }
    device->notice = *notice;
    ota_device_enter(device, OTA_PHASE_IDLE);
    say_fail(device, OTA_CODE_MISMATCH, flaw);
}

void ota_upgrade_notice(struct ota_device *device, const struct ota_notice *notice)
{
    const char *reason = why_not(device, notice);
    tell_notice(device, notice);
    if (reason != NULL) {
        ignore(device, "the notice", reason);
        if (!device->vendor && is_same(device, notice)) {
            memcpy(device->notice.url, notice->url, sizeof device->notice.url);
        }
        if (!device->vendor && device->phase == OTA_PHASE_IDLE) {
            ota_device_report_version(device);
        }
        return;
    }
    bool (*swallow)(struct ota_device *, const struct ota_notice *) =
        device->armed ? swallows[device->fault.kind] : NULL;
    if (swallow != NULL && swallow(device, notice)) {
        tell_fault(device);
        return;
    }
    const char *flaw = flaw_of(device, notice, notice->size, notice->sha256);
    if (flaw != NULL) {
        refuse(device, notice, flaw);
        return;
    }
    take(device, notice);
}

void ota_upgrade_cancel(struct ota_device *device, const struct ota_notice *notice)
{
    bool same = strcmp(device->notice.version, notice->version) == 0 &&
                (notice->task == 0 || notice->task == device->notice.task);
    if (!same || !ota_upgrade_is_busy(device)) {
        ignore(device, "the cancellation", "not busy with it");
    } else if (device->phase == OTA_PHASE_BURNING) {
        ignore(device, "the cancellation", "burning already");
    } else {
        ota_fetch_stop(device);
        ota_image_drop(&device->image);
        device->then = NULL;
        device->acked = true;
        ota_device_enter(device, OTA_PHASE_IDLE);
        ota_device_tell(device, OTA_EVENT_CANCELLED, "{s:s}", "version", notice->version);
        conclude(device, false);
    }
}

void ota_upgrade_cut_off(struct ota_device *device)
{
    if (device->phase == OTA_PHASE_STARTING || device->phase == OTA_PHASE_FETCHING) {
        ota_fetch_stop(device);
        ota_vendor_fetch_close(device);
        ota_device_enter(device, OTA_PHASE_IDLE);
        device->report_due = true;
    }
}
