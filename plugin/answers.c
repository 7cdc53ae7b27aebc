/* SPDX-License-Identifier: BSD-3-Clause */
#include "answers.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "util/json_text.h"

static const char opening[] = "{\"responses\":[";
static const char closing[] = "]}";
static const char no_memory[] = "{\"error\":\"memory is out: try again\",\"code\":\"unavailable\"}";

/* With the comma. */
#define NO_MEMORY_SIZE (sizeof no_memory)

static void append(struct ota_answers *answers, const char *text, size_t len)
{
    assert(len < answers->size - answers->len);
    memcpy(answers->text + answers->len, text, len);
    answers->len += len;
}

/* Room for so many bytes more, and for all that may have to be said in any case. */
static bool grow(struct ota_answers *answers, size_t more)
{
    size_t wanted = answers->len + more + answers->left * NO_MEMORY_SIZE + sizeof closing;
    if (wanted <= answers->size) {
        return true;
    }
    size_t size = wanted > answers->size * 2 ? wanted : answers->size * 2;
    char *grown = realloc(answers->text, size);
    if (grown == NULL) {
        return false;
    }
    answers->text = grown;
    answers->size = size;
    return true;
}

bool ota_answers_begin(struct ota_answers *answers, size_t count)
{
    *answers = (struct ota_answers){.left = count};
    if (!grow(answers, sizeof opening)) {
        return false;
    }
    append(answers, opening, sizeof opening - 1);
    return true;
}

void ota_answers_add(struct ota_answers *answers, json_t *response)
{
    char *own =
        response != NULL ? ota_json_write(response, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    const char *text = own;
    assert(answers->left > 0);
    if (text == NULL || !grow(answers, strlen(text) + 1)) {
        answers->lost = answers->lost || response != NULL;
        text = no_memory;
    }
    json_decref(response);
    answers->left--;
    if (answers->text[answers->len - 1] != '[') {
        append(answers, ",", 1);
    }
    append(answers, text, strlen(text));
    free(own);
}

char *ota_answers_take(struct ota_answers *answers, size_t *len)
{
    assert(answers->left == 0);
    append(answers, closing, sizeof closing - 1);
    answers->text[answers->len] = '\0';
    if (answers->lost) {
        ota_answers_free(answers);
        *len = 0;
        return NULL;
    }
    char *text = answers->text;
    *len = answers->len;
    *answers = (struct ota_answers){0};
    return text;
}

void ota_answers_free(struct ota_answers *answers)
{
    free(answers->text);
    *answers = (struct ota_answers){0};
}

json_t *ota_answer_error(const char *command, const struct ota_error *error)
{
    return json_pack("{s:s*, s:s, s:s, s:s*}", "command", command, "error", error->text, "code",
                     ota_err_name(error->code), "field",
                     error->field[0] != '\0' ? error->field : NULL);
}
