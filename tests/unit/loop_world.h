/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the world of the loops over faults: products, firmware, uploads, tasks and batches in each
 *       state that a command wants to find, made once; and what of it can be seen: the database's
 *       rows, and what memory knows.
 * Thread: the test's.
 * Frees: world_close; world_free_state; the texts of world_rows and world_memory are
 *        the caller's.
 */
#ifndef OTA_TEST_LOOP_WORLD_H
#define OTA_TEST_LOOP_WORLD_H

#include <sqlite3.h>

#include "desk.h"
#include "loop.h"

#define WORLD_DEVICES 128

struct world {
    struct desk *desk;
    void *file; /* the database as it was made */
    size_t file_size;
    sqlite3 *reader; /* sees what is committed */
    int64_t version; /* of the data, when it was looked at last */
    int64_t unix_ms;
    int crowd;
    char names[WORLD_DEVICES][16];
    struct mosquitto clients[WORLD_DEVICES];
};

/* With so many connected devices c0, c1, … besides. */
void world_open(struct world *world, int crowd);
void world_close(struct world *world);
/* What main returns: the test runs in a world of its own, and faults can be had. */
int world_main(struct world *world, int crowd, const struct CMUnitTest *test);

/* The database as it was made, and the broker just started; those are connected that were. */
void world_restore(struct world *world);
/* The same database as it is now, loaded again after a kill. */
void world_reload(struct world *world);
/* Memory alone is made again, from the open database; in a full run world_restore. */
void world_cool(struct world *world);

/* Whether something was committed since the last call of this or of world_restore. */
bool world_changed(struct world *world);
/* All rows of all tables but of meta, as they are committed. */
char *world_rows(struct world *world);
/* What memory knows: all; without what a start may make otherwise; and without what depends on the
 * moment. */
enum world_detail { WORLD_ALL, WORLD_KEPT, WORLD_STANDING };
char *world_memory(struct world *world, enum world_detail detail);
char *world_memory_of(const struct ota_core *core, enum world_detail detail);

/* --- before and after --- */

struct world_state {
    char *rows;
    char *memory; /* all */
    char *kept;
};

struct world_state world_state(struct world *world);
void world_free_state(struct world_state *state);

/* All of `after` is there, or all of `before`, in the database and in memory; true: after. */
bool world_check(struct world *world, struct loop *loop, const struct world_state *before,
                 const struct world_state *after);
/* The same of what says itself whether it was done; true where something was committed. */
bool world_check_as(struct world *world, struct loop *loop, bool done,
                    const struct world_state *before, const struct world_state *after);
/* What a start makes of the database is what memory was. */
void world_check_kept(struct world *world, struct loop *loop, const struct world_state *state);

struct mosquitto *world_client(struct world *world, const char *device);

#endif
