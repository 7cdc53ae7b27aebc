/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: who may log in: the users of password_file, each with the role that the same user has over
 *       MQTT. Replaced as a whole when the files are read again.
 * Thread: any; one lock inside. ota_people_read is called on the broker's thread.
 * Frees: ota_people_free.
 */
#ifndef OTA_PEOPLE_H
#define OTA_PEOPLE_H

#include <stdbool.h>
#include <stddef.h>

#include "password.h"
#include "roles.h"
#include "util/names.h"

#define OTA_MARK_SIZE 32

struct ota_person {
    char user[OTA_USER_MAX + 1];
    enum ota_role role;
    struct ota_password password;
    unsigned char mark[OTA_MARK_SIZE]; /* changes with the password */
};

struct ota_people;

struct ota_people *ota_people_new(void);
void ota_people_free(struct ota_people *people);

/* Reads the file ("": nobody can log in) and takes it over, or says which line is wrong and changes
 * nothing. */
OTA_CHECKED enum ota_err ota_people_read(struct ota_people *people, const char *path,
                                         const struct ota_roles *roles, struct ota_error *error);

/* False: there is no such user, and *person is a stranger without a role, whose password takes as
 * long to check as one that exists. */
bool ota_people_find(struct ota_people *people, const char *user, struct ota_person *person);

/* The role that the user has now: none where it is gone, or has another password than it had when
 * it got the mark. */
enum ota_role ota_people_role(struct ota_people *people, const char *user,
                              const unsigned char *mark);

size_t ota_people_count(struct ota_people *people);

#endif
