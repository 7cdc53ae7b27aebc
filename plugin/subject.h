/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what a command is about, in a short text for the audit: "lamp/lamp-17 2.0", "task 7".
 * Thread: any; pure.
 * Frees: nothing.
 */
#ifndef OTA_SUBJECT_H
#define OTA_SUBJECT_H

#include <jansson.h>
#include <stddef.h>

/* fields need not be checked: what is no legal name isn't repeated. What the command made, such as
 * a task, is told from its answer; data may be NULL. */
void ota_subject_of(const json_t *fields, const json_t *data, char *text, size_t size);

#endif
