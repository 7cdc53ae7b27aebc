/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the insides of guests.h, for the two files that it is made of: guests.c is who comes, asks
 *       and leaves; guests_watch.c is the thread that looks at them.
 * Thread: any that holds the lock.
 * Frees: nothing.
 */
#ifndef OTA_GUESTS_INSIDE_H
#define OTA_GUESTS_INSIDE_H

#include <pthread.h>

#include "guests.h"

#define OTA_GUEST_BUCKETS 1024

struct ota_guests {
    pthread_mutex_t lock;
    pthread_cond_t unpinned;
    struct ota_guest_rules rules;
    struct ota_addresses addresses;
    struct ota_guest_list all;      /* who was looked at last is last */
    struct ota_guest_list weak;     /* the doubted, then others; of both the longest weak first */
    struct ota_guest *last_doubted; /* of these; NULL: none is */
    struct ota_guest_list cut;
    LIST_HEAD(, ota_guest) by_key[OTA_GUEST_BUCKETS];
    struct ota_guest_counts counts;
    int leaving; /* gone, but not closed yet */
    int waiting; /* for unpinned */
    unsigned round;
    int64_t worked_at;
    bool stalled; /* long ago */
};

/* Weak as far as what it does tells: who is doubted is weak all the same. */
void ota_guest_set_weak(struct ota_guests *guests, struct ota_guest *guest, bool weak);
void ota_guest_set_state(struct ota_guests *guests, struct ota_guest *guest,
                         enum ota_guest_state state, int64_t now);
void ota_guest_set_cut(struct ota_guests *guests, struct ota_guest *guest, enum ota_guest_cut cut);

/* Its place is free; its connection is still to be dropped. */
void ota_guest_let_go(struct ota_guests *guests, struct ota_guest *guest);

#endif
