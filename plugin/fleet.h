/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the fleet in memory: products, their versions and firmware, devices, unfinished tasks,
 *       counters, and who is connected as what. Filled at start by one pass over the store; the
 *       store is the truth, this is what a report may be answered from without asking it.
 * Thread: the broker's.
 * Frees: ota_fleet_free frees all that the fleet holds.
 */
#ifndef OTA_FLEET_H
#define OTA_FLEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/store.h"
#include "upgrade.h"
#include "util/index.h"
#include "util/pool.h"

struct mosquitto;
struct ota_batch;

struct ota_product {
    int64_t id;
    char name[OTA_PRODUCT_MAX + 1];
    uint32_t devices;
    uint32_t online;
    uint32_t continuous;       /* live batches that look at devices when something changes */
    struct ota_index versions; /* of struct ota_version */
    struct ota_product *next_doomed;
};

/* A version that devices of the product run, or once reported. */
struct ota_version {
    char text[OTA_VERSION_MAX + 1];
    bool remembered; /* in the store: stays when no device runs it any more */
    uint32_t devices;
};

/* So many versions of a product are remembered: a device can't fill memory by inventing some. */
#define OTA_VERSIONS_REMEMBERED 2000

struct ota_firmware {
    struct ota_firmware_row row; /* description is left empty: memory */
    uint32_t unfinished;         /* tasks that need it */
    uint32_t batches;            /* that aren't over */
};

/* A client that speaks for devices. */
struct ota_conn {
    const struct mosquitto *client;
    char *client_id;
    struct ota_device *devices; /* list through next_of_conn */
};

struct ota_device {
    struct ota_product *product;
    struct ota_version *version; /* NULL: never reported */
    struct ota_task *task;       /* the unfinished one, or NULL */
    struct ota_conn *conn;       /* NULL: offline */
    struct ota_device *prev_of_conn;
    struct ota_device *next_of_conn;
    int64_t last_seen; /* Unix ms; 0 */
    /* These six are one word: it saves what malloc rounds up to 16, for some lengths of names. */
    int64_t last_task : 39;  /* newest task's id, unfinished or not; 0 */
    uint64_t seen_hour : 21; /* last_seen as the store has it, in hours since 1970, up to 2209 */
    bool bound : 1;          /* to a gateway: see fleet_gateway.h */
    bool hold : 1;
    bool echoes : 1;     /* an attempt ended on this connection: it may still speak of that one */
    bool may_settle : 1; /* the last task is finished, but a report may still change it */
    uint32_t id;
    uint32_t report_tat; /* see ota_rate_take: its reports' bucket */
    char name[];         /* in one piece with the rest: 32 bytes and a cache line saved a device */
};

_Static_assert(offsetof(struct ota_device, name) <= 72, "a million devices pay for each byte");

/* Of a product that is being deleted: its rows go in slices, and nobody sees it any more. */
static inline bool ota_device_is_doomed(const struct ota_device *device)
{
    return device->product->name[0] == '\0';
}

#define OTA_HOUR_MS 3600000

/* What seen_hour counts in. */
static inline uint32_t ota_hour_of(int64_t unix_ms)
{
    return (uint32_t)(unix_ms / OTA_HOUR_MS);
}

struct ota_task {
    int64_t id;
    struct ota_device *device;
    struct ota_firmware *firmware;
    struct ota_upgrade up;   /* retry_on points to retry_on below */
    struct ota_batch *batch; /* NULL: none */
    struct ota_task *prev_of_batch;
    struct ota_task *next_of_batch;
    int64_t last_event;
    int64_t sent_at;        /* Unix ms, as the store has it; 0 */
    char *retry_on;         /* NULL too where the batch has it */
    char *device_message;   /* NULL: none */
    int64_t next_notice;    /* monotonic ms; 0: none planned */
    int64_t event_at;       /* monotonic ms of the last percentage event */
    uint32_t heap_at;       /* place in the heap of due work or the queue, from 1; 0: in none */
    bool queued : 1;        /* the heap is its batch's queue */
    bool progress_seen : 1; /* on this connection, in this attempt */
    bool percent_dirty : 1; /* differs from the store */
};

/* A bit a device. */
struct ota_marks {
    uint64_t *bits;
    size_t words;
    bool any; /* some may be set */
};

struct ota_fleet {
    struct ota_hash_key key;
    struct ota_index products; /* by name */
    struct ota_index product_ids;
    struct ota_index devices;  /* by product and name */
    struct ota_index conns;    /* by client */
    struct ota_index bonds;    /* of devices that are bound to a gateway, by device */
    struct ota_index gateways; /* by device */
    /* The device was bound to a gateway that is gone now; connected: through it, and so it isn't
     * any more. May be NULL. */
    void (*orphaned)(void *data, struct ota_device *device, bool connected);
    void *orphaned_data;
    struct ota_index firmware; /* by id */
    struct ota_index batches;  /* by id */
    struct ota_pool tasks;     /* where they live */
    struct ota_batch *live;    /* batches that aren't settled: list through next_live */
    uint32_t live_count;
    int64_t newest_batch;       /* the highest id ever loaded or made; 0 */
    struct ota_device ***pages; /* devices by id: pages[id / OTA_PAGE][id % OTA_PAGE] */
    size_t page_count;
    struct ota_marks dirty;     /* last_seen or the task's percentage is to be written */
    struct ota_marks looks;     /* continuous batches are to look at it */
    uint32_t looks_at;          /* the device id at which they go on */
    struct ota_product *doomed; /* deleted; their devices go in slices */
    size_t doom_at;             /* the device id that is looked at next */
    uint32_t device_count;
    uint32_t online_count;
    uint32_t task_count;
    uint32_t by_status[OTA_STATUS_COUNT]; /* the same by status */
};

void ota_fleet_init(struct ota_fleet *fleet);
void ota_fleet_free(struct ota_fleet *fleet);

/* --- products and firmware ------------------------------------------------------------------ */

/* NULL where memory is out. The name is copied. */
struct ota_product *ota_fleet_add_product(struct ota_fleet *fleet, int64_t id, const char *name);
struct ota_product *ota_fleet_product(const struct ota_fleet *fleet, const char *name, size_t len);
struct ota_product *ota_fleet_product_by_id(const struct ota_fleet *fleet, int64_t id);
/* Also its firmware; it must have no devices. */
void ota_fleet_remove_product(struct ota_fleet *fleet, struct ota_product *product);
/* Takes name and firmware away at once; ota_fleet_purge then removes the devices in slices. */
void ota_fleet_doom_product(struct ota_fleet *fleet, struct ota_product *product);
/* Looks at up to `ids` device ids; false where nothing is left to do. */
bool ota_fleet_purge(struct ota_fleet *fleet, int ids);
/* Unfinished tasks of all devices of the product. */
uint32_t ota_fleet_unfinished_of(const struct ota_fleet *fleet, const struct ota_product *product);

struct ota_firmware *ota_fleet_add_firmware(struct ota_fleet *fleet,
                                            const struct ota_firmware_row *row);
struct ota_firmware *ota_fleet_firmware(const struct ota_fleet *fleet, int64_t id);
/* By product and version; a walk, for commands. */
struct ota_firmware *ota_fleet_firmware_of(const struct ota_fleet *fleet, int64_t product_id,
                                           const char *version);
void ota_fleet_remove_firmware(struct ota_fleet *fleet, struct ota_firmware *firmware);

/* --- devices -------------------------------------------------------------------------------- */

/* Fills id, product_id, name, hold, version, and last_seen_at from row. */
struct ota_device *ota_fleet_add_device(struct ota_fleet *fleet, const struct ota_device_row *row);
struct ota_device *ota_fleet_device(const struct ota_fleet *fleet,
                                    const struct ota_product *product, const char *name,
                                    size_t len);
/* NULL too while its product is being deleted. */
struct ota_device *ota_fleet_device_by_id(const struct ota_fleet *fleet, int64_t id);
void ota_fleet_remove_device(struct ota_fleet *fleet, struct ota_device *device);

/* The version object for text, made where it is new; NULL where memory is out. It must be given
 * to ota_fleet_set_version, or dropped with ota_fleet_drop_version. */
struct ota_version *ota_fleet_version(struct ota_fleet *fleet, struct ota_product *product,
                                      const char *text);
void ota_fleet_drop_version(struct ota_fleet *fleet, struct ota_product *product, const char *text);
void ota_fleet_set_version(struct ota_fleet *fleet, struct ota_device *device,
                           struct ota_version *version);
uint32_t ota_fleet_version_count(const struct ota_fleet *fleet, const struct ota_product *product,
                                 const char *text);

/* Marks the device; lost where memory is out. */
void ota_fleet_mark(struct ota_marks *marks, const struct ota_device *device);
void ota_fleet_unmark(struct ota_marks *marks, const struct ota_device *device);
/* The next marked device at or after id *at, unmarked now; NULL at the end. */
struct ota_device *ota_fleet_take_marked(struct ota_fleet *fleet, struct ota_marks *marks,
                                         uint32_t *at);
/* The product's (NULL: any) next device after id; NULL at the end. */
struct ota_device *ota_fleet_device_after(const struct ota_fleet *fleet,
                                          const struct ota_product *product, uint32_t id);

#endif
