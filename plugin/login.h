/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the thread that checks passwords, one at a time: that costs CPU by design, and must cost
 *       neither the broker's thread nor those that answer others.
 * Thread: a try is handed in by any thread, and handed back on the checking one.
 * Frees: ota_login_free. A try is its owner's, who keeps it until it is handed back.
 */
#ifndef OTA_LOGIN_H
#define OTA_LOGIN_H

#include <sys/queue.h>

#include "people.h"
#include "util/error.h"

/* Tries that wait to be checked. */
#define OTA_LOGIN_WAITING 32

#define OTA_LOGIN_PASSWORD_MAX 256

enum ota_login_outcome {
    OTA_LOGIN_OPEN, /* wasn't checked yet */
    OTA_LOGIN_RIGHT,
    OTA_LOGIN_WRONG,
    OTA_LOGIN_STOPPED
};

struct ota_try {
    STAILQ_ENTRY(ota_try) entry;
    char user[OTA_USER_MAX + 1];
    char password[OTA_LOGIN_PASSWORD_MAX + 1]; /* wiped when it is handed back */
    enum ota_login_outcome outcome;
    bool known; /* there is such a user */
    enum ota_role role;
    unsigned char mark[OTA_MARK_SIZE];
    void (*checked)(struct ota_try *tried); /* it may be gone when this returns */
};

struct ota_login;

OTA_CHECKED enum ota_err ota_login_start(struct ota_people *people, struct ota_login **login,
                                         struct ota_error *error);
/* Hands all back that wait, as stopped, and from now on takes none. NULL is fine, here and below.
 */
void ota_login_stop(struct ota_login *login);
void ota_login_free(struct ota_login *login);

/* False: too many wait, or it is stopped; the try isn't handed back. */
bool ota_login_check(struct ota_login *login, struct ota_try *tried);

#endif
