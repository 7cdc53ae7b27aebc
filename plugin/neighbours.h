/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: which other plugin the broker loaded before ours: it is asked first about our topics, too.
 * Thread: the broker's, at load.
 * Frees: nothing.
 */
#ifndef OTA_NEIGHBOURS_H
#define OTA_NEIGHBOURS_H

#include <stdbool.h>
#include <stddef.h>

/* The file name, without its folder, of the first one; false where ours is first. */
bool ota_neighbours_before(char *name, size_t size);

#endif
