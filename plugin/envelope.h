/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the rules of a message around its commands: {"commands":[…]} and nothing else.
 * Thread: any; pure.
 * Frees: nothing; the root is the caller's.
 */
#ifndef OTA_ENVELOPE_H
#define OTA_ENVELOPE_H

#include <jansson.h>
#include <stddef.h>

#include "util/error.h"

/* *root is a message whose `commands` are 1 to OTA_COMMANDS_A_MESSAGE. */
OTA_CHECKED enum ota_err ota_envelope_read(const char *text, size_t len, json_t **root,
                                           struct ota_error *error);

#endif
