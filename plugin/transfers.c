/* SPDX-License-Identifier: BSD-3-Clause */
#include "transfers.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* The broker's thread may wait for the lock: hold it for a few system calls only. */
#define SWEEP_SLICE 32

void ota_transfers_init(struct ota_transfers *transfers)
{
    pthread_mutex_init(&transfers->lock, NULL);
    TAILQ_INIT(&transfers->by_age);
    for (size_t i = 0; i < OTA_TRANSFER_BUCKETS; i++) {
        LIST_INIT(&transfers->by_task[i]);
    }
    transfers->connections = 0;
    transfers->running = 0;
}

void ota_transfers_destroy(struct ota_transfers *transfers)
{
    pthread_mutex_destroy(&transfers->lock);
}

static void touch(struct ota_transfers *transfers, struct ota_transfer *transfer, int64_t now)
{
    TAILQ_REMOVE(&transfers->by_age, transfer, by_age);
    TAILQ_INSERT_TAIL(&transfers->by_age, transfer, by_age);
    transfer->alive_at = now;
}

static void set_task(struct ota_transfers *transfers, struct ota_transfer *transfer,
                     int64_t task_id)
{
    if (transfer->task_id == task_id) {
        return;
    }
    if (transfer->task_id != 0) {
        LIST_REMOVE(transfer, by_task);
    }
    transfer->task_id = task_id;
    if (task_id != 0) {
        size_t bucket = (size_t)task_id % OTA_TRANSFER_BUCKETS;
        LIST_INSERT_HEAD(&transfers->by_task[bucket], transfer, by_task);
    }
}

static void set_running(struct ota_transfers *transfers, struct ota_transfer *transfer,
                        bool running)
{
    transfers->running += (int)running - (int)transfer->running;
    transfer->running = running;
}

void ota_transfers_add(struct ota_transfers *transfers, struct ota_transfer *transfer, int fd,
                       int64_t now)
{
    *transfer = (struct ota_transfer){.fd = fd, .alive_at = now};
    pthread_mutex_lock(&transfers->lock);
    TAILQ_INSERT_TAIL(&transfers->by_age, transfer, by_age);
    transfers->connections++;
    pthread_mutex_unlock(&transfers->lock);
}

void ota_transfers_remove(struct ota_transfers *transfers, struct ota_transfer *transfer)
{
    pthread_mutex_lock(&transfers->lock);
    set_running(transfers, transfer, false);
    set_task(transfers, transfer, 0);
    TAILQ_REMOVE(&transfers->by_age, transfer, by_age);
    transfers->connections--;
    pthread_mutex_unlock(&transfers->lock);
}

void ota_transfers_begin(struct ota_transfers *transfers, struct ota_transfer *transfer,
                         int64_t task_id, int64_t now)
{
    pthread_mutex_lock(&transfers->lock);
    set_task(transfers, transfer, task_id);
    set_running(transfers, transfer, true);
    touch(transfers, transfer, now);
    pthread_mutex_unlock(&transfers->lock);
}

void ota_transfers_end(struct ota_transfers *transfers, struct ota_transfer *transfer, int64_t now)
{
    pthread_mutex_lock(&transfers->lock);
    set_running(transfers, transfer, false);
    touch(transfers, transfer, now);
    pthread_mutex_unlock(&transfers->lock);
}

/* Wakes the connection's thread, which closes it, and makes that a reset that throws away what was
 * still to be sent: a small image may be all in there. */
static void drop(int fd)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    (void)shutdown(fd, SHUT_RDWR);
}

static bool has_unsent(int fd)
{
    int bytes = 0;
    return ioctl(fd, SIOCOUTQ, &bytes) == 0 && bytes > 0;
}

void ota_transfers_cut(struct ota_transfers *transfers, int64_t task_id)
{
    struct ota_transfer *transfer;

    pthread_mutex_lock(&transfers->lock);
    LIST_FOREACH(transfer, &transfers->by_task[(size_t)task_id % OTA_TRANSFER_BUCKETS], by_task)
    {
        if (transfer->task_id == task_id && (transfer->running || has_unsent(transfer->fd))) {
            drop(transfer->fd);
        }
    }
    pthread_mutex_unlock(&transfers->lock);
}

static uint64_t taken_bytes(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    (void)getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len);
    return info.tcpi_bytes_acked;
}

/* Closes the connection, or gives it another OTA_LIFE_MS. */
static void look_at(struct ota_transfer *transfer)
{
    bool sending = has_unsent(transfer->fd);
    if (!transfer->running && !sending) {
        (void)shutdown(transfer->fd, SHUT_RDWR);
        return;
    }
    uint64_t taken = taken_bytes(transfer->fd);
    if (taken - transfer->taken < OTA_LIFE_BYTES) {
        drop(transfer->fd);
    }
    transfer->taken = taken;
}

/* False: nobody else is due. */
static bool sweep_slice(struct ota_transfers *transfers, int64_t now)
{
    for (int i = 0; i < SWEEP_SLICE; i++) {
        struct ota_transfer *oldest = TAILQ_FIRST(&transfers->by_age);
        if (oldest == NULL || now - oldest->alive_at < OTA_LIFE_MS) {
            return false;
        }
        look_at(oldest);
        touch(transfers, oldest, now);
    }
    return true;
}

void ota_transfers_sweep(struct ota_transfers *transfers, int64_t now)
{
    bool more = true;

    while (more) {
        pthread_mutex_lock(&transfers->lock);
        more = sweep_slice(transfers, now);
        pthread_mutex_unlock(&transfers->lock);
    }
}

int ota_transfers_limit(int most)
{
    struct rlimit files;

    most = most > 0 ? most : OTA_TRANSFER_LIMIT;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur / 4 >= (rlim_t)most) {
        return most;
    }
    return (int)(files.rlim_cur / 4);
}

void ota_transfers_prepare(int listening)
{
    const int bytes = OTA_TRANSFER_UNSENT;
    (void)setsockopt(listening, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes);
}

void ota_transfers_count(struct ota_transfers *transfers, int *connections, int *running)
{
    pthread_mutex_lock(&transfers->lock);
    *connections = transfers->connections;
    *running = transfers->running;
    pthread_mutex_unlock(&transfers->lock);
}
