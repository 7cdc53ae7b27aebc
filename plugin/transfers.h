/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: which connection serves which task, and when each last gave a sign of life.
 * Thread: any; one lock inside.
 * Frees: the caller, who also owns each struct ota_transfer, between add and remove.
 */
#ifndef OTA_TRANSFERS_H
#define OTA_TRANSFERS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

/* A connection that neither starts a request nor takes OTA_LIFE_BYTES in this time is closed. A
 * device needs ten times as much a second (tencent-sdk.md 10), so none of them gets hurt. */
#define OTA_LIFE_MS    60000
#define OTA_LIFE_BYTES (60 * 512)

/* Bytes of a response that wait in the kernel unsent: what a slow reader may hold. */
#define OTA_TRANSFER_UNSENT (128 * 1024)

#define OTA_TRANSFER_LIMIT   2000
#define OTA_TRANSFER_BUCKETS 1024

/* One connection. */
struct ota_transfer {
    TAILQ_ENTRY(ota_transfer) by_age;
    LIST_ENTRY(ota_transfer) by_task;
    int fd;
    int64_t task_id; /* of its latest request; 0: none */
    bool running;    /* a request is being answered */
    int64_t alive_at;
    uint64_t taken; /* bytes that the peer had acknowledged when it was last looked at */
};

struct ota_transfers {
    pthread_mutex_t lock;
    TAILQ_HEAD(, ota_transfer) by_age; /* the longest silent first */
    LIST_HEAD(, ota_transfer) by_task[OTA_TRANSFER_BUCKETS];
    int connections;
    int running;
};

void ota_transfers_init(struct ota_transfers *transfers);
void ota_transfers_destroy(struct ota_transfers *transfers);

/* The connection is open from add until remove: call remove before its descriptor is closed. */
void ota_transfers_add(struct ota_transfers *transfers, struct ota_transfer *transfer, int fd,
                       int64_t now);
void ota_transfers_remove(struct ota_transfers *transfers, struct ota_transfer *transfer);

/*
 * A request of this task (0: of none) began. From here on a cut hits it, so whoever reads the
 * grant after this call sees either the end of the attempt or a dead connection. A second call
 * for the same request does no harm.
 */
void ota_transfers_begin(struct ota_transfers *transfers, struct ota_transfer *transfer,
                         int64_t task_id, int64_t now);

/* Its response was handed over. A cut still drops what the kernel hasn't delivered yet. */
void ota_transfers_end(struct ota_transfers *transfers, struct ota_transfer *transfer, int64_t now);

/* Drops the task's connections at once, with what is on its way to the peer. */
void ota_transfers_cut(struct ota_transfers *transfers, int64_t task_id);

/* Closes connections without life; call it about once a second. */
void ota_transfers_sweep(struct ota_transfers *transfers, int64_t now);

/* How many connections there may be: `most` (0: OTA_TRANSFER_LIMIT), and never more than a quarter
 * of the open files, most of which belong to MQTT. */
int ota_transfers_limit(int most);

/* Sets what connections inherit from their listening socket. */
void ota_transfers_prepare(int listening);

void ota_transfers_count(struct ota_transfers *transfers, int *connections, int *running);

#endif
