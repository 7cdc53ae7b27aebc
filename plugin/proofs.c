/* SPDX-License-Identifier: BSD-3-Clause */
#include "proofs.h"

#include <stdlib.h>

#include "fleet.h"

static uint64_t hash_client(const struct ota_proofs *proofs, const struct mosquitto *client)
{
    return ota_hash(&proofs->key, (uint64_t)(uintptr_t)client, "", 0);
}

static bool proof_equal(const void *item, const void *key)
{
    return ((const struct ota_proof *)item)->client == key;
}

static struct ota_proof *find(const struct ota_proofs *proofs, const struct mosquitto *client)
{
    return ota_index_find(&proofs->clients, hash_client(proofs, client), proof_equal, client);
}

void ota_proofs_init(struct ota_proofs *proofs)
{
    *proofs = (struct ota_proofs){0};
    ota_hash_key_draw(&proofs->key);
    TAILQ_INIT(&proofs->taken_back);
}

void ota_proofs_free(struct ota_proofs *proofs)
{
    struct ota_proof *proof;
    for (size_t at = 0; (proof = ota_index_next(&proofs->clients, &at)) != NULL;) {
        free(proof);
    }
    ota_index_free(&proofs->clients);
}

const struct ota_proof *ota_proofs_find(const struct ota_proofs *proofs,
                                        const struct mosquitto *client)
{
    return find(proofs, client);
}

bool ota_proofs_add(struct ota_proofs *proofs, const struct mosquitto *client, uint32_t device_id)
{
    struct ota_proof *proof = calloc(1, sizeof *proof);
    ota_proofs_remove(proofs, client);
    if (proof == NULL) {
        return false;
    }
    proof->client = client;
    proof->device_id = device_id;
    if (!ota_index_add(&proofs->clients, hash_client(proofs, client), proof)) {
        free(proof);
        return false;
    }
    LIST_INSERT_HEAD(&proofs->devices[device_id % OTA_PROOFS_BUCKETS], proof, of_device);
    return true;
}

static bool is_queued(const struct ota_proof *proof)
{
    return proof->taken_back.tqe_prev != NULL;
}

static void leave_queue(struct ota_proofs *proofs, struct ota_proof *proof)
{
    TAILQ_REMOVE(&proofs->taken_back, proof, taken_back);
    proof->taken_back.tqe_prev = NULL;
}

void ota_proofs_remove(struct ota_proofs *proofs, const struct mosquitto *client)
{
    struct ota_proof *proof = find(proofs, client);
    if (proof == NULL) {
        return;
    }
    ota_index_remove(&proofs->clients, hash_client(proofs, client), proof);
    if (proof->device_id != 0) {
        LIST_REMOVE(proof, of_device);
    } else if (is_queued(proof)) {
        leave_queue(proofs, proof);
    }
    free(proof);
}

static void take_back(struct ota_proofs *proofs, struct ota_proof *proof)
{
    LIST_REMOVE(proof, of_device);
    proof->device_id = 0;
    if (proof->seen) {
        TAILQ_INSERT_TAIL(&proofs->taken_back, proof, taken_back);
    }
}

void ota_proofs_take_back(struct ota_proofs *proofs, uint32_t device_id)
{
    struct ota_proof *next;
    struct ota_proof *proof = LIST_FIRST(&proofs->devices[device_id % OTA_PROOFS_BUCKETS]);
    for (; proof != NULL; proof = next) {
        next = LIST_NEXT(proof, of_device);
        if (proof->device_id == device_id) {
            take_back(proofs, proof);
        }
    }
}

size_t ota_proofs_take_back_gone(struct ota_proofs *proofs, size_t bucket,
                                 const struct ota_fleet *fleet)
{
    struct ota_proof *next;
    struct ota_proof *proof = LIST_FIRST(&proofs->devices[bucket]);
    size_t count = 0;
    for (; proof != NULL; proof = next, count++) {
        next = LIST_NEXT(proof, of_device);
        if (ota_fleet_device_by_id(fleet, proof->device_id) == NULL) {
            take_back(proofs, proof);
        }
    }
    return count;
}

void ota_proofs_see(struct ota_proofs *proofs, const struct mosquitto *client)
{
    struct ota_proof *proof = find(proofs, client);
    if (proof == NULL || proof->seen) {
        return;
    }
    proof->seen = true;
    if (proof->device_id == 0) {
        TAILQ_INSERT_TAIL(&proofs->taken_back, proof, taken_back);
    }
}

const struct mosquitto *ota_proofs_next_taken_back(struct ota_proofs *proofs)
{
    struct ota_proof *proof = TAILQ_FIRST(&proofs->taken_back);
    if (proof == NULL) {
        return NULL;
    }
    leave_queue(proofs, proof);
    return proof->client;
}
