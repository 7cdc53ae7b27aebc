/* SPDX-License-Identifier: BSD-3-Clause */
/* An admin's message, with a real store: each command gets one response, nothing is left open. */
#include "fuzz.h"

#include "../unit/fixture.h"

#define TICKS 100

static struct fixture fix;
static struct ota_intake intake = {.core = &fix.core};
static struct ota_access access_rules = {
    .fleet = &fix.core.fleet, .prefix = "$ota", .prefix_len = 4};
static struct ota_surroundings around;
static struct ota_control *control;
static const struct mosquitto admin = {.id = "otactl-1", .username = "ann"};

static void sit_down(void)
{
    fixture_open(&fix);
    around = (struct ota_surroundings){.core = &fix.core,
                                       .access = &access_rules,
                                       .intake = &intake,
                                       .dispatch = &fix.dispatch,
                                       .uploads = ota_uploads_new(fix.core.store),
                                       .broker_version = "2.1"};
    control = ota_control_new(&around);
    FUZZ_CHECK(around.uploads != NULL && control != NULL);
}

static void get_up(void)
{
    ota_control_free(control);
    ota_uploads_free(around.uploads);
    fixture_close(&fix);
}

static void check_answer(const uint8_t *data, size_t size)
{
    json_t *asked = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    json_t *answer = fixture_last(OTA_CONTROL_RESPONSE);
    size_t commands = json_array_size(json_object_get(asked, "commands"));
    size_t responses = json_array_size(json_object_get(answer, "responses"));
    FUZZ_CHECK(fixture_count(OTA_CONTROL_RESPONSE, NULL) == 1);
    FUZZ_CHECK(responses == commands || responses == 1); /* one: the message was refused whole */
    json_decref(asked);
    json_decref(answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (control == NULL) {
        sit_down();
        (void)atexit(get_up);
    }
    int commits = fixture_commits();
    ota_control_receive(control, &admin, OTA_ROLE_ADMIN, data, size);
    for (int i = 0; i < TICKS && fixture_count(OTA_CONTROL_RESPONSE, NULL) == 0; i++) {
        ota_control_tick(control);
    }
    check_answer(data, size);
    fixture_tick(&fix, 1000);
    fake_broker_clear_messages();
    if (fixture_commits() != commits) { /* each input finds the same store */
        get_up();
        sit_down();
    }
    return 0;
}
