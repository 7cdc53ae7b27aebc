/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: who is connected to a listener: how many there may be, how long they may dawdle, who has
 *       to go when others need a place, and who is cut. It knows sockets, but nothing of HTTP: any
 *       listener can have guests.
 * Thread: any. One lock inside, held for memory work and now and then one system call, so that
 *         the broker's thread may take it. ota_guests_work runs on one thread of the listener's.
 * Frees: ota_guests_close. A struct ota_guest is the caller's, and open between enter and leave.
 *
 * Places. When all are taken, a newcomer gets that of the guest who has been weak for longest:
 * has not sent a whole request yet, waits between requests, or takes less than the floor of what
 * it is sent. Who takes its answer at a fair pace is never dropped for another: then the newcomer
 * is turned away.
 * An address (ota_address_number) may have many devices behind it, so it may take half of all
 * places at any time and more while more than a quarter is free. Beyond that a newcomer can only
 * replace a weak guest of its own address. So one address never has more than three quarters, and
 * it is the first to lose weak guests to others.
 * A doubted guest, whose request was refused or comes from nobody known, is weak whatever it does
 * with the answer: else who reads refusals slowly enough would have a place for ever. It goes
 * before all others, the longest doubted first. And a key has a few guests only, so that one URL in
 * the wrong hands isn't enough to take all places.
 */
#ifndef OTA_GUESTS_H
#define OTA_GUESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "addresses.h"
#include "pace.h"
#include "util/error.h"

struct ota_guest_rules {
    int places;
    int64_t head_ms; /* for a whole request head: from accept, or from its first byte on */
    int64_t idle_ms; /* between an answer and the next request */
    struct ota_pace_rules pace;
    int per_key; /* guests that one key may have: with one more, the longest there goes; 0: any */
};

#define OTA_GUEST_HEAD_MS 10000
#define OTA_GUEST_IDLE_MS 60000

/* So many, beside twice the places, may be connected for a moment: those who have to go. */
#define OTA_GUESTS_LEAVING 256

enum ota_guest_state {
    OTA_GUEST_NEW,      /* its first request isn't whole */
    OTA_GUEST_READING,  /* its head is whole; its body comes, and must at a pace */
    OTA_GUEST_ASKED,    /* it waits for us, or is being sent its answer */
    OTA_GUEST_DRAINING, /* the kernel has what is left of the answer, if anything is */
    OTA_GUEST_IDLE      /* it has its answer */
};

enum ota_guest_cut { OTA_CUT_NOT, OTA_CUT_IF_UNSENT, OTA_CUT_NOW };

struct ota_guest {
    TAILQ_ENTRY(ota_guest) in_all;
    TAILQ_ENTRY(ota_guest) in_weak;
    TAILQ_ENTRY(ota_guest) in_weak_here; /* of its address */
    TAILQ_ENTRY(ota_guest) in_cut;
    LIST_ENTRY(ota_guest) by_key;
    struct ota_address *address; /* NULL: memory was out */
    int fd;
    int64_t key; /* what its latest request is about: a task; 0: nothing that is ever cut */
    enum ota_guest_state state;
    enum ota_guest_cut cut;
    unsigned turn;    /* changes with each change of state */
    int64_t since;    /* in this state */
    int64_t begun_at; /* idle: when the first byte of the next request was seen; 0: none */
    uint64_t read;    /* bytes of it that belong to requests which are whole */
    bool left;        /* it had closed its half at the last look */
    struct ota_pace pace;
    bool weak;
    bool doubted; /* until its next request */
    bool gone;    /* it was told to close, and has no place any more */
    bool pinned;  /* the working thread uses its descriptor */
    unsigned round;
};

struct ota_guests;

struct ota_guest_counts {
    int present;          /* with a place */
    int busy;             /* of these and those that are gone: asked */
    uint64_t turned_away; /* for want of a place */
    uint64_t replaced;    /* weak ones, for newcomers */
    uint64_t late;        /* without a whole request in time */
    uint64_t slow;        /* below the floor */
    uint64_t crowded;     /* more of one key than may be */
};

OTA_CHECKED enum ota_err ota_guests_open(const struct ota_guest_rules *rules,
                                         struct ota_guests **guests, struct ota_error *error);
/* All have left; NULL is fine. */
void ota_guests_close(struct ota_guests *guests);

/* Whether somebody who connects may come in; makes room where that is allowed. */
bool ota_guests_admit(struct ota_guests *guests, const struct sockaddr *from);

/* Its connection is open from enter until leave: call leave before the descriptor is closed. */
void ota_guests_enter(struct ota_guests *guests, struct ota_guest *guest, int fd,
                      const struct sockaddr *from, int64_t now);
void ota_guests_leave(struct ota_guests *guests, struct ota_guest *guest);

/* Its request's head is whole, and has a body behind it. */
void ota_guests_read(struct ota_guests *guests, struct ota_guest *guest, int64_t now);

/*
 * Its request is whole: `size` bytes, or 0 where that isn't known (TLS). From here on a cut of
 * `key` hits it, so whoever asks the database after this call sees either the end of what the key
 * stands for or a dead connection.
 */
void ota_guests_ask(struct ota_guests *guests, struct ota_guest *guest, int64_t key, size_t size,
                    int64_t now);
/* Not where it is cut already, though nobody has come to drop it yet. */
bool ota_guests_may_be_answered(struct ota_guests *guests, const struct ota_guest *guest);
/* Its request isn't worth a place that somebody else needs. */
void ota_guests_doubt(struct ota_guests *guests, struct ota_guest *guest);
/* The kernel has all of the answer. */
void ota_guests_rest(struct ota_guests *guests, struct ota_guest *guest, int64_t now);

/* Marks all that are sent something about the key, for ota_guests_work to drop at once with what
 * is on its way to them; true where there is any. */
bool ota_guests_cut(struct ota_guests *guests, int64_t key);

/* Drops whom a cut has marked. */
void ota_guests_drop_cut(struct ota_guests *guests);
/* Looks at everybody, and drops who is late or slow; about once a second. */
void ota_guests_work(struct ota_guests *guests, int64_t now);

void ota_guests_count(struct ota_guests *guests, struct ota_guest_counts *counts);

#endif
