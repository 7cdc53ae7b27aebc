/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the handlers of all commands, one file a noun, and what they share.
 * Thread: the broker's.
 * Frees: nothing of the caller's; json_t results are new references.
 */
#ifndef OTA_COMMANDS_H
#define OTA_COMMANDS_H

#include "../batch.h"
#include "../control.h"
#include "../fields.h"

#define OTA_X(id, c_name, name, role, writes, words, help)                                         \
    enum ota_err ota_cmd_##c_name(struct ota_call *call);
OTA_COMMANDS(OTA_X)
#undef OTA_X

/* What the fields name, or OTA_NOT_FOUND with a sentence. */
OTA_CHECKED enum ota_err ota_call_product(struct ota_call *call, struct ota_product **product);
OTA_CHECKED enum ota_err ota_call_device(struct ota_call *call, struct ota_product **product,
                                         struct ota_device **device);
/* The firmware that the field version names, which devices can fetch. */
OTA_CHECKED enum ota_err ota_call_target(struct ota_call *call, const struct ota_product *product,
                                         struct ota_firmware **firmware);
/* The device that the field gateway names: a gateway of that name, of this product or, where there
 * is one alone, of another; or a device of the product that could become one. */
OTA_CHECKED enum ota_err ota_call_gateway(struct ota_call *call, const struct ota_product *product,
                                          const struct ota_device **gateway);
OTA_CHECKED enum ota_err ota_call_batch(struct ota_call *call, struct ota_batch **batch);
/* retry.on as it is stored: "timeout,-1". */
void ota_call_retry_on(const json_t *retry, char *text, size_t size);
/* By the field task. */
OTA_CHECKED enum ota_err ota_call_task(struct ota_call *call, struct ota_task_row *row);

/* Once this is committed, nobody is the device any more who logged in with its secret. */
OTA_CHECKED enum ota_err ota_call_revoke(struct ota_call *call, const struct ota_device *device);

/* Sets a key of call->data; takes the reference. A value that is NULL could not be made: what
 * call->error says, or memory is out. */
OTA_CHECKED enum ota_err ota_call_answer(struct ota_call *call, const char *key, json_t *value);
/* The answer is the device. */
OTA_CHECKED enum ota_err ota_call_answer_device(struct ota_call *call, int64_t id);

/* Append and set, and take the reference; where memory is out, or the value is NULL, *array or
 * *object becomes NULL: so only the end is checked. */
void ota_json_push(json_t **array, json_t *value);
void ota_json_put(json_t **object, const char *key, json_t *value);

/* A text or null. */
json_t *ota_json_text(const char *text);
/* The name of a user or a client: it comes from clients, and need not be UTF-8 where it is a
 * certificate's CN. */
json_t *ota_show_user(const char *user);
/* A time or an id, or null where it is 0. */
json_t *ota_json_number(int64_t number);

/* --- pages ----------------------------------------------------------------------------------- */

struct ota_page {
    int64_t limit;
    char key[OTA_DEVICE_MAX + 1]; /* "" on the first page */
    int64_t number;               /* the same key as a number; 0 on the first page */
    json_t *rows; /* NULL, too, where a row could not be added: ota_page_close tells */
};

/* Reads limit and cursor; a cursor of other filters is refused. rows is a new array. */
OTA_CHECKED enum ota_err ota_page_open(struct ota_call *call, struct ota_page *page);
/* Takes a row's reference; false when there's no use in going on: the page is full (the row then
 * isn't taken), or the row could not be made (NULL) or added. */
bool ota_page_add(struct ota_page *page, json_t *row);
bool ota_page_is_full(const struct ota_page *page);
/* Puts rows under `key` into the answer, with nextCursor where last isn't NULL. */
OTA_CHECKED enum ota_err ota_page_close(struct ota_call *call, struct ota_page *page,
                                        const char *key, const char *last);
/* The same with a number as the last key. */
OTA_CHECKED enum ota_err ota_page_close_at(struct ota_call *call, struct ota_page *page,
                                           const char *key, bool more, int64_t last);

/* The sentences of getInfo.warnings. */
json_t *ota_info_warnings(const struct ota_surroundings *around);

/* --- how things are shown ----------------------------------------------------------------------
 */

json_t *ota_show_task(struct ota_core *core, const struct ota_task_row *row);
/* NULL, too, where the store fails: then with an error. */
json_t *ota_show_device(struct ota_core *core, const struct ota_device_row *row,
                        struct ota_error *error);
/* An object with a count for each status. */
json_t *ota_show_counts(const struct ota_tally *tally);
json_t *ota_show_batch(const struct ota_batch *batch);
/* Counts by reason. */
json_t *ota_show_excluded(const uint32_t *excluded);
json_t *ota_show_firmware(const char *product, const struct ota_firmware_row *row);

#endif
