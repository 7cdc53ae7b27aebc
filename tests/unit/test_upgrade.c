/* SPDX-License-Identifier: BSD-3-Clause */
/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "../../plugin/upgrade.h"

#define NOW     1000000
#define TIMEOUT 900000
#define DELAY   30000

/* --- helpers ---------------------------------------------------------------------------------- */

static struct ota_upgrade fresh(void)
{
    return (struct ota_upgrade){.attempt = 1, .timeout_ms = TIMEOUT, .retry_delay_ms = DELAY};
}

static struct ota_upgrade_outcome tell_at(struct ota_upgrade *up, enum ota_upgrade_event_kind kind,
                                          int64_t now)
{
    struct ota_upgrade_event event = {.kind = kind, .percent = 40, .code = -4, .service_now = now};
    return ota_upgrade_step(up, &event);
}

static struct ota_upgrade_outcome tell(struct ota_upgrade *up, enum ota_upgrade_event_kind kind)
{
    return tell_at(up, kind, NOW);
}

static struct ota_upgrade_outcome download(struct ota_upgrade *up, int percent)
{
    struct ota_upgrade_event event = {
        .kind = OTA_EV_DOWNLOADING, .percent = percent, .service_now = NOW};
    return ota_upgrade_step(up, &event);
}

static struct ota_upgrade_outcome fail_with(struct ota_upgrade *up, int code)
{
    struct ota_upgrade_event event = {.kind = OTA_EV_FAIL, .code = code, .service_now = NOW};
    return ota_upgrade_step(up, &event);
}

static struct ota_upgrade noticed(void)
{
    struct ota_upgrade up = fresh();
    (void)tell(&up, OTA_EV_NOTICED);
    return up;
}

/* An upgrade in each status, come to in the plainest way; FAILED is the device's word. */
static struct ota_upgrade in_status(enum ota_status status)
{
    static const enum ota_upgrade_event_kind last[OTA_STATUS_COUNT] = {
        [OTA_MESSAGE_SENT] = OTA_EV_NOTICED,  [OTA_DOWNLOADING] = OTA_EV_DOWNLOADING,
        [OTA_DOWNLOADED] = OTA_EV_DOWNLOADED, [OTA_UPGRADING] = OTA_EV_BURNING,
        [OTA_FAILED] = OTA_EV_FAIL,           [OTA_SUCCEEDED] = OTA_EV_DONE,
        [OTA_CANCELLED] = OTA_EV_CANCEL,
    };
    struct ota_upgrade up = fresh();
    if (status != OTA_WAITING) {
        (void)tell(&up, OTA_EV_NOTICED);
    }
    if (status > OTA_MESSAGE_SENT) {
        (void)tell(&up, last[status]);
    }
    assert_int_equal(up.status, status);
    return up;
}

/* Texts are compared by their content: an upgrade has none but retry_on, which never changes. */
static bool is_same(const struct ota_upgrade *a, const struct ota_upgrade *b)
{
    return a->status == b->status && a->confirmation == b->confirmation && a->ending == b->ending &&
           a->flags == b->flags && a->attempt == b->attempt && a->percent == b->percent &&
           a->has_result_code == b->has_result_code && a->result_code == b->result_code &&
           a->retries == b->retries && a->deadline == b->deadline &&
           a->settle_until == b->settle_until && a->retry_on == b->retry_on;
}

/* --- the whole table -------------------------------------------------------------------------- */

struct cell {
    int to; /* 0: stays and changes nothing; else the next status + 1 */
    bool ended;
};

#define STAY                                                                                       \
    {                                                                                              \
        0, false                                                                                   \
    }
#define GOES(name)                                                                                 \
    {                                                                                              \
        OTA_##name + 1, false                                                                      \
    }
#define ENDS(name)                                                                                 \
    {                                                                                              \
        OTA_##name + 1, true                                                                       \
    }

/* In the order of the events: noticed, downloading, downloaded, burning, done, fail, version of
 * the target, another version, timeout, cancel, expire, retry. */
static const struct cell expected[OTA_STATUS_COUNT][OTA_EV_COUNT] = {
    [OTA_WAITING] = {GOES(MESSAGE_SENT), GOES(DOWNLOADING), GOES(DOWNLOADED), GOES(UPGRADING),
                     ENDS(SUCCEEDED), STAY, ENDS(SUCCEEDED), STAY, STAY, ENDS(CANCELLED),
                     ENDS(CANCELLED), STAY},
    [OTA_MESSAGE_SENT] = {STAY, GOES(DOWNLOADING), GOES(DOWNLOADED), GOES(UPGRADING),
                          ENDS(SUCCEEDED), ENDS(FAILED), ENDS(SUCCEEDED), STAY, ENDS(FAILED),
                          ENDS(CANCELLED), STAY, STAY},
    [OTA_DOWNLOADING] = {STAY, STAY, GOES(DOWNLOADED), GOES(UPGRADING), ENDS(SUCCEEDED),
                         ENDS(FAILED), ENDS(SUCCEEDED), STAY, ENDS(FAILED), ENDS(CANCELLED), STAY,
                         STAY},
    [OTA_DOWNLOADED] = {STAY, GOES(DOWNLOADING), STAY, GOES(UPGRADING), ENDS(SUCCEEDED),
                        ENDS(FAILED), ENDS(SUCCEEDED), STAY, ENDS(FAILED), ENDS(CANCELLED), STAY,
                        STAY},
    [OTA_UPGRADING] = {STAY, GOES(DOWNLOADING), GOES(DOWNLOADED), STAY, ENDS(SUCCEEDED),
                       ENDS(FAILED), ENDS(SUCCEEDED), STAY, ENDS(FAILED), ENDS(CANCELLED), STAY,
                       STAY},
    [OTA_FAILED] = {STAY, STAY, STAY, STAY, STAY, STAY, STAY, STAY, STAY, STAY, STAY,
                    ENDS(WAITING)},
    [OTA_SUCCEEDED] = {STAY, STAY, STAY, STAY, STAY, STAY, ENDS(SUCCEEDED), ENDS(SUCCEEDED), STAY,
                       STAY, STAY, STAY},
    [OTA_CANCELLED] = {STAY, STAY, STAY, STAY, ENDS(SUCCEEDED), STAY, ENDS(SUCCEEDED), STAY, STAY,
                       STAY, STAY, ENDS(WAITING)},
};

static void check_pair(enum ota_status status, enum ota_upgrade_event_kind kind)
{
    const struct cell *want = &expected[status][kind];
    struct ota_upgrade up = in_status(status);
    struct ota_upgrade before = up;
    struct ota_upgrade_outcome outcome = tell(&up, kind);

    assert_int_equal(outcome.changed, want->to != 0);
    assert_int_equal(outcome.attempt_ended, want->ended);
    assert_false(outcome.percent_changed);
    if (want->to == 0) {
        assert_int_equal(up.status, status);
        assert_true(is_same(&up, &before));
    } else {
        assert_int_equal(up.status, want->to - 1);
        assert_int_equal(outcome.history_status, want->to - 1);
    }
}

static void test_every_pair(void **state)
{
    (void)state;
    for (int status = 0; status < OTA_STATUS_COUNT; status++) {
        for (int kind = 0; kind < OTA_EV_COUNT; kind++) {
            check_pair((enum ota_status)status, (enum ota_upgrade_event_kind)kind);
        }
    }
}

/* --- steps ------------------------------------------------------------------------------------ */

static void test_steps_one_by_one(void **state)
{
    static const enum ota_upgrade_event_kind way[] = {
        OTA_EV_NOTICED, OTA_EV_DOWNLOADING, OTA_EV_DOWNLOADED, OTA_EV_BURNING, OTA_EV_DONE};
    (void)state;
    struct ota_upgrade up = fresh();
    for (size_t i = 0; i < sizeof way / sizeof way[0]; i++) {
        assert_true(tell(&up, way[i]).changed);
    }
    assert_int_equal(up.status, OTA_SUCCEEDED);
    assert_int_equal(up.confirmation, OTA_PENDING);
    assert_int_equal(up.percent, 100);
    assert_int_equal(up.deadline, 0);
    assert_false(up.has_result_code);
}

static void test_start_over_after_a_reboot(void **state)
{
    (void)state;
    struct ota_upgrade up = in_status(OTA_UPGRADING);
    int64_t deadline = up.deadline;
    struct ota_upgrade_outcome outcome = download(&up, 3);
    assert_true(outcome.changed);
    assert_int_equal(up.status, OTA_DOWNLOADING);
    assert_int_equal(up.percent, 3);
    assert_int_equal(up.attempt, 1);
    assert_int_equal(up.deadline, deadline); /* the clock isn't the device's to wind up */
}

static void test_percentages(void **state)
{
    (void)state;
    struct ota_upgrade up = noticed();
    assert_true(download(&up, 0).changed);

    struct ota_upgrade_outcome same = download(&up, 0);
    assert_false(same.changed);
    assert_false(same.percent_changed);

    struct ota_upgrade_outcome more = download(&up, 55);
    assert_false(more.changed);
    assert_true(more.percent_changed);
    assert_int_equal(up.percent, 55);

    assert_true(download(&up, 54).percent_changed); /* the device's word, downwards too */
    assert_int_equal(up.percent, 54);
    assert_true(tell(&up, OTA_EV_DOWNLOADED).changed);
    assert_int_equal(up.percent, 100);
}

/* --- the clock -------------------------------------------------------------------------------- */

static void test_clock_starts_with_the_notice(void **state)
{
    (void)state;
    struct ota_upgrade up = fresh();
    assert_int_equal(up.deadline, 0);
    (void)tell_at(&up, OTA_EV_NOTICED, 5000);
    assert_int_equal(up.deadline, 5000 + TIMEOUT);
    (void)tell_at(&up, OTA_EV_BURNING, 9000);
    assert_int_equal(up.deadline, 5000 + TIMEOUT);
}

/* A device that knew the URL from before may begin without a notice. */
static void test_clock_starts_with_progress(void **state)
{
    static const enum ota_upgrade_event_kind kinds[] = {OTA_EV_DOWNLOADING, OTA_EV_DOWNLOADED,
                                                        OTA_EV_BURNING};
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct ota_upgrade up = fresh();
        assert_true(tell_at(&up, kinds[i], 7000).changed);
        assert_int_equal(up.deadline, 7000 + TIMEOUT);
        assert_true(up.flags & OTA_UPGRADE_NOTICED);
        assert_true(up.flags & OTA_UPGRADE_SENT);
    }
}

static void test_waiting_has_no_timeout(void **state)
{
    (void)state;
    struct ota_upgrade up = fresh();
    assert_false(tell_at(&up, OTA_EV_TIMEOUT, INT64_MAX / 2).changed);
}

/* --- failures --------------------------------------------------------------------------------- */

static void test_fail_keeps_the_code(void **state)
{
    (void)state;
    struct ota_upgrade up = noticed();
    struct ota_upgrade_outcome outcome = fail_with(&up, -2);
    assert_true(outcome.changed && outcome.attempt_ended);
    assert_int_equal(up.ending, OTA_ENDING_DEVICE);
    assert_true(up.has_result_code);
    assert_int_equal(up.result_code, -2);
    assert_int_equal(up.deadline, 0);
}

static void test_two_fails_are_one(void **state)
{
    (void)state;
    struct ota_upgrade up = noticed();
    assert_true(fail_with(&up, -1).changed);
    assert_false(fail_with(&up, -5).changed);
    assert_int_equal(up.result_code, -1);
    assert_int_equal(up.status, OTA_FAILED);
}

/* The echo of a failure that was retried must not fail the attempt that has not begun. */
static void test_two_fails_are_one_retry(void **state)
{
    (void)state;
    struct ota_upgrade up = noticed();
    up.retry_max = 3;
    assert_true(fail_with(&up, -1).changed);
    assert_int_equal(up.attempt, 2);
    assert_false(fail_with(&up, -1).changed);
    assert_int_equal(up.attempt, 2);
    assert_int_equal(up.retries, 1);
}

static void test_timeout(void **state)
{
    (void)state;
    struct ota_upgrade up = in_status(OTA_DOWNLOADING);
    struct ota_upgrade_outcome outcome = tell(&up, OTA_EV_TIMEOUT);
    assert_true(outcome.attempt_ended);
    assert_int_equal(outcome.history_status, OTA_FAILED);
    assert_int_equal(up.status, OTA_FAILED);
    assert_int_equal(up.ending, OTA_ENDING_TIMEOUT);
    assert_false(up.has_result_code);
    assert_int_equal(up.deadline, 0);
}

/* --- automatic retries ------------------------------------------------------------------------ */

static void test_retry_waits_its_delay(void **state)
{
    (void)state;
    struct ota_upgrade up = in_status(OTA_UPGRADING);
    up.retry_max = 1;
    struct ota_upgrade_outcome outcome = fail_with(&up, -1);
    assert_true(outcome.changed && outcome.attempt_ended);
    assert_int_equal(outcome.history_status, OTA_FAILED);
    assert_int_equal(up.status, OTA_WAITING);
    assert_int_equal(up.attempt, 2);
    assert_int_equal(up.percent, 0);
    assert_int_equal(up.deadline, NOW + DELAY);
    assert_false(up.flags & (OTA_UPGRADE_NOTICED | OTA_UPGRADE_EVIDENCE));
    assert_true(up.flags & OTA_UPGRADE_SENT);
    assert_true(up.has_result_code); /* it is still told why */
    assert_int_equal(up.result_code, -1);

    (void)tell_at(&up, OTA_EV_NOTICED, NOW + DELAY);
    assert_int_equal(up.deadline, NOW + DELAY + TIMEOUT);
}

static void test_retry_max(void **state)
{
    (void)state;
    struct ota_upgrade up = fresh();
    up.retry_max = 2;
    for (int i = 0; i < 2; i++) {
        (void)tell(&up, OTA_EV_NOTICED);
        (void)tell(&up, OTA_EV_TIMEOUT);
        assert_int_equal(up.status, OTA_WAITING);
    }
    (void)tell(&up, OTA_EV_NOTICED);
    (void)tell(&up, OTA_EV_TIMEOUT);
    assert_int_equal(up.status, OTA_FAILED);
    assert_int_equal(up.attempt, 3);
    assert_int_equal(up.deadline, 0);
}

static void test_retry_covers(void **state)
{
    (void)state;
    static const struct {
        const char *list;
        bool timeout;
        int code;
        bool covers;
    } rows[] = {
        {NULL, true, 0, true},         {"", true, 0, true},           {"", false, -1, true},
        {"", false, -3, true},         {"", false, -5, true},         {"", false, -2, false},
        {"", false, -4, false},        {"", false, 0, false},         {"timeout", true, 0, true},
        {"timeout", false, 0, false},  {"timeout", false, -1, false}, {"-2", false, -2, true},
        {"-2", true, -2, false},       {"-2,-4", false, -4, true},    {"-2,-4", false, -24, false},
        {"-1,timeout", true, 0, true}, {"17", false, 17, true},       {"17", false, 1, false},
        {"0", false, 0, true},         {"timeout,0", false, 0, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (ota_retry_covers(rows[i].list, rows[i].timeout, rows[i].code) != rows[i].covers) {
            fail_msg("row %zu", i);
        }
    }
}

static void test_retry_only_what_is_covered(void **state)
{
    (void)state;
    struct ota_upgrade up = noticed();
    up.retry_max = 5;
    up.retry_on = "-2,timeout";
    (void)fail_with(&up, -2);
    assert_int_equal(up.status, OTA_WAITING);
    (void)tell(&up, OTA_EV_NOTICED);
    (void)fail_with(&up, -1);
    assert_int_equal(up.status, OTA_FAILED);
    assert_int_equal(up.retries, 1);
}

static void test_retry_by_an_admin(void **state)
{
    (void)state;
    struct ota_upgrade up = noticed();
    up.retry_max = 1;
    (void)fail_with(&up, -1);
    (void)tell(&up, OTA_EV_NOTICED);
    (void)fail_with(&up, -1);
    assert_int_equal(up.status, OTA_FAILED);

    assert_true(tell(&up, OTA_EV_RETRY).changed);
    assert_int_equal(up.status, OTA_WAITING);
    assert_int_equal(up.attempt, 3);
    assert_int_equal(up.retries, 0);
    assert_int_equal(up.deadline, 0); /* at once, not after a delay */
    assert_int_equal(up.ending, OTA_ENDING_NONE);
    assert_false(up.has_result_code);

    (void)tell(&up, OTA_EV_NOTICED);
    (void)fail_with(&up, -1);
    assert_int_equal(up.status, OTA_WAITING); /* the policy's count began anew */
}

static void test_retry_only_of_failed_and_cancelled(void **state)
{
    (void)state;
    for (int status = 0; status < OTA_STATUS_COUNT; status++) {
        struct ota_upgrade up = in_status((enum ota_status)status);
        bool may = status == OTA_FAILED || status == OTA_CANCELLED;
        assert_int_equal(tell(&up, OTA_EV_RETRY).changed, may);
    }
}

/* --- late truth ------------------------------------------------------------------------------- */

static void check_late(struct ota_upgrade up, enum ota_upgrade_event_kind kind, bool comes)
{
    assert_int_equal(ota_upgrade_may_settle(&up, NOW), comes);
    struct ota_upgrade before = up;
    assert_int_equal(tell(&up, kind).changed, comes);
    if (!comes) {
        assert_true(is_same(&up, &before));
        return;
    }
    assert_int_equal(up.status, OTA_SUCCEEDED);
    assert_int_equal(up.confirmation, kind == OTA_EV_DONE ? OTA_PENDING : OTA_CONFIRMED);
    assert_true(up.flags & OTA_UPGRADE_LATE);
    assert_int_equal(up.ending, OTA_ENDING_NONE);
    assert_false(up.has_result_code);
    assert_int_equal(up.settle_until, NOW + TIMEOUT);
}

static void check_late_both(struct ota_upgrade up, bool comes)
{
    check_late(up, OTA_EV_DONE, comes);
    check_late(up, OTA_EV_VERSION_TARGET, comes);
}

static void test_late_after_timeout(void **state)
{
    (void)state;
    struct ota_upgrade up = noticed();
    (void)tell(&up, OTA_EV_TIMEOUT);
    check_late_both(up, true);
    assert_false(tell(&up, OTA_EV_FAIL).changed); /* but nothing else comes late */
    assert_false(download(&up, 50).changed);
}

static void test_late_after_cancel(void **state)
{
    (void)state;
    struct ota_upgrade unsent = fresh();
    (void)tell(&unsent, OTA_EV_CANCEL);
    check_late_both(unsent, false);

    struct ota_upgrade sent = noticed();
    (void)tell(&sent, OTA_EV_CANCEL);
    check_late_both(sent, true);
}

/* The notice of the attempt before was out: the device may still be at it. */
static void test_late_after_cancel_of_a_retry(void **state)
{
    (void)state;
    struct ota_upgrade up = noticed();
    up.retry_max = 1;
    (void)tell(&up, OTA_EV_TIMEOUT);
    assert_int_equal(up.status, OTA_WAITING);
    (void)tell(&up, OTA_EV_CANCEL);
    check_late_both(up, true);
}

static void test_never_late_after_expiry(void **state)
{
    (void)state;
    struct ota_upgrade up = fresh();
    (void)tell(&up, OTA_EV_EXPIRE);
    assert_int_equal(up.ending, OTA_ENDING_EXPIRED);
    check_late_both(up, false);

    struct ota_upgrade retried = noticed();
    retried.retry_max = 1;
    (void)tell(&retried, OTA_EV_TIMEOUT);
    (void)tell(&retried, OTA_EV_EXPIRE);
    assert_int_equal(retried.status, OTA_CANCELLED);
    check_late_both(retried, false);
}

static void test_never_late_after_the_device_gave_up(void **state)
{
    (void)state;
    check_late_both(in_status(OTA_FAILED), false);

    struct ota_upgrade up = noticed(); /* the last attempt counts, not an earlier timeout */
    up.retry_max = 1;
    (void)tell(&up, OTA_EV_TIMEOUT);
    (void)tell(&up, OTA_EV_NOTICED);
    (void)fail_with(&up, -1);
    check_late_both(up, false);
}

/* --- confirmation ----------------------------------------------------------------------------- */

static void test_proof_without_done(void **state)
{
    (void)state;
    for (int status = OTA_WAITING; status <= OTA_UPGRADING; status++) {
        struct ota_upgrade up = in_status((enum ota_status)status);
        assert_true(tell(&up, OTA_EV_VERSION_TARGET).changed);
        assert_int_equal(up.status, OTA_SUCCEEDED);
        assert_int_equal(up.confirmation, OTA_CONFIRMED);
    }
}

static void test_latest_report_decides_in_the_window(void **state)
{
    (void)state;
    struct ota_upgrade up = in_status(OTA_SUCCEEDED);
    int64_t end = NOW + TIMEOUT;
    assert_int_equal(up.settle_until, end);
    assert_true(tell_at(&up, OTA_EV_VERSION_OTHER, NOW + 1).changed);
    assert_int_equal(up.confirmation, OTA_CONTRADICTED);
    assert_false(tell_at(&up, OTA_EV_VERSION_OTHER, NOW + 2).changed);
    assert_true(tell_at(&up, OTA_EV_VERSION_TARGET, NOW + 3).changed);
    assert_int_equal(up.confirmation, OTA_CONFIRMED);
    assert_false(tell_at(&up, OTA_EV_VERSION_TARGET, NOW + 4).changed);
    assert_true(tell_at(&up, OTA_EV_VERSION_OTHER, end).changed); /* the window's last moment */
    assert_int_equal(up.confirmation, OTA_CONTRADICTED);
    assert_int_equal(up.status, OTA_SUCCEEDED);
    assert_int_equal(up.settle_until, end); /* reports don't widen it */
}

static void test_after_the_window_only_pending_changes(void **state)
{
    (void)state;
    int64_t late = NOW + TIMEOUT + 1;
    struct ota_upgrade pending = in_status(OTA_SUCCEEDED);
    struct ota_upgrade confirmed = pending;
    struct ota_upgrade contradicted = pending;
    (void)tell(&confirmed, OTA_EV_VERSION_TARGET);
    (void)tell(&contradicted, OTA_EV_VERSION_OTHER);

    assert_false(tell_at(&pending, OTA_EV_VERSION_OTHER, late).changed);
    assert_true(ota_upgrade_may_settle(&pending, late));
    assert_true(tell_at(&pending, OTA_EV_VERSION_TARGET, late).changed);
    assert_int_equal(pending.confirmation, OTA_CONFIRMED);

    assert_false(ota_upgrade_may_settle(&confirmed, late));
    assert_false(tell_at(&confirmed, OTA_EV_VERSION_OTHER, late).changed);
    assert_false(ota_upgrade_may_settle(&contradicted, late));
    assert_false(tell_at(&contradicted, OTA_EV_VERSION_TARGET, late).changed);
}

/* --- reinstallation --------------------------------------------------------------------------- */

static void test_reinstall_wants_evidence(void **state)
{
    static const struct {
        enum ota_upgrade_event_kind kind;
        bool is_evidence;
    } rows[] = {{OTA_EV_NOTICED, false},
                {OTA_EV_DOWNLOADING, false},
                {OTA_EV_DOWNLOADED, true},
                {OTA_EV_BURNING, true}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ota_upgrade up = fresh();
        up.flags = OTA_UPGRADE_REINSTALL;
        (void)tell(&up, rows[i].kind);
        assert_int_equal(tell(&up, OTA_EV_VERSION_TARGET).changed, rows[i].is_evidence);
    }
}

static void test_reinstall_done_is_confirmed_by_a_report(void **state)
{
    (void)state;
    struct ota_upgrade up = noticed();
    up.flags |= OTA_UPGRADE_REINSTALL;
    (void)tell(&up, OTA_EV_DONE);
    assert_true(tell(&up, OTA_EV_VERSION_TARGET).changed);
    assert_int_equal(up.confirmation, OTA_CONFIRMED);
}

/* Evidence of the attempt before is none of this attempt's. */
static void test_reinstall_evidence_is_of_the_attempt(void **state)
{
    (void)state;
    struct ota_upgrade up = noticed();
    up.flags |= OTA_UPGRADE_REINSTALL;
    up.retry_max = 1;
    (void)tell(&up, OTA_EV_BURNING);
    (void)fail_with(&up, -5);
    assert_int_equal(up.status, OTA_WAITING);
    assert_false(tell(&up, OTA_EV_VERSION_TARGET).changed);
    assert_true(up.flags & OTA_UPGRADE_REINSTALL);
}

/* --- a cancelled one -------------------------------------------------------------------------- */

static void test_cancel(void **state)
{
    (void)state;
    for (int status = OTA_WAITING; status <= OTA_UPGRADING; status++) {
        struct ota_upgrade up = in_status((enum ota_status)status);
        struct ota_upgrade_outcome outcome = tell(&up, OTA_EV_CANCEL);
        assert_true(outcome.changed && outcome.attempt_ended);
        assert_int_equal(up.ending, OTA_ENDING_ADMIN);
        assert_int_equal(up.deadline, 0);
        assert_false(tell(&up, OTA_EV_CANCEL).changed);
    }
}

/* --- whatever comes --------------------------------------------------------------------------- */

static uint32_t seed;

static uint32_t draw(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

static struct ota_upgrade_event draw_event(int64_t now)
{
    static const int codes[] = {-1, -2, -3, -4, -5, 0, 7};
    return (struct ota_upgrade_event){.kind = (enum ota_upgrade_event_kind)draw(OTA_EV_COUNT),
                                      .percent = (int)draw(100),
                                      .code = codes[draw(7)],
                                      .service_now = now};
}

static struct ota_upgrade draw_upgrade(void)
{
    static const char *const lists[] = {NULL, "", "timeout", "-2,-4", "timeout,-1"};
    struct ota_upgrade up = fresh();
    up.flags = draw(2) != 0 ? OTA_UPGRADE_REINSTALL : 0;
    up.retry_max = (int)draw(4);
    up.retry_on = lists[draw(5)];
    up.timeout_ms = 1 + draw(100000);
    return up;
}

static void check_invariants(const struct ota_upgrade *before, const struct ota_upgrade *up,
                             const struct ota_upgrade_outcome *outcome)
{
    bool finished = ota_status_is_finished(up->status);
    assert_int_equal(finished, up->status >= OTA_FAILED);
    assert_in_range(up->percent, 0, 100);
    assert_in_range(up->attempt - before->attempt, 0, 1);
    if (ota_status_is_timed(up->status)) {
        assert_true(up->deadline > 0);
        assert_true(up->flags & OTA_UPGRADE_NOTICED);
    } else if (up->deadline != 0) {
        assert_int_equal(up->status, OTA_WAITING);
        assert_true(up->attempt > 1);
    }
    assert_int_equal(up->confirmation != OTA_UNCONFIRMED, up->status == OTA_SUCCEEDED);
    assert_int_equal(up->settle_until != 0, up->status == OTA_SUCCEEDED);
    assert_in_range(up->retries, 0, up->retry_max);
    assert_int_equal(up->flags & OTA_UPGRADE_REINSTALL, before->flags & OTA_UPGRADE_REINSTALL);
    if (up->status == OTA_SUCCEEDED) {
        assert_int_equal(up->percent, 100);
        assert_int_equal(up->ending, OTA_ENDING_NONE);
    }
    if (up->attempt > before->attempt) {
        assert_true(outcome->attempt_ended);
    }
    if (!outcome->changed && !outcome->percent_changed) {
        assert_true(is_same(before, up));
    }
    assert_false(outcome->changed && outcome->percent_changed);
}

/* A finished task leaves its status only by late truth or an admin's retry. */
static void check_finality(const struct ota_upgrade *before, const struct ota_upgrade *up,
                           const struct ota_upgrade_event *event)
{
    if (!ota_status_is_finished(before->status) || before->status == up->status) {
        return;
    }
    if (event->kind == OTA_EV_RETRY) {
        assert_int_not_equal(before->status, OTA_SUCCEEDED);
        return;
    }
    assert_int_equal(up->status, OTA_SUCCEEDED);
    assert_true(ota_upgrade_may_settle(before, event->service_now));
    assert_true(up->flags & OTA_UPGRADE_LATE);
}

static void run_sequence(void)
{
    struct ota_upgrade up = draw_upgrade();
    struct ota_upgrade twin = up;
    int64_t now = 1;
    for (int i = 0; i < 40; i++) {
        now += draw(50000);
        struct ota_upgrade_event event = draw_event(now);
        struct ota_upgrade before = up;
        struct ota_upgrade_outcome outcome = ota_upgrade_step(&up, &event);
        struct ota_upgrade_outcome again = ota_upgrade_step(&twin, &event);
        assert_true(is_same(&up, &twin));
        assert_int_equal(outcome.changed, again.changed);
        check_invariants(&before, &up, &outcome);
        check_finality(&before, &up, &event);
        if (!ota_upgrade_may_settle(&before, now) && ota_status_is_finished(before.status) &&
            event.kind != OTA_EV_RETRY) {
            assert_false(outcome.changed); /* may_settle lets the caller skip the read */
        }
    }
}

static void test_random_sequences(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 20000; i++) {
        seed = i;
        run_sequence();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pair),
        cmocka_unit_test(test_steps_one_by_one),
        cmocka_unit_test(test_start_over_after_a_reboot),
        cmocka_unit_test(test_percentages),
        cmocka_unit_test(test_clock_starts_with_the_notice),
        cmocka_unit_test(test_clock_starts_with_progress),
        cmocka_unit_test(test_waiting_has_no_timeout),
        cmocka_unit_test(test_fail_keeps_the_code),
        cmocka_unit_test(test_two_fails_are_one),
        cmocka_unit_test(test_two_fails_are_one_retry),
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_retry_waits_its_delay),
        cmocka_unit_test(test_retry_max),
        cmocka_unit_test(test_retry_covers),
        cmocka_unit_test(test_retry_only_what_is_covered),
        cmocka_unit_test(test_retry_by_an_admin),
        cmocka_unit_test(test_retry_only_of_failed_and_cancelled),
        cmocka_unit_test(test_late_after_timeout),
        cmocka_unit_test(test_late_after_cancel),
        cmocka_unit_test(test_late_after_cancel_of_a_retry),
        cmocka_unit_test(test_never_late_after_expiry),
        cmocka_unit_test(test_never_late_after_the_device_gave_up),
        cmocka_unit_test(test_proof_without_done),
        cmocka_unit_test(test_latest_report_decides_in_the_window),
        cmocka_unit_test(test_after_the_window_only_pending_changes),
        cmocka_unit_test(test_reinstall_wants_evidence),
        cmocka_unit_test(test_reinstall_done_is_confirmed_by_a_report),
        cmocka_unit_test(test_reinstall_evidence_is_of_the_attempt),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_random_sequences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
