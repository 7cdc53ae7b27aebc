/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the world of the loops over faults: products, firmware, uploads, tasks and batches in each
 *       state that a command wants to find, made once; and what of it can be seen: the database's
 *       rows, and what memory knows.
 * Thread: the test's.
 * Frees: world_close; the texts of world_rows and world_memory are the caller's.
 */
#ifndef OTA_TEST_LOOP_WORLD_H
#define OTA_TEST_LOOP_WORLD_H

#include <sqlite3.h>

#include "desk.h"

#define WORLD_DEVICES 24

struct world {
    struct desk *desk;
    void *file; /* the database as it was made */
    size_t file_size;
    sqlite3 *reader; /* sees what is committed */
    int64_t version; /* of the data, when it was looked at last */
    int64_t unix_ms;
    char names[WORLD_DEVICES][8];
    struct mosquitto clients[WORLD_DEVICES];
};

void world_open(struct world *world);
void world_close(struct world *world);

/* The database as it was made, and the broker just started; those are connected that were. */
void world_restore(struct world *world);
/* The same database as it is now, loaded again after a kill. */
void world_reload(struct world *world);

/* Whether something was committed since the last call of this or of world_restore. */
bool world_changed(struct world *world);
/* All rows of all tables, as they are committed. */
char *world_rows(struct world *world);
/* What memory knows: all; without what a start may make otherwise; and without what depends on the
 * moment. */
enum world_detail { WORLD_ALL, WORLD_KEPT, WORLD_STANDING };
char *world_memory(struct world *world, enum world_detail detail);

struct mosquitto *world_client(struct world *world, const char *device);

#endif
