/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what a test of gateways stands on: the desk, a gateway "gate/g1" with the devices d1, d2
 *       and d3 of "door" bound to it, and what its client does, let in as the plugin lets it in.
 * Thread: the test's.
 * Frees: gate_teardown.
 */
#ifndef OTA_TEST_GATE_H
#define OTA_TEST_GATE_H

#include "desk.h"

#define GATE_BOUND     3
#define GATE_OPERATION "$gateway/operation/gate/g1"
#define GATE_RESULT    "$gateway/operation/result/gate/g1"

struct gate {
    struct desk *desk;
    struct ota_device *gateway;
    struct ota_device *devices[GATE_BOUND];
    struct mosquitto client; /* the gateway's */
    struct ota_roles roles;  /* nobody has one */
};

/* For cmocka_unit_test_setup_teardown: *state is the gate. */
int gate_setup(void **state);
int gate_teardown(void **state);
void gate_restart(struct gate *gate, bool kill);

/* False: it isn't let in. */
bool gate_subscribe(struct gate *gate, const struct mosquitto *client, const char *topic);
bool gate_publish(struct gate *gate, const struct mosquitto *client, const char *topic,
                  const char *payload);

/* The gateway's client announces the device, and gets the result. */
int gate_announce(struct gate *gate, const char *type, const char *device);
/* The same, then subscribes and reports "1.0" for it: as the vendor's sample does. */
void gate_bring_up(struct gate *gate, const char *device);
/* The device's progress towards "2.0". */
void gate_says(struct gate *gate, const struct mosquitto *client, const char *device,
               const char *state);

/* A task to 2.0 for each device. */
void gate_upgrade_all(struct gate *gate);
enum ota_status gate_status(const struct ota_device *device);
/* Notices that the device's topic got since messages were cleared. */
int gate_notices(const char *device);
/* waitReason of the device's task as people see it; the caller frees. */
char *gate_wait(struct gate *gate, const char *device);

#endif
