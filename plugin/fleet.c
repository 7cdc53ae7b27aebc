/* SPDX-License-Identifier: BSD-3-Clause */
#include "fleet.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "fleet_conn.h"
#include "fleet_gateway.h"
#include "fleet_task.h"

#define OTA_PAGE 4096u

void ota_fleet_init(struct ota_fleet *fleet)
{
    *fleet = (struct ota_fleet){.tasks = {.size = sizeof(struct ota_task)}};
    ota_hash_key_draw(&fleet->key);
}

static uint64_t hash_number(const struct ota_fleet *fleet, uint64_t number)
{
    return ota_hash(&fleet->key, number, "", 0);
}

/* --- products and firmware ------------------------------------------------------------------ */

struct name_key {
    const void *owner;
    const char *text;
    size_t len;
};

static bool is_text(const char *have, const struct name_key *want)
{
    return strncmp(have, want->text, want->len) == 0 && have[want->len] == '\0';
}

static bool product_equal(const void *item, const void *key)
{
    return is_text(((const struct ota_product *)item)->name, key);
}

struct ota_product *ota_fleet_product(const struct ota_fleet *fleet, const char *name, size_t len)
{
    struct name_key key = {NULL, name, len};
    return ota_index_find(&fleet->products, ota_hash(&fleet->key, 0, name, len), product_equal,
                          &key);
}

struct ota_product *ota_fleet_add_product(struct ota_fleet *fleet, int64_t id, const char *name)
{
    struct ota_product *product = calloc(1, sizeof *product);
    if (product == NULL) {
        return NULL;
    }
    product->id = id;
    strncpy(product->name, name, OTA_PRODUCT_MAX);
    if (!ota_index_add(&fleet->product_ids, hash_number(fleet, (uint64_t)id), product) ||
        !ota_index_add(&fleet->products, ota_hash(&fleet->key, 0, name, strlen(name)), product)) {
        ota_index_remove(&fleet->product_ids, hash_number(fleet, (uint64_t)id), product);
        free(product);
        return NULL;
    }
    return product;
}

static bool product_id_equal(const void *item, const void *key)
{
    return ((const struct ota_product *)item)->id == *(const int64_t *)key;
}

struct ota_product *ota_fleet_product_by_id(const struct ota_fleet *fleet, int64_t id)
{
    return ota_index_find(&fleet->product_ids, hash_number(fleet, (uint64_t)id), product_id_equal,
                          &id);
}

static void free_product(struct ota_product *product)
{
    void *version;
    for (size_t at = 0; (version = ota_index_next(&product->versions, &at)) != NULL;) {
        free(version);
    }
    ota_index_free(&product->versions);
    free(product);
}

static void take_name(struct ota_fleet *fleet, struct ota_product *product)
{
    struct ota_batch *batch;
    for (size_t at = 0; (batch = ota_index_next(&fleet->batches, &at)) != NULL;) {
        if (batch->product == product) {
            ota_fleet_remove_batch(fleet, batch);
            at--;
        }
    }
    struct ota_firmware *firmware;
    for (size_t at = 0; (firmware = ota_index_next(&fleet->firmware, &at)) != NULL;) {
        if (firmware->row.product_id == product->id) {
            ota_fleet_remove_firmware(fleet, firmware);
            at--;
        }
    }
    ota_index_remove(&fleet->products,
                     ota_hash(&fleet->key, 0, product->name, strlen(product->name)), product);
    ota_index_remove(&fleet->product_ids, hash_number(fleet, (uint64_t)product->id), product);
}

void ota_fleet_remove_product(struct ota_fleet *fleet, struct ota_product *product)
{
    take_name(fleet, product);
    free_product(product);
}

void ota_fleet_doom_product(struct ota_fleet *fleet, struct ota_product *product)
{
    take_name(fleet, product);
    product->name[0] = '\0';
    fleet->device_count -= product->devices;
    fleet->online_count -= product->online;
    product->next_doomed = fleet->doomed;
    fleet->doomed = product;
    fleet->doom_at = 0;
}

uint32_t ota_fleet_unfinished_of(const struct ota_fleet *fleet, const struct ota_product *product)
{
    uint32_t unfinished = 0;
    const struct ota_firmware *firmware;
    for (size_t at = 0; (firmware = ota_index_next(&fleet->firmware, &at)) != NULL;) {
        unfinished += firmware->row.product_id == product->id ? firmware->unfinished : 0;
    }
    return unfinished;
}

struct ota_firmware *ota_fleet_add_firmware(struct ota_fleet *fleet,
                                            const struct ota_firmware_row *row)
{
    struct ota_firmware *firmware = calloc(1, sizeof *firmware);
    if (firmware == NULL) {
        return NULL;
    }
    firmware->row = *row;
    if (!ota_index_add(&fleet->firmware, hash_number(fleet, (uint64_t)row->id), firmware)) {
        free(firmware);
        return NULL;
    }
    return firmware;
}

static bool firmware_equal(const void *item, const void *key)
{
    return ((const struct ota_firmware *)item)->row.id == *(const int64_t *)key;
}

struct ota_firmware *ota_fleet_firmware(const struct ota_fleet *fleet, int64_t id)
{
    return ota_index_find(&fleet->firmware, hash_number(fleet, (uint64_t)id), firmware_equal, &id);
}

struct ota_firmware *ota_fleet_firmware_of(const struct ota_fleet *fleet, int64_t product_id,
                                           const char *version)
{
    struct ota_firmware *firmware;
    for (size_t at = 0; (firmware = ota_index_next(&fleet->firmware, &at)) != NULL;) {
        if (firmware->row.product_id == product_id && strcmp(firmware->row.version, version) == 0) {
            return firmware;
        }
    }
    return NULL;
}

void ota_fleet_remove_firmware(struct ota_fleet *fleet, struct ota_firmware *firmware)
{
    ota_index_remove(&fleet->firmware, hash_number(fleet, (uint64_t)firmware->row.id), firmware);
    free(firmware);
}

/* --- devices -------------------------------------------------------------------------------- */

static uint64_t hash_device(const struct ota_fleet *fleet, const struct ota_product *product,
                            const char *name, size_t len)
{
    return ota_hash(&fleet->key, (uint64_t)product->id, name, len);
}

static bool device_equal(const void *item, const void *key)
{
    const struct ota_device *device = item;
    const struct name_key *want = key;
    return device->product == want->owner && is_text(device->name, want);
}

struct ota_device *ota_fleet_device(const struct ota_fleet *fleet,
                                    const struct ota_product *product, const char *name, size_t len)
{
    struct name_key key = {product, name, len};
    return ota_index_find(&fleet->devices, hash_device(fleet, product, name, len), device_equal,
                          &key);
}

static struct ota_device *device_at(const struct ota_fleet *fleet, int64_t id)
{
    size_t page = (size_t)id / OTA_PAGE;
    if (id <= 0 || page >= fleet->page_count || fleet->pages[page] == NULL) {
        return NULL;
    }
    return fleet->pages[page][(size_t)id % OTA_PAGE];
}

struct ota_device *ota_fleet_device_by_id(const struct ota_fleet *fleet, int64_t id)
{
    struct ota_device *device = device_at(fleet, id);
    return device != NULL && !ota_device_is_doomed(device) ? device : NULL;
}

static bool ensure_page(struct ota_fleet *fleet, size_t page)
{
    if (page >= fleet->page_count) {
        size_t count = page + 16;
        void *grown = realloc(fleet->pages, count * sizeof *fleet->pages);
        if (grown == NULL) {
            return false;
        }
        fleet->pages = grown;
        memset(fleet->pages + fleet->page_count, 0,
               (count - fleet->page_count) * sizeof *fleet->pages);
        fleet->page_count = count;
    }
    if (fleet->pages[page] == NULL) {
        fleet->pages[page] = calloc(OTA_PAGE, sizeof *fleet->pages[page]);
    }
    return fleet->pages[page] != NULL;
}

/* Room for a mark comes with the device: that a device is marked can't fail. */
static bool reserve_mark(struct ota_marks *marks, uint32_t id)
{
    size_t word = id / 64;
    if (word < marks->words) {
        return true;
    }
    size_t words = word + 1024;
    uint64_t *grown = realloc(marks->bits, words * sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    memset(grown + marks->words, 0, (words - marks->words) * sizeof *grown);
    marks->bits = grown;
    marks->words = words;
    return true;
}

static struct ota_device *new_device(const struct ota_device_row *row, struct ota_product *product)
{
    size_t name_size = strlen(row->name) + 1;
    size_t size = offsetof(struct ota_device, name) + name_size;
    struct ota_device *device = calloc(1, size > sizeof *device ? size : sizeof *device);
    if (device == NULL) {
        return NULL;
    }
    memcpy(device->name, row->name, name_size);
    device->product = product;
    device->id = (uint32_t)row->id;
    device->last_seen = row->last_seen_at;
    device->seen_hour = ota_hour_of(row->last_seen_at);
    device->hold = row->hold;
    return device;
}

struct ota_device *ota_fleet_add_device(struct ota_fleet *fleet, const struct ota_device_row *row)
{
    struct ota_product *product = ota_fleet_product_by_id(fleet, row->product_id);
    size_t page = (size_t)row->id / OTA_PAGE;
    if (product == NULL || row->id <= 0 || row->id > UINT32_MAX || !ensure_page(fleet, page) ||
        !reserve_mark(&fleet->dirty, (uint32_t)row->id) ||
        !reserve_mark(&fleet->looks, (uint32_t)row->id)) {
        return NULL;
    }
    if (fleet->pages[page][(size_t)row->id % OTA_PAGE] != NULL) {
        return NULL; /* a damaged database may give a row twice */
    }
    struct ota_device *device = new_device(row, product);
    if (device == NULL) {
        return NULL;
    }
    struct ota_version *version = NULL;
    if (row->version[0] != '\0') {
        version = ota_fleet_version(fleet, product, row->version);
    }
    if ((row->version[0] != '\0' && version == NULL) ||
        !ota_index_add(&fleet->devices,
                       hash_device(fleet, product, device->name, strlen(device->name)), device)) {
        ota_fleet_drop_version(fleet, product, row->version);
        free(device);
        return NULL;
    }
    fleet->pages[page][(size_t)row->id % OTA_PAGE] = device;
    ota_fleet_set_version(fleet, device, version);
    product->devices++;
    fleet->device_count++;
    return device;
}

void ota_fleet_remove_device(struct ota_fleet *fleet, struct ota_device *device)
{
    ota_fleet_drop_bonds(fleet, device);
    ota_fleet_set_conn(fleet, device, NULL);
    ota_fleet_set_version(fleet, device, NULL);
    ota_index_remove(&fleet->devices,
                     hash_device(fleet, device->product, device->name, strlen(device->name)),
                     device);
    fleet->pages[device->id / OTA_PAGE][device->id % OTA_PAGE] = NULL;
    device->product->devices--;
    fleet->device_count -= !ota_device_is_doomed(device);
    free(device);
}

/* Of each device that is bound to it people are told that it's gone: that is as much work as ten
 * looks. */
static int cost_of(const struct ota_fleet *fleet, const struct ota_device *device)
{
    const struct ota_gateway *gateway =
        fleet->gateways.count > 0 ? ota_fleet_gateway(fleet, device) : NULL;
    return gateway != NULL ? 10 * (int)gateway->count : 0;
}

bool ota_fleet_purge(struct ota_fleet *fleet, int ids)
{
    size_t end = fleet->page_count * OTA_PAGE;
    for (; ids > 0 && fleet->doomed != NULL && fleet->doom_at < end; ids--) {
        struct ota_device *device = device_at(fleet, (int64_t)fleet->doom_at++);
        if (device != NULL && ota_device_is_doomed(device)) {
            ids -= cost_of(fleet, device);
            ota_fleet_remove_device(fleet, device);
        }
    }
    if (fleet->doomed == NULL || fleet->doom_at < end) {
        return fleet->doomed != NULL;
    }
    struct ota_product *product = fleet->doomed;
    fleet->doomed = product->next_doomed;
    free_product(product);
    return fleet->doomed != NULL;
}

static bool version_equal(const void *item, const void *key)
{
    return is_text(((const struct ota_version *)item)->text, key);
}

static struct ota_version *find_version(const struct ota_fleet *fleet,
                                        const struct ota_product *product, const char *text,
                                        uint64_t *hash)
{
    struct name_key key = {NULL, text, strlen(text)};
    *hash = ota_hash(&fleet->key, 0, text, key.len);
    return ota_index_find(&product->versions, *hash, version_equal, &key);
}

struct ota_version *ota_fleet_version(struct ota_fleet *fleet, struct ota_product *product,
                                      const char *text)
{
    uint64_t hash;
    struct ota_version *version = find_version(fleet, product, text, &hash);
    if (version != NULL) {
        return version;
    }
    version = calloc(1, sizeof *version);
    if (version == NULL) {
        return NULL;
    }
    strncpy(version->text, text, OTA_VERSION_MAX);
    if (!ota_index_add(&product->versions, hash, version)) {
        free(version);
        return NULL;
    }
    return version;
}

void ota_fleet_drop_version(struct ota_fleet *fleet, struct ota_product *product, const char *text)
{
    uint64_t hash;
    struct ota_version *version = find_version(fleet, product, text, &hash);
    if (version != NULL && version->devices == 0 && !version->remembered) {
        ota_index_remove(&product->versions, hash, version);
        free(version);
    }
}

void ota_fleet_set_version(struct ota_fleet *fleet, struct ota_device *device,
                           struct ota_version *version)
{
    struct ota_version *old = device->version;
    if (version != NULL) {
        version->devices++;
    }
    device->version = version;
    if (old != NULL) {
        old->devices--;
        ota_fleet_drop_version(fleet, device->product, old->text);
    }
}

uint32_t ota_fleet_version_count(const struct ota_fleet *fleet, const struct ota_product *product,
                                 const char *text)
{
    uint64_t hash;
    const struct ota_version *version = find_version(fleet, product, text, &hash);
    return version != NULL ? version->devices : 0;
}

void ota_fleet_mark(struct ota_marks *marks, const struct ota_device *device)
{
    size_t word = device->id / 64;
    marks->bits[word] |= UINT64_C(1) << (device->id % 64);
    marks->any = true;
}

void ota_fleet_unmark(struct ota_marks *marks, const struct ota_device *device)
{
    size_t word = device->id / 64;
    if (word < marks->words) {
        marks->bits[word] &= ~(UINT64_C(1) << (device->id % 64));
    }
}

struct ota_device *ota_fleet_take_marked(struct ota_fleet *fleet, struct ota_marks *marks,
                                         uint32_t *at)
{
    while (*at / 64 < marks->words) {
        uint64_t rest = marks->bits[*at / 64] >> (*at % 64);
        if (rest == 0) {
            *at = (*at / 64 + 1) * 64;
            continue;
        }
        *at += (uint32_t)__builtin_ctzll(rest);
        marks->bits[*at / 64] &= ~(UINT64_C(1) << (*at % 64));
        struct ota_device *device = ota_fleet_device_by_id(fleet, (*at)++);
        if (device != NULL) {
            return device;
        }
    }
    return NULL;
}

struct ota_device *ota_fleet_device_after(const struct ota_fleet *fleet,
                                          const struct ota_product *product, uint32_t id)
{
    size_t end = fleet->page_count * OTA_PAGE;
    for (size_t i = (size_t)id + 1; i < end; i++) {
        if (fleet->pages[i / OTA_PAGE] == NULL) {
            i += OTA_PAGE - 1 - i % OTA_PAGE;
            continue;
        }
        struct ota_device *device = fleet->pages[i / OTA_PAGE][i % OTA_PAGE];
        bool matches = device != NULL && (product == NULL ? !ota_device_is_doomed(device)
                                                          : device->product == product);
        if (matches) {
            return device;
        }
    }
    return NULL;
}

/* --- the end --------------------------------------------------------------------------------- */

static void free_all_devices(struct ota_fleet *fleet)
{
    for (size_t i = 0; i < fleet->page_count; i++) {
        for (size_t j = 0; fleet->pages[i] != NULL && j < OTA_PAGE; j++) {
            if (fleet->pages[i][j] != NULL) {
                ota_task_free(fleet, fleet->pages[i][j]->task);
                free(fleet->pages[i][j]);
            }
        }
        free(fleet->pages[i]);
    }
    free(fleet->pages);
    ota_pool_free(&fleet->tasks);
    free(fleet->dirty.bits);
    free(fleet->looks.bits);
}

void ota_fleet_free(struct ota_fleet *fleet)
{
    free_all_devices(fleet);
    ota_fleet_free_bonds(fleet);
    ota_fleet_free_batches(fleet);
    ota_fleet_free_conns(fleet);
    void *item;
    for (size_t at = 0; (item = ota_index_next(&fleet->firmware, &at)) != NULL;) {
        free(item);
    }
    for (size_t at = 0; (item = ota_index_next(&fleet->products, &at)) != NULL;) {
        free_product(item);
    }
    while (fleet->doomed != NULL) {
        struct ota_product *product = fleet->doomed;
        fleet->doomed = product->next_doomed;
        free_product(product);
    }
    ota_index_free(&fleet->firmware);
    ota_index_free(&fleet->products);
    ota_index_free(&fleet->product_ids);
    ota_index_free(&fleet->devices);
    *fleet = (struct ota_fleet){.tasks = {.size = sizeof(struct ota_task)}};
}
