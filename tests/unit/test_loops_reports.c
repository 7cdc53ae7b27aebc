/* SPDX-License-Identifier: BSD-3-Clause */
/* Every allocation, every call of SQLite and every access to its files fails in turn, while a
 * device's report is taken in. What is acknowledged is there, in the database and in memory; what
 * isn't committed isn't acknowledged; and nothing good is refused, for a refusal is acknowledged,
 * too, and the device would never send it again. */
#include <stdio.h>
#include <string.h>

#include "../../plugin/presence.h"
#include "loop_world.h"

static struct world world;

#define VERSION(version) "{\"type\":\"report_version\",\"report\":{\"version\":\"" version "\"}}"
#define PROGRESS(state, more)                                                                      \
    "{\"type\":\"report_progress\",\"report\":{\"progress\":{\"state\":\"" state "\"" more         \
    "},\"version\":\"2.0\"}}"

static const struct report {
    const char *name;
    const char *device;
    const char *payload;
    const char *first; /* what it says before, where no fault is; or NULL */
} reports[] = {
    {"the same version", "d1", VERSION("1.0"), NULL},
    {"another version", "d1", VERSION("1.5"), NULL},
    {"the target's version", "d1", VERSION("2.0"), NULL},
    {"a version in other words", "d1", VERSION("1.\\u0035"), NULL},
    {"a device that is new", "n1", VERSION("1.0"), NULL},
    {"a device that is new, and at it", "n1", PROGRESS("burning", ""), NULL},
    {"downloading", "d1", PROGRESS("downloading", ",\"percent\":\"10\""), NULL},
    {"downloading on", "d1", PROGRESS("downloading", ",\"percent\":\"60\""),
     PROGRESS("downloading", ",\"percent\":\"10\"")},
    {"downloaded", "d1", PROGRESS("downloading", ",\"percent\":\"100\""), NULL},
    {"burning", "d1", PROGRESS("burning", ",\"percent\":100"), NULL},
    {"done", "d1", PROGRESS("done", ""), NULL},
    {"a version after done", "d1", VERSION("2.0"), PROGRESS("done", "")},
    {"another version after done", "d1", VERSION("1.5"), PROGRESS("done", "")},
    {"fail", "d1", PROGRESS("fail", ",\"result_code\":\"-4\",\"result_msg\":\"md5\""), NULL},
    {"fail, and again", "d3",
     PROGRESS("fail", ",\"result_code\":\"-1\",\"result_msg\":\"no \\\"network\\\"\""),
     PROGRESS("downloading", ",\"percent\":\"10\"")},
    {"late truth", "d2", PROGRESS("done", ""), NULL},
    {"done, of a batch", "b2", PROGRESS("done", ""), NULL},
    {"asks for the notice", "d1", "{\"type\":\"request_update\"}", NULL},
    {"asks for it in other words", "d1", "{\"type\":\"request_\\u0075pdate\"}",
     PROGRESS("downloading", ",\"percent\":\"10\"")},
    {"fail, of a batch", "b2", PROGRESS("fail", ",\"result_code\":\"-5\""), NULL},
};

/* With the secret that d1 has (loop_world.c); by Python's hmac. */
#define LOGIN_NAME     "doord1;21010406;abcde;92233720368547758"
#define LOGIN_PASSWORD "d0cd90e4e08a0c81f585164b19088de05d0cfa9e;hmacsha1"

struct trial {
    const struct report *report;
    struct world_state before;
    struct world_state after;
};

static enum ota_intake_verdict say(const struct report *report, const char *payload)
{
    struct ota_topic topic = {.kind = OTA_TOPIC_REPORT,
                              .product = "door",
                              .product_len = 4,
                              .device = report->device,
                              .device_len = strlen(report->device)};
    enum ota_intake_verdict verdict =
        ota_intake_report(&world.desk->intake, world_client(&world, report->device), &topic,
                          payload, strlen(payload), 1);
    faults_disarm();
    return verdict;
}

/* Who is known is connected before; d3 gets its notice first. */
static void prepare(const struct report *report)
{
    struct fixture *fix = &world.desk->fix;
    world_restore(&world);
    struct ota_device *device =
        ota_fleet_device(&fix->core.fleet, fix->product, report->device, strlen(report->device));
    if (device != NULL) {
        ota_presence_sign(&fix->core, world_client(&world, report->device), device,
                          OTA_SIGN_REPORTED);
    }
    for (int i = 0; i < 40; i++) {
        desk_later(world.desk, 100);
    }
    if (report->first != NULL) {
        assert_int_equal(say(report, report->first), OTA_INTAKE_TAKEN);
    }
    (void)world_changed(&world);
}

static void check_verdict(struct loop *loop, enum ota_intake_verdict verdict, bool done,
                          const struct trial *trial)
{
    bool changes = strcmp(trial->before.rows, trial->after.rows) != 0;
    switch (verdict) {
    case OTA_INTAKE_TAKEN:
        if (done != changes) {
            loop_lie(loop, "it was acknowledged", "not there", "there");
        }
        break;
    case OTA_INTAKE_NOT_COMMITTED:
        if (done) {
            loop_lie(loop, "it wasn't acknowledged", "there", "not there");
        }
        break;
    case OTA_INTAKE_REFUSED:
        loop_lie(loop, "the verdict", "refused", "taken, or not committed");
        break;
    }
}

static void turn(struct loop *loop, void *data)
{
    const struct trial *trial = data;
    int lies = loop->lies;
    if (loop->cold) {
        prepare(trial->report);
    }
    faults_arm(loop->kind, loop->n, loop->lasting);
    enum ota_intake_verdict verdict = say(trial->report, trial->report->payload);
    bool met = faults_fired();
    bool done = verdict == OTA_INTAKE_TAKEN;
    bool changed = world_check_as(&world, loop, done, &trial->before, &trial->after);
    check_verdict(loop, verdict, changed, trial);
    if (!met && verdict != OTA_INTAKE_TAKEN) {
        loop_lie(loop, "without a fault", "not taken", "taken");
    }
    if (loop->end) {
        world_check_kept(&world, loop, &trial->after);
    }
    if (done || loop->lies > lies) {
        prepare(trial->report);
    }
}

static void run_report(const struct report *report)
{
    struct loop loop = {.name = report->name};
    struct trial trial = {.report = report};
    prepare(report);
    trial.before = world_state(&world);
    assert_int_equal(say(report, report->payload), OTA_INTAKE_TAKEN);
    trial.after = world_state(&world);
    prepare(report);
    loop_run(&loop, turn, &trial);
    world_free_state(&trial.before);
    world_free_state(&trial.after);
}

static void test_every_report(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof reports / sizeof *reports; i++) {
        if (loop_wanted(reports[i].name)) {
            run_report(&reports[i]);
        }
    }
    assert_int_equal(loop_lies(), 0);
}

/* --- log-ins ---------------------------------------------------------------------------------- */

static uint64_t failed_logins(const struct ota_device_auth_counts *counts)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < OTA_AUTH_FAILURE_COUNT; i++) {
        sum += counts->failed[i];
    }
    return sum;
}

/* A right one is let in, or it is told that we failed: never that it was wrong. */
static void turn_login(struct loop *loop, void *data)
{
    struct ota_device_auth *auth = world.desk->around.device_auth;
    const struct ota_device_auth_counts *counts = ota_device_auth_counts(auth);
    struct ota_device_auth_counts before = *counts;
    struct mosquitto client = {.id = "doord1", .username = LOGIN_NAME};
    (void)data;
    faults_arm(loop->kind, loop->n, loop->lasting);
    enum ota_auth_verdict verdict =
        ota_device_auth_login(auth, &client, LOGIN_NAME, LOGIN_PASSWORD);
    faults_disarm();
    bool fired = faults_fired();
    bool proved = ota_device_auth_identity(auth, &client).device != NULL;
    bool blamed = counts->failed[OTA_AUTH_STORE] == before.failed[OTA_AUTH_STORE] + 1 &&
                  failed_logins(counts) == failed_logins(&before) + 1;
    if (proved != (verdict == OTA_AUTH_PROVED) || (!proved && !blamed)) {
        loop_lie(loop, "a right log-in", "refused as wrong", "let in, or we failed");
    }
    if (!fired && !proved) {
        loop_lie(loop, "without a fault", "refused", "let in");
    }
    ota_device_auth_gone(auth, &client);
}

static void test_log_in(void **state)
{
    struct loop loop = {.name = "a log-in"};
    (void)state;
    int lies = loop_lies();
    if (loop_wanted(loop.name)) {
        world_restore(&world);
        loop_run(&loop, turn_login, NULL);
    }
    assert_int_equal(loop_lies(), lies);
}

static void test_all(void **state)
{
    test_every_report(state);
    test_log_in(state);
}

int main(void)
{
    const struct CMUnitTest test = cmocka_unit_test(test_all);
    return world_main(&world, 0, &test);
}
