/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: a VFS in front of SQLite's own, whose accesses fail when faults.c says so: a full disk, a
 *       bad sector, a file that can't be opened.
 * Thread: any.
 * Frees: nothing; it stays until the test ends.
 */
#ifndef OTA_TEST_FAULTS_VFS_H
#define OTA_TEST_FAULTS_VFS_H

#include <stdbool.h>

/* Makes it the one that SQLite uses. */
void faults_vfs_install(void);

/* faults.c: whether the access that comes now fails. */
bool faults_strike_file(void);

#endif
