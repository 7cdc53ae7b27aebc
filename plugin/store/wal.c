/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SQLite takes a WAL up to the first frame that isn't right and drops the rest without a word: that
 * is what a torn last write wants. Damage in its midst looks the same to it, but not to us.
 */
#include <endian.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store_internal.h"

#define HEADER_SIZE  32
#define FRAME_HEADER 24
#define MAGIC        0x377f0682u /* its last bit: checksums of big-endian words */
#define PAGE_MIN     512u
#define PAGE_MAX     65536u

struct wal {
    int fd;
    uint32_t magic;
    uint32_t page_size;
    unsigned char salts[8];
    uint32_t sum[2]; /* of all before */
};

static uint32_t word_at(const unsigned char *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return be32toh(word);
}

static void add_sum(const struct wal *wal, const unsigned char *bytes, size_t len, uint32_t sum[2])
{
    for (size_t i = 0; i < len; i += 8) {
        uint32_t words[2];
        memcpy(words, bytes + i, sizeof words);
        for (size_t j = 0; j < 2; j++) {
            words[j] = (wal->magic & 1) != 0 ? be32toh(words[j]) : le32toh(words[j]);
            sum[j] += words[j] + sum[1 - j];
        }
    }
}

/* False where the header isn't one. */
static bool read_header(struct wal *wal)
{
    unsigned char header[HEADER_SIZE];
    if (pread(wal->fd, header, sizeof header, 0) != (ssize_t)sizeof header) {
        return false;
    }
    wal->magic = word_at(header);
    wal->page_size = word_at(header + 8);
    memcpy(wal->salts, header + 16, sizeof wal->salts);
    if ((wal->magic & ~1u) != MAGIC || wal->page_size < PAGE_MIN || wal->page_size > PAGE_MAX) {
        return false;
    }
    add_sum(wal, header, 24, wal->sum);
    return word_at(header + 24) == wal->sum[0] && word_at(header + 28) == wal->sum[1];
}

/* Frames with other salts are of an earlier round, which was written back. */
static bool is_of_this_round(const struct wal *wal, const unsigned char *frame)
{
    return memcmp(frame + 8, wal->salts, sizeof wal->salts) == 0;
}

static bool is_right(struct wal *wal, const unsigned char *frame)
{
    uint32_t sum[2] = {wal->sum[0], wal->sum[1]};
    add_sum(wal, frame, 8, sum);
    add_sum(wal, frame + FRAME_HEADER, wal->page_size, sum);
    if (!is_of_this_round(wal, frame) || word_at(frame + 16) != sum[0] ||
        word_at(frame + 20) != sum[1]) {
        return false;
    }
    memcpy(wal->sum, sum, sizeof sum);
    return true;
}

/*
 * Whether a whole transaction of this round stands behind the one with the first frame that isn't
 * right. When the power goes, the last one may be there by halves; what was rolled back leaves
 * frames as well, but no commit.
 */
static bool loses_commits(struct wal *wal, unsigned char *frame)
{
    size_t size = FRAME_HEADER + wal->page_size;
    off_t at = HEADER_SIZE;
    bool right = true;
    int commits = 0;
    for (; pread(wal->fd, frame, size, at) == (ssize_t)size && commits < 2; at += (off_t)size) {
        right = right && is_right(wal, frame);
        if (!right && is_of_this_round(wal, frame) && word_at(frame + 4) != 0) {
            commits++;
        }
    }
    return commits == 2;
}

bool ota_wal_is_damaged(const char *path)
{
    struct wal wal = {.fd = open(path, O_RDONLY | O_CLOEXEC)};
    unsigned char *frame = NULL;
    bool damaged = false;
    if (wal.fd < 0 || lseek(wal.fd, 0, SEEK_END) < HEADER_SIZE + FRAME_HEADER) {
        goto out; /* nothing was ever committed there */
    }
    damaged = !read_header(&wal);
    frame = damaged ? NULL : malloc(FRAME_HEADER + (size_t)wal.page_size);
    if (frame != NULL) {
        damaged = loses_commits(&wal, frame);
    }
out:
    if (wal.fd >= 0) {
        (void)close(wal.fd);
    }
    free(frame);
    return damaged;
}
