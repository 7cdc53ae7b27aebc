/* SPDX-License-Identifier: BSD-3-Clause */
/* The thread that looks at everybody: who is late, slow or gone, and who is cut. */
#include "guests.h"

#include "guests_inside.h"
#include "link.h"

/* Looked at, or cut, between two lockings. Who leaves meanwhile waits for the whole slice; with
 * small ones, on a machine without a free processor, a thousand cuts took half a minute. */
#define SLICE 64

/* Without a look for so long, the process has been stopped, or the machine is overloaded. */
#define STALL_MS 5000

/* What was seen of a guest without the lock, and what follows. */
struct look {
    struct ota_guest *guest;
    unsigned turn;
    enum ota_guest_state state;
    bool unsent; /* the kernel still has bytes for it */
    bool known;  /* the next one is */
    struct ota_link_traffic traffic;
    bool unread; /* bytes that have come from it are in the kernel yet */
    enum { STAY, CLOSE, RESET } fate;
};

static void look_at(struct look *look)
{
    bool owes_us = look->state != OTA_GUEST_ASKED && look->state != OTA_GUEST_DRAINING;

    look->unsent = ota_link_has_unsent(look->guest->fd);
    if (look->unsent || owes_us) {
        look->known = ota_link_look(look->guest->fd, &look->traffic);
    }
    look->unread = owes_us && ota_link_has_unread(look->guest->fd);
}

static void pin(struct look *look, struct ota_guest *guest)
{
    guest->pinned = true;
    *look = (struct look){.guest = guest, .turn = guest->turn, .state = guest->state};
}

/* Drops without the lock, and lets those go on who wait to leave. Called and left with it. */
static void carry_out(struct ota_guests *guests, const struct look *looks, size_t count)
{
    pthread_mutex_unlock(&guests->lock);
    for (size_t i = 0; i < count; i++) {
        if (looks[i].fate != STAY) {
            ota_link_drop(looks[i].guest->fd, looks[i].fate == RESET);
        }
    }
    pthread_mutex_lock(&guests->lock);
    for (size_t i = 0; i < count; i++) {
        looks[i].guest->pinned = false;
    }
    if (guests->waiting > 0) {
        pthread_cond_broadcast(&guests->unpinned);
    }
}

static void look_at_all(struct ota_guests *guests, struct look *looks, size_t count)
{
    pthread_mutex_unlock(&guests->lock);
    for (size_t i = 0; i < count; i++) {
        look_at(&looks[i]);
    }
    pthread_mutex_lock(&guests->lock);
}

/* False: nobody is left to be cut. */
static bool cut_slice(struct ota_guests *guests)
{
    struct look looks[SLICE];
    size_t count = 0;
    struct ota_guest *guest;

    TAILQ_FOREACH(guest, &guests->cut, in_cut)
    {
        pin(&looks[count], guest);
        looks[count++].state = OTA_GUEST_DRAINING; /* has it got what it was sent? */
        if (count == SLICE) {
            break;
        }
    }
    if (count == 0) {
        return false;
    }
    look_at_all(guests, looks, count);
    for (size_t i = 0; i < count; i++) {
        guest = looks[i].guest;
        if (guest->cut == OTA_CUT_IF_UNSENT && guest->turn != looks[i].turn) {
            continue; /* it has asked since, and this cut is about another answer: look again */
        }
        if (guest->cut == OTA_CUT_NOW || (guest->cut == OTA_CUT_IF_UNSENT && looks[i].unsent)) {
            looks[i].fate = RESET;
            ota_guest_let_go(guests, guest);
        }
        ota_guest_set_cut(guests, guest, OTA_CUT_NOT);
    }
    carry_out(guests, looks, count);
    return true;
}

void ota_guests_drop_cut(struct ota_guests *guests)
{
    pthread_mutex_lock(&guests->lock);
    while (cut_slice(guests)) {
    }
    pthread_mutex_unlock(&guests->lock);
}

/* `bytes` that went one way or the other since the connection was opened. */
static void judge_pace(struct ota_guests *guests, struct look *look, uint64_t bytes, int64_t now)
{
    struct ota_guest *guest = look->guest;

    if (!look->known) {
        return;
    }
    enum ota_pace_verdict verdict = ota_pace_look(&guest->pace, &guests->rules.pace, bytes, now);
    ota_guest_set_weak(guests, guest, verdict != OTA_PACE_FAIR);
    if (verdict == OTA_PACE_DEAD) {
        look->fate = RESET;
        guests->counts.slow++;
    }
}

static void rest(struct ota_guests *guests, struct ota_guest *guest)
{
    ota_pace_rest(&guest->pace);
    ota_guest_set_weak(guests, guest, false);
}

/* It has closed without a whole request, and did so at the look before, too: what it sent then has
 * been read. The library may not notice, where bytes and the end came at once. */
static bool has_left(struct look *look)
{
    bool had_left = look->guest->left;

    look->guest->left = look->known && look->traffic.ended && !look->unread;
    return had_left && look->guest->left;
}

/* What it has sent waits to be read: it is we who are slow. */
static void judge_sending(struct ota_guests *guests, struct look *look, int64_t now)
{
    if (has_left(look)) {
        look->fate = CLOSE;
        return;
    }
    if (look->unread) {
        rest(guests, look->guest);
        return;
    }
    judge_pace(guests, look, look->traffic.received, now);
}

/* While there is something to send: a stream in which nothing happens isn't slow. */
static void judge_taking(struct ota_guests *guests, struct look *look, int64_t now)
{
    if (look->unsent) {
        judge_pace(guests, look, look->traffic.acknowledged, now);
        return;
    }
    rest(guests, look->guest);
}

static void judge_new(struct ota_guests *guests, struct look *look, int64_t now)
{
    if (now - look->guest->since >= guests->rules.head_ms) {
        look->fate = CLOSE;
        guests->counts.late++;
    } else if (has_left(look)) {
        look->fate = CLOSE;
    }
}

static void judge_idle(struct ota_guests *guests, struct look *look, int64_t now)
{
    struct ota_guest *guest = look->guest;

    if (guest->begun_at == 0 && look->known && look->traffic.received > guest->read) {
        guest->begun_at = now;
    }
    if (guest->begun_at != 0 && now - guest->begun_at >= guests->rules.head_ms) {
        look->fate = CLOSE;
        guests->counts.late++;
    } else if (now - guest->since >= guests->rules.idle_ms || has_left(look)) {
        look->fate = CLOSE;
    }
}

static void judge(struct ota_guests *guests, struct look *look, int64_t now)
{
    struct ota_guest *guest = look->guest;

    if (guest->gone || guest->turn != look->turn) {
        return; /* what was seen is not true any more */
    }
    if (guests->stalled && (look->state == OTA_GUEST_NEW || look->state == OTA_GUEST_IDLE)) {
        return; /* what has come meanwhile is to be read first */
    }
    switch (look->state) {
    case OTA_GUEST_NEW:
        judge_new(guests, look, now);
        break;
    case OTA_GUEST_READING:
        judge_sending(guests, look, now);
        break;
    case OTA_GUEST_ASKED:
        judge_taking(guests, look, now);
        break;
    case OTA_GUEST_DRAINING:
        judge_taking(guests, look, now);
        if (!look->unsent) {
            ota_guest_set_state(guests, guest, OTA_GUEST_IDLE, now);
        }
        break;
    case OTA_GUEST_IDLE:
        judge_idle(guests, look, now);
        break;
    }
    if (look->fate != STAY) {
        ota_guest_let_go(guests, guest);
    }
}

/* False: everybody has been looked at in this round. */
static bool work_slice(struct ota_guests *guests, int64_t now)
{
    struct look looks[SLICE];
    size_t count = 0;
    struct ota_guest *guest;

    while (count < SLICE && (guest = TAILQ_FIRST(&guests->all)) != NULL &&
           guest->round != guests->round) {
        guest->round = guests->round;
        TAILQ_REMOVE(&guests->all, guest, in_all);
        TAILQ_INSERT_TAIL(&guests->all, guest, in_all);
        if (!guest->gone) {
            pin(&looks[count++], guest);
        }
    }
    if (count == 0) {
        return false;
    }
    look_at_all(guests, looks, count);
    for (size_t i = 0; i < count; i++) {
        judge(guests, &looks[i], now);
    }
    carry_out(guests, looks, count);
    return true;
}

void ota_guests_work(struct ota_guests *guests, int64_t now)
{
    pthread_mutex_lock(&guests->lock);
    guests->round++;
    guests->stalled = guests->worked_at != 0 && now - guests->worked_at >= STALL_MS;
    guests->worked_at = now;
    while (work_slice(guests, now)) {
        while (cut_slice(guests)) {
        }
    }
    pthread_mutex_unlock(&guests->lock);
}
