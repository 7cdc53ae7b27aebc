/* SPDX-License-Identifier: BSD-3-Clause */
#include "guests.h"

#include <stdlib.h>

#include "guests_inside.h"
#include "link.h"

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
    for (size_t i = 0; i < OTA_GUEST_BUCKETS; i++) {
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

/* The doubted stand in front, and of these the latest comes last, as of the others. */
static void list_weak(struct ota_guests *guests, struct ota_guest *guest)
{
    struct ota_address *address = guest->address;

    guest->weak = true;
    if (!guest->doubted) {
        TAILQ_INSERT_TAIL(&guests->weak, guest, in_weak);
    } else if (guests->last_doubted == NULL) {
        TAILQ_INSERT_HEAD(&guests->weak, guest, in_weak);
    } else {
        TAILQ_INSERT_AFTER(&guests->weak, guests->last_doubted, guest, in_weak);
    }
    guests->last_doubted = guest->doubted ? guest : guests->last_doubted;
    if (address == NULL) {
        return;
    }
    if (!guest->doubted) {
        TAILQ_INSERT_TAIL(&address->weak, guest, in_weak_here);
    } else if (address->last_doubted == NULL) {
        TAILQ_INSERT_HEAD(&address->weak, guest, in_weak_here);
    } else {
        TAILQ_INSERT_AFTER(&address->weak, address->last_doubted, guest, in_weak_here);
    }
    address->last_doubted = guest->doubted ? guest : address->last_doubted;
}

static void unlist_weak(struct ota_guests *guests, struct ota_guest *guest)
{
    struct ota_address *address = guest->address;

    if (!guest->weak) {
        return;
    }
    guest->weak = false;
    if (guests->last_doubted == guest) {
        guests->last_doubted = TAILQ_PREV(guest, ota_guest_list, in_weak);
    }
    TAILQ_REMOVE(&guests->weak, guest, in_weak);
    if (address == NULL) {
        return;
    }
    if (address->last_doubted == guest) {
        address->last_doubted = TAILQ_PREV(guest, ota_guest_list, in_weak_here);
    }
    TAILQ_REMOVE(&address->weak, guest, in_weak_here);
}

void ota_guest_set_weak(struct ota_guests *guests, struct ota_guest *guest, bool weak)
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

void ota_guest_set_state(struct ota_guests *guests, struct ota_guest *guest,
                         enum ota_guest_state state, int64_t now)
{
    guests->counts.busy += (int)is_busy(state) - (int)is_busy(guest->state);
    guest->state = state;
    guest->since = now;
    guest->begun_at = 0;
    guest->left = false;
    guest->turn++;
    unlist_weak(guests, guest); /* and to the list's end, where it is weak again */
    ota_guest_set_weak(guests, guest, state == OTA_GUEST_NEW || state == OTA_GUEST_IDLE);
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
        LIST_INSERT_HEAD(&guests->by_key[(uint64_t)key % OTA_GUEST_BUCKETS], guest, by_key);
    }
}

void ota_guest_set_cut(struct ota_guests *guests, struct ota_guest *guest, enum ota_guest_cut cut)
{
    bool listed = guest->cut != OTA_CUT_NOT;

    guest->cut = cut;
    if (!listed && cut != OTA_CUT_NOT) {
        TAILQ_INSERT_TAIL(&guests->cut, guest, in_cut);
    } else if (listed && cut == OTA_CUT_NOT) {
        TAILQ_REMOVE(&guests->cut, guest, in_cut);
    }
}

void ota_guest_let_go(struct ota_guests *guests, struct ota_guest *guest)
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
    ota_guest_let_go(guests, guest);
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

/* A doubted one; or one of an address with a large share; or the longest weak of all. */
static struct ota_guest *weakest(struct ota_guests *guests)
{
    struct ota_guest *first = TAILQ_FIRST(&guests->weak);
    struct ota_address *address;

    if (first != NULL && first->doubted) {
        return first;
    }
    LIST_FOREACH(address, &guests->addresses.heavy, by_weight)
    {
        if (!TAILQ_EMPTY(&address->weak)) {
            return TAILQ_FIRST(&address->weak);
        }
    }
    return first;
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
    ota_guest_set_state(guests, guest, OTA_GUEST_NEW, now);
    if (guests->counts.present > guests->rules.places) { /* two were let in to the last place */
        (void)replace(guests, weakest(guests));
    }
    pthread_mutex_unlock(&guests->lock);
}

/* What is done before the waiting keeps the working thread from taking it once more. */
void ota_guests_leave(struct ota_guests *guests, struct ota_guest *guest)
{
    pthread_mutex_lock(&guests->lock);
    ota_guest_let_go(guests, guest);
    ota_guest_set_cut(guests, guest, OTA_CUT_NOT);
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
    ota_guest_set_state(guests, guest, OTA_GUEST_READING, now);
    pthread_mutex_unlock(&guests->lock);
}

/* Somebody else of the same key; a weak one if there is any, and of these the longest there. */
static struct ota_guest *companion(struct ota_guests *guests, const struct ota_guest *guest,
                                   int *count)
{
    struct ota_guest *found = NULL;
    struct ota_guest *other;

    *count = 0;
    LIST_FOREACH(other, &guests->by_key[(uint64_t)guest->key % OTA_GUEST_BUCKETS], by_key)
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
        ota_guest_set_cut(guests, guest,
                          ota_link_has_unsent(guest->fd) ? OTA_CUT_NOW : OTA_CUT_NOT);
    }
    if (guest->state == OTA_GUEST_READING) {
        ota_pace_rest(&guest->pace); /* of the body */
    }
    guest->doubted = false;
    set_key(guests, guest, key);
    ota_guest_set_state(guests, guest, OTA_GUEST_ASKED, now);
    thin_out(guests, guest);
    pthread_mutex_unlock(&guests->lock);
}

void ota_guests_doubt(struct ota_guests *guests, struct ota_guest *guest)
{
    pthread_mutex_lock(&guests->lock);
    unlist_weak(guests, guest); /* it goes to the doubted */
    guest->doubted = true;
    ota_guest_set_weak(guests, guest, true);
    pthread_mutex_unlock(&guests->lock);
}

/* Whether the kernel has sent it all is for the next look to see: here it would cost a system call
 * for each request. */
void ota_guests_rest(struct ota_guests *guests, struct ota_guest *guest, int64_t now)
{
    pthread_mutex_lock(&guests->lock);
    ota_guest_set_state(guests, guest, OTA_GUEST_DRAINING, now);
    pthread_mutex_unlock(&guests->lock);
}

bool ota_guests_may_be_answered(struct ota_guests *guests, const struct ota_guest *guest)
{
    pthread_mutex_lock(&guests->lock);
    bool may = !guest->gone && guest->cut != OTA_CUT_NOW;
    pthread_mutex_unlock(&guests->lock);
    return may;
}

bool ota_guests_cut(struct ota_guests *guests, int64_t key)
{
    struct ota_guest *guest;
    bool found = false;

    pthread_mutex_lock(&guests->lock);
    LIST_FOREACH(guest, &guests->by_key[(uint64_t)key % OTA_GUEST_BUCKETS], by_key)
    {
        if (guest->key == key && !guest->gone && guest->cut != OTA_CUT_NOW) {
            ota_guest_set_cut(guests, guest,
                              is_busy(guest->state) ? OTA_CUT_NOW : OTA_CUT_IF_UNSENT);
            found = true;
        }
    }
    pthread_mutex_unlock(&guests->lock);
    return found;
}

void ota_guests_count(struct ota_guests *guests, struct ota_guest_counts *counts)
{
    pthread_mutex_lock(&guests->lock);
    *counts = guests->counts;
    pthread_mutex_unlock(&guests->lock);
}
