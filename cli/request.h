/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: a verb's arguments as JSON, checked by the table of commands.
 * Thread: main.
 * Frees: ota_request_free() frees what a job holds.
 */
#ifndef OTA_CLI_REQUEST_H
#define OTA_CLI_REQUEST_H

#include "args.h"
#include "verb.h"

/* Finds the verb and reads its arguments: required parameters in the table's order, optional
 * ones as options. */
enum ota_exit ota_request_make(const struct ota_args *args, struct ota_job *job,
                               struct ota_failure *failure) OTA_CHECKED;

void ota_request_free(struct ota_job *job);

/* The failure for words that no verb begins with: names the nearest. */
enum ota_exit ota_request_fail_words(const struct ota_args *args,
                                     struct ota_failure *failure) OTA_CHECKED;

#endif
