/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what the loops over faults share: where a loop is, and what it found. A lie is told and
 *       counted; the test goes on and fails at its end, so that one run shows all.
 * Thread: the test's.
 * Frees: nothing.
 */
#ifndef OTA_TEST_LOOP_H
#define OTA_TEST_LOOP_H

#include <stdbool.h>

#include "faults.h"

struct loop {
    const char *name;
    enum faults_kind kind;
    bool lasting;
    int n;                   /* which one fails; 0: none */
    bool cold;               /* the turn begins with memory as after a start */
    int turns[FAULTS_KINDS]; /* in which a fault was met */
    int lies;                /* with this kind of fault */
    bool end;                /* the very last turn */
    int coarse;              /* a turn is long: this part of n at once; 0: one by one */
};

/* One turn; it ends with faults disarmed. */
typedef void (*loop_turn)(struct loop *loop, void *data);

/*
 * All kinds of faults, alone and lasting; a turn without one before and behind. From the last one
 * to the first: what a turn that failed leaves grown (an index, a cache) isn't allocated by the
 * next, which would skip others on the way up.
 */
void loop_run(struct loop *loop, loop_turn turn, void *data);
/* One kind and manner of fault. */
void loop_run_one(struct loop *loop, enum faults_kind kind, bool lasting, loop_turn turn,
                  void *data);

/* Shows where the two texts part. */
void loop_lie(struct loop *loop, const char *what, const char *have, const char *want);
void loop_same(struct loop *loop, const char *what, const char *have, const char *want);

/* All of them, in all loops. */
int loop_lies(void);
/* Nothing is left out, and each turn begins cold. */
bool loop_is_full(void);
/* OTA_LOOPS_ONLY is this one's name, or not set. */
bool loop_wanted(const char *name);

#endif
