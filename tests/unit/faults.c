/* SPDX-License-Identifier: BSD-3-Clause */
#include "faults.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faults_vfs.h"

static pthread_t own_thread;
static atomic_bool armed;
static atomic_bool elsewhere;
static atomic_bool lasts;
static atomic_bool fired;
static atomic_int armed_kind;
static atomic_int passed;
static atomic_int target;

static void arm(enum faults_kind kind, int n, bool lasting, bool others)
{
    elsewhere = others;
    lasts = lasting;
    fired = false;
    armed_kind = (int)kind;
    target = n;
    passed = 0;
    armed = true;
}

void faults_arm(enum faults_kind kind, int n, bool lasting)
{
    arm(kind, n, lasting, false);
}

void faults_arm_elsewhere(enum faults_kind kind, int n, bool lasting)
{
    arm(kind, n, lasting, true);
}

void faults_disarm(void)
{
    armed = false;
}

bool faults_fired(void)
{
    return fired;
}

int faults_passed(void)
{
    return passed;
}

const char *faults_name(enum faults_kind kind)
{
    static const char *const names[FAULTS_KINDS] = {
        [FAULTS_MEMORY] = "allocation", [FAULTS_CALL] = "call of SQLite", [FAULTS_FILE] = "access"};
    return names[kind];
}

/* Whether the one that comes now fails. */
static bool strikes(enum faults_kind kind)
{
    if (!armed || armed_kind != (int)kind ||
        (pthread_equal(pthread_self(), own_thread) != 0) == elsewhere) {
        return false;
    }
    int now = atomic_fetch_add(&passed, 1) + 1;
    bool hit = now == target || (lasts && target != 0 && now > target);
    if (hit) {
        fired = true;
    }
    return hit;
}

bool faults_strike_file(void)
{
    return strikes(FAULTS_FILE);
}

/* --- memory ----------------------------------------------------------------------------------- */

/* clang-format off */
#define WRAPPED(type, name, ...)                                                                   \
    type __real_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__)
/* clang-format on */

WRAPPED(void *, malloc, size_t size)
{
    return strikes(FAULTS_MEMORY) ? NULL : __real_malloc(size);
}

WRAPPED(void *, calloc, size_t count, size_t size)
{
    return strikes(FAULTS_MEMORY) ? NULL : __real_calloc(count, size);
}

WRAPPED(void *, realloc, void *old, size_t size)
{
    return strikes(FAULTS_MEMORY) ? NULL : __real_realloc(old, size);
}

WRAPPED(char *, strdup, const char *text)
{
    return strikes(FAULTS_MEMORY) ? NULL : __real_strdup(text);
}

WRAPPED(char *, strndup, const char *text, size_t size)
{
    return strikes(FAULTS_MEMORY) ? NULL : __real_strndup(text, size);
}

WRAPPED(char *, realpath, const char *path, char *resolved)
{
    return strikes(FAULTS_MEMORY) ? NULL : __real_realpath(path, resolved);
}

int __wrap_asprintf(char **text, const char *format, ...);
int __wrap_asprintf(char **text, const char *format, ...)
{
    if (strikes(FAULTS_MEMORY)) {
        return -1;
    }
    va_list args;
    va_start(args, format);
    int len = vasprintf(text, format, args);
    va_end(args);
    return len;
}

WRAPPED(EVP_MD_CTX *, EVP_MD_CTX_new, void)
{
    return strikes(FAULTS_MEMORY) ? NULL : __real_EVP_MD_CTX_new();
}

WRAPPED(int, EVP_DigestInit_ex, EVP_MD_CTX *ctx, const EVP_MD *type, ENGINE *engine)
{
    return strikes(FAULTS_MEMORY) ? 0 : __real_EVP_DigestInit_ex(ctx, type, engine);
}

WRAPPED(int, EVP_DigestUpdate, EVP_MD_CTX *ctx, const void *bytes, size_t len)
{
    return strikes(FAULTS_MEMORY) ? 0 : __real_EVP_DigestUpdate(ctx, bytes, len);
}

WRAPPED(int, EVP_DigestFinal_ex, EVP_MD_CTX *ctx, unsigned char *md, unsigned *len)
{
    return strikes(FAULTS_MEMORY) ? 0 : __real_EVP_DigestFinal_ex(ctx, md, len);
}

WRAPPED(int, EVP_MD_CTX_copy_ex, EVP_MD_CTX *out, const EVP_MD_CTX *in)
{
    return strikes(FAULTS_MEMORY) ? 0 : __real_EVP_MD_CTX_copy_ex(out, in);
}

WRAPPED(int, EVP_Digest, const void *bytes, size_t len, unsigned char *md, unsigned *size,
        const EVP_MD *type, ENGINE *engine)
{
    return strikes(FAULTS_MEMORY) ? 0 : __real_EVP_Digest(bytes, len, md, size, type, engine);
}

static unsigned char random_byte;

void faults_set_random(unsigned char byte)
{
    random_byte = byte;
}

int __wrap_RAND_bytes(unsigned char *bytes, int len);

int __wrap_RAND_bytes(unsigned char *bytes, int len)
{
    memset(bytes, random_byte, (size_t)len);
    return strikes(FAULTS_MEMORY) ? 0 : 1;
}

WRAPPED(unsigned char *, HMAC, const EVP_MD *type, const void *key, int key_len,
        const unsigned char *bytes, size_t len, unsigned char *md, unsigned *size)
{
    return strikes(FAULTS_MEMORY) ? NULL : __real_HMAC(type, key, key_len, bytes, len, md, size);
}

/* The broker copies what it is to send: that may fail, what the fake one does must not. */
WRAPPED(bool, ota_broker_publish, const char *client_id, const char *topic, const void *payload,
        size_t len, int qos)
{
    if (strikes(FAULTS_MEMORY)) {
        return false;
    }
    bool was = atomic_exchange(&armed, false);
    bool sent = __real_ota_broker_publish(client_id, topic, payload, len, qos);
    armed = was;
    return sent;
}

static sqlite3_mem_methods plain;

static void *sqlite_malloc(int size)
{
    return strikes(FAULTS_MEMORY) ? NULL : plain.xMalloc(size);
}

static void *sqlite_realloc(void *old, int size)
{
    return strikes(FAULTS_MEMORY) ? NULL : plain.xRealloc(old, size);
}

/* --- SQLite's calls --------------------------------------------------------------------------- */

/* Each of what the world may say, in turn. */
static int code(void)
{
    static const int codes[] = {SQLITE_FULL, SQLITE_IOERR_WRITE, SQLITE_BUSY, SQLITE_NOMEM};
    static unsigned at;
    return codes[at++ % (sizeof codes / sizeof *codes)];
}

/* SQLite needs neither disk nor lock to roll back; memory is another loop's matter. */
static bool is_rollback(sqlite3_stmt *statement)
{
    return strcmp(sqlite3_sql(statement), "ROLLBACK") == 0;
}

WRAPPED(int, sqlite3_step, sqlite3_stmt *statement)
{
    return !is_rollback(statement) && strikes(FAULTS_CALL) ? code()
                                                           : __real_sqlite3_step(statement);
}

WRAPPED(int, sqlite3_exec, sqlite3 *db, const char *sql, int (*row)(void *, int, char **, char **),
        void *data, char **error)
{
    return strcmp(sql, "ROLLBACK") != 0 && strikes(FAULTS_CALL)
               ? code()
               : __real_sqlite3_exec(db, sql, row, data, error);
}

WRAPPED(int, sqlite3_prepare_v3, sqlite3 *db, const char *sql, int len, unsigned flags,
        sqlite3_stmt **statement, const char **tail)
{
    *statement = NULL;
    return strikes(FAULTS_CALL) ? code()
                                : __real_sqlite3_prepare_v3(db, sql, len, flags, statement, tail);
}

WRAPPED(int, sqlite3_prepare_v2, sqlite3 *db, const char *sql, int len, sqlite3_stmt **statement,
        const char **tail)
{
    *statement = NULL;
    return strikes(FAULTS_CALL) ? code() : __real_sqlite3_prepare_v2(db, sql, len, statement, tail);
}

WRAPPED(int, sqlite3_open_v2, const char *path, sqlite3 **db, int flags, const char *vfs)
{
    *db = NULL;
    return strikes(FAULTS_CALL) ? SQLITE_CANTOPEN : __real_sqlite3_open_v2(path, db, flags, vfs);
}

WRAPPED(int, sqlite3_bind_int64, sqlite3_stmt *statement, int at, sqlite3_int64 value)
{
    return strikes(FAULTS_CALL) ? SQLITE_NOMEM : __real_sqlite3_bind_int64(statement, at, value);
}

WRAPPED(int, sqlite3_bind_double, sqlite3_stmt *statement, int at, double value)
{
    return strikes(FAULTS_CALL) ? SQLITE_NOMEM : __real_sqlite3_bind_double(statement, at, value);
}

WRAPPED(int, sqlite3_bind_text, sqlite3_stmt *statement, int at, const char *text, int len,
        void (*done)(void *))
{
    return strikes(FAULTS_CALL) ? SQLITE_NOMEM
                                : __real_sqlite3_bind_text(statement, at, text, len, done);
}

WRAPPED(int, sqlite3_bind_blob64, sqlite3_stmt *statement, int at, const void *bytes,
        sqlite3_uint64 len, void (*done)(void *))
{
    return strikes(FAULTS_CALL) ? SQLITE_NOMEM
                                : __real_sqlite3_bind_blob64(statement, at, bytes, len, done);
}

/* --- the whole -------------------------------------------------------------------------------- */

void faults_install(void)
{
    own_thread = pthread_self();
    (void)sqlite3_config(SQLITE_CONFIG_GETMALLOC, &plain);
    sqlite3_mem_methods methods = plain;
    methods.xMalloc = sqlite_malloc;
    methods.xRealloc = sqlite_realloc;
    (void)sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
    (void)sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0); /* else it hides most of them */
    faults_vfs_install();
}
