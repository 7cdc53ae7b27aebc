/* SPDX-License-Identifier: BSD-3-Clause */
#include "throttle.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Of names and of addresses; when all are taken, the one tried longest ago is forgotten. */
#define OTA_THROTTLE_ENTRIES  512
#define OTA_THROTTLE_FIRST_MS 1000

struct entry {
    uint64_t key;
    int64_t tried_at;
    unsigned tries; /* 0: free */
};

struct part {
    struct entry entries[OTA_THROTTLE_ENTRIES];
    unsigned free_tries;
};

struct ota_throttle {
    pthread_mutex_t lock;
    unsigned char secret[16]; /* so that nobody can choose names with the same key */
    struct part users;
    struct part addresses;
    struct part homes; /* a user at an address where its password was right; that counts as a try */
};

struct ota_throttle *ota_throttle_new(void)
{
    struct ota_throttle *throttle = calloc(1, sizeof *throttle);
    if (throttle == NULL || RAND_bytes(throttle->secret, sizeof throttle->secret) != 1) {
        free(throttle);
        return NULL;
    }
    throttle->users.free_tries = OTA_THROTTLE_USER;
    throttle->addresses.free_tries = OTA_THROTTLE_ADDRESS;
    throttle->homes.free_tries = 1 + OTA_THROTTLE_USER;
    (void)pthread_mutex_init(&throttle->lock, NULL);
    return throttle;
}

void ota_throttle_free(struct ota_throttle *throttle)
{
    if (throttle != NULL) {
        (void)pthread_mutex_destroy(&throttle->lock);
        free(throttle);
    }
}

struct keys {
    uint64_t user;
    uint64_t home;
};

static struct keys keys_of(const struct ota_throttle *throttle, const char *user, uint64_t address)
{
    unsigned char digest[EVP_MAX_MD_SIZE] = {0};
    struct keys keys;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    if (ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1) {
        (void)EVP_DigestUpdate(ctx, throttle->secret, sizeof throttle->secret);
        (void)EVP_DigestUpdate(ctx, user, strlen(user));
        (void)EVP_DigestFinal_ex(ctx, digest, NULL);
    }
    EVP_MD_CTX_free(ctx);
    memcpy(&keys.user, digest, sizeof keys.user);
    memcpy(&keys.home, digest + sizeof keys.user, sizeof keys.home);
    keys.home ^= address;
    return keys;
}

static struct entry *find(struct part *part, uint64_t key)
{
    for (size_t i = 0; i < OTA_THROTTLE_ENTRIES; i++) {
        if (part->entries[i].tries > 0 && part->entries[i].key == key) {
            return &part->entries[i];
        }
    }
    return NULL;
}

static struct entry *obtain(struct part *part, uint64_t key, int64_t now)
{
    struct entry *entry = find(part, key);
    struct entry *oldest = &part->entries[0];

    if (entry != NULL) {
        if (now - entry->tried_at >= OTA_THROTTLE_MEMORY_MS) {
            entry->tries = 0;
        }
        return entry;
    }
    for (size_t i = 0; i < OTA_THROTTLE_ENTRIES && oldest->tries > 0; i++) {
        entry = &part->entries[i];
        oldest = entry->tries == 0 || entry->tried_at < oldest->tried_at ? entry : oldest;
    }
    *oldest = (struct entry){.key = key};
    return oldest;
}

static int64_t pause_after(const struct part *part, const struct entry *entry)
{
    if (entry->tries < part->free_tries) {
        return 0;
    }
    unsigned doublings = entry->tries - part->free_tries;
    int64_t pause = OTA_THROTTLE_FIRST_MS << (doublings < 16 ? doublings : 16);
    return pause < OTA_THROTTLE_MOST_MS ? pause : OTA_THROTTLE_MOST_MS;
}

static int64_t left(const struct part *part, const struct entry *entry, int64_t now)
{
    int64_t until = entry->tried_at + pause_after(part, entry);
    return entry->tries > 0 && until > now ? until - now : 0;
}

static void charge(struct entry *entry, int64_t now)
{
    entry->tries++;
    entry->tried_at = now;
}

/* Where it was at home, what others do in its name, or from its address, doesn't hold a user up. */
static struct part *part_of_user(struct ota_throttle *throttle, const struct keys *keys)
{
    return find(&throttle->homes, keys->home) != NULL ? &throttle->homes : &throttle->users;
}

static struct entry *entry_of_user(struct part *part, const struct ota_throttle *throttle,
                                   const struct keys *keys, int64_t now)
{
    return obtain(part, part == &throttle->homes ? keys->home : keys->user, now);
}

int64_t ota_throttle_try(struct ota_throttle *throttle, const char *user, uint64_t address,
                         int64_t now)
{
    struct keys keys = keys_of(throttle, user, address);

    (void)pthread_mutex_lock(&throttle->lock);
    struct part *users = part_of_user(throttle, &keys);
    struct entry *of_user = entry_of_user(users, throttle, &keys, now);
    struct entry *of_address = obtain(&throttle->addresses, address, now);
    int64_t wait = left(users, of_user, now);
    int64_t wait_there = left(&throttle->addresses, of_address, now);
    wait = users != &throttle->homes && wait_there > wait ? wait_there : wait;
    if (wait == 0) {
        charge(of_user, now);
        charge(of_address, now);
    }
    (void)pthread_mutex_unlock(&throttle->lock);
    return wait;
}

static void take_back(struct entry *entry)
{
    if (entry != NULL && entry->tries > 0) {
        entry->tries--;
    }
}

void ota_throttle_right(struct ota_throttle *throttle, const char *user, uint64_t address,
                        int64_t now)
{
    struct keys keys = keys_of(throttle, user, address);

    (void)pthread_mutex_lock(&throttle->lock);
    struct entry *of_user = find(&throttle->users, keys.user);
    struct entry *home = find(&throttle->homes, keys.home);
    if (home == NULL) {
        home = obtain(&throttle->homes, keys.home, now);
        if (of_user != NULL) {
            of_user->tries = 0;
        }
    }
    home->tries = 1;
    home->tried_at = now;
    take_back(find(&throttle->addresses, address));
    (void)pthread_mutex_unlock(&throttle->lock);
}

void ota_throttle_unchecked(struct ota_throttle *throttle, const char *user, uint64_t address)
{
    struct keys keys = keys_of(throttle, user, address);

    (void)pthread_mutex_lock(&throttle->lock);
    struct entry *home = find(&throttle->homes, keys.home);
    if (home == NULL) {
        take_back(find(&throttle->users, keys.user));
    } else if (home->tries > 1) { /* else it has just been right */
        take_back(home);
    }
    take_back(find(&throttle->addresses, address));
    (void)pthread_mutex_unlock(&throttle->lock);
}
