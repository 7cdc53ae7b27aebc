/* SPDX-License-Identifier: BSD-3-Clause */
/* An admin's message, with a real store: one answer, one response a command, nothing left open. */
#include "../unit/fixture.h"
#include "fuzz.h"

static struct fixture fix;
static struct ota_roles nobody;
static struct ota_access rules = {
    .fleet = &fix.core.fleet, .roles = &nobody, .prefix = "$ota", .prefix_len = 4};
static struct ota_intake intake = {.core = &fix.core};
static struct ota_surroundings around = {
    .core = &fix.core, .access = &rules, .intake = &intake, .dispatch = &fix.dispatch};
static struct ota_control *control;
static const char upload[] = "{\"commands\":[{\"command\":\"addFirmware\",\"product\":\"door\","
                             "\"version\":\"3.0\",\"filename\":\"a.bin\",\"size\":3,"
                             "\"sha256\":\"" FIX_SHA256 "\"}]}";

static void ask(const void *message, size_t size)
{
    static const struct mosquitto admin = {.id = "otactl-1", .username = "ann"};
    ota_control_receive(control, &admin, OTA_ROLE_ADMIN, message, size);
    for (int i = 0; i < 100 && fake_broker_message_count() == 0; i++) {
        ota_control_tick(control);
    }
    FUZZ_CHECK(fixture_count(OTA_CONTROL_RESPONSE, NULL) == 1);
    FUZZ_CHECK(!fix.core.in_transaction && fix.core.effect_count == 0);
}

static void close_up(void)
{
    fixture_close(&fix);
}

static void open_up(void)
{
    fixture_open(&fix);
    (void)atexit(close_up);
    (void)fixture_plain_task(&fix, fixture_device(&fix, "d2", "1.0"));
    fake_broker_clear_messages();
    around.uploads = ota_uploads_new(fix.core.store);
    around.tokens = ota_tokens_new();
    control = ota_control_new(&around);
    FUZZ_CHECK(around.uploads != NULL && around.tokens != NULL && control != NULL);
    ask(upload, sizeof upload - 1);
    fixture_fail_commits(true); /* each input finds the same store: it is rolled back at its end */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (control == NULL) {
        open_up();
    }
    fake_broker_clear_messages();
    ask(data, size);
    json_t *asked = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    json_t *answer = fixture_last(OTA_CONTROL_RESPONSE);
    size_t n = json_array_size(json_object_get(asked, "commands"));
    n = json_object_size(asked) != 1 || n < 1 || n > OTA_COMMANDS_A_MESSAGE ? 1 : n;
    FUZZ_CHECK(json_array_size(json_object_get(answer, "responses")) == n);
    json_decref(asked);
    json_decref(answer);
    return 0;
}
