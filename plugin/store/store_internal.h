/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what the files of store/ share: connections, statement tables, queries, migrations.
 * Thread: a connection belongs to one thread at a time.
 * Frees: ota_conn_close; a query is a plain value that ends with ota_query_end.
 */
#ifndef OTA_STORE_STORE_INTERNAL_H
#define OTA_STORE_STORE_INTERNAL_H

#include <pthread.h>
#include <sqlite3.h>

#include "store.h"

#define OTA_APPLICATION_ID 0x4F54416D /* "OTAm": what makes a SQLite file ours */

/* --- statement tables ---------------------------------------------------------------------- */

struct ota_table {
    const char *name;
    const char *const *sql;
    int count;
};

#define OTA_TABLE(name, statements)                                                                \
    {                                                                                              \
        name, statements, sizeof(statements) / sizeof *(statements)                                \
    }

enum ota_table_id {
    OTA_TABLE_STORE,
    OTA_TABLE_PRODUCT,
    OTA_TABLE_FIRMWARE,
    OTA_TABLE_UPLOAD,
    OTA_TABLE_DEVICE,
    OTA_TABLE_TASK,
    OTA_TABLE_BATCH,
    OTA_TABLE_REQUEST,
    OTA_TABLE_OUTCOME,
    OTA_TABLE_TOKEN,
    OTA_TABLE_AUDIT,
    OTA_TABLE_SECRET,
    OTA_TABLE_READER,
    OTA_TABLE_COUNT
};

extern const struct ota_table ota_table_store;
extern const struct ota_table ota_table_product;
extern const struct ota_table ota_table_firmware;
extern const struct ota_table ota_table_upload;
extern const struct ota_table ota_table_device;
extern const struct ota_table ota_table_task;
extern const struct ota_table ota_table_batch;
extern const struct ota_table ota_table_request;
extern const struct ota_table ota_table_outcome;
extern const struct ota_table ota_table_token;
extern const struct ota_table ota_table_audit;
extern const struct ota_table ota_table_secret;
extern const struct ota_table ota_table_reader;

/* All of the above by their ids. */
const struct ota_table *ota_table_of(enum ota_table_id id);

/* --- connections ---------------------------------------------------------------------------- */

struct ota_conn {
    sqlite3 *db;
    char *path;
    sqlite3_stmt **statements; /* of all its tables, one after another */
    int count;
    int first[OTA_TABLE_COUNT]; /* where a table's statements start */
    bool rollback_due;          /* one has failed: what is read would be what nobody committed */
};

struct ota_checkpoint;

struct ota_store {
    struct ota_conn conn; /* first: a store is a connection */
    int lock_fd;
    struct ota_checkpoint *checkpoint;
    struct ota_opening opening;
    ota_online_fn online;
    void *online_data;
    const uint32_t *listed; /* what ota_listed() knows, in rising order */
    size_t listed_count;
};

/* Opens path, which must exist, with flags of sqlite3_open_v2. Closed by ota_conn_close. */
OTA_CHECKED enum ota_err ota_conn_open(struct ota_conn *conn, const char *path, int flags,
                                       struct ota_error *error);
/* Runs constant SQL, such as pragmas. */
OTA_CHECKED enum ota_err ota_conn_exec(const struct ota_conn *conn, const char *sql,
                                       struct ota_error *error);
/* The integer that constant SQL selects. */
OTA_CHECKED enum ota_err ota_conn_int(const struct ota_conn *conn, const char *sql, int64_t *value,
                                      struct ota_error *error);
/* Prepares all statements of the tables from..to, both included. */
OTA_CHECKED enum ota_err ota_conn_prepare(struct ota_conn *conn, enum ota_table_id from,
                                          enum ota_table_id to, struct ota_error *error);
/* Finalises all statements and closes; fine with what was never opened (all zero). */
void ota_conn_close(struct ota_conn *conn);

/* What SQLite's code means out of here, with a sentence that says what to do. */
enum ota_err ota_conn_fail(const struct ota_conn *conn, int rc, struct ota_error *error);

/* --- queries --------------------------------------------------------------------------------- */

/*
 * One run of a prepared statement. The first failure sticks and makes all that follows do
 * nothing, so only the end is checked. Every query that was begun is ended, by ota_query_end or
 * one of the calls that imply it.
 */
struct ota_query {
    const struct ota_conn *conn;
    sqlite3_stmt *statement;
    struct ota_error *error;
    enum ota_err err;
    int bound;  /* the parameter that was bound last */
    int column; /* the one that is read next */
};

void ota_query_begin(struct ota_query *query, struct ota_conn *conn, enum ota_table_id table,
                     int which, struct ota_error *error);

/* Ends the transaction, where there is one. */
void ota_conn_rollback(struct ota_conn *conn);

void ota_bind_int(struct ota_query *query, const char *name, int64_t value);
void ota_bind_double(struct ota_query *query, const char *name, double value);
/* 0 and "" are stored as NULL. */
void ota_bind_id(struct ota_query *query, const char *name, int64_t value);
void ota_bind_word(struct ota_query *query, const char *name, const char *text);
/* These two must outlive the query. */
void ota_bind_text(struct ota_query *query, const char *name, const char *text);
void ota_bind_blob(struct ota_query *query, const char *name, const void *bytes, size_t len);

/* Goes to the next row; false at the end and on failure. */
bool ota_query_row(struct ota_query *query);
/* Columns of the row, from the left to the right. NULL reads as 0 and "". */
/* A value of an enum with so many; anything else (the file is damaged) fails the query. */
int ota_next_choice(struct ota_query *query, int count);
double ota_next_double(struct ota_query *query);
int64_t ota_next_int(struct ota_query *query);
void ota_next_text(struct ota_query *query, char *text, size_t size);
/* Copies at most size bytes, and tells how many. */
size_t ota_next_blob(struct ota_query *query, void *bytes, size_t size);
bool ota_next_is_null(struct ota_query *query); /* stays on the column */

/* Resets the statement; what failed, or OTA_OK. */
OTA_CHECKED enum ota_err ota_query_end(struct ota_query *query);
/* As above; OTA_NOT_FOUND where nothing failed, but nothing was found either. */
OTA_CHECKED enum ota_err ota_query_end_found(struct ota_query *query, bool found);
/* Runs a statement that writes, and ends. Refused outside of a transaction. */
OTA_CHECKED enum ota_err ota_query_write(struct ota_query *query);
/* As above, of one that inserts a row: its number. */
OTA_CHECKED enum ota_err ota_query_insert(struct ota_query *query, int64_t *id);
/* As ota_query_write; OTA_NOT_FOUND where it changed no row. */
OTA_CHECKED enum ota_err ota_query_write_row(struct ota_query *query);
/*
 * Statements without parameters but :id: one that writes, as ota_query_write_row, and one that
 * selects an integer, or nothing: OTA_NOT_FOUND. (DELETE … RETURNING would be a statement of
 * several steps to SQLite, which keeps a copy of every page that such a one touches.)
 */
OTA_CHECKED enum ota_err ota_write_id(struct ota_store *store, enum ota_table_id table, int which,
                                      int64_t id, struct ota_error *error);
OTA_CHECKED enum ota_err ota_read_id(struct ota_store *store, enum ota_table_id table, int which,
                                     int64_t id, int64_t *value, struct ota_error *error);
/* As ota_read_id; *value is 0 where there is nothing. id is 0 where the statement has no :id. */
OTA_CHECKED enum ota_err ota_find_id(struct ota_store *store, enum ota_table_id table, int which,
                                     int64_t id, int64_t *value, struct ota_error *error);

/* Reads the columns of a row, from the left to the right. */
typedef void (*ota_read_fn)(struct ota_query *query, void *row);
/* The one row that a statement finds whose only parameter is :id; OTA_NOT_FOUND where it isn't. */
OTA_CHECKED enum ota_err ota_read_row(struct ota_store *store, enum ota_table_id table, int which,
                                      int64_t id, ota_read_fn read, void *row,
                                      struct ota_error *error);

/* --- doing away with rows, in slices ---------------------------------------------------------- */

/* Runs a statement that does away with at most :rows = *budget rows of :id; counts *budget down. */
OTA_CHECKED enum ota_err ota_purge_some(struct ota_store *store, enum ota_table_id table, int which,
                                        int64_t id, int *budget, struct ota_error *error);

/* Does away with one thing after the other, and with all that refers to it. */
struct ota_purge {
    enum ota_table_id table;
    int first; /* selects the number of any one of :id, which is the owner */
    /* At most *budget rows, which is counted down; what is left is found again. */
    enum ota_err (*one)(struct ota_store *store, int64_t id, int *budget, struct ota_error *error);
};

/* owner: 0 where `first` has no parameter. left, which may be NULL: more than the budget allowed.
 */
OTA_CHECKED enum ota_err ota_purge_each(struct ota_store *store, const struct ota_purge *purge,
                                        int64_t owner, int *budget, bool *left,
                                        struct ota_error *error);

struct ota_purge_older {
    enum ota_table_id table;
    int some; /* deletes at most :rows that are older than :before */
    int any;  /* selects whether there are any */
};

OTA_CHECKED enum ota_err ota_purge_older(struct ota_store *store,
                                         const struct ota_purge_older *purge, int64_t before,
                                         int rows, bool *left, struct ota_error *error);

/* OTA_INTERNAL outside of a transaction. */
OTA_CHECKED enum ota_err ota_conn_writing(const struct ota_conn *conn, struct ota_error *error);

/* Copies the database to the file, which must be empty or not there; SQLite's code, SQLITE_DONE
 * where it did. */
int ota_conn_vacuum_into(const struct ota_conn *conn, const char *path);

/* --- thread.c --------------------------------------------------------------------------------- */

/* The broker's signals are for the broker's thread: this one gets none. An errno. */
int ota_thread_start(pthread_t *thread, void *(*run)(void *), void *data, const char *name);

/* --- file.c ----------------------------------------------------------------------------------- */

/*
 * Makes sure that the file is there (an empty one where there is none), takes the lock beside it,
 * and refuses a file that has lost its contents or isn't SQLite's. *resolved, the path without
 * links, is freed with free(); closing *lock_fd gives the lock back.
 */
OTA_CHECKED enum ota_err ota_file_claim(const char *path, char **resolved, int *lock_fd,
                                        struct ota_opening *opening, struct ota_error *error);
/* The file is a database of ours now: notes who holds the lock, and that an empty file has lost
 * something from now on. */
void ota_file_hold(int lock_fd);

/* --- wal.c ------------------------------------------------------------------------------------ */

/* Whether the WAL of that name holds commits that SQLite won't read. */
bool ota_wal_is_damaged(const char *path);

/* --- migrate.c -------------------------------------------------------------------------------- */

struct ota_migration {
    int version;
    const char *sql; /* also sets user_version */
};

/* schema/NNNN_….sql, in order; made at build time. */
extern const struct ota_migration ota_migrations[];
extern const int ota_migration_count;

/* Checks whose file it is and brings it to the last migration. `now` is for a new one. */
OTA_CHECKED enum ota_err ota_migrate(const struct ota_conn *conn,
                                     const struct ota_migration *migrations, int count, int64_t now,
                                     struct ota_error *error);

/* ota_store_open with other migrations than the built-in ones. */
OTA_CHECKED enum ota_err ota_store_open_with(const struct ota_store_config *config,
                                             const struct ota_migration *migrations, int count,
                                             struct ota_store **store, struct ota_error *error);

/* --- checkpoint.c ----------------------------------------------------------------------------- */

#define OTA_WAL_SOFT_PAGES 1000  /* 4 MB: from here on the thread checkpoints */
#define OTA_WAL_HARD_PAGES 32768 /* 128 MB: from here on the writer waits for it */

OTA_CHECKED enum ota_err ota_checkpoint_start(const char *path, struct ota_checkpoint **checkpoint,
                                              struct ota_error *error);
/* NULL is fine. */
void ota_checkpoint_stop(struct ota_checkpoint *checkpoint);
/* The writer committed and its WAL is `pages` long now. */
void ota_checkpoint_note(struct ota_checkpoint *checkpoint, int pages);
/* While a reader keeps the WAL from starting afresh, holding the writer would change nothing. */
void ota_checkpoint_pin(struct ota_checkpoint *checkpoint, bool pinned);
/* Of the WAL at the last commit; 0 once all were copied. */
int ota_checkpoint_pages(struct ota_checkpoint *checkpoint);
/* Whether bulk work had better wait for it. */
void ota_checkpoint_stats(struct ota_checkpoint *checkpoint, struct ota_store_stats *stats);
bool ota_checkpoint_is_behind(struct ota_checkpoint *checkpoint);

/* --- what one table's file does for another's --------------------------------------------------
 */

/* A product that ota_product_purge removes with all that is in it; made where there is none. */
OTA_CHECKED enum ota_err ota_product_doomed(struct ota_store *store, int64_t *id,
                                            struct ota_error *error);
/* All that ends when a device does, at most *budget rows, which is counted down. */
OTA_CHECKED enum ota_err ota_device_purge(struct ota_store *store, int64_t product_id, int *budget,
                                          struct ota_error *error);
OTA_CHECKED enum ota_err ota_task_purge(struct ota_store *store, int64_t device_id, int *budget,
                                        struct ota_error *error);
OTA_CHECKED enum ota_err ota_task_purge_product(struct ota_store *store, int64_t product_id,
                                                int *budget, struct ota_error *error);
OTA_CHECKED enum ota_err ota_firmware_purge(struct ota_store *store, int64_t product_id,
                                            int *budget, struct ota_error *error);
OTA_CHECKED enum ota_err ota_upload_purge(struct ota_store *store, int64_t product_id, int *budget,
                                          struct ota_error *error);
OTA_CHECKED enum ota_err ota_batch_purge(struct ota_store *store, int64_t product_id, int *budget,
                                         struct ota_error *error);
/* Takes a device that goes off all lists. */
OTA_CHECKED enum ota_err ota_batch_unname_device(struct ota_store *store, int64_t device_id,
                                                 int *budget, struct ota_error *error);
/* Fine where the device has none. */
OTA_CHECKED enum ota_err ota_secret_forget(struct ota_store *store, int64_t device_id,
                                           struct ota_error *error);
OTA_CHECKED enum ota_err ota_image_doom(struct ota_store *store, int64_t image,
                                        struct ota_error *error);
/* Whether the device has an unfinished task. */
OTA_CHECKED enum ota_err ota_task_busy(struct ota_store *store, int64_t device_id, bool *busy,
                                       struct ota_error *error);

#endif
