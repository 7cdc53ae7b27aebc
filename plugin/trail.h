/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the way of what is refused into the audit: refusals of one user, command and code within a
 *       minute are one entry that counts, so that a flood of them neither fills the disk nor holds
 *       the loop. What is accepted goes there at once, in the command's own transaction.
 * Thread: the broker's.
 * Frees: ota_trail_free.
 */
#ifndef OTA_TRAIL_H
#define OTA_TRAIL_H

#include "core.h"

/* Entries in one minute, of commands and of topics each; what is beyond is counted together. */
#define OTA_TRAIL_ENTRIES 32

/* Entries that are no command. */
#define OTA_TRAIL_IDENTITY     "identity"    /* a client reported as a device that it isn't */
#define OTA_TRAIL_LOGIN        "login"       /* somebody didn't know a password of the console */
#define OTA_TRAIL_DEVICE_LOGIN "deviceLogin" /* a device's log-in was refused */
#define OTA_TRAIL_SHADOWING    "shadowing"   /* another plugin let something in before us */
#define OTA_TRAIL_OTHER        "other"       /* refusals that have no entry of their own */

struct ota_trail;

struct ota_trail_note {
    const char *user;   /* this and the next may be NULL */
    const char *client; /* its id */
    const char *command;
    const char *target;
    enum ota_err code;
};

struct ota_trail *ota_trail_new(struct ota_core *core);
void ota_trail_free(struct ota_trail *trail);

/* Writes the entry; in the open transaction of the command. */
OTA_CHECKED enum ota_err ota_trail_accept(struct ota_core *core, const struct ota_trail_note *note,
                                          struct ota_error *error);

/* Counts a refused command, or what was done to our topics; the next tick writes it. A NULL trail
 * is fine. */
void ota_trail_refuse(struct ota_trail *trail, const struct ota_trail_note *note);
void ota_trail_topic(struct ota_trail *trail, const struct ota_trail_note *note);

/* Writes what is due. */
void ota_trail_tick(struct ota_trail *trail);
/* At shutdown: writes all. */
void ota_trail_finish(struct ota_trail *trail);

#endif
