/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: files that are whole or not there, whenever the machine stops: they are written under the
 *       name of a part, and get their own when all of it is on the disk.
 * Thread: any.
 * Frees: nothing.
 */
#ifndef OTA_UTIL_NEW_FILE_H
#define OTA_UTIL_NEW_FILE_H

#include <stdbool.h>

/* Gives what was written to fd, the part, its name, and that to the disk; never over another file
 * (EEXIST). False: errno says why, and nothing has the name that hadn't before. */
bool ota_new_file_publish(int fd, const char *part, const char *path);

/* Names are in the folder: what a file there was called lasts when this is true; else errno. */
bool ota_new_file_sync_folder(const char *path);

#endif
