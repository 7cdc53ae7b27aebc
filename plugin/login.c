/* SPDX-License-Identifier: BSD-3-Clause */
#include "login.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "worker.h"

#define OTA_LOGIN_LOOK_MS 1000

STAILQ_HEAD(tries, ota_try);

struct ota_login {
    struct ota_people *people;
    struct ota_worker worker;
    pthread_mutex_t lock;
    struct tries waiting;
    int count;
    bool stopped;
};

static struct ota_try *take(struct ota_login *login)
{
    (void)pthread_mutex_lock(&login->lock);
    struct ota_try *tried = STAILQ_FIRST(&login->waiting);
    if (tried != NULL) {
        STAILQ_REMOVE_HEAD(&login->waiting, entry);
        login->count--;
    }
    (void)pthread_mutex_unlock(&login->lock);
    return tried;
}

static void hand_back(struct ota_try *tried, enum ota_login_outcome outcome)
{
    OPENSSL_cleanse(tried->password, sizeof tried->password);
    tried->outcome = outcome;
    tried->checked(tried);
}

static void check(struct ota_login *login, struct ota_try *tried)
{
    struct ota_person person;
    bool known = ota_people_find(login->people, tried->user, &person);
    bool right = ota_password_matches(&person.password, tried->password, strlen(tried->password));

    tried->known = known;
    tried->role = person.role;
    memcpy(tried->mark, person.mark, sizeof tried->mark);
    OPENSSL_cleanse(&person, sizeof person);
    hand_back(tried, known && right ? OTA_LOGIN_RIGHT : OTA_LOGIN_WRONG);
}

static void work(void *data)
{
    struct ota_login *login = data;
    struct ota_try *tried;

    while (!ota_worker_stopping(&login->worker) && (tried = take(login)) != NULL) {
        check(login, tried);
    }
}

enum ota_err ota_login_start(struct ota_people *people, struct ota_login **login,
                             struct ota_error *error)
{
    struct ota_login *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return ota_error_no_memory(error);
    }
    made->people = people;
    STAILQ_INIT(&made->waiting);
    (void)pthread_mutex_init(&made->lock, NULL);
    enum ota_err err = ota_worker_start(&made->worker, OTA_LOGIN_LOOK_MS, work, made, error);
    if (err != OTA_OK) {
        ota_login_free(made);
        return err;
    }
    *login = made;
    return OTA_OK;
}

void ota_login_stop(struct ota_login *login)
{
    struct ota_try *tried;

    if (login == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&login->lock);
    login->stopped = true;
    (void)pthread_mutex_unlock(&login->lock);
    ota_worker_stop(&login->worker);
    while ((tried = take(login)) != NULL) {
        hand_back(tried, OTA_LOGIN_STOPPED);
    }
}

void ota_login_free(struct ota_login *login)
{
    if (login != NULL) {
        ota_login_stop(login);
        ota_worker_free(&login->worker);
        (void)pthread_mutex_destroy(&login->lock);
        free(login);
    }
}

bool ota_login_check(struct ota_login *login, struct ota_try *tried)
{
    tried->outcome = OTA_LOGIN_OPEN;
    (void)pthread_mutex_lock(&login->lock);
    bool taken = !login->stopped && login->count < OTA_LOGIN_WAITING;
    if (taken) {
        STAILQ_INSERT_TAIL(&login->waiting, tried, entry);
        login->count++;
    }
    (void)pthread_mutex_unlock(&login->lock);
    if (taken) {
        ota_worker_wake(&login->worker);
    }
    return taken;
}
