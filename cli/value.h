/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: how a parameter of each type is written in a shell. One row a type.
 * Thread: main; constant tables.
 * Frees: nothing; JSON made here belongs to the caller.
 */
#ifndef OTA_CLI_VALUE_H
#define OTA_CLI_VALUE_H

#include <jansson.h>

#include "command_table.h"
#include "failure.h"

/* Types of parameters that the server never sees; numbers that the table of commands has not. */
#define OTA_LOCAL_PATH     ((enum ota_param_type)1000)
#define OTA_LOCAL_UNTIL    ((enum ota_param_type)1001)
#define OTA_LOCAL_VERSIONS ((enum ota_param_type)1002)

/* Reads text as param's value. */
enum ota_exit ota_value_parse(const struct ota_param *param, const char *text, json_t **value,
                              struct ota_failure *failure) OTA_CHECKED;

/* Whether such a parameter may be given more than once: its values add up. */
bool ota_value_is_list(enum ota_param_type type);

/* "yes", "no", "true", "false". */
bool ota_value_is_bool(const char *text, bool *value);

/* What stands for such a value in the help: "N". */
const char *ota_value_placeholder(enum ota_param_type type);

/* What is allowed: "from 10 to 604800"; "" where the parameter's help says it all. */
void ota_value_rule(const struct ota_param *param, char *out, size_t size);

/* All values that there are, with spaces between; "" where they are too many to list. */
void ota_value_choices(enum ota_param_type type, char *out, size_t size);

/* A good value for an example. */
const char *ota_value_example(const struct ota_param *param);

#endif
