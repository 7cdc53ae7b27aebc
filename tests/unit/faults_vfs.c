/* SPDX-License-Identifier: BSD-3-Clause */
#include "faults_vfs.h"

#include <sqlite3.h>
#include <stdlib.h>

struct file {
    sqlite3_file base;
    sqlite3_file *real; /* behind this struct */
};

static sqlite3_vfs vfs;
static sqlite3_vfs *below;

static sqlite3_file *real_of(sqlite3_file *file)
{
    return ((struct file *)file)->real;
}

/* --- what fails ------------------------------------------------------------------------------- */

static int file_read(sqlite3_file *file, void *bytes, int len, sqlite3_int64 at)
{
    return faults_strike_file() ? SQLITE_IOERR_READ
                                : real_of(file)->pMethods->xRead(real_of(file), bytes, len, at);
}

/* What doesn't fit is written as far as it does. */
static int file_write(sqlite3_file *file, const void *bytes, int len, sqlite3_int64 at)
{
    if (!faults_strike_file()) {
        return real_of(file)->pMethods->xWrite(real_of(file), bytes, len, at);
    }
    (void)real_of(file)->pMethods->xWrite(real_of(file), bytes, len / 2, at);
    return SQLITE_FULL;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return faults_strike_file() ? SQLITE_IOERR_TRUNCATE
                                : real_of(file)->pMethods->xTruncate(real_of(file), size);
}

static int file_sync(sqlite3_file *file, int flags)
{
    return faults_strike_file() ? SQLITE_IOERR_FSYNC
                                : real_of(file)->pMethods->xSync(real_of(file), flags);
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return faults_strike_file() ? SQLITE_IOERR_FSTAT
                                : real_of(file)->pMethods->xFileSize(real_of(file), size);
}

static int file_lock(sqlite3_file *file, int level)
{
    return faults_strike_file() ? SQLITE_BUSY
                                : real_of(file)->pMethods->xLock(real_of(file), level);
}

static int file_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **map)
{
    return faults_strike_file()
               ? SQLITE_IOERR_SHMMAP
               : real_of(file)->pMethods->xShmMap(real_of(file), page, size, extend, map);
}

static int file_shm_lock(sqlite3_file *file, int at, int count, int flags)
{
    if ((flags & SQLITE_SHM_LOCK) != 0 && faults_strike_file()) {
        return SQLITE_BUSY;
    }
    return real_of(file)->pMethods->xShmLock(real_of(file), at, count, flags);
}

/* --- what doesn't ----------------------------------------------------------------------------- */

static int file_close(sqlite3_file *file)
{
    return real_of(file)->pMethods != NULL ? real_of(file)->pMethods->xClose(real_of(file))
                                           : SQLITE_OK;
}

static int file_unlock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int file_reserved(sqlite3_file *file, int *is)
{
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), is);
}

static int file_control(sqlite3_file *file, int op, void *arg)
{
    return real_of(file)->pMethods->xFileControl(real_of(file), op, arg);
}

static int file_sector(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int file_traits(sqlite3_file *file)
{
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static void file_shm_barrier(sqlite3_file *file)
{
    real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static int file_shm_unmap(sqlite3_file *file, int delete)
{
    return real_of(file)->pMethods->xShmUnmap(real_of(file), delete);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2, /* without xFetch: the plugin maps nothing */
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector,
    .xDeviceCharacteristics = file_traits,
    .xShmMap = file_shm_map,
    .xShmLock = file_shm_lock,
    .xShmBarrier = file_shm_barrier,
    .xShmUnmap = file_shm_unmap,
};

static int vfs_open(sqlite3_vfs *self, const char *name, sqlite3_file *file, int flags, int *out)
{
    struct file *made = (struct file *)file;
    (void)self;
    made->base.pMethods = NULL;
    if (faults_strike_file()) {
        return SQLITE_CANTOPEN;
    }
    made->real = (sqlite3_file *)(made + 1);
    made->real->pMethods = NULL;
    int rc = below->xOpen(below, name, made->real, flags, out);
    made->base.pMethods = made->real->pMethods != NULL ? &methods : NULL;
    return rc;
}

static int vfs_delete(sqlite3_vfs *self, const char *name, int sync)
{
    (void)self;
    return faults_strike_file() ? SQLITE_IOERR_DELETE : below->xDelete(below, name, sync);
}

/* The loops don't wait for a lock that nobody will give back. */
static int vfs_sleep(sqlite3_vfs *self, int us)
{
    (void)self;
    return us;
}

void faults_vfs_install(void)
{
    below = sqlite3_vfs_find(NULL);
    if (below == NULL) {
        abort();
    }
    vfs = *below;
    vfs.pNext = NULL;
    vfs.zName = "faults";
    vfs.szOsFile = (int)sizeof(struct file) + below->szOsFile;
    vfs.xOpen = vfs_open;
    vfs.xDelete = vfs_delete;
    vfs.xSleep = vfs_sleep;
    if (sqlite3_vfs_register(&vfs, 1) != SQLITE_OK) {
        abort();
    }
}
