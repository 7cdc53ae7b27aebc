/* SPDX-License-Identifier: BSD-3-Clause */
#include "loop.h"

/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#define LIES_SHOWN     2 /* of a loop and kind of fault */
#define LASTING_STRIDE 13
#define COLD_EVERY     20

static int all_lies;

int loop_lies(void)
{
    return all_lies;
}

bool loop_wanted(const char *name)
{
    const char *only = getenv("OTA_LOOPS_ONLY");
    return only == NULL || strcmp(only, name) == 0;
}

void loop_lie(struct loop *loop, const char *what, const char *have, const char *want)
{
    all_lies++;
    if (++loop->lies > LIES_SHOWN) {
        return;
    }
    size_t at = 0;
    size_t line = 0;
    for (; have[at] != '\0' && have[at] == want[at]; at++) {
        line = have[at] == '\n' ? at + 1 : line;
    }
    line = at > line + 80 ? at - 80 : line;
    print_error("%s, %s %d%s: %s\n    is        %.300s\n    should be %.300s\n", loop->name,
                faults_name(loop->kind), loop->n, loop->lasting ? " and all behind it" : "", what,
                have + line, want + line);
}

void loop_same(struct loop *loop, const char *what, const char *have, const char *want)
{
    if (strcmp(have, want) != 0) {
        loop_lie(loop, what, have, want);
    }
}

bool loop_is_full(void)
{
    return getenv("OTA_LOOPS_FULL") != NULL;
}

/* The campaign leaves out none; the tests have seconds. */
static int next(const struct loop *loop)
{
    if (loop_is_full()) {
        return loop->n - 1;
    }
    if (!faults_fired()) { /* what is left of them, now that all has grown */
        return faults_passed() < loop->n ? faults_passed() : loop->n - 1;
    }
    return loop->n - (loop->lasting ? LASTING_STRIDE : 1) -
           (loop->coarse != 0 ? loop->n / loop->coarse : 0);
}

static void turn_at(struct loop *loop, int n, loop_turn turn, void *data)
{
    loop->n = n;
    loop->cold = n == 0 || n % COLD_EVERY == 0 || loop_is_full();
    turn(loop, data);
    loop->turns[loop->kind] += faults_fired();
}

void loop_run_one(struct loop *loop, enum faults_kind kind, bool lasting, loop_turn turn,
                  void *data)
{
    loop->kind = kind;
    loop->lasting = lasting;
    loop->lies = 0;
    turn_at(loop, 0, turn, data);
    for (int n = faults_passed(); n > 0; n = next(loop)) {
        turn_at(loop, n, turn, data);
    }
    loop->end = kind == FAULTS_KINDS - 1 && lasting;
    turn_at(loop, 0, turn, data);
    if (loop->lies > 0) {
        print_error("%s, %s: %d lies\n", loop->name, faults_name(kind), loop->lies);
    }
}

void loop_run(struct loop *loop, loop_turn turn, void *data)
{
    for (int kind = 0; kind < FAULTS_KINDS; kind++) {
        loop_run_one(loop, (enum faults_kind)kind, false, turn, data);
        loop_run_one(loop, (enum faults_kind)kind, true, turn, data);
    }
    print_message("%s: %d allocations, %d calls, %d accesses failed\n", loop->name,
                  loop->turns[FAULTS_MEMORY], loop->turns[FAULTS_CALL], loop->turns[FAULTS_FILE]);
}
