/* SPDX-License-Identifier: BSD-3-Clause */
#include "guests.h"

#include <pthread.h>
#include <stdlib.h>

#include "link.h"

/* Looked at, or cut, between two lockings. */
#define SLICE       16
#define KEY_BUCKETS 1024

TAILQ_HEAD(guest_list, ota_guest);

struct ota_guests {
    pthread_mutex_t lock;
    pthread_cond_t unpinned;
    struct ota_guest_rules rules;
    struct ota_addresses addresses;
    struct guest_list all;  /* who was looked at last is last */
    struct guest_list weak; /* the longest weak first */
    struct guest_list cut;
    LIST_HEAD(, ota_guest) by_key[KEY_BUCKETS];
    struct ota_guest_counts counts;
    int leaving; /* gone, but not closed yet */
    int waiting; /* for unpinned */
    unsigned round;
};

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

enum ota_err ota_guests_open(const struct ota_guest_rules *rules, struct ota_guests **guests,
                             struct ota_error *error)
{
    struct ota_guests *opened = calloc(1, sizeof *opened);
    if (opened == NULL) {
        return ota_error_no_memory(error);
    }
    pthread_mutex_init(&opened->lock, NULL);
    pthread_cond_init(&opened->unpinned, NULL);
    opened->rules = *rules;
    ota_addresses_init(&opened->addresses, rules->places);
    TAILQ_INIT(&opened->all);
    TAILQ_INIT(&opened->weak);
    TAILQ_INIT(&opened->cut);
    for (size_t i = 0; i < KEY_BUCKETS; i++) {
        LIST_INIT(&opened->by_key[i]);
    }
    *guests = opened;
    return OTA_OK;
}

void ota_guests_close(struct ota_guests *guests)
{
    if (guests == NULL) {
        return;
    }
    pthread_cond_destroy(&guests->unpinned);
    pthread_mutex_destroy(&guests->lock);
    free(guests);
}

/* --- state, under the lock ------------------------------------------------------------------- */

static void list_weak(struct ota_guests *guests, struct ota_guest *guest)
{
    guest->weak = true;
    if (guest->doubted) {
        TAILQ_INSERT_HEAD(&guests->weak, guest, in_weak);
    } else {
        TAILQ_INSERT_TAIL(&guests->weak, guest, in_weak);
    }
    if (guest->address == NULL) {
        return;
    }
    if (guest->doubted) {
        TAILQ_INSERT_HEAD(&guest->address->weak, guest, in_weak_here);
    } else {
        TAILQ_INSERT_TAIL(&guest->address->weak, guest, in_weak_here);
    }
}

static void unlist_weak(struct ota_guests *guests, struct ota_guest *guest)
{
    if (!guest->weak) {
        return;
    }
    guest->weak = false;
    TAILQ_REMOVE(&guests->weak, guest, in_weak);
    if (guest->address != NULL) {
        TAILQ_REMOVE(&guest->address->weak, guest, in_weak_here);
    }
}

/* As far as what it does tells: who is doubted is weak all the same. */
static void set_weak(struct ota_guests *guests, struct ota_guest *guest, bool weak)
{
    weak = (weak || guest->doubted) && !guest->gone;
    if (weak && !guest->weak) {
        list_weak(guests, guest);
    } else if (!weak) {
        unlist_weak(guests, guest);
    }
}

static bool is_busy(enum ota_guest_state state)
{
    return state == OTA_GUEST_ASKED;
}

static void set_state(struct ota_guests *guests, struct ota_guest *guest,
                      enum ota_guest_state state, int64_t now)
{
    guests->counts.busy += (int)is_busy(state) - (int)is_busy(guest->state);
    guest->state = state;
    guest->since = now;
    guest->begun_at = 0;
    guest->left = false;
    guest->turn++;
    unlist_weak(guests, guest); /* and to the list's end, where it is weak again */
    set_weak(guests, guest, state == OTA_GUEST_NEW || state == OTA_GUEST_IDLE);
}

static void set_key(struct ota_guests *guests, struct ota_guest *guest, int64_t key)
{
    if (guest->key == key) {
        return;
    }
    if (guest->key != 0) {
        LIST_REMOVE(guest, by_key);
    }
    guest->key = key;
    if (key != 0) {
        LIST_INSERT_HEAD(&guests->by_key[(uint64_t)key % KEY_BUCKETS], guest, by_key);
    }
}

static void set_cut(struct ota_guests *guests, struct ota_guest *guest, enum ota_guest_cut cut)
{
    bool listed = guest->cut != OTA_CUT_NOT;

    guest->cut = cut;
    if (!listed && cut != OTA_CUT_NOT) {
        TAILQ_INSERT_TAIL(&guests->cut, guest, in_cut);
    } else if (listed && cut == OTA_CUT_NOT) {
        TAILQ_REMOVE(&guests->cut, guest, in_cut);
    }
}

/* Its place is free; its connection is still to be dropped. */
static void let_go(struct ota_guests *guests, struct ota_guest *guest)
{
    if (guest->gone) {
        return;
    }
    unlist_weak(guests, guest);
    guest->gone = true;
    guests->counts.present--;
    guests->leaving++;
    ota_addresses_part(&guests->addresses, guest->address);
    guest->address = NULL;
}

/* --- who comes in ---------------------------------------------------------------------------- */

static void send_away(struct ota_guests *guests, struct ota_guest *guest)
{
    bool reset = guest->state != OTA_GUEST_NEW && guest->state != OTA_GUEST_IDLE;
    let_go(guests, guest);
    ota_link_drop(guest->fd, reset);
}

static bool replace(struct ota_guests *guests, struct ota_guest *guest)
{
    if (guest == NULL) {
        return false;
    }
    guests->counts.replaced++;
    send_away(guests, guest);
    return true;
}

/* One of an address with a large share, if there is any; or the longest weak of all. */
static struct ota_guest *weakest(struct ota_guests *guests)
{
    struct ota_address *address;

    LIST_FOREACH(address, &guests->addresses.heavy, by_weight)
    {
        if (!TAILQ_EMPTY(&address->weak)) {
            return TAILQ_FIRST(&address->weak);
        }
    }
    return TAILQ_FIRST(&guests->weak);
}

static bool make_room(struct ota_guests *guests, uint64_t number)
{
    const struct ota_address *address = ota_addresses_find(&guests->addresses, number);
    int places = guests->rules.places;
    bool scarce = guests->counts.present * 4 >= places * 3;

    if (guests->leaving >= places + OTA_GUESTS_LEAVING) {
        return false; /* they have their descriptors yet: let the listener come to close them */
    }
    if (address != NULL && address->heavy && scarce) {
        return replace(guests, TAILQ_FIRST(&address->weak));
    }
    return guests->counts.present < places || replace(guests, weakest(guests));
}

bool ota_guests_admit(struct ota_guests *guests, const struct sockaddr *from)
{
    uint64_t number = ota_address_number(from);

    pthread_mutex_lock(&guests->lock);
    bool welcome = make_room(guests, number);
    guests->counts.turned_away += !welcome;
    pthread_mutex_unlock(&guests->lock);
    return welcome;
}

void ota_guests_enter(struct ota_guests *guests, struct ota_guest *guest, int fd,
                      const struct sockaddr *from, int64_t now)
{
    uint64_t number = ota_address_number(from);

    *guest = (struct ota_guest){.fd = fd};
    pthread_mutex_lock(&guests->lock);
    guest->round = guests->round;
    guest->address = ota_addresses_join(&guests->addresses, number);
    TAILQ_INSERT_TAIL(&guests->all, guest, in_all);
    guests->counts.present++;
    set_state(guests, guest, OTA_GUEST_NEW, now);
    if (guests->counts.present > guests->rules.places) { /* two were let in to the last place */
        (void)replace(guests, weakest(guests));
    }
    pthread_mutex_unlock(&guests->lock);
}

/* What is done before the waiting keeps the working thread from taking it once more. */
void ota_guests_leave(struct ota_guests *guests, struct ota_guest *guest)
{
    pthread_mutex_lock(&guests->lock);
    let_go(guests, guest);
    set_cut(guests, guest, OTA_CUT_NOT);
    set_key(guests, guest, 0);
    guests->waiting++;
    while (guest->pinned) {
        pthread_cond_wait(&guests->unpinned, &guests->lock);
    }
    guests->waiting--;
    guests->leaving--;
    guests->counts.busy -= is_busy(guest->state);
    TAILQ_REMOVE(&guests->all, guest, in_all);
    pthread_mutex_unlock(&guests->lock);
}

/* --- requests -------------------------------------------------------------------------------- */

/* Bytes that have come so far; for TLS, where nobody knows what they were. */
static uint64_t bytes_so_far(const struct ota_guest *guest)
{
    struct ota_link_traffic traffic = {0};
    (void)ota_link_look(guest->fd, &traffic);
    return traffic.received;
}

void ota_guests_read(struct ota_guests *guests, struct ota_guest *guest, int64_t now)
{
    pthread_mutex_lock(&guests->lock);
    ota_pace_rest(&guest->pace);
    guest->doubted = false;
    set_state(guests, guest, OTA_GUEST_READING, now);
    pthread_mutex_unlock(&guests->lock);
}

/* Somebody else of the same key; a weak one if there is any, and of these the longest there. */
static struct ota_guest *companion(struct ota_guests *guests, const struct ota_guest *guest,
                                   int *count)
{
    struct ota_guest *found = NULL;
    struct ota_guest *other;

    *count = 0;
    LIST_FOREACH(other, &guests->by_key[(uint64_t)guest->key % KEY_BUCKETS], by_key)
    {
        if (other->key != guest->key || other == guest || other->gone) {
            continue;
        }
        (*count)++;
        if (found == NULL || !found->weak || other->weak) {
            found = other;
        }
    }
    return found;
}

/* A device that lost its connections comes again, so it is the older ones that go. */
static void thin_out(struct ota_guests *guests, const struct ota_guest *guest)
{
    int count;

    if (guest->key == 0 || guests->rules.per_key == 0) {
        return;
    }
    struct ota_guest *other = companion(guests, guest, &count);
    if (count >= guests->rules.per_key) {
        guests->counts.crowded++;
        send_away(guests, other);
    }
}

void ota_guests_ask(struct ota_guests *guests, struct ota_guest *guest, int64_t key, size_t size,
                    int64_t now)
{
    uint64_t so_far = size > 0 ? 0 : bytes_so_far(guest);

    pthread_mutex_lock(&guests->lock);
    guest->read = size > 0 ? guest->read + size : so_far;
    if (guest->cut == OTA_CUT_IF_UNSENT) { /* what was cut is the answer before this request */
        set_cut(guests, guest, ota_link_has_unsent(guest->fd) ? OTA_CUT_NOW : OTA_CUT_NOT);
    }
    if (guest->state == OTA_GUEST_READING) {
        ota_pace_rest(&guest->pace); /* of the body */
    }
    guest->doubted = false;
    set_key(guests, guest, key);
    set_state(guests, guest, OTA_GUEST_ASKED, now);
    thin_out(guests, guest);
    pthread_mutex_unlock(&guests->lock);
}

void ota_guests_doubt(struct ota_guests *guests, struct ota_guest *guest)
{
    pthread_mutex_lock(&guests->lock);
    unlist_weak(guests, guest); /* it goes to the list's beginning */
    guest->doubted = true;
    set_weak(guests, guest, true);
    pthread_mutex_unlock(&guests->lock);
}

/* Whether the kernel has sent it all is for the next look to see: here it would cost a system call
 * for each request. */
void ota_guests_rest(struct ota_guests *guests, struct ota_guest *guest, int64_t now)
{
    pthread_mutex_lock(&guests->lock);
    set_state(guests, guest, OTA_GUEST_DRAINING, now);
    pthread_mutex_unlock(&guests->lock);
}

bool ota_guests_cut(struct ota_guests *guests, int64_t key)
{
    struct ota_guest *guest;
    bool found = false;

    pthread_mutex_lock(&guests->lock);
    LIST_FOREACH(guest, &guests->by_key[(uint64_t)key % KEY_BUCKETS], by_key)
    {
        if (guest->key == key && !guest->gone && guest->cut != OTA_CUT_NOW) {
            set_cut(guests, guest, is_busy(guest->state) ? OTA_CUT_NOW : OTA_CUT_IF_UNSENT);
            found = true;
        }
    }
    pthread_mutex_unlock(&guests->lock);
    return found;
}

/* --- the working thread ---------------------------------------------------------------------- */

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
            let_go(guests, guest);
        }
        set_cut(guests, guest, OTA_CUT_NOT);
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
    set_weak(guests, guest, verdict != OTA_PACE_FAIR);
    if (verdict == OTA_PACE_DEAD) {
        look->fate = RESET;
        guests->counts.slow++;
    }
}

static void rest(struct ota_guests *guests, struct ota_guest *guest)
{
    ota_pace_rest(&guest->pace);
    set_weak(guests, guest, false);
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
            set_state(guests, guest, OTA_GUEST_IDLE, now);
        }
        break;
    case OTA_GUEST_IDLE:
        judge_idle(guests, look, now);
        break;
    }
    if (look->fate != STAY) {
        let_go(guests, guest);
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
    while (work_slice(guests, now)) {
        while (cut_slice(guests)) {
        }
    }
    pthread_mutex_unlock(&guests->lock);
}

void ota_guests_count(struct ota_guests *guests, struct ota_guest_counts *counts)
{
    pthread_mutex_lock(&guests->lock);
    *counts = guests->counts;
    pthread_mutex_unlock(&guests->lock);
}
