/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what is said of a batch, as getBatch answers it: numbers, words, and what to do next.
 * Thread: main.
 * Frees: nothing; the caller brings the buffers.
 */
#ifndef OTA_CLI_BATCH_WORDS_H
#define OTA_CLI_BATCH_WORDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/words.h"

/* A whole number in it; 0 where there is none. */
int64_t ota_batch_number(const json_t *object, const char *key);

/* Tasks in that status. Of a batch or a stage: both have counts. */
int64_t ota_batch_count(const json_t *object, enum ota_shown shown);

/* Tasks whose status is final; those that failed or were contradicted; those whose success still
 * waits for its proof. */
int64_t ota_batch_done(const json_t *object);
int64_t ota_batch_failed(const json_t *object);
int64_t ota_batch_pending(const json_t *object);

enum ota_batch_state ota_batch_state(const json_t *batch);
bool ota_batch_has_reason(const json_t *batch, enum ota_batch_reason reason);

/* The number, from 1, of the last stage that is open or passed; 0: none. */
size_t ota_batch_open_stage(const json_t *batch);

/* "testProduct → 0.0.2", and its name, where it has one. */
void ota_batch_put_title(const json_t *batch, char *out, size_t size);

/* "paused (failure threshold)" */
void ota_batch_put_state(const json_t *batch, char *out, size_t size);

/* "10 %" or "500 devices"; of a stage as it was given or is answered. */
void ota_batch_put_reach(const json_t *stage, char *out, size_t size);

/* "95 %, 1 h soak, then batch advance": when the next stage opens. */
void ota_batch_put_gate(const json_t *stage, char *out, size_t size);

/* "3 × checksum mismatch (-4), from 0.0.1": a row of getStats' failures. */
void ota_batch_put_failure(const json_t *failure, char *out, size_t size);

/* Why a device gets no task: "run that version already". */
const char *ota_batch_exclusion_words(enum ota_exclusion exclusion);

/* What an admin may want to do now, with the commands; "" where there is nothing. */
void ota_batch_put_advice(const json_t *batch, char *out, size_t size);

#endif
