/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: faults on demand for the loops: the n-th allocation fails (ours, jansson's, SQLite's, and
 *       the digests), or the n-th call of SQLite, or the n-th access of SQLite to its files.
 * Thread: any; it is the test's own thread that is hit, or all others (faults_arm_elsewhere).
 * Frees: nothing. A test that uses it is linked with the WRAP list ota_loop_test has.
 */
#ifndef OTA_TEST_FAULTS_H
#define OTA_TEST_FAULTS_H

#include <stdbool.h>

enum faults_kind { FAULTS_MEMORY, FAULTS_CALL, FAULTS_FILE, FAULTS_KINDS };

/* Before anything else in main: SQLite and jansson take their memory through here from now on. */
void faults_install(void);

/* The n-th one from here on fails (1: the next; 0: none), and with `lasting` every one behind it.
 */
void faults_arm(enum faults_kind kind, int n, bool lasting);
/* The same, but for threads other than the test's. */
void faults_arm_elsewhere(enum faults_kind kind, int n, bool lasting);
void faults_disarm(void);
/* All random bytes are this one from here on, so that what is made twice is the same. */
void faults_set_random(unsigned char byte);
/* Whether one has failed since they were armed, and how many there were. */
bool faults_fired(void);
int faults_passed(void);

const char *faults_name(enum faults_kind kind);

#endif
