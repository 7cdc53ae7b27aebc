/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what the console's threads ask the broker's thread for, and the way back of the answer. The
 *       broker's thread alone knows the fleet and may write; it looks here once a tick.
 * Thread: letters are posted by any thread; taken and answered on the broker's. One lock inside.
 * Frees: ota_mailbox_free. A letter is its sender's, who must keep it, and all that it points to,
 *        until it is answered: every letter that was posted is.
 */
#ifndef OTA_MAILBOX_H
#define OTA_MAILBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "util/error.h"
#include "util/names.h"
#include "util/words.h"

/* Letters that wait to be taken. */
#define OTA_MAILBOX_MOST 256

#define OTA_CALLER_MAX 63 /* "http:192.0.2.7" */

enum ota_letter_kind {
    OTA_LETTER_CONTROL, /* body is the envelope */
    OTA_LETTER_UPLOAD,  /* body are bytes of `upload` from `offset` on */
    OTA_LETTER_METRICS
};

struct ota_letter {
    STAILQ_ENTRY(ota_letter) entry;
    enum ota_letter_kind kind;
    const char *user;
    const char *caller; /* stands where MQTT has the client id */
    enum ota_role role;
    int64_t token; /* by which the user acts; 0: none */
    const char *body;
    size_t len;
    int64_t upload;
    int64_t offset;
    /* The answer: an error, or text (malloc, the sender's). */
    struct ota_error error;
    char *text;
    size_t text_len;
    int64_t next; /* of an upload: the offset that is expected; -1 where that isn't known */
    /* Called on the broker's thread when the answer is there. The letter may be gone when it
     * returns. */
    void (*answered)(struct ota_letter *letter);
};

STAILQ_HEAD(ota_letters, ota_letter);

/* A try to log in that failed, for the audit. */
struct ota_failed_login {
    char user[OTA_USER_MAX + 1]; /* "": no user of ours */
    bool by_token;               /* that isn't one, or isn't any more */
    char caller[OTA_CALLER_MAX + 1];
};

struct ota_mailbox;

struct ota_mailbox *ota_mailbox_new(void);
/* Closed, and everything taken was answered; NULL is fine. */
void ota_mailbox_free(struct ota_mailbox *mailbox);

/* False, with letter->error set: there is no room, or it is closed; it won't be answered. */
bool ota_mailbox_post(struct ota_mailbox *mailbox, struct ota_letter *letter);

/* What is lost when too many fail at once is no loss: the audit counts them together. */
void ota_mailbox_note_failed(struct ota_mailbox *mailbox, const struct ota_failed_login *failed);

/* On the broker's thread: the next one, or NULL; false where none is left. */
struct ota_letter *ota_mailbox_take(struct ota_mailbox *mailbox);
bool ota_mailbox_take_failed(struct ota_mailbox *mailbox, struct ota_failed_login *failed);

/* On the broker's thread: answers what waits with OTA_UNAVAILABLE and takes no more. */
void ota_mailbox_close(struct ota_mailbox *mailbox);

#endif
