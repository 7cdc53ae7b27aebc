/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: broker.h for a program beside the broker: what the domain publishes goes through
 *       libmosquitto, to topics, since there are no client ids to send to.
 * Thread: one.
 * Frees: nothing.
 */
#ifndef BENCH_BROKER_SERVICE_H
#define BENCH_BROKER_SERVICE_H

struct mosquitto;

void bench_broker_is(struct mosquitto *connection);

#endif
