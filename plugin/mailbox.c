/* SPDX-License-Identifier: BSD-3-Clause */
#include "mailbox.h"

#include <pthread.h>
#include <stdlib.h>

#define OTA_FAILED_MOST 32

struct ota_mailbox {
    pthread_mutex_t lock;
    struct ota_letters letters;
    int count;
    bool closed;
    struct ota_failed_login failed[OTA_FAILED_MOST];
    size_t failed_count;
};

struct ota_mailbox *ota_mailbox_new(void)
{
    struct ota_mailbox *mailbox = calloc(1, sizeof *mailbox);
    if (mailbox != NULL) {
        (void)pthread_mutex_init(&mailbox->lock, NULL);
        STAILQ_INIT(&mailbox->letters);
    }
    return mailbox;
}

void ota_mailbox_free(struct ota_mailbox *mailbox)
{
    if (mailbox != NULL) {
        (void)pthread_mutex_destroy(&mailbox->lock);
        free(mailbox);
    }
}

static void stops(struct ota_letter *letter)
{
    (void)ota_error_set(&letter->error, OTA_UNAVAILABLE, NULL,
                        "the broker is being stopped: try again");
}

bool ota_mailbox_post(struct ota_mailbox *mailbox, struct ota_letter *letter)
{
    (void)pthread_mutex_lock(&mailbox->lock);
    bool taken = !mailbox->closed && mailbox->count < OTA_MAILBOX_MOST;
    if (taken) {
        STAILQ_INSERT_TAIL(&mailbox->letters, letter, entry);
        mailbox->count++;
    } else if (mailbox->closed) {
        stops(letter);
    } else {
        (void)ota_error_set(&letter->error, OTA_UNAVAILABLE, NULL,
                            "too many requests are waiting: try again");
    }
    (void)pthread_mutex_unlock(&mailbox->lock);
    return taken;
}

void ota_mailbox_note_failed(struct ota_mailbox *mailbox, const struct ota_failed_login *failed)
{
    (void)pthread_mutex_lock(&mailbox->lock);
    if (mailbox->failed_count < OTA_FAILED_MOST) {
        mailbox->failed[mailbox->failed_count++] = *failed;
    }
    (void)pthread_mutex_unlock(&mailbox->lock);
}

struct ota_letter *ota_mailbox_take(struct ota_mailbox *mailbox)
{
    (void)pthread_mutex_lock(&mailbox->lock);
    struct ota_letter *letter = STAILQ_FIRST(&mailbox->letters);
    if (letter != NULL) {
        STAILQ_REMOVE_HEAD(&mailbox->letters, entry);
        mailbox->count--;
    }
    (void)pthread_mutex_unlock(&mailbox->lock);
    return letter;
}

bool ota_mailbox_take_failed(struct ota_mailbox *mailbox, struct ota_failed_login *failed)
{
    (void)pthread_mutex_lock(&mailbox->lock);
    bool any = mailbox->failed_count > 0;
    if (any) {
        *failed = mailbox->failed[--mailbox->failed_count];
    }
    (void)pthread_mutex_unlock(&mailbox->lock);
    return any;
}

void ota_mailbox_close(struct ota_mailbox *mailbox)
{
    struct ota_letter *letter;

    (void)pthread_mutex_lock(&mailbox->lock);
    mailbox->closed = true;
    (void)pthread_mutex_unlock(&mailbox->lock);
    while ((letter = ota_mailbox_take(mailbox)) != NULL) {
        stops(letter);
        letter->answered(letter);
    }
}
