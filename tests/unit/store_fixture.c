/* SPDX-License-Identifier: BSD-3-Clause */
#include "store_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- a disk that fails ------------------------------------------------------------------------ */

static atomic_int writes_left = INT_MAX;
static atomic_int fail_reason;

static ssize_t failing_pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
    if (atomic_load(&writes_left) != INT_MAX && atomic_fetch_sub(&writes_left, 1) <= 0) {
        if (atomic_load(&fail_reason) == FIX_KILLED) {
            _exit(FIX_KILLED);
        }
        errno = atomic_load(&fail_reason);
        return -1;
    }
    return pwrite(fd, bytes, len, offset);
}

static void install_disk(void)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    sqlite3_syscall_ptr ours = (sqlite3_syscall_ptr)failing_pwrite;
    assert_int_equal(vfs->xSetSystemCall(vfs, "pwrite", ours), SQLITE_OK);
    assert_int_equal(vfs->xSetSystemCall(vfs, "pwrite64", ours), SQLITE_OK);
}

void fix_fail_disk(int writes, int reason)
{
    atomic_store(&fail_reason, reason);
    atomic_store(&writes_left, writes);
}

void fix_heal_disk(void)
{
    atomic_store(&writes_left, INT_MAX);
}

/* --- memory that runs out --------------------------------------------------------------------- */

static atomic_int allocations_left = -1;
static sqlite3_mem_methods real_memory;

static bool memory_is_out(void)
{
    int left = atomic_load(&allocations_left);
    if (left > 0) {
        (void)atomic_fetch_sub(&allocations_left, 1);
    }
    return left == 0;
}

static void *failing_malloc(int size)
{
    return memory_is_out() ? NULL : real_memory.xMalloc(size);
}

static void *failing_realloc(void *old, int size)
{
    return memory_is_out() ? NULL : real_memory.xRealloc(old, size);
}

/* Before SQLite is used for the first time. */
static void install_memory(void)
{
    static bool installed;
    if (installed) {
        return;
    }
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory), SQLITE_OK);
    sqlite3_mem_methods ours = real_memory;
    ours.xMalloc = failing_malloc;
    ours.xRealloc = failing_realloc;
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &ours), SQLITE_OK);
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0), SQLITE_OK);
    installed = true;
}

void fix_fail_memory(int allocations)
{
    atomic_store(&allocations_left, allocations);
}

/* --- opening ---------------------------------------------------------------------------------- */

static bool is_online(void *data, int64_t id)
{
    const struct store_fixture *fix = data;
    return id == fix->online;
}

enum ota_err fix_open_with(struct store_fixture *fix, const struct ota_migration *migrations,
                           int count)
{
    struct ota_store_config config = {
        .path = fix->path, .now = FIX_NOW, .online = is_online, .online_data = fix};
    fix->store = NULL;
    fix->error = (struct ota_error){0};
    return ota_store_open_with(&config, migrations, count, &fix->store, &fix->error);
}

enum ota_err fix_open(struct store_fixture *fix)
{
    return fix_open_with(fix, ota_migrations, ota_migration_count);
}

void fix_close(struct store_fixture *fix)
{
    ota_store_close(fix->store);
    fix->store = NULL;
}

int store_setup(void **state)
{
    struct store_fixture *fix = calloc(1, sizeof *fix);
    assert_non_null(fix);
    install_memory();
    install_disk();
    (void)snprintf(fix->dir, sizeof fix->dir, "/tmp/ota-store-XXXXXX");
    assert_non_null(mkdtemp(fix->dir));
    (void)snprintf(fix->path, sizeof fix->path, "%s/ota.db", fix->dir);
    assert_int_equal(fix_open(fix), OTA_OK);
    *state = fix;
    return 0;
}

static void remove_dir(const char *dir)
{
    char path[512];
    DIR *open_dir = opendir(dir);
    for (struct dirent *entry = NULL; open_dir != NULL && (entry = readdir(open_dir)) != NULL;) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        (void)remove(path);
    }
    if (open_dir != NULL) {
        (void)closedir(open_dir);
    }
    (void)rmdir(dir);
}

int store_teardown(void **state)
{
    struct store_fixture *fix = *state;
    fix_heal_disk();
    fix_fail_memory(-1);
    fix_close(fix);
    remove_dir(fix->dir);
    free(fix);
    return 0;
}

/* --- rows ------------------------------------------------------------------------------------- */

void fix_begin(struct store_fixture *fix)
{
    fix->error = (struct ota_error){0};
    assert_int_equal(ota_store_begin(fix->store, &fix->error), OTA_OK);
}

void fix_commit(struct store_fixture *fix)
{
    assert_int_equal(ota_store_commit(fix->store, &fix->error), OTA_OK);
}

int64_t fix_product(struct store_fixture *fix, const char *name)
{
    struct ota_product_row row = {.created_at = FIX_NOW, .description = "a door"};
    (void)snprintf(row.name, sizeof row.name, "%s", name);
    fix_begin(fix);
    assert_int_equal(ota_product_insert(fix->store, &row, &fix->error), OTA_OK);
    fix_commit(fix);
    return row.id;
}

int64_t fix_device(struct store_fixture *fix, int64_t product, const char *name)
{
    struct ota_device_row row = {.product_id = product, .created_at = FIX_NOW};
    (void)snprintf(row.name, sizeof row.name, "%s", name);
    fix_begin(fix);
    assert_int_equal(ota_device_insert(fix->store, &row, &fix->error), OTA_OK);
    fix_commit(fix);
    return row.id;
}

struct ota_upload_row fix_upload_row(int64_t product, const char *version, int64_t size)
{
    struct ota_upload_row row = {.product_id = product, .size = size, .touched_at = FIX_NOW};
    (void)snprintf(row.user, sizeof row.user, "admin");
    (void)snprintf(row.version, sizeof row.version, "%s", version);
    (void)snprintf(row.filename, sizeof row.filename, "fw.bin");
    (void)snprintf(row.sha256, sizeof row.sha256, "%s", FIX_SHA256);
    return row;
}

static void append_all(struct store_fixture *fix, const struct ota_upload_row *upload)
{
    unsigned char *bytes = malloc(OTA_BLOCK_SIZE);
    assert_non_null(bytes);
    for (int64_t offset = 0; offset < upload->size; offset += OTA_BLOCK_SIZE) {
        int64_t left = upload->size - offset;
        size_t len = left < OTA_BLOCK_SIZE ? (size_t)left : OTA_BLOCK_SIZE;
        for (size_t i = 0; i < len; i++) {
            bytes[i] = (unsigned char)(offset + (int64_t)i);
        }
        assert_int_equal(ota_upload_append(fix->store, upload->id, upload->image, offset, bytes,
                                           len, FIX_NOW, &fix->error),
                         OTA_OK);
    }
    free(bytes);
}

int64_t fix_firmware(struct store_fixture *fix, int64_t product, const char *version, int64_t size,
                     int64_t *image)
{
    struct ota_upload_row upload = fix_upload_row(product, version, size);
    fix_begin(fix);
    assert_int_equal(ota_upload_insert(fix->store, &upload, &fix->error), OTA_OK);
    append_all(fix, &upload);
    assert_int_equal(ota_upload_delete(fix->store, upload.id, true, &fix->error), OTA_OK);
    struct ota_firmware_row row = {.product_id = product,
                                   .order = 7,
                                   .size = size,
                                   .image = upload.image,
                                   .created_at = FIX_NOW};
    (void)snprintf(row.version, sizeof row.version, "%s", version);
    (void)snprintf(row.filename, sizeof row.filename, "fw.bin");
    (void)snprintf(row.md5, sizeof row.md5, "%s", FIX_MD5);
    (void)snprintf(row.sha256, sizeof row.sha256, "%s", FIX_SHA256);
    assert_int_equal(ota_firmware_insert(fix->store, &row, &fix->error), OTA_OK);
    fix_commit(fix);
    *image = row.image;
    return row.id;
}

struct ota_task_row fix_task(struct store_fixture *fix, int64_t device, int64_t firmware)
{
    struct ota_task_row row = {.device_id = device,
                               .firmware_id = firmware,
                               .version = "2.0",
                               .from_version = "1.0",
                               .attempt = 1,
                               .timeout_ms = 900000,
                               .created_at = FIX_NOW,
                               .updated_at = FIX_NOW};
    fix_begin(fix);
    assert_int_equal(ota_task_insert(fix->store, &row, &fix->error), OTA_OK);
    fix_commit(fix);
    return row;
}

void fix_change(struct store_fixture *fix, struct ota_task_row *task, enum ota_status status)
{
    struct ota_event_row event = {.task_id = task->id, .at = FIX_NOW + 1, .status = status};
    task->status = status;
    task->finished_at = status >= OTA_FAILED ? FIX_NOW + 1 : 0;
    fix_begin(fix);
    assert_int_equal(ota_task_change(fix->store, task, &event, &fix->error), OTA_OK);
    fix_commit(fix);
}

static void add_history(struct store_fixture *fix, int64_t device, int64_t firmware)
{
    struct ota_task_row task = fix_task(fix, device, firmware);
    fix_change(fix, &task, OTA_MESSAGE_SENT);
    fix_change(fix, &task, OTA_UPGRADING);
    fix_change(fix, &task, OTA_SUCCEEDED);
    fix_begin(fix);
    assert_int_equal(ota_device_set_version(fix->store, device, "2.0", FIX_NOW, &fix->error),
                     OTA_OK);
    assert_true(ota_product_add_version(fix->store, task.product_id, "2.0", &fix->error) == OTA_OK);
    fix_commit(fix);
}

int64_t fix_full_product(struct store_fixture *fix, const char *name, int64_t *last_device)
{
    static const char *const devices[] = {"d0", "d1", "d2"};
    int64_t image = 0;
    int64_t product = fix_product(fix, name);
    int64_t firmware = fix_firmware(fix, product, "2.0", 1000, &image);
    struct ota_upload_row upload = fix_upload_row(product, "3.0", 10);
    for (int i = 0; i < 3; i++) {
        *last_device = fix_device(fix, product, devices[i]);
        add_history(fix, *last_device, firmware);
        add_history(fix, *last_device, firmware);
    }
    fix_begin(fix);
    assert_int_equal(ota_upload_insert(fix->store, &upload, &fix->error), OTA_OK);
    fix_commit(fix);
    return product;
}

/* --- what callbacks saw ----------------------------------------------------------------------- */

void fix_copy(char *to, size_t size, const char *from)
{
    (void)snprintf(to, size, "%.*s", (int)size - 1, from);
}

bool fix_note(struct fix_seen *seen, int64_t id, const char *name)
{
    if (seen->count < 64) {
        seen->ids[seen->count] = id;
        fix_copy(seen->names[seen->count], sizeof seen->names[0], name);
    }
    seen->count++;
    return seen->count != seen->stop_after;
}

/* --- files ------------------------------------------------------------------------------------ */

const char *fix_beside(const struct store_fixture *fix, const char *suffix)
{
    static char name[128];
    (void)snprintf(name, sizeof name, "%s%s", fix->path, suffix);
    return name;
}

int64_t fix_size_of(const char *path)
{
    struct stat file;
    return stat(path, &file) == 0 ? (int64_t)file.st_size : -1;
}

void fix_put_file(const char *path, const void *bytes, size_t len)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

char *fix_get_file(const char *path, size_t *len)
{
    *len = (size_t)fix_size_of(path);
    char *bytes = malloc(*len + 1);
    FILE *file = fopen(path, "rb");
    assert_non_null(bytes);
    assert_non_null(file);
    assert_int_equal(fread(bytes, 1, *len, file), *len);
    assert_int_equal(fclose(file), 0);
    return bytes;
}

void fix_sql(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

int64_t fix_int(struct store_fixture *fix, const char *sql)
{
    int64_t value = 0;
    assert_int_equal(ota_conn_int(&fix->store->conn, sql, &value, &fix->error), OTA_OK);
    return value;
}
