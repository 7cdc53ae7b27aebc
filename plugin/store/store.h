/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the SQLite file: its schema, its one writing connection, every statement. All SQL is here.
 * Thread: an ota_store belongs to the broker's thread; an ota_reader to whoever holds its lock.
 * Frees: ota_store_close, ota_reader_close. Rows are plain structs that the caller owns.
 *
 * Conventions. Functions that read one row return OTA_NOT_FOUND (without filling error) where
 * there is none, and so do those that change or delete one. SQLite's full, busy, readonly, memory
 * and I/O errors become OTA_UNAVAILABLE, constraint violations OTA_CONFLICT, all others
 * OTA_INTERNAL; no SQLite code leaves this folder. Functions that write must be called between
 * ota_store_begin and ota_store_commit, else they are OTA_INTERNAL; a failed one leaves the
 * transaction open, and the caller rolls it back. A row callback may call any other function of
 * the store, but not the one that it is called from, and not ota_store_rollback. A callback that
 * returns false has taken its row. Times are Unix ms unless named service.
 */
#ifndef OTA_STORE_STORE_H
#define OTA_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../util/error.h"
#include "../util/names.h"
#include "../util/stage.h"
#include "../util/token.h"
#include "../util/words.h"

#define OTA_SHA256_HEX    64
#define OTA_MD5_HEX       32
#define OTA_BLOCK_SIZE    65536 /* bytes a row of an image; the last one may be short */
#define OTA_KEY_SIZE      32
#define OTA_TAGS_TEXT     (OTA_TAGS_MAX * (OTA_TAG_MAX + 1))
#define OTA_SIGNATURE_MAX 128  /* base64 characters */
#define OTA_LIST_EXAMINED 1000 /* rows that one list call looks at: 5 ms where each is a page */
#define OTA_EVENTS_MAX    1000 /* of a longer history only the newest are told */

struct ota_store;
struct ota_reader;

struct ota_product_row {
    int64_t id;
    char name[OTA_PRODUCT_MAX + 1];
    char description[OTA_TEXT_MAX + 1];
    int64_t created_at;
};

struct ota_firmware_row {
    int64_t id;
    int64_t product_id;
    char version[OTA_VERSION_MAX + 1];
    int64_t order;
    char filename[OTA_FILENAME_MAX + 1];
    int64_t size;
    char md5[OTA_MD5_HEX + 1];
    char sha256[OTA_SHA256_HEX + 1];
    char description[OTA_TEXT_MAX + 1];
    char signature[OTA_SIGNATURE_MAX + 1]; /* "" where unsigned */
    int64_t image;
    int64_t created_at;
};

struct ota_upload_row {
    int64_t id;
    int64_t image;
    char user[OTA_USER_MAX + 1];
    int64_t product_id;
    char version[OTA_VERSION_MAX + 1];
    bool has_order;
    int64_t order;
    char filename[OTA_FILENAME_MAX + 1];
    int64_t size;
    char sha256[OTA_SHA256_HEX + 1];
    char description[OTA_TEXT_MAX + 1];
    char signature[OTA_SIGNATURE_MAX + 1];
    int64_t received; /* bytes stored so far, always from the start */
    int64_t touched_at;
};

struct ota_device_row {
    int64_t id;
    int64_t product_id;
    char name[OTA_DEVICE_MAX + 1];
    char description[OTA_TEXT_MAX + 1];
    char tags[OTA_TAGS_TEXT + 1]; /* sorted, one space between; "" for none */
    bool hold;
    char version[OTA_VERSION_MAX + 1]; /* "": never reported */
    int64_t version_at;                /* 0 as above */
    int64_t last_seen_at;              /* 0: never */
    int64_t created_at;
    int64_t last_task;  /* where that isn't the newest one; 0 */
    int64_t gateway_id; /* 0: none */
};

struct ota_task_row {
    int64_t id;
    int64_t product_id; /* the device's: ota_task_insert fills it */
    int64_t device_id;
    int64_t firmware_id;
    int64_t batch_id; /* 0: none */
    char version[OTA_VERSION_MAX + 1];
    char from_version[OTA_VERSION_MAX + 1]; /* "": unknown */
    enum ota_status status;
    enum ota_confirmation confirmation;
    enum ota_ending ending;
    int attempt;
    int percent;
    bool has_result_code;
    int result_code;
    char device_message[OTA_DEVICE_MESSAGE_MAX + 1];
    unsigned flags; /* OTA_UPGRADE_… of upgrade.h; opaque here */
    int64_t timeout_ms;
    int retry_max;
    int64_t retry_delay_ms;
    char retry_on[64];
    int retries; /* automatic ones so far */
    int64_t created_at;
    int64_t sent_at; /* 0: none */
    int64_t updated_at;
    int64_t finished_at;  /* 0: unfinished */
    int64_t deadline;     /* service ms; 0: no clock runs */
    int64_t settle_until; /* service ms; 0: not succeeded */
    int64_t last_event;   /* 0: none */
};

/* Bits of a batch's flags; stored. */
#define OTA_BATCH_OVERRIDE   1u
#define OTA_BATCH_REINSTALL  2u
#define OTA_BATCH_DOWNGRADE  4u
#define OTA_BATCH_CANCEL_ALL 8u  /* cancelled together with what was under way */
#define OTA_BATCH_RECOUNT    16u /* retrying means: only count again what is unproved */
#define OTA_BATCH_PRUNED     32u /* some of its tasks are gone: its tallies can't be counted */

enum ota_prepared { OTA_PREPARED_NOT, OTA_PREPARED_PARTLY, OTA_PREPARED_FULLY };

struct ota_batch_row {
    int64_t id;
    int64_t product_id;
    int64_t firmware_id;
    char version[OTA_VERSION_MAX + 1];
    char name[OTA_TEXT_MAX + 1];
    enum ota_batch_mode mode;
    enum ota_batch_state state;
    enum ota_batch_reason reason;
    bool named; /* only devices of its list */
    enum ota_gate gate;
    int64_t rate_per_minute; /* 0: no limit */
    int64_t max_in_flight;
    int threshold_percent; /* 0: none */
    int64_t threshold_min;
    int64_t timeout_ms;
    int retry_max;
    int64_t retry_delay_ms;
    char retry_on[64];
    unsigned flags;
    int64_t start_at;  /* 0: at once */
    int64_t expire_at; /* 0: never */
    int64_t created_at;
    int64_t started_at;  /* 0: not yet */
    int64_t finished_at; /* 0: it isn't over */
    enum ota_prepared prepared;
    int64_t prepared_to; /* devices up to this id were looked at */
    bool retrying;
    int64_t retried_to; /* tasks up to this id were looked at */
    uint32_t excluded[OTA_EXCLUSION_COUNT];
    int64_t open_stages; /* the first so many */
    int64_t known_failures;
    int64_t known_successes;
    struct ota_bucket bucket;
    bool tallied; /* over, every task ended, and its stages' tallies are stored */
};

struct ota_event_row {
    int64_t task_id;
    int64_t at;
    enum ota_status status;
    int percent;
    char detail[OTA_TEXT_MAX + 1];
};

/* What the file holds once. */
struct ota_meta {
    int64_t service_ms;
    unsigned char url_key[OTA_KEY_SIZE];
    int schema_version;
};

/* Whether the device with this id is connected now; behind SQL's ota_online(). */
typedef bool (*ota_online_fn)(void *data, int64_t device_id);

struct ota_store_config {
    const char *path;
    bool synchronous_full;
    int64_t now; /* Unix ms, for what is created at the first opening */
    ota_online_fn online;
    void *online_data;
};

/*
 * Opens or creates the file, migrates an older one in one transaction after copying it to
 * "<path>.v<N>.bak", refuses a newer or foreign one, prepares all statements, and takes a lock
 * that refuses a second process. Error texts say what to do. Starts the checkpoint thread.
 */
OTA_CHECKED enum ota_err ota_store_open(const struct ota_store_config *config,
                                        struct ota_store **store, struct ota_error *error);

/* What people should know about the opening. */
struct ota_opening {
    bool made;        /* there was no database */
    bool wal_damaged; /* what stood in the WAL behind the damage is lost */
};

struct ota_opening ota_store_opening(const struct ota_store *store);

/* Stops the checkpoint thread, checkpoints, closes; NULL is fine. */
void ota_store_close(struct ota_store *store);

OTA_CHECKED enum ota_err ota_store_meta(struct ota_store *store, struct ota_meta *meta,
                                        struct ota_error *error);
OTA_CHECKED enum ota_err ota_store_set_service_ms(struct ota_store *store, int64_t service_ms,
                                                  struct ota_error *error);

/* Whether so much waits to be checkpointed that bulk work should pause: else the writer is held. */
bool ota_store_is_pressed(struct ota_store *store);

/* Bytes of the database file, without its WAL; -1 where that can't be told. */
int64_t ota_store_bytes(struct ota_store *store);

struct ota_store_stats {
    int64_t wal_bytes; /* of the file */
    uint64_t checkpoints;
    int64_t checkpoint_us; /* that they took together */
};

void ota_store_stats(struct ota_store *store, struct ota_store_stats *stats);

OTA_CHECKED enum ota_err ota_store_begin(struct ota_store *store, struct ota_error *error);
OTA_CHECKED enum ota_err ota_store_commit(struct ota_store *store, struct ota_error *error);
/* Never fails; fine without a transaction. */
void ota_store_rollback(struct ota_store *store);

/* --- product.c ----------------------------------------------------------------------------- */

typedef bool (*ota_product_fn)(void *data, const struct ota_product_row *row); /* false: stop */

/* Fills row->id. */
OTA_CHECKED enum ota_err ota_product_insert(struct ota_store *store, struct ota_product_row *row,
                                            struct ota_error *error);
OTA_CHECKED enum ota_err ota_product_set_description(struct ota_store *store, int64_t id,
                                                     const char *description,
                                                     struct ota_error *error);
OTA_CHECKED enum ota_err ota_product_get(struct ota_store *store, int64_t id,
                                         struct ota_product_row *row, struct ota_error *error);
/* All that are named, newest first (by id, descending), from below id `before` (0: from the top).
 */
OTA_CHECKED enum ota_err ota_product_each(struct ota_store *store, int64_t before,
                                          ota_product_fn fn, void *data, struct ota_error *error);
/* Remembers that a device of the product reported the version; fine where it is known. */
OTA_CHECKED enum ota_err ota_product_add_version(struct ota_store *store, int64_t id,
                                                 const char *version, struct ota_error *error);
typedef bool (*ota_product_version_fn)(void *data, int64_t product_id, const char *version);
OTA_CHECKED enum ota_err ota_product_load_versions(struct ota_store *store,
                                                   ota_product_version_fn fn, void *data,
                                                   struct ota_error *error);
/* Takes the name away; ota_product_purge then removes the rest. */
OTA_CHECKED enum ota_err ota_product_doom(struct ota_store *store, int64_t id,
                                          struct ota_error *error);
/*
 * Removes up to `rows` rows of doomed products and devices (events, tasks, versions, devices,
 * firmware, uploads, product). Sets *left to whether there is more. Its own transaction is the
 * caller's.
 */
OTA_CHECKED enum ota_err ota_product_purge(struct ota_store *store, int rows, bool *left,
                                           struct ota_error *error);

/* --- firmware.c ---------------------------------------------------------------------------- */

typedef bool (*ota_firmware_fn)(void *data, const struct ota_firmware_row *row);

OTA_CHECKED enum ota_err ota_firmware_insert(struct ota_store *store, struct ota_firmware_row *row,
                                             struct ota_error *error);
OTA_CHECKED enum ota_err ota_firmware_get(struct ota_store *store, int64_t id,
                                          struct ota_firmware_row *row, struct ota_error *error);
/* Of one product (0: of all that are named), newest first, from below id `before` (0: the top). */
OTA_CHECKED enum ota_err ota_firmware_each(struct ota_store *store, int64_t product_id,
                                           int64_t before, ota_firmware_fn fn, void *data,
                                           struct ota_error *error);
/* How many the product has, and its highest order (0 where it has none). */
OTA_CHECKED enum ota_err ota_firmware_count(struct ota_store *store, int64_t product_id, int *count,
                                            int64_t *highest_order, struct ota_error *error);
/* The image's blocks become rubbish for ota_image_purge. */
OTA_CHECKED enum ota_err ota_firmware_delete(struct ota_store *store, int64_t id,
                                             struct ota_error *error);

/* --- upload.c ------------------------------------------------------------------------------ */

typedef bool (*ota_upload_fn)(void *data, const struct ota_upload_row *row);

/* Draws row->image and row->id. */
OTA_CHECKED enum ota_err ota_upload_insert(struct ota_store *store, struct ota_upload_row *row,
                                           struct ota_error *error);
OTA_CHECKED enum ota_err ota_upload_get(struct ota_store *store, int64_t id,
                                        struct ota_upload_row *row, struct ota_error *error);
/* All unfinished ones, oldest first. */
OTA_CHECKED enum ota_err ota_upload_each(struct ota_store *store, ota_upload_fn fn, void *data,
                                         struct ota_error *error);
/*
 * Appends len bytes (1..OTA_BLOCK_SIZE) at offset == received of upload `id`, splitting at row
 * borders, and advances received and touched_at.
 */
OTA_CHECKED enum ota_err ota_upload_append(struct ota_store *store, int64_t id, int64_t image,
                                           int64_t offset, const void *bytes, size_t len,
                                           int64_t now, struct ota_error *error);
/* Removes the upload's row; with keep_image its bytes stay for the firmware that takes them. */
OTA_CHECKED enum ota_err ota_upload_delete(struct ota_store *store, int64_t id, bool keep_image,
                                           struct ota_error *error);
/* One row of an image: copies it into bytes (room for OTA_BLOCK_SIZE), sets *len. */
OTA_CHECKED enum ota_err ota_image_block(struct ota_store *store, int64_t image, int64_t seq,
                                         void *bytes, size_t *len, struct ota_error *error);
/* Removes up to `rows` blocks of images that nothing names; *left: whether there is more. */
OTA_CHECKED enum ota_err ota_image_purge(struct ota_store *store, int rows, bool *left,
                                         struct ota_error *error);

/* --- device.c ------------------------------------------------------------------------------ */

typedef bool (*ota_device_fn)(void *data, const struct ota_device_row *row);

struct ota_device_filter {
    int64_t product_id;
    const char *version; /* each of these may be NULL or, for gateway_id, 0 */
    const char *tag;
    const char *prefix;
    int64_t gateway_id;
    const bool *online;
};

OTA_CHECKED enum ota_err ota_device_insert(struct ota_store *store, struct ota_device_row *row,
                                           struct ota_error *error);
OTA_CHECKED enum ota_err ota_device_get(struct ota_store *store, int64_t id,
                                        struct ota_device_row *row, struct ota_error *error);
/* Writes description, tags and hold. */
OTA_CHECKED enum ota_err ota_device_update(struct ota_store *store,
                                           const struct ota_device_row *row,
                                           struct ota_error *error);
/* Takes it out of its product and off the lists of batches; its name is free. The rest of it, its
 * versions, finished tasks and their events, goes with ota_product_purge. */
OTA_CHECKED enum ota_err ota_device_doom(struct ota_store *store, int64_t id,
                                         struct ota_error *error);
/* Device row and history entry; at is raised where an entry of that millisecond exists. */
OTA_CHECKED enum ota_err ota_device_set_version(struct ota_store *store, int64_t id,
                                                const char *version, int64_t at,
                                                struct ota_error *error);
OTA_CHECKED enum ota_err ota_device_set_last_seen(struct ota_store *store, int64_t id, int64_t at,
                                                  struct ota_error *error);
/* 0 unbinds. */
OTA_CHECKED enum ota_err ota_device_set_gateway(struct ota_store *store, int64_t id,
                                                int64_t gateway_id, struct ota_error *error);
/* All, in id order, for filling memory at start: only id, product_id, name, hold, version,
 * last_seen_at, last_task and gateway_id are filled. Doomed products' devices are left out. */
OTA_CHECKED enum ota_err ota_device_load(struct ota_store *store, ota_device_fn fn, void *data,
                                         struct ota_error *error);
/*
 * Matching devices by name, after the name `after` ("" from the start), until fn says stop or
 * OTA_LIST_EXAMINED rows were looked at. `last` (room for a name) gets the last name looked at;
 * *more tells whether rows may follow it.
 */
OTA_CHECKED enum ota_err ota_device_list(struct ota_store *store,
                                         const struct ota_device_filter *filter, const char *after,
                                         ota_device_fn fn, void *data, char *last, bool *more,
                                         struct ota_error *error);
/* Removes up to *rows entries of the version history that are older than `before`, never the newest
 * one; counts *rows down. */
OTA_CHECKED enum ota_err ota_device_prune_versions(struct ota_store *store, int64_t id,
                                                   int64_t before, int *rows,
                                                   struct ota_error *error);
/* Version history, newest first, from before time `before` (0: the newest). */
typedef bool (*ota_version_fn)(void *data, int64_t at, const char *version);
OTA_CHECKED enum ota_err ota_device_versions(struct ota_store *store, int64_t id, int64_t before,
                                             ota_version_fn fn, void *data,
                                             struct ota_error *error);

/* --- task.c -------------------------------------------------------------------------------- */

typedef bool (*ota_task_fn)(void *data, const struct ota_task_row *row);

/* What tells whether a task is too old to be kept. */
struct ota_task_age {
    int64_t id;
    int64_t device_id;
    int64_t batch_id; /* 0: none */
    int64_t created_at;
    int64_t finished_at; /* 0: unfinished */
};

typedef bool (*ota_task_age_fn)(void *data, const struct ota_task_age *row);
typedef bool (*ota_event_fn)(void *data, const struct ota_event_row *row);

struct ota_task_filter {
    int64_t product_id; /* 0, NULL or OTA_SHOWN_COUNT: any */
    int64_t device_id;
    int64_t batch_id;
    const char *version;
    enum ota_shown shown;
};

/* Fills row->id. A second unfinished one is OTA_CONFLICT. */
OTA_CHECKED enum ota_err ota_task_insert(struct ota_store *store, struct ota_task_row *row,
                                         struct ota_error *error);
/*
 * One task like `common` for each of the devices, whose ids rise; they get the ids from *first_id
 * on, in that order. product_id, device_id and from_version come from the device; where that runs
 * common->version, the flags are `reinstall` instead. Much cheaper than one by one.
 */
OTA_CHECKED enum ota_err ota_task_insert_many(struct ota_store *store,
                                              const struct ota_task_row *common, unsigned reinstall,
                                              const uint32_t *devices, size_t count,
                                              int64_t *first_id, struct ota_error *error);
OTA_CHECKED enum ota_err ota_task_get(struct ota_store *store, int64_t id, struct ota_task_row *row,
                                      struct ota_error *error);
/*
 * Appends the event, chained to row->last_event, and writes all of row that can change
 * (row->last_event is filled): the one way in which a status changes.
 */
OTA_CHECKED enum ota_err ota_task_change(struct ota_store *store, struct ota_task_row *row,
                                         const struct ota_event_row *event,
                                         struct ota_error *error);
OTA_CHECKED enum ota_err ota_task_set_percent(struct ota_store *store, int64_t id, int percent,
                                              struct ota_error *error);
/* What is counted of a task. */
struct ota_task_outcome {
    int64_t id;
    int64_t device_id;
    enum ota_status status;
    enum ota_confirmation confirmation;
    enum ota_ending ending;
    bool has_result_code;
    int result_code;
    char from_version[OTA_VERSION_MAX + 1]; /* "": unknown */
};

typedef bool (*ota_task_outcome_fn)(void *data, const struct ota_task_outcome *outcome);

/* Tasks with an id above `after`, in id order, until fn says stop (outcome.c). */
OTA_CHECKED enum ota_err ota_task_outcomes_of_batch(struct ota_store *store, int64_t batch_id,
                                                    int64_t after, ota_task_outcome_fn fn,
                                                    void *data, struct ota_error *error);
OTA_CHECKED enum ota_err ota_task_outcomes_of_product(struct ota_store *store, int64_t product_id,
                                                      int64_t after, ota_task_outcome_fn fn,
                                                      void *data, struct ota_error *error);
/* Tasks of the batch with an id above `after`, in id order, until fn says stop. */
OTA_CHECKED enum ota_err ota_task_of_batch(struct ota_store *store, int64_t batch_id, int64_t after,
                                           ota_task_fn fn, void *data, struct ota_error *error);
/* The same of a device. */
OTA_CHECKED enum ota_err ota_task_of_device(struct ota_store *store, int64_t device_id,
                                            int64_t after, ota_task_fn fn, void *data,
                                            struct ota_error *error);
/* All with an id above `after`, in id order, until fn says stop. */
OTA_CHECKED enum ota_err ota_task_ages(struct ota_store *store, int64_t after, ota_task_age_fn fn,
                                       void *data, struct ota_error *error);
/* Removes up to `rows` rows of the task's history, the oldest last, and then the task. */
OTA_CHECKED enum ota_err ota_task_prune(struct ota_store *store, int64_t id, int rows, bool *gone,
                                        struct ota_error *error);
/* The device's newest task in the batch. */
OTA_CHECKED enum ota_err ota_task_in_batch(struct ota_store *store, int64_t device_id,
                                           int64_t batch_id, struct ota_task_row *row,
                                           struct ota_error *error);
/* How many tasks of the batch the device has or had. */
OTA_CHECKED enum ota_err ota_task_count_in_batch(struct ota_store *store, int64_t device_id,
                                                 int64_t batch_id, int *count,
                                                 struct ota_error *error);
/* Each device's last task, in device order; where an older one was tried again, both are told, the
 * last one later. */
typedef bool (*ota_last_task_fn)(void *data, int64_t device_id, int64_t task_id);
OTA_CHECKED enum ota_err ota_task_load_last(struct ota_store *store, ota_last_task_fn fn,
                                            void *data, struct ota_error *error);
/* All unfinished ones, in id order, for filling memory at start. */
OTA_CHECKED enum ota_err ota_task_load(struct ota_store *store, ota_task_fn fn, void *data,
                                       struct ota_error *error);
/* Newest first, from below id `before` (0: the top); stops and bounds as ota_device_list.
 * *last gets the last id looked at. */
OTA_CHECKED enum ota_err ota_task_list(struct ota_store *store,
                                       const struct ota_task_filter *filter, int64_t before,
                                       ota_task_fn fn, void *data, int64_t *last, bool *more,
                                       struct ota_error *error);
/* The history of a task, oldest first; of a long one the last OTA_EVENTS_MAX. */
OTA_CHECKED enum ota_err ota_task_events(struct ota_store *store, int64_t id, ota_event_fn fn,
                                         void *data, struct ota_error *error);

/* --- batch.c ------------------------------------------------------------------------------- */

/* false: stop. target is JSON or "". */
typedef bool (*ota_batch_fn)(void *data, const struct ota_batch_row *row, const char *target);
typedef bool (*ota_stage_fn)(void *data, int64_t batch_id, const struct ota_stage *stage);
typedef bool (*ota_id_fn)(void *data, int64_t id);

/* Fills row->id and stores its stages. */
OTA_CHECKED enum ota_err ota_batch_insert(struct ota_store *store, struct ota_batch_row *row,
                                          const char *target, const struct ota_stage *stages,
                                          size_t stage_count, struct ota_error *error);
/* Writes all of row that can change. */
OTA_CHECKED enum ota_err ota_batch_update(struct ota_store *store, const struct ota_batch_row *row,
                                          struct ota_error *error);
OTA_CHECKED enum ota_err ota_batch_set_bucket(struct ota_store *store, int64_t id,
                                              const struct ota_bucket *bucket,
                                              struct ota_error *error);
/* Sets OTA_BATCH_PRUNED. */
OTA_CHECKED enum ota_err ota_batch_mark_pruned(struct ota_store *store, int64_t id,
                                               struct ota_error *error);
/* Writes the stage's state, size, end and tally. */
OTA_CHECKED enum ota_err ota_batch_update_stage(struct ota_store *store, int64_t id, size_t seq,
                                                const struct ota_stage *stage,
                                                struct ota_error *error);
/* All, and their stages in order, for filling memory at start; of doomed products none. */
OTA_CHECKED enum ota_err ota_batch_load(struct ota_store *store, ota_batch_fn fn, void *data,
                                        struct ota_error *error);
OTA_CHECKED enum ota_err ota_batch_load_stages(struct ota_store *store, ota_stage_fn fn, void *data,
                                               struct ota_error *error);
/* Puts a device on the batch's list; fine where it is there. */
OTA_CHECKED enum ota_err ota_batch_name_device(struct ota_store *store, int64_t id,
                                               int64_t device_id, struct ota_error *error);
/* Devices of the list with an id above `after`, in order. */
OTA_CHECKED enum ota_err ota_batch_named(struct ota_store *store, int64_t id, int64_t after,
                                         ota_id_fn fn, void *data, struct ota_error *error);
OTA_CHECKED enum ota_err ota_batch_is_named(struct ota_store *store, int64_t id, int64_t device_id,
                                            bool *named, struct ota_error *error);
OTA_CHECKED enum ota_err ota_batch_count_named(struct ota_store *store, int64_t id, int64_t *count,
                                               struct ota_error *error);
/* Forgets up to `rows` of the list; *left: whether there is more. */
OTA_CHECKED enum ota_err ota_batch_unname(struct ota_store *store, int64_t id, int rows, bool *left,
                                          struct ota_error *error);

/* --- request.c ----------------------------------------------------------------------------- */

/* What was answered to this request: OTA_NOT_FOUND, or digest (32 bytes) and data, which the
 * caller frees with free(). */
OTA_CHECKED enum ota_err ota_request_find(struct ota_store *store, const char *user,
                                          const char *request_id, unsigned char *digest,
                                          char **data, struct ota_error *error);
OTA_CHECKED enum ota_err ota_request_insert(struct ota_store *store, const char *user,
                                            const char *request_id, const unsigned char *digest,
                                            const char *data, int64_t at, struct ota_error *error);
/* Removes up to `rows` that are older than `before`; *left as above. */
OTA_CHECKED enum ota_err ota_request_purge(struct ota_store *store, int64_t before, int rows,
                                           bool *left, struct ota_error *error);

/* --- token.c ------------------------------------------------------------------------------- */

typedef bool (*ota_token_fn)(void *data, const struct ota_token *token); /* false: stop */

/* Fills token->id. */
OTA_CHECKED enum ota_err ota_token_insert(struct ota_store *store, struct ota_token *token,
                                          struct ota_error *error);
/* All, newest first, from below id `before` (0: from the top). */
OTA_CHECKED enum ota_err ota_token_each(struct ota_store *store, int64_t before, ota_token_fn fn,
                                        void *data, struct ota_error *error);
OTA_CHECKED enum ota_err ota_token_set_used(struct ota_store *store, int64_t id, int64_t used_at,
                                            struct ota_error *error);
OTA_CHECKED enum ota_err ota_token_delete(struct ota_store *store, int64_t id,
                                          struct ota_error *error);

/* --- audit.c ------------------------------------------------------------------------------- */

#define OTA_CLIENT_SHOWN_MAX 128 /* of a client id, in entries */
#define OTA_COMMAND_NAME_MAX 32
#define OTA_SUBJECT_MAX      191

struct ota_audit_row {
    int64_t id;
    int64_t at;
    char user[OTA_USER_MAX + 1];
    char client[OTA_CLIENT_SHOWN_MAX + 1];
    char command[OTA_COMMAND_NAME_MAX + 1];
    char target[OTA_SUBJECT_MAX + 1];
    char code[OTA_COMMAND_NAME_MAX + 1]; /* as on the wire */
    int64_t count;
};

struct ota_audit_filter {
    int64_t since;    /* 0: from the first on */
    const char *user; /* these two may be NULL */
    const char *command;
};

/* Where a list goes on; all zero: at the newest. */
struct ota_audit_place {
    int64_t at;
    int64_t id;
};

typedef bool (*ota_audit_fn)(void *data, const struct ota_audit_row *row);

/* Fills row->id. */
OTA_CHECKED enum ota_err ota_audit_insert(struct ota_store *store, struct ota_audit_row *row,
                                          struct ota_error *error);
OTA_CHECKED enum ota_err ota_audit_set_count(struct ota_store *store, int64_t id, int64_t count,
                                             struct ota_error *error);
/* Newest first; stops and bounds as ota_device_list. *last gets the last place looked at. */
OTA_CHECKED enum ota_err ota_audit_list(struct ota_store *store,
                                        const struct ota_audit_filter *filter,
                                        const struct ota_audit_place *after, ota_audit_fn fn,
                                        void *data, struct ota_audit_place *last, bool *more,
                                        struct ota_error *error);
/* Removes up to `rows` that are older than `before`; *left as above. */
OTA_CHECKED enum ota_err ota_audit_purge(struct ota_store *store, int64_t before, int rows,
                                         bool *left, struct ota_error *error);

/* --- secret.c: what devices log in with, encrypted -------------------------------------------- */

#define OTA_SEALED_MAX 76

struct ota_secret_row {
    unsigned char sealed[OTA_SEALED_MAX]; /* by util/seal.h */
    size_t len;
    int64_t set_at; /* Unix ms */
};

/* In place of the one that the device may have. */
OTA_CHECKED enum ota_err ota_secret_put(struct ota_store *store, int64_t device_id,
                                        const struct ota_secret_row *row, struct ota_error *error);
/* OTA_NOT_FOUND where the device has none, here and below. */
OTA_CHECKED enum ota_err ota_secret_get(struct ota_store *store, int64_t device_id,
                                        struct ota_secret_row *row, struct ota_error *error);
OTA_CHECKED enum ota_err ota_secret_delete(struct ota_store *store, int64_t device_id,
                                           struct ota_error *error);
/* Whether there is one at all. */
OTA_CHECKED enum ota_err ota_secret_any(struct ota_store *store, bool *any,
                                        struct ota_error *error);
/* What tells the key that they are encrypted with from others, OTA_KEY_SIZE bytes; OTA_NOT_FOUND
 * where there never was one. */
OTA_CHECKED enum ota_err ota_secret_set_key(struct ota_store *store, const unsigned char *proof,
                                            struct ota_error *error);
OTA_CHECKED enum ota_err ota_secret_key(struct ota_store *store, unsigned char *proof,
                                        struct ota_error *error);

/* --- backup.c: a consistent copy, made on a thread and connection of its own -------------------
 */

struct ota_backup;

/*
 * Begins to copy the store to dir/name, which must not exist. The file gets its name when it is
 * complete and on the disk. While that goes on the WAL only grows, and the writer isn't held.
 */
OTA_CHECKED enum ota_err ota_backup_start(struct ota_store *store, const char *dir,
                                          const char *name, struct ota_backup **backup,
                                          struct ota_error *error);
/* OTA_AGAIN while it goes on; OTA_OK, or why there is no copy. */
OTA_CHECKED enum ota_err ota_backup_poll(struct ota_backup *backup, struct ota_error *error);
const char *ota_backup_path(const struct ota_backup *backup);
int64_t ota_backup_bytes(const struct ota_backup *backup);
/* Gives up what still goes on, and waits for that; before the store is closed. NULL is fine. */
void ota_backup_end(struct ota_backup *backup);
/* The same, and what was copied goes, too. */
void ota_backup_drop(struct ota_backup *backup);

/* --- reader.c: another thread's window onto the committed state ------------------------------ */

/* What a download URL claims, as the database has it. */
struct ota_grant {
    int64_t device_id;
    int attempt;
    bool unfinished;
    int64_t image;
    int64_t size;
    char sha256[OTA_SHA256_HEX + 1];
};

/* A read-only connection of its own with a lock inside: any thread may call, one at a time runs. */
OTA_CHECKED enum ota_err ota_reader_open(const char *path, struct ota_reader **reader,
                                         struct ota_error *error);
void ota_reader_close(struct ota_reader *reader);

/* Task and firmware as they stand now; OTA_NOT_FOUND where either is gone or they don't match. */
OTA_CHECKED enum ota_err ota_reader_grant(struct ota_reader *reader, int64_t task_id,
                                          int64_t firmware_id, struct ota_grant *grant,
                                          struct ota_error *error);
/* Writes the whole image, `size` bytes, to the file descriptor. */
OTA_CHECKED enum ota_err ota_reader_copy_image(struct ota_reader *reader, int64_t image,
                                               int64_t size, int fd, struct ota_error *error);

#endif
