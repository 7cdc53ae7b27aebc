/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: which connection has proved to be which device. Keyed by connection: a client id, and a
 *       user name, can be another's by the next moment.
 * Thread: the broker's.
 * Frees: ota_proofs_free.
 */
#ifndef OTA_PROOFS_H
#define OTA_PROOFS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "util/index.h"

#define OTA_PROOFS_BUCKETS 1024

struct mosquitto;
struct ota_fleet;

struct ota_proof {
    const struct mosquitto *client;
    uint32_t device_id; /* 0: it was taken back, and the connection is nobody's */
    bool seen;          /* the connection was there after it: so we are told of its end */
    LIST_ENTRY(ota_proof) of_device;
    TAILQ_ENTRY(ota_proof) taken_back;
};

LIST_HEAD(ota_proof_list, ota_proof);
TAILQ_HEAD(ota_proof_queue, ota_proof);

struct ota_proofs {
    struct ota_index clients;
    struct ota_hash_key key;
    struct ota_proof_list devices[OTA_PROOFS_BUCKETS];
    struct ota_proof_queue taken_back;
};

void ota_proofs_init(struct ota_proofs *proofs);
void ota_proofs_free(struct ota_proofs *proofs);

/* NULL: it has proved nothing. */
const struct ota_proof *ota_proofs_find(const struct ota_proofs *proofs,
                                        const struct mosquitto *client);
/* In place of what it proved before; not seen yet. False: memory is out. */
bool ota_proofs_add(struct ota_proofs *proofs, const struct mosquitto *client, uint32_t device_id);
/* Fine where there is none. */
void ota_proofs_remove(struct ota_proofs *proofs, const struct mosquitto *client);

/* The connection is there: an event is about it. Fine where it has proved nothing. */
void ota_proofs_see(struct ota_proofs *proofs, const struct mosquitto *client);

/* Whoever proved to be the device isn't it any more; ota_proofs_next_taken_back tells them, once
 * they were seen: before that the connection may have ended in its handshake, without a word. */
void ota_proofs_take_back(struct ota_proofs *proofs, uint32_t device_id);
/* The same of all in this bucket who proved to be a device that isn't there any more; how many it
 * looked at. */
size_t ota_proofs_take_back_gone(struct ota_proofs *proofs, size_t bucket,
                                 const struct ota_fleet *fleet);
/* Each is told once; NULL: no more. */
const struct mosquitto *ota_proofs_next_taken_back(struct ota_proofs *proofs);

#endif
