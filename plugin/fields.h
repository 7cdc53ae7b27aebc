/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: checking a command's fields against its row of the table, and reading them afterwards.
 * Thread: any; pure.
 * Frees: nothing; what is read belongs to the fields.
 */
#ifndef OTA_FIELDS_H
#define OTA_FIELDS_H

#include <jansson.h>

#include "command_table.h"
#include "util/error.h"

/* Unknown, missing and wrong fields: OTA_INVALID_REQUEST that names the field and the rule. */
OTA_CHECKED enum ota_err ota_fields_check(const struct ota_command *command, const json_t *fields,
                                          struct ota_error *error);

/* After a check. Missing ones give "", NULL, the preset. */
const char *ota_field_text(const json_t *fields, const char *key);
const char *ota_field_text_or_null(const json_t *fields, const char *key);
int64_t ota_field_int(const json_t *fields, const char *key, int64_t preset);
bool ota_field_bool(const json_t *fields, const char *key);

#endif
