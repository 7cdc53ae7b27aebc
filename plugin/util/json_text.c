/* SPDX-License-Identifier: BSD-3-Clause */
#include "json_text.h"

#include <openssl/evp.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* --- reading --------------------------------------------------------------------------------- */

/* What a text can become at most: "[" is an array of 104 bytes, "{}," an object of 210; and a
 * token is held three times while its buffer grows. */
#define OTA_RESERVE_A_BYTE 128
#define OTA_RESERVE_LEAST  8192

/* Not touched until memory is out, it costs next to nothing. */
struct reading {
    char *reserve;
    size_t size;
    size_t used;
    bool no_memory;
};

static _Thread_local struct reading *current;

static void *take(size_t size)
{
    struct reading *reading = current;
    void *memory = reading != NULL && reading->no_memory ? NULL : malloc(size);
    size_t rounded =
        (size + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
    if (memory != NULL || reading == NULL || rounded > reading->size - reading->used) {
        return memory;
    }
    reading->no_memory = true;
    memory = reading->reserve + reading->used;
    reading->used += rounded;
    return memory;
}

static void give_back(void *memory)
{
    const struct reading *reading = current;
    uintptr_t at = (uintptr_t)memory;
    uintptr_t reserve = reading != NULL ? (uintptr_t)reading->reserve : 0;
    if (reading == NULL || at < reserve || at >= reserve + reading->size) {
        free(memory);
    }
}

/* jansson's functions are the whole process', and other threads use them: so they change before
 * there are any, and once. For everybody else these two are malloc and free. */
static json_malloc_t malloc_before;
static json_free_t free_before;

__attribute__((constructor)) static void install(void)
{
    json_get_alloc_funcs(&malloc_before, &free_before);
    json_set_alloc_funcs(take, give_back);
}

__attribute__((destructor)) static void uninstall(void)
{
    json_set_alloc_funcs(malloc_before, free_before);
}

json_t *ota_json_read(const char *text, size_t len, size_t flags, json_error_t *where,
                      bool *no_memory)
{
    struct reading reading = {.size = len * OTA_RESERVE_A_BYTE + OTA_RESERVE_LEAST};
    json_t *root = NULL;
    reading.reserve = malloc(reading.size);
    if (reading.reserve != NULL) {
        current = &reading;
        root = json_loadb(text, len, flags, where);
        if (reading.no_memory) { /* it lies in the reserve in part */
            json_decref(root);
            root = NULL;
        }
        current = NULL;
    }
    *no_memory = reading.reserve == NULL || reading.no_memory;
    free(reading.reserve);
    return root;
}

/* --- writing --------------------------------------------------------------------------------- */

struct writing {
    char *text;
    size_t len;
    size_t size;
    bool no_memory;
};

static int append(const char *bytes, size_t len, void *data)
{
    struct writing *writing = data;
    if (writing->no_memory) {
        return -1;
    }
    if (len >= writing->size - writing->len) { /* one is for the terminator */
        size_t size = (writing->len + len + 1) * 2;
        char *grown = realloc(writing->text, size);
        if (grown == NULL) {
            writing->no_memory = true;
            return -1;
        }
        writing->text = grown;
        writing->size = size;
    }
    memcpy(writing->text + writing->len, bytes, len);
    writing->len += len;
    return 0;
}

char *ota_json_write(const json_t *json, size_t flags)
{
    struct writing writing = {0};
    if (json_dump_callback(json, append, &writing, flags) != 0 || writing.no_memory) {
        free(writing.text);
        return NULL;
    }
    writing.text[writing.len] = '\0';
    return writing.text;
}

/* A copy without these keys; NULL: memory is out. What has no place any more jansson leaves out of
 * its copy, without a word. */
static json_t *copy_without(const json_t *object, const char *const *without)
{
    json_t *copy = json_copy((json_t *)object);
    if (copy == NULL || json_object_size(copy) != json_object_size(object)) {
        json_decref(copy);
        return NULL;
    }
    for (; *without != NULL; without++) {
        (void)json_object_del(copy, *without);
    }
    return copy;
}

char *ota_json_write_without(const json_t *object, const char *const *without, size_t flags)
{
    json_t *copy = copy_without(object, without);
    char *text = ota_json_write(copy, flags);
    json_decref(copy);
    return text;
}

bool ota_json_digest(const json_t *object, const char *const *without, unsigned char *digest)
{
    char *text = ota_json_write_without(object, without, JSON_COMPACT | JSON_SORT_KEYS);
    bool ok = text != NULL && EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL) == 1;
    free(text);
    return ok;
}
