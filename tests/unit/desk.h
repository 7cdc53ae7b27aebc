/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what a test of commands stands on: the fixture, and a desk at which an admin asks.
 * Thread: the test's.
 * Frees: desk_teardown.
 */
#ifndef OTA_TEST_DESK_H
#define OTA_TEST_DESK_H

#include "../../plugin/traffic.h"
#include "fixture.h"

struct desk {
    struct fixture fix;
    struct ota_access access;
    struct ota_roles roles; /* ann is an admin */
    struct ota_intake intake;
    struct ota_surroundings around;
    struct ota_control *control;
    struct ota_traffic traffic;
    struct mosquitto admin; /* "ann", with the client id "otactl-1" */
    bool has_device_auth;
};

/* For cmocka_unit_test_setup_teardown: *state is the desk. */
int desk_setup(void **state);
int desk_teardown(void **state);

/* From now on devices may have secrets. */
void desk_open_device_auth(struct desk *desk);

/* As after a restart of the broker. `kill` writes nothing before, as kill -9. */
void desk_restart(struct desk *desk, bool kill);
/* Its two halves. */
void desk_stop(struct desk *desk, bool kill);
void desk_start(struct desk *desk);
/* All that is in memory is made anew; the store stays open. */
void desk_reload(struct desk *desk);

/* Hands in one command, given without its braces. */
void desk_send(struct desk *desk, enum ota_role role, const char *command);
/* Works off what waits, for one tick of the control queue. */
void desk_tick(struct desk *desk);
/* What was answered since the last desk_send; NULL: nothing yet. The caller decrefs. */
json_t *desk_response(void);

/* Hands in a command, works it off; its response. */
json_t *desk_ask(struct desk *desk, enum ota_role role, const char *command);
/* The same by an admin, who gets data; the caller decrefs it. */
json_t *desk_data(struct desk *desk, const char *command);
void desk_good(struct desk *desk, const char *command);
/* The refusal has this code, and a sentence. */
void desk_bad(struct desk *desk, const char *command, const char *code);

/* Lets time pass, then does all that a tick of the service does. */
void desk_later(struct desk *desk, int64_t ms);

#endif
