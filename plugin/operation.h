/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what a gateway says on $gateway/operation about the devices that it speaks for, and what it
 *       is answered (device-protocol.md "Gateways").
 * Thread: the broker's.
 * Frees: nothing.
 */
#ifndef OTA_OPERATION_H
#define OTA_OPERATION_H

#include "intake.h"

/* Devices in one message. */
#define OTA_OPERATION_DEVICES 64

/* A message on the topic by a client that is that device. What is refused is counted by the intake;
 * it is never a matter of the database, so that there is nothing to send again. */
enum ota_intake_verdict ota_operation_take(struct ota_intake *intake,
                                           const struct mosquitto *client,
                                           const struct ota_topic *topic, const void *payload,
                                           size_t len);

#endif
