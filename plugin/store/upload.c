/* SPDX-License-Identifier: BSD-3-Clause */
#include "store_internal.h"

enum {
    IMAGE_INSERT,
    IMAGE_DOOM,
    IMAGE_DEAD,
    IMAGE_DELETE,
    BLOCK_INSERT,
    BLOCK_EXTEND,
    BLOCK_GET,
    BLOCK_PURGE,
    INSERT,
    GET,
    EACH,
    ADVANCE,
    GET_IMAGE,
    DELETE,
    FIRST_OF_PRODUCT
};

#define COLUMNS                                                                                    \
    "id, image, user, product_id, version, ord, filename, size, sha256, description, signature, "  \
    "received, touched_at"

static const char *const statements[] = {
    [IMAGE_INSERT] = "INSERT INTO image (dead) VALUES (0)",
    [IMAGE_DOOM] = "UPDATE image SET dead = 1 WHERE id = :id",
    [IMAGE_DEAD] = "SELECT id FROM image WHERE dead = 1 LIMIT 1",
    [IMAGE_DELETE] = "DELETE FROM image WHERE id = :id",
    [BLOCK_INSERT] = "INSERT INTO image_block (image, seq, data) VALUES (:image, :seq, :data)",
    /* Bytes joined by || are text to SQLite until they are cast back. */
    [BLOCK_EXTEND] = "UPDATE image_block SET data = CAST (data || :data AS BLOB) "
                     "WHERE image = :image AND seq = :seq AND length(data) = :within",
    [BLOCK_GET] = "SELECT data FROM image_block WHERE image = :image AND seq = :seq",
    [BLOCK_PURGE] = "DELETE FROM image_block WHERE rowid IN "
                    "(SELECT rowid FROM image_block WHERE image = :id LIMIT :rows)",
    [INSERT] = "INSERT INTO upload (image, user, product_id, version, ord, filename, size, sha256, "
               "description, signature, received, touched_at) "
               "VALUES (:image, :user, :product_id, :version, :ord, :filename, :size, :sha256, "
               ":description, :signature, 0, :touched_at)",
    [GET] = "SELECT " COLUMNS " FROM upload WHERE id = :id",
    [EACH] = "SELECT " COLUMNS " FROM upload ORDER BY id",
    [ADVANCE] = "UPDATE upload SET received = received + :len, touched_at = :now "
                "WHERE id = :id AND image = :image AND received = :offset",
    [GET_IMAGE] = "SELECT image FROM upload WHERE id = :id",
    [DELETE] = "DELETE FROM upload WHERE id = :id",
    [FIRST_OF_PRODUCT] = "SELECT id FROM upload WHERE product_id = :id LIMIT 1",
};

const struct ota_table ota_table_upload = OTA_TABLE("upload", statements);

static void begin(struct ota_query *query, struct ota_store *store, int which,
                  struct ota_error *error)
{
    ota_query_begin(query, &store->conn, OTA_TABLE_UPLOAD, which, error);
}

static void read_row(struct ota_query *query, void *data)
{
    struct ota_upload_row *row = data;
    row->id = ota_next_int(query);
    row->image = ota_next_int(query);
    ota_next_text(query, row->user, sizeof row->user);
    row->product_id = ota_next_int(query);
    ota_next_text(query, row->version, sizeof row->version);
    row->has_order = !ota_next_is_null(query);
    row->order = ota_next_int(query);
    ota_next_text(query, row->filename, sizeof row->filename);
    row->size = ota_next_int(query);
    ota_next_text(query, row->sha256, sizeof row->sha256);
    ota_next_text(query, row->description, sizeof row->description);
    ota_next_text(query, row->signature, sizeof row->signature);
    row->received = ota_next_int(query);
    row->touched_at = ota_next_int(query);
}

static enum ota_err draw_image(struct ota_store *store, int64_t *image, struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, IMAGE_INSERT, error);
    return ota_query_insert(&query, image);
}

static enum ota_err insert_row(struct ota_store *store, const struct ota_upload_row *row,
                               int64_t image, struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, INSERT, error);
    ota_bind_int(&query, ":image", image);
    ota_bind_text(&query, ":user", row->user);
    ota_bind_int(&query, ":product_id", row->product_id);
    ota_bind_text(&query, ":version", row->version);
    if (row->has_order) {
        ota_bind_int(&query, ":ord", row->order);
    }
    ota_bind_text(&query, ":filename", row->filename);
    ota_bind_int(&query, ":size", row->size);
    ota_bind_text(&query, ":sha256", row->sha256);
    ota_bind_text(&query, ":description", row->description);
    ota_bind_text(&query, ":signature", row->signature);
    ota_bind_int(&query, ":touched_at", row->touched_at);
    return ota_query_write(&query);
}

enum ota_err ota_upload_insert(struct ota_store *store, struct ota_upload_row *row,
                               struct ota_error *error)
{
    int64_t image = 0;
    enum ota_err err = draw_image(store, &image, error);
    if (err == OTA_OK) {
        err = insert_row(store, row, image, error);
    }
    if (err == OTA_OK) {
        row->id = sqlite3_last_insert_rowid(store->conn.db);
        row->image = image;
        row->received = 0;
    }
    return err;
}

enum ota_err ota_upload_get(struct ota_store *store, int64_t id, struct ota_upload_row *row,
                            struct ota_error *error)
{
    return ota_read_row(store, OTA_TABLE_UPLOAD, GET, id, read_row, row, error);
}

enum ota_err ota_upload_each(struct ota_store *store, ota_upload_fn fn, void *data,
                             struct ota_error *error)
{
    struct ota_upload_row row;
    struct ota_query query;
    begin(&query, store, EACH, error);
    while (ota_query_row(&query)) {
        read_row(&query, &row);
        if (!fn(data, &row)) {
            break;
        }
    }
    return ota_query_end(&query);
}

/* Tells a wrong offset from an upload that isn't there. */
static enum ota_err explain_advance(struct ota_store *store, int64_t id, int64_t image,
                                    struct ota_error *error)
{
    struct ota_upload_row row = {0};
    enum ota_err err = ota_upload_get(store, id, &row, error);
    if (err != OTA_OK) {
        return err;
    }
    if (row.image != image) {
        return OTA_NOT_FOUND;
    }
    return ota_error_set(error, OTA_CONFLICT, "offset",
                         "go on at offset %lld, where the upload stands", (long long)row.received);
}

static enum ota_err advance(struct ota_store *store, int64_t id, int64_t image, int64_t offset,
                            size_t len, int64_t now, struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, ADVANCE, error);
    ota_bind_int(&query, ":len", (int64_t)len);
    ota_bind_int(&query, ":now", now);
    ota_bind_int(&query, ":id", id);
    ota_bind_int(&query, ":image", image);
    ota_bind_int(&query, ":offset", offset);
    enum ota_err err = ota_query_write_row(&query);
    return err == OTA_NOT_FOUND ? explain_advance(store, id, image, error) : err;
}

/* Bytes that fit into one row of the image, which begins at `within` of it. */
static enum ota_err put_block(struct ota_store *store, int64_t image, int64_t seq, int64_t within,
                              const void *bytes, size_t len, struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, within == 0 ? BLOCK_INSERT : BLOCK_EXTEND, error);
    ota_bind_int(&query, ":image", image);
    ota_bind_int(&query, ":seq", seq);
    ota_bind_blob(&query, ":data", bytes, len);
    if (within != 0) {
        ota_bind_int(&query, ":within", within);
    }
    enum ota_err err = ota_query_write_row(&query);
    if (err == OTA_NOT_FOUND) {
        err = ota_error_set(error, OTA_INTERNAL, NULL, "image %lld has lost bytes of block %lld",
                            (long long)image, (long long)seq);
    }
    return err;
}

enum ota_err ota_upload_append(struct ota_store *store, int64_t id, int64_t image, int64_t offset,
                               const void *bytes, size_t len, int64_t now, struct ota_error *error)
{
    if (len < 1 || len > OTA_BLOCK_SIZE || offset < 0) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "data", "send 1 to %d bytes at a time",
                             OTA_BLOCK_SIZE);
    }
    enum ota_err err = advance(store, id, image, offset, len, now, error);
    const unsigned char *from = bytes;
    while (err == OTA_OK && len > 0) {
        int64_t within = offset % OTA_BLOCK_SIZE;
        size_t room = (size_t)(OTA_BLOCK_SIZE - within);
        size_t part = len < room ? len : room;
        err = put_block(store, image, offset / OTA_BLOCK_SIZE, within, from, part, error);
        from += part;
        offset += (int64_t)part;
        len -= part;
    }
    return err;
}

enum ota_err ota_upload_delete(struct ota_store *store, int64_t id, bool keep_image,
                               struct ota_error *error)
{
    int64_t image = 0;
    enum ota_err err = ota_read_id(store, OTA_TABLE_UPLOAD, GET_IMAGE, id, &image, error);
    if (err == OTA_OK) {
        err = ota_write_id(store, OTA_TABLE_UPLOAD, DELETE, id, error);
    }
    return err == OTA_OK && !keep_image ? ota_image_doom(store, image, error) : err;
}

static enum ota_err purge_one(struct ota_store *store, int64_t id, int *budget,
                              struct ota_error *error)
{
    (*budget)--;
    return ota_upload_delete(store, id, false, error);
}

enum ota_err ota_upload_purge(struct ota_store *store, int64_t product_id, int *budget,
                              struct ota_error *error)
{
    static const struct ota_purge purge = {OTA_TABLE_UPLOAD, FIRST_OF_PRODUCT, purge_one};
    return ota_purge_each(store, &purge, product_id, budget, NULL, error);
}

enum ota_err ota_image_block(struct ota_store *store, int64_t image, int64_t seq, void *bytes,
                             size_t *len, struct ota_error *error)
{
    struct ota_query query;
    begin(&query, store, BLOCK_GET, error);
    ota_bind_int(&query, ":image", image);
    ota_bind_int(&query, ":seq", seq);
    bool found = ota_query_row(&query);
    if (found) {
        *len = ota_next_blob(&query, bytes, OTA_BLOCK_SIZE);
    }
    return ota_query_end_found(&query, found);
}

enum ota_err ota_image_doom(struct ota_store *store, int64_t image, struct ota_error *error)
{
    return ota_write_id(store, OTA_TABLE_UPLOAD, IMAGE_DOOM, image, error);
}

/* At most *budget blocks; the image's own row when none is left. */
static enum ota_err purge_image(struct ota_store *store, int64_t image, int *budget,
                                struct ota_error *error)
{
    enum ota_err err = ota_purge_some(store, OTA_TABLE_UPLOAD, BLOCK_PURGE, image, budget, error);
    if (err != OTA_OK || *budget <= 0) {
        return err;
    }
    (*budget)--;
    return ota_write_id(store, OTA_TABLE_UPLOAD, IMAGE_DELETE, image, error);
}

enum ota_err ota_image_purge(struct ota_store *store, int rows, bool *left, struct ota_error *error)
{
    static const struct ota_purge purge = {OTA_TABLE_UPLOAD, IMAGE_DEAD, purge_image};
    return ota_purge_each(store, &purge, 0, &rows, left, error);
}
