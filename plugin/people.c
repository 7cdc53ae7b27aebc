/* SPDX-License-Identifier: BSD-3-Clause */
#include "people.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker.h"
#include "util/index.h"

#define OTA_PERSON_LINE_MAX 1024
#define OTA_PEOPLE_MAX      10000

/* What mosquitto_passwd of Mosquitto 2.0 writes; for a file without users. */
#define OTA_STRANGER_ROUNDS 101

struct list {
    struct ota_person **people;
    size_t count;
    size_t capacity;
    struct ota_index by_name;
    struct ota_hash_key key;
    struct ota_password stranger; /* costs as much as the dearest of theirs */
};

struct ota_people {
    pthread_mutex_t lock;
    struct list list;
};

static void free_list(struct list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        OPENSSL_cleanse(list->people[i], sizeof *list->people[i]);
        free(list->people[i]);
    }
    free(list->people);
    ota_index_free(&list->by_name);
    *list = (struct list){0};
}

struct ota_people *ota_people_new(void)
{
    struct ota_people *people = calloc(1, sizeof *people);
    if (people != NULL) {
        (void)pthread_mutex_init(&people->lock, NULL);
    }
    return people;
}

void ota_people_free(struct ota_people *people)
{
    if (people != NULL) {
        free_list(&people->list);
        (void)pthread_mutex_destroy(&people->lock);
        free(people);
    }
}

/* --- reading ---------------------------------------------------------------------------------- */

static bool has_name(const void *item, const void *key)
{
    const struct ota_person *person = item;
    return strcmp(person->user, key) == 0;
}

static uint64_t hash_of(const struct list *list, const char *user)
{
    return ota_hash(&list->key, 0, user, strlen(user));
}

static const struct ota_person *find(const struct list *list, const char *user)
{
    return ota_index_find(&list->by_name, hash_of(list, user), has_name, user);
}

static bool grow(struct list *list)
{
    if (list->count < list->capacity) {
        return true;
    }
    size_t capacity = list->capacity > 0 ? list->capacity * 2 : 16;
    struct ota_person **grown = realloc(list->people, capacity * sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    list->people = grown;
    list->capacity = capacity;
    return true;
}

static bool make_mark(struct ota_person *person)
{
    return EVP_Digest(person->password.hash, sizeof person->password.hash, person->mark, NULL,
                      EVP_sha256(), NULL) == 1;
}

static enum ota_err add(struct list *list, const char *user, const char *hash,
                        const struct ota_roles *roles, struct ota_error *error)
{
    struct ota_person person = {.role = ota_roles_of(roles, user)};

    if (user[0] == '\0' || strlen(user) > OTA_USER_MAX) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "password_file",
                             "a line is USER:HASH, the user at most %d bytes", OTA_USER_MAX);
    }
    if (find(list, user) != NULL) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "password_file",
                             "there is a second line for %.60s", user);
    }
    (void)snprintf(person.user, sizeof person.user, "%s", user);
    enum ota_err err = ota_password_parse(hash, &person.password, error);
    if (err != OTA_OK) {
        return err;
    }
    if (list->count >= OTA_PEOPLE_MAX) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "password_file",
                             "at most %d users are read", OTA_PEOPLE_MAX);
    }
    struct ota_person *copy = make_mark(&person) && grow(list) ? malloc(sizeof *copy) : NULL;
    if (copy == NULL) {
        return ota_error_no_memory(error);
    }
    *copy = person;
    list->people[list->count++] = copy;
    return ota_index_add(&list->by_name, hash_of(list, user), copy) ? OTA_OK
                                                                    : ota_error_no_memory(error);
}

static enum ota_err add_line(struct list *list, char *line, const char *path, int number,
                             const struct ota_roles *roles, struct ota_error *error)
{
    size_t len = strcspn(line, "\r\n");
    bool is_cut = line[len] == '\0' && len + 1 >= OTA_PERSON_LINE_MAX;
    line[len] = '\0';
    if (line[0] == '\0' || line[0] == '#') {
        return OTA_OK;
    }
    char *colon = strchr(line, ':');
    struct ota_error own = {0};
    enum ota_err err;
    if (colon == NULL || is_cut) {
        err = ota_error_set(&own, OTA_INVALID_REQUEST, "password_file", "a line is USER:HASH");
    } else {
        *colon = '\0';
        err = add(list, line, colon + 1, roles, &own);
    }
    if (err == OTA_LIMIT_EXCEEDED) { /* the file may be shared with a newer Mosquitto */
        ota_log(OTA_LOG_WARNING, "password_file: %s line %d: this user can't log in: %s", path,
                number, own.text);
        return OTA_OK;
    }
    if (err != OTA_OK) {
        ota_error_context(&own, "password_file: %s line %d", path, number);
        return ota_error_set(error, err, "password_file", "%s", own.text);
    }
    return OTA_OK;
}

static bool make_stranger(struct list *list)
{
    list->stranger.rounds = list->count == 0 ? OTA_STRANGER_ROUNDS : 0;
    list->stranger.salt_len = 12;
    for (size_t i = 0; i < list->count; i++) {
        int rounds = list->people[i]->password.rounds;
        list->stranger.rounds = rounds > list->stranger.rounds ? rounds : list->stranger.rounds;
    }
    return RAND_bytes(list->stranger.salt, (int)list->stranger.salt_len) == 1 &&
           RAND_bytes(list->stranger.hash, sizeof list->stranger.hash) == 1;
}

static enum ota_err read_file(struct list *list, const char *path, const struct ota_roles *roles,
                              struct ota_error *error)
{
    char line[OTA_PERSON_LINE_MAX];
    enum ota_err err = OTA_OK;
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return ota_error_set(error, OTA_INVALID_REQUEST, "password_file",
                             "password_file: can't read %s: %s", path, strerror(errno));
    }
    for (int number = 1; err == OTA_OK && fgets(line, sizeof line, file) != NULL; number++) {
        err = add_line(list, line, path, number, roles, error);
    }
    if (err == OTA_OK && ferror(file)) {
        err = ota_error_set(error, OTA_INVALID_REQUEST, "password_file",
                            "password_file: can't read %s: %s", path, strerror(errno));
    }
    (void)fclose(file);
    OPENSSL_cleanse(line, sizeof line);
    return err;
}

enum ota_err ota_people_read(struct ota_people *people, const char *path,
                             const struct ota_roles *roles, struct ota_error *error)
{
    struct list list = {0};
    ota_hash_key_draw(&list.key);
    enum ota_err err = path[0] != '\0' ? read_file(&list, path, roles, error) : OTA_OK;
    if (err == OTA_OK && !make_stranger(&list)) {
        err = ota_error_set(error, OTA_INTERNAL, NULL, "no random numbers");
    }
    if (err != OTA_OK) {
        free_list(&list);
        return err;
    }
    (void)pthread_mutex_lock(&people->lock);
    struct list old = people->list;
    people->list = list;
    (void)pthread_mutex_unlock(&people->lock);
    free_list(&old);
    return OTA_OK;
}

/* --- asking ----------------------------------------------------------------------------------- */

bool ota_people_find(struct ota_people *people, const char *user, struct ota_person *person)
{
    (void)pthread_mutex_lock(&people->lock);
    const struct ota_person *known = find(&people->list, user);
    if (known != NULL) {
        *person = *known;
    } else {
        *person = (struct ota_person){.password = people->list.stranger};
    }
    (void)pthread_mutex_unlock(&people->lock);
    return known != NULL;
}

enum ota_role ota_people_role(struct ota_people *people, const char *user,
                              const unsigned char *mark)
{
    enum ota_role role = OTA_ROLE_NONE;

    (void)pthread_mutex_lock(&people->lock);
    const struct ota_person *known = find(&people->list, user);
    if (known != NULL && CRYPTO_memcmp(known->mark, mark, OTA_MARK_SIZE) == 0) {
        role = known->role;
    }
    (void)pthread_mutex_unlock(&people->lock);
    return role;
}

size_t ota_people_count(struct ota_people *people)
{
    (void)pthread_mutex_lock(&people->lock);
    size_t count = people->list.count;
    (void)pthread_mutex_unlock(&people->lock);
    return count;
}
