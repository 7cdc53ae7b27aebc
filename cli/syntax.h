/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: how verbs, options and arguments are written where they are explained: in --help and in
 *       the man page.
 * Thread: main.
 * Frees: nothing; the caller brings the buffers.
 */
#ifndef OTA_CLI_SYNTAX_H
#define OTA_CLI_SYNTAX_H

#include "settings.h"
#include "verb.h"

/* "TASK": an argument's key, as it stands in a synopsis. */
void ota_syntax_argument(const struct ota_param *param, char *out, size_t size);

/* "--rate, --rate-per-minute N" */
void ota_syntax_option(const struct ota_param *param, char *out, size_t size);

/* The one or the other. */
void ota_syntax_param(const struct ota_param *param, char *out, size_t size);

/* "-h, --host HOST" */
void ota_syntax_setting(const struct ota_setting *setting, char *out, size_t size);

/* Sees every verb, those of a noun together: nouns in the table's order, in each the verbs that
 * were added first, since they are what people want. */
void ota_syntax_walk(void (*see)(const struct ota_verb *verb, void *context), void *context);

/* "task show TASK" */
void ota_syntax_verb(const struct ota_verb *verb, char *out, size_t size);

/* What a value must be, or "" where the parameter's own help says it all. */
void ota_syntax_rule(const struct ota_param *param, char *out, size_t size);

/* Examples of the verb, a line each, all beginning with "otactl". */
void ota_syntax_examples(const struct ota_verb *verb, char *out, size_t size);

/* The first day with otactl, a line each. */
extern const char ota_syntax_first_day[];

#endif
