/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store_internal.h"

#define BUSY_TIMEOUT_MS 1000

enum { GRANT, BLOCK };

static const char *const statements[] = {
    [GRANT] = "SELECT t.device_id, t.attempt, t.finished_at IS NULL, f.image, f.size, f.sha256 "
              "FROM task t JOIN firmware f ON f.id = t.firmware_id "
              "WHERE t.id = :task_id AND f.id = :firmware_id",
    [BLOCK] = "SELECT data FROM image_block WHERE image = :image AND seq = :seq",
};

const struct ota_table ota_table_reader = OTA_TABLE("reader", statements);

struct ota_reader {
    struct ota_conn conn;
    pthread_mutex_t lock; /* held while the connection is used, never while a file is written */
};

enum ota_err ota_reader_open(const char *path, struct ota_reader **reader, struct ota_error *error)
{
    struct ota_reader *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return ota_error_set(error, OTA_UNAVAILABLE, NULL, "memory is out");
    }
    (void)pthread_mutex_init(&made->lock, NULL);
    enum ota_err err = ota_conn_open(&made->conn, path, SQLITE_OPEN_READONLY, error);
    if (err == OTA_OK) {
        (void)sqlite3_busy_timeout(made->conn.db, BUSY_TIMEOUT_MS);
        err = ota_conn_exec(&made->conn, "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON",
                            error);
    }
    if (err == OTA_OK) {
        err = ota_conn_prepare(&made->conn, OTA_TABLE_READER, OTA_TABLE_READER, error);
    }
    if (err != OTA_OK) {
        ota_reader_close(made);
        return err;
    }
    *reader = made;
    return OTA_OK;
}

void ota_reader_close(struct ota_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    ota_conn_close(&reader->conn);
    (void)pthread_mutex_destroy(&reader->lock);
    free(reader);
}

enum ota_err ota_reader_grant(struct ota_reader *reader, int64_t task_id, int64_t firmware_id,
                              struct ota_grant *grant, struct ota_error *error)
{
    (void)pthread_mutex_lock(&reader->lock);
    struct ota_query query;
    ota_query_begin(&query, &reader->conn, OTA_TABLE_READER, GRANT, error);
    ota_bind_int(&query, ":task_id", task_id);
    ota_bind_int(&query, ":firmware_id", firmware_id);
    bool found = ota_query_row(&query);
    if (found) {
        grant->device_id = ota_next_int(&query);
        grant->attempt = (int)ota_next_int(&query);
        grant->unfinished = ota_next_int(&query) != 0;
        grant->image = ota_next_int(&query);
        grant->size = ota_next_int(&query);
        ota_next_text(&query, grant->sha256, sizeof grant->sha256);
    }
    enum ota_err err = ota_query_end_found(&query, found);
    (void)pthread_mutex_unlock(&reader->lock);
    return err;
}

static enum ota_err read_block(struct ota_reader *reader, int64_t image, int64_t seq, void *bytes,
                               size_t *len, struct ota_error *error)
{
    (void)pthread_mutex_lock(&reader->lock);
    struct ota_query query;
    ota_query_begin(&query, &reader->conn, OTA_TABLE_READER, BLOCK, error);
    ota_bind_int(&query, ":image", image);
    ota_bind_int(&query, ":seq", seq);
    bool found = ota_query_row(&query);
    if (found) {
        *len = ota_next_blob(&query, bytes, OTA_BLOCK_SIZE);
    }
    enum ota_err err = ota_query_end_found(&query, found);
    (void)pthread_mutex_unlock(&reader->lock);
    return err;
}

static enum ota_err write_all(int fd, const unsigned char *bytes, size_t len,
                              struct ota_error *error)
{
    while (len > 0) {
        ssize_t written = write(fd, bytes, len);
        if (written < 0 && errno != EINTR) {
            return ota_error_set(error, OTA_UNAVAILABLE, NULL,
                                 "a copy of the image can't be "
                                 "written (%s)",
                                 strerror(errno));
        }
        if (written > 0) {
            bytes += written;
            len -= (size_t)written;
        }
    }
    return OTA_OK;
}

enum ota_err ota_reader_copy_image(struct ota_reader *reader, int64_t image, int64_t size, int fd,
                                   struct ota_error *error)
{
    unsigned char *block = malloc(OTA_BLOCK_SIZE);
    if (block == NULL) {
        return ota_error_set(error, OTA_UNAVAILABLE, NULL, "memory is out");
    }
    enum ota_err err = OTA_OK;
    int64_t left = size;
    for (int64_t seq = 0; left > 0 && err == OTA_OK; seq++) {
        size_t len = 0;
        size_t due = left < OTA_BLOCK_SIZE ? (size_t)left : OTA_BLOCK_SIZE;
        err = read_block(reader, image, seq, block, &len, error);
        if (err == OTA_OK && len != due) {
            err = ota_error_set(error, OTA_INTERNAL, NULL, "image %lld isn't %lld bytes long",
                                (long long)image, (long long)size);
        }
        if (err == OTA_OK) {
            err = write_all(fd, block, len, error);
        }
        left -= (int64_t)len;
    }
    free(block);
    return err;
}
