/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: an input as a file with a path, for what reads files; it lies in memory and has no name
 *       that could be left behind.
 * Thread: the target's.
 * Frees: fuzz_file_close.
 */
#ifndef OTA_FUZZ_FILE_H
#define OTA_FUZZ_FILE_H

#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"

struct fuzz_file {
    int fd;
    char path[32];
};

static inline void fuzz_file_open(struct fuzz_file *file, const void *bytes, size_t len)
{
    file->fd = memfd_create("fuzz", MFD_CLOEXEC);
    FUZZ_CHECK(file->fd >= 0);
    FUZZ_CHECK(len == 0 || write(file->fd, bytes, len) == (ssize_t)len);
    (void)snprintf(file->path, sizeof file->path, "/proc/self/fd/%d", file->fd);
}

static inline void fuzz_file_close(struct fuzz_file *file)
{
    (void)close(file->fd);
}

#endif
