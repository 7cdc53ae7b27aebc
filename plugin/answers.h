/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the responses to one message, as text: each is written when its command has ended, so that
 *       no tick has to write a hundred long ones.
 * Thread: the broker's.
 * Frees: ota_answers_free, unless ota_answers_take gave the text away.
 */
#ifndef OTA_ANSWERS_H
#define OTA_ANSWERS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/error.h"

/* All zero: none. */
struct ota_answers {
    char *text; /* what is there of {"responses":[…]} */
    size_t len;
    size_t size;
    size_t left; /* responses that are still to come: there is room to say that memory is out */
    bool lost;   /* one of them: what was done must not be called refused */
};

OTA_CHECKED bool ota_answers_begin(struct ota_answers *answers, size_t count);
/* Takes the reference. NULL, for what was refused for want of memory: says so instead. */
void ota_answers_add(struct ota_answers *answers, json_t *response);
/* The whole text (malloc, the caller's from then on), when none is left. NULL: memory was too short
 * to write one of them. */
char *ota_answers_take(struct ota_answers *answers, size_t *len);
void ota_answers_free(struct ota_answers *answers);

/* The response to a refused command, or with a NULL command to no command at all. */
json_t *ota_answer_error(const char *command, const struct ota_error *error);

#endif
